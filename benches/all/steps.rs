//! The training step beside PyTorch's.

use fintan_config::{Architecture, Experiment, Parameters};

use super::machine::Machine;
use super::process::{measured, own, python};
use super::{Peers, ms, times, train_step};

/// Prints the table.
pub(crate) fn table(threads: &[usize], machine: &Machine, peers: &Peers) {
    let usual = train_step::experiment("none", train_step::USUAL);
    let work = Work::of_step(&usual);
    println!("## A training step\n");
    println!(
        "`cargo bench --bench all -- steps`: batch 64, 32x32 grey, generator 256-128-64 ({:.2} M parameters), discriminator \
         64-128-256 ({:.2} M), Adam. A step is {:.1} GFLOP: products of whole windows, zeros of the padding included. Floor: those at \
         the measured rate. Medians; each case in a process of its own.\n",
        usual.generator.parameter_count() as f64 / 1e6,
        usual.discriminator.parameter_count() as f64 / 1e6,
        work.operations / 1e9
    );
    println!(
        "| norm | threads | engine | wall ms | CPU ms | wall, to PyTorch's | CPU, to PyTorch's | floor ms | wall, to the floor | peak GB |\n\
         |---|---|---|---|---|---|---|---|---|---|"
    );
    for norm in ["none", "bn"] {
        for &t in threads {
            let floor = machine.floor(t, work.operations, work.bytes);
            let count = t.to_string();
            let torch = python(&[super::TORCH_STEP, norm, &count, "20"]);
            let engines = [
                ("PyTorch", peers.torch.is_ok().then_some(torch)),
                ("flex", Some(own(&["--one", "flex", norm, "20"]))),
                ("ndarray", Some(own(&["--one", "ndarray", norm, "8"]))),
            ];
            let mut reference = None;
            for (engine, command) in engines {
                let Some(command) = command else { continue };
                let result = match measured(&command, t, 180) {
                    Ok(result) => result,
                    Err(why) => {
                        println!("| {norm} | {t} | {engine} | {why} |");
                        continue;
                    }
                };
                let number = |key: &str| result[key].as_f64();
                let [wall, cpu] = ["wall_ms", "cpu_ms"].map(|key| number(key).unwrap_or(f64::NAN));
                if engine == "PyTorch" {
                    reference = Some([wall, cpu]);
                }
                let [wall_ratio, cpu_ratio] =
                    [0, 1].map(|i| reference.map_or("-".into(), |r: [f64; 2]| times([wall, cpu][i] / r[i])));
                let peak = number("peak_bytes").map_or("-".into(), |bytes| format!("{:.2}", bytes / 1e9));
                println!(
                    "| {norm} | {t} | {engine} | {} | {} | {wall_ratio} | {cpu_ratio} | {floor} | {} | {peak} |",
                    ms(wall),
                    ms(cpu),
                    times(wall / floor.ms)
                );
            }
        }
    }
    println!();
}

/// What must be done at least.
pub(crate) struct Work {
    /// Operations of products; a multiply-add is two.
    pub(crate) operations: f64,
    /// Bytes that are read and written, if caches hold everything else.
    pub(crate) bytes: f64,
    /// Bytes that are held at the same time: parameters, gradients and moments, images, maps and their cotangents.
    pub(crate) held: f64,
}

impl Work {
    /// A step of a GAN: images are generated once; the discriminator is passed for real and for generated images, back for its
    /// parameters, forward again for the generator's loss and back to the images; the generator is passed back.
    pub(crate) fn of_step(experiment: &Experiment) -> Self {
        let batch = experiment.settings.train.batch as f64;
        let [g, d] = [&experiment.generator, &experiment.discriminator].map(passed);
        let products = (3.0 * g.all - g.first) + 2.0 * (3.0 * d.all - d.first) + 2.0 * d.all;
        let parameters = (experiment.generator.parameter_count() + experiment.discriminator.parameter_count()) as f64;
        Self {
            operations: 2.0 * batch * products,
            // A parameter and its two moments, in f32.
            bytes: 2.0 * 3.0 * 4.0 * parameters,
            held: 4.0 * (4.0 * parameters + 2.0 * batch * (g.values + 2.0 * d.values)),
        }
    }
}

/// Multiply-adds of a forward pass of a sample, and values of its maps.
struct Passed {
    all: f64,
    /// Of the first layer with weights: nobody needs cotangents of its input.
    first: f64,
    values: f64,
}

fn passed(network: &Architecture) -> Passed {
    let nodes = network.flat();
    let layers: Vec<f64> = nodes
        .iter()
        .filter(|node| matches!(node.parameters, Parameters::Linear { .. }))
        .map(|node| node.weight_count() as f64 * node.weight_sites() as f64)
        .collect();
    let values = nodes.iter().map(|node| node.output.len() as f64).sum();
    Passed { all: layers.iter().sum(), first: layers[0], values }
}
