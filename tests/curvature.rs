//! The Hessian of a task's loss and its parts: eigenvalues and traces against dense matrices, on every device.

use burn::tensor::{DType, Tensor};
use fintan::{CurvatureSpectrum, Device, LossCurvature, Network, Spectrum, Subject};
use fintan_data::TaskData;
use fintan_net::{Mode, PlacedNetwork, Placement};
use fintan_testing::networks::{flex, normal, random_architecture, relative_difference, rng};
use fintan_train::{Curvature, TaskCurvature};
use serde_json::Value;

use crate::support::{TINY, config, folder, placements, run, succeed};

/// A regression with two outputs.
const SQUARED: &str = r#"
seed = 3
[network]
input = 4
parametrization = { ntk = { beta = 0.3 } }
fc = { widths = [6, 5], activation = { function = "tanh", scaling = "standardized" } }
outputs = 2
[data.teacher]
[task.supervised]
goal = "regression"
train = 9
test = 5
optimizer.sgd.rate = 0.5
steps = 20
log_every = 10
checkpoint_every = 10
"#;

/// Images of three classes, with a convolution and norms.
const CROSS_ENTROPY: &str = r#"
seed = 4
[network]
input = [1, 6, 6]
[[network.layers]]
conv = { out = 2, kernel = 3, stride = 2 }
[[network.layers]]
NORM = {}
[[network.layers]]
activation = { function = "gelu" }
[[network.layers]]
flatten = {}
[[network.layers]]
dense = { out = OUT }
[data.shapes]
count = 64
[task.supervised]
goal = "classification"
loss = "cross_entropy"
classes = CLASSES
train = 8
test = 4
optimizer.sgd.rate = 0.1
steps = 4
"#;

fn texts() -> Vec<(String, String)> {
    let mut all = vec![("squared".into(), SQUARED.to_owned())];
    for norm in ["layer_norm", "batch_norm"] {
        for (out, classes) in [("1", "[5, 8]"), ("3", "[2, 5, 8]")] {
            let text = CROSS_ENTROPY.replace("NORM", norm).replace("OUT", out).replace("CLASSES", classes);
            all.push((format!("cross-entropy, {norm}, {out} outputs"), text));
        }
    }
    all
}

/// A matrix, column by column.
fn dense(curvature: &TaskCurvature, of: Curvature) -> Vec<f64> {
    let parameters = curvature.network().parameters();
    let mut columns: Vec<f64> = Vec::new();
    for (p, parameter) in parameters.iter().enumerate() {
        let [rows, width] = parameter.dims();
        for at in 0..rows * width {
            let mut unit: Vec<Tensor<2>> = parameters.iter().map(Tensor::zeros_like).collect();
            let (row, column) = (at / width, at % width);
            unit[p] = unit[p].clone().slice_fill([row..row + 1, column..column + 1], 1.0);
            let product = curvature.times(of, &unit);
            columns.extend(product.into_iter().flat_map(|each| each.into_data().iter::<f64>().collect::<Vec<_>>()));
        }
    }
    columns
}

/// The loss of the network on its training samples, at the weights with which it is drawn.
fn loss_of(network: &Network, placement: &Placement) -> TaskCurvature {
    let Subject::Network(alone) = network.subject() else { panic!("a network with a task") };
    let task = alone.supervised().expect("a task");
    let data = TaskData::load(&task, None).expect("samples");
    let (placed, _) = network.placed(placement, Mode::Train).expect("weights");
    TaskCurvature::new(placed, &data.train, Mode::Train, task.task.loss, 1024)
}

#[test]
fn eigenvalues_and_traces_are_those_of_the_dense_matrices() {
    for (name, text) in texts() {
        for device in ["flex", "ndarray"] {
            let device = Device::by_name(device).expect("a CPU device").double_precision().expect("it has f64");
            let network = Network::parse(&text).expect("a configuration").on(device.clone());
            let found = LossCurvature::of(&network).eigenvalues(3).compute().expect("converges");
            let curvature = loss_of(&network, &device.placement);
            let rows = found.parameters;
            for (of, found) in [
                (Curvature::GaussNewton, &found.gauss_newton),
                (Curvature::Functional, &found.functional),
                (Curvature::Hessian, &found.hessian),
            ] {
                let matrix = dense(&curvature, of);
                let what = format!("{name}, {}, {}", device.name, of.name());
                let size = matrix.iter().fold(1e-3_f64, |m, v| m.max(v.abs()));
                for i in 0..rows {
                    for j in 0..i {
                        let (a, b) = (matrix[i * rows + j], matrix[j * rows + i]);
                        assert!((a - b).abs() < 1e-12 * size, "{what}: ({i}, {j}): {a} and {b}");
                    }
                }
                let all = Spectrum::of(&matrix, rows).expect("finite").values;
                let largest = all[0].abs().max(all[rows - 1].abs());
                // Values converge as the square of the residual, which is below 1e-4 of the largest value.
                let near = |found: &[f64], wanted: &mut dyn Iterator<Item = f64>| {
                    for (found, wanted) in found.iter().zip(wanted) {
                        assert!((found - wanted).abs() < 1e-6 * largest, "{what}: {found} and {wanted}");
                    }
                };
                let CurvatureSpectrum { largest: top, smallest: bottom, largest_residual, trace } = found;
                assert_eq!((top.len(), bottom.len()), (3, if of == Curvature::GaussNewton { 0 } else { 3 }));
                near(top, &mut all.iter().copied());
                near(bottom, &mut all.iter().rev().copied());
                assert!(*largest_residual < 1e-4, "{what}: {largest_residual}");
                let exact: f64 = (0..rows).map(|i| matrix[i * (rows + 1)]).sum();
                if of == Curvature::GaussNewton {
                    assert!(found.is_trace_exact(), "{what}");
                    assert!((trace.value - exact).abs() < 1e-11 * exact, "{what}: {trace:?} and {exact}");
                } else {
                    let off = (trace.value - exact).abs();
                    assert!(
                        trace.standard_error > 0.0 && off < 5.0 * trace.standard_error,
                        "{what}: {trace:?}, {exact}"
                    );
                }
            }
        }
    }
}

/// For the squared loss the Gauss-Newton matrix has the eigenvalues of the kernel, divided by the number of samples.
#[test]
fn the_gauss_newton_matrix_of_a_squared_loss_is_the_kernel() {
    let network = Network::parse(SQUARED).expect("a configuration");
    let found = LossCurvature::of(&network).eigenvalues(4).double_precision().compute().expect("converges");
    let kernel = fintan::Kernel::of(&network).inputs(fintan::Inputs::train()).full().double_precision().compute();
    let kernel = kernel.expect("fits").spectrum().expect("symmetric").values;
    for (value, of_kernel) in found.gauss_newton.largest.iter().zip(&kernel) {
        assert!((value - of_kernel / 9.0).abs() < 1e-7 * kernel[0], "{value} and {of_kernel}");
    }
    let trace = kernel.iter().sum::<f64>() / 9.0;
    assert!((found.gauss_newton.trace.value - trace).abs() < 1e-11 * trace);
    let short = LossCurvature::of(&network).memory("1MB").compute().expect_err("the program alone needs more");
    assert!(short.to_string().contains("2 eigenpairs need at least"), "{short}");
}

/// The tangent of the pullback in single precision on a GPU, against f64 on the CPU.
#[test]
fn tangents_of_the_pullback_on_wgpu_are_those_of_the_cpu() {
    for gpu in placements(DType::F32) {
        for seed in [0, 1, 2, 3, 5, 8] {
            let (architecture, cpu) = (random_architecture(seed), flex());
            let mut random = rng(seed);
            let network = PlacedNetwork::init(&architecture, &mut random, &cpu);
            let there = network.moved(&gpu);
            let there_of = |t: &Tensor<4>| -> Tensor<4> {
                Tensor::from_data(t.to_data().convert_dtype(DType::F32), (&gpu.device, DType::F32))
            };
            let back = |t: &Tensor<2>| -> Tensor<2> {
                Tensor::from_data(t.to_data().convert_dtype(DType::F64), (&cpu.device, DType::F64))
            };
            let input = architecture.input;
            let [x, dx] = [(), ()].map(|()| normal([2, input.height, input.width, input.channels], &mut random, &cpu));
            let (y, tape) = network.forward(x.clone(), Mode::Train);
            let [dy, dy_tangent] = [(), ()].map(|()| normal(y.dims(), &mut random, &cpu));
            let d_parameters: Vec<Tensor<2>> =
                network.parameters().iter().map(|p| normal(p.dims(), &mut random, &cpu)).collect();
            let single: Vec<Tensor<2>> = (d_parameters.iter())
                .map(|d| Tensor::from_data(d.to_data().convert_dtype(DType::F32), (&gpu.device, DType::F32)))
                .collect();
            let (_, tape_there) = there.forward(there_of(&x), Mode::Train);

            let (_, tangents) = network.pushforward_taped(&tape, dx.clone(), Some(&d_parameters));
            let wanted = network.pullback_parameters_tangent(&tape, &tangents, dy.clone(), Some(dy_tangent.clone()));
            let (_, tangents) = there.pushforward_taped(&tape_there, there_of(&dx), Some(&single));
            let found =
                there.pullback_parameters_tangent(&tape_there, &tangents, there_of(&dy), Some(there_of(&dy_tangent)));
            let slopes = network.slope_cotangents(&tape, dy.clone(), dx.clone());
            let slopes_there = there.slope_cotangents(&tape_there, there_of(&dy), there_of(&dx));
            for (found, wanted) in [(found, wanted), (slopes_there, slopes)] {
                let size = wanted.iter().map(|w| w.clone().abs().max().into_scalar::<f64>()).fold(0.0, f64::max);
                for ((found, wanted), name) in found.iter().zip(&wanted).zip(network.parameter_names()) {
                    // What is small beside other parameters has their rounding errors.
                    let off = relative_difference(&back(found), wanted)
                        * wanted.clone().abs().max().into_scalar::<f64>()
                        / size.max(1e-3);
                    assert!(off < 2e-4, "seed {seed}, {name}: {off:e}");
                }
            }
        }
    }
}

/// Eigenvalues in single precision on a GPU.
#[test]
fn curvature_on_wgpu_is_that_of_the_cpu() {
    for gpu in placements(DType::F32) {
        for (name, text) in texts().into_iter().take(3) {
            let network = Network::parse(&text).expect("a configuration");
            let cpu = LossCurvature::of(&network).eigenvalues(1).double_precision().compute().expect("converges");
            let network = network.on(Device::from(gpu.clone()));
            let found = LossCurvature::of(&network).eigenvalues(1).compute().expect("converges");
            for (found, wanted) in [
                (&found.gauss_newton, &cpu.gauss_newton),
                (&found.functional, &cpu.functional),
                (&found.hessian, &cpu.hessian),
            ] {
                let size = cpu.hessian.largest[0];
                for (a, b) in [(&found.largest, &wanted.largest), (&found.smallest, &wanted.smallest)] {
                    assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-3 * size), "{name}: {found:?}, {wanted:?}");
                }
            }
            let (a, b) = (found.gauss_newton.trace.value, cpu.gauss_newton.trace.value);
            assert!((a - b).abs() < 1e-4 * b, "{name}: {a} and {b}");
        }
    }
}

#[test]
fn flow_prints_the_curvature_of_configurations_and_checkpoints() {
    let folder = folder();
    let root = folder.path();
    config(root, SQUARED);
    succeed(root, &["train", "tiny.toml", "--out", "r", "--device", "flex", "-q"]);
    let before = crate::support::files(root);
    let asked = |args: &[&str]| -> Value {
        let said = succeed(root, &[&["flow", "--hessian", "2", "--device", "flex", "--json"], args].concat());
        serde_json::from_str(&said).expect("JSON")
    };
    let found = asked(&["tiny.toml", "r"]);
    let [drawn, trained] = [0, 1].map(|i| &found["networks"][i]);
    assert_eq!((drawn["step"].as_u64(), trained["step"].as_u64()), (None, Some(20)));
    // The first checkpoint is the network as drawn.
    let first = &asked(&["r", "--step", "0"])["networks"][0];
    for key in ["gauss_newton", "functional", "hessian"] {
        for (a, b) in [("largest", 0), ("trace", 1)] {
            let value = |of: &Value| if b == 1 { of[key][a].as_f64() } else { of[key][a][0].as_f64() };
            let [x, y, z] = [drawn, first, trained].map(|of| value(of).expect("a number"));
            assert!((x - y).abs() < 1e-5 * x.abs().max(1.0), "{key}, {a}: {x} and {y}");
            assert!((x - z).abs() > 1e-3 * x.abs(), "{key}, {a}: it has trained: {x} and {z}");
        }
    }
    let network = Network::parse(SQUARED).expect("sound");
    let library = LossCurvature::of(&network).eigenvalues(2).double_precision().compute().expect("converges");
    assert_eq!(drawn["hessian"]["largest"][0].as_f64(), library.hessian.largest.first().copied());
    let set = asked(&["tiny.toml", "--set", "network.fc.widths=[3]"]);
    assert_eq!(set["networks"][0]["parameters"], 4 * 3 + 3 + 3 * 2 + 2);
    let said = succeed(root, &["flow", "r", "--hessian", "0", "--device", "flex"]);
    assert!(said.starts_with("r, step 20: 9 samples of 2 outputs, 77 parameters\n"), "{said}");
    assert!(said.contains("Gauss-Newton matrix: trace ") && !said.contains("largest"), "{said}");
    assert_eq!(crate::support::files(root), before, "nothing is written");

    let refused = |args: &[&str]| {
        let (code, stdout, stderr) = run(root, args);
        assert_eq!(code, 2, "{args:?}: {stdout}{stderr}");
        stderr.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert!(refused(&["flow", "r", "--step", "0"]).contains("--hessian"));
    assert!(refused(&["flow", "r", "--hessian", "1", "--out", "x.svg"]).contains("--out"));
    config(root, TINY);
    let said = refused(&["flow", "tiny.toml", "--hessian", "1", "--device", "flex"]);
    assert!(said.contains("`train` are samples of a task; this network has none"), "{said}");
}
