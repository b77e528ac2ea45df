//! `fintan ntk`

use std::collections::BTreeMap;
use std::path::Path;

use fintan_artifact::{Array, read_arrays};
use fintan_net::weights::write_safetensors;
use fintan_testing::networks::{NetworkCase, golden};
use serde_json::{Value, json};

use crate::devices::wgpu_at_hand;
use crate::support::{TINY, answer, config, files, folder, run, succeed};

/// A fully connected network with batch norm: three outputs, coupled samples.
const COUPLED: &str = r"
[network]
input = 5
parametrization.ntk.beta = 0.3
fc = { widths = [16, 16], norm = { batch = {} } }
outputs = 3
";

/// A generator of 8 x 8 images with two channels.
const IMAGES: &str = r#"
seed = 3
[network]
input = 4
parametrization.graph.beta = 0.1
layers = [
    { dense = { out = 24 } },
    { reshape = { channels = 6, height = 2, width = 2 } },
    { activation = { function = "relu", scaling = "normalized" } },
    { deconv = { out = 4, kernel = 4, stride = 2, padding = 1 } },
    { activation = { function = "tanh" } },
    { deconv = { out = 2, kernel = 4, stride = 2, padding = 1 } },
]
"#;

pub(crate) fn arrays(path: &Path) -> Vec<(String, Array<'static>)> {
    read_arrays(path).expect("an .npz file")
}

pub(crate) fn array(path: &Path, name: &str) -> Array<'static> {
    let all = arrays(path);
    let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    let found = names.iter().position(|n| *n == name).unwrap_or_else(|| panic!("no `{name}` among {names:?}"));
    all[found].1.clone()
}

/// Runs `fintan ntk` on a configuration and gives the kernel.
fn kernel(folder: &Path, text: &str, args: &[&str]) -> Array<'static> {
    let path = config(folder, text);
    let all = [&["ntk", path.to_str().expect("UTF-8"), "--quiet", "--out", "k.npz"], args].concat();
    succeed(folder, &all);
    array(&folder.join("k.npz"), "ntk")
}

/// Whether a message holds these words, wherever its lines are broken.
pub(crate) fn said(message: &str, words: &str) -> bool {
    let pieces: Vec<&str> = message.split_whitespace().filter(|piece| *piece != "│").collect();
    pieces.join(" ").contains(words)
}

fn far(a: &Array, b: &Array) -> f64 {
    assert_eq!(a.shape, b.shape);
    let (a, b) = (a.to_f64(), b.to_f64());
    let largest = b.iter().fold(1e-300_f64, |m, v| m.max(v.abs()));
    a.iter().zip(&b).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs())) / largest
}

#[test]
fn methods_and_devices_agree_through_the_command_line() {
    let folder = folder();
    for text in [COUPLED, IMAGES] {
        for entries in ["full", "traced", "diagonal"] {
            let get = |device: &str, method: &str, more: &[&str]| {
                let args = ["-n", "3", "--entries", entries, "--device", device, "--method", method];
                kernel(folder.path(), text, &[&args[..], more].concat())
            };
            let oracle = get("flex", "jacobian_contraction", &["--f64"]);
            for device in ["flex", "ndarray"] {
                for method in ["auto", "structured", "ntk_vector_products", "jacobian_contraction"] {
                    let (double, single) = (get(device, method, &["--f64"]), get(device, method, &[]));
                    assert!(far(&double, &oracle) < 1e-10, "{device}, {method}, {entries}: f64");
                    assert!(far(&single, &oracle) < 1e-5, "{device}, {method}, {entries}: f32");
                }
            }
        }
    }
}

/// f32 on a GPU, real or software: the same kernels to 1e-5.
#[test]
fn kernels_on_wgpu_agree_with_the_cpu() {
    if !wgpu_at_hand("kernels_on_wgpu_agree_with_the_cpu") {
        return;
    }
    let folder = folder();
    // Two runs only: every process compiles its kernels anew.
    for (text, entries) in [(IMAGES, "full"), (COUPLED, "traced")] {
        let get = |device: &str, more: &[&str]| {
            let args = ["-n", "2", "--entries", entries, "--device", device, "--outputs", "0,2"];
            kernel(folder.path(), text, &[&args[..], more].concat())
        };
        let off = far(&get("wgpu", &[]), &get("flex", &["--f64"]));
        assert!(off < 1e-5, "{entries}: {off:e}");
    }
}

#[test]
fn outputs_can_be_chosen_by_number_channel_and_grid() {
    let folder = folder();
    let get = |args: &[&str]| {
        let base = ["-n", "2", "--entries", "full", "--f64", "--device", "flex"];
        let k = kernel(folder.path(), IMAGES, &[&base[..], args].concat());
        (k, array(&folder.path().join("k.npz"), "outputs").to_f64())
    };
    let (whole, _) = get(&[]);
    assert_eq!(whole.shape, [2, 2, 128, 128]);
    let all = whole.to_f64();
    for args in
        [&["--outputs", "127,3,64..66"][..], &["--channel", "1"], &["--grid", "3", "--channel", "0"], &["--grid", "4"]]
    {
        let (part, outputs) = get(args);
        let o = outputs.len();
        assert_eq!(part.shape, [2, 2, o, o], "{args:?}");
        for (i, value) in part.to_f64().iter().enumerate() {
            let (pair, a, b) = (i / (o * o), outputs[i / o % o] as usize, outputs[i % o] as usize);
            let want = all[(pair * 128 + a) * 128 + b];
            assert!((value - want).abs() < 1e-12 * all[0], "{args:?}");
        }
    }
    assert_eq!(get(&["--grid", "4"]).1, [0.0, 4.0, 32.0, 36.0, 64.0, 68.0, 96.0, 100.0]);
}

#[test]
fn parts_add_up_and_the_mean_divides() {
    let folder = folder();
    let path = folder.path().join("k.npz");
    let sum = kernel(folder.path(), IMAGES, &["-n", "3", "--f64"]);
    let parts: Vec<(String, Array)> =
        arrays(&path).into_iter().filter(|(name, _)| name.starts_with("parts/")).collect();
    let names: Vec<&str> = parts.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        ["parts/0.weight", "parts/0.bias", "parts/1.weight", "parts/1.bias", "parts/2.weight", "parts/2.bias"]
    );
    let mut total = vec![0.0; 9];
    for (_, part) in &parts {
        total.iter_mut().zip(part.to_f64()).for_each(|(t, v)| *t += v);
    }
    assert!(far(&Array::f64(&[3, 3], total), &sum) < 1e-14);
    let mean = kernel(folder.path(), IMAGES, &["-n", "3", "--f64", "--mean"]);
    let scaled: Vec<f64> = mean.to_f64().iter().map(|v| v * 128.0).collect();
    assert!(far(&Array::f64(&[3, 3], scaled), &sum) < 1e-14);
}

/// Same seed, same device: same bytes; another seed, another kernel.
#[test]
fn kernels_repeat_byte_for_byte() {
    let folder = folder();
    let bytes = |seed: &str, threads: &str| {
        let path = config(folder.path(), IMAGES);
        let mut command = crate::support::fintan(folder.path());
        let args =
            ["ntk", path.to_str().expect("UTF-8"), "--quiet", "--out", "k.npz", "--device", "flex", "--seed", seed];
        let output = command.args(args).env("RAYON_NUM_THREADS", threads).output().expect("the program starts");
        assert!(output.status.success());
        std::fs::read(folder.path().join("k.npz")).expect("a kernel")
    };
    let first = bytes("1", "2");
    assert_eq!(first, bytes("1", "2"));
    assert_ne!(first, bytes("2", "2"));
}

#[test]
fn a_checkpoint_has_a_kernel() {
    let folder = folder();
    let path = config(folder.path(), TINY);
    let path = path.to_str().expect("UTF-8");
    succeed(folder.path(), &["train", path, "--set", "train.steps=10", "--out", "r", "--quiet", "--device", "flex"]);
    for network in ["generator", "discriminator"] {
        let args = ["ntk", "r", "--network", network, "-n", "4", "--quiet", "--device", "flex"];
        let file = folder.path().join(succeed(folder.path(), &args).trim());
        assert!(file.ends_with(format!("r/ntk/step_000010_{network}.npz")));
        let start = kernel(folder.path(), TINY, &["--network", network, "-n", "4", "--device", "flex"]);
        let trained = array(&file, "ntk");
        assert_eq!(trained.shape, [4, 4]);
        assert!(far(&trained, &start) > 1e-6, "training moves the kernel of the {network}");
    }
}

#[test]
fn the_kernel_of_a_run_is_followed_through_its_checkpoints() {
    let folder = folder();
    let at = folder.path();
    let path = config(at, TINY);
    let path = path.to_str().expect("UTF-8");
    let sets = ["--set", "train.steps=30", "--set", "train.checkpoint_every=10", "--set", "train.keep=9"];
    let train = ["train", path, "--out", "r", "--quiet", "--device", "flex"];
    succeed(at, &[&train[..], &sets].concat());
    let args = ["ntk", "r", "--steps", "all", "-n", "5", "--device", "flex", "--json", "--f64"];
    let answer: Value = serde_json::from_str(&succeed(at, &args)).expect("JSON");
    let rows = answer["steps"].as_array().expect("rows");
    assert_eq!(rows.len(), 3);
    assert_eq!((rows[0]["drift"].as_f64(), rows[0]["step"].as_u64()), (Some(0.0), Some(10)));
    assert!((rows[0]["alignment"].as_f64().expect("a number") - 1.0).abs() < 1e-12);
    // By hand, from the kernels it wrote.
    let theta = |step: u64| array(&at.join(format!("r/ntk/step_{step:06}_generator.npz")), "ntk").to_f64();
    let (first, last) = (theta(10), theta(30));
    let norm = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
    let change: Vec<f64> = last.iter().zip(&first).map(|(a, b)| a - b).collect();
    let drift = rows[2]["drift"].as_f64().expect("a number");
    assert!(drift > 1e-6 && (drift - norm(&change) / norm(&first)).abs() < 1e-9 * drift);
    assert!(std::fs::read_to_string(at.join("r/ntk/drift_generator.csv")).expect("a table").lines().count() == 4);
}

#[test]
fn wrong_input_is_named() {
    let folder = folder();
    let at = folder.path();
    let path = config(at, IMAGES);
    let path = path.to_str().expect("UTF-8");
    std::fs::write(at.join("bad.npy"), b"not numpy").expect("written");
    let npy = |name: &str, array: &Array| {
        fintan_artifact::write_npz(&at.join(name), &[("x", array.clone())]).expect("written");
    };
    npy("wide.npz", &Array::f64(&[2, 5], vec![0.5; 10]));
    npy("nan.npz", &Array::f64(&[2, 4], vec![0.1, 0.2, 0.3, 0.4, 0.5, f64::NAN, 0.7, 0.8]));
    npy("none.npz", &Array::f64(&[0, 4], Vec::new()));
    let weights = json!({});
    std::fs::write(at.join("empty.safetensors"), weights.to_string()).expect("written");
    for (args, words) in [
        (&["--outputs", "3,x"][..], "--outputs must be numbers and ranges"),
        (&["--outputs", "120..130"], "the network has outputs 0..128"),
        (&["--outputs", "128"], "outputs 0 to 127, so there is no output 128"),
        (&["--outputs", "1,1"], "output 1 is asked for twice"),
        (&["--channel", "2"], "--channel must be below 2, got 2"),
        (&["--tile-samples", "0"], "a tile must have 1 to 16 samples a side, got 0"),
        (&["--tile-samples", "17"], "a tile must have 1 to 16 samples a side, got 17"),
        (&["--tile-outputs", "129"], "a tile must have 1 to 128 outputs a side, got 129"),
        (&["--mean", "--entries", "full"], "--mean belongs to --entries traced"),
        (&["--inputs", "missing.npy"], "missing.npy"),
        (&["--inputs", "bad.npy"], "no .npy and no .npz"),
        (&["--inputs", "wide.npz"], "the network takes [N, 4], the array is [2, 5]"),
        (&["--inputs", "nan.npz"], "sample 1 holds a value that is not finite"),
        (&["--inputs", "none.npz"], "no sample"),
        (&["--inputs", "x.safetensors"], "name the tensor"),
        (&["--weights", "empty.safetensors"], "not a complete safetensors file"),
        (&["--weights", "missing.safetensors"], "missing.safetensors"),
    ] {
        let before = files(at).len();
        let (code, stdout, stderr) = run(at, &[&["ntk", path, "--device", "flex"], args].concat());
        assert_eq!(code, 2, "{args:?}: {stderr}");
        assert!(stdout.is_empty() && said(&stderr, words), "{args:?}: {stderr}");
        assert_eq!(files(at).len(), before, "{args:?} left something behind");
    }
    let coupled = config(at, COUPLED);
    let (code, _, stderr) = run(at, &["ntk", coupled.to_str().expect("UTF-8"), "-n", "1", "--device", "flex"]);
    assert!(code == 2 && said(&stderr, "at least 2 samples"), "{stderr}");
}

/// A network of `assets/golden`, and its kernel by complex steps of another program.
#[derive(serde::Deserialize)]
struct GoldenKernel {
    name: String,
    /// `[N, N]` for each parameter.
    traced: BTreeMap<String, Vec<f64>>,
    /// `[N · O, N · O]`, for few rows.
    full: Option<Vec<f64>>,
}

/// Networks beside their kernels.
fn golden_kernels() -> Vec<(NetworkCase, GoldenKernel)> {
    let text = include_str!("../assets/golden/kernel_cases.json");
    let kernels: Vec<GoldenKernel> = serde_json::from_str(text).expect("golden kernels");
    let cases: Vec<_> = golden().into_iter().zip(kernels).collect();
    assert!(cases.len() >= 13 && cases.iter().all(|(case, kernel)| case.name == kernel.name));
    cases
}

impl GoldenKernel {
    /// Runs `fintan ntk` with weights and inputs from a file and compares what it writes, to a share of the largest entry.
    fn check(&self, folder: &Path, case: &NetworkCase, entries: &str, args: &[&str], bound: f64) {
        std::fs::write(folder.join("w.safetensors"), write_safetensors(&case.tensors)).expect("written");
        let given = ["--weights", "w.safetensors", "--inputs", "w.safetensors:x", "--entries", entries];
        let found = kernel(folder, &case.config(), &[&given[..], args].concat());
        let n = found.shape[0];
        let near = |what: &str, found: &[f64], wanted: &[f64], largest: f64| {
            assert_eq!(found.len(), wanted.len(), "{}, {what}", self.name);
            let off = found.iter().zip(wanted).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs())) / largest;
            assert!(off < bound, "{}, {what}, {args:?}: {off:e}", self.name);
        };
        if entries == "full" {
            let o = found.shape[2];
            let values = found.to_f64();
            let at = |r: usize, s: usize| ((r / o * n + s / o) * o + r % o) * o + s % o;
            let rows: Vec<f64> =
                (0..n * o).flat_map(|r| (0..n * o).map(move |s| at(r, s))).map(|i| values[i]).collect();
            let wanted = self.full.as_ref().expect("few rows");
            near("full", &rows, wanted, wanted.iter().fold(0.0, |m, v| m.max(v.abs())));
            return;
        }
        let total = (0..n * n).map(|i| self.traced.values().map(|part| part[i]).sum()).collect::<Vec<f64>>();
        let largest = total.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
        near("traced", &found.to_f64(), &total, largest);
        let parts = arrays(&folder.join("k.npz"));
        for (name, wanted) in &self.traced {
            let (_, part) = parts.iter().find(|(found, _)| *found == format!("parts/{name}")).expect("every parameter");
            near(name, &part.to_f64(), wanted, largest);
        }
    }
}

/// The library is compared with them too; here weights and inputs pass through files and the command line.
#[test]
fn golden_kernels_from_files_by_every_method() {
    let folder = folder();
    let ways: [(&[&str], f64); 4] = [
        (&["--device", "flex", "--method", "structured", "--f64"], 1e-9),
        (&["--device", "ndarray", "--method", "ntk_vector_products", "--f64"], 1e-9),
        (&["--device", "flex", "--method", "jacobian_contraction"], 1e-5),
        (&["--device", "ndarray", "--method", "structured"], 1e-5),
    ];
    let mut full = 0;
    for (case, kernel) in golden_kernels() {
        for (args, bound) in ways {
            kernel.check(folder.path(), &case, "traced", args, bound);
            if kernel.full.is_some() {
                kernel.check(folder.path(), &case, "full", args, bound);
                full += 1;
            }
        }
    }
    assert!(full >= 16, "only {full} full kernels");
}

/// A few of them on a GPU, real or software.
#[test]
fn golden_kernels_from_files_on_wgpu() {
    if !wgpu_at_hand("golden_kernels_from_files_on_wgpu") {
        return;
    }
    let folder = folder();
    let names = ["scalings", "norms", "conv_rectangular", "generator_graph"];
    let mut cases = golden_kernels();
    cases.retain(|(case, _)| names.contains(&case.name.as_str()));
    assert_eq!(cases.len(), names.len());
    for (case, kernel) in cases {
        kernel.check(folder.path(), &case, "traced", &["--device", "wgpu"], 1e-5);
    }
}

#[test]
fn tiles_are_resumed_shared_and_merged_to_the_same_bytes() {
    let folder = folder();
    let at = folder.path();
    let path = config(at, IMAGES);
    let path = path.to_str().expect("UTF-8");
    for (entries, size, count) in [
        ("full", ["--tile-outputs", "50"], 6),
        ("traced", ["--tile-outputs", "50"], 3),
        ("full", ["--tile-samples", "2"], 3),
        ("traced", ["--tile-samples", "1"], 6),
    ] {
        let plain = ["ntk", path, "-n", "3", "--entries", entries, "--device", "flex", "--quiet"];
        let with = |args: &[&str]| run(at, &[&plain[..], &size, args].concat());
        let bytes = |name: &str| std::fs::read(at.join(name)).expect("a kernel");
        assert_eq!(with(&["--out", "whole.npz"]).0, 0);
        assert!(!at.join("whole.npz.tiles").exists(), "tiles are gone once the kernel is there");
        let plan: Value = serde_json::from_str(&with(&["--plan", "--json"]).1).expect("JSON");
        assert_eq!(plan["tiles"], count);
        let end = count.to_string();

        // A run that was stopped after two tiles goes on.
        assert_eq!(with(&["--tiles", "0..2", "--out", "stopped.npz"]).0, 0);
        assert!(at.join("stopped.npz.tiles").is_dir() && !at.join("stopped.npz").exists());
        // In the tiles it began with, whatever memory is free now.
        let (code, _, stderr) = run(at, &[&plain[..], &["--out", "stopped.npz"]].concat());
        assert!(code == 0 && !at.join("stopped.npz.tiles").exists(), "{stderr}");
        assert_eq!(bytes("stopped.npz"), bytes("whole.npz"));

        // Two processes share the tiles.
        assert_eq!(with(&["--tiles", "0..1", "--out", "a.npz"]).0, 0);
        assert_eq!(with(&["--tiles", &format!("2..{end}"), "--out", "b.npz"]).0, 0);
        let merge = ["ntk", "merge", "a.npz.tiles", "b.npz.tiles", "--out", "merged.npz"];
        let (code, _, stderr) = run(at, &merge);
        assert!(code == 2 && said(&stderr, "1 of") && said(&stderr, "with --tiles 1..2"), "{stderr}");
        assert_eq!(with(&["--tiles", "1..2", "--out", "a.npz"]).0, 0);
        succeed(at, &merge);
        assert_eq!(bytes("merged.npz"), bytes("whole.npz"));
        let (code, _, stderr) = run(at, &merge);
        assert!(code == 2 && said(&stderr, "exists already"), "{stderr}");

        // Tiles of another kernel are refused.
        assert_eq!(with(&["--seed", "9", "--tiles", "0..1", "--out", "c.npz"]).0, 0);
        let (code, _, stderr) = run(at, &["ntk", "merge", "a.npz.tiles", "c.npz.tiles", "--out", "d.npz"]);
        assert!(code == 2 && said(&stderr, "tiles of another kernel"), "{stderr}");
        let (code, _, stderr) = with(&["--seed", "8", "--out", "c.npz"]);
        assert!(code == 2 && said(&stderr, "tiles of another kernel"), "{stderr}");
        let (code, _, stderr) = with(&["--tiles", "2..99"]);
        assert!(code == 2 && said(&stderr, "the tiles of this plan"), "{stderr}");
        for name in ["whole.npz", "stopped.npz", "merged.npz"] {
            std::fs::remove_file(at.join(name)).expect("removed");
        }
        for name in ["a.npz.tiles", "b.npz.tiles", "c.npz.tiles"] {
            std::fs::remove_dir_all(at.join(name)).expect("removed");
        }
    }
}

/// Tiles fit the disk, the kernel does not: its tiles stay for the next run, which computes none of them again.
#[cfg(target_os = "linux")]
#[test]
fn a_kernel_that_cannot_be_written_loses_no_tile() {
    let folder = folder();
    let at = folder.path();
    let path = config(at, IMAGES);
    let path = path.to_str().expect("UTF-8");
    let args = ["ntk", path, "-n", "3", "--entries", "full", "--device", "flex", "--quiet", "--tile-outputs", "50"];
    succeed(at, &[&args[..], &["--out", "whole.npz"]].concat());
    let program = env!("CARGO_BIN_EXE_fintan");
    // A tile has at most 0.6 MB, the kernel 4 MB. The signal is ignored, so that writes fail as on a full disk.
    let script = format!("trap '' XFSZ; ulimit -f 1024; exec {program} {} --out k.npz", args.join(" "));
    let output = std::process::Command::new("bash").args(["-c", &script]).current_dir(at).output();
    let (code, _, stderr) = answer(output.expect("bash starts"));
    assert!(code == 1 && stderr.contains("too large"), "{stderr}");
    let tiles = at.join("k.npz.tiles");
    let kept = files(&tiles);
    assert!(!at.join("k.npz").exists() && kept.len() == 6 + 2, "six tiles, their plan and inputs");
    let written = || (0..6).map(|i| tiles.join(format!("{i:06}.npz")).metadata().and_then(|m| m.modified()).ok());
    let before: Vec<_> = written().collect();
    // `--tiles` leaves what is there alone.
    succeed(at, &[&args[..], &["--tiles", "0..6", "--out", "k.npz"]].concat());
    assert!(before.iter().all(Option::is_some) && before == written().collect::<Vec<_>>());
    assert_eq!(files(&tiles), kept);
    succeed(at, &[&args[..], &["--out", "k.npz"]].concat());
    let bytes = |name: &str| std::fs::read(at.join(name)).expect("a kernel");
    assert_eq!(bytes("k.npz"), bytes("whole.npz"));
    assert!(!tiles.exists());
}

#[test]
fn the_largest_eigenpairs_need_no_kernel() {
    let folder = folder();
    let formed = kernel(folder.path(), IMAGES, &["-n", "2", "--entries", "full", "--f64", "--device", "flex"]);
    assert_eq!(formed.shape, [2, 2, 128, 128]);
    let eigenvalues = array(&folder.path().join("k.npz"), "eigenvalues").to_f64();
    let path = config(folder.path(), IMAGES);
    let path = path.to_str().expect("UTF-8");
    let args = ["ntk", path, "-n", "2", "--top", "5", "--device", "flex", "--out", "top.npz", "--json"];
    let summary: Value = serde_json::from_str(&succeed(folder.path(), &args)).expect("JSON");
    assert!(summary["largest_residual"].as_f64().expect("a number") < 1e-4);
    let found = array(&folder.path().join("top.npz"), "eigenvalues").to_f64();
    for (a, b) in found.iter().zip(&eigenvalues) {
        assert!((a - b).abs() < 1e-4 * eigenvalues[0], "{a} and {b}");
    }
    assert_eq!(array(&folder.path().join("top.npz"), "eigenvectors").shape, [5, 2, 128]);
}
