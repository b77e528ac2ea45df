//! `fintan compare`

use std::path::Path;

use fintan_artifact::{Comparison, RunDir};

use crate::support::{TINY, config, files, folder, run, succeed};

/// A tiny GAN and one that differs in β, 20 steps each.
fn pair(folder: &Path) {
    let short = TINY.replace("steps = 100", "steps = 20").replace("n_critic = 2", "n_critic = 1");
    config(folder, &short.replace("beta = 0.1", "beta = 0.5"));
    std::fs::rename(folder.join("tiny.toml"), folder.join("other.toml")).expect("renamed");
    config(folder, &short);
}

const QUICK: [&str; 8] = ["--device", "flex", "--quiet", "-n", "64", "--metrics", "correlation,std,swd", "--out"];

fn compare(folder: &Path, out: &str, args: &[&str]) -> String {
    succeed(folder, &[&["compare"], args, &QUICK[..], &[out]].concat())
}

/// What the program says when it refuses, on one line.
fn refused(folder: &Path, args: &[&str]) -> String {
    let (code, stdout, stderr) = run(folder, &[&["compare"], args].concat());
    assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
    stderr.split_whitespace().filter(|w| *w != "│").collect::<Vec<_>>().join(" ")
}

#[test]
fn the_data_come_first_and_seeds_are_averaged() {
    let folder = folder();
    pair(folder.path());
    let table = compare(folder.path(), "all", &["tiny.toml", "other.toml", "--seeds", "0,3"]);
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].contains("correlation") && lines[0].contains("swd"), "{table}");
    assert!(
        lines[1].starts_with("data ") && lines[2].starts_with("tiny ") && lines[3].starts_with("other "),
        "{table}"
    );
    assert!(lines[2].matches('±').count() == 3 && !lines[1].contains('±'), "{table}");
    assert!(table.contains("other: seeds 0, 3\n  generator.parametrization.ntk.beta = 0.5\n"), "{table}");
    assert_eq!(lines.last(), Some(&"all/report.html"));

    let found = Comparison::read(&folder.path().join("all")).expect("compare.json");
    assert_eq!(found.metrics, ["correlation", "std", "swd"]);
    assert_eq!((found.data.len(), found.data[0].count, found.rows.len()), (1, 64, 2));
    for row in &found.rows {
        assert_eq!(row.runs.iter().map(|run| (run.seed, run.step)).collect::<Vec<_>>(), [(0, 20), (3, 20)]);
        for m in 0..3 {
            // The same numbers that `eval` keeps, and their mean and deviation written out.
            let values: Vec<f64> = row.runs.iter().map(|run| run.values[m].expect("measured")).collect();
            for (run, value) in row.runs.iter().zip(&values) {
                let directory = RunDir::open(&folder.path().join("all").join(&run.run)).expect("a run");
                let evaluation = &directory.evaluations().expect("read")[&20];
                assert_eq!(evaluation.seed, run.seed);
                let record = evaluation.metric(&found.metrics[m]).expect("kept");
                assert_eq!((record.samples, Some(record.data)), (*value, found.data[0].values[m]));
            }
            assert!((row.mean[m].expect("a mean") - f64::midpoint(values[0], values[1])).abs() < 1e-12);
            let deviation = (values[0] - values[1]).abs() / 2.0_f64.sqrt();
            assert!((row.spread[m].expect("a spread") - deviation).abs() < 1e-12);
        }
    }
    // Latents, weights and order of the data are those of `train` with that seed.
    let alone = ["train", "other.toml", "--seed", "3", "--out", "alone", "--device", "flex", "--quiet"];
    succeed(folder.path(), &alone);
    for file in ["config.resolved.toml", "grids/step_000020.png", "checkpoints/step_000020/generator.safetensors"] {
        let [a, b] = ["alone", "all/other_seed_3"].map(|run| std::fs::read(folder.path().join(run).join(file)));
        assert_eq!(a.expect("read"), b.expect("read"), "{file}");
    }
    let csv = std::fs::read_to_string(folder.path().join("all/compare.csv")).expect("written");
    assert!(csv.starts_with("name,seed,step,correlation,std,swd\n\"data: built-in shapes"), "{csv}");
    assert_eq!(csv.lines().count(), 1 + 1 + 4);
}

#[test]
fn what_was_cut_short_goes_on_to_the_same_bytes() {
    let folder = folder();
    pair(folder.path());
    let args = ["tiny.toml", "other.toml", "--seeds", "0,1"];
    compare(folder.path(), "whole", &args);
    // One run done, one stopped on its way, one killed before its first checkpoint, one not begun.
    compare(folder.path(), "parts", &["tiny.toml", "other.toml"]);
    succeed(folder.path(), &["resume", "parts/other_seed_0", "--from", "20", "--device", "flex", "--quiet"]);
    std::fs::remove_dir_all(folder.path().join("parts/other_seed_0/checkpoints")).expect("removed");
    for file in ["compare.json", "compare.csv", "report.html"] {
        std::fs::remove_file(folder.path().join("parts").join(file)).expect("removed");
    }
    let done = folder.path().join("parts/tiny_seed_0/checkpoints/step_000020/generator.safetensors");
    let before = std::fs::metadata(&done).expect("there").modified().expect("a time");
    let table = compare(folder.path(), "parts", &args);
    assert_eq!(std::fs::metadata(&done).expect("there").modified().expect("a time"), before, "trained once");
    assert_eq!(table.replace("parts/", "whole/"), compare(folder.path(), "whole", &args));
    let kept = |name: &str| -> Vec<_> {
        let timed = ["log.jsonl", "report.html"];
        let all = files(&folder.path().join(name)).into_iter();
        all.filter(|(path, _)| timed.iter().all(|timed| !path.ends_with(timed))).collect()
    };
    let (whole, parts) = (kept("whole"), kept("parts"));
    assert_eq!(whole.iter().map(|f| &f.0).collect::<Vec<_>>(), parts.iter().map(|f| &f.0).collect::<Vec<_>>());
    for (a, b) in whole.iter().zip(&parts) {
        assert!(a == b, "{}", a.0.display());
    }
}

#[test]
fn runs_and_configurations_stand_in_one_table() {
    let folder = folder();
    pair(folder.path());
    succeed(folder.path(), &["train", "tiny.toml", "--seed", "1", "--out", "mine", "--device", "flex", "--quiet"]);
    // The run has the settings of the first configuration: it joins its row.
    compare(folder.path(), "mixed", &["tiny.toml", "mine", "other.toml"]);
    let found = Comparison::read(&folder.path().join("mixed")).expect("compare.json");
    let runs = |row: usize| found.rows[row].runs.iter().map(|run| run.run.as_str()).collect::<Vec<_>>();
    assert_eq!((runs(0), runs(1)), (vec!["tiny_seed_0", "mine"], vec!["other_seed_0"]));
    assert!(found.rows[0].spread[0].is_some() && found.rows[1].spread[0].is_none());
    // Another data set has a row of its own, above those that were trained on it.
    let elsewhere =
        ["train", "tiny.toml", "--set", "data.shapes.seed=9", "--out", "elsewhere", "--device", "flex", "--quiet"];
    succeed(folder.path(), &elsewhere);
    let table = compare(folder.path(), "two", &["mixed/tiny_seed_0", "elsewhere"]);
    let names: Vec<&str> = table.lines().take(5).map(|line| line.get(..10).unwrap_or("").trim()).collect();
    assert_eq!(names, ["", "data 1", "tiny", "data 2", "elsewhere"], "{table}");
    assert!(table.contains("elsewhere: seed 0\n  data.shapes.seed = 9\n"), "{table}");
}

#[test]
fn a_comparison_is_a_configuration_too() {
    let folder = folder();
    pair(folder.path());
    let text = r#"
[compare]
base = "tiny.toml"
seeds = [4]
[[compare.variants]]
name = "as it is"
[[compare.variants]]
name = "no norm"
set = ["generator.dcgan.norm=none"]
[[compare.variants]]
name = "β"
base = "other.toml"
"#;
    let write = |text: &str| std::fs::write(folder.path().join("three.toml"), text).expect("written");
    write(text);
    let table = compare(folder.path(), "three", &["three.toml"]);
    assert!(table.contains("\nas it is ") && table.contains("no norm: seed 4\n"), "{table}");
    let found = Comparison::read(&folder.path().join("three")).expect("compare.json");
    let runs: Vec<&str> = found.rows.iter().map(|row| row.runs[0].run.as_str()).collect();
    assert_eq!(runs, ["as_it_is_seed_4", "no_norm_seed_4", "β_seed_4"]);

    let wrong = |from: &str, to: &str| {
        write(&text.replace(from, to));
        refused(folder.path(), &["three.toml"])
    };
    let said = wrong("seeds = [4]", "seed = [4]");
    assert!(said.contains("unknown field `seed`") && said.contains("did you mean `seeds`?"), "{said}");
    assert!(wrong("seeds = [4]", "seeds = [4, 4]").contains("`compare.seeds` has 4 twice"));
    let said = wrong("seeds = [4]", "seeds = [9223372036854775808]");
    assert!(said.contains("`compare.seeds` must be at most 9223372036854775807"), "{said}");
    let said = refused(folder.path(), &["three.toml", "--seeds", "9223372036854775808"]);
    assert!(said.contains("--seeds must be at most 9223372036854775807"), "{said}");
    assert!(wrong("\"no norm\"", "\"as it is\"").contains("two variants are called `as it is`"));
    assert!(wrong("\"no norm\"", "\"-\"").contains("`name` must have a letter or a digit, got `-`"));
    assert!(wrong("base = \"tiny.toml\"", "").contains("`as it is` has nothing to start from"));
    assert!(wrong("tiny.toml", "gone.toml").contains("cannot read the configuration `gone.toml`"));
    let said = wrong("norm=none", "nrom=none");
    assert!(said.contains("unknown field `nrom`") && said.contains("did you mean `norm`?"), "{said}");
}

#[test]
fn what_cannot_be_compared_is_refused_and_nothing_is_written() {
    let folder = folder();
    pair(folder.path());
    std::fs::write(folder.path().join("net.toml"), "network = { input = 2, fc = { widths = [2] }, outputs = 1 }")
        .expect("written");
    let before = files(folder.path());
    let refused = |args: &[&str]| refused(folder.path(), args);
    assert!(refused(&["tiny.toml"]).contains("there is one run to compare"));
    assert!(refused(&["tiny.toml", "tiny.toml"]).contains("are the same training: same settings and seed 0"));
    assert!(refused(&["tiny.toml", "gone"]).contains("cannot read the configuration `gone`"));
    assert!(refused(&["tiny.toml", "."]).contains("is no run directory"));
    assert!(refused(&["tiny.toml", "net.toml"]).contains("`net.toml` describes a network"));
    assert!(refused(&["tiny.toml", "other.toml", "--seeds", "1,1"]).contains("--seeds has 1 twice"));
    assert!(refused(&["tiny.toml", "other.toml", "--out", "."]).contains("holds no comparison"));
    let text = std::fs::read_to_string(folder.path().join("other.toml")).expect("read");
    std::fs::write(folder.path().join("other.toml"), format!("seed = 2\n{text}")).expect("written");
    assert!(refused(&["tiny.toml", "other.toml"]).contains("`tiny` has seed 0 and `other` has seed 2"));
    std::fs::write(folder.path().join("other.toml"), text).expect("written");
    assert!(files(folder.path()) == before);

    compare(folder.path(), "all", &["tiny.toml", "other.toml"]);
    assert!(refused(&["all/tiny_seed_0", "all/tiny_seed_0"]).contains("are the same training"));
    let said = refused(&["tiny.toml", "other.toml", "--out", "all", "--set", "train.batch=4"]);
    assert!(said.contains("was trained with train.batch = 8, and tiny is to have 4"), "{said}");
    assert!(refused(&["all/tiny_seed_0", "all/other_seed_0", "--set", "train.batch=4"]).contains("of runs it changes"));
}

#[test]
fn ranges_of_seeds_leave_their_end_out() {
    let folder = folder();
    pair(folder.path());
    let table = compare(folder.path(), "all", &["tiny.toml", "--seeds", "7,3..5", "--set", "train.steps=2"]);
    assert!(table.contains("tiny: seeds 7, 3, 4\n"), "{table}");
    let folders = ["tiny_seed_3", "tiny_seed_4", "tiny_seed_5", "tiny_seed_7"]
        .map(|run| folder.path().join("all").join(run).is_dir());
    assert_eq!(folders, [true, true, false, true]);
    assert!(refused(folder.path(), &["tiny.toml", "--seeds", "4,3..5"]).contains("--seeds has 4 twice"));
    assert!(refused(folder.path(), &["tiny.toml", "--seeds", "3..3"]).contains("the range holds no seed"));
    assert!(
        refused(folder.path(), &["tiny.toml", "--seeds", "3-5"]).contains("a seed such as 3, or a range such as 3..5")
    );
}
