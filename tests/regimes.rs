//! What the program is for: it tells order from chaos, before and after training.

use serde_json::Value;

use crate::support::{folder, succeed};

fn configuration(name: &str) -> String {
    format!("{}/configs/{name}.toml", env!("CARGO_MANIFEST_DIR"))
}

fn check(name: &str, flags: &[&str]) -> Value {
    let (folder, path) = (folder(), configuration(name));
    let mut args = vec!["check", &path, "--json", "--device", "flex"];
    args.extend(flags);
    serde_json::from_str(&succeed(folder.path(), &args)).expect("JSON")
}

fn untrained(answer: &Value, key: &str) -> f64 {
    answer["untrained"][key].as_f64().expect("a number")
}

#[test]
fn untrained_generators_show_their_regime() {
    let (order, chaos) = (check("order", &[]), check("chaos", &[]));
    assert!(untrained(&order, "correlation") > 0.55 && untrained(&chaos, "correlation") < 0.3);
    assert!(untrained(&order, "nyquist") > 2.0 * untrained(&chaos, "nyquist"));
    assert!(untrained(&order, "phase8") > 2.0 * untrained(&chaos, "phase8"));
    let word = |answer: &Value| answer["generator"][3]["regime"].as_str().expect("a word").to_owned();
    assert_eq!((word(&order), word(&chaos)), ("order".into(), "chaos".into()));
    let r = chaos["generator"][3]["r"].as_f64().expect("a number");
    assert!((r - 1.452_273).abs() < 1e-6, "{r}");
}

/// The graph-based parametrization takes the border artefact away at the start.
#[test]
fn graph_parametrization_evens_the_border() {
    let seeds = ["--seeds", "6", "--set", "generator.parametrization.graph.beta=0.1"];
    let (ntk, graph) = (check("order", &seeds[..2]), check("order", &seeds));
    assert!(untrained(&ntk, "border") < 0.5, "{}", untrained(&ntk, "border"));
    let evened = untrained(&graph, "border");
    assert!((0.75..1.3).contains(&evened), "{evened}");
}

#[test]
fn layer_rates_fall_towards_the_image() {
    let answer = check("order", &["--set", "generator.layer_rates=three_halves"]);
    let rates: Vec<f64> = answer["generator"]
        .as_array()
        .expect("layers")
        .iter()
        .map(|layer| layer["rates"]["weight"].as_f64().expect("a rate"))
        .collect();
    // |I_l| = 1, 16, 16, 64, 64, 256, 256 positions enter the seven layers: η |I_l|^(-3/4).
    for (rate, positions) in rates.iter().zip([1.0_f64, 16.0, 16.0, 64.0, 64.0, 256.0, 256.0]) {
        assert!((rate / (4e-3 * positions.powf(-0.75)) - 1.0).abs() < 1e-12, "{rates:?}");
    }
}

/// The paper's claim in half a minute: same data, seed and discriminator, one nonlinearity apart.
#[test]
fn the_ordered_generator_collapses_and_the_chaotic_one_does_not() {
    let folder = folder();
    let train = |name: &str| -> Value {
        let (path, out) = (configuration(name), folder.path().join(name));
        let out = out.to_str().expect("UTF-8");
        let told = succeed(folder.path(), &["train", &path, "--device", "flex", "--out", out, "--json", "--quiet"]);
        let last: Value = serde_json::from_str(told.lines().last().expect("a line")).expect("JSON");
        last["metrics"].clone()
    };
    let (order, chaos) = (train("order"), train("chaos"));
    let number = |metrics: &Value, key: &str| metrics["samples"][key].as_f64().expect("a number");
    assert!(number(&order, "correlation") > 0.9, "{order}");
    assert!(number(&chaos, "correlation") < 0.6, "{chaos}");
    let ratio = |metrics: &Value| metrics["std_ratio"].as_f64().expect("a number");
    assert!(ratio(&order) < 0.2 && ratio(&chaos) > 0.5, "{} and {}", ratio(&order), ratio(&chaos));
}
