//! The catalogue of experiments.

use std::path::{Path, PathBuf};

use crate::support::{TINY, folder, run};
use fintan_config::{ComparisonSettings, Experiment, MemoryBound, Scaling, Subject};

fn configs() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let mut all: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("configs/").map(|entry| entry.expect("readable").path()).collect();
    all.sort();
    all
}

/// More than any machine has, so that no machine passes by luck.
#[test]
fn networks_larger_than_memory_are_refused_before_they_are_made() {
    let folder = folder();
    let network = "[network]\ninput = 8\noutputs = 2\nfc = { widths = [16] }\n";
    std::fs::write(folder.path().join("net.toml"), network).expect("written");
    std::fs::write(folder.path().join("gan.toml"), TINY).expect("written");
    let wide = "generator.dcgan.channels=1000000";
    let widths = "network.fc.widths=[4000000,4000000]";
    for args in [
        &["check", "gan.toml", "--set", wide][..],
        &["train", "gan.toml", "--out", "run", "--set", wide],
        &["compare", "gan.toml", "--out", "run", "--set", wide],
        &["ntk", "net.toml", "-n", "2", "--plan", "--set", widths],
        // The one hidden layer of that width takes a wide input.
        &["theory", "net.toml", "--widths", "8,65536", "--set", "network.input=10000000", "--out", "run"],
        &[
            "ntk",
            "net.toml",
            "-n",
            "1000000",
            "--plan",
            "--set",
            "network.input=1000000",
            "--set",
            "network.fc.widths=[1]",
        ],
    ] {
        let (code, _, stderr) = run(folder.path(), args);
        assert_eq!(code, 2, "{args:?}: {stderr}");
        let words = stderr.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
        assert!(words.contains("of memory, but") && words.contains("free"), "{args:?}: {stderr}");
        assert!(!folder.path().join("run").exists(), "{args:?} left a folder");
    }
}

#[test]
fn every_configuration_is_sound_and_survives_being_resolved() {
    assert!(configs().len() >= 7);
    for path in configs() {
        if let Some(comparison) = ComparisonSettings::load(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        {
            let read = |i| {
                comparison.subject(i, &[], MemoryBound::none()).unwrap_or_else(|e| panic!("{}: {e}", path.display())).1
            };
            let subjects: Vec<Subject> = (0..comparison.variants.len()).map(read).collect();
            assert!(subjects.iter().enumerate().all(|(i, subject)| !subjects[..i].contains(subject)));
            continue;
        }
        let subject = Subject::load(&path, &[]).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let again =
            Subject::parse("resolved", &subject.to_toml(), &[]).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(again, subject, "{}", path.display());
    }
}

#[test]
fn order_and_chaos_differ_in_the_nonlinearity_alone() {
    let load = |name: String| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs").join(name);
        Experiment::load(&path, &[]).expect("sound").settings
    };
    for suffix in ["", "_colour"] {
        let (mut order, chaos) = (load(format!("order{suffix}.toml")), load(format!("chaos{suffix}.toml")));
        let scaling = &mut order.generator.dcgan.as_mut().expect("a DCGAN").activation.scaling;
        assert_eq!(*scaling, Scaling::Standardized);
        *scaling = Scaling::Normalized;
        assert_eq!(order, chaos);
    }
}

#[test]
fn fully_connected_order_and_chaos_differ_in_the_nonlinearity_alone() {
    let load = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs").join(name);
        match Subject::load(&path, &[]).expect("sound") {
            Subject::Network(network) => network.settings,
            Subject::Gan(_) => panic!("{name} is a network"),
        }
    };
    let (mut order, chaos) = (load("fc_order.toml"), load("fc_chaos.toml"));
    let scaling = &mut order.network.fc.as_mut().expect("a preset").activation.scaling;
    assert_eq!(*scaling, Scaling::Standardized);
    *scaling = Scaling::Normalized;
    assert_eq!(order, chaos);
}

/// Commands at the top of configurations and in the README, where each stands.
#[cfg(unix)]
fn commands() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut commands = Vec::new();
    for path in configs() {
        let (name, text) = (path.display().to_string(), std::fs::read_to_string(&path).expect("read"));
        for line in text.lines().take_while(|line| line.starts_with('#')) {
            match line.strip_prefix("#   fintan ") {
                Some(command) => commands.push((name.clone(), command.to_owned())),
                // A part of one cannot be copied.
                None => assert!(!line.contains("--set") && !line.contains("fintan "), "{name}: {line}"),
            }
        }
    }
    let readme = std::fs::read_to_string(root.join("README.md")).expect("read");
    for block in readme.split("```console\n").skip(1) {
        let lines = block.lines().take_while(|line| !line.starts_with("```"));
        let ours =
            lines.filter_map(|line| line.strip_prefix("fintan ").or(line.strip_prefix("cargo run --release -- ")));
        commands.extend(ours.map(|command| ("README.md".to_owned(), command.to_owned())));
    }
    commands
}

#[test]
#[cfg(unix)]
fn commands_can_be_run_as_they_are_copied() {
    let commands = commands();
    assert!(commands.len() > 30, "{}", commands.len());
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (place, command) in commands {
        // A shell takes it apart, and the program says whether it knows all flags.
        let script = format!(
            "fintan() {{ \"$PROGRAM\" \"$@\" --help > /dev/null || exit; printf '%s\\0' \"$@\"; }}\nfintan {command}\n"
        );
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &script]).env("PROGRAM", env!("CARGO_BIN_EXE_fintan")).current_dir(root);
        let output = shell.output().expect("a shell");
        assert!(output.status.success(), "{place}: {command}: {}", String::from_utf8_lossy(&output.stderr));
        let words = String::from_utf8(output.stdout).expect("UTF-8");
        let words: Vec<&str> = words.split_terminator('\0').collect();
        let set: Vec<String> =
            words.windows(2).filter(|pair| pair[0] == "--set").map(|pair| pair[1].to_owned()).collect();
        for path in words.iter().filter(|word| word.starts_with("configs/")).map(|word| root.join(word)) {
            let read = match ComparisonSettings::load(&path).unwrap_or_else(|e| panic!("{place}: {command}: {e}")) {
                Some(comparison) => comparison.subject(0, &set, MemoryBound::none()).map(|(_, subject)| subject),
                None => Subject::load(&path, &set),
            };
            read.unwrap_or_else(|e| panic!("{place}: {command}: {e:?}"));
        }
    }
}
