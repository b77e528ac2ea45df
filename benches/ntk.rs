//! The empirical kernel of one case, timed as a peer's benchmark asks: beside other programs, on the same weights and inputs.
//!
//! ```text
//! cargo bench --bench ntk -- --weights CASE.safetensors --case CASE.json [--device flex] [--repeats 7]
//! ```
//!
//! `CASE.json` lists the layers (`net`), `beta` and `kernel` ("traced" or "full"); `CASE.safetensors` holds the parameters
//! in PyTorch's layouts and the inputs `x`. The last line is a JSON object: seconds of the first call and of later calls,
//! wall and CPU of all threads, and a few numbers that identify the kernel. A call is all of it: forward pass, kernel, sum.

#[path = "../crates/cli/memory.rs"]
mod memory;

use std::time::Instant;

use burn::tensor::{DType, Device, Tensor, TensorData};
use fintan_config::{Architecture, Layer, Parametrization, Shape};
use fintan_net::weights::read_safetensors;
use fintan_net::{Lowering, Mode, PlacedNetwork, Placement, channels_last};
use fintan_ntk::{Entries, KernelParts, KernelPlan, KernelRequest, Method};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use serde_json::{Value, json};

fn main() {
    memory::keep();
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let option = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)).map(String::as_str);
    let (Some(weights), Some(case)) = (option("--weights"), option("--case")) else {
        println!("see the top of benches/ntk.rs");
        return;
    };
    let case: Value = serde_json::from_slice(&fs_err::read(case).expect("a case")).expect("JSON");
    let placement = placement(option("--device").unwrap_or("flex"));
    let entries = if case["kernel"] == "full" { Entries::Full } else { Entries::Traced };
    let repeats = option("--repeats").map_or(7, |n| n.parse().expect("a number of repeats"));

    let architecture = architecture(&case);
    let tensors = read_safetensors(&fs_err::read(weights).expect("weights")).expect("safetensors");
    let network = PlacedNetwork::init(&architecture, &mut ChaCha20Rng::seed_from_u64(0), &placement);
    let network = network.load(&tensors).and_then(|loaded| loaded.in_mode(Mode::Train)).expect("weights of this case");
    let Shape { channels, height, width } = architecture.input;
    let data = tensors["x"].clone();
    let n = data.shape()[0];
    let (bytes, _, dtype) = data.into_parts();
    let data = TensorData::from_bytes(bytes, [n, channels, height, width], dtype);
    let x = channels_last(Tensor::from_data(data, (&placement.device, placement.dtype)));

    let run = || {
        let problem =
            KernelRequest::new(network.clone(), x.clone(), None, Mode::Train, entries, Vec::new()).expect("sound");
        // As peers do: the kernel alone, without its parts.
        let problem = problem.without_parts();
        let plan = KernelPlan::new(&problem, Some(Method::Structured), f64::INFINITY).expect("no bound");
        let kernel = KernelParts::compute(&problem, &plan);
        let total = kernel.total().into_owned();
        (kernel, total)
    };
    let start = Instant::now();
    let (kernel, total) = run();
    let first = start.elapsed().as_secs_f64();
    let (mut wall, mut cpu) = (Vec::new(), Vec::new());
    for _ in 0..repeats {
        let (start, before) = (Instant::now(), cpu_seconds());
        drop(run());
        wall.push(start.elapsed().as_secs_f64());
        cpu.push(cpu_seconds() - before);
    }
    let (matrix, [rows, columns]) = kernel.matrix(&total).expect("a matrix");
    let trace: f64 = (0..rows).map(|i| matrix[i * columns + i]).sum();
    let check = json!({
        "shape": kernel.shape(), "sum": matrix.iter().sum::<f64>(), "trace": trace,
        "fro": matrix.iter().map(|v| v * v).sum::<f64>().sqrt(), "first": &matrix[..4],
    });
    println!("{}", json!({ "compile_s": first, "times_s": wall, "cpu_s": cpu, "check": check }));
}

#[expect(deprecated, reason = "ndarray is a named backend of this program; Burn keeps it until 0.23")]
fn placement(device: &str) -> Placement {
    let (device, lowering) = match device {
        "flex" => (Device::flex(), Lowering::Host),
        "ndarray" => (Device::ndarray(), Lowering::Host),
        #[cfg(feature = "wgpu")]
        "wgpu" => (Device::wgpu_options().init().expect("a graphics adapter"), Lowering::Native),
        other => panic!("no device `{other}`"),
    };
    Placement { device, dtype: DType::F32, lowering }
}

fn architecture(case: &Value) -> Architecture {
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

/// CPU time of all threads of this process.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + 1e-9 * time.tv_nsec as f64
}
