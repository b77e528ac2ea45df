//! What reaches stdout, stderr and a terminal.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use fintan_artifact::visible;

use crate::support::{TINY, answer, config, fintan, folder, run, succeed};

const NETWORK: &str = "network = { input = 4, fc = { widths = [8] }, outputs = 1 }\n";

/// A name with which a terminal is told to do things, and that looks like another one.
#[cfg(unix)]
const HOSTILE: &str = "n\u{1b}[31m\u{1b}]0;title\u{7}\u{9b}2J\u{202e}gnp\n.x";

/// A configuration of a GAN, one of a network, a run of each.
fn stage(folder: &Path) {
    std::fs::write(folder.join("net.toml"), NETWORK).expect("written");
    let gan = TINY.replace("steps = 100", "steps = 2").replace("grid_every = 50", "grid_every = 2");
    config(folder, &gan.replace("checkpoint_every = 50", "checkpoint_every = 2"));
    succeed(folder, &["train", "tiny.toml", "--out", "run", "--device", "flex", "--quiet"]);
}

/// Commands that answer on stdout, of every kind.
const ANSWERS: [&[&str]; 26] = [
    &["--help"],
    &["train", "--help"],
    &["--version"],
    &["check", "net.toml"],
    &["check", "net.toml", "--json"],
    &["check", "tiny.toml", "--device", "flex"],
    &["check", "tiny.toml", "--device", "flex", "--json"],
    &["cite", "net.toml"],
    &["devices"],
    &["devices", "--json"],
    &["data", "info", "tiny.toml"],
    &["data", "info", "tiny.toml", "--json"],
    &["data", "preview", "tiny.toml"],
    &["tune", "net.toml", "--goal", "r=1.1", "--knob", "mu", "--out", "tuned.toml"],
    &["theory", "net.toml", "--out", "theory"],
    &["theory", "net.toml", "--out", "theory", "--json"],
    &["ntk", "net.toml", "--device", "flex", "--plan"],
    &["ntk", "net.toml", "--device", "flex", "--plan", "--json"],
    &["ntk", "net.toml", "--device", "flex", "--quiet", "--out", "kernel.npz"],
    &["sample", "run", "--device", "flex", "--quiet", "-n", "4", "--json", "--out", "samples.png"],
    &["export", "run", "--device", "flex", "--quiet", "--out", "exported"],
    &["eval", "run", "--device", "flex", "--quiet", "-n", "16", "--metrics", "std"],
    &["report", "run"],
    &["report", "run", "--json"],
    &["train", "tiny.toml", "--device", "flex", "--quiet", "--out", "new"],
    &["train", "tiny.toml", "--device", "flex", "--json", "--out", "new"],
];

/// What the commands write, so that one can be run again.
fn clear(folder: &Path) {
    for name in ["tuned.toml", "kernel.npz", "samples.png", "theory", "exported", "new"] {
        let path = folder.join(name);
        let _ = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    }
}

#[test]
#[cfg(target_os = "linux")]
fn results_that_stdout_does_not_take_are_a_failure_and_cost_no_work() {
    let folder = folder();
    stage(folder.path());
    for args in ANSWERS {
        clear(folder.path());
        let full = fs_err::OpenOptions::new().write(true).open("/dev/full").expect("a full device");
        let (code, _, stderr) = answer(
            fintan(folder.path()).args(args).stdout(Stdio::from(full.into_parts().0)).output().expect("started"),
        );
        assert_eq!(code, 1, "{args:?}: {stderr}");
        assert!(stderr.contains("cannot write to stdout: No space left on device"), "{args:?}: {stderr}");
        if args[0] == "train" && args.len() > 2 {
            assert!(folder.path().join("new/metrics.json").is_file(), "{args:?}: the run is whole");
        }
    }
    // Open, but for reading.
    let null = fs_err::File::open("/dev/null").expect("there").into_parts().0;
    let (code, _, stderr) =
        answer(fintan(folder.path()).args(["check", "net.toml"]).stdout(null).output().expect("started"));
    assert!(code == 1 && stderr.contains("cannot write to stdout"), "{stderr}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_pipe_that_nobody_reads_is_silence() {
    let folder = folder();
    stage(folder.path());
    for args in ANSWERS {
        clear(folder.path());
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let (code, _, stderr) = answer(fintan(folder.path()).args(args).stdout(writer).output().expect("started"));
        assert_eq!(code, 0, "{args:?}: {stderr}");
        assert!(!stderr.contains("stdout"), "{args:?}: {stderr}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn what_stderr_does_not_take_changes_nothing() {
    let folder = folder();
    stage(folder.path());
    let full = || fs_err::OpenOptions::new().write(true).open("/dev/full").expect("a full device").into_parts().0;
    let said = fintan(folder.path()).args(["ntk", "net.toml", "--device", "flex"]).stderr(full()).output();
    assert_eq!(answer(said.expect("started")), (0, "net.ntk.npz\n".into(), String::new()));
    let resumed =
        fintan(folder.path()).args(["resume", "run", "--device", "flex", "--steps", "+2"]).stderr(full()).output();
    assert_eq!(answer(resumed.expect("started")).0, 0);
    assert!(folder.path().join("run/checkpoints/step_000004").is_dir());
    let wrong = fintan(folder.path()).args(["check", "nowhere.toml"]).stderr(full()).output();
    assert_eq!(answer(wrong.expect("started")).0, 2);
}

/// Every character but line breaks can be seen.
#[cfg(unix)]
fn is_visible(said: &str) -> bool {
    said.lines().all(|line| visible(line) == line)
}

#[test]
#[cfg(unix)]
fn names_from_files_archives_and_arguments_do_not_reach_the_terminal_as_they_are() {
    let folder = folder();
    let root = folder.path();
    let ok = image::GrayImage::from_fn(8, 8, |x, y| image::Luma([(x * 8 + y) as u8]));
    let mut png = std::io::Cursor::new(Vec::new());
    ok.write_to(&mut png, image::ImageFormat::Png).expect("in memory");
    let png = png.into_inner();
    // Class folders and unreadable pictures of hostile names; the same in a tar file and a zip file.
    let members =
        [(format!("{HOSTILE}a/ok.png"), &png[..]), (format!("b/{HOSTILE}.png"), b"junk"), ("b/ok.png".into(), &png)];
    let pictures = root.join("pictures");
    let (mut tar, mut zip) = (tar::Builder::new(Vec::new()), zip::ZipWriter::new(std::io::Cursor::new(Vec::new())));
    for (name, bytes) in &members {
        let path = pictures.join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, bytes).expect("written");
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, *bytes).expect("in memory");
        zip.start_file(name, zip::write::SimpleFileOptions::default()).expect("in memory");
        zip.write_all(bytes).expect("in memory");
    }
    std::fs::write(root.join("p.tar"), tar.into_inner().expect("in memory")).expect("written");
    std::fs::write(root.join("p.zip"), zip.finish().expect("in memory").into_inner()).expect("written");
    std::fs::write(root.join(HOSTILE), "network = 1 # \u{1b}[31m\u{202e}\n").expect("written");
    let named = |name: &str, text: &str| std::fs::write(root.join(name), text).expect("written");
    named("value.toml", &format!("seed = \"{}\u{202e}\"\n{NETWORK}", r"\u001b[31m"));
    named("key.toml", &format!("\"{}\" = 1\n{NETWORK}", r"\u001b[31m"));
    named("raw.toml", "seed = 1 # \u{1b}]0;title\u{7}\n[\n");
    named("net.toml", NETWORK);
    let run_of = format!("runs-{HOSTILE}");
    named(
        "task.toml",
        &format!(
            "{NETWORK}data.teacher = {{}}\ntask.supervised = {{ goal = \"regression\", train = 4, test = 4, steps = 2, optimizer.sgd.rate = 0.1 }}\n"
        ),
    );

    let hostile_set = format!("{HOSTILE}=1");
    let commands: Vec<(i32, Vec<&str>)> = vec![
        (0, vec!["data", "info", "pictures"]),
        (0, vec!["data", "info", "p.tar"]),
        (0, vec!["data", "info", "p.zip"]),
        (0, vec!["data", "preview", "pictures", "--out", "preview.png"]),
        (2, vec!["data", "info", "no\u{1b}[31msuch"]),
        (2, vec!["check", "no\u{1b}[31m.toml"]),
        (2, vec!["check", HOSTILE]),
        (2, vec!["check", "value.toml"]),
        (2, vec!["check", "key.toml"]),
        (2, vec!["check", "raw.toml"]),
        (2, vec!["check", "net.toml", "--set", &hostile_set]),
        (2, vec!["check", "net.toml", "--set", "network.input=\u{1b}[31m\u{202e}"]),
        (2, vec!["check", "net.toml", "--device", HOSTILE]),
        (2, vec![HOSTILE]),
        (2, vec!["check", "net.toml", HOSTILE]),
        (2, vec!["check", "net.toml", "--\u{1b}[31m"]),
        (0, vec!["train", "task.toml", "--device", "flex", "--out", &run_of]),
        (0, vec!["report", &run_of]),
        (0, vec!["flow", &run_of, "--device", "flex"]),
        (0, vec!["resume", &run_of, "--device", "flex", "--steps", "+1"]),
        (2, vec!["sample", &run_of]),
        (2, vec!["ntk", "net.toml", "--inputs", HOSTILE]),
        (2, vec!["ntk", "net.toml", "--weights", HOSTILE]),
        (2, vec!["tune", "net.toml", "--knob", "mu", "--goal", HOSTILE]),
    ];
    for (expected, args) in &commands {
        let (code, stdout, stderr) = run(root, args);
        assert_eq!(code, *expected, "{args:?}: {stdout}{stderr}");
        assert!(is_visible(&stdout) && is_visible(&stderr), "{args:?}: {stdout:?} {stderr:?}");
    }
    let said = succeed(root, &["data", "info", "pictures"]);
    assert!(said.contains(r"n\u{1b}[31m\u{1b}]0;title\u{7}\u{9b}2J\u{202e}gnp\u{a}.x"), "{said}");

    // As JSON the names are what they are.
    for args in [vec!["data", "info", "pictures", "--json"], vec!["report", &run_of, "--json"]] {
        let said = succeed(root, &args);
        assert!(is_visible(&said) && said.trim_end().lines().count() == 1, "{said:?}");
        let json: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        let found = if args[0] == "data" { json["class_names"][1].as_str() } else { json["runs"][0].as_str() };
        let expected = if args[0] == "data" { format!("{HOSTILE}a") } else { run_of.clone() };
        assert_eq!(found, Some(expected.as_str()), "{json}");
    }
}

#[test]
#[cfg(unix)]
fn colours_of_our_own_reach_the_terminal_and_those_of_a_name_do_not() {
    let folder = folder();
    for args in [["check", "no\u{1b}[35msuch.toml"], ["check", "--no\u{1b}[35msuch"]] {
        let mut command = fintan(folder.path());
        command
            .args(args)
            .env_remove("NO_COLOR")
            .env("FORCE_COLOR", "1")
            .env("CLICOLOR_FORCE", "1")
            .env("TERM", "xterm");
        let (code, _, stderr) = answer(command.output().expect("started"));
        assert_eq!(code, 2);
        assert!(stderr.contains("\u{1b}[") && !stderr.contains("\u{1b}[35m"), "{stderr:?}");
        assert!(stderr.contains(r"no\u{1b}[35msuch"), "{stderr:?}");
    }
}

#[test]
#[cfg(unix)]
fn a_path_that_is_no_text_is_answered_as_json_too() {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = folder();
    std::fs::write(folder.path().join("net.toml"), NETWORK).expect("written");
    let name = std::ffi::OsStr::from_bytes(b"k\xff.npz");
    let mut command = fintan(folder.path());
    command.args(["ntk", "net.toml", "--device", "flex", "--json", "--out"]).arg(name);
    let (code, stdout, stderr) = answer(command.output().expect("started"));
    assert_eq!(code, 0, "{stderr}");
    let json: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(json["kernel"].as_str(), Some("k\u{fffd}.npz"));
    assert!(folder.path().join(name).is_file());

    // A run in a folder of such a name keeps no path of its data.
    let below = folder.path().join(std::ffi::OsStr::from_bytes(b"f\xff"));
    std::fs::create_dir_all(below.join("pictures")).expect("made");
    for i in 0..8 {
        image::GrayImage::new(8, 8).save(below.join(format!("pictures/{i}.png"))).expect("written");
    }
    config(&below, TINY);
    let (code, _, stderr) =
        run(&below, &["train", "tiny.toml", "--device", "flex", "--set", "data.folder.path=pictures"]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("is no Unicode") && !below.join("runs").exists(), "{stderr}");
}
