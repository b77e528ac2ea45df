//! Pullbacks against autodiff, pushforwards against pullbacks, second derivatives against differences.

use burn::tensor::{DType, Tensor};
use fintan_config::{Architecture, Layer, Parametrization, Shape};
use fintan_net::{Lowering, Mode, PlacedNetwork, Placement};

use fintan_testing::networks::{
    dot, flex, golden, ndarray, normal, placements, random_architecture, relative_difference, rng,
};

fn random_input(architecture: &Architecture, n: usize, seed: u64, placement: &Placement) -> Tensor<4> {
    let Shape { channels, height, width } = architecture.input;
    normal([n, height, width, channels], &mut rng(seed), placement)
}

/// Burn's own differentiation of the forward pass is the oracle.
#[test]
fn pullback_is_what_autodiff_finds() {
    let golden = golden().into_iter().map(|case| (case.name, case.architecture));
    let random = (0..40).map(|seed| (format!("seed {seed}"), random_architecture(seed)));
    for (name, architecture) in golden.chain(random) {
        let devices = [flex().device, ndarray()].into_iter();
        let places = devices.flat_map(|device| [Lowering::Views, Lowering::Host].map(|by| (device.clone(), by)));
        for (device, lowering) in places {
            let plain = Placement { device, lowering, ..flex() };
            let taped = Placement { device: plain.device.clone().autodiff(), ..flex() };
            let network = PlacedNetwork::init(&architecture, &mut rng(5), &taped);
            let tracked = network.with_parameters(network.parameters().into_iter().map(Tensor::require_grad).collect());
            let x = random_input(&architecture, 3, 6, &taped).require_grad();
            let (y, _) = tracked.forward(x.clone(), Mode::Train);
            let dy = normal(y.dims(), &mut rng(7), &taped);
            let gradients = (y * dy).sum().backward();

            let network = PlacedNetwork::init(&architecture, &mut rng(5), &plain);
            let (y, tape) = network.forward(random_input(&architecture, 3, 6, &plain), Mode::Train);
            let dy = normal(y.dims(), &mut rng(7), &plain);
            let scale = dy.dims().iter().product::<usize>() as f64;
            let close = |got: &Tensor<2>, want: &Tensor<2>, what: &str| {
                // Where the true gradient vanishes (a shift before a batch norm) only rounding is left to compare.
                let off = (got.clone() - want.clone()).abs().max().into_scalar::<f64>();
                let size = want.clone().abs().max().into_scalar::<f64>().max(1e-3 * scale);
                assert!(off < 1e-11 * size, "{name}, {what}: {off:e} of {size:e}");
            };
            let flat = |t: Tensor<4>| t.clone().reshape([1, t.dims().iter().product::<usize>()]);
            let dx = network.pullback(&tape, dy.clone());
            close(&flat(dx), &flat(x.grad(&gradients).expect("x has a gradient")), "dx");
            let cotangents = network.pullback_parameters(&tape, dy);
            for ((got, parameter), what) in cotangents.iter().zip(tracked.parameters()).zip(network.parameter_names()) {
                close(got, &parameter.grad(&gradients).expect("a gradient"), &what);
            }
        }
    }
}

/// <u, J v> = <Jᵀ u, v>, in x and in θ, with several rows in front of the batch.
#[test]
fn pushforward_is_the_adjoint_of_pullback() {
    for seed in 0..60 {
        let architecture = random_architecture(1000 + seed);
        for placement in placements() {
            let network = PlacedNetwork::init(&architecture, &mut rng(seed), &placement);
            let x = random_input(&architecture, 2, seed, &placement);
            let (y, tape) = network.forward(x.clone(), Mode::Train);
            let mut random = rng(seed + 1);
            let ([n, h, w, c], [_, hy, wy, cy]) = (x.dims(), y.dims());
            let dx = normal([3 * n, h, w, c], &mut random, &placement);
            let dy = normal([3 * n, hy, wy, cy], &mut random, &placement);
            let (forward, back) = (network.pushforward(&tape, dx.clone(), None), network.pullback(&tape, dy.clone()));
            agree(dot(&dy, &forward), dot(&back, &dx), seed, "x");

            let d_parameters: Vec<Tensor<2>> =
                network.parameters().iter().map(|p| normal(p.dims(), &mut random, &placement)).collect();
            let (dx, dy) = (dx.narrow(0, 0, n), dy.narrow(0, 0, n));
            let forward = network.pushforward(&tape, dx.clone(), Some(&d_parameters));
            let back = network.pullback_parameters(&tape, dy.clone());
            let by_parameters: f64 = back.iter().zip(&d_parameters).map(|(a, b)| dot(a, b)).sum();
            agree(dot(&dy, &forward), by_parameters + dot(&network.pullback(&tape, dy), &dx), seed, "x and θ");
        }
    }
}

fn agree(a: f64, b: f64, seed: u64, what: &str) {
    assert!((a - b).abs() < 1e-12 * (1.0 + a.abs().max(b.abs())) * 30.0, "seed {seed}, {what}: {a} and {b}");
}

/// Evaluation with running statistics is affine in each norm: its rules are tested apart.
#[test]
fn rules_of_evaluation_mode_are_adjoint() {
    for seed in 0..20 {
        let (architecture, placement) = (random_architecture(seed), flex());
        let network = PlacedNetwork::init(&architecture, &mut rng(seed), &placement);
        let x = random_input(&architecture, 2, seed, &placement);
        let (y, tape) = network.forward(x.clone(), Mode::Eval);
        let (dx, dy) = (normal(x.dims(), &mut rng(1), &placement), normal(y.dims(), &mut rng(2), &placement));
        agree(
            dot(&dy, &network.pushforward(&tape, dx.clone(), None)),
            dot(&network.pullback(&tape, dy), &dx),
            seed,
            "x",
        );
    }
}

/// The rules are Burn operations, so autodiff goes through a pullback: what gradient penalties need.
#[test]
fn second_derivatives_come_from_autodiff_through_the_pullback() {
    let mut compared = 0;
    for seed in 0..24 {
        let architecture = random_architecture(2000 + seed);
        let curved = |node: &&fintan_config::Node| {
            matches!(node.layer, Layer::Activation(_) | Layer::BatchNorm(_) | Layer::LayerNorm(_))
        };
        if architecture.flat().iter().find(|node| curved(node)).is_none() {
            // Nothing depends on x, which autodiff refuses to differentiate.
            continue;
        }
        let plain = flex();
        let taped = Placement { device: plain.device.clone().autodiff(), ..plain.clone() };
        let (x, direction) = (random_input(&architecture, 2, 3, &plain), random_input(&architecture, 2, 4, &plain));
        let penalty_of = |placement: &Placement, x: Tensor<4>| {
            let network = PlacedNetwork::init(&architecture, &mut rng(seed), placement);
            let (y, tape) = network.forward(x, Mode::Train);
            network.pullback(&tape, normal(y.dims(), &mut rng(9), placement)).square().sum()
        };
        let at = Tensor::from_data(x.to_data(), (&taped.device, taped.dtype)).require_grad();
        let gradients = penalty_of(&taped, at.clone()).backward();
        let Some(gradient) = at.grad(&gradients) else {
            // A network linear in x has none.
            continue;
        };
        let exact = dot(&Tensor::from_data(gradient.to_data(), (&plain.device, plain.dtype)), &direction);
        let h = 1e-5;
        let shifted = |t: f64| penalty_of(&plain, x.clone() + direction.clone().mul_scalar(t)).into_scalar::<f64>();
        let difference = (8.0 * (shifted(h) - shifted(-h)) - (shifted(2.0 * h) - shifted(-2.0 * h))) / (12.0 * h);
        assert!((exact - difference).abs() < 1e-6 * (1.0 + exact.abs()), "seed {seed}: {exact} and {difference}");
        compared += 1;
    }
    assert!(compared >= 12, "only {compared} networks were curved");
}

/// One seed, one network: the host draws, so every backend starts from the same numbers.
#[test]
fn initial_weights_do_not_depend_on_the_device() {
    let architecture = golden().remove(1).architecture;
    let networks =
        placements().into_iter().map(|p| PlacedNetwork::init(&architecture, &mut rng(11), &p)).collect::<Vec<_>>();
    let first = networks[0].to_tensors();
    for network in &networks {
        assert_eq!(network.to_tensors(), first);
    }
    let other = PlacedNetwork::init(&architecture, &mut rng(12), &flex());
    assert!(relative_difference(&other.parameters()[0], &networks[0].parameters()[0]) > 0.1);
}

/// The loops over host memory share work among threads in ways that must not change a sum.
#[test]
fn host_loops_give_the_same_bytes_for_any_number_of_threads() {
    let layers = r#"[
        { "dense": { "out": 1024 } }, { "reshape": { "channels": 16, "height": 8, "width": 8 } }, { "batch_norm": {} }, { "activation": "tanh" },
        { "deconv": { "out": 24, "kernel": 4, "stride": 2, "padding": 1 } }, { "layer_norm": {} }, { "activation": "relu" },
        { "conv": { "out": 40, "kernel": 3, "padding": 1 } }, { "activation": "leaky_relu" }, { "flatten": {} }, { "dense": { "out": 3 } }
    ]"#;
    let layers: Vec<Layer> = serde_json::from_str(layers).expect("layers");
    for parametrization in ["standard", "ntk", "graph"] {
        let parametrization: Parametrization =
            serde_json::from_str(&format!(r#"{{ "{parametrization}": {{}} }}"#)).expect("a parametrization");
        let architecture = Architecture::new(Shape::vector(9), &layers, parametrization).expect("an architecture");
        let to = Placement { dtype: DType::F32, lowering: Lowering::Host, ..flex() };
        let network = PlacedNetwork::init(&architecture, &mut rng(3), &to);
        let x = random_input(&architecture, 37, 4, &to).cast(DType::F32);
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| {
                let (y, tape) = network.forward(x.clone(), Mode::Train);
                let gradients = network.pullback_parameters(&tape, y.clone());
                let dx = network.pullback(&tape, y.clone());
                (y.into_data(), dx.into_data(), gradients.into_iter().map(Tensor::into_data).collect::<Vec<_>>())
            })
        };
        let one = with(1);
        assert!([2, 3, 5, 8, 64].into_iter().all(|threads| with(threads) == one), "{parametrization:?}");
    }
}
