//! The empirical kernel of one case, timed as a peer's benchmark asks: beside other programs, on the same weights and inputs.
//!
//! ```text
//! cargo bench --bench ntk -- --case CASE.json [--weights CASE.safetensors] [--device flex] [--dtype f32] [--repeats 7]
//!     [--seconds 20] [--out KERNEL]
//! ```
//!
//! `CASE.json` lists the layers (`net`), the shape of an input, `n`, `beta` and `kernel` ("traced" or "full");
//! `CASE.safetensors` holds the parameters in PyTorch's layouts and the inputs `x`. Without it both are drawn. The last line is a
//! JSON object: seconds of the first call and of later calls (until `--seconds` are over), wall and CPU of all threads, bytes,
//! multiply-adds of the plan, and a few numbers that identify the kernel. A call is all of it: forward pass, kernel, sum.
//! `--out` writes the kernel as a matrix of little-endian f64.

#[path = "all/account.rs"]
mod account;
#[path = "../crates/cli/memory.rs"]
mod memory;

use std::time::Instant;

use self::account::{cpu_seconds, peak_bytes};
use burn::tensor::{DType, Device, Tensor, TensorData};
use fintan_config::{Architecture, Layer, Parametrization, Shape};
use fintan_net::weights::read_safetensors;
use fintan_net::{Lowering, Mode, PlacedNetwork, Placement, channels_last};
use fintan_ntk::{Entries, KernelParts, KernelPlan, KernelRequest, Method};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use rand_distr::{Distribution as _, StandardNormal};
use serde_json::{Value, json};

pub(crate) fn main() {
    memory::keep();
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let option = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)).map(String::as_str);
    let Some(case) = option("--case") else {
        println!("see the top of benches/ntk.rs");
        return;
    };
    let case: Value = serde_json::from_slice(&fs_err::read(case).expect("a case")).expect("JSON");
    let placement = placement(option("--device").unwrap_or("flex"), option("--dtype").unwrap_or("f32"));
    let entries = if case["kernel"] == "full" { Entries::Full } else { Entries::Traced };
    let repeats: usize = option("--repeats").map_or(7, |n| n.parse().expect("a number of repeats"));
    let seconds: f64 = option("--seconds").map_or(f64::INFINITY, |n| n.parse().expect("a number of seconds"));

    let architecture = architecture(&case);
    let (network, x) = if let Some(weights) = option("--weights") {
        let tensors = read_safetensors(&fs_err::read(weights).expect("weights")).expect("safetensors");
        let network = PlacedNetwork::init(&architecture, &mut ChaCha20Rng::seed_from_u64(0), &placement);
        let network = network.load(&tensors).and_then(|loaded| loaded.in_mode(Mode::Train));
        (network.expect("weights of this case"), tensors["x"].clone())
    } else {
        drawn(&case, &placement)
    };
    let Shape { channels, height, width } = architecture.input;
    let n = x.shape()[0];
    let (bytes, _, dtype) = x.into_parts();
    let x = TensorData::from_bytes(bytes, [n, channels, height, width], dtype);
    let x = channels_last(Tensor::from_data(x, (&placement.device, placement.dtype)));

    let request = || {
        let problem =
            KernelRequest::new(network.clone(), x.clone(), None, Mode::Train, entries, Vec::new()).expect("sound");
        // As peers do: the kernel alone, without its parts.
        let problem = problem.without_parts();
        let plan = KernelPlan::new(&problem, Some(Method::Structured), f64::INFINITY).expect("no bound");
        (problem, plan)
    };
    let run = || {
        let (problem, plan) = request();
        let kernel = KernelParts::compute(&problem, &plan);
        drop(kernel.total());
        kernel
    };
    let start = Instant::now();
    let mut last = Some(run());
    let first = start.elapsed().as_secs_f64();
    let (mut wall, mut cpu, warm) = (Vec::new(), Vec::new(), Instant::now());
    while wall.len() < repeats && (wall.is_empty() || warm.elapsed().as_secs_f64() < seconds) {
        drop(last.take());
        let (start, before) = (Instant::now(), cpu_seconds());
        last = Some(run());
        wall.push(start.elapsed().as_secs_f64());
        cpu.push(cpu_seconds() - before);
    }
    let peak = peak_bytes();
    let kernel = last.expect("a call");
    let (matrix, [rows, columns]) = kernel.matrix(&kernel.total()).expect("a matrix");
    let trace: f64 = (0..rows).map(|i| matrix[i * columns + i]).sum();
    let check = json!({
        "shape": kernel.shape(), "sum": matrix.iter().sum::<f64>(), "trace": trace,
        "fro": matrix.iter().map(|v| v * v).sum::<f64>().sqrt(), "first": &matrix[..4],
    });
    if let Some(out) = option("--out") {
        fs_err::write(out, matrix.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>()).expect("written");
    }
    let plan = request().1;
    println!(
        "{}",
        json!({
            "compile_s": first, "times_s": wall, "cpu_s": cpu, "peak_bytes": peak,
            "multiply_adds": plan.operations, "planned_bytes": plan.bytes, "check": check,
        })
    );
}

/// The network of a case with drawn weights, and inputs of mean square 1 (`[n, values]`): all a function of the case.
pub(crate) fn drawn(case: &Value, placement: &Placement) -> (PlacedNetwork, TensorData) {
    let architecture = architecture(case);
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let network = PlacedNetwork::init(&architecture, &mut rng, placement);
    let (n, values) = (case["n"].as_u64().expect("a number of inputs") as usize, architecture.input.len());
    let mut x = Vec::with_capacity(n * values);
    for _ in 0..n {
        let row: Vec<f64> = (0..values).map(|_| StandardNormal.sample(&mut rng)).collect();
        let size = (row.iter().map(|v| v * v).sum::<f64>() / values as f64).sqrt();
        x.extend(row.iter().map(|v| (v / size) as f32));
    }
    (network, TensorData::new(x, [n, values]))
}

/// A device by name, and its precision.
#[expect(deprecated, reason = "ndarray is a named backend of this program; Burn keeps it until 0.23")]
pub(crate) fn placement(device: &str, dtype: &str) -> Placement {
    let (device, lowering) = match device {
        "flex" => (Device::flex(), Lowering::Host),
        "ndarray" => (Device::ndarray(), Lowering::Host),
        #[cfg(feature = "wgpu")]
        "wgpu" => (Device::wgpu_options().init().expect("a graphics adapter"), Lowering::Native),
        other => panic!("no device `{other}`"),
    };
    let dtype = match dtype {
        "f32" => DType::F32,
        "f64" => DType::F64,
        other => panic!("no type `{other}`"),
    };
    Placement { device, dtype, lowering }
}

/// The network of a case.
pub(crate) fn architecture(case: &Value) -> Architecture {
    let layers = case["net"].as_array().expect("layers").iter().map(|l| -> Layer {
        let window = || json!({ "out": l["out"], "kernel": l["k"], "stride": l["s"], "padding": l["p"] });
        let written = match l["t"].as_str().expect("a type") {
            "linear" => json!({ "dense": { "out": l["out"] } }),
            "conv" => json!({ "conv": window() }),
            "conv_transpose" => json!({ "deconv": window() }),
            "reshape" => {
                json!({ "reshape": { "channels": l["shape"][0], "height": l["shape"][1], "width": l["shape"][2] } })
            }
            "flatten" => json!({ "flatten": {} }),
            function => json!({ "activation": { "function": function } }),
        };
        serde_json::from_value(written).expect("a layer")
    });
    let layers: Vec<Layer> = layers.collect();
    let axes: Vec<usize> = serde_json::from_value(case["input"].clone()).expect("an input shape");
    let input = if let [c, h, w] = axes[..] { Shape::image(c, h, w) } else { Shape::vector(axes[0]) };
    let parametrization: Parametrization =
        serde_json::from_value(json!({ "ntk": { "beta": case["beta"] } })).expect("a parametrization");
    Architecture::new(input, &layers, parametrization).expect("a sound network")
}
