//! The kernel beside training is the kernel that `fintan ntk` finds.

use std::path::Path;

use fintan_artifact::{Array, EventKind, RunDir, read_arrays, write_npz};
use serde_json::Value;

use crate::supervised::TASK;
use crate::support::{TINY, config, folder, run, succeed};

fn array(path: &Path, name: &str) -> Array<'static> {
    let all = read_arrays(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    all.into_iter().find(|(found, _)| found == name).unwrap_or_else(|| panic!("no `{name}`")).1
}

/// Lines without what they cost.
fn lines(run: &Path) -> Vec<Value> {
    let mut lines: Vec<Value> = RunDir::open(run).expect("a run").read_kernels().expect("lines");
    for line in &mut lines {
        let seconds = line.as_object_mut().expect("an object").remove("seconds");
        assert!(seconds.and_then(|s| s.as_f64()).is_some_and(|s| s > 0.0), "{line}");
    }
    lines
}

fn steps(run: &Path) -> Vec<u64> {
    lines(run).iter().map(|line| line["step"].as_u64().expect("a step")).collect()
}

/// Generators whose samples do not mix.
fn gan(more: &str) -> String {
    format!(
        "{}\n[observe.ntk]\nevery = 20\nsamples = 5\n{more}\n",
        TINY.replace("norm = { batch = {} }", "norm = \"none\"")
    )
}

#[test]
fn the_kernel_beside_a_gan_is_that_of_its_checkpoints_and_goes_on_without_doubles() {
    let folder = folder();
    config(folder.path(), &gan("keep = true"));
    let train = |out: &str, steps: &str| {
        succeed(folder.path(), &["train", "tiny.toml", "--out", out, "--device", "flex", "--quiet", "--set", steps]);
    };
    train("whole", "train.steps=100");
    train("halves", "train.steps=50");
    succeed(folder.path(), &["resume", "halves", "--steps", "+50", "--device", "flex", "--quiet"]);
    let [whole, halves] = ["whole", "halves"].map(|out| folder.path().join(out));
    assert_eq!(steps(&whole), [0, 20, 40, 60, 80, 100]);
    assert_eq!(lines(&whole), lines(&halves));
    // Back to step 50, and on: what came later is measured again, once.
    succeed(folder.path(), &["resume", "halves", "--from", "50", "--device", "flex", "--quiet"]);
    assert_eq!(lines(&whole), lines(&halves));
    let events = RunDir::open(&whole).expect("a run").read_events().expect("a log");
    let ntk: Vec<_> = events.iter().filter(|event| event.event == EventKind::Ntk).collect();
    assert!(ntk.len() == 6 && ntk.iter().all(|event| event.seconds.is_some_and(|s| s > 0.0)), "{events:?}");

    // The same numbers from the checkpoint, of the average that samples are drawn from.
    let ntk = |flags: &[&str]| {
        let device = ["ntk", "whole", "--step", "100", "--device", "flex", "--json"];
        let told = succeed(folder.path(), &[&device[..], flags].concat());
        serde_json::from_str::<Value>(&told).expect("JSON")
    };
    let line = lines(&whole).pop().expect("a line");
    let traced = ntk(&["--inputs", "whole/ntk/probe.npz:inputs", "--entries", "traced", "--out", "k.npz"]);
    let (theirs, ours) = (folder.path().join("k.npz"), whole.join("ntk/observed_step_000100.npz"));
    assert_eq!(array(&theirs, "ntk"), array(&ours, "ntk"));
    // Added up part by part here, at once there.
    let [a, b] = [&line, &traced].map(|of| of["trace"].as_f64().expect("a number"));
    assert!((a - b).abs() < 1e-12 * b, "{a} and {b}");
    for key in ["largest_eigenvalue", "condition_number", "effective_rank"] {
        assert_eq!(line[key], traced[key], "{key}");
    }
    // Its drift, from the two files alone.
    let values = |name: &str| array(&whole.join("ntk").join(name), "ntk").to_f64();
    let (end, start) = (values("observed_step_000100.npz"), values("observed_step_000000.npz"));
    let norm = |v: Vec<f64>| v.iter().map(|x| x * x).sum::<f64>().sqrt();
    let drift = norm(end.iter().zip(&start).map(|(a, b)| a - b).collect()) / norm(start);
    let told = line["drift"].as_f64().expect("a number");
    assert!((told - drift).abs() < 1e-12 && drift > 1e-3, "{told} and {drift}");

    let probe = array(&whole.join("ntk/probe.npz"), "inputs");
    let first = Array::f64(&[1, 6], probe.to_f64()[..6].to_vec());
    write_npz(&folder.path().join("first.npz"), &[("x", first)]).expect("written");
    let pixels = ntk(&["--inputs", "first.npz:x", "--entries", "full", "--no-parts", "--out", "p.npz"]);
    assert!(line["pixels"]["border_ratio"].as_f64().is_some_and(|ratio| ratio > 0.0), "{line}");
    assert_eq!(line["pixels"], pixels["checkerboard"]);
}

#[test]
fn observation_changes_nothing_of_training_and_batch_norm_is_measured_without_pixels() {
    let folder = folder();
    let train = |out: &str, text: &str| {
        config(folder.path(), text);
        let flags = ["--set", "train.steps=20", "--device", "flex", "--quiet"];
        succeed(folder.path(), &[&["train", "tiny.toml", "--out", out], &flags[..]].concat());
        let file = folder.path().join(out).join("checkpoints/step_000020/generator.safetensors");
        std::fs::read(file).expect("a checkpoint")
    };
    let observed = format!("{TINY}\n[observe.ntk]\nevery = 10\nsamples = 4\n");
    assert!(train("plain", TINY) == train("observed", &observed));
    let lines = lines(&folder.path().join("observed"));
    assert!(lines.len() == 3 && lines.iter().all(|line| line.get("pixels").is_none()), "{lines:?}");
    assert!(!folder.path().join("plain/ntk").exists());
}

#[test]
fn the_kernel_beside_a_task_is_that_of_its_first_training_samples() {
    let folder = folder();
    config(folder.path(), &format!("{TASK}\n[observe.ntk]\nevery = 50\nsamples = 7\n"));
    succeed(folder.path(), &["train", "tiny.toml", "--out", "a", "--device", "flex", "--quiet"]);
    let told = succeed(folder.path(), &["ntk", "a", "--steps", "all", "-n", "7", "--device", "flex", "--json"]);
    let theirs: Value = serde_json::from_str(&told).expect("JSON");
    let (ours, theirs) = (lines(&folder.path().join("a")), theirs["steps"].as_array().expect("steps").clone());
    assert_eq!((ours.len(), theirs.len()), (3, 3));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        for key in ["step", "trace", "drift", "alignment"] {
            assert_eq!(ours[key], theirs[key], "{key}");
        }
    }
}

#[test]
fn another_probe_set_is_refused_and_the_run_is_left_as_it_is() {
    let folder = folder();
    config(folder.path(), &gan(""));
    succeed(
        folder.path(),
        &["train", "tiny.toml", "--out", "a", "--device", "flex", "--quiet", "--set", "train.steps=50"],
    );
    let resume = |more: &[&str]| {
        run(folder.path(), &[&["resume", "a", "--steps", "+50", "--device", "flex", "--quiet"], more].concat())
    };
    let (code, _, stderr) = resume(&["--set", "observe.ntk.samples=6"]);
    assert!(code == 2 && stderr.contains("`observe.ntk.samples` cannot change in a run that has begun"), "{stderr}");
    // A probe that was put there by hand.
    let probe = folder.path().join("a/ntk/probe.npz");
    let mut arrays = read_arrays(&probe).expect("read");
    for (name, array) in &mut arrays {
        if name == "inputs" {
            *array = Array::f64(&[5, 6], vec![1.0; 30]);
        }
    }
    let named: Vec<(&str, Array)> = arrays.iter().map(|(name, array)| (name.as_str(), array.clone())).collect();
    write_npz(&probe, &named).expect("written");
    let (code, _, stderr) = resume(&[]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("holds other inputs than `observe.ntk`"), "{stderr}");
    assert_eq!(steps(&folder.path().join("a")), [0, 20, 40]);
}
