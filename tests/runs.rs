//! Run directories: a run goes on exactly, nothing is overwritten, nothing is lost.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{TINY, answer, config, files, fintan, folder, log, run, succeed};

/// Everything of a run that one seed must reproduce on one device.
fn essence(run: &Path) -> (Vec<fintan_artifact::LogLine>, Vec<(std::path::PathBuf, Vec<u8>)>) {
    let mut all = files(&run.join("grids"));
    all.extend(files(&run.join("checkpoints/step_000100")));
    (log(run), all)
}

#[test]
fn fifty_and_fifty_steps_are_a_hundred() {
    for device in ["flex", "ndarray"] {
        let folder = folder();
        config(folder.path(), TINY);
        let train = |out: &str, more: &[&str]| {
            let mut args = vec!["train", "tiny.toml", "--out", out, "--device", device, "--quiet"];
            args.extend(more);
            succeed(folder.path(), &args);
        };
        train("whole", &[]);
        train("halves", &["--set", "train.steps=50"]);
        succeed(folder.path(), &["resume", "halves", "--steps", "+50", "--device", device, "--quiet"]);
        let (whole, halves) = (essence(&folder.path().join("whole")), essence(&folder.path().join("halves")));
        assert_eq!(whole.0, halves.0, "{device}: logs");
        assert_eq!(whole.1.len(), 3 + 6, "three grids, six files of a checkpoint");
        for ((name, a), (_, b)) in whole.1.iter().zip(&halves.1) {
            assert!(a == b, "{device}: {} differs", name.display());
        }
        // Going back to an older checkpoint takes the later steps back and comes to the same end.
        succeed(folder.path(), &["resume", "halves", "--from", "50", "--device", device, "--quiet"]);
        assert!(essence(&folder.path().join("halves")) == whole, "{device}: from step 50 again");
    }
}

#[test]
fn one_seed_one_run_and_another_seed_another() {
    let folder = folder();
    config(folder.path(), TINY);
    for (out, seed) in [("a", "1"), ("b", "1"), ("c", "2")] {
        let args = ["train", "tiny.toml", "--out", out, "--seed", seed, "--device", "flex", "--quiet"];
        succeed(folder.path(), &args);
    }
    let [a, b, c] = ["a", "b", "c"].map(|out| essence(&folder.path().join(out)));
    assert!(a == b);
    assert!(a.0 != c.0 && a.1 != c.1);
}

#[test]
fn ctrl_c_saves_and_the_run_goes_on_exactly() {
    let folder = folder();
    config(folder.path(), TINY);
    succeed(folder.path(), &["train", "tiny.toml", "--out", "whole", "--device", "flex", "--quiet"]);
    let mut child = fintan(folder.path())
        .args(["train", "tiny.toml", "--out", "cut", "--device", "flex", "--set", "train.steps=1000000", "--quiet"])
        .stdout(Stdio::null())
        .spawn()
        .expect("starts");
    let written = folder.path().join("cut/log.jsonl");
    for _ in 0..1000 {
        if written.is_file() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(interrupted.success());
    let status = child.wait().expect("ends");
    assert_eq!(status.code(), Some(130));
    let steps = fintan_artifact::RunDir::open(&folder.path().join("cut")).expect("a run").checkpoints().expect("read");
    let &last = steps.last().expect("a checkpoint was saved");
    // The interrupt may come after step 100; then the comparison starts from its checkpoint or there is none to make.
    if last < 100 {
        succeed(folder.path(), &["resume", "cut", "--steps", "100", "--device", "flex", "--quiet"]);
        assert!(essence(&folder.path().join("cut")) == essence(&folder.path().join("whole")));
    }
}

#[test]
fn an_existing_run_is_never_overwritten() {
    let folder = folder();
    config(folder.path(), &TINY.replace("steps = 100", "steps = 5"));
    let train = |args: &[&str]| {
        let mut all = vec!["train", "tiny.toml", "--device", "flex", "--quiet"];
        all.extend(args);
        run(folder.path(), &all)
    };
    assert_eq!(train(&["--out", "a"]).0, 0);
    let before = files(&folder.path().join("a"));
    let (code, _, stderr) = train(&["--out", "a"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("`a` exists already; a run never overwrites another"), "{stderr}");
    assert!(files(&folder.path().join("a")) == before);
    // Without a name, runs are numbered.
    assert_eq!((train(&[]).0, train(&[]).0), (0, 0));
    assert!(folder.path().join("runs/tiny/metrics.json").is_file());
    assert!(folder.path().join("runs/tiny-2/metrics.json").is_file());
}

#[test]
fn a_run_directory_holds_what_it_promises() {
    let folder = folder();
    config(folder.path(), &TINY.replace("steps = 100", "steps = 60"));
    let told = succeed(folder.path(), &["train", "tiny.toml", "--out", "a", "--device", "flex", "--quiet"]);
    assert!(told.contains("a/grids/step_000060.png"), "{told}");
    let names: Vec<String> =
        files(&folder.path().join("a")).iter().map(|(name, _)| name.display().to_string()).collect();
    let checkpoint = |step: &str| {
        ["average", "discriminator", "discriminator_optimizer", "generator", "generator_optimizer"]
            .map(|name| format!("checkpoints/step_{step}/{name}.safetensors"))
            .into_iter()
            .chain([format!("checkpoints/step_{step}/state.json")])
            .collect::<Vec<_>>()
    };
    let mut want = vec!["checkpoints/latest".to_owned()];
    want.extend(checkpoint("000050"));
    want.extend(checkpoint("000060"));
    want.extend(["config.resolved.toml", "config.toml", "env.json"].map(String::from));
    want.extend(["000000", "000050", "000060"].map(|step| format!("grids/step_{step}.png")));
    want.extend(["log.jsonl", "metrics.json"].map(String::from));
    assert_eq!(names, want);
}

#[test]
fn samples_come_from_the_checkpoint_alone() {
    let folder = folder();
    config(folder.path(), &TINY.replace("steps = 100", "steps = 20").replace("grid = [2, 3]", "grid = [2, 2]"));
    succeed(folder.path(), &["train", "tiny.toml", "--out", "a", "--device", "flex", "--quiet"]);
    // The data set may be gone by now.
    let resolved = folder.path().join("a/config.resolved.toml");
    let text = std::fs::read_to_string(&resolved).expect("read");
    let (shapes, ()) = (text.find("[data.shapes]").expect("data"), ());
    let rest = text[shapes + 1..].find("\n[").map_or(text.len(), |end| shapes + 1 + end);
    std::fs::write(&resolved, format!("{}[data.folder]\npath = \"gone\"\n{}", &text[..shapes], &text[rest..]))
        .expect("written");
    let sample = |args: &[&str]| {
        let mut all = vec!["sample", "a", "--device", "flex"];
        all.extend(args);
        succeed(folder.path(), &all).trim().to_owned()
    };
    let batch = sample(&["-n", "4", "--columns", "2", "--bn", "batch"]);
    assert!(batch.ends_with("samples/step_000020_seed_0_bn-batch.png"), "{batch}");
    // With the batch's own statistics, the run's seed gives the run's grid.
    let bytes = |path: &str| std::fs::read(folder.path().join(path)).expect("a picture");
    assert!(bytes(&batch) == bytes("a/grids/step_000020.png"));
    let running = sample(&["-n", "4", "--columns", "2"]);
    assert!(bytes(&running) != bytes(&batch));
    assert!(bytes(&sample(&["-n", "4", "--columns", "2", "--seed", "5"])) != bytes(&running));
    let (code, _, stderr) = run(folder.path(), &["sample", "a", "--step", "7"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("holds no checkpoint of step 7; there are: 20"), "{stderr}");
}

#[test]
fn damaged_and_foreign_checkpoints_are_named() {
    let folder = folder();
    config(folder.path(), &TINY.replace("steps = 100", "steps = 10"));
    succeed(folder.path(), &["train", "tiny.toml", "--out", "a", "--device", "flex", "--quiet"]);
    let checkpoint = folder.path().join("a/checkpoints/step_000010");
    let fails = |path: &Path, bytes: &[u8]| {
        let before = std::fs::read(path).expect("read");
        std::fs::write(path, bytes).expect("spoilt");
        let (code, stdout, stderr) = run(folder.path(), &["resume", "a", "--steps", "+5", "--device", "flex"]);
        std::fs::write(path, before).expect("mended");
        assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
        stderr.split_whitespace().filter(|w| *w != "│").collect::<Vec<_>>().join(" ")
    };
    let weights = checkpoint.join("generator.safetensors");
    let whole = std::fs::read(&weights).expect("read");
    let cut = fails(&weights, &whole[..whole.len() - 10]);
    assert!(cut.contains("generator.safetensors") && cut.contains("not a complete safetensors file"), "{cut}");
    let discriminator = std::fs::read(checkpoint.join("discriminator.safetensors")).expect("read");
    assert!(fails(&weights, &discriminator).contains("tensor `0.weight` must have shape"));
    let state = checkpoint.join("state.json");
    assert!(fails(&state, b"{ \"version\": 1, ").contains("state.json"));
    let newer = fails(&state, b"{ \"version\": 99, \"step\": 10, \"images_seen\": 0 }");
    assert!(newer.contains("has version 99; this program reads up to 1"), "{newer}");
    // After all that, the run still goes on.
    succeed(folder.path(), &["resume", "a", "--steps", "+5", "--device", "flex", "--quiet"]);
    let (code, _, stderr) = run(folder.path(), &["resume", ".", "--device", "flex"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("is no run directory"), "{stderr}");
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_checkpoint() {
    let folder = folder();
    let text = TINY.replace("norm = { layer = {} }", "norm = \"none\"").replace("n_critic = 2", "n_critic = 1");
    config(folder.path(), &text.replace("checkpoint_every = 50", "checkpoint_every = 1"));
    // The larger the rate, the sooner the discriminator blows up; some blow up after a checkpoint.
    let mut kept = 0;
    for (out, rate) in [("a", "1e2"), ("b", "1e4"), ("c", "1e8"), ("d", "1e30")] {
        let rate = format!("discriminator.optimizer.sgd.rate={rate}");
        let flags = ["--quiet", "--set", &rate, "--set", "train.log_every=1"];
        let (code, _, stderr) =
            run(folder.path(), &[&["train", "tiny.toml", "--out", out, "--device", "flex"], &flags[..]].concat());
        let said = stderr.split_whitespace().filter(|w| *w != "│").collect::<Vec<_>>().join(" ");
        if out == "d" {
            assert_eq!(code, 1, "{said}");
        }
        if code == 0 {
            continue;
        }
        assert!(said.contains("is not finite; the last checkpoint is from before"), "{said}");
        let named = ["of the discriminator (a conv)", "of the generator (a deconv)", "optimiser"];
        assert!(named.iter().any(|name| said.contains(name)), "{said}");
        let checkpoints = folder.path().join(out).join("checkpoints");
        if !checkpoints.is_dir() {
            continue;
        }
        for (name, bytes) in files(&checkpoints) {
            if name.extension().is_some_and(|e| e == "safetensors") {
                let tensors = fintan_net::weights::read_safetensors(&bytes).expect("whole");
                assert!(tensors.values().all(|t| t.iter::<f64>().all(f64::is_finite)), "{out}: {}", name.display());
                kept += 1;
            }
        }
    }
    assert!(kept > 0, "no run blew up after a checkpoint");
}

#[test]
fn json_events_are_lines_of_json() {
    let folder = folder();
    config(folder.path(), &TINY.replace("steps = 100", "steps = 10"));
    let told = succeed(folder.path(), &["train", "tiny.toml", "--device", "flex", "--json", "--quiet"]);
    let events: Vec<serde_json::Value> = told.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert_eq!(
        events.iter().map(|e| e["event"].as_str().expect("a name")).collect::<Vec<_>>(),
        ["step", "step", "done"]
    );
}

/// A message without the breaks of its lines, whose places depend on the numbers in the names of files.
fn unwrapped(stderr: &str) -> String {
    stderr.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ")
}

/// A disk that fills: here, files that may not grow beyond some kilobytes.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_fills_ends_the_run_and_leaves_nothing_half_written() {
    let folder = folder();
    let path = config(folder.path(), TINY);
    let program = env!("CARGO_BIN_EXE_fintan");
    let limited = |command: &str| {
        // The signal is ignored, so that writes fail with an error, as on a full disk.
        let script = format!("trap '' XFSZ; ulimit -f 8; exec {program} {command} --device flex --quiet");
        let output = std::process::Command::new("bash").args(["-c", &script]).current_dir(folder.path()).output();
        answer(output.expect("bash starts"))
    };
    let whole = |folder: &Path| {
        files(folder).iter().all(|(name, _)| !name.to_string_lossy().contains("unfinished")) && folder.is_dir()
    };
    let (code, _, stderr) = limited(&format!("train {} --out r", path.display()));
    assert_eq!(code, 1, "{stderr}");
    assert!(unwrapped(&stderr).contains("too large") && stderr.contains("checkpoints"), "{stderr}");
    let run = folder.path().join("r");
    assert!(whole(&run) && run.join("config.resolved.toml").is_file());
    assert!(files(&run).iter().all(|(name, _)| !name.starts_with("checkpoints")), "no half checkpoint");

    let (code, _, stderr) = limited(&format!("ntk {} -n 64 --out k.npz", path.display()));
    assert!(code == 1 && unwrapped(&stderr).contains("too large"), "{stderr}");
    assert!(whole(folder.path()) && !folder.path().join("k.npz").exists());
}
