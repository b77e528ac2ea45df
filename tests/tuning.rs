//! One knob solved for, and the configuration with it there.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use fintan_config::{Experiment, Layer, Subject};
use serde_json::Value;

use crate::support::{TINY, files, folder, run, succeed};

/// A copy of a configuration of the catalogue, so that its path is short and always the same.
fn copied(folder: &Path, name: &str) -> String {
    let from = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("configs").join(format!("{name}.toml"));
    let text = std::fs::read_to_string(from).expect("in the catalogue");
    std::fs::write(folder.join(format!("{name}.toml")), &text).expect("written");
    text
}

/// Lines of a text that another has not.
fn new_lines<'a>(text: &'a str, old: &str) -> Vec<&'a str> {
    text.lines().filter(|line| !old.lines().any(|known| known == *line)).collect()
}

#[test]
fn the_ordered_generator_is_tuned_to_chaos() {
    let folder = folder();
    let old = copied(folder.path(), "order");
    let args = ["tune", "order.toml", "--goal", "regime=chaos", "--knob", "mu"];
    let told = succeed(folder.path(), &args);
    for want in ["before", "after", "0.255600", "order", "chaos", "condition number, 64 inputs", "order.tuned.toml"] {
        assert!(told.contains(want), "{want}\n{told}");
    }
    let text = std::fs::read_to_string(folder.path().join("order.tuned.toml")).expect("written");
    assert_eq!(
        new_lines(&text, &old),
        [
            "# Made by `fintan tune order.toml --goal regime=chaos --knob mu`",
            "activation = { function = \"relu\", scaling = \"partial\", mu = 0.2556 }",
        ]
    );
    assert_eq!(text.lines().count(), old.lines().count() + 1);

    let checked = succeed(folder.path(), &["check", "order.tuned.toml", "--json", "--device", "flex"]);
    let checked: Value = serde_json::from_str(&checked).expect("JSON");
    for layer in &checked["generator"].as_array().expect("layers")[1..] {
        assert_eq!(layer["regime"], "chaos", "{checked}");
    }
    assert!(checked["untrained"]["correlation"].as_f64().is_some_and(|c| c < 0.35), "{checked}");

    let before = files(folder.path());
    let (code, stdout, stderr) = run(folder.path(), &args);
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.contains("`order.tuned.toml` exists already"), "{stderr}");
    assert_eq!(files(folder.path()), before);
}

#[test]
fn json_has_both_sides() {
    let folder = folder();
    copied(folder.path(), "dcgan64");
    let args = ["tune", "dcgan64.toml", "--goal", "checkerboard=0.3", "--knob", "mu", "--inputs", "32", "--json"];
    let order = ["--set", "generator.dcgan.activation.scaling=standardized"];
    let told: Value =
        serde_json::from_str(&succeed(folder.path(), &[&args[..], &order].concat())).expect("one JSON document");
    let shares = |side: &str| -> f64 {
        let blocks = told[side]["blocks"].as_array().expect("blocks");
        blocks[1..blocks.len() - 1].iter().map(|block| block["share"].as_f64().expect("a share")).sum()
    };
    assert!(shares("before") > 0.3 && shares("after") <= 0.3 && shares("after") > 0.299, "{told}");
    assert_eq!(told["before"]["inputs"], 32);
    for side in ["before", "after"] {
        for key in ["knob", "r", "scaled", "condition", "border"] {
            assert!(told[side][key].is_number(), "{side} {key} {told}");
        }
    }
    assert_eq!((&told["written"], &told["was_reached"]), (&"dcgan64.tuned.toml".into(), &false.into()));
    // What was set on the command line is part of what was tuned.
    let path = folder.path().join("dcgan64.tuned.toml");
    let tuned = Experiment::load(&path, &[]).expect("sound").settings.generator.dcgan.expect("a preset").activation;
    assert_eq!(tuned.mu, told["after"]["knob"].as_f64());
}

/// Presets, a network by itself and explicit layers; what is there already stays.
#[test]
fn every_way_to_write_a_network() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let beta = |path: &Path| match Subject::load(path, &[]).expect("sound") {
        Subject::Network(alone) => alone.settings.network.parametrization.beta().expect("ntk"),
        Subject::Gan(gan) => gan.settings.generator.parametrization.beta().expect("ntk"),
    };
    copied(folder.path(), "fc");
    succeed(
        folder.path(),
        &[
            "tune",
            "fc.toml",
            "--goal",
            "scaled=0.5",
            "--between",
            "0.2",
            "--knob",
            "beta",
            "--set",
            "network.outputs=3",
        ],
    );
    let text = std::fs::read_to_string(at("fc.tuned.toml")).expect("written");
    assert!(text.contains("outputs = 3") && beta(&at("fc.tuned.toml")) > 0.1, "{text}");

    let old = copied(folder.path(), "order");
    let discriminator = ["--network", "discriminator", "--goal", "r=1.1", "--knob", "gain", "--out", "d.toml"];
    let tanh = ["--set", "discriminator.dcgan.activation.function=tanh"];
    succeed(folder.path(), &[&["tune", "order.toml"][..], &discriminator, &tanh].concat());
    let text = std::fs::read_to_string(at("d.toml")).expect("written");
    assert!(text.starts_with("# Made by `fintan tune order.toml --network discriminator"), "{text}");
    assert!(new_lines(&text, &old).iter().any(|line| line.contains("tanh") && line.contains("gain")), "{text}");

    // What reaches its goal is written as it is.
    copied(folder.path(), "chaos");
    let goal = ["--goal", "regime=chaos", "--margin", "0.05", "--knob", "leak"];
    let told = succeed(folder.path(), &[&["tune", "chaos.toml"][..], &goal].concat());
    assert!(told.contains("the goal was reached as it is"), "{told}");
    let text = std::fs::read_to_string(at("chaos.tuned.toml")).expect("written");
    // With the file that it includes, in one.
    let old = copied(folder.path(), "order");
    let line = "activation = { function = \"relu\", scaling = \"normalized\" }";
    assert_eq!(new_lines(&text, &old), [&text[..text.find('\n').expect("lines")], line]);
    assert_eq!(text.lines().count(), old.lines().count() + 1);

    let layers = r#"
network.input = 16
network.parametrization.ntk.beta = 0.2
[[network.layers]]
dense = { out = 32 }
[[network.layers]]
activation.function = "relu"   # the first
activation.scaling = "normalized"
[[network.layers]]
dense = { out = 32 }
[[network.layers]]
activation = { function = "leaky_relu", scaling = "normalized" }
[[network.layers]]
dense = { out = 2 }
[[network.layers]]
activation = { function = "relu" }
"#;
    std::fs::write(at("layers.toml"), layers).expect("written");
    succeed(folder.path(), &["tune", "layers.toml", "--goal", "r=1.1", "--knob", "leak"]);
    let Subject::Network(tuned) = Subject::load(&at("layers.tuned.toml"), &[]).expect("sound") else {
        panic!("a network")
    };
    let text = std::fs::read_to_string(at("layers.tuned.toml")).expect("written");
    let slopes: Vec<Option<f64>> = tuned
        .network
        .nodes
        .iter()
        .filter_map(|node| if let Layer::Activation(a) = node.layer { Some(a.slope) } else { None })
        .collect();
    assert!(slopes[0].is_some() && slopes[0] == slopes[1] && slopes[2].is_none(), "{text}");
    // A comment on a value that changed would be wrong now.
    assert!(text.contains("activation.function = \"leaky_relu\"\n"), "{text}");
}

#[test]
fn what_cannot_be_tuned_is_said_and_nothing_written() {
    let folder = folder();
    for name in ["order", "fc"] {
        copied(folder.path(), name);
    }
    std::fs::write(folder.path().join("tiny.toml"), TINY).expect("written");
    let before = files(folder.path());
    let mut answers = String::new();
    for line in [
        "order.toml --goal foo=1 --knob mu",
        "order.toml --goal regime=calm --knob mu",
        "order.toml --goal r --knob mu",
        "order.toml --goal r=-1 --knob mu",
        "order.toml --goal r=1.2 --knob mu --margin 0.1",
        "order.toml --goal regime=chaos --knob mu --margin 1.5",
        "order.toml --goal scaled=0.1 --between 1 --knob mu",
        "order.toml --goal r=1.2 --knob volume",
        "order.toml --goal r=1.6 --knob mu",
        "order.toml --goal r=1.2 --knob gain",
        "order.toml --goal regime=chaos --knob beta",
        "order.toml --goal checkerboard=0.1 --knob mu",
        "order.toml --goal r=0.9 --knob beta --network discriminator",
        "order.toml --goal r=1.2 --knob mu --out order.toml",
        "fc.toml --goal r=1.2 --knob leak --set network.fc.activation.function=tanh",
        "fc.toml --goal r=1.2 --knob mu --set network.fc.widths=[]",
        "fc.toml --goal r=1.2 --knob mu --set network.fc.width=3",
        "tiny.toml --goal regime=chaos --knob mu",
        "nowhere.toml --goal regime=chaos --knob mu",
    ] {
        let args: Vec<&str> = std::iter::once("tune").chain(line.split(' ')).collect();
        let (code, stdout, stderr) = run(folder.path(), &args);
        assert_eq!((code, stdout.as_str()), (2, ""), "{line}: {stderr}");
        writeln!(answers, "=== {line}\n{}", stderr.trim_end()).expect("a string");
    }
    assert_eq!(files(folder.path()), before);
    insta::assert_snapshot!(answers);
}
