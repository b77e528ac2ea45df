//! The machine: what it is, how fast it multiplies and copies.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::Command;
use std::thread;
use std::time::Instant;

use burn::tensor::{Device, Tensor, TensorData};
use serde_json::json;

use super::Peers;
use super::process::{measured, own, python};

/// Rows of the square matrices whose product gives the rate of arithmetic.
const PRODUCT: usize = 3072;

/// Rates by number of threads.
pub(crate) struct Machine {
    /// f32 operations a second (a multiply-add is two) of a large square product: the best program's.
    products: BTreeMap<usize, f64>,
    /// Bytes a second, read and written, of a copy that no cache holds.
    copies: BTreeMap<usize, f64>,
}

/// The least that something takes on this machine.
pub(crate) struct Floor {
    /// Milliseconds of wall time.
    pub(crate) ms: f64,
    /// Whether bytes take longer than operations.
    pub(crate) by_bytes: bool,
}

impl Machine {
    /// Measures, and prints what it is.
    pub(crate) fn measure(threads: &[usize], peers: &Peers) -> Self {
        println!("## The machine\n");
        for (name, value) in description() {
            println!("- {name}: {value}");
        }
        println!("- peers: {peers}");
        let cache = last_cache();
        let bytes = copy_bytes(cache);
        println!(
            "- measured: f32 products of {PRODUCT}x{PRODUCT} matrices, the best of 7; copies of {:.1} GB, read and written, the best of 7\n",
            bytes as f64 / 1e9
        );
        if let Some(cache) = cache.filter(|&cache| (bytes as f64) < 2.0 * cache as f64) {
            println!(
                "The copy is not far larger than the last cache ({} MB), so its rate may be too high.\n",
                cache >> 20
            );
        }
        println!("| threads | flex GFLOP/s | PyTorch GFLOP/s | XLA GFLOP/s | copy GB/s |\n|---|---|---|---|---|");
        let (mut products, mut copies) = (BTreeMap::new(), BTreeMap::new());
        let script = super::PEERS;
        for &t in threads {
            let rate = |command: Command, there: bool| -> Option<f64> {
                let result = there.then(|| measured(&command, t, 120))?;
                result.ok()?["per_second"].as_f64()
            };
            let (size, count, of_copy) = (PRODUCT.to_string(), t.to_string(), bytes.to_string());
            let all = [
                rate(own(&["product", &size]), true),
                rate(python(&[script, "product", "torch", &size, &count]), peers.torch.is_ok()),
                rate(python(&[script, "product", "jax", &size, &count]), peers.neural_tangents.is_ok()),
            ];
            let copy = rate(own(&["copy", &of_copy, &count]), true).expect("a copy");
            let shown = |rate: Option<f64>| rate.map_or("-".into(), |rate| format!("{:.0}", rate / 1e9));
            println!("| {t} | {} | {:.1} |", all.map(shown).join(" | "), copy / 1e9);
            products.insert(t, all.into_iter().flatten().fold(0.0, f64::max));
            copies.insert(t, copy);
        }
        println!();
        Self { products, copies }
    }

    /// The least wall time for so many operations and bytes that must be read or written.
    pub(crate) fn floor(&self, threads: usize, operations: f64, bytes: f64) -> Floor {
        let [by_operations, by_bytes] =
            [operations / self.products[&threads], bytes / self.copies[&threads]].map(|seconds| 1e3 * seconds);
        Floor { ms: by_operations.max(by_bytes), by_bytes: by_bytes > by_operations }
    }
}

impl std::fmt::Display for Floor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", super::ms(self.ms), if self.by_bytes { " (bytes)" } else { "" })
    }
}

/// Names and values, in the order in which they are printed.
fn description() -> Vec<(&'static str, String)> {
    let read = |path: &str| fs_err::read_to_string(path).unwrap_or_default();
    let information = read("/proc/cpuinfo");
    let of_processor = |name: &str| {
        let line = information.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    let unknown = || "unknown".to_owned();
    let family = |name: &str, key: &str| of_processor(key).map(|n| format!(", {name} {n}")).unwrap_or_default();
    let processor = of_processor("model name").or_else(|| of_processor("CPU implementer")).unwrap_or_else(unknown)
        + &family("family", "cpu family")
        + &family("model", "model\t");
    let extensions = of_processor("flags").or_else(|| of_processor("Features")).unwrap_or_default();
    let known = [
        "sse4_2",
        "avx",
        "fma",
        "avx2",
        "avx512f",
        "avx512bw",
        "avx512vl",
        "avx512_bf16",
        "avx512_fp16",
        "amx_tile",
        "asimd",
        "sve",
        "sve2",
    ];
    let extensions: Vec<&str> = known.into_iter().filter(|name| extensions.split(' ').any(|e| e == *name)).collect();
    let caches: Vec<String> = caches().iter().map(|(level, bytes)| format!("L{level} {} KB", bytes >> 10)).collect();
    let memory = read("/proc/meminfo");
    let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")).map(kilobytes);
    let said = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output();
        output.ok().filter(|o| o.status.success()).map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
    };
    let changed = said("git", &["status", "--porcelain", "--untracked-files=no"]).is_some_and(|text| !text.is_empty());
    let commit = said("git", &["rev-parse", "--short", "HEAD"]).unwrap_or_else(unknown);
    vec![
        ("processor", processor),
        ("processors", thread::available_parallelism().map_or(1, usize::from).to_string()),
        ("caches of a processor", if caches.is_empty() { unknown() } else { caches.join(", ") }),
        ("vector extensions", if extensions.is_empty() { unknown() } else { extensions.join(" ") }),
        ("memory", total.map_or_else(unknown, |bytes| format!("{:.0} GB", bytes as f64 / 1e9))),
        ("load (1, 5, 15 minutes)", load()),
        ("commit", commit + if changed { ", with changes" } else { "" }),
        ("compiler", said("rustc", &["--version"]).unwrap_or_else(unknown)),
    ]
}

/// Mean numbers of processes that want a processor, in the last 1, 5 and 15 minutes.
pub(crate) fn load() -> String {
    let text = fs_err::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// `"  1024 kB"` in bytes.
fn kilobytes(text: &str) -> u64 {
    text.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
}

/// Level and bytes of the caches for data of the first processor.
fn caches() -> Vec<(u32, u64)> {
    (0..8)
        .filter_map(|i| {
            let read =
                |name: &str| fs_err::read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{i}/{name}")).ok();
            let size = read("size")?;
            let bytes = size.trim().strip_suffix('K')?.parse::<u64>().ok()? * 1024;
            (read("type")?.trim() != "Instruction").then_some((read("level")?.trim().parse().ok()?, bytes))
        })
        .collect()
}

/// Bytes of the last cache, if the system says it.
fn last_cache() -> Option<u64> {
    caches().into_iter().max().map(|(_, bytes)| bytes)
}

/// Four times the last cache and at least 256 MB, but not more than a sixth of the free memory, which holds it twice.
fn copy_bytes(cache: Option<u64>) -> u64 {
    let memory = fs_err::read_to_string("/proc/meminfo").unwrap_or_default();
    let free = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:")).map_or(2 << 30, kilobytes);
    (4 * cache.unwrap_or(128 << 20)).max(256 << 20).min(free / 6)
}

/// The rate of a product of square matrices by the engine of this program.
pub(crate) fn product(rows: usize) {
    let values: Vec<f32> = (0..rows * rows).map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0).collect();
    let a: Tensor<2> = Tensor::from_data(TensorData::new(values, [rows, rows]), &Device::flex());
    let mut best = f64::MAX;
    for _ in 0..7 {
        let start = Instant::now();
        drop(black_box(a.clone().matmul(a.clone()).into_data()));
        best = best.min(start.elapsed().as_secs_f64());
    }
    println!("{}", json!({ "per_second": 2.0 * (rows as f64).powi(3) / best }));
}

/// The rate of a copy, each thread its own part: bytes read and bytes written.
pub(crate) fn copy(bytes: usize, threads: usize) {
    let part = bytes / threads;
    let mut parts: Vec<[Vec<u8>; 2]> = (0..threads).map(|_| [vec![1; part], vec![0; part]]).collect();
    let mut best = f64::MAX;
    for _ in 0..7 {
        let start = Instant::now();
        thread::scope(|scope| {
            for [from, to] in &mut parts {
                scope.spawn(|| black_box(to).copy_from_slice(black_box(from)));
            }
        });
        best = best.min(start.elapsed().as_secs_f64());
    }
    println!("{}", json!({ "per_second": 2.0 * (part * threads) as f64 / best }));
}
