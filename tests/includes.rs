//! Configurations that build on others.

use std::fmt::Write as _;
use std::path::Path;

use fintan_config::{DataSource, Experiment, Subject};

use crate::supervised::TASK;
use crate::support::{TINY, files, folder, run, succeed};

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
    std::fs::write(path, text).expect("written");
}

fn load(folder: &Path, name: &str, overrides: &[&str]) -> Experiment {
    let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
    Experiment::load(&folder.join(name), &overrides).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn the_file_on_top_wins_and_its_alternatives_replace() {
    let folder = folder();
    let root = folder.path();
    write(root, "bases/tiny.toml", TINY);
    // Each is relative to its own folder.
    write(root, "bases/middle.toml", "include = \"tiny.toml\"\n[train]\nbatch = 16\nsteps = 7\n");
    let top = "include = \"../bases/middle.toml\"\nseed = 3\ntrain.steps = 9\n[data.idx]\nimages = \"i.gz\"\n\
               [discriminator.optimizer.adam]\nrate = 0.5\n";
    write(root, "mine/top.toml", top);
    let found = load(root, "mine/top.toml", &["train.log_every=2"]);
    let mut want = Experiment::parse("tiny", TINY, &[]).expect("sound").settings;
    (want.seed, want.train.steps, want.train.batch, want.train.log_every) = (3, 9, 16, 2);
    want.data = DataSource::Idx(fintan_config::Idx { images: "i.gz".into(), labels: None });
    let rate = ["discriminator.optimizer.adam.rate=0.5".to_owned()];
    want.discriminator.optimizer =
        Experiment::parse("tiny", TINY, &rate).expect("sound").settings.discriminator.optimizer;
    assert_eq!(found.settings, want);
    // What is resolved stands by itself.
    assert_eq!(Experiment::parse("resolved", &found.settings.to_toml(), &[]).expect("sound"), found);

    write(root, "task.toml", TASK);
    write(root, "other.toml", "include = \"task.toml\"\nseed = 5\n");
    let Subject::Network(network) = Subject::load(&root.join("other.toml"), &[]).expect("sound") else {
        panic!("a network, for what it includes is one")
    };
    assert_eq!(network.settings.seed, 5);
}

#[test]
fn byte_order_marks_and_line_ends_of_windows_change_nothing() {
    let folder = folder();
    let (base, top) = ("seed = 3\n".to_owned() + TINY, "include = \"base.toml\"\ntrain.steps = 7\n");
    write(folder.path(), "base.toml", &base);
    write(folder.path(), "top.toml", top);
    let plain = load(folder.path(), "top.toml", &[]);
    for (name, mark, end) in [("a", "\u{feff}", "\n"), ("b", "", "\r\n"), ("c", "\u{feff}", "\r\n")] {
        let changed = |text: &str| format!("{mark}{}", text.replace('\n', end));
        write(folder.path(), "base.toml", &changed(&base));
        write(folder.path(), &format!("{name}.toml"), &changed(top));
        assert_eq!(load(folder.path(), &format!("{name}.toml"), &[]), plain, "{name}");
    }
}

#[test]
fn a_run_keeps_the_users_text_and_goes_on_without_what_it_included() {
    let folder = folder();
    let root = folder.path();
    write(root, "base.toml", TINY);
    let text = "# mine\ninclude = \"base.toml\"\ntrain = { steps = 4, checkpoint_every = 2 }\n";
    write(root, "short.toml", text);
    succeed(root, &["train", "short.toml", "--device", "flex", "--quiet"]);
    let kept = |name: &str| std::fs::read_to_string(root.join("runs/short").join(name)).expect("written");
    assert_eq!(kept("config.toml"), text);
    assert!(!kept("config.resolved.toml").contains("include"), "{}", kept("config.resolved.toml"));
    std::fs::remove_file(root.join("base.toml")).expect("removed");
    std::fs::remove_file(root.join("short.toml")).expect("removed");
    succeed(root, &["resume", "runs/short", "--steps", "+2", "--device", "flex", "--quiet"]);
    assert!(root.join("runs/short/checkpoints/step_000006").is_dir());
}

#[test]
fn errors_point_into_the_file_that_is_wrong() {
    let wrong = |from: &str, to: &str| {
        assert!(TINY.contains(from), "{from}");
        TINY.replace(from, to)
    };
    let top = |rest: &str| format!("# on top\ninclude = \"base.toml\"\n{rest}");
    let cases = [
        ("a typo in what is included", top("seed = 1"), wrong("latent = 6", "latant = 6"), ""),
        ("a typo on top", top("[generator]\nlatant = 5"), TINY.to_owned(), ""),
        ("a wrong type in what is included", top("seed = 1"), wrong("batch = 8", "batch = \"eight\""), ""),
        ("a value out of range in what is included", top("seed = 1"), wrong("steps = 100", "steps = 0"), ""),
        ("a value out of range on top", top("train.steps = 0"), TINY.to_owned(), ""),
        ("a wrong override", top("seed = 1"), TINY.to_owned(), "train.steps=0"),
        ("what is included is no TOML", top("seed = 1"), wrong("[train]", "[train"), ""),
        ("the top is no TOML", top("[train"), TINY.to_owned(), ""),
        ("nothing says what is missing", top("seed = 1"), wrong("data.shapes.count = 256", ""), ""),
        ("another network beside the included", top("[generator]\nfc = { widths = [8] }"), TINY.to_owned(), ""),
        ("a file that is not there", top("").replace("base", "bass"), TINY.to_owned(), ""),
        ("a circle", top(""), "seed = 1\ninclude = \"./top.toml\"\n".to_owned(), ""),
        ("no path", "include = [\"base.toml\"]".to_owned(), TINY.to_owned(), ""),
    ];
    let mut answers = String::new();
    for (name, top, base, set) in cases {
        let folder = folder();
        write(folder.path(), "top.toml", &top);
        write(folder.path(), "base.toml", &base);
        let before = files(folder.path());
        let mut args = vec!["train", "top.toml", "--device", "flex"];
        if !set.is_empty() {
            args.extend(["--set", set]);
        }
        let (code, stdout, stderr) = run(folder.path(), &args);
        assert_eq!((code, stdout.as_str()), (2, ""), "{name}: {stderr}");
        assert_eq!(files(folder.path()), before, "nothing half-written");
        writeln!(answers, "=== {name}\n{}", stderr.trim_end()).expect("a string");
    }
    insta::assert_snapshot!(answers);
}
