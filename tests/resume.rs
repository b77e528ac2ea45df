//! Runs that go on: after kills, with other data, with other settings.

use std::path::Path;

use fintan_artifact::{Environment, Rewind, RunDir};

use crate::supervised::TASK;
use crate::support::{TINY, config, files, folder, run, succeed};

/// A short run with a checkpoint at each step, kernels beside it, and its data in a file.
fn short(folder: &Path) -> String {
    idx(folder, "images", 20, 7);
    TINY.replace("data.shapes.count = 256", "data.idx.images = \"images\"")
        .replace("norm = { batch = {} }", "norm = \"none\"")
        .replace("steps = 100", "steps = 4")
        .replace("n_critic = 2", "n_critic = 1")
        .replace("log_every = 5", "log_every = 1")
        .replace("grid_every = 50", "grid_every = 1")
        .replace("checkpoint_every = 50", "checkpoint_every = 1\nkeep = 100")
        + "\n[observe.ntk]\nevery = 1\nsamples = 2\n"
}

/// Grey images of 8x8 as an IDX file, the pixels drawn from a seed.
fn idx(folder: &Path, name: &str, count: u8, seed: u64) {
    let mut state = seed;
    let mut pixel = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let mut bytes = vec![0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, 8, 0, 0, 0, 8];
    bytes.extend((0..usize::from(count) * 64).map(|_| pixel()));
    std::fs::write(folder.join(name), bytes).expect("written");
}

/// Files of a run with their bytes; logs without what they cost, and not the settings, which have their own tests.
fn whole(run: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut all = files(run);
    all.retain(|(name, _)| !name.ends_with("env.json") && !name.ends_with("config.resolved.toml"));
    for (_, bytes) in all.iter_mut().filter(|(name, _)| name.extension().is_some_and(|e| e == "jsonl")) {
        let text = String::from_utf8(bytes.clone()).expect("UTF-8");
        let timed = ["seconds", "steps_per_second", "data_wait", "message"];
        let lines = text.lines().map(|line| {
            let mut line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let fields = line.as_object_mut().expect("an object");
            fields.retain(|key, _| !timed.contains(&key.as_str()));
            format!("{line}\n")
        });
        *bytes = lines.collect::<String>().into_bytes();
    }
    all
}

fn assert_same(a: &Path, b: &Path, what: &str) {
    let (a, b) = (whole(a), whole(b));
    let names = |all: &[(std::path::PathBuf, Vec<u8>)]| all.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&a), names(&b), "{what}");
    for ((name, a), (_, b)) in a.iter().zip(&b) {
        assert!(a == b, "{what}: {}", name.display());
    }
}

fn copy(from: &Path, to: &Path) {
    for (name, bytes) in files(from) {
        let path = to.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, bytes).expect("copied");
    }
}

fn quietly(folder: &Path, args: &[&str]) -> (i32, String, String) {
    let (code, stdout, stderr) = run(folder, &[args, &["--device", "flex", "--quiet"]].concat());
    (code, stdout, stderr.split_whitespace().filter(|w| *w != "│").collect::<Vec<_>>().join(" "))
}

fn environment(run: &Path) -> Environment {
    RunDir::open(run).expect("a run").environment().expect("read")
}

#[test]
fn what_a_kill_left_out_at_the_end_is_made_by_resume() {
    let folder = folder();
    let root = folder.path();
    for (text, last) in [(short(root), "grids/step_000004.png"), (TASK.to_owned(), "data.npz")] {
        config(root, &text);
        let _ = std::fs::remove_dir_all(root.join("whole"));
        let told = succeed(root, &["train", "tiny.toml", "--out", "whole", "--device", "flex", "--quiet"]);
        let finished = whole(&root.join("whole"));
        for (k, missing) in [&["metrics.json"][..], &[last], &["metrics.json", last]].iter().enumerate() {
            let out = format!("{k}_{}", last.replace('/', "_"));
            copy(&root.join("whole"), &root.join(&out));
            for name in *missing {
                std::fs::remove_file(root.join(&out).join(name)).expect("removed");
            }
            let (code, stdout, stderr) = quietly(root, &["resume", &out]);
            assert_eq!(code, 0, "{stderr}");
            assert_eq!(stdout, told.replace("whole", &out), "the last lines are said");
            assert_same(&root.join("whole"), &root.join(&out), &format!("{missing:?}"));
        }
        // Nothing is missing: nothing is done.
        let (code, stdout, _) = quietly(root, &["resume", "whole"]);
        assert_eq!((code, stdout.as_str()), (0, ""));
        assert!(whole(&root.join("whole")) == finished);
    }
    // A summary of an earlier end, and an evaluation alone, are no summary of this one.
    config(root, &short(root));
    for (out, metrics) in [("earlier", "{ \"step\": 2 }"), ("alone", "{ \"evaluations\": {} }")] {
        succeed(root, &["train", "tiny.toml", "--out", out, "--device", "flex", "--quiet"]);
        let file = root.join(out).join("metrics.json");
        let before = std::fs::read(&file).expect("written");
        std::fs::write(&file, metrics).expect("replaced");
        assert_eq!(quietly(root, &["resume", out]).0, 0);
        let [was, is] = [before, std::fs::read(&file).expect("written")].map(|bytes| {
            let mut read: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
            read.as_object_mut().expect("an object").remove("evaluations");
            read
        });
        assert_eq!(was, is, "{out}");
    }
}

#[test]
fn a_kill_anywhere_on_the_way_back_goes_on_to_the_same_bytes() {
    let folder = folder();
    let root = folder.path();
    config(root, &short(root));
    succeed(root, &["train", "tiny.toml", "--out", "whole", "--device", "flex", "--quiet"]);
    let plan = RunDir::open(&root.join("whole")).expect("a run").undoing(Some(2)).expect("planned");
    assert_eq!(plan.len(), 8, "{plan:?}");
    // Killed after it was decided to go back, and after each removal.
    for done in 0..=plan.len() {
        let out = format!("back_{done}");
        copy(&root.join("whole"), &root.join(&out));
        let back = RunDir::open(&root.join(&out)).expect("a run");
        let decided = Environment { rewind: Some(Rewind { to: Some(2) }), ..back.environment().expect("read") };
        back.write_environment(&decided).expect("written");
        for undo in &back.undoing(Some(2)).expect("planned")[..done] {
            back.undo(undo).expect("done");
        }
        let (code, stdout, stderr) = quietly(root, &["resume", &out]);
        assert_eq!(code, 0, "{done}: {stdout}{stderr}");
        assert_same(&root.join("whole"), &root.join(&out), &format!("killed after {done} of {}", plan.len()));
        assert_eq!(environment(&root.join(&out)), environment(&root.join("whole")), "{done}");
    }
    // A checkpoint that goes away is seen by nobody, nor is a part of one that goes away already.
    let back = RunDir::open(&root.join("back_0")).expect("a run");
    let decided = Environment { rewind: Some(Rewind { to: Some(2) }), ..back.environment().expect("read") };
    std::fs::rename(back.checkpoint(1), root.join("back_0/checkpoints/.step_000001.0.unfinished")).expect("renamed");
    back.write_environment(&decided).expect("written");
    for args in [&["sample", "back_0", "--step", "4"][..], &["resume", "back_0", "--from", "1"]] {
        let (code, _, said) = quietly(root, args);
        assert!(code == 2 && said.contains("holds no checkpoint of step") && said.ends_with("there are: 2"), "{said}");
    }
    let (code, stdout, said) = quietly(root, &["ntk", "back_0", "-n", "2", "--steps", "all", "--json"]);
    assert!(code == 0 && stdout.matches("\"step\"").count() == 1, "{stdout}{said}");
}

#[test]
fn a_run_without_a_checkpoint_starts_anew_and_one_that_lost_them_does_not() {
    let folder = folder();
    let root = folder.path();
    for text in [short(root), TASK.replace("steps = 100", "steps = 20")] {
        config(root, &text);
        for out in ["whole", "killed"] {
            let _ = std::fs::remove_dir_all(root.join(out));
        }
        succeed(root, &["train", "tiny.toml", "--out", "whole", "--device", "flex", "--quiet"]);
        // Killed in front of its first checkpoint, with a line that is cut short.
        copy(&root.join("whole"), &root.join("killed"));
        let killed = root.join("killed");
        std::fs::remove_dir_all(killed.join("checkpoints")).expect("removed");
        std::fs::remove_file(killed.join("metrics.json")).expect("removed");
        let log = std::fs::read_to_string(killed.join("log.jsonl")).expect("a log");
        let first = u64::from(text.contains("[generator]"));
        let lines = log.lines().filter(|line| {
            let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            line["step"].as_u64().is_some_and(|step| step <= first)
        });
        let cut = lines.collect::<Vec<_>>().join("\n") + "\n{ \"step\": 2, \"d_l";
        std::fs::write(killed.join("log.jsonl"), cut).expect("cut");
        let (code, stdout, stderr) = quietly(root, &["resume", "killed"]);
        assert_eq!(code, 0, "{stdout}{stderr}");
        assert_same(&root.join("whole"), &killed, "anew");
        // Nothing but its configuration is there yet.
        std::fs::remove_dir_all(&killed).expect("removed");
        std::fs::create_dir(&killed).expect("made");
        for name in ["config.toml", "config.resolved.toml"] {
            std::fs::copy(root.join("whole").join(name), killed.join(name)).expect("copied");
        }
        assert_eq!(quietly(root, &["resume", "killed"]).0, 0);
        assert_same(&root.join("whole"), &killed, "from the configuration");
        // Checkpoints that someone took away: what is left of the run is not thrown after them.
        std::fs::remove_dir_all(killed.join("checkpoints")).expect("removed");
        let before = files(&killed);
        let (code, _, said) = quietly(root, &["resume", "killed"]);
        assert!(code == 2 && said.contains("holds no complete checkpoint; there were some"), "{said}");
        assert!(files(&killed) == before);
    }
}

#[test]
fn a_first_step_that_is_not_finite_is_gone_on_from_with_other_rates() {
    let folder = folder();
    let root = folder.path();
    let text = short(root).replace("optimizer.adam.rate = 2e-3", "optimizer.sgd.rate = 1e30");
    config(root, &text.replace("rate = 0.01", "rate = 1e30"));
    let (code, _, said) = quietly(root, &["train", "tiny.toml", "--out", "a"]);
    assert!(code == 1 && said.contains("step 1: ") && said.contains("is not finite"), "{said}");
    assert_eq!(quietly(root, &["resume", "a"]).0, 1, "no other end without a change");
    let set = ["generator.optimizer.sgd.rate=1e-3", "discriminator.optimizer.sgd.rate=0.01"];
    let (code, _, said) = quietly(root, &["resume", "a", "--set", set[0], "--set", set[1]]);
    assert_eq!(code, 0, "{said}");
    // As if it had been trained with them.
    config(root, &text.replace("rate = 1e30", "rate = 1e-3"));
    succeed(root, &["train", "tiny.toml", "--out", "b", "--device", "flex", "--quiet"]);
    let kept = |out: &str| {
        let mut all = whole(&root.join(out));
        all.retain(|(name, _)| !name.ends_with("config.toml"));
        all
    };
    assert!(kept("a") == kept("b"));
}

#[test]
fn a_run_knows_its_data() {
    let folder = folder();
    let root = folder.path();
    config(root, &short(root));
    succeed(root, &["train", "tiny.toml", "--out", "a", "--device", "flex", "--quiet"]);
    let state = std::fs::read_to_string(root.join("a/checkpoints/step_000004/state.json")).expect("read");
    let state: serde_json::Value = serde_json::from_str(&state).expect("JSON");
    let known = state["data"]["fingerprint"].as_str().expect("a fingerprint").to_owned();
    assert_eq!(state["data"]["count"], 20);
    // Moved, and still the same.
    std::fs::rename(root.join("images"), root.join("moved")).expect("renamed");
    let (code, _, said) = quietly(root, &["resume", "a", "--steps", "5", "--set", "data.idx.images=moved"]);
    assert_eq!(code, 0, "{said}");
    // Others: as many, and fewer.
    for (count, seed) in [(20, 8), (12, 7)] {
        idx(root, "moved", count, seed);
        let before = files(&root.join("a"));
        let (code, _, said) = quietly(root, &["resume", "a", "--steps", "+1"]);
        assert!(code == 2 && said.contains("the data are not those that `a` was trained on"), "{said}");
        assert!(said.contains(&format!("then 20 images, fingerprint {known}, now {count} images")), "{said}");
        assert!(files(&root.join("a")) == before, "nothing is changed");
    }
    let (code, _, said) = quietly(root, &["resume", "a", "--steps", "+1", "--data-changed"]);
    assert_eq!(code, 0, "{said}");
    let changes = environment(&root.join("a")).changes;
    let change = changes.iter().find(|change| change.key == "data").expect("noted");
    assert!(change.step == 5 && change.old.as_str().is_some_and(|old| old.contains(&known)), "{change:?}");
    // From now on these are its data, from older checkpoints too.
    assert_eq!(quietly(root, &["resume", "a", "--steps", "+1"]).0, 0);
    assert_eq!(quietly(root, &["resume", "a", "--from", "3"]).0, 0);
    idx(root, "moved", 20, 7);
    let (code, _, said) = quietly(root, &["resume", "a", "--steps", "+1"]);
    assert!(code == 2 && said.contains(&format!("now 20 images, fingerprint {known}")), "{said}");
    // A checkpoint of an older program says nothing of its data.
    let checkpoint = root.join("a/checkpoints/step_000007/state.json");
    std::fs::write(&checkpoint, r#"{ "version": 1, "step": 7, "images_seen": 56 }"#).expect("replaced");
    let (code, _, stderr) = run(root, &["resume", "a", "--steps", "+1", "--device", "flex"]);
    assert!(code == 0 && stderr.contains("has no fingerprint of its data"), "{stderr}");
}

#[test]
fn a_task_knows_its_samples() {
    let folder = folder();
    let root = folder.path();
    let labels = |first: u8| {
        let mut bytes = vec![0, 0, 8, 1, 0, 0, 0, 40];
        bytes.extend((0..40).map(|i| (i + first) % 2));
        std::fs::write(root.join("labels"), bytes).expect("written");
    };
    idx(root, "images", 40, 3);
    labels(0);
    let text = "[network]\ninput = 64\nfc = { widths = [8] }\noutputs = 1\n\
                [data.idx]\nimages = \"images\"\nlabels = \"labels\"\n\
                [task.supervised]\ngoal = \"classification\"\ntrain = 20\ntest = 10\noptimizer.sgd.rate = 0.1\nsteps = 4\n";
    config(root, text);
    succeed(root, &["train", "tiny.toml", "--out", "a", "--device", "flex", "--quiet"]);
    labels(1);
    let (code, _, said) = quietly(root, &["resume", "a", "--steps", "+1"]);
    assert!(code == 2 && said.contains("then 30 samples, fingerprint "), "{said}");
    assert_eq!(quietly(root, &["resume", "a", "--steps", "+1", "--data-changed"]).0, 0);
    labels(0);
    assert_eq!(quietly(root, &["resume", "a", "--steps", "+1"]).0, 2);
}

#[test]
fn edits_of_a_configuration_are_said_and_change_nothing() {
    let folder = folder();
    let root = folder.path();
    config(root, &short(root));
    succeed(root, &["train", "tiny.toml", "--out", "a", "--device", "flex", "--quiet"]);
    copy(&root.join("a"), &root.join("b"));
    succeed(root, &["resume", "a", "--steps", "6", "--device", "flex", "--quiet"]);
    let edit = |name: &str, from: &str, to: &str| {
        let path = root.join("b").join(name);
        let text = std::fs::read_to_string(&path).expect("read");
        assert!(text.contains(from), "{text}");
        std::fs::write(path, text.replace(from, to)).expect("edited");
    };
    edit("config.resolved.toml", "rate = 0.002", "rate = 0.5");
    edit("config.toml", "steps = 4", "# a comment says nothing\nsteps = 400");
    let (code, _, said) = quietly(root, &["sample", "b", "-n", "2"]);
    assert!(code == 0 && said.contains("generator.optimizer.adam.rate = 0.5 (it was 0.002)"), "{said}");
    let (code, _, stderr) = run(root, &["cite", "b"]);
    let said = stderr.split_whitespace().filter(|w| *w != "│").collect::<Vec<_>>().join(" ");
    assert!(code == 2 && said.contains("is not what the run was trained with"), "{said}");
    let (code, _, said) = quietly(root, &["resume", "b", "--steps", "6"]);
    assert_eq!(code, 0, "{said}");
    for wanted in [
        "`b/config.resolved.toml`: generator.optimizer.adam.rate = 0.5 (it was 0.002)",
        "`b/config.toml`: train.steps = 400 (it was 4)",
        "`fintan resume --set key=value` changes them",
    ] {
        assert!(said.contains(wanted), "{said}");
    }
    std::fs::copy(root.join("a/config.toml"), root.join("b/config.toml")).expect("put back");
    std::fs::remove_dir_all(root.join("b/samples")).expect("removed");
    assert_same(&root.join("a"), &root.join("b"), "edited");
    // The resolved configuration is that of the run again.
    let [a, b] = ["a", "b"].map(|run| std::fs::read(root.join(run).join("config.resolved.toml")).expect("read"));
    assert!(a == b);
    assert_eq!(quietly(root, &["resume", "b"]).2, "");
    edit("config.resolved.toml", "steps = 6", "steps = ");
    let (code, _, said) = quietly(root, &["resume", "b"]);
    assert!(code == 0 && said.contains("it can no longer be read"), "{said}");
}

#[test]
fn a_run_is_changed_by_set_alone_and_keeps_it() {
    let folder = folder();
    let root = folder.path();
    config(root, &short(root));
    succeed(root, &["train", "tiny.toml", "--out", "a", "--device", "flex", "--quiet"]);
    for out in ["b", "c"] {
        copy(&root.join("a"), &root.join(out));
    }
    let set = ["--set", "generator.optimizer.adam.rate=1e-4", "--set", "generator.schedule.decay.linear.to=0.5"];
    let resume = |out: &str, more: &[&str]| {
        let (code, _, said) = quietly(root, &[&["resume", out], more].concat());
        assert_eq!(code, 0, "{said}");
    };
    // At once, and in two parts with a plain resume behind.
    resume("a", &[&set[..], &["--steps", "8", "--set", "train.grid_every=2"]].concat());
    resume("b", &[&set[..], &["--steps", "8", "--set", "train.grid_every=2"]].concat());
    resume("b", &["--from", "6"]);
    assert_same(&root.join("a"), &root.join("b"), "changed");
    // Killed between the decision and what follows from it.
    let decided = Environment { rewind: Some(Rewind { to: Some(4) }), ..environment(&root.join("a")) };
    copy(&root.join("c"), &root.join("d"));
    RunDir::open(&root.join("d")).expect("a run").write_environment(&decided).expect("written");
    assert_eq!(quietly(root, &["resume", "d"]).2, "", "nothing was edited");
    assert_same(&root.join("a"), &root.join("d"), "decided");
    assert_eq!(environment(&root.join("a")), environment(&root.join("d")));
    resume("c", &["--steps", "8"]);
    assert!(whole(&root.join("a")) != whole(&root.join("c")), "the rate matters");
    let changes = environment(&root.join("b")).changes;
    let of = |key: &str| changes.iter().find(|change| change.key == key).unwrap_or_else(|| panic!("{changes:?}"));
    let rate = of("generator.optimizer.adam.rate");
    assert_eq!((rate.step, rate.old.as_f64(), rate.new.as_f64()), (4, Some(0.002), Some(0.0001)));
    assert_eq!((of("train.steps").new.as_u64(), of("train.grid_every").old.as_u64()), (Some(8), Some(1)));
    assert!(of("generator.schedule.decay.linear.to").old.is_null());
    assert!(environment(&root.join("a")) == environment(&root.join("b")));
    // What is set to what it is has not changed.
    resume("b", &["--set", "train.batch=8", "--set", "train.steps=8"]);
    assert_eq!(environment(&root.join("b")).changes, changes);
    for (set, named) in [
        ("train.batch=4", "`train.batch` cannot change in a run that has begun: it was trained with 8"),
        ("seed=5", "`seed` cannot change"),
        ("image.flip=false", "`image.flip` cannot change"),
        ("generator.dcgan.channels=4", "`generator.dcgan.channels` cannot change"),
        ("generator.optimizer.sgd.rate=1", "`generator.optimizer.adam.beta1` cannot change"),
        ("data.shapes.count=5", "`data.shapes.count` cannot change"),
        ("train.steps=3", "the run is to end at step 3, before the checkpoint of step 8"),
        ("train.step=9", "unknown"),
    ] {
        let before = files(&root.join("b"));
        let (code, _, said) = quietly(root, &["resume", "b", "--set", set]);
        assert!(code == 2 && said.contains(named), "{set}: {said}");
        assert!(files(&root.join("b")) == before, "{set}");
    }
}

/// Another program, a bad merge, an editor.
#[test]
fn lines_of_a_log_in_any_order_are_taken_or_named() {
    let folder = folder();
    let root = folder.path();
    config(root, &short(root));
    succeed(root, &["train", "tiny.toml", "--out", "gan", "--device", "flex", "--quiet"]);
    config(root, &TASK.replace("adam = { rate = 0.02, beta1 = 0.9 }", "sgd.rate = 0.2").replace("batch = 7\n", ""));
    succeed(root, &["train", "tiny.toml", "--out", "task", "--device", "flex", "--quiet"]);
    for (out, step) in [("gan", "\"step\":3"), ("task", "\"step\":30")] {
        for file in ["log.jsonl", "ntk/observed.jsonl"] {
            let path = root.join(out).join(file);
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            let lines: Vec<&str> = text.lines().collect();
            let joined = |lines: &[&str]| lines.join("\n") + "\n";
            let reversed: Vec<&str> = lines.iter().rev().copied().collect();
            for (name, changed, taken) in [
                ("reversed", joined(&reversed), true),
                ("twice", joined(&[&lines[..], &lines[..]].concat()), true),
                ("gaps", joined(&[lines[0], lines[lines.len() - 1]]), true),
                ("empty", String::new(), true),
                ("huge", text.replacen(step, &format!("\"step\":{}", u64::MAX), 1), true),
                ("beyond", text.replacen(step, "\"step\":18446744073709551616", 1), false),
                ("negative", text.replacen(step, "\"step\":-1", 1), false),
                ("no step", text.replacen(step, "\"stp\":3", 1), false),
                ("garbage", text.replacen(step, "}{", 1), false),
            ] {
                std::fs::write(&path, &changed).expect("changed");
                let mut commands = vec![vec!["report", out, "--quiet"]];
                commands.push(vec!["resume", out, "--steps", "+1", "--device", "flex", "--quiet"]);
                if out == "task" {
                    commands.push(vec!["flow", out, "--device", "flex", "--quiet"]);
                }
                for command in commands {
                    let (code, _, said) = run(root, &command);
                    let code_is_right = if taken { code == 0 } else { code == 2 || command[0] != "resume" };
                    let names_it = said.contains(file.rsplit('/').next().expect("a name"));
                    assert!(
                        code_is_right && (code == 0 || (code == 2 && names_it)),
                        "{name}, {command:?}: {code} {said}"
                    );
                }
                std::fs::write(&path, &text).expect("put back");
            }
        }
    }
}
