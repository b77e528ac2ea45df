//! Kernels in as much memory as they are given, and no more.
#![cfg(target_os = "linux")]

use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::kernels::{array, arrays, said};
use crate::support::{answer, config, folder, run};

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

/// How many threads compute: few, and as many as the program takes by itself.
const THREADS: [Option<&str>; 2] = [Some("2"), None];

fn fintan(at: &Path, threads: Option<&str>) -> Command {
    let mut command = crate::support::fintan(at);
    match threads {
        Some(threads) => command.env("RAYON_NUM_THREADS", threads),
        None => command.env_remove("RAYON_NUM_THREADS"),
    };
    command.arg("ntk");
    command
}

/// A number of bytes as the program says it, `123.4 MB`.
fn bytes(text: &str) -> f64 {
    let (number, unit) = text.split_once(' ').expect("a number and its unit");
    let factor = [("kB", 1e3), ("MB", 1e6), ("GB", 1e9)].into_iter().find(|(name, _)| *name == unit).expect("a unit").1;
    number.parse::<f64>().expect("a number") * factor
}

/// The fewest bytes with which there is a plan. Budgets of tests follow from it, since threads and caches of the machine take
/// their share of every budget.
fn least(at: &Path, args: &[&str], threads: Option<&str>) -> f64 {
    let output = fintan(at, threads).args(args).args(["--memory", "1kB", "--device", "flex"]).output();
    let (code, _, stderr) = answer(output.expect("the program starts"));
    let pieces: Vec<&str> = stderr.split_whitespace().filter(|piece| *piece != "│").collect();
    let told = pieces.join(" ");
    let found = ["needs at least ", "need at least "].iter().find_map(|words| told.split_once(words));
    let (number, unit) = found.and_then(|(_, rest)| rest.split_once(' ')).unwrap_or_else(|| panic!("{stderr}"));
    assert_eq!(code, 2, "{stderr}");
    // What is printed is rounded.
    1.002 * bytes(&format!("{number} {}", unit.split(' ').next().expect("a word")))
}

/// What a plan takes that no memory bounds.
fn whole(at: &Path, args: &[&str], threads: Option<&str>) -> f64 {
    let output =
        fintan(at, threads).args(args).args(["--memory", "100TB", "--plan", "--json", "--device", "flex"]).output();
    let (code, stdout, stderr) = answer(output.expect("the program starts"));
    assert_eq!(code, 0, "{stderr}");
    let plan: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(plan["tiles"], 1, "{plan}");
    plan["bytes"].as_f64().expect("bytes")
}

fn between(least: f64, most: f64, share: f64) -> (f64, String) {
    assert!(least < most, "{least} and {most}");
    let budget = least + share * (most - least);
    (budget, format!("{budget:.0}B"))
}

/// The budget of a plan holds in a process whose memory is limited by the system, however large its caches are: products once
/// reserved twice the third-level cache for each thread.
#[test]
fn memory_stays_below_the_budget() {
    let folder = folder();
    let at = folder.path();
    // One tile of this wide network needs 0.8 GB for its cotangents.
    let wide = r"
[network]
input = 16
parametrization.ntk.beta = 0.1
fc = { widths = [2048, 2048] }
outputs = 512
";
    let path = config(at, wide).display().to_string();
    let args = [path.as_str(), "-n", "64"];
    // The allocator keeps 64 MiB ahead for each of so many threads and the first one; of stacks little is touched.
    let (threads, reserved) = (THREADS[0], 3.0 * 71e6 + 16.0 * 2.2e6);
    let (budget, memory) = between(least(at, &args, threads), whole(at, &args, threads), 0.2);
    let limit = (budget + reserved) / 1024.0;
    let limited = |memory: &str| {
        let command = fintan(at, threads);
        let program = command.get_program().to_str().expect("UTF-8").to_owned();
        let script = format!(
            "ulimit -d {limit:.0}; exec {program} ntk {path} -n 64 --device flex --quiet --memory {memory} --out k.npz"
        );
        let mut bash = Command::new("bash");
        bash.args(["-c", &script]).current_dir(at);
        bash.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        bash.output().expect("bash starts")
    };
    let within = limited(&memory);
    assert!(within.status.success(), "{}", String::from_utf8_lossy(&within.stderr));
    let kernel = array(&at.join("k.npz"), "ntk");
    assert_eq!(kernel.shape, [64, 64]);
    // The limit means something: one tile does not fit into it, and that is all that is wrong.
    let beyond = limited("100TB");
    let told = String::from_utf8_lossy(&beyond.stderr).into_owned();
    assert!(beyond.status.signal() == Some(6) && told.contains("memory allocation of"), "{told}");
    // As many threads as there are: what is held stays below the budget, too.
    let (budget, memory) = between(least(at, &args, None), whole(at, &args, None), 0.2);
    let (bounded, tiled) = peak(at, &[&args[..], &["--memory", &memory]].concat(), None, "all.npz", "ntk");
    assert!(bounded <= budget, "{bounded} of {budget}");
    assert_alike(&kernel.to_f64(), &tiled, 1e-5, "wide");
    let (code, _, stderr) = run(at, &["ntk", &path, "--memory", "1MB", "--device", "flex"]);
    assert!(code == 2 && said(&stderr, "needs at least") && said(&stderr, "1.0 MB may be used"), "{stderr}");
}

/// The library that reserves memory by the size of a cache came with faer, and must not come back with an update.
#[test]
fn no_product_library_reserves_by_the_size_of_the_cache() {
    let args = ["tree", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}"];
    let output = Command::new(env!("CARGO")).args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let tree = String::from_utf8(output.expect("cargo starts").stdout).expect("UTF-8");
    assert!(tree.lines().any(|line| line.starts_with("gemm v")), "{tree}");
    assert!(!tree.contains("private-gemm-x86"), "{tree}");
}

/// No measure of speed: the work takes seconds, and a program that hangs must fail this test instead of stopping all tests.
const STUCK: std::time::Duration = std::time::Duration::from_mins(30);

/// Bytes that `fintan ntk` holds at most, and an array of what it writes to `out`.
fn peak(at: &Path, args: &[&str], threads: Option<&str>, out: &str, name: &str) -> (f64, Vec<f64>) {
    // Nothing more can be written into a full pipe, so the program waits where it names its file, after all work.
    let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(&vec![b' '; 1 << 16]).expect("as much as a pipe holds");
    let mut child = fintan(at, threads)
        .args(args)
        .args(["--device", "flex", "--quiet", "--out", out])
        .stdout(writer)
        .spawn()
        .expect("the program starts");
    let picture = at.join(out).with_extension("png");
    let start = std::time::Instant::now();
    while !picture.is_file() {
        assert!(child.try_wait().expect("a child").is_none(), "it waits");
        if start.elapsed() > STUCK {
            child.kill().and_then(|()| child.wait()).expect("a child");
            panic!("no `{}` after {STUCK:?}: the program is stuck", picture.display());
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it waits");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the peak");
    let kilobytes: f64 = line.trim().trim_end_matches("kB").trim().parse().expect("a number");
    reader.read_to_end(&mut Vec::new()).expect("the rest");
    assert!(child.wait().expect("a child").success());
    (1024.0 * kilobytes, array(&at.join(out), name).to_f64())
}

fn assert_alike(kernel: &[f64], other: &[f64], tolerance: f64, what: &str) {
    let largest = kernel.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
    assert_eq!(kernel.len(), other.len(), "{what}");
    for (a, b) in kernel.iter().zip(other) {
        assert!((a - b).abs() < tolerance * largest, "{what}: {a} and {b}");
    }
}

/// So do eigenpairs of a kernel that is never formed, which take its samples in pieces.
#[test]
fn eigenpairs_of_many_samples_peak_below_the_budget() {
    let folder = folder();
    let at = folder.path();
    let path = config(at, GENERATOR).display().to_string();
    let base = [path.as_str(), "-n", "200", "--top", "2"];
    let (held, all) = peak(at, &[&base[..], &["--memory", "100TB"]].concat(), THREADS[0], "whole.npz", "eigenvalues");
    for threads in THREADS {
        let (budget, memory) = between(0.0, least(at, &base, threads), 1.2);
        assert!(threads.is_none() || held > budget, "the bound means nothing if the whole batch fits: {held}");
        let (bounded, some) =
            peak(at, &[&base[..], &["--memory", &memory]].concat(), threads, "some.npz", "eigenvalues");
        assert!(bounded <= budget, "{threads:?}: {bounded} of {budget}");
        assert_alike(&all, &some, 1e-3, "eigenvalues");
        std::fs::remove_file(at.join("some.png")).expect("a picture");
    }
    let (code, _, stderr) = run(at, &[&["ntk"][..], &base, &["--memory", "20MB", "--device", "flex"]].concat());
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
    for (norm, n) in [("layer_norm = {}", "300"), ("batch_norm = {}", "40")] {
        let path = config(at, &network.replace("NORM", norm)).display().to_string();
        let base = [path.as_str(), "-n", n, "--no-parts"];
        let (held, kernel) =
            peak(at, &[&base[..], &["--memory", "100TB"]].concat(), THREADS[0], &format!("w{n}.npz"), "ntk");
        for threads in THREADS {
            let (budget, memory) = between(least(at, &base, threads), whole(at, &base, threads), 0.15);
            assert!(threads.is_none() || held > budget, "{norm}: the bound means nothing if one tile fits: {held}");
            let out = format!("t{n}-{}.npz", threads.unwrap_or("all"));
            let (bounded, tiled) = peak(at, &[&base[..], &["--memory", &memory]].concat(), threads, &out, "ntk");
            assert!(bounded <= budget, "{norm}, {threads:?}: {bounded} of {budget}");
            assert_alike(&kernel, &tiled, 1e-5, norm);
        }
    }
}

/// What a process holds at most stays below the budget, in one tile and in several.
#[test]
fn pixel_kernels_peak_below_the_budget() {
    let folder = folder();
    let at = folder.path();
    let path = config(at, GENERATOR).display().to_string();
    let base = [path.as_str(), "-n", "2", "--entries", "full", "--no-parts"];
    let (held, kernel) = peak(at, &[&base[..], &["--memory", "100TB"]].concat(), THREADS[0], "whole.npz", "ntk");
    assert!(arrays(&at.join("whole.npz")).iter().any(|(name, _)| name == "eigenvalues"));
    for threads in THREADS {
        let (budget, memory) = between(least(at, &base, threads), whole(at, &base, threads), 0.3);
        assert!(threads.is_none() || held > budget, "the bound means nothing if one tile and eigenvalues fit: {held}");
        let out = format!("t-{}.npz", threads.unwrap_or("all"));
        let (bounded, tiled) = peak(at, &[&base[..], &["--memory", &memory]].concat(), threads, &out, "ntk");
        assert!(bounded <= budget, "{threads:?}: {bounded} of {budget}");
        assert!(arrays(&at.join(&out)).iter().all(|(name, _)| name != "eigenvalues"), "there is no room for them");
        assert_alike(&kernel, &tiled, 1e-5, "pixels");
    }
}
