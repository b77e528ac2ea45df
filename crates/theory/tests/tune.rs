//! One knob, turned until a goal is reached: against published characteristic values and the recursions of depth.

use std::f64::consts::PI;

use fintan_config::{
    Activation, Architecture, BatchNorm, Function, Init, Layer, Parametrization, Residual, Scaling, Shape, Standard,
};
use fintan_theory::{
    Dual, Knob, NetworkLimit, Regime, Request, Setting, Standing, TuneError, TuneGoal, Ultrametric, depth_sweep,
    regimes, tune,
};

use crate::support::{activation, dense, generator, graph, near, normalized_relu, ntk, standardized_relu};

const CHAOS: TuneGoal = TuneGoal::Regime { regime: Regime::Chaos, margin: 0.05 };
const ORDER: TuneGoal = TuneGoal::Regime { regime: Regime::Order, margin: 0.05 };
const EDGE: TuneGoal = TuneGoal::Regime { regime: Regime::Edge, margin: 0.05 };

/// Turns the knob, and looks that the network is the one with the knob there.
#[track_caller]
fn number(network: &Architecture, goal: TuneGoal, knob: Knob) -> f64 {
    let tuned = tune(network, &goal, knob).unwrap_or_else(|e| panic!("{e}"));
    let setting = tuned.setting.expect("was not there before");
    assert_eq!(tuned.network, setting.apply(network));
    assert!(goal.is_reached(&tuned.network, knob).expect("has a limit"));
    setting.number().expect("a number")
}

#[track_caller]
fn refused(network: &Architecture, goal: TuneGoal, knob: Knob) -> String {
    tune(network, &goal, knob).expect_err("cannot be").to_string()
}

/// `r = (1 - β²) π / (π - 1)` of normalized ReLU is the end of the dial, at mu = 1/√(2π).
#[test]
fn the_largest_r_of_partial_centring() {
    let network = dense(standardized_relu(), 5, ntk(0.1), 4);
    let most = 0.99 * PI / (PI - 1.0);
    near(number(&network, TuneGoal::R(most), Knob::Mu), 1.0 / (2.0 * PI).sqrt(), 1e-7, "mu");
    let told = refused(&network, TuneGoal::R(1.5), Knob::Mu);
    assert_eq!(told, "`r=1.5` cannot be reached with the knob `mu`: the nearest is r = 1.452273, at mu = 0.398942");
    // Between the ends, published to five decimals; dr/dmu is 1.6 to 0.8 there.
    for (mu, r) in [(0.1, 1.162_22), (0.2, 1.314_33), (0.3, 1.425_99)] {
        near(number(&network, TuneGoal::R(0.99 * r), Knob::Mu), mu, 2e-5, "mu");
    }
}

/// Slopes of tanh: r = 1.0336, 1.1778, 1.6116, 2.6156 at gains 0.5, 1, 2, 4.
#[test]
fn gains_of_tanh() {
    let network = dense(Activation { gain: 3.0, ..activation(Function::Tanh, Scaling::Standardized) }, 4, ntk(0.0), 4);
    for (gain, r) in [(0.5, 1.0336), (1.0, 1.1778), (2.0, 1.6116), (4.0, 2.6156)] {
        near(number(&network, TuneGoal::R(r), Knob::Gain), gain, 5e-4, "gain");
    }
    let told = refused(&dense(standardized_relu(), 4, ntk(0.1), 4), TuneGoal::R(1.2), Knob::Gain);
    assert!(told.ends_with("it does not move it, r = 0.990000 at every value"), "{told}");
}

/// Leaky ReLUs by the slope below 0, centred and scaled; -1 is |x|.
#[test]
fn leaks() {
    for start in [Function::Relu, Function::LeakyRelu] {
        let network = dense(activation(start, Scaling::Normalized), 4, ntk(0.1), 4);
        for (slope, r) in [(0.01, 1.438_837), (0.1, 1.329_356), (0.5, 1.057_310)] {
            near(number(&network, TuneGoal::R(r), Knob::Leak), slope, 2e-6, "slope");
        }
        // The largest r there is, where r is flat.
        near(number(&network, TuneGoal::R(2.724_419), Knob::Leak), -1.0, 2e-4, "slope");
    }
}

/// The largest β at which a normalized function is not in order.
#[test]
fn critical_betas() {
    let leaky = |slope| Activation { slope: Some(slope), ..activation(Function::LeakyRelu, Scaling::Normalized) };
    let of = |function| activation(function, Scaling::Normalized);
    let rows = [
        (normalized_relu(), 0.564_190),
        (leaky(0.1), 0.505_251),
        (leaky(0.5), 0.252_313),
        (of(Function::Abs), 0.797_885),
        (of(Function::Tanh), 0.388_542),
        (of(Function::Erf), 0.429_115),
        (of(Function::Sigmoid), 0.180_279),
        (of(Function::Gelu), 0.491_692),
        (of(Function::Selu), 0.258_446),
        (of(Function::Sin), 0.488_268),
    ];
    for (sigma, beta) in rows {
        let network = dense(sigma, 3, graph(0.05), 4);
        for goal in [EDGE, TuneGoal::R(1.0)] {
            near(number(&network, goal, Knob::Beta), beta, 1e-6, sigma.function.name());
        }
    }
    // Standardized ReLU touches the edge at the end of the range.
    near(number(&dense(standardized_relu(), 3, ntk(0.3), 4), EDGE, Knob::Beta), 0.0, 1e-4, "beta");
}

/// The scaled kernel and the condition number of what was tuned, by the recursion over depth.
#[test]
fn kernels_of_tuned_nets_by_the_recursion() {
    let at_depth = |network: &Architecture, c: f64| {
        let Layer::Activation(sigma) = network.nodes[1].layer else { panic!("dense, nonlinearity, ...") };
        let square = network.parametrization.beta().expect("ntk").powi(2);
        depth_sweep(&Dual::new(sigma), 1.0 - square, square, 1.0 - c, 12).expect("closed")[11]
    };
    let network = dense(standardized_relu(), 12, ntk(0.1), 6);
    for (value, between, knob) in [
        (0.1, 0.0, Knob::Mu),
        (0.25, 0.5, Knob::Mu),
        (0.2, -0.5, Knob::Mu),
        (0.9, 0.0, Knob::Beta),
        (0.5, 0.3, Knob::Beta),
    ] {
        let tuned = tune(&network, &TuneGoal::Scaled { value, between }, knob).unwrap_or_else(|e| panic!("{e}"));
        near(at_depth(&tuned.network, between).scaled(), value, 1e-9, &format!("{value} {between} {knob:?}"));
    }
    for (value, inputs, knob) in [(1.5, 64, Knob::Mu), (1e4, 64, Knob::Beta), (20.0, 10, Knob::Beta)] {
        let tuned = tune(&network, &TuneGoal::Condition { value, inputs }, knob).unwrap_or_else(|e| panic!("{e}"));
        let found = at_depth(&tuned.network, 0.0).condition_number(inputs);
        near(found / value, 1.0, 1e-8, &format!("{value} {inputs} {knob:?}"));
    }
}

/// A regime is the smallest change that keeps its margin.
#[test]
fn regimes_at_depth() {
    let steep_erf = Activation { gain: 3.0, ..activation(Function::Erf, Scaling::Standardized) };
    for (network, goal, knob) in [
        (dense(standardized_relu(), 7, ntk(0.1), 4), CHAOS, Knob::Mu),
        (generator(standardized_relu(), 3, ntk(0.1)), CHAOS, Knob::Mu),
        (dense(normalized_relu(), 10, ntk(0.1), 4), ORDER, Knob::Beta),
        (dense(steep_erf, 40, ntk(0.5), 4), ORDER, Knob::Gain),
    ] {
        let network = if network.input.channels == 1 { widened(&network) } else { network };
        let tuned = tune(&network, &goal, knob).unwrap_or_else(|e| panic!("{e}"));
        let value = tuned.setting.and_then(|s| s.number()).expect("a number");
        let standing = Standing::of(&tuned.network, 64).expect("has a limit");
        let TuneGoal::Regime { regime, .. } = goal else { panic!("a regime") };
        assert_eq!(standing.regime(), Some(regime));
        let kept = if regime == Regime::Chaos { standing.scaled <= 0.05 } else { standing.scaled >= 0.95 };
        assert!(kept, "{goal} {knob:?}: {standing:?}");
        // A little less does not do.
        let present = knob.of(&network).expect("has it").number().expect("a number");
        let less = match knob {
            Knob::Mu => Setting::Mu(value - 0.002 * (value - present)),
            Knob::Beta => Setting::Beta(value - 0.002 * (value - present)),
            Knob::Gain | Knob::Leak | Knob::Nonlinearity => Setting::Gain(value - 0.01 * (value - present)),
        };
        assert!(!goal.is_reached(&less.apply(&network), knob).expect("has a limit"), "{value}");
        // And then there is nothing to do.
        assert_eq!(tune(&tuned.network, &goal, knob).expect("is there").setting, None);
    }
}

/// Layers behind more inputs.
fn widened(network: &Architecture) -> Architecture {
    let layers: Vec<Layer> = network.nodes.iter().map(|node| node.layer.clone()).collect();
    Architecture::new(Shape::vector(8), &layers, network.parametrization).expect("sound")
}

/// The 64x64 generator holds 0.069 + 0.077 + 0.080 + 0.090 of its trace in checkerboards (published to three decimals).
#[test]
fn checkerboards() {
    let network = generator(standardized_relu(), 4, graph(0.1));
    let share = |network: &Architecture| {
        Ultrametric::of(network, [1.0; 3]).expect("ultrametric").trace_shares()[1..5].iter().sum::<f64>()
    };
    near(share(&network), 0.316, 0.002, "before");
    let tuned = tune(&network, &TuneGoal::Checkerboard(0.1), Knob::Mu).unwrap_or_else(|e| panic!("{e}"));
    let after = share(&tuned.network);
    assert!(after <= 0.1 && after > 0.099, "{after}");
    // 0.002 + 0.004 + 0.013 + 0.048 of normalized ReLU, each rounded.
    let told = refused(&network, TuneGoal::Checkerboard(0.05), Knob::Mu);
    assert!(told.contains("the nearest is a share of 0.066") && told.ends_with("at mu = 0.398942"), "{told}");
}

#[test]
fn a_nonlinearity_from_the_list() {
    let network = dense(standardized_relu(), 7, ntk(0.1), 4);
    let choice = |goal| tune(&network, &goal, Knob::Nonlinearity).unwrap_or_else(|e| panic!("{e}")).setting;
    assert_eq!(choice(TuneGoal::R(1.45)), Some(Setting::Nonlinearity(Function::Relu, Scaling::Normalized)));
    assert_eq!(choice(TuneGoal::R(2.7)), Some(Setting::Nonlinearity(Function::Abs, Scaling::Normalized)));
    // tanh is centred as it is: standardized and normalized are one, and the first is taken.
    assert_eq!(choice(TuneGoal::R(1.166)), Some(Setting::Nonlinearity(Function::Tanh, Scaling::Standardized)));
    let told = refused(&network, TuneGoal::R(4.0), Knob::Nonlinearity);
    assert!(told.ends_with("the nearest is r = 2.724419, at nonlinearity = normalized abs"), "{told}");
}

/// Hidden nonlinearities are turned, in branches too; that of the output is not.
#[test]
fn every_hidden_nonlinearity_and_no_other() {
    let tanh = Layer::Activation(Activation::raw(Function::Tanh));
    let relu = Layer::Activation(standardized_relu());
    let wide = Layer::Dense(8.into());
    let block =
        Layer::Residual(Residual { layers: vec![relu.clone(), wide.clone()], shortcut: Vec::new(), scale: 0.7 });
    let layers = [wide.clone(), block, relu, wide, tanh.clone()];
    let network = Architecture::new(Shape::vector(4), &layers, ntk(0.1)).expect("sound");
    let changed = Setting::Mu(0.2).apply(&network);
    let mus: Vec<Option<f64>> = changed
        .flat()
        .iter()
        .filter_map(|node| if let Layer::Activation(a) = node.layer { Some(a.mu) } else { None })
        .collect();
    assert_eq!(mus, [Some(0.2), Some(0.2), None]);
    assert_eq!(changed.nodes[4].layer, tanh);
    assert!(NetworkLimit::new(&changed).is_ok());
}

#[test]
fn standing_of_known_nets() {
    // Orthogonal inputs, L = 10, N = 64: 30.51 (He ReLU without biases).
    let standing = Standing::of(&dense(standardized_relu(), 10, ntk(0.0), 4), 64).expect("has a limit");
    near(standing.condition, 30.51, 0.02, "condition number");
    assert_eq!((standing.regime(), standing.border, &standing.blocks), (Some(Regime::Edge), None, &None));
    // The graph-based parametrization has no border; the other's is the mean of the limit's variances.
    let of = |parametrization| {
        Standing::of(&widened(&generator(standardized_relu(), 2, parametrization)), 64).expect("has a limit")
    };
    near(of(graph(0.1)).border.expect("an image"), 1.0, 1e-12, "graph");
    let network = widened(&generator(standardized_relu(), 2, ntk(0.1)));
    let x: Vec<f64> = (0..8).map(|i| if i % 2 == 0 { 2.0_f64.sqrt() } else { 0.0 }).collect();
    let kernel = NetworkLimit::new(&network).expect("limit").kernel(&x, &x, &Request::default()).expect("fits");
    let inside = |p: usize| (2..14).contains(&(p / 16)) && (2..14).contains(&(p % 16));
    let mean = |of: &dyn Fn(usize) -> bool| {
        let all: Vec<f64> = (0..256).filter(|&p| of(p)).map(|p| kernel.covariance[p]).collect();
        all.iter().sum::<f64>() / all.len() as f64
    };
    near(of(ntk(0.1)).border.expect("an image"), mean(&|p| !inside(p)) / mean(&inside), 1e-12, "border");
    let blocks = of(ntk(0.1)).blocks.expect("an image").expect("ultrametric");
    assert_eq!(blocks.iter().map(|b| b.multiplicity).collect::<Vec<_>>(), [1, 3, 12, 240]);
    near(blocks.iter().map(|b| b.share).sum(), 1.0, 1e-12, "shares");
}

/// A single channel: windows of stride 2 see orthogonal inputs too, and the goal holds for them.
#[test]
fn images_of_one_channel() {
    let conv = fintan_config::Convolution { padding: 1.into(), ..crate::support::deconv(4, 2, 1) };
    let leaky = Layer::Activation(activation(Function::LeakyRelu, Scaling::Standardized));
    let layers = [
        Layer::Conv(conv),
        leaky.clone(),
        Layer::Conv(conv),
        leaky,
        Layer::Flatten(fintan_config::Empty {}),
        Layer::Dense(1.into()),
    ];
    let network = Architecture::new(Shape::image(1, 8, 8), &layers, ntk(0.1)).expect("sound");
    let goal = TuneGoal::Scaled { value: 0.2, between: 0.2 };
    assert!(goal.is_reached(&tune(&network, &goal, Knob::Mu).expect("reachable").network, Knob::Mu).expect("limit"));
}

#[test]
fn what_cannot_be_tuned() {
    let tanh = dense(activation(Function::Tanh, Scaling::Standardized), 4, ntk(0.1), 4);
    for (network, goal, knob, want) in [
        (&tanh, CHAOS, Knob::Mu, "`tanh` is centred as it is"),
        (&tanh, CHAOS, Knob::Leak, "belongs to `relu` and `leaky_relu`, got `tanh`"),
        (&tanh, TuneGoal::R(-1.0), Knob::Gain, "r must be in (0, ∞), got -1"),
        (&tanh, TuneGoal::Condition { value: 0.5, inputs: 64 }, Knob::Gain, "must be in (1, ∞), got 0.5"),
        (&tanh, TuneGoal::Scaled { value: 0.5, between: 1.0 }, Knob::Gain, "must be in (-1, 1), got 1"),
        (&dense(standardized_relu(), 1, ntk(0.1), 4), TuneGoal::R(1.2), Knob::Beta, "has no r"),
        (&dense(standardized_relu(), 4, ntk(0.1), 1), CHAOS, Knob::Mu, "no orthogonal ones"),
    ] {
        let told = refused(network, goal, knob);
        assert!(told.contains(want), "{told}");
    }
    let he = Parametrization::Standard(Standard { init: Init::He, bias_std: 0.0 });
    let standard = dense(standardized_relu(), 4, he, 4);
    assert!(matches!(tune(&standard, &CHAOS, Knob::Beta), Err(TuneError::Knob { knob: "beta", .. })));
    let layers = [
        Layer::Dense(8.into()),
        Layer::BatchNorm(BatchNorm { affine: false, eps: 1e-5, momentum: 0.1 }),
        Layer::Activation(standardized_relu()),
        Layer::Dense(1.into()),
    ];
    let network = Architecture::new(Shape::vector(4), &layers, ntk(0.1)).expect("sound");
    assert!(regimes(&network)[1].r.is_some());
    assert!(refused(&network, TuneGoal::R(1.2), Knob::Mu).contains("couples the samples of a batch"));
}
