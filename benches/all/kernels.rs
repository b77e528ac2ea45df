//! The empirical kernel beside PyTorch's and neural-tangents'.

use std::path::Path;

use fintan_net::weights::write_safetensors;
use serde_json::{Value, json};

use super::machine::Machine;
use super::process::{measured, median_of, own, python};
use super::{Peers, ms, ntk, times};

/// Warm calls of a measurement, and seconds after which no further one starts.
const CALLS: [&str; 2] = ["9", "20"];

/// Seconds after which a program is stopped.
const LIMIT: u64 = 240;

/// Name and title of each case, and the case as benches/ntk.rs reads it.
fn cases() -> Vec<(&'static str, &'static str, Value)> {
    let case = |net: Vec<Value>, input: Value, kernel: &str, n: usize| json!({ "net": net, "input": input, "kernel": kernel, "n": n, "beta": 0.1 });
    let images = json!([784]);
    let latent = json!([64]);
    vec![
        ("fc512_traced_64", "FC 3x512, traced, N = 64", case(fc(512, 3, 10), images.clone(), "traced", 64)),
        ("fc512_traced_256", "FC 3x512, traced, N = 256", case(fc(512, 3, 10), images.clone(), "traced", 256)),
        ("fc512_full_64", "FC 3x512, full, N = 64, O = 10", case(fc(512, 3, 10), images.clone(), "full", 64)),
        ("fc4096_128", "FC 3x4096, one output, N = 128", case(fc(4096, 3, 1), images.clone(), "traced", 128)),
        ("fc64x128_128", "FC 64x128, one output, N = 128", case(fc(128, 64, 1), images, "traced", 128)),
        ("generator_8", "generator 32x32, traced, N = 8", case(generator(4), latent.clone(), "traced", 8)),
        ("pixels_1", "generator 32x32, full over 1,024 pixels, N = 1", case(generator(4), latent, "full", 1)),
        (
            "discriminator_64",
            "discriminator 32x32, one logit, N = 64",
            case(discriminator(32), json!([1, 32, 32]), "traced", 64),
        ),
    ]
}

/// A fully connected network on vectors of 784, by width, hidden layers and outputs.
pub(crate) fn fc(width: usize, depth: usize, outputs: usize) -> Vec<Value> {
    let mut net = Vec::new();
    for layer in 0..depth {
        let inputs = if layer == 0 { 784 } else { width };
        net.push(json!({ "t": "linear", "in": inputs, "out": width }));
        net.push(json!({ "t": "relu" }));
    }
    net.push(json!({ "t": "linear", "in": width, "out": outputs }));
    net
}

/// A generator 128-64-32 from vectors of 64: three transposed convolutions from a first map of so many rows to eight times as
/// many.
pub(crate) fn generator(first: usize) -> Vec<Value> {
    let up =
        |inputs: usize, out: usize| json!({ "t": "conv_transpose", "in": inputs, "out": out, "k": 4, "s": 2, "p": 1 });
    vec![
        json!({ "t": "linear", "in": 64, "out": 128 * first * first }),
        json!({ "t": "reshape", "shape": [128, first, first] }),
        json!({ "t": "relu" }),
        up(128, 64),
        json!({ "t": "relu" }),
        up(64, 32),
        json!({ "t": "relu" }),
        up(32, 1),
        json!({ "t": "flatten" }),
    ]
}

/// A discriminator 32-64-128 of images of so many rows, a multiple of eight.
pub(crate) fn discriminator(rows: usize) -> Vec<Value> {
    let down = |inputs: usize, out: usize| json!({ "t": "conv", "in": inputs, "out": out, "k": 4, "s": 2, "p": 1 });
    let relu = || json!({ "t": "relu" });
    vec![
        down(1, 32),
        relu(),
        down(32, 64),
        relu(),
        down(64, 128),
        relu(),
        json!({ "t": "flatten" }),
        json!({ "t": "linear", "in": 2 * rows * rows, "out": 1 }),
    ]
}

/// Prints the table.
pub(crate) fn table(threads: &[usize], only: Option<&[&str]>, machine: &Machine, peers: &Peers) {
    println!("## The empirical kernel\n");
    println!(
        "`cargo bench --bench all -- kernels`: f32, equal weights and inputs for all, kernels without their parts, medians of up to \
         {} warm calls; PyTorch: layer by layer with plain products, the cheaper of two orders for each convolution; neural-tangents: \
         structured derivatives, whose first call compiles. Difference: of the largest entry, from this program's kernel in f64. \
         Operations: the multiply-adds of fintan's plan, twice; floor: those at the measured rate, or weights, inputs and kernel at the \
         rate of copies.\n",
        CALLS[0]
    );
    println!(
        "| case | threads | engine | wall ms | CPU ms | first call s | peak GB | difference | GFLOP | floor ms | wall, to the floor |\n\
         |---|---|---|---|---|---|---|---|---|---|---|"
    );
    for (name, title, case) in cases() {
        if only.is_none_or(|only| only.contains(&name)) {
            rows(title, &case, threads, machine, peers);
        }
    }
    println!();
}

/// Prints the rows of a case.
fn rows(title: &str, case: &Value, threads: &[usize], machine: &Machine, peers: &Peers) {
    let folder = tempfile::tempdir().expect("a folder");
    let place = |name: &str| folder.path().join(name).to_str().expect("a path in Unicode").to_owned();
    let [case_file, weights, kernel] = [place("case.json"), place("case.safetensors"), place("kernel")];
    fs_err::write(&case_file, case.to_string()).expect("written");
    let bytes = {
        let (network, x) = ntk::drawn(case, &ntk::placement("flex", "f32"));
        let mut tensors = network.to_tensors();
        tensors.insert("x".into(), x);
        let file = write_safetensors(&tensors);
        fs_err::write(&weights, &file).expect("written");
        file.len() as f64
    };
    let calls = ["--repeats", CALLS[0], "--seconds", CALLS[1], "--out", &kernel];
    let files = ["--case", &case_file, "--weights", &weights];
    let fintan = |more: &[&str]| own(&[&files, &calls[..], more].concat());
    let all = threads.iter().copied().max().unwrap_or(1);
    let once = own(&[&files, &["--dtype", "f64", "--repeats", "1", "--out", &kernel][..]].concat());
    let reference = measured(&once, all, LIMIT).expect("a kernel in f64");
    let operations = 2.0 * reference["multiply_adds"].as_f64().expect("a plan");
    let reference = matrix(Path::new(&kernel));
    for &t in threads {
        let count = t.to_string();
        let peer = |engine: &str| python(&[&[super::PEERS, "kernel", engine, &count], &files[..], &calls].concat());
        let engines = [
            ("PyTorch", peers.torch.is_ok().then(|| peer("torch"))),
            ("neural-tangents", peers.neural_tangents.is_ok().then(|| peer("neural-tangents"))),
            ("fintan", Some(fintan(&[]))),
        ];
        for (engine, command) in engines {
            let Some(command) = command else { continue };
            // What another program wrote is not read twice.
            fs_err::write(&kernel, []).expect("written");
            let result = match measured(&command, t, LIMIT) {
                Ok(result) => result,
                Err(why) => {
                    println!("| {title} | {t} | {engine} | {why} |");
                    continue;
                }
            };
            let [wall, cpu] = ["times_s", "cpu_s"].map(|key| 1e3 * median_of(&result, key));
            let [first, peak] = ["compile_s", "peak_bytes"].map(|key| result[key].as_f64().unwrap_or(f64::NAN));
            let floor = machine.floor(t, operations, bytes + 4.0 * reference.len() as f64);
            println!(
                "| {title} | {t} | {engine} | {} | {} | {first:.2} | {:.2} | {} | {:.2} | {floor} | {} |",
                ms(wall),
                ms(cpu),
                peak / 1e9,
                difference(&matrix(Path::new(&kernel)), &reference),
                operations / 1e9,
                times(wall / floor.ms)
            );
        }
    }
}

/// The numbers of a file of little-endian f64.
fn matrix(path: &Path) -> Vec<f64> {
    let bytes = fs_err::read(path).unwrap_or_default();
    bytes.as_chunks().0.iter().map(|chunk| f64::from_le_bytes(*chunk)).collect()
}

/// The largest difference of entries over the largest entry.
fn difference(found: &[f64], reference: &[f64]) -> String {
    if found.len() != reference.len() {
        return format!("{} entries in place of {}", found.len(), reference.len());
    }
    let largest = |values: &mut dyn Iterator<Item = f64>| values.map(f64::abs).fold(0.0, f64::max);
    let apart = largest(&mut found.iter().zip(reference).map(|(a, b)| a - b));
    format!("{:.0e}", apart / largest(&mut reference.iter().copied()))
}
