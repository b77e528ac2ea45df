//! `fintan eval`

use std::path::Path;

use burn::tensor::TensorData;
use fintan_artifact::{Evaluation, RunDir};
use fintan_config::{Architecture, Description, Empty, Layer, Parametrization, Shape};
use fintan_net::weights::{Tensors, write_safetensors};

use crate::support::{TINY, config, folder, run, succeed};

/// Trains a tiny GAN into `folder/a`.
fn trained(folder: &Path, steps: &str) {
    config(folder, &TINY.replace("steps = 100", &format!("steps = {steps}")));
    succeed(folder, &["train", "tiny.toml", "--out", "a", "--device", "flex", "--quiet"]);
}

const QUICK: [&str; 6] = ["eval", "a", "--device", "flex", "--classifier-steps", "40"];

fn evaluate(folder: &Path, flags: &[&str]) -> Evaluation {
    let told = succeed(folder, &[&QUICK[..], &["--json"], flags].concat());
    let answer: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    serde_json::from_value(answer["evaluation"].clone()).expect("an evaluation")
}

/// What the program says when it refuses, on one line.
fn refused(folder: &Path, flags: &[&str]) -> String {
    let (code, stdout, stderr) = run(folder, &[&QUICK[..], flags].concat());
    assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
    stderr.split_whitespace().filter(|w| *w != "│").collect::<Vec<_>>().join(" ")
}

fn names(evaluation: &Evaluation) -> Vec<&str> {
    evaluation.metrics.iter().map(|record| record.metric.as_str()).collect()
}

#[test]
fn samples_are_measured_beside_the_data_and_kept_by_step() {
    let folder = folder();
    trained(folder.path(), "60");
    let first = evaluate(folder.path(), &[]);
    assert_eq!((first.step, first.count, first.batch_norm.as_str()), (60, 128, "running"));
    assert_eq!(
        names(&first),
        [
            "correlation",
            "std",
            "swd",
            "patch_swd",
            "nyquist",
            "phase2",
            "phase8",
            "border",
            "fid",
            "kid",
            "precision",
            "recall",
            "classes",
            "class_divergence"
        ]
    );
    // Images of 8x8 are smaller than the window.
    assert_eq!(first.refused.len(), 1);
    assert_eq!(first.refused[0].reason, "MS-SSIM needs images of at least 11x11, got 8x8");
    for record in &first.metrics {
        assert!(record.data.is_finite() && record.samples.is_finite() && record.count >= 64, "{record:?}");
        if let Some(ratio) = record.ratio {
            assert!((ratio - record.samples / record.data).abs() < 1e-12);
        }
    }
    // The data against their other half are the floor of every distance, and have what samples of a few steps have not.
    let pair = |name: &str| {
        let record = first.metric(name).expect("measured");
        (record.data, record.samples)
    };
    for name in ["swd", "patch_swd", "fid", "kid", "class_divergence"] {
        assert!(pair(name).0 < 0.8 * pair(name).1, "{name}: {:?}", pair(name));
    }
    assert!(pair("recall").0 > pair("recall").1 && pair("recall").0 > 0.5, "{:?}", pair("recall"));
    let classifier = first.classifier.as_ref().expect("trained");
    assert_eq!((classifier.tested, classifier.trained, classifier.classes, classifier.steps), (128, 128, 12, 40));
    assert!(first.metric("fid").expect("measured").source.starts_with("classifier of the data, 64 features, "));
    assert_eq!(first.classes.iter().map(|class| class.samples).sum::<usize>(), 128);
    assert_eq!(first.classes[2].class, "square");
    let hit = first.classes.iter().filter(|class| class.samples > 0).count();
    assert_eq!(pair("classes").1, hit as f64);

    // Again, from what was kept beside the run: the same.
    let kept = || crate::support::files(&folder.path().join(".fintan-cache"));
    let before = kept();
    assert_eq!(before.len(), 2);
    assert_eq!(evaluate(folder.path(), &[]), first);
    assert!(kept() == before);
    // What was kept is damaged: it is made again.
    std::fs::write(folder.path().join(".fintan-cache").join(&before[0].0), b"cut").expect("spoilt");
    assert_eq!(evaluate(folder.path(), &[]), first);
    assert!(kept() == before);

    // One metric more of another checkpoint; what training wrote stays.
    let early = evaluate(folder.path(), &["--step", "50", "--metrics", "std,correlation", "--n", "64"]);
    assert_eq!((early.step, early.count, names(&early)), (50, 64, vec!["correlation", "std"]));
    let directory = RunDir::open(&folder.path().join("a")).expect("a run");
    let all = directory.evaluations().expect("read");
    assert_eq!((all[&60].clone(), all[&50].clone()), (first, early));
    let text: serde_json::Value =
        serde_json::from_slice(&std::fs::read(directory.metrics()).expect("read")).expect("JSON");
    assert!(text["std_ratio"].is_f64() && text["step"] == 60);
    // A run that goes back measures again, and one that goes on keeps what was measured before.
    succeed(folder.path(), &["resume", "a", "--from", "50", "--steps", "55", "--device", "flex", "--quiet"]);
    assert_eq!(directory.evaluations().expect("read").into_keys().collect::<Vec<_>>(), [50]);
}

#[test]
fn a_table_says_what_stands_behind_each_number() {
    let folder = folder();
    trained(folder.path(), "10");
    let (code, table, words) = run(folder.path(), &[&QUICK[..], &["--n", "70"]].concat());
    assert_eq!(code, 0, "{words}");
    let line = |name: &str| table.lines().find(|line| line.starts_with(name)).expect("a line").to_owned();
    assert!(line("metric").contains("data") && line("metric").find("data") < line("metric").find("samples"));
    assert!(line("fid").contains("70 images") && line("fid").contains("classifier of the data, 64 features"));
    assert!(line("correlation").contains("35 pairs") && line("swd").contains("256 directions"));
    assert!(line("samples by class: disc").contains("tee"));
    assert!(table.ends_with("a/metrics.json\n"));
    assert!(words.contains("batch norm statistics: running") && words.contains("no ms_ssim: MS-SSIM needs images"));
}

#[test]
fn data_without_labels_leave_pixels_to_measure() {
    let folder = folder();
    trained(folder.path(), "10");
    succeed(
        folder.path(),
        &["sample", "a", "-n", "40", "--png-each", "--out", "drawn.png", "--device", "flex", "--quiet"],
    );
    let unlabelled = ["--set", "data.folder.path=drawn"];
    let found = evaluate(folder.path(), &unlabelled);
    assert_eq!(found.count, 20);
    assert_eq!(names(&found), ["correlation", "std", "swd", "patch_swd", "nyquist", "phase2", "phase8", "border"]);
    let reasons: Vec<String> = found.refused.iter().map(|r| format!("{}: {}", r.metric, r.reason)).collect();
    // MS-SSIM, the four of features, and both of classes.
    assert_eq!(reasons.len(), 7);
    assert!(reasons[6].starts_with("class_divergence: folder `"), "{}", reasons[6]);
    assert!(reasons[1].starts_with("fid: folder `"), "{}", reasons[1]);
    assert!(
        reasons[5].contains(
            "has no labels, so no classifier can be trained on it; put the images of each class into a folder"
        ),
        "{}",
        reasons[5]
    );
    let said = refused(folder.path(), &[&unlabelled[..], &["--metrics", "fid,modes"]].concat());
    assert!(said.contains("nothing could be measured: fid: folder `drawn` has no labels"), "{said}");
}

#[test]
fn too_few_samples_are_said_by_metric() {
    let folder = folder();
    trained(folder.path(), "10");
    let found = evaluate(folder.path(), &["--n", "20", "--metrics", "fid,kid,precision_recall"]);
    assert_eq!(names(&found), ["kid", "precision", "recall"]);
    assert_eq!(found.refused[0].reason, "the Fréchet distance needs at least 65 samples, got 20");
    let said = refused(folder.path(), &["--n", "20", "--metrics", "fid"]);
    assert!(said.contains("needs at least 65 samples, got 20"), "{said}");
    let said = refused(folder.path(), &["--set", "data.shapes.count=7"]);
    assert!(said.contains("has 7 images; halves of at least 4 are needed"), "{said}");
}

#[test]
fn wrong_questions_are_answered() {
    let folder = folder();
    trained(folder.path(), "10");
    let metrics = folder.path().join("a/metrics.json");
    let before = std::fs::read(&metrics).expect("written");
    assert!(refused(folder.path(), &["--step", "7"]).contains("holds no checkpoint of step 7; there are: 10"));
    assert!(refused(folder.path(), &["--set", "generator.latent=3"]).contains("changes `data.` only"));
    assert!(refused(folder.path(), &["--metrics", "fud"]).contains("possible values: all, correlation, ms_ssim"));
    assert!(refused(folder.path(), &["--n", "3"]).contains("3 is not in 4..=100000"));
    assert!(refused(folder.path(), &["--set", "data.idx.images=gone"]).contains("gone"));
    assert_eq!(std::fs::read(&metrics).expect("written"), before);
    std::fs::write(&metrics, b"{ \"evaluations\": 3 }").expect("spoilt");
    assert!(refused(folder.path(), &[]).contains("metrics.json` is damaged"));
}

/// Features of a network from a file: a random linear map of the pixels.
#[test]
fn features_come_from_a_file_where_one_is_given() {
    let folder = folder();
    trained(folder.path(), "10");
    let input = Shape::image(1, 8, 8);
    let layers = [Layer::Flatten(Empty {}), Layer::Dense(6.into())];
    let network = Architecture::new(input, &layers, Parametrization::default()).expect("sound");
    let weights: Vec<f32> = (0..6 * 64).map(|i| ((i * i * 7 + 3 * i) % 23) as f32 / 23.0 - 0.5).collect();
    let tensors = Tensors::from([
        ("0.weight".to_owned(), TensorData::new(weights, [6, 64])),
        ("0.bias".to_owned(), TensorData::new(vec![0.5_f32; 6], [6])),
    ]);
    let path = |name: &str| folder.path().join(name);
    let described = |architecture: &Architecture| serde_json::to_vec(&Description::of(architecture)).expect("JSON");
    std::fs::write(path("map.safetensors"), write_safetensors(&tensors)).expect("written");
    let flags = ["--features", "map.safetensors", "--metrics", "fid,kid,precision_recall", "--n", "30"];
    let said = refused(folder.path(), &flags);
    assert!(said.contains("`map.json` is missing") && said.contains("Inception v3"), "{said}");
    std::fs::write(path("map.json"), described(&network)).expect("written");
    // Neither labels nor a classifier are needed.
    let found = evaluate(folder.path(), &flags);
    assert_eq!((names(&found), found.classifier.clone()), (vec!["fid", "kid", "precision", "recall"], None));
    let fid = found.metric("fid").expect("measured");
    assert!(fid.source.starts_with("map.safetensors (") && fid.source.ends_with("), 6 features"), "{}", fid.source);
    assert!(fid.data < fid.samples, "{fid:?}");

    let other = Architecture::new(Shape::image(3, 8, 8), &layers, Parametrization::default()).expect("sound");
    std::fs::write(path("map.json"), described(&other)).expect("written");
    let said = refused(folder.path(), &flags);
    assert!(said.contains("tensor `0.weight` must have shape [6, 192], got [6, 64]"), "{said}");
    std::fs::write(path("map.json"), b"{ \"layers\": 3 }").expect("written");
    assert!(refused(folder.path(), &flags).contains("`map.json`:"));
    succeed(folder.path(), &["export", "a", "--out", "out", "--device", "flex", "--quiet"]);
    let said = refused(folder.path(), &["--features", "out/generator.safetensors"]);
    assert!(said.contains("takes 6, but the images of this run are 1x8x8"), "{said}");
}
