//! One writer a folder; tiles that are shared; starts that are refused or killed.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use fintan_artifact::RunDir;

use crate::support::{TINY, answer, config, files, fintan, folder, run, succeed};

const QUIET: [&str; 3] = ["--device", "flex", "--quiet"];

/// What ends with a test, however the test ends.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Started {
    fn ends(mut self) -> Option<i32> {
        self.0.wait().expect("ends").code()
    }

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().expect("known").is_some()
    }
}

fn start(folder: &Path, args: &[&str]) -> Started {
    let mut command = fintan(folder);
    command.args(args).args(QUIET).stdout(Stdio::null()).stderr(Stdio::null());
    Started(command.spawn().expect("starts"))
}

/// Waits until something is there, or the process has ended.
fn wait_for(process: &mut Started, there: impl Fn() -> bool) -> bool {
    while !there() {
        if process.has_ended() {
            return there();
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    true
}

/// What the program says when it refuses, on one line.
fn refused(folder: &Path, args: &[&str], wanted: i32) -> String {
    let (code, stdout, stderr) = run(folder, &[args, &QUIET[..]].concat());
    let said = stderr.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
    assert_eq!(code, wanted, "{args:?}: {stdout}{said}");
    said
}

/// Names that are hidden: locks, drafts and temporary files.
fn hidden(folder: &Path) -> Vec<PathBuf> {
    let is_hidden = |path: &PathBuf| path.iter().any(|part| part.to_string_lossy().starts_with('.'));
    files(folder).into_iter().map(|(path, _)| path).filter(is_hidden).collect()
}

/// A training that goes on until it is ended.
fn endless(folder: &Path, out: &str) -> Started {
    config(folder, &TINY.replace("checkpoint_every = 50", "checkpoint_every = 3"));
    let mut training = start(folder, &["train", "tiny.toml", "--out", out, "--set", "train.steps=1000000"]);
    let latest = folder.join(out).join("checkpoints/latest");
    assert!(wait_for(&mut training, || latest.is_file()), "training ended");
    training
}

#[test]
fn a_run_in_training_is_read_and_not_resumed() {
    let folder = folder();
    let mut training = endless(folder.path(), "r");
    let said = refused(folder.path(), &["resume", "r"], 1);
    let process = training.0.id();
    assert!(said.contains(&format!("`r` is in use: process {process}")) && said.contains("since 20"), "{said}");
    let said = refused(folder.path(), &["train", "tiny.toml", "--out", "r"], 2);
    assert!(said.contains("`r` exists already"), "{said}");
    // Who only reads is not kept out, nor is an evaluation.
    for args in [&["report", "r", "--out", "r.html"][..], &["check", "tiny.toml"]] {
        let (code, _, stderr) = run(folder.path(), args);
        assert_eq!(code, 0, "{args:?}: {stderr}");
    }
    assert!(!training.has_ended());
    training.0.kill().expect("killed");
    training.0.wait().expect("ended");

    // The lock that the kill left keeps nobody out, and the log is one training's.
    assert!(hidden(folder.path()).contains(&"r/.fintan.lock".into()));
    let steps = RunDir::open(&folder.path().join("r")).expect("a run").checkpoints().expect("read");
    let more = (steps.last().expect("a checkpoint") + 5).to_string();
    succeed(folder.path(), &[&["resume", "r", "--steps", &more], &QUIET[..]].concat());
    assert!(hidden(folder.path()).is_empty());
    let steps: Vec<u64> = crate::support::log(&folder.path().join("r")).iter().map(|line| line.step).collect();
    assert!(steps.windows(2).all(|pair| pair[0] < pair[1]), "{steps:?}");
}

#[test]
fn a_lock_of_another_host_warns_and_lets_pass() {
    let folder = folder();
    config(folder.path(), &TINY.replace("steps = 100", "steps = 5"));
    succeed(folder.path(), &[&["train", "tiny.toml", "--out", "r"], &QUIET[..]].concat());
    let left = "{\"host\":\"node7\",\"pid\":12,\"since\":\"2026-11-28T16:13:44Z\"}\n";
    std::fs::write(folder.path().join("r/.fintan.lock"), left).expect("written");
    let (code, _, stderr) = run(folder.path(), &["resume", "r", "--steps", "+2", "--device", "flex"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("was locked by process 12 on host `node7` at 2026-11-28T16:13:44Z"), "{stderr}");
    assert!(hidden(folder.path()).is_empty());
}

#[test]
fn of_two_resumes_at_once_one_writes() {
    let folder = folder();
    config(folder.path(), &TINY.replace("steps = 100", "steps = 10"));
    succeed(folder.path(), &[&["train", "tiny.toml", "--out", "r"], &QUIET[..]].concat());
    let both = [(), ()].map(|()| start(folder.path(), &["resume", "r", "--steps", "600"]));
    let mut codes = both.map(Started::ends);
    codes.sort_unstable();
    // Refused, or begun after the other was done.
    assert!(codes[0] == Some(0) && codes[1] <= Some(1), "{codes:?}");
    let steps: Vec<u64> = crate::support::log(&folder.path().join("r")).iter().map(|line| line.step).collect();
    assert_eq!(steps, (5..=600).step_by(5).collect::<Vec<_>>());
}

#[test]
fn of_two_starts_at_one_place_one_makes_the_run() {
    let folder = folder();
    config(folder.path(), &TINY.replace("steps = 100", "steps = 20"));
    let both = [(), ()].map(|()| start(folder.path(), &["train", "tiny.toml", "--out", "r"]));
    let mut codes = both.map(Started::ends);
    codes.sort_unstable();
    assert_eq!(codes, [Some(0), Some(2)]);
    // Without a name each has its own.
    let both = [(), ()].map(|()| start(folder.path(), &["train", "tiny.toml"]));
    assert_eq!(both.map(Started::ends), [Some(0); 2]);
    let logs = ["r", "runs/tiny", "runs/tiny-2"].map(|out| crate::support::log(&folder.path().join(out)));
    assert!(logs[0].len() == 4 && logs[0] == logs[1] && logs[1] == logs[2]);
    assert!(hidden(folder.path()).is_empty());
}

const MOMENTS: &str = "[network]\ninput = 8\nbn_ff = { depth = 6, width = 16 }\n\
                       [moments]\nbatch = 8\nrealisations = 400\ndepths = [1, 6]\n";

#[test]
fn moments_that_are_measured_are_not_resumed_by_another() {
    let folder = folder();
    config(folder.path(), &MOMENTS.replace("400", "1000000"));
    let mut measuring = start(folder.path(), &["moments", "tiny.toml", "--out", "m"]);
    let log = folder.path().join("m/log.jsonl");
    assert!(wait_for(&mut measuring, || log.is_file()), "it ended");
    let resume = ["moments", "tiny.toml", "--out", "m", "--resume"];
    assert!(refused(folder.path(), &resume, 1).contains("`m` is in use: process"));
    assert!(!measuring.has_ended());
    drop(measuring);
    // Killed while it wrote: what is there goes on, to what one measurement gives.
    let done = std::fs::read_to_string(&log).expect("read").lines().count() as u64;
    let wanted = format!("moments.realisations={}", done + 3);
    succeed(folder.path(), &[&resume[..], &["--set", &wanted], &QUIET].concat());
    succeed(folder.path(), &[&["moments", "tiny.toml", "--out", "whole", "--set", &wanted], &QUIET[..]].concat());
    let [parts, whole] = ["m", "whole"].map(|out| {
        let mut all = files(&folder.path().join(out));
        // The time that it took.
        all.retain(|(name, _)| !name.ends_with("env.json"));
        all
    });
    assert!(parts == whole);
}

const NET: &str = r#"
[network]
input = 16
parametrization = { ntk = { beta = 0.1 } }
outputs = 8
[network.fc]
widths = [32]
activation = { function = "relu", scaling = "standardized" }
"#;

#[test]
fn shares_of_tiles_that_start_together_merge_to_the_bytes_of_one_process() {
    let folder = folder();
    config(folder.path(), NET);
    let ntk = ["ntk", "tiny.toml", "-n", "16", "--tile-samples", "4"];
    succeed(folder.path(), &[&ntk[..], &["--out", "whole.npz"], &QUIET].concat());
    let whole = std::fs::read(folder.path().join("whole.npz")).expect("written");
    let mut left = files(folder.path());
    left.retain(|(name, _)| !name.to_string_lossy().starts_with("whole"));
    for round in 0..4 {
        let (out, tiles) = ("k.npz", "k.npz.tiles");
        if round % 2 == 1 {
            // A folder that is there already, and empty.
            std::fs::create_dir(folder.path().join(tiles)).expect("made");
        }
        let share = |range: &str| start(folder.path(), &[&ntk[..], &["--tiles", range, "--out", out]].concat());
        let all = ["0..4", "3..8", "8..10"].map(share).map(Started::ends);
        assert_eq!(all, [Some(0); 3], "round {round}");
        assert!(hidden(folder.path()).is_empty());
        succeed(folder.path(), &["ntk", "merge", tiles, "--out", out, "--quiet"]);
        assert!(std::fs::read(folder.path().join(out)).expect("written") == whole);
        std::fs::remove_dir_all(folder.path().join(tiles)).expect("removed");
        std::fs::remove_file(folder.path().join(out)).expect("removed");
    }
    // Whole kernels at once: each finishes, and nobody's tiles are taken away under it.
    let all = [(), (), ()].map(|()| start(folder.path(), &[&ntk[..], &["--out", "k.npz"]].concat()));
    assert_eq!(all.map(Started::ends), [Some(0); 3]);
    assert!(std::fs::read(folder.path().join("k.npz")).expect("written") == whole);
    assert!(!folder.path().join("k.npz.tiles").exists());
    // Two different kernels: one of them has the folder, the other is refused.
    let other = [&ntk[..], &["--seed", "7"]].concat();
    let both =
        [&ntk[..], &other].map(|ntk| start(folder.path(), &[ntk, &["--tiles", "0..4", "--out", "d.npz"]].concat()));
    let mut codes = both.map(Started::ends);
    codes.sort_unstable();
    assert_eq!(codes, [Some(0), Some(2)]);
    std::fs::create_dir_all(folder.path().join("e.npz.tiles")).expect("made");
    std::fs::write(folder.path().join("e.npz.tiles/mine"), "x").expect("written");
    let said = refused(folder.path(), &[&ntk[..], &["--out", "e.npz"]].concat(), 2);
    assert!(said.contains("holds no tiles (`plan.json` is missing)"), "{said}");
    assert_eq!(std::fs::read(folder.path().join("e.npz.tiles/mine")).expect("read"), b"x");
}

#[test]
fn a_start_that_is_refused_leaves_nothing() {
    let folder = folder();
    config(folder.path(), TINY);
    std::fs::write(folder.path().join("m.toml"), MOMENTS).expect("written");
    let net = format!(
        "data.teacher = {{}}\n{NET}\n[task.supervised]\ntrain = 4\ntest = 4\nsteps = 2\n\
         loss = \"squared\"\noptimizer.sgd.rate = 0.1\n"
    );
    std::fs::write(folder.path().join("net.toml"), net).expect("written");
    std::fs::create_dir(folder.path().join("empty")).expect("made");
    let before = (files(folder.path()), std::fs::read_dir(folder.path()).expect("read").count());
    let few = ["--set", "train.batch=999"];
    let said = refused(folder.path(), &[&["train", "tiny.toml", "--out", "deep/a"], &few[..]].concat(), 2);
    assert!(said.contains("holds 256 images, fewer than one batch of 999"), "{said}");
    refused(folder.path(), &[&["train", "tiny.toml"], &few[..]].concat(), 2);
    refused(folder.path(), &[&["train", "tiny.toml", "--out", "empty"], &few[..]].concat(), 2);
    refused(folder.path(), &[&["compare", "tiny.toml", "--seeds", "0,1", "--out", "c"], &few[..]].concat(), 2);
    refused(folder.path(), &[&["compare", "tiny.toml", "--seeds", "0,1"], &few[..]].concat(), 2);
    let small = ["--set", "data.shapes.count=6", "--set", "train.batch=2"];
    let small = [&["compare", "tiny.toml", "--seeds", "0,1"], &small[..]].concat();
    assert!(refused(folder.path(), &small, 2).contains("halves of at least 4 are needed"));
    let wide = ["moments", "m.toml", "--out", "m", "--set", "moments.batch=16000000000"];
    refused(folder.path(), &wide, 2);
    // A device that is not there.
    for args in [&["train", "tiny.toml", "--out", "a"][..], &["train", "net.toml"], &["moments", "m.toml"]] {
        let (code, _, stderr) = run(folder.path(), &[args, &["--device", "wgpu:77"]].concat());
        assert_eq!(code, 2, "{stderr}");
    }
    let after = (files(folder.path()), std::fs::read_dir(folder.path()).expect("read").count());
    assert!(before == after, "{:?}", after.0.iter().map(|(name, _)| name).collect::<Vec<_>>());
    // The command that is corrected has the name.
    for out in ["deep/a", "empty"] {
        let corrected = ["train", "tiny.toml", "--out", out, "--set", "train.steps=2"];
        succeed(folder.path(), &[&corrected[..], &QUIET].concat());
        assert!(folder.path().join(out).join("env.json").is_file());
    }
}

/// Whether a draft lies in a folder.
fn has_draft(folder: &Path) -> bool {
    let is_draft = |name: &str| name.starts_with('.') && name.ends_with(".unfinished");
    std::fs::read_dir(folder).is_ok_and(|all| all.flatten().any(|e| is_draft(&e.file_name().to_string_lossy())))
}

#[test]
fn a_start_that_is_killed_can_be_made_again() {
    // The copy of a long configuration gives the time to kill.
    let remark = format!("# {}\n", "remark ".repeat(1000)).repeat(600);
    let training = TINY.replace("steps = 100", "steps = 4").replace("count = 256", "count = 32");
    let measures = ["-n", "8", "--metrics", "std"];
    for (text, place, command) in [
        (&*training, "", vec!["train", "tiny.toml", "--out", "r"]),
        (&*training, "runs", vec!["train", "tiny.toml"]),
        (&*training, "r", vec!["train", "tiny.toml", "--out", "r"]),
        (MOMENTS, "", vec!["moments", "tiny.toml", "--out", "r", "--set", "moments.realisations=2"]),
        (&*training, "r", [&["compare", "tiny.toml", "--seeds", "0,1", "--out", "r"], &measures[..]].concat()),
    ] {
        let folder = folder();
        config(folder.path(), &format!("{text}{remark}"));
        let place = folder.path().join(place);
        // The third has an empty folder to go to.
        std::fs::create_dir_all(&place).expect("made");
        let mut killed = 0;
        for _ in 0..60 {
            let mut started = start(folder.path(), &command);
            if wait_for(&mut started, || has_draft(&place)) {
                drop(started);
                killed += usize::from(has_draft(&place));
                if killed == 2 {
                    break;
                }
            }
            let done = ["r", "runs"].map(|out| folder.path().join(out)).into_iter().find(|out| out.is_dir());
            if let Some(done) = done.filter(|_| killed < 2 && !has_draft(&place)) {
                // Too late: once more.
                std::fs::remove_dir_all(done).expect("removed");
                std::fs::create_dir_all(&place).expect("made");
            }
        }
        assert_eq!(killed, 2, "{command:?} was never killed in time");
        succeed(folder.path(), &[&command[..], &QUIET].concat());
        assert!(hidden(folder.path()).is_empty(), "{command:?}");
        assert!(!folder.path().join("runs/tiny-2").exists());
    }
}

#[test]
fn a_comparison_is_one_process_at_a_time() {
    let folder = folder();
    config(folder.path(), &TINY.replace("checkpoint_every = 50", "checkpoint_every = 5"));
    let compare = ["compare", "tiny.toml", "--seeds", "0,1", "-n", "8", "--metrics", "std", "--out", "c"];
    let endless = ["--set", "train.steps=1000000"];
    let mut comparing = start(folder.path(), &[&compare[..], &endless].concat());
    let run = folder.path().join("c/tiny_seed_0");
    assert!(wait_for(&mut comparing, || run.join("checkpoints/latest").is_file()), "it ended");
    let said = refused(folder.path(), &[&compare[..], &endless].concat(), 1);
    assert!(said.contains("`c` is in use: process"), "{said}");
    let said = refused(folder.path(), &["resume", "c/tiny_seed_0"], 1);
    assert!(said.contains("`c/tiny_seed_0` is in use: process"), "{said}");
    assert!(!comparing.has_ended());
    drop(comparing);
    // Now a member is trained by itself: the comparison that would train it too is refused before it changes anything.
    let mut training = start(folder.path(), &["resume", "c/tiny_seed_0"]);
    let lock = run.join(".fintan.lock");
    let process = training.0.id().to_string();
    let locked = || std::fs::read_to_string(&lock).is_ok_and(|text| text.contains(&process));
    assert!(wait_for(&mut training, locked));
    let said = refused(folder.path(), &[&compare[..], &endless].concat(), 1);
    assert!(said.contains("`c/tiny_seed_0` is in use: process"), "{said}");
    assert!(!training.has_ended());
    drop(training);
    // What the killed training left is its run's; the comparison that was refused left nothing.
    let left = hidden(&folder.path().join("c"));
    assert!(left.iter().all(|path| path.starts_with("tiny_seed_0")), "{left:?}");
}

#[test]
fn what_is_measured_during_training_is_kept_by_its_end() {
    let folder = folder();
    config(
        folder.path(),
        &TINY.replace("checkpoint_every = 50", "checkpoint_every = 20").replace("steps = 100", "steps = 400"),
    );
    let mut training = start(folder.path(), &["train", "tiny.toml", "--out", "r", "--set", "train.keep=1000"]);
    let first = folder.path().join("r/checkpoints/step_000020");
    assert!(wait_for(&mut training, || first.is_dir()));
    for _ in 0..2 {
        let eval = ["eval", "r", "--step", "20", "-n", "16", "--metrics", "std"];
        let (code, stdout, stderr) = answer(fintan(folder.path()).args(eval).args(QUIET).output().expect("starts"));
        assert_eq!(code, 0, "{stdout}{stderr}");
    }
    assert_eq!(training.ends(), Some(0));
    let run = RunDir::open(&folder.path().join("r")).expect("a run");
    assert_eq!(run.evaluations().expect("read").into_keys().collect::<Vec<_>>(), [20]);
    let text: serde_json::Value = serde_json::from_slice(&std::fs::read(run.metrics()).expect("read")).expect("JSON");
    assert_eq!(text["step"], 400);
    assert!(hidden(folder.path()).is_empty());
}

#[test]
fn the_current_folder_can_become_a_run() {
    let folder = folder();
    config(folder.path(), &TINY.replace("steps = 100", "steps = 2"));
    let inside = folder.path().join("inside");
    std::fs::create_dir(&inside).expect("made");
    succeed(&inside, &[&["train", "../tiny.toml", "--out", "."], &QUIET[..]].concat());
    assert!(inside.join("config.resolved.toml").is_file() && inside.join("metrics.json").is_file());
    assert!(hidden(folder.path()).is_empty());
    assert!(refused(&inside, &["train", "../tiny.toml", "--out", "."], 2).contains("`.` exists already"));
}
