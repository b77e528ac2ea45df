//! A GPU: correctness beside the CPU in f64, rates of the device, training steps and kernels, beside PyTorch and JAX.
//!
//! ```text
//! just gpu-bench                                   on a hardware GPU: at most eight minutes; needs the feature `gpu`
//! cargo bench --bench gpu -- --small               toy sizes, on any adapter, to see that everything runs
//! cargo bench --bench gpu -- --small --device flex the same without a GPU
//! ```
//!
//! Flags: `--device NAME` (default wgpu), `--out FILE` (default `target/gpu-bench.md`), `--python PROGRAM` (default python3; PyTorch
//! and JAX are timed if it imports them), `--peers cuda|cpu`, `--minutes N` (default 8). Each part that would start after
//! this time is left out, and the table says so. The program ends with exit code 1 if a number differs from the CPU's.
//!
//! Percentages are of the product rate that is measured first: multiply-adds counted from shapes, over the time.

#[path = "../crates/cli/memory.rs"]
mod memory;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use burn::tensor::{DType, Tensor, TensorData};
use fintan::Device;
use fintan_config::{Architecture, DataSource, Experiment, Layer, Parametrization, Shape, Shapes};
use fintan_data::Images;
use fintan_net::{Lowering, Mode, PlacedNetwork, Placement};
use fintan_ntk::{Entries, KernelParts, KernelPlan, KernelRequest};
use fintan_train::Gan;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use serde_json::{Value, json};

/// Largest relative difference between a kernel in f32 and one in f64, of the largest entry.
const KERNELS: f64 = 1e-4;

/// Largest relative difference between losses of two devices.
const LOSSES: f64 = 1e-3;

fn main() -> ExitCode {
    memory::keep();
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let option = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)).map(String::as_str);
    let name = option("--device").unwrap_or("wgpu");
    if let Some(steps) = option("--counted") {
        return counted(name, steps);
    }
    let minutes: f64 = option("--minutes").map_or(8.0, |n| n.parse().expect("a number of minutes"));
    let device = match Device::by_name(name) {
        Ok(device) => device,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let mut bench = Bench {
        small: args.iter().any(|a| a == "--small"),
        until: Instant::now() + Duration::from_secs_f64(60.0 * minutes),
        report: String::new(),
        product: 0.0,
        wrong: 0,
        peers: Vec::new(),
        device,
    };
    bench.head();
    bench.correctness();
    bench.rates();
    let peers = option("--peers").unwrap_or("cuda");
    bench.ask_peers(option("--python").unwrap_or("python3"), peers);
    bench.steps();
    bench.launches(name);
    bench.kernels();
    let out = option("--out").map_or_else(|| PathBuf::from("target/gpu-bench.md"), PathBuf::from);
    fs_err::write(&out, &bench.report).expect("the table is written");
    println!("written to {}", out.display());
    if bench.wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Bench {
    small: bool,
    until: Instant,
    report: String,
    /// Multiply-adds a second of the measured product.
    product: f64,
    /// Number of results that differ from the CPU's.
    wrong: usize,
    /// Lines of the other programs.
    peers: Vec<Value>,
    device: Device,
}

impl Bench {
    fn line(&mut self, text: &str) {
        println!("{text}");
        let _ = writeln!(self.report, "{text}");
    }

    fn is_late(&self) -> bool {
        Instant::now() >= self.until
    }

    /// `large` for a GPU, `small` to try the program.
    fn size(&self, large: usize, small: usize) -> usize {
        if self.small { small } else { large }
    }

    fn placement(&self, lowering: Lowering) -> Placement {
        Placement { lowering, ..self.device.placement.clone() }
    }

    /// The methods for convolutions that the device has.
    fn lowerings(&self) -> Vec<Lowering> {
        if self.device.is_gpu() { vec![Lowering::Native, Lowering::Views] } else { vec![Lowering::Host] }
    }

    fn head(&mut self) {
        let limits = self.device.limits;
        let gigabytes = |bytes: Option<f64>| bytes.map_or("unknown".into(), |bytes| format!("{:.2} GB", bytes / 1e9));
        let build = if cfg!(feature = "gpu") { "feature gpu" } else { "without the feature gpu" };
        let (tensor, memory) = (gigabytes(limits.largest_tensor), gigabytes(limits.memory));
        self.line(&format!("Device: {}, {build}. Largest tensor {tensor}, memory {memory}.", self.device.name));
        if self.small {
            self.line("\nToy sizes (`--small`): these times say nothing about a GPU.");
        }
    }

    // Correctness -----------------------------------------------------------------------------------------------------

    fn correctness(&mut self) {
        self.line(
            "\n### Beside the CPU in f64\n\n| case | method | largest difference | bound |\n| --- | --- | --- | --- |",
        );
        let cases = [
            ("FC 3x64, full", fc(64), 8, Entries::Full),
            ("generator 16x16, traced", generator(16, 1, 8), 3, Entries::Traced),
            ("generator 16x16, diagonal", generator(16, 1, 8), 2, Entries::Diagonal),
            ("discriminator 16x16, full", discriminator(16, 1, 8), 4, Entries::Full),
        ];
        let cpu = Placement { dtype: DType::F64, ..Device::cpu().placement };
        for (name, network, n, entries) in cases {
            let exact = values(&kernel(&network, n, entries, &cpu, Device::cpu().limits));
            let scale = exact.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
            for lowering in self.lowerings() {
                let found = values(&kernel(&network, n, entries, &self.placement(lowering), self.device.limits));
                let differences = found.iter().zip(&exact).map(|(found, exact)| (found - exact).abs() / scale);
                self.judge(name, &format!("{lowering:?}"), differences.fold(0.0, f64::max), KERNELS);
            }
        }
        let experiment = experiment(16, 8, 16);
        let cpu = losses(&experiment, 3, &Device::cpu().placement);
        for lowering in self.lowerings() {
            let found = losses(&experiment, 3, &self.placement(lowering));
            let off = found.iter().zip(&cpu).map(|(found, cpu)| (found - cpu).abs() / cpu.abs()).fold(0.0, f64::max);
            self.judge("losses of 3 steps", &format!("{lowering:?}"), off, LOSSES);
        }
    }

    fn judge(&mut self, case: &str, method: &str, off: f64, bound: f64) {
        // A difference that is not a number is wrong too.
        let is_right = off <= bound;
        self.wrong += usize::from(!is_right);
        self.line(&format!(
            "| {case} | {method} | {off:.1e} | {bound:.0e}{} |",
            if is_right { "" } else { " **wrong**" }
        ));
    }

    // Rates -----------------------------------------------------------------------------------------------------------

    fn rates(&mut self) {
        let n = self.size(4096, 256);
        let options = (&self.device.placement.device.clone(), DType::F32);
        let host: Vec<f64> = (0..n * n).map(|i| (i as f64 * 0.61).sin()).collect();
        let a: Tensor<2> = Tensor::from_data(TensorData::new(host.clone(), [n, n]).convert_dtype(DType::F32), options);
        let product = best(7, || _ = last(a.clone().matmul(a.clone())));
        // The last entry: a product that was not computed would be fast.
        let exact: f64 = (0..n).map(|k| host[(n - 1) * n + k] * host[k * n + n - 1]).sum();
        let off = (last(a.clone().matmul(a)) - exact).abs() / (n as f64).sqrt();
        self.judge("last entry of the timed product", "-", off, KERNELS);
        self.product = (n as f64).powi(3) / product;
        let values = self.size(1 << 27, 1 << 18);
        let x: Tensor<1> = Tensor::ones([values], options);
        let copy = best(7, || _ = last(x.clone().add_scalar(1.0)));
        self.line(&format!(
            "\n### Rates\n\nProduct {n}^3 in f32: {:.2} TFLOP/s ({:.2} ms). Copy of {} MB: {:.0} GB/s, read and written ({:.2} ms).",
            2e-12 * self.product,
            1e3 * product,
            4 * values / 1_000_000,
            8e-9 * values as f64 / copy,
            1e3 * copy
        ));
    }

    /// Percent of the measured rate of products.
    fn share(&self, operations: f64, seconds: f64) -> f64 {
        100.0 * operations / seconds / self.product
    }

    // Other programs ----------------------------------------------------------------------------------------------------

    fn ask_peers(&mut self, python: &str, device: &str) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/gpu_peers.py");
        for library in ["torch", "jax"] {
            let left = self.until.saturating_duration_since(Instant::now()) / 3;
            let mut command = Command::new(python);
            command.args([script, library, device]).args(self.small.then_some("--small")).stdout(Stdio::piped());
            command.args(["--seconds", &format!("{:.0}", left.as_secs_f64())]);
            let output = command.stderr(Stdio::piped()).output();
            let said = output.map(|output| (output.status.success(), output.stdout, output.stderr));
            match said {
                Ok((true, text, _)) => {
                    let lines = String::from_utf8_lossy(&text).into_owned();
                    self.peers.extend(lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()));
                }
                Ok((false, _, error)) => {
                    let error = String::from_utf8_lossy(&error).into_owned();
                    let last = error.lines().last().unwrap_or("no message").to_owned();
                    self.line(&format!("\n{library} was not timed: {last}."));
                }
                Err(error) => self.line(&format!("\n{library} was not timed: {python}: {error}.")),
            }
        }
        let rates: Vec<String> = self
            .peers
            .iter()
            .filter(|line| line["case"] == "product")
            .map(|line| {
                format!(
                    "{} {:.2} TFLOP/s",
                    line["library"].as_str().unwrap_or("?"),
                    line["rate"].as_f64().unwrap_or(0.0)
                )
            })
            .collect();
        if !rates.is_empty() {
            self.line(&format!("\nThe same product by others: {}.", rates.join(", ")));
        }
    }

    /// Milliseconds of another program, or `-`.
    fn peer(&self, library: &str, case: &str) -> String {
        let found = self.peers.iter().find(|line| line["library"] == library && line["case"] == case);
        found.and_then(|line| line["ms"].as_f64()).map_or("-".into(), |ms| format!("{ms:.2}"))
    }

    fn row(&mut self, case: &str, method: &str, seconds: f64, operations: f64) {
        let (torch, jax) = (self.peer("torch", case), self.peer("jax", case));
        self.line(&format!(
            "| {case} | {method} | {:.2} | {:.1} | {torch} | {jax} |",
            1e3 * seconds,
            self.share(operations, seconds)
        ));
    }

    fn table(&mut self, title: &str) {
        self.line(&format!(
            "\n### {title}\n\n| case | convolutions | ms | % of product rate | PyTorch ms | JAX ms |\n| --- | --- | --- | --- | --- | --- |"
        ));
    }

    // Training and kernels -------------------------------------------------------------------------------------------------

    fn steps(&mut self) {
        self.table("Training steps of a DCGAN without norms");
        let cases = [(32, 256, 64), (32, 256, 1024), (64, 512, 64)];
        let cases = if self.small { vec![(16, 8, 4)] } else { cases.to_vec() };
        for (size, channels, batch) in cases {
            let case = format!("step {size}x{size}, batch {batch}");
            let experiment = experiment(size, channels, batch);
            // Of the generator one pass and two back; of the discriminator three passes, three pullbacks, two sums for weights.
            let each = 3.0 * forward(&experiment.generator) + 8.0 * forward(&experiment.discriminator);
            for lowering in self.lowerings() {
                if self.is_late() {
                    self.line(&format!("| {case} | {lowering:?} | left out: no time | | | |"));
                    continue;
                }
                let seconds = step(&experiment, self.size(20, 2), &self.placement(lowering), self.until);
                self.row(&case, &format!("{lowering:?}"), seconds, each * batch as f64);
            }
        }
    }

    /// Counts the kernels that a training step launches. CubeCL writes a line for each launch if a file in the working directory
    /// asks for it, so the steps run in a process of their own.
    fn launches(&mut self, device: &str) {
        if !self.device.is_gpu() {
            return;
        }
        let count = |steps: &str| -> Option<usize> {
            let folder = tempfile::tempdir().ok()?;
            let settings = "[profiling.logger]\nlevel = \"minimal\"\nfile = \"launches.log\"\n";
            fs_err::write(folder.path().join("cubecl.toml"), settings).ok()?;
            let mut command = Command::new(std::env::current_exe().ok()?);
            let done =
                command.args(["--device", device, "--counted", steps]).current_dir(folder.path()).status().ok()?;
            let log = fs_err::read_to_string(folder.path().join("launches.log")).ok()?;
            done.success().then(|| log.lines().filter(|line| line.contains("Executing")).count())
        };
        let text = match (count("2"), count("4")) {
            (Some(two), Some(four)) if four > two => format!("{} kernels", (four - two) / 2),
            _ => "not counted".into(),
        };
        self.line(&format!("\nLaunches of a step (32x32, without norms, Burn's convolutions): {text}."));
    }

    fn kernels(&mut self) {
        self.table("Kernels");
        let cases = if self.small {
            vec![
                ("FC 3x32 traced", fc(32), 8, Entries::Traced),
                ("generator 16x16 full", generator(16, 1, 4), 1, Entries::Full),
                ("generator 16x16 traced", generator(16, 1, 4), 2, Entries::Traced),
                ("discriminator 16x16", discriminator(16, 1, 4), 4, Entries::Full),
            ]
        } else {
            vec![
                ("FC 3x512 traced", fc(512), 1024, Entries::Traced),
                ("generator 64x64 full", generator(64, 1, 256), 1, Entries::Full),
                ("generator 64x64 traced", generator(64, 3, 512), 8, Entries::Traced),
                ("discriminator 64x64", discriminator(64, 3, 512), 64, Entries::Full),
            ]
        };
        for (case, network, n, entries) in cases {
            let case = format!("{case}, N = {n}");
            let has_convolutions = network.flat().iter().any(|node| ["conv", "deconv"].contains(&node.layer.name()));
            let count = if has_convolutions { usize::MAX } else { 1 };
            for lowering in self.lowerings().into_iter().take(count) {
                if self.is_late() {
                    self.line(&format!("| {case} | {lowering:?} | left out: no time | | | |"));
                    continue;
                }
                let placement = self.placement(lowering);
                let (problem, plan) = match planned(&network, n, entries, &placement, self.device.limits) {
                    Ok(planned) => planned,
                    Err(error) => {
                        self.line(&format!("| {case} | {lowering:?} | {error} | | | |"));
                        continue;
                    }
                };
                let compute = || drop(KernelParts::compute(&problem, &plan));
                let seconds = repeated(self.size(5, 1), self.until, compute);
                let tiles = if plan.tiles.len() == 1 { String::new() } else { format!(", {} tiles", plan.tiles.len()) };
                self.row(&case, &format!("{lowering:?}{tiles}"), seconds, plan.operations);
            }
        }
    }
}

// Networks --------------------------------------------------------------------------------------------------------------------

fn network(input: Shape, layers: &[Value]) -> Architecture {
    let layers: Vec<Layer> = layers.iter().map(|l| serde_json::from_value(l.clone()).expect("a layer")).collect();
    let ntk: Parametrization = serde_json::from_value(json!({ "ntk": { "beta": 0.1 } })).expect("a parametrization");
    Architecture::new(input, &layers, ntk).expect("a sound network")
}

fn relu() -> Value {
    json!({ "activation": { "function": "relu" } })
}

/// Three hidden layers of this width, on 784 inputs, with 10 outputs.
fn fc(width: usize) -> Architecture {
    let dense = |out: usize| json!({ "dense": { "out": out } });
    let layers = [dense(width), relu(), dense(width), relu(), dense(width), relu(), dense(10)];
    network(Shape::vector(784), &layers)
}

/// A DCGAN generator of `size` x `size`, from 4x4 maps with `channels` channels, halved at each doubling of the size.
fn generator(size: usize, colours: usize, channels: usize) -> Architecture {
    let up = |out: usize, stride: usize, padding: usize| json!({ "deconv": { "out": out, "kernel": 4, "stride": stride, "padding": padding } });
    let mut layers = vec![up(channels, 1, 0), relu()];
    let (mut at, mut out) = (4, channels);
    while 2 * at < size {
        (at, out) = (2 * at, (out / 2).max(1));
        layers.extend([up(out, 2, 1), relu()]);
    }
    layers.push(up(colours, 2, 1));
    network(Shape::vector(64), &layers)
}

/// The mirror image of the generator, with one output.
fn discriminator(size: usize, colours: usize, channels: usize) -> Architecture {
    let down = |out: usize, stride: usize, padding: usize| json!({ "conv": { "out": out, "kernel": 4, "stride": stride, "padding": padding } });
    let steps = (size / 4).ilog2();
    let mut layers = Vec::new();
    for i in 0..steps {
        layers.extend([down((channels >> (steps - 1 - i)).max(1), 2, 1), relu()]);
    }
    layers.push(down(1, 1, 0));
    network(Shape::image(colours, size, size), &layers)
}

/// Multiply-adds of a forward pass of one sample.
fn forward(network: &Architecture) -> f64 {
    let linear = network.flat().into_iter().filter(|node| node.fan_in().is_some());
    linear.map(|node| (node.weight_count() * node.weight_sites()) as f64).sum()
}

fn planned(
    network: &Architecture,
    n: usize,
    entries: Entries,
    placement: &Placement,
    limits: fintan_net::DeviceLimits,
) -> Result<(KernelRequest, KernelPlan), String> {
    let placed = PlacedNetwork::init(network, &mut ChaCha20Rng::seed_from_u64(0), placement);
    let Shape { channels, height, width } = network.input;
    let values: Vec<f64> = (0..n * network.input.len()).map(|i| (i as f64 * 0.37).sin() * 1.4).collect();
    let data = TensorData::new(values, [n, height, width, channels]).convert_dtype(placement.dtype);
    let x = Tensor::<4>::from_data(data, (&placement.device, placement.dtype));
    let problem = KernelRequest::new(placed, x, None, Mode::Train, entries, Vec::new()).map_err(|e| e.to_string())?;
    let problem = problem.without_parts().with_limits(limits);
    let memory = fintan::free_memory().map_or(f64::INFINITY, |free| 0.5 * free);
    let plan = KernelPlan::new(&problem, None, memory).map_err(|e| e.to_string())?;
    Ok((problem, plan))
}

fn kernel(
    network: &Architecture,
    n: usize,
    entries: Entries,
    placement: &Placement,
    limits: fintan_net::DeviceLimits,
) -> KernelParts {
    let (problem, plan) = planned(network, n, entries, placement, limits).expect("a small kernel");
    KernelParts::compute(&problem, &plan)
}

fn values(kernel: &KernelParts) -> Vec<f64> {
    kernel.total().iter().collect()
}

fn experiment(size: usize, channels: usize, batch: usize) -> Experiment {
    let colours = if size == 64 { 3 } else { 1 };
    let text = format!(
        "image = {{ size = {size}, channels = {colours} }}\ndata.shapes.count = {}\ntrain.batch = {batch}\n\
         [generator]\nlatent = 64\nparametrization = {{ standard = {{ init = {{ normal = 0.02 }} }} }}\n\
         optimizer.adam.rate = 2e-4\ndcgan.channels = {channels}\ndcgan.norm = \"none\"\n\
         [discriminator]\noptimizer.adam.rate = 2e-4\ndcgan.channels = {channels}\ndcgan.norm = \"none\"\n",
        2 * batch
    );
    Experiment::parse("bench", &text, &[]).expect("a sound experiment")
}

/// Takes this number of steps, whose launches another process counts.
fn counted(device: &str, steps: &str) -> ExitCode {
    let Ok(device) = Device::by_name(device) else { return ExitCode::FAILURE };
    let found = losses(&experiment(32, 8, 4), steps.parse().expect("a number of steps"), &device.placement);
    if found.iter().all(|loss| loss.is_finite()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn images(experiment: &Experiment) -> Images {
    let shapes = DataSource::Shapes(Shapes { count: 2 * experiment.settings.train.batch, seed: 0 });
    Images::load(&shapes, &experiment.settings.image, None).expect("drawn")
}

fn losses(experiment: &Experiment, steps: usize, placement: &Placement) -> Vec<f64> {
    let images = images(experiment);
    let mut gan = Gan::new(experiment, images.len(), placement);
    let each = (0..steps).flat_map(|_| {
        let outcome = gan.advance(&images);
        [outcome.d_loss, outcome.g_loss].map(|loss| f64::from(loss.into_scalar::<f32>()))
    });
    each.collect()
}

// Time ------------------------------------------------------------------------------------------------------------------------

/// Median seconds of a step: several steps in a row between two readings, since a step does not wait for the device.
fn step(experiment: &Experiment, steps: usize, placement: &Placement, until: Instant) -> f64 {
    let images = images(experiment);
    let mut gan = Gan::new(experiment, images.len(), placement);
    let mut run = |count: usize| {
        let start = Instant::now();
        for _ in 0..count {
            let outcome = gan.advance(&images);
            if count == 1 {
                let _ = outcome.g_loss.into_scalar::<f32>();
            }
        }
        let _ = gan.generator.parameters().pop().map(last);
        start.elapsed().as_secs_f64() / count as f64
    };
    // The first steps compile kernels and choose among them.
    run(1);
    run(1);
    let mut each = vec![run(steps)];
    while each.len() < 3 && Instant::now() < until {
        each.push(run(steps));
    }
    each.sort_by(f64::total_cmp);
    each[each.len() / 2]
}

/// The last value of a tensor, once it has been computed.
fn last<const D: usize>(x: Tensor<D>) -> f64 {
    let len = x.shape().num_elements();
    let flat: Tensor<1> = x.reshape([len]);
    f64::from(flat.narrow(0, len - 1, 1).into_scalar::<f32>())
}

/// Least seconds of several runs after a first one.
fn best(runs: usize, mut run: impl FnMut()) -> f64 {
    run();
    let time = |_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    };
    (0..runs).map(time).fold(f64::INFINITY, f64::min)
}

/// Least seconds of up to so many runs after a first one, within the time that is left.
fn repeated(runs: usize, until: Instant, mut run: impl FnMut()) -> f64 {
    let mut timed = || {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    };
    let first = timed();
    let mut least = f64::INFINITY;
    for _ in 0..runs {
        if least.is_finite() && Instant::now() + Duration::from_secs_f64(first.min(60.0)) > until {
            break;
        }
        least = least.min(timed());
    }
    least
}
