//! Layer-dependent learning rates: how fast a deconvolutional generator learns fixed images from fixed latents.
//!
//! ```text
//! cargo bench --bench layer_rates [-- STEPS]
//! ```
//!
//! Squared loss `1/(2N) Σ |f(z_i) - x_i|²`, whole batch, 16x16 drawings, graph-based parametrization. For each nonlinearity,
//! optimiser and preset of rates, the base rate is the best of a grid of factors of two (what a user would find by trying); the
//! tables give the loss over the loss of the mean image, and the share of what is left at each frequency: `low` (constant),
//! `nyquist` (period 2, the checkerboards).

#[path = "../crates/cli/memory.rs"]
mod memory;

use burn::tensor::{DType, Device, Tensor};
use fintan_config::{
    Activation, Adam, Architecture, Beta, DataSource, DcganGenerator, Fit, Function, Image, LayerRates, Norm,
    OptimizerSettings, Parametrization, Scaling, Sgd, Shape, Shapes, Upsampling,
};
use fintan_data::Images;
use fintan_net::{Lowering, Mode, PlacedNetwork, Placement};
use fintan_train::{Optimizer, Purpose, latents, rates, stream};

const IMAGES: usize = 16;
const SIZE: usize = 16;

fn main() {
    memory::keep();
    let steps = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(300);
    let placement = Placement { device: Device::flex(), dtype: DType::F32, lowering: Lowering::Host };
    let shapes = DataSource::Shapes(Shapes { count: IMAGES, seed: 0 });
    let image = Image { size: SIZE, channels: 1, fit: Fit::Resize, background: 0, flip: false };
    let images = Images::load(&shapes, &image, None).expect("drawn");
    let all: Vec<usize> = (0..IMAGES).collect();
    let targets = images.batch(&all, &[false; IMAGES], &placement.device);
    let mean_image = targets.clone().mean_dim(0);
    let spread = 0.5 * scalar((targets.clone() - mean_image).square().sum()) / IMAGES as f64;
    println!("{IMAGES} drawings of {SIZE}x{SIZE}, {steps} steps; loss over that of the mean image ({spread:.2})\n");
    let nonlinearities = [("relu, order", Scaling::Standardized), ("relu normalized, chaos", Scaling::Normalized)];
    for (name, scaling) in nonlinearities {
        let network = generator(scaling);
        for (optimizer, grid) in [("sgd", grid(-14, 6)), ("adam", grid(-12, -1))] {
            println!(
                "| {name}, {optimizer} | best rate | {} | low | nyquist |",
                marks(steps).map(|s| s.to_string()).join(" | ")
            );
            println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
            for preset in [LayerRates::Off, LayerRates::Sqrt, LayerRates::ThreeHalves, LayerRates::Full] {
                let run = |rate: f64| {
                    let settings = match optimizer {
                        "sgd" => OptimizerSettings::Sgd(Sgd { rate, momentum: 0.0 }),
                        _ => OptimizerSettings::Adam(Adam { rate, beta1: 0.9, beta2: 0.999, eps: 1e-8 }),
                    };
                    (rate, train(&network, &settings, preset, &targets, &placement, steps))
                };
                // Down from rates that diverge, until two in a row are worse than the best.
                let (mut best, mut worse): (Option<(f64, Run)>, u32) = (None, 0);
                for &rate in grid.iter().rev() {
                    let (rate, run) = run(rate);
                    let last = run.losses[steps];
                    if best.as_ref().is_none_or(|(_, so_far)| last < so_far.losses[steps]) && last.is_finite() {
                        (best, worse) = (Some((rate, run)), 0);
                    } else if best.is_some() {
                        worse += 1;
                    }
                    if worse == 2 {
                        break;
                    }
                }
                let best = best.expect("a rate that works");
                let (rate, Run { losses, low, nyquist }) = best;
                let at = marks(steps).map(|step| format!("{:.2e}", losses[step] / spread));
                println!("| {} | {rate:.1e} | {} | {low:.2} | {nyquist:.2} |", word(preset), at.join(" | "));
            }
            println!();
        }
    }
}

/// Powers of two.
fn grid(from: i32, to: i32) -> Vec<f64> {
    (from..=to).map(|power| 2.0_f64.powi(power)).collect()
}

/// Steps that are told.
fn marks(steps: usize) -> [usize; 3] {
    [steps / 10, steps / 3, steps]
}

fn word(preset: LayerRates) -> &'static str {
    match preset {
        LayerRates::Off => "off",
        LayerRates::Sqrt => "sqrt",
        LayerRates::ThreeHalves => "three_halves",
        LayerRates::Full => "full",
        LayerRates::Exponents(_) => "own",
    }
}

fn generator(scaling: Scaling) -> Architecture {
    let activation = Activation::raw(Function::Relu).with_scaling(scaling);
    let preset = DcganGenerator {
        channels: 64,
        start: 4,
        kernel: 4,
        stride: 2,
        upsampling: Upsampling::Deconv,
        extra: 1,
        extra_kernel: 3,
        activation,
        norm: Norm::None,
        output: Activation::raw(Function::Identity),
    };
    let layers = preset.layers(Shape::image(1, SIZE, SIZE)).expect("sound");
    Architecture::new(Shape::vector(32), &layers, Parametrization::Graph(Beta { beta: 0.1 })).expect("sound")
}

struct Run {
    /// Before the first step, and behind each.
    losses: Vec<f64>,
    /// Shares of the squared error that is left: its constant, and its period-2 modes.
    low: f64,
    nyquist: f64,
}

fn train(
    architecture: &Architecture,
    settings: &OptimizerSettings,
    preset: LayerRates,
    targets: &Tensor<4>,
    placement: &Placement,
    steps: usize,
) -> Run {
    let mut network = PlacedNetwork::init(architecture, &mut stream(0, Purpose::Generator, 0), placement);
    let z = latents(&mut stream(0, Purpose::Samples, 0), IMAGES, 32, &placement.device);
    let mut optimizer = Optimizer::new(settings, rates(architecture, settings, &preset));
    let mut losses = Vec::with_capacity(steps + 1);
    loop {
        let (y, tape) = network.forward(z.clone(), Mode::Train);
        let rest = y - targets.clone();
        losses.push(0.5 * scalar(rest.clone().square().sum()) / IMAGES as f64);
        let last = losses[losses.len() - 1];
        if losses.len() > steps || !last.is_finite() || last > 1e6 * losses[0] {
            let (low, nyquist) = shares(&rest);
            losses.resize(steps + 1, f64::NAN);
            return Run { losses, low, nyquist };
        }
        let gradients = network.pullback_parameters(&tape, rest.div_scalar(IMAGES as f64));
        network = network.with_parameters(optimizer.step(network.parameters(), gradients, 1.0));
    }
}

/// Of the squared error, the share of each image's constant, and of its modes of period 2 along rows, columns or both.
fn shares(rest: &Tensor<4>) -> (f64, f64) {
    let values: Vec<f64> = rest.to_data().iter::<f64>().collect();
    let (mut all, mut low, mut nyquist) = (0.0, 0.0, 0.0);
    for image in values.chunks_exact(SIZE * SIZE) {
        all += image.iter().map(|v| v * v).sum::<f64>();
        let project = |sign: &dyn Fn(usize, usize) -> f64| {
            let sum: f64 = image.iter().enumerate().map(|(i, v)| sign(i / SIZE, i % SIZE) * v).sum();
            sum * sum / (SIZE * SIZE) as f64
        };
        let odd = |n: usize| if n % 2 == 1 { -1.0 } else { 1.0 };
        low += project(&|_, _| 1.0);
        nyquist += project(&|y, _| odd(y)) + project(&|_, x| odd(x)) + project(&|y, x| odd(y + x));
    }
    (low / all, nyquist / all)
}

fn scalar(x: Tensor<1>) -> f64 {
    x.into_scalar::<f64>()
}
