//! Infinite width at the command line: numbers published with the derivations, finite networks beside their limit, losses
//! predicted before they were trained.

use serde_json::Value;

use crate::support::{config, files, folder, run, succeed};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(|v| v.as_f64().expect("a number")).collect()
}

#[track_caller]
fn near(got: f64, want: f64, tolerance: f64) {
    assert!((got - want).abs() <= tolerance, "got {got}, want {want}");
}

/// One command gives the eigenspaces of the 64x64 generator and what layer-dependent rates do to them.
#[test]
fn the_large_generator_and_its_rates() {
    let folder = folder();
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/dcgan64.toml");
    let path = path.to_str().expect("UTF-8");
    let relu = "generator.dcgan.activation.scaling=standardized";
    for (set, name, ratios, rated) in [
        (relu, "relu", [146.0, 134.0, 37.4, 9.75, 2.73, 1.0], [14.8, 14.3, 6.4, 2.9, 1.5, 1.0]),
        ("seed=0", "normalized", [6.1, 2.69, 1.45, 1.10, 1.02, 1.0], [1.26, 1.14, 1.06, 1.02, 1.01, 1.0]),
    ] {
        let found = json(&succeed(folder.path(), &["theory", path, "--set", set, "--out", name, "--json"]));
        let values = numbers(&found["blocks"]["eigenvalues"]);
        for (value, want) in values.iter().zip(ratios) {
            near(value / values[5], want, 0.0052 * f64::max(want, 1.0));
        }
        for (got, want) in numbers(&found["blocks"]["rates"]["1/2"]).iter().zip(rated) {
            near(*got, want, 0.0055 * f64::max(want, 9.0));
        }
        near(found["border"]["border_variance"].as_f64().expect("a number"), 1.0, 1e-9);
        for file in
            ["circle.svg", "depth.svg", "phases.svg", "condition.svg", "blocks.csv", "pixels.npz", "variance.png"]
        {
            assert!(folder.path().join(name).join(file).is_file(), "{file}");
        }
    }
}

/// Errors of finite networks fall as width^(-1/2): dense nets of three nonlinearities, and a generator at all positions.
#[test]
fn finite_networks_come_to_their_limit() {
    let folder = folder();
    let dense = |function: &str, scaling: &str| {
        format!(
            "[network]\ninput = 6\nparametrization = {{ ntk = {{ beta = 0.1 }} }}\noutputs = 1\n\
             fc = {{ widths = [8, 8], activation = {{ function = \"{function}\", scaling = \"{scaling}\" }} }}\n"
        )
    };
    let generator = r#"
[network]
input = 6
parametrization = { graph = { beta = 0.1 } }
[[network.layers]]
deconv = { out = 8, kernel = 4 }
[[network.layers]]
activation = { function = "relu", scaling = "normalized" }
[[network.layers]]
deconv = { out = 8, kernel = 4, stride = 2, padding = 1 }
[[network.layers]]
activation = { function = "relu", scaling = "normalized" }
[[network.layers]]
deconv = { out = 1, kernel = 4, stride = 2, padding = 1 }
"#;
    let texts = [
        dense("relu", "standardized"),
        dense("relu", "normalized"),
        dense("tanh", "standardized"),
        generator.to_owned(),
    ];
    for (i, text) in texts.iter().enumerate() {
        config(folder.path(), text);
        let (out, widths) = (format!("w{i}"), if i < 3 { "32,64,128,256,512,1024" } else { "32,64,128,256" });
        let args =
            ["theory", "tiny.toml", "--widths", widths, "--seeds", "20", "--out", &out, "--json", "--device", "flex"];
        let found = json(&succeed(folder.path(), &args));
        let slope = found["widths"]["slope"].as_f64().expect("a number");
        // Over the seeds tried it lies between -0.56 and -0.45.
        assert!((-0.65..=-0.40).contains(&slope), "{text}\n{found}");
        assert!(folder.path().join(out).join("widths.svg").is_file());
    }
}

/// A kernel file holds what its limit needs; a wide network is near it, and another network's file is refused.
#[test]
fn kernels_are_compared_with_their_limit() {
    let folder = folder();
    let text = r#"
[network]
input = 5
parametrization = { ntk = { beta = 0.2 } }
outputs = 3
fc = { widths = [2048, 2048], activation = { function = "erf", scaling = "normalized" } }
"#;
    config(folder.path(), text);
    for entries in ["traced", "diagonal", "full"] {
        let (kernel, out) = (format!("{entries}.npz"), format!("{entries}.theory"));
        let args = ["ntk", "tiny.toml", "-n", "5", "--entries", entries, "--out", &kernel, "--device", "flex", "-q"];
        succeed(folder.path(), &args);
        let args = ["theory", "tiny.toml", "--compare", &kernel, "--out", &out, "--json"];
        let found = json(&succeed(folder.path(), &args));
        let off = found["compare"]["relative_difference"].as_f64().expect("a number");
        assert!(off < 0.1, "{entries}: {found}");
    }
    // The circle that a first call wrote is where a second call draws its dots.
    let args =
        ["ntk", "tiny.toml", "--inputs", "full.theory/circle_inputs.npz", "--out", "c.npz", "--device", "flex", "-q"];
    succeed(folder.path(), &args);
    succeed(folder.path(), &["theory", "tiny.toml", "--compare", "c.npz", "--out", "dots"]);
    let plot = std::fs::read_to_string(folder.path().join("dots/circle.svg")).expect("drawn");
    assert_eq!(plot.matches("<circle").count(), 19 * 20 / 2);

    config(folder.path(), &text.replace("input = 5", "input = 7"));
    let before = files(folder.path());
    let (code, _, stderr) = run(folder.path(), &["theory", "tiny.toml", "--compare", "traced.npz", "--out", "no"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("another network"), "{stderr}");
    assert_eq!(files(folder.path()), before);
    let (code, _, stderr) = run(folder.path(), &["theory", "tiny.toml", "--compare", "none.npz", "--out", "no"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("none.npz"), "{stderr}");
    let (code, _, stderr) = run(folder.path(), &["theory", "tiny.toml", "--out", "dots"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("exists already"), "{stderr}");
}

/// Gradient descent on a wide network follows the closed form of its kernel, and of the limit.
#[test]
fn losses_are_predicted_from_kernels() {
    let folder = folder();
    let text = r#"
[network]
input = 8
parametrization = { ntk = { beta = 0.2 } }
fc = { widths = [1024], activation = { function = "erf", scaling = "standardized" } }
outputs = 2

[data.teacher]

[task.supervised]
goal = "regression"
train = 24
test = 30
optimizer.sgd.rate = 2.0
layer_rates = { exponents = { weights = 0.5, biases = 0.5 } }
steps = 60
log_every = 5
checkpoint_every = 60
"#;
    config(folder.path(), text);
    succeed(folder.path(), &["train", "tiny.toml", "--out", "r", "--device", "flex", "-q"]);
    let found = json(&succeed(folder.path(), &["flow", "r", "--device", "flex", "--json"]));
    assert!(found["runs"][0]["largest_rate"].as_f64().is_some_and(|rate| rate > 2.0), "{found}");
    let table = std::fs::read_to_string(folder.path().join("r/flow/losses.csv")).expect("written");
    let rows: Vec<Vec<f64>> = (table.lines().skip(1))
        .map(|line| line.split(',').map(|cell| cell.parse().expect("a number")).collect())
        .collect();
    assert_eq!(rows.len(), 13);
    let start = rows[0][1];
    for row in &rows {
        let &[_, train, empirical, limit, test, test_empirical, test_limit] = &row[..] else { panic!("{row:?}") };
        near(train, empirical, 0.02 * start);
        near(train, limit, 0.05 * start);
        near(test, test_empirical, 0.03 * start);
        near(test, test_limit, 0.08 * start);
    }
    assert!(rows[12][1] < 0.5 * start, "it learns: {rows:?}");
    assert!(folder.path().join("r/flow/losses.svg").is_file());

    // What has no closed form is refused by name.
    config(folder.path(), &text.replace("optimizer.sgd.rate = 2.0", "optimizer.adam.rate = 0.01"));
    succeed(
        folder.path(),
        &["train", "tiny.toml", "--out", "a", "--device", "flex", "-q", "--set", "task.supervised.steps=2"],
    );
    let (code, _, stderr) = run(folder.path(), &["flow", "a", "--device", "flex"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("gradient descent"), "{stderr}");
}

#[test]
fn networks_without_a_limit_are_refused_where_one_is_needed() {
    let folder = folder();
    let text = r#"
[network]
input = 6
[[network.layers]]
dense = { out = 16 }
[[network.layers]]
batch_norm = {}
[[network.layers]]
activation = { function = "relu" }
[[network.layers]]
dense = { out = 1 }
"#;
    config(folder.path(), text);
    let found = json(&succeed(folder.path(), &["theory", "tiny.toml", "--json"]));
    assert!(found["layers"].is_array(), "regimes are known: {found}");
    let (code, _, stderr) = run(folder.path(), &["theory", "tiny.toml", "--out", "w", "--widths", "16,32"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("batch_norm"), "{stderr}");
}

#[test]
fn citations_are_of_what_a_configuration_uses() {
    let folder = folder();
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/dcgan64.toml");
    let text = succeed(folder.path(), &["cite", path.to_str().expect("UTF-8")]);
    for key in ["jacot2022freeze", "jacot2018ntk", "radford2016dcgan", "kingma2015adam", "goodfellow2014gan"] {
        assert!(text.contains(&format!("{{{key},")), "{key}\n{text}");
    }
    assert!(!text.contains("ba2016layernorm"), "{text}");
    assert_eq!(text.matches('{').count(), text.matches('}').count());
}

/// The empirical kernel of a generator has its checkerboards where the limit has them, and much less of them in chaos.
#[test]
fn checkerboards_of_finite_generators() {
    let folder = folder();
    let mut found = Vec::new();
    for scaling in ["standardized", "normalized"] {
        let text = format!(
            r#"
[network]
input = 6
parametrization = {{ graph = {{ beta = 0.1 }} }}
[[network.layers]]
deconv = {{ out = 128, kernel = 4 }}
[[network.layers]]
activation = {{ function = "relu", scaling = "{scaling}" }}
[[network.layers]]
deconv = {{ out = 128, kernel = 4, stride = 2, padding = 1 }}
[[network.layers]]
activation = {{ function = "relu", scaling = "{scaling}" }}
[[network.layers]]
deconv = {{ out = 2, kernel = 4, stride = 2, padding = 1 }}
"#
        );
        config(folder.path(), &text);
        let args = ["ntk", "tiny.toml", "-n", "4", "--entries", "full", "--out", scaling, "--device", "flex", "--json"];
        let empirical = json(&succeed(folder.path(), &args))["checkerboard"].clone();
        let shares = numbers(&empirical["trace_shares"]);
        near(shares.iter().sum(), 1.0, 1e-5);
        let out = format!("{scaling}.theory");
        let limit = json(&succeed(folder.path(), &["theory", "tiny.toml", "--out", &out, "--json"]));
        // Borders share less, and a finite width strays: a third of the limit's share in the interior.
        for (got, want) in shares.iter().zip(numbers(&limit["blocks"]["trace_shares"])) {
            near(*got, want, 0.33 * want.max(0.02));
        }
        near(empirical["border_ratio"].as_f64().expect("a number"), 1.0, 0.2);
        found.push(numbers(&empirical["eigenvalue_ratios"]));
    }
    assert!(found[0][1] > 4.0 * found[1][1], "{found:?}");
}

/// The file of the issue: later nonlinearities count, in the summary and at the network's place on every curve.
const MIXED: &str = r#"
[network]
input = 6
parametrization = { ntk = { beta = 0.1 } }
[[network.layers]]
dense = { out = 8 }
[[network.layers]]
activation = { function = "relu" }
[[network.layers]]
dense = { out = 8 }
[[network.layers]]
activation = { function = "relu", scaling = "normalized" }
[[network.layers]]
dense = { out = 8 }
[[network.layers]]
activation = { function = "relu", scaling = "normalized" }
[[network.layers]]
dense = { out = 8 }
[[network.layers]]
activation = { function = "relu", scaling = "normalized" }
[[network.layers]]
dense = { out = 1 }
"#;

/// Rows of a table without its head.
fn rows(path: &std::path::Path) -> Vec<Vec<f64>> {
    let text = std::fs::read_to_string(path).expect("written");
    let number = |cell: &str| cell.parse().unwrap_or_else(|_| panic!("{cell}"));
    text.lines().skip(1).map(|line| line.split(',').map(number).collect()).collect()
}

#[test]
fn theory_is_of_the_network_in_the_file() {
    let folder = folder();
    config(folder.path(), MIXED);
    let found = json(&succeed(folder.path(), &["theory", "tiny.toml", "--json"]));
    let limit = &found["limit"];
    near(limit["scaled_ntk"].as_f64().expect("a number"), 0.109_009, 5e-7);
    assert_eq!(limit["regime"], "chaos");
    assert_eq!((&limit["family"]["repeats"], limit["family"]["block"].as_array().map(Vec::len)), (&3.into(), Some(2)));
    let place = folder.path().join("tiny.theory");
    let own = rows(&place.join("depth.csv")).into_iter().find(|row| row[0] == 5.0).expect("the network's depth");
    near(own[4], 0.109_009, 5e-7);
    let right_angle = std::f64::consts::FRAC_PI_2;
    let circle = rows(&place.join("circle.csv"));
    let own = circle.iter().find(|row| row[0] == 5.0 && (row[1] - right_angle).abs() < 1e-9).expect("its own curve");
    near(own[2], 0.109_009, 5e-7);
    let title = std::fs::read_to_string(place.join("condition.svg")).expect("drawn");
    assert!(title.contains("(dense, normalized relu) repeated"), "the family stands in the title");

    // `tune` and `check` say it too.
    let args = ["tune", "tiny.toml", "--goal", "scaled=0.109009", "--knob", "beta", "--json"];
    let tuned = json(&succeed(folder.path(), &args));
    near(tuned["before"]["scaled"].as_f64().expect("a number"), limit["scaled_ntk"].as_f64().expect("a number"), 1e-12);
    near(tuned["before"]["r"].as_f64().expect("a number"), limit["r"].as_f64().expect("a number"), 1e-12);
    let checked = json(&succeed(folder.path(), &["check", "tiny.toml", "--json", "--device", "flex"]));
    assert_eq!(checked["regimes"]["network"]["regime"], "chaos");
    near(checked["regimes"]["network"]["r"].as_f64().expect("a number"), limit["r"].as_f64().expect("a number"), 1e-12);
}

/// Standard parametrization: layers count by their fan-in, as `tune` says and `ntk` measures.
#[test]
fn wide_standard_networks_weigh_their_layers() {
    let folder = folder();
    let text = r#"
[network]
input = 16
parametrization = { standard = { init = "he" } }
outputs = 1
[network.fc]
widths = [2048, 2048, 2048]
activation = { function = "relu", scaling = "raw" }
"#;
    config(folder.path(), text);
    let found = json(&succeed(folder.path(), &["theory", "tiny.toml", "--json"]));
    near(found["limit"]["scaled_ntk"].as_f64().expect("a number"), 0.3527, 5e-5);
    near(found["limit"]["condition_number"].as_f64().expect("a number"), 35.870, 5e-4);
    // Every variance is a fixed point of He initialisation.
    let fixed = &found["limit"]["fixed_point"];
    near(fixed["variance"].as_f64().expect("a number"), 2.0, 1e-12);
    assert!(fixed["variance_depth"].is_null() && fixed["correlation_depth"].is_null(), "{fixed}");
    let told = succeed(folder.path(), &["theory", "tiny.toml", "--out", "again"]);
    assert!(told.contains("every variance is a fixed point (2.000000 here)"), "{told}");
}

/// A wide finite network with residual blocks, a norm and two nonlinearities is near what theory says of it.
#[test]
fn wide_networks_with_residual_blocks_are_near_their_limit() {
    let folder = folder();
    let text = r#"
[network]
input = 5
parametrization = { ntk = { beta = 0.2 } }
[[network.layers]]
dense = { out = 512 }
[[network.layers]]
residual = { scale = 0.7, layers = [{ activation = { function = "relu", scaling = "normalized" } }, { dense = { out = 512 } }] }
[[network.layers]]
layer_norm = { affine = false }
[[network.layers]]
residual = { scale = 0.7, layers = [{ activation = { function = "tanh" } }, { dense = { out = 512 } }] }
[[network.layers]]
dense = { out = 4 }
"#;
    config(folder.path(), text);
    let args = ["ntk", "tiny.toml", "-n", "4", "--out", "k.npz", "--device", "flex", "-q"];
    succeed(folder.path(), &args);
    let found = json(&succeed(folder.path(), &["theory", "tiny.toml", "--compare", "k.npz", "--json"]));
    // Four outputs of width 512: a few percent over the seeds tried.
    assert!(found["compare"]["relative_difference"].as_f64().expect("a number") < 0.15, "{found}");
    let limit = &found["limit"];
    let rows = found["layers"].as_array().expect("pieces");
    let blocks = rows.iter().filter(|row| row["residual_block"] == true).count();
    assert_eq!((rows.len(), blocks), (4, 2));
    let product: f64 = rows.iter().filter_map(|row| row["r"].as_f64()).product();
    near(limit["r"].as_f64().expect("a number").powi(3), product, 1e-12);
}

/// Both kernels at given inputs, of a configuration and of a run, are those that a kernel file is compared with.
#[test]
fn kernels_of_the_limit_at_given_inputs() {
    let folder = folder();
    let text = r#"
[network]
input = 3
parametrization = { ntk = { beta = 0.2 } }
outputs = 1
fc = { widths = [16], activation = { function = "erf", scaling = "normalized" } }

[data.teacher]

[task.supervised]
goal = "regression"
train = 8
test = 5
optimizer.sgd.rate = 0.1
steps = 2
log_every = 1
checkpoint_every = 2
"#;
    config(folder.path(), text);
    succeed(folder.path(), &["train", "tiny.toml", "--out", "r", "--device", "flex", "-q"]);
    let ntk =
        ["ntk", "tiny.toml", "--inputs", "train", "--inputs2", "test", "--out", "k.npz", "--device", "flex", "-q"];
    succeed(folder.path(), &ntk);
    let inputs = ["--inputs", "k.npz:inputs", "--inputs2", "k.npz:inputs2"];
    succeed(folder.path(), &[&["theory", "r"][..], &inputs, &["--out", "limit.npz"]].concat());
    let out = ["--compare", "k.npz", "--out", "both"];
    let found = json(&succeed(folder.path(), &[&["theory", "tiny.toml"][..], &inputs, &out, &["--json"]].concat()));
    assert_eq!(found["kernels"], "both/kernels.npz");
    let read = |name: &str| fintan_artifact::read_arrays(&folder.path().join(name)).expect("arrays");
    let array = |arrays: &[(String, fintan_artifact::Array<'static>)], name: &str| {
        let (_, array) = arrays.iter().find(|(found, _)| found == name).unwrap_or_else(|| panic!("no {name}"));
        (array.shape.clone(), array.to_f64())
    };
    let (alone, beside, compared) = (read("limit.npz"), read("both/kernels.npz"), read("both/compare.npz"));
    for name in ["nngp", "ntk"] {
        let (shape, values) = array(&alone, name);
        assert_eq!(shape, [8, 5]);
        assert_eq!(array(&beside, name), (shape, values.clone()));
        for (a, b) in array(&compared, name).1.iter().zip(&values) {
            near(*a, *b, 1e-6);
        }
    }
    assert_eq!(array(&alone, "inputs"), array(&read("k.npz"), "inputs"));
    assert_eq!(array(&compared, "empirical_ntk").1.len(), 40);

    for (args, told) in [
        (&["theory", "tiny.toml", "--inputs", "k.npz", "--out", "no"][..], "name one"),
        (&["theory", "tiny.toml", "--inputs", "k.npz:ntk", "--out", "no"], "the network takes [N, 3]"),
        (&["theory", "tiny.toml", "--inputs2", "k.npz:inputs"], "--inputs"),
        (&["theory", "tiny.toml", "--inputs", "k.npz:inputs", "--out", "limit.npz"], "exists already"),
    ] {
        let (code, _, stderr) = run(folder.path(), args);
        assert_eq!(code, 2, "{args:?}: {stderr}");
        assert!(stderr.contains(told), "{args:?}: {stderr}");
    }
}

/// Weights of any size end in numbers: no NaN, no error.
#[test]
fn weights_of_any_variance_have_a_limit() {
    let folder = folder();
    for variance in ["0.001", "1e6"] {
        let text = format!(
            "[network]\ninput = 8\nparametrization = {{ standard = {{ init = {{ variance = {variance} }} }} }}\noutputs = 1\n\
             fc = {{ widths = [{}], activation = {{ function = \"relu\" }} }}\n",
            vec!["8"; 200].join(", ")
        );
        config(folder.path(), &text);
        let out = format!("v{variance}");
        let found = json(&succeed(folder.path(), &["theory", "tiny.toml", "--out", &out, "--json"]));
        let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("no number: {found}"));
        near(number(&found["limit"]["r"]), 1.0, 1e-9);
        near(number(&found["limit"]["fixed_point"]["r"]), 1.0, 1e-9);
        // The kernel that knows no scale, with layers that count alike: between those of L = 100 and of L = 1000.
        let scaled = number(&found["limit"]["ntk_parametrization"]["scaled_ntk"]);
        assert!((0.2533..0.2727).contains(&scaled), "{scaled}");
        assert!(number(&found["limit"]["scaled_ntk"]) <= 1.0);
    }
}

/// What a killed start leaves beside its place goes with the next start.
#[test]
fn killed_starts_leave_nothing_for_good() {
    let folder = folder();
    config(folder.path(), MIXED);
    let listed = || -> Vec<String> {
        let names = std::fs::read_dir(folder.path()).expect("readable");
        let mut names: Vec<String> =
            names.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    let args = ["theory", "tiny.toml", "--widths", "64,256", "--seeds", "50", "--out", "t", "--device", "flex", "-q"];
    for _ in 0..3 {
        let mut child = crate::support::fintan(folder.path())
            .args(args)
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("the program starts");
        while listed().len() < 2 && child.try_wait().expect("its state").is_none() {
            std::thread::yield_now();
        }
        child.kill().expect("killed");
        child.wait().expect("its end");
    }
    let _ = std::fs::remove_dir_all(folder.path().join("t"));
    succeed(folder.path(), &["theory", "tiny.toml", "--out", "t"]);
    assert_eq!(listed(), ["t", "tiny.toml"]);
}
