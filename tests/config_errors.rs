//! What a wrong configuration is answered: file, line, caret, what was found, what is allowed.

use std::fmt::Write as _;

use crate::support::{TINY, config, folder, run};

/// Each change to a sound configuration, and the flags it is run with.
fn cases() -> Vec<(&'static str, String, Vec<&'static str>)> {
    let replace = |from: &str, to: &str| {
        assert!(TINY.contains(from), "{from}");
        TINY.replace(from, to)
    };
    let explicit = |layers: &str| {
        let old = "dcgan = { channels = 8, norm = { layer = {} } }";
        replace(old, "").replace("[train]", &format!("{layers}\n[train]"))
    };
    vec![
        ("a key with a typo", replace("latent = 6", "latant = 6"), vec![]),
        ("a key that is not there", replace("latent = 6", "depth = 6"), vec![]),
        ("a function with a typo", replace("extra = 1,", "extra = 1, activation = { function = \"rellu\" },"), vec![]),
        ("a wrong type", replace("batch = 8", "batch = \"eight\""), vec![]),
        ("a negative size", replace("latent = 6", "latent = -6"), vec![]),
        ("zero steps", replace("steps = 100", "steps = 0"), vec![]),
        ("a rate of zero", replace("optimizer.adam.rate = 2e-3", "optimizer.adam.rate = 0.0"), vec![]),
        ("beta above 1", replace("beta = 0.1", "beta = 1.5"), vec![]),
        ("not TOML", replace("[train]", "[train"), vec![]),
        ("no data", replace("data.shapes.count = 256", ""), vec![]),
        (
            "two kinds of data",
            replace("data.shapes.count = 256", "data.shapes.count = 256\ndata.folder.path = \"x\""),
            vec![],
        ),
        ("two networks", replace("latent = 6", "latent = 6\nfc = { widths = [8] }"), vec![]),
        ("an image no network reaches", replace("size = 8", "size = 20"), vec![]),
        (
            "channels that cannot be halved",
            replace("dcgan = { channels = 8, extra", "dcgan = { channels = 0, extra"),
            vec![],
        ),
        ("two channels", replace("size = 8,", "size = 8, channels = 2,"), vec![]),
        ("a batch of one under batch norm", replace("batch = 8", "batch = 1"), vec![]),
        ("an even stride-1 kernel", replace("extra = 1,", "extra = 1, extra_kernel = 4,"), vec![]),
        (
            "a kernel larger than its map",
            explicit(
                "[[discriminator.layers]]\nconv = { out = 4, kernel = 4, stride = 2 }\n\
             [[discriminator.layers]]\nconv = { out = 1, kernel = [5, 3] }\n",
            ),
            vec![],
        ),
        ("a dense layer on an image", explicit("[[discriminator.layers]]\ndense = { out = 1 }\n"), vec![]),
        (
            "an output of the wrong shape",
            explicit("[[discriminator.layers]]\nflatten = {}\n[[discriminator.layers]]\ndense = { out = 2 }\n"),
            vec![],
        ),
        (
            "partial scaling without mu",
            replace("extra = 1,", "extra = 1, activation = { function = \"relu\", scaling = \"partial\" },"),
            vec![],
        ),
        ("a wrong override", TINY.into(), vec!["--set", "train.batch=0"]),
        ("an override with a typo", TINY.into(), vec!["--set", "train.stepps=5"]),
        ("an override without a value", TINY.into(), vec!["--set", "train.steps"]),
    ]
}

#[test]
fn every_error_points_at_the_key() {
    let folder = folder();
    let mut answers = String::new();
    for (name, text, flags) in cases() {
        config(folder.path(), &text);
        let mut args = vec!["check", "tiny.toml", "--device", "flex"];
        args.extend(&flags);
        let (code, stdout, stderr) = run(folder.path(), &args);
        assert_eq!((code, stdout.as_str()), (2, ""), "{name}: {stderr}");
        writeln!(answers, "=== {name} {}\n{}", flags.join(" "), stderr.trim_end()).expect("a string");
    }
    insta::assert_snapshot!(answers);
}

#[test]
fn a_missing_file_is_named() {
    let folder = folder();
    let (code, _, stderr) = run(folder.path(), &["train", "nowhere.toml"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("cannot read the configuration `nowhere.toml`"), "{stderr}");
    assert!(!folder.path().join("runs").exists(), "nothing half-written");
}

/// `--set` may choose another alternative of a setting; its siblings do not linger.
#[test]
fn an_override_chooses_another_alternative() {
    let folder = folder();
    config(folder.path(), TINY);
    let (code, _, stderr) = run(folder.path(), &["train", "tiny.toml", "--set", "data.idx.images=no-such-file.gz"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("no-such-file.gz"), "{stderr}");
    let flags = ["check", "tiny.toml", "--device", "flex", "--set", "discriminator.optimizer.adam.rate=0.1"];
    assert_eq!(run(folder.path(), &flags).0, 0);
}
