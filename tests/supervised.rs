//! Networks with a task: training is what equations say it is, goes on exactly, and its samples are a kernel's rows.

use std::path::Path;

use fintan_artifact::{Array, RunDir, SupervisedLine, read_arrays};

use crate::devices::wgpu_at_hand;
use crate::support::{config, files, folder, run, succeed};

/// A regression that takes a millisecond a step.
pub(crate) const TASK: &str = r#"
[network]
input = 6
parametrization = { ntk = { beta = 0.3 } }
fc = { widths = [24, 24], activation = { function = "tanh", scaling = "standardized" } }
outputs = 2

[data.teacher]
noise = 0.1

[task.supervised]
goal = "regression"
train = 24
test = 20
optimizer.adam = { rate = 0.02, beta1 = 0.9 }
steps = 100
batch = 7
checkpoint_every = 50
"#;

fn log(run: &Path) -> Vec<SupervisedLine> {
    let lines = RunDir::open(run).expect("a run").read_log().expect("a log");
    lines.into_iter().map(SupervisedLine::without_timings).collect()
}

fn essence(run: &Path) -> (Vec<SupervisedLine>, Vec<(std::path::PathBuf, Vec<u8>)>) {
    let mut all = files(&run.join("checkpoints/step_000100"));
    all.push(("data.npz".into(), std::fs::read(run.join("data.npz")).expect("data")));
    (log(run), all)
}

fn array(path: &Path, name: &str) -> Array<'static> {
    let all = read_arrays(path).expect("an .npz file");
    all.into_iter().find(|(found, _)| found == name).unwrap_or_else(|| panic!("no `{name}`")).1
}

/// Trains a configuration into `folder/out`.
fn train(folder: &Path, text: &str, out: &str, more: &[&str]) -> String {
    config(folder, text);
    let mut args = vec!["train", "tiny.toml", "--out", out, "--quiet"];
    args.extend(more);
    if !more.contains(&"--device") {
        args.extend(["--device", "flex"]);
    }
    succeed(folder, &args)
}

fn said(stderr: &str) -> String {
    stderr.split_whitespace().filter(|w| *w != "│").collect::<Vec<_>>().join(" ")
}

#[test]
fn fifty_and_fifty_steps_of_a_task_are_a_hundred() {
    let momentum = TASK.replace("adam = { rate = 0.02, beta1 = 0.9 }", "sgd = { rate = 0.2, momentum = 0.5 }");
    let batch_norm = TASK.replace("fc = { ", "fc = { norm = { batch = {} }, ");
    for (text, device) in [(TASK, "flex"), (TASK, "ndarray"), (&momentum, "flex"), (&batch_norm, "flex")] {
        let folder = folder();
        let on = ["--device", device];
        train(folder.path(), text, "whole", &on);
        train(folder.path(), text, "halves", &[&on[..], &["--set", "task.supervised.steps=50"]].concat());
        let resume =
            |flags: &[&str]| succeed(folder.path(), &[&["resume", "halves", "--quiet"], &on[..], flags].concat());
        resume(&["--steps", "+50"]);
        let (whole, halves) = (essence(&folder.path().join("whole")), essence(&folder.path().join("halves")));
        assert_eq!(whole.0.len(), 11, "a line at step 0 and every tenth");
        assert_eq!(whole.0, halves.0, "{device}: logs");
        assert_eq!(whole.1.len(), 3 + 1, "three files of a checkpoint, and the data");
        assert!(whole == halves, "{device}: files");
        for step in ["50", "0"] {
            resume(&["--from", step]);
            assert!(essence(&folder.path().join("halves")) == whole, "{device}: from step {step} again");
        }
        // The resolved configuration is the whole run.
        std::fs::copy(folder.path().join("whole/config.resolved.toml"), folder.path().join("again.toml"))
            .expect("copied");
        succeed(folder.path(), &[&["train", "again.toml", "--out", "again", "--quiet"], &on[..]].concat());
        assert!(essence(&folder.path().join("again")) == whole, "{device}: from the resolved configuration");
    }
}

/// One dense layer under gradient descent with squared loss, written out: with the kernel
/// `Θ(x, x') = (1 - β²) x·x' / n_0 + β²`, every step takes `η/N Θ(·, X) (f(X) - Y)` from the outputs.
#[test]
fn gradient_descent_of_a_linear_network_is_its_closed_form() {
    let text = TASK
        .replace("fc = { widths = [24, 24], activation = { function = \"tanh\", scaling = \"standardized\" } }", "")
        .replace("outputs = 2", "layers = [{ dense = { out = 2 } }]")
        .replace("optimizer.adam = { rate = 0.02, beta1 = 0.9 }", "optimizer.sgd.rate = 0.9")
        .replace("batch = 7", "");
    let folder = folder();
    train(folder.path(), &text, "a", &["--set", "task.supervised.steps=40"]);
    let data = folder.path().join("a/data.npz");
    let get = |name: &str| array(&data, name).to_f64();
    let (x, y, mut f) = (get("train_inputs"), get("train_targets"), get("train_outputs"));
    let (z, t, mut g) = (get("test_inputs"), get("test_targets"), get("test_outputs"));
    assert_eq!((x.len(), y.len(), z.len(), t.len()), (24 * 6, 24 * 2, 20 * 6, 20 * 2));
    let (n, beta) = (24, 0.3_f64);
    let kernel = |a: &[f64], b: &[f64]| {
        let dot: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
        (1.0 - beta * beta) * dot / 6.0 + beta * beta
    };
    let loss = |f: &[f64], y: &[f64]| {
        f.iter().zip(y).map(|(f, y)| (f - y).powi(2)).sum::<f64>() / (2.0 * (f.len() / 2) as f64)
    };
    let lines = log(&folder.path().join("a"));
    for step in 0..=40 {
        if step % 10 == 0 {
            let line = &lines[step / 10];
            assert_eq!((line.step, line.train_accuracy), (step as u64, None));
            for (got, want) in [(line.train_loss, loss(&f, &y)), (line.test_loss, loss(&g, &t))] {
                assert!((got - want).abs() < 1e-5 * want, "step {step}: {got} and {want}");
            }
        }
        let wrong: Vec<f64> = f.iter().zip(&y).map(|(f, y)| f - y).collect();
        for (outputs, inputs) in [(&mut f, &x), (&mut g, &z)] {
            for (out, a) in outputs.chunks_mut(2).zip(inputs.chunks(6)) {
                for (wrong, b) in wrong.chunks(2).zip(x.chunks(6)) {
                    for o in 0..2 {
                        out[o] -= 0.9 / f64::from(n) * kernel(a, b) * wrong[o];
                    }
                }
            }
        }
    }
    assert!(lines[4].train_loss < 0.8 * lines[0].train_loss);
}

#[test]
fn devices_train_alike() {
    let folder = folder();
    let mut devices = vec!["flex", "ndarray"];
    if wgpu_at_hand("wgpu trains a task like the CPU backends") {
        devices.push("wgpu:0");
    }
    let cross = TASK
        .replace("\"regression\"", "\"classification\"\nloss = \"cross_entropy\"")
        .replace("log_every", "")
        .replace("steps = 100", "steps = 20\nlog_every = 1");
    let logs: Vec<_> = devices
        .iter()
        .map(|device| {
            let out = device.replace(':', "");
            train(folder.path(), &cross, &out, &["--device", device]);
            log(&folder.path().join(out))
        })
        .collect();
    for (device, other) in devices.iter().zip(&logs).skip(1) {
        assert_eq!(other.len(), 21);
        for (a, b) in logs[0].iter().zip(other) {
            for (x, y) in [(a.train_loss, b.train_loss), (a.test_loss, b.test_loss)] {
                assert!((x - y).abs() <= 1e-3 * x.abs(), "{device}, step {}: {x} and {y}", a.step);
            }
        }
    }
}

#[test]
fn losses_fall_on_every_kind_of_task() {
    let folder = folder();
    let full = TASK.replace("batch = 7", "").replace("noise = 0.1", "");
    let classes = full.replace("\"regression\"", "\"classification\"");
    let one = classes.replace("outputs = 2", "outputs = 1");
    let cross = |text: &str| text.replace("train = 24", "train = 24\nloss = \"cross_entropy\"");
    let shapes = classes
        .replace("input = 6", "input = [1, 6, 6]")
        .replace("[data.teacher]", "[data.shapes]\ncount = 400")
        .replace("train = 24", "train = 24\nclasses = [0, 8]\ncentre = true");
    for (i, text) in
        [&full, &classes, &one, &cross(&classes), &cross(&one), &shapes, &cross(&shapes)].into_iter().enumerate()
    {
        let told = train(folder.path(), text, &i.to_string(), &[]);
        let lines = log(&folder.path().join(i.to_string()));
        let (first, last) = (&lines[0], &lines[lines.len() - 1]);
        assert!(last.train_loss < 0.1 * first.train_loss, "{i}: {} to {}", first.train_loss, last.train_loss);
        let metrics = std::fs::read_to_string(folder.path().join(format!("{i}/metrics.json"))).expect("metrics");
        let metrics: serde_json::Value = serde_json::from_str(&metrics).expect("JSON");
        assert_eq!(metrics["test"]["loss"].as_f64(), Some(last.test_loss), "{i}");
        assert_eq!(last.train_accuracy, if i == 0 { None } else { Some(1.0) }, "{i}: {told}");
    }
}

#[test]
fn kernels_take_the_samples_of_the_task() {
    let folder = folder();
    train(folder.path(), TASK, "a", &["--set", "task.supervised.steps=50"]);
    let ntk = |args: &[&str]| {
        let told = succeed(folder.path(), &[&["ntk"], args, &["--device", "flex", "--quiet"]].concat());
        let path = folder.path().join(told.trim());
        (path.clone(), array(&path, "ntk"))
    };
    let (path, of_run) = ntk(&["a", "--step", "0"]);
    assert!(path.ends_with("a/ntk/step_000000_network.npz"), "{}", path.display());
    assert_eq!(of_run.shape, [24, 24]);
    // Before the first step, the run's network is the configuration's.
    assert_eq!(ntk(&["tiny.toml", "--out", "k.npz"]).1, of_run);
    assert_eq!(ntk(&["a", "--step", "0", "--inputs", "a/data.npz:train_inputs", "--out", "l.npz"]).1, of_run);
    let (path, across) = ntk(&["a", "--step", "0", "--inputs", "test", "--inputs2", "train"]);
    assert!(path.ends_with("a/ntk/step_000000_network_test_train.npz"), "{}", path.display());
    assert_eq!(across.shape, [20, 24]);
    let files = ["--inputs", "a/data.npz:test_inputs", "--inputs2", "a/data.npz:train_inputs"];
    assert_eq!(ntk(&[&["a", "--step", "0", "--out", "m.npz"][..], &files].concat()).1, across);
    assert_eq!(ntk(&["a", "-n", "5", "--out", "n.npz"]).1.shape, [5, 5]);
    let drift = succeed(folder.path(), &["ntk", "a", "--steps", "all", "--device", "flex", "--quiet"]);
    let table = std::fs::read_to_string(folder.path().join(drift.trim())).expect("a table");
    assert!(drift.trim().ends_with("drift_network.csv") && table.lines().count() == 3, "{table}");

    let refused = |args: &[&str]| {
        let (code, _, stderr) = run(folder.path(), &[&["ntk"], args, &["--device", "flex"]].concat());
        assert_eq!(code, 2, "{stderr}");
        said(&stderr)
    };
    assert!(refused(&["a", "-n", "25"]).contains("the task has 24 such samples, -n asks for 25"));
    assert!(refused(&["a", "--inputs", "a/data.npz"]).contains("name one, such as FILE.npz:x"));
    assert!(refused(&["a", "--inputs", "a/data.npz:x"]).contains("there is no array `x`, only train_inputs,"));
    config(folder.path(), TASK.split("[data.teacher]").next().expect("a network"));
    assert!(refused(&["tiny.toml", "--inputs", "test"]).contains("this network has none"));
}

#[test]
fn check_shows_the_regime_with_and_without_a_task() {
    let folder = folder();
    config(folder.path(), TASK);
    let told = succeed(folder.path(), &["check", "tiny.toml", "--device", "flex"]);
    for words in [
        "1.072 chaos",
        "rate W",
        "24 samples to train, 20 to test",
        "regression by 2 output(s), squared loss, 7 samples",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    config(folder.path(), TASK.split("[data.teacher]").next().expect("a network"));
    let told = succeed(folder.path(), &["check", "tiny.toml", "--device", "flex"]);
    assert!(told.contains("1.072 chaos") && !told.contains("rate W") && !told.contains("cost"), "{told}");
    let (code, _, stderr) = run(folder.path(), &["train", "tiny.toml", "--device", "flex"]);
    assert_eq!(code, 2);
    assert!(said(&stderr).contains("`tiny.toml` describes a network without a task"), "{stderr}");
    assert!(!folder.path().join("runs").exists(), "nothing half-written");
}

#[test]
fn wrong_labels_are_refused_before_anything_is_written() {
    let folder = folder();
    let idx = |name: &str, sizes: &[u32], bytes: &[u8]| {
        let mut file = vec![0, 0, 8, sizes.len() as u8];
        file.extend(sizes.iter().flat_map(|n| n.to_be_bytes()));
        file.extend(bytes);
        std::fs::write(folder.path().join(name), file).expect("written");
    };
    let pixels: Vec<u8> = (0..60 * 16_u32).map(|i| (i * 37 % 251) as u8).collect();
    idx("images", &[60, 4, 4], &pixels);
    idx("labels", &[60], &(0..60).map(|i| [3, 7, 8][i % 3]).collect::<Vec<u8>>());
    idx("short", &[59], &[0; 59]);
    let text = TASK.replace("input = 6", "input = 16").replace("\"regression\"", "\"classification\"");
    let text = |data: &str, more: &str| {
        text.replace("[data.teacher]\nnoise = 0.1", &format!("[data.idx]\nimages = \"images\"\n{data}"))
            .replace("train = 24", &format!("train = 24\n{more}"))
    };
    let refused = |text: &str| {
        config(folder.path(), text);
        let (code, stdout, stderr) = run(folder.path(), &["train", "tiny.toml", "--out", "a", "--device", "flex"]);
        assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
        assert!(!folder.path().join("a").exists(), "nothing half-written");
        said(&stderr)
    };
    assert!(
        refused(&text("", ""))
            .contains("has no labels, which classification needs; name the file as `data.idx.labels`")
    );
    assert!(refused(&text("labels = \"gone\"", "")).contains("gone"));
    assert!(refused(&text("labels = \"short\"", "")).contains("holds 59 labels for 60 images"));
    let labels = "labels = \"labels\"";
    assert!(
        refused(&text(labels, "classes = [3, 9]"))
            .contains("no sample of class 9; its labels are 3 (20), 7 (20), 8 (20)")
    );
    assert!(refused(&text(labels, "")).contains("has 3 classes for 2 network output(s)"));
    let few = refused(&text(labels, "classes = [3, 8]"));
    assert!(few.contains("has 40 samples of these classes; `train` and `test` ask for 24 and 20"), "{few}");
    // With labels that fit, it trains.
    let fits = text(labels, "classes = [3, 8]").replace("test = 20", "test = 16");
    train(folder.path(), &fits, "b", &["--set", "task.supervised.steps=3"]);
    let (code, _, stderr) = run(folder.path(), &["sample", "b"]);
    assert_eq!(code, 2);
    assert!(said(&stderr).contains("only GANs draw samples"), "{stderr}");
}

#[test]
fn a_task_that_blows_up_stops_and_keeps_the_last_good_checkpoint() {
    let folder = folder();
    let text = TASK.replace("adam = { rate = 0.02, beta1 = 0.9 }", "sgd.rate = 40.0").replace("\"tanh\"", "\"relu\"");
    config(folder.path(), &text);
    let (code, _, stderr) = run(folder.path(), &["train", "tiny.toml", "--out", "a", "--device", "flex", "--quiet"]);
    assert_eq!(code, 1, "{stderr}");
    assert!(said(&stderr).contains("is not finite; the last checkpoint is from before"), "{stderr}");
    assert!(said(&stderr).contains("of the network (a dense)"), "{stderr}");
    let checkpoints = RunDir::open(&folder.path().join("a")).expect("a run").checkpoints().expect("read");
    assert_eq!(checkpoints, [0]);
    // What is kept can be gone on from.
    let (code, _, _) = run(folder.path(), &["resume", "a", "--steps", "1", "--device", "flex", "--quiet"]);
    assert_eq!(code, 0);
}

#[test]
fn ctrl_c_saves_a_task_and_it_goes_on_exactly() {
    let folder = folder();
    train(folder.path(), TASK, "whole", &[]);
    let mut child = crate::support::fintan(folder.path())
        .args(["train", "tiny.toml", "--out", "cut", "--device", "flex", "--set", "task.supervised.steps=1000000"])
        .args(["--quiet"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("starts");
    for _ in 0..1000 {
        if folder.path().join("cut/log.jsonl").is_file() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let interrupted = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupted.expect("kill").success());
    assert_eq!(child.wait().expect("ends").code(), Some(130));
    let steps = RunDir::open(&folder.path().join("cut")).expect("a run").checkpoints().expect("read");
    let &last = steps.last().expect("a checkpoint was saved");
    if last < 100 {
        succeed(folder.path(), &["resume", "cut", "--steps", "100", "--device", "flex", "--quiet"]);
        assert!(essence(&folder.path().join("cut")) == essence(&folder.path().join("whole")));
    }
}
