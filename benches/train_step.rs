//! One DCGAN training step: batch 64, 32x32 grey images, generator 256-128-64, Adam.
//!
//! ```text
//! cargo bench --bench train_step -- --one flex none 20     one case in this process: median wall and CPU ms a step
//! cargo bench --bench train_step -- --one flex none 20 128 256 64 4     batch 128, 256 channels, images of 64, maps from 4
//! cargo bench --bench train_step -- --parts flex           where the time of a step goes
//! ```
//!
//! `cargo bench --bench all` (`just bench`) runs the cases one after the other, each in a process of its own, beside PyTorch.

#[path = "all/account.rs"]
mod account;
#[path = "../crates/cli/memory.rs"]
mod memory;

use std::time::Instant;

use self::account::{cpu_seconds, peak_bytes};
use burn::tensor::{DType, Device, Tensor, TensorData};
use fintan_config::{DataSource, Experiment, Shapes};
use fintan_data::Images;
use fintan_net::{Lowering, Mode, Placement};
use fintan_train::Gan;

/// Batch, channels of the widest map, size of the images and of the smallest map.
pub(crate) const USUAL: [usize; 4] = [64, 256, 32, 4];

pub(crate) fn main() {
    memory::keep();
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let number = |text: &str| text.parse().expect("a number");
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--one", device, norm, steps] => one(device, norm, number(steps), USUAL),
        ["--one", device, norm, steps, batch, channels, size, least] => {
            one(device, norm, number(steps), [batch, channels, size, least].map(number));
        }
        ["--parts", device] => parts(device),
        _ => println!("see the top of benches/train_step.rs"),
    }
}

#[expect(deprecated, reason = "ndarray is a named backend of this program; Burn keeps it until 0.23")]
fn placement(device: &str) -> Placement {
    let (device, lowering) = match device {
        "flex" => (Device::flex(), Lowering::Host),
        "flex-views" => (Device::flex(), Lowering::Views),
        "flex-native" => (Device::flex(), Lowering::Native),
        "ndarray" => (Device::ndarray(), Lowering::Host),
        "ndarray-views" => (Device::ndarray(), Lowering::Views),
        "ndarray-native" => (Device::ndarray(), Lowering::Native),
        #[cfg(feature = "wgpu")]
        "wgpu" => (Device::wgpu_options().init().expect("a graphics adapter"), Lowering::Native),
        other => panic!("no device `{other}`"),
    };
    Placement { device, dtype: DType::F32, lowering }
}

/// A DCGAN by its norm (`none`, `bn`) and sizes, in the order of [`USUAL`].
pub(crate) fn experiment(norm: &str, [batch, channels, size, least]: [usize; 4]) -> Experiment {
    let norm = match norm {
        "none" => "norm = \"none\"",
        "bn" => "norm = { batch = {} }",
        other => panic!("no norm `{other}`"),
    };
    let text = format!(
        "image.size = {size}\ndata.shapes.count = 1024\ntrain.batch = {batch}\n\
         [generator]\nlatent = 64\nparametrization = {{ standard = {{ init = {{ normal = 0.02 }} }} }}\n\
         optimizer.adam.rate = 2e-4\ndcgan.channels = {channels}\ndcgan.start = {least}\ndcgan.{norm}\n\
         [discriminator]\noptimizer.adam.rate = 2e-4\ndcgan.channels = {channels}\ndcgan.end = {least}\ndcgan.{norm}\n"
    );
    Experiment::parse("bench", &text, &[]).expect("a sound experiment")
}

/// A GAN as drawn, and its images.
fn drawn(placement: &Placement, experiment: &Experiment) -> (Images, Gan) {
    let images = Images::load(&DataSource::Shapes(Shapes { count: 1024, seed: 0 }), &experiment.settings.image, None)
        .expect("drawn");
    let gan = Gan::new(experiment, images.len(), placement);
    (images, gan)
}

fn one(device: &str, norm: &str, steps: usize, sizes: [usize; 4]) {
    let (images, mut gan) = drawn(&placement(device), &experiment(norm, sizes));
    let (mut wall, mut cpu) = (Vec::new(), Vec::new());
    for _ in 0..steps {
        let (start, before) = (Instant::now(), cpu_seconds());
        let outcome = gan.advance(&images);
        assert!(outcome.g_loss.into_scalar::<f32>().is_finite());
        wall.push(start.elapsed().as_secs_f64());
        cpu.push(cpu_seconds() - before);
    }
    let first = 1e3 * wall[0];
    let ms = |mut v: Vec<f64>| {
        v.drain(..(v.len() - 1).min(2));
        v.sort_by(f64::total_cmp);
        1e3 * v[v.len() / 2]
    };
    println!(
        "{{\"wall_ms\": {:.2}, \"cpu_ms\": {:.2}, \"first_ms\": {first:.2}, \"peak_bytes\": {}}}",
        ms(wall),
        ms(cpu),
        peak_bytes()
    );
}

/// Times the pieces of a step apart.
fn parts(device: &str) {
    let placement = placement(device);
    let (_, gan) = drawn(&placement, &experiment("none", USUAL));
    let random = |shape: [usize; 4]| -> Tensor<4> {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0).collect();
        Tensor::from_data(TensorData::new(values, shape), &placement.device)
    };
    let time = |name: &str, run: &mut dyn FnMut()| {
        let mut all: Vec<f64> = (0..9)
            .map(|_| {
                let start = Instant::now();
                run();
                start.elapsed().as_secs_f64()
            })
            .collect();
        all.sort_by(f64::total_cmp);
        println!("{name:48} {:8.2} ms", 1e3 * all[all.len() / 2]);
    };
    let flops = |m: usize, k: usize, n: usize| {
        let (a, b) = (random([1, 1, m, k]).reshape([m, k]), random([1, 1, k, n]).reshape([k, n]));
        let mut best = f64::MAX;
        for _ in 0..7 {
            let start = Instant::now();
            let c: Tensor<2> = a.clone().matmul(b.clone());
            let _ = c.into_data();
            best = best.min(start.elapsed().as_secs_f64());
        }
        println!("matmul {m} x {k} x {n}: {:.1} GFLOP/s", 2.0 * (m * k * n) as f64 / best / 1e9);
    };
    flops(1024, 1024, 1024);
    flops(4096, 1024, 128);
    flops(1600, 1024, 512);
    let z = random([64, 1, 1, 64]);
    let x = random([64, 32, 32, 1]);
    let read = |t: Tensor<4>| drop(t.into_data());
    time("generator forward", &mut || read(gan.generator.forward(z.clone(), Mode::Train).0));
    let (y, tape) = gan.generator.forward(z.clone(), Mode::Train);
    time("generator pullback to parameters", &mut || {
        drop(
            gan.generator.pullback_parameters(&tape, y.clone()).into_iter().map(Tensor::into_data).collect::<Vec<_>>(),
        );
    });
    time("discriminator forward", &mut || read(gan.discriminator.forward(x.clone(), Mode::Train).0));
    let (y, tape) = gan.discriminator.forward(x.clone(), Mode::Train);
    time("discriminator pullback to parameters", &mut || {
        drop(
            gan.discriminator
                .pullback_parameters(&tape, y.clone())
                .into_iter()
                .map(Tensor::into_data)
                .collect::<Vec<_>>(),
        );
    });
    time("discriminator pullback to input", &mut || read(gan.discriminator.pullback(&tape, y.clone())));
    let map = || random([64, 16, 16, 64]);
    let held = map();
    time("relu of 64x16x16x64", &mut || read(burn::tensor::activation::relu(held.clone())));
    time("relu's derivative of 64x16x16x64", &mut || read(held.clone().sign().clamp_min(0.0)));
    time("relu' by mask_fill", &mut || {
        let mask = held.clone().lower_equal_elem(0.0);
        read(held.clone().mask_fill(mask, 0.0));
    });
    time("relu' by mask and cast", &mut || read(held.clone().greater_elem(0.0).float()));
    time("relu' by huge factor and clamp", &mut || read(held.clone().mul_scalar(1e38).clamp(0.0, 1.0)));
    time("tanh", &mut || read(held.clone().tanh()));
    time("leaky relu", &mut || read(burn::tensor::activation::leaky_relu(held.clone(), 0.2)));
    time("square, sqrt, div, mul scalar, add", &mut || {
        let a = held.clone().square().sqrt().add_scalar(1.0);
        read(held.clone().mul_scalar(0.9).add(held.clone().div(a)));
    });
    time("transposed view times contiguous 1024x1024", &mut || {
        let a: Tensor<2> = held.clone().reshape([1024, 1024]);
        drop((a.clone().transpose() * a).into_data());
    });
    time("product of 64x16x16x64", &mut || read(held.clone() * held.clone()));
    time("bias added to 64x16x16x64", &mut || read(held.clone() + random([1, 1, 1, 64])));
    time("sum of 64x16x16x64 over all but channels", &mut || {
        let rows: Tensor<2> = held.clone().reshape([64 * 256, 64]);
        drop(rows.sum_dim(0).into_data());
    });
    time("patches k4 s2 of 64x16x16x64 (view, one copy)", &mut || {
        let a: Tensor<5> = held.clone().slice([0..64, 0..16, 0..16, 0..64]).unfold(1, 4, 2);
        let b: Tensor<6> = a.unfold(2, 4, 2);
        let rows: Tensor<2> = b.permute([0, 1, 2, 4, 5, 3]).reshape([64 * 49, 1024]);
        drop(rows.into_data());
    });
    time("frame of zeros round 64x16x16x64", &mut || {
        read(held.clone().pad([(0, 0), (1, 1), (1, 1), (0, 0)], burn::tensor::ops::PadMode::Constant(0.0)));
    });
    time("depth to space 64x9x9x(2x2x64)", &mut || {
        let x = random([64, 9, 9, 256]).reshape([64, 9, 9, 2, 2, 64]);
        read(x.permute([0, 1, 3, 2, 4, 5]).reshape([64, 18, 18, 64]));
    });
}
