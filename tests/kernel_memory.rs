//! Kernels in as much memory as they are given, and no more.
#![cfg(target_os = "linux")]

use std::io::{Read as _, Write as _};
use std::path::Path;

use serde_json::Value;

use crate::kernels::{array, arrays, said};
use crate::support::{config, folder, run, succeed};

/// A generator of 32 x 32 grey images.
const GENERATOR: &str = r#"
[network]
input = 32
parametrization.ntk.beta = 0.1
layers = [
    { dense = { out = 2048 } },
    { reshape = { channels = 128, height = 4, width = 4 } },
    { activation = { function = "relu" } },
    { deconv = { out = 64, kernel = 4, stride = 2, padding = 1 } },
    { activation = { function = "relu" } },
    { deconv = { out = 32, kernel = 4, stride = 2, padding = 1 } },
    { activation = { function = "relu" } },
    { deconv = { out = 1, kernel = 4, stride = 2, padding = 1 } },
]
"#;

/// The budget of a plan holds in a process whose memory is limited by the system.
#[test]
fn memory_stays_below_the_budget() {
    let folder = folder();
    let at = folder.path();
    // One tile of this wide network needs 0.8 GB for its cotangents. The limit leaves 350 MB beside the budget: the
    // program, its threads, and 64 MB that matrix products reserve a thread.
    let wide = r"
[network]
input = 16
parametrization.ntk.beta = 0.1
fc = { widths = [2048, 2048] }
outputs = 512
";
    let path = config(at, wide);
    let program = env!("CARGO_BIN_EXE_fintan");
    let limited = |memory: &str| {
        let script = format!(
            "ulimit -d 600000; exec {program} ntk {} -n 64 --device flex --quiet --memory {memory} --out k-{memory}.npz",
            path.display()
        );
        std::process::Command::new("bash")
            .args(["-c", &script])
            .current_dir(at)
            .env("RAYON_NUM_THREADS", "2")
            .output()
            .expect("bash starts")
    };
    let within = limited("250MB");
    assert!(within.status.success(), "{}", String::from_utf8_lossy(&within.stderr));
    assert_eq!(array(&at.join("k-250MB.npz"), "ntk").shape, [64, 64]);
    assert!(!limited("4GB").status.success(), "the limit means nothing if one tile fits into it");
    let (code, _, stderr) = run(at, &["ntk", path.to_str().expect("UTF-8"), "--memory", "1MB", "--device", "flex"]);
    assert!(code == 2 && said(&stderr, "needs at least") && said(&stderr, "1.0 MB may be used"), "{stderr}");
}

/// Bytes that `fintan ntk` holds at most, and an array of what it writes to `out`.
fn peak(at: &Path, args: &[&str], out: &str, name: &str) -> (f64, Vec<f64>) {
    // Nothing more can be written into a full pipe, so the program waits where it names its file, after all work.
    let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(&vec![b' '; 1 << 16]).expect("as much as a pipe holds");
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_fintan"))
        .arg("ntk")
        .args(args)
        .args(["--device", "flex", "--quiet", "--out", out])
        .current_dir(at)
        .stdout(writer)
        .spawn()
        .expect("the program starts");
    let picture = at.join(out).with_extension("png");
    while !picture.is_file() {
        assert!(child.try_wait().expect("a child").is_none(), "it waits");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it waits");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the peak");
    let kilobytes: f64 = line.trim().trim_end_matches("kB").trim().parse().expect("a number");
    reader.read_to_end(&mut Vec::new()).expect("the rest");
    assert!(child.wait().expect("a child").success());
    (1024.0 * kilobytes, array(&at.join(out), name).to_f64())
}

/// So do eigenpairs of a kernel that is never formed, which take its samples in pieces.
#[test]
fn eigenpairs_of_many_samples_peak_below_the_budget() {
    let folder = folder();
    let at = folder.path();
    let path = config(at, GENERATOR);
    let base = [path.to_str().expect("UTF-8"), "-n", "200", "--top", "2", "--memory"];
    let held = |memory: &str| peak(at, &[&base[..], &[memory]].concat(), &format!("top-{memory}.npz"), "eigenvalues");
    let ((whole, all), (bounded, some)) = (held("4GB"), held("200MB"));
    assert!(whole > 200e6, "the bound means nothing if the whole batch fits into it: {whole}");
    assert!(bounded <= 200e6, "{bounded}");
    for (a, b) in all.iter().zip(&some) {
        assert!((a - b).abs() < 1e-3 * all[0], "{a} and {b}");
    }
    let (code, _, stderr) = run(at, &[&["ntk"][..], &base, &["20MB", "--device", "flex"]].concat());
    assert!(
        code == 2 && said(&stderr, "2 eigenpairs need at least") && said(&stderr, "20.0 MB may be used"),
        "{stderr}"
    );
}

/// Many samples fit little memory: they are cut, and the kernel is the same.
#[test]
fn kernels_of_many_samples_peak_below_the_budget() {
    let folder = folder();
    let at = folder.path();
    let network = r#"
[network]
input = [1, 32, 32]
parametrization.ntk.beta = 0.1
layers = [
    { conv = { out = 16, kernel = 4, stride = 2, padding = 1 } },
    { NORM },
    { activation = { function = "leaky_relu", slope = 0.2 } },
    { conv = { out = 32, kernel = 4, stride = 2, padding = 1 } },
    { activation = { function = "leaky_relu", slope = 0.2 } },
    { flatten = {} },
    { dense = { out = 2 } },
]
"#;
    // A layer norm leaves samples apart; a batch norm does not, and then every row has the whole batch behind it.
    for (norm, n, memory) in [("layer_norm = {}", "300", "130MB"), ("batch_norm = {}", "40", "160MB")] {
        let path = config(at, &network.replace("NORM", norm));
        let base = [path.to_str().expect("UTF-8"), "-n", n, "--no-parts"];
        let (whole, kernel) = peak(at, &[&base[..], &["--memory", "4GB"]].concat(), &format!("w{n}.npz"), "ntk");
        let bound: f64 = memory.trim_end_matches("MB").parse::<f64>().expect("a number") * 1e6;
        assert!(whole > bound, "{norm}: the bound means nothing if one tile fits into it: {whole}");
        let plan = [&["ntk"][..], &base, &["--memory", memory, "--plan", "--json", "--device", "flex"]].concat();
        let plan: Value = serde_json::from_str(&succeed(at, &plan)).expect("JSON");
        assert!(plan["tile_samples"].as_u64() < n.parse().ok(), "{plan}");
        let (bounded, tiled) = peak(at, &[&base[..], &["--memory", memory]].concat(), &format!("t{n}.npz"), "ntk");
        assert!(bounded <= bound, "{norm}: {bounded}");
        let largest = kernel.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
        for (a, b) in kernel.iter().zip(&tiled) {
            assert!((a - b).abs() < 1e-5 * largest, "{norm}: {a} and {b}");
        }
    }
}

/// What a process holds at most stays below the budget, in one tile and in several.
#[test]
fn pixel_kernels_peak_below_the_budget() {
    let folder = folder();
    let at = folder.path();
    let path = config(at, GENERATOR);
    let args = [path.to_str().expect("UTF-8"), "-n", "2", "--entries", "full", "--no-parts", "--memory"];
    let peak = |memory: &str| peak(at, &[&args[..], &[memory]].concat(), &format!("k-{memory}.npz"), "ntk");
    let (whole, kernel) = peak("1GB");
    let (bounded, tiled) = peak("95MB");
    assert!(whole > 95e6, "the bound means nothing if one tile and eigenvalues fit into it: {whole}");
    assert!(bounded <= 95e6, "{bounded}");
    assert!(arrays(&at.join("k-1GB.npz")).iter().any(|(name, _)| name == "eigenvalues"));
    assert!(arrays(&at.join("k-95MB.npz")).iter().all(|(name, _)| name != "eigenvalues"), "there is no room for them");
    let largest = kernel.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
    for (a, b) in kernel.iter().zip(&tiled) {
        assert!((a - b).abs() < 1e-5 * largest, "{a} and {b}");
    }
}
