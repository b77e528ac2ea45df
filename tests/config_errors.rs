//! What a wrong configuration is answered: file, line, caret, what was found, what is allowed.

use std::fmt::Write as _;

use crate::supervised::TASK;
use crate::support::{TINY, config, folder, run, succeed};

/// Each change to a sound task.
fn task_cases() -> Vec<(&'static str, String)> {
    let replace = |from: &str, to: &str| {
        assert!(TASK.contains(from), "{from}");
        TASK.replace(from, to)
    };
    let class = |more: &str| {
        replace("\"regression\"", &format!("\"classification\"\n{more}"))
            .replace("[data.teacher]\nnoise = 0.1", "[data.idx]\nimages = \"i\"")
            .replace("input = 6", "input = 16")
    };
    let without = |part: &str| replace(part, "");
    vec![
        ("a goal with a typo", replace("\"regression\"", "\"regresion\"")),
        ("no optimiser", without("optimizer.adam = { rate = 0.02, beta1 = 0.9 }")),
        ("a task without data", without("[data.teacher]\nnoise = 0.1")),
        ("data without a task", TASK[..TASK.find("[task").expect("a task")].to_owned()),
        ("data of a kind that is not there", replace("[data.teacher]\nnoise = 0.1", "[data.folders]\npath = \"x\"")),
        ("a task with a typo", replace("[task.supervised]", "[task.supervized]")),
        ("no training sample", replace("train = 24", "train = 0")),
        ("a batch larger than the training set", replace("batch = 7", "batch = 25")),
        ("no step of a task", replace("steps = 100", "steps = 0")),
        ("a rate below zero", replace("rate = 0.02", "rate = -0.02")),
        ("noise below zero", replace("noise = 0.1", "noise = -0.1")),
        ("a degree too high", replace("noise = 0.1", "degree = 9")),
        ("regression on classes", class("").replace("\"classification\"", "\"regression\"")),
        ("cross-entropy of numbers", replace("train = 24", "train = 24\nloss = \"cross_entropy\"")),
        ("classes of numbers", replace("train = 24", "train = 24\nclasses = [0, 1]")),
        ("classes of a teacher", replace("\"regression\"", "\"classification\"\nclasses = [0, 1]")),
        ("a teacher of three classes", replace("\"regression\"", "\"classification\"").replace("outputs = 2", "outputs = 3")),
        ("one class", class("classes = [4]")),
        ("a class twice", class("classes = [4, 4]")),
        ("a class above 255", class("classes = [4, 256]")),
        ("more classes than outputs", class("classes = [4, 5, 6]")),
        ("an input that is no image", class("").replace("input = 16", "input = 17")),
        ("an image that is not square", class("").replace("input = 16", "input = [1, 4, 5]")),
        ("a centred teacher", replace("train = 24", "train = 24\ncentre = true")),
        ("a scale with a typo", replace("train = 24", "train = 24\ninputs = \"spere\"")),
        ("an observation of more than there is", format!("{TASK}\n[observe.ntk]\nevery = 10\nsamples = 25\n")),
        ("an observation without a task", format!("{}\n[observe.ntk]\nevery = 10\n", &TASK[..TASK.find("[data").expect("data")])),
        ("a decay with a typo", replace("steps = 100", "steps = 100\nschedule.decay.cosinus.to = 0.1")),
        ("an exponential fall to nothing", replace("steps = 100", "steps = 100\nschedule.decay.exponential.to = 0.0")),
        ("a batch of one under batch norm in a task", replace("batch = 7", "batch = 1").replace("fc = {", "fc = { norm = { batch = {} },")),
        (
            "an image as output",
            replace("outputs = 2", "layers = [{ reshape = { channels = 6, height = 1, width = 1 } }, { deconv = { out = 1, kernel = 2 } }]")
                .replace("fc = { widths = [24, 24], activation = { function = \"tanh\", scaling = \"standardized\" } }", ""),
        ),
    ]
}

/// Each change to a sound configuration, and the flags it is run with.
fn cases() -> Vec<(&'static str, String, Vec<&'static str>)> {
    let replace = |from: &str, to: &str| {
        assert!(TINY.contains(from), "{from}");
        TINY.replace(from, to)
    };
    let with = |more: &str| format!("{TINY}\n{more}\n");
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
        (
            "a range from white to black",
            replace("data.shapes.count = 256", "data.npy = { path = \"x.npy\", range = [1, -1] }"),
            vec![],
        ),
        ("an include below a table", replace("steps = 100", "steps = 100\ninclude = \"base.toml\""), vec![]),
        ("an include as an override", TINY.into(), vec!["--set", "include=base.toml"]),
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
        ("a loss with a typo", with("[loss]\nfunction = \"hing\""), vec![]),
        ("a penalty below zero", with("[loss]\nfunction = { wgan_gp = { penalty = -1.0 } }"), vec![]),
        ("a loss without labels that are smoothed", with("[loss]\nfunction = \"hinge\""), vec![]),
        ("r1 of nothing", with("[loss]\nr1 = { gamma = 0.0 }"), vec![]),
        ("r1 never", with("[loss]\nr1 = { gamma = 1.0, every = 0 }"), vec![]),
        (
            "a penalty under batch norm",
            with("[loss]\nr1 = { gamma = 1.0 }")
                .replace("norm = { layer = {} }", "norm = { batch = {} }")
                .replace("size = 8", "size = 16"),
            vec![],
        ),
        (
            "a gradient penalty under batch norm",
            with("[loss]\nfunction = { wgan_gp = {} }")
                .replace("size = 8", "size = 16")
                .replace("norm = { layer = {} }", "norm = { batch = {} }")
                .replace("label_smoothing = 0.1", ""),
            vec![],
        ),
        (
            "a clip of zero",
            with("[loss]\nfunction = { wgan_clip = { clip = 0.0 } }").replace("label_smoothing = 0.1", ""),
            vec![],
        ),
        (
            "spectral norm in the NTK parametrization",
            replace("[discriminator]", "[discriminator]\nspectral_norm = {}\nparametrization.ntk.beta = 0.1"),
            vec![],
        ),
        (
            "spectral norm of clipped weights",
            with("[loss]\nfunction = { wgan_clip = {} }")
                .replace("[discriminator]", "[discriminator]\nspectral_norm = {}")
                .replace("label_smoothing = 0.1", ""),
            vec![],
        ),
        (
            "no power iteration",
            replace("[discriminator]", "[discriminator]\nspectral_norm = { iterations = 0 }"),
            vec![],
        ),
        ("a schedule that rises", replace("latent = 6", "latent = 6\nschedule.decay.linear.to = 1.5"), vec![]),
        (
            "stairs of no length",
            replace("latent = 6", "latent = 6\nschedule.decay.step = { every = 0, factor = 0.5 }"),
            vec![],
        ),
        ("a fall without an end", replace("latent = 6", "latent = 6\nschedule.decay.cosine = {}"), vec![]),
        ("a collapse that is neither", replace("steps = 100", "steps = 100\non_collapse = \"halt\""), vec![]),
        ("an observation of nothing", with("[observe.ntk]\nevery = 0"), vec![]),
        ("an observation of one sample", with("[observe.ntk]\nevery = 5\nsamples = 1"), vec![]),
        ("a wrong override", TINY.into(), vec!["--set", "train.batch=0"]),
        ("an override with a typo", TINY.into(), vec!["--set", "train.stepps=5"]),
        ("an override without a value", TINY.into(), vec!["--set", "train.steps"]),
    ]
}

/// Wrong `[moments]` and the networks they are of.
fn moments_cases() -> Vec<(&'static str, String)> {
    let of = |network: &str, moments: &str| format!("[network]\n{network}\n[moments]\n{moments}\n");
    let image = |rest: &str| of(&format!("input = [1, 6, 6]\nvanilla = {{ depth = 2, width = 4, {rest} }}"), "");
    let vector =
        |rest: &str, moments: &str| of(&format!("input = 5\nvanilla = {{ depth = 4, width = 4{rest} }}"), moments);
    vec![
        ("no layer at all", image("kernel = 3").replace("depth = 2", "depth = 0")),
        ("no channel", image("kernel = 3").replace("width = 4", "width = 0")),
        ("an even kernel that mirrors", image("kernel = 2, padding = \"symmetric\"")),
        ("a kernel larger than its map", image("kernel = 5")),
        ("a stride that does not divide", image("kernel = 3, embed_stride = 4")),
        ("a kernel on vectors", vector(", kernel = 3", "")),
        ("eps without batch norm", vector(", eps = 0.1", "")),
        ("an eps below zero", vector(", eps = -0.1", "").replace("vanilla", "bn_ff")),
        ("a unit of many weights that is none", vector(", res_depth = 3", "")),
        (
            "two deep networks",
            of("input = 5\nvanilla = { depth = 1, width = 4 }\nbn_ff = { depth = 1, width = 4 }", ""),
        ),
        ("outputs of a deep network", of("input = 5\noutputs = 3\nvanilla = { depth = 1, width = 4 }", "")),
        (
            "a variance that is none",
            vector("", "").replace("[moments]", "parametrization.standard.init.variance = 0.0\n[moments]"),
        ),
        (
            "an initialisation of a layer under ntk",
            of("input = 5\nparametrization.ntk = {}\nlayers = [{ dense = { out = 2, init = \"he\" } }]", ""),
        ),
        (
            "padding beyond a torus",
            of(
                "input = [1, 4, 4]\nlayers = [{ pad = { before = 5, mode = \"periodic\" } }, { conv = { out = 2, kernel = 3 } }]",
                "",
            ),
        ),
        ("one input alone", vector("", "batch = 1")),
        ("no realisation", vector("", "realisations = 0")),
        ("a depth that is not there", vector("", "depths = [2, 5]")),
        ("a depth twice", vector("", "depths = [2, 2]")),
        ("no depth", vector("", "depths = []")),
        ("every and depths", vector("", "depths = [2]\nevery = 2")),
        ("a point that is not there", vector("", "locs = [\"loc4\"]")),
        ("no point", vector("", "locs = []")),
        ("a spectrum that grows", vector("", "inputs.spectrum.exponent = -1.0")),
        ("images for a vector that is none", vector("", "inputs.shapes.count = 10")),
        ("constants dropped but kept", vector("", "standardize = false\ndrop_constant = true")),
        ("more inputs of a kernel than of a batch", vector("", "batch = 4\nntk = { inputs = 5, depths = [1] }")),
        ("a typo", vector("", "realizations = 3")),
    ]
}

#[test]
fn every_error_points_at_the_key() {
    let folder = folder();
    let mut answers = String::new();
    let tasks = task_cases().into_iter().chain(moments_cases()).map(|(name, text)| (name, text, vec![]));
    for (name, text, flags) in cases().into_iter().chain(tasks) {
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

/// What the program says when it refuses, on one line.
fn refused(folder: &std::path::Path, args: &[&str]) -> String {
    let (code, stdout, stderr) = run(folder, args);
    assert_eq!((code, stdout.as_str()), (2, ""), "{args:?}: {stderr}");
    stderr.split_whitespace().filter(|w| *w != "│").collect::<Vec<_>>().join(" ")
}

/// `Is a directory (os error 21)` was all that was said, twice.
#[test]
fn a_run_directory_stands_for_its_configuration_or_says_what_it_is() {
    let folder = folder();
    let root = folder.path();
    config(root, &TINY.replace("steps = 100", "steps = 1").replace(", norm = { batch = {} }", ""));
    succeed(root, &["train", "tiny.toml", "--seed", "5", "--out", "run.a", "--device", "flex", "--quiet"]);
    let said = succeed(root, &["check", "run.a", "--json", "--device", "flex", "--seeds", "1"]);
    let json: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert!(json["generator"].as_array().is_some_and(|layers| !layers.is_empty()), "{json}");
    assert!(succeed(root, &["cite", "run.a"]).contains("jacot2018ntk"));
    assert!(succeed(root, &["data", "info", "run.a"]).contains("built-in shapes (256 drawings"));
    // Named after the run, with its settings: the seed is one of them.
    let tuned = succeed(root, &["tune", "run.a", "--goal", "r=1.1", "--knob", "mu"]);
    assert!(tuned.contains("run.a.tuned.toml"), "{tuned}");
    assert!(std::fs::read_to_string(root.join("run.a.tuned.toml")).expect("written").contains("seed = 5"));
    assert!(succeed(root, &["theory", "run.a", "--quiet"]).ends_with("run.a.theory\n"));

    let train = refused(root, &["train", "run.a"]);
    assert!(train.contains("`run.a` is a run directory, not a configuration"), "{train}");
    assert!(train.contains("`fintan resume run.a` goes on with it"), "{train}");
    let moments = refused(root, &["moments", "run.a"]);
    assert!(moments.contains("is a run directory"), "{moments}");
    std::fs::create_dir(root.join("nothing")).expect("made");
    let comparison = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/compare_bn.toml");
    let said = refused(root, &["check", comparison.to_str().expect("UTF-8")]);
    assert!(said.contains("`fintan compare` reads it"), "{said}");
    for command in ["check", "train", "theory", "moments", "cite"] {
        let said = refused(root, &[command, "nothing"]);
        assert!(
            said.contains("`nothing` is a folder: neither a configuration (.toml) nor a run directory"),
            "{command}: {said}"
        );
        assert!(!said.contains("os error"), "{said}");
    }
    succeed(root, &["export", "run.a", "--out", "exported", "--device", "flex", "--quiet"]);
    assert!(refused(root, &["check", "exported"]).contains("`fintan sample` reads it"));
    // The other way round: a configuration where a run is wanted.
    for command in ["resume", "eval", "sample", "flow", "report"] {
        let said = refused(root, &[command, "tiny.toml"]);
        assert!(
            said.contains("`tiny.toml` is no run directory") && said.contains("it is a configuration: `fintan check`"),
            "{said}"
        );
    }
}

#[test]
fn a_windows_path_in_double_quotes_is_explained() {
    let folder = folder();
    for path in [r"C:\Users\me\pictures", r"C:\pictures", r"D:\data\x"] {
        config(
            folder.path(),
            &format!("data.folder.path = \"{path}\"\n{}", TINY.replace("data.shapes.count = 256", "")),
        );
        let said = refused(folder.path(), &["check", "tiny.toml"]);
        assert!(said.contains("write a Windows path in single quotes"), "{path}: {said}");
        let set = format!("data.folder.path=\"{path}\"");
        let said = refused(folder.path(), &["check", "tiny.toml", "--set", &set]);
        assert!(said.contains("a Windows path stands without quotes"), "{path}: {said}");
    }
    config(folder.path(), TINY);
    let said = refused(folder.path(), &["check", "tiny.toml", "--set", "data.cifar.files=[a.bin]"]);
    assert!(said.contains("a shell takes quotes away"), "{said}");
    // Without quotes it is taken as it stands.
    let set = r"data.folder.path=C:\Users\me";
    let (code, _, stderr) = run(folder.path(), &["train", "tiny.toml", "--device", "flex", "--set", set]);
    assert!(code == 2 && stderr.contains(r"C:\Users\me"), "{stderr}");
}
