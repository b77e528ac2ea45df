//! What is said of a network agrees with the walk of two inputs through it: random architectures.

use std::f64::consts::FRAC_1_SQRT_2;

use fintan_config::{
    Activation, Architecture, Convolution, Empty, Function, Init, Layer, LayerNorm, NormAxes, Pad, PadMode,
    Parametrization, Residual, Scaling, Shape, Standard,
};
use fintan_theory::{
    Family, Knob, NetworkLimit, PieceRegime, Regime, Relation, Request, Standing, TuneGoal, correlated_inputs, mean_r,
    regimes,
};

use crate::support::{graph, near, ntk};

/// Whole numbers in a fixed order that looks like none.
struct Draws(u64);

impl Draws {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn of<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize].clone()
    }
}

const FEATURES: usize = 6;

fn nonlinearity(draws: &mut Draws) -> Activation {
    use Function as F;
    let function = draws.of(&[F::Relu, F::Relu, F::LeakyRelu, F::Abs, F::Tanh, F::Erf, F::Gelu, F::Elu, F::Sin]);
    let scaling = draws.of(&[Scaling::Raw, Scaling::Standardized, Scaling::Normalized, Scaling::Partial]);
    let mu = (scaling == Scaling::Partial).then_some(0.2);
    Activation { gain: draws.of(&[1.0, 1.0, 0.7, 1.5]), mu, ..Activation::raw(function).with_scaling(scaling) }
}

/// Rows and columns of images.
const SIDE: usize = 3;

/// What a network's inputs are, and how it is linear.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Over {
    /// Vectors, dense layers.
    Vectors,
    /// Images, convolutions on a torus: no position differs from another.
    Tori,
    /// Images, convolutions padded with zeros: positions at the border differ.
    Images,
}

impl Over {
    fn shape(self) -> Shape {
        let side = if self == Self::Vectors { 1 } else { SIDE };
        Shape { channels: FEATURES, height: side, width: side }
    }

    /// A linear layer that keeps the shape.
    fn linear(self, draws: &mut Draws) -> Vec<Layer> {
        let conv = |kernel: usize, padding: usize| {
            Layer::Conv(Convolution {
                out: FEATURES,
                kernel: kernel.into(),
                stride: 1.into(),
                padding: padding.into(),
                output_padding: 0.into(),
                init: None,
            })
        };
        match (self, draws.below(3)) {
            (Self::Vectors, _) => vec![Layer::Dense(FEATURES.into())],
            (_, 0) => vec![conv(1, 0)],
            (Self::Tori, _) => {
                let torus = Pad { before: 1.into(), after: 1.into(), mode: PadMode::Periodic };
                vec![Layer::Pad(torus), conv(3, 0)]
            }
            (Self::Images, _) => vec![conv(3, 1)],
        }
    }
}

/// A nonlinearity with or without norms about it, and a linear layer.
fn group(place: Over, draws: &mut Draws) -> Vec<Layer> {
    let over = draws.of(&[NormAxes::Features, NormAxes::Chw]);
    let norm = Layer::LayerNorm(LayerNorm { over, affine: false, eps: draws.of(&[1e-5, 1e-2]) });
    let (before, after) = draws.of(&[(false, false), (false, false), (false, false), (true, false), (false, true)]);
    let mut layers = if before { vec![norm.clone()] } else { Vec::new() };
    layers.push(Layer::Activation(nonlinearity(draws)));
    layers.extend(after.then_some(norm));
    layers.extend(place.linear(draws));
    layers
}

fn architecture(place: Over, draws: &mut Draws) -> Architecture {
    let standard = |init, bias_std| Parametrization::Standard(Standard { init, bias_std });
    let parametrization = draws.of(&[
        ntk(0.0),
        ntk(0.1),
        ntk(0.5),
        graph(0.2),
        standard(Init::He, 0.0),
        standard(Init::Lecun, 0.3),
        standard(Init::Variance(1e-3), 0.0),
        standard(Init::Variance(30.0), 0.1),
        standard(Init::Normal(0.4), 0.0),
    ]);
    let mut layers = place.linear(draws);
    for _ in 0..=draws.below(4) {
        let group = group(place, draws);
        let scale = draws.of(&[FRAC_1_SQRT_2, 1.0, 0.3]);
        let shortcut = if draws.below(3) == 0 { place.linear(draws) } else { Vec::new() };
        match draws.below(3) {
            0 => layers.push(Layer::Residual(Residual { layers: group, shortcut, scale })),
            _ => layers.extend(group),
        }
    }
    if place != Over::Vectors {
        layers.push(draws.of(&[Layer::Flatten(Empty {}), Layer::GlobalAveragePool(Empty {})]));
        layers.push(Layer::Dense(FEATURES.into()));
    }
    Architecture::new(place.shape(), &layers, parametrization).expect("sound")
}

/// The first nodes of a network.
fn start_of(architecture: &Architecture, nodes: usize) -> Architecture {
    let layers: Vec<Layer> = architecture.nodes[..nodes].iter().map(|node| node.layer.clone()).collect();
    Architecture::new(architecture.input, &layers, architecture.parametrization).expect("sound")
}

fn relation(architecture: &Architecture, x: &[f64], y: &[f64]) -> Relation {
    NetworkLimit::of_outputs(architecture).expect("has a limit").relation(x, y).unwrap_or_else(|e| panic!("{e}"))
}

/// r of each piece by the walk of two inputs that differ by little: (1 - c') / (1 - c).
fn slopes(architecture: &Architecture, pieces: &[PieceRegime], angle: f64) -> Vec<f64> {
    let size = (FEATURES as f64).sqrt();
    let mut features = [0.0; FEATURES];
    // Mirror images, whose squares are equal to the last digit.
    let half = std::f64::consts::FRAC_PI_4 - 0.5 * angle;
    (features[0], features[1]) = (size * half.cos(), size * half.sin());
    let positions = architecture.input.positions();
    let everywhere = |features: [f64; FEATURES]| features.iter().flat_map(|&v| vec![v; positions]).collect::<Vec<_>>();
    let x = everywhere(features);
    features.swap(0, 1);
    let y = everywhere(features);
    let mut before = 2.0 * (0.5 * angle).sin().powi(2);
    let ends =
        architecture.nodes.iter().enumerate().filter_map(|(i, node)| {
            (node.fan_in().is_some() || matches!(node.layer, Layer::Residual(_))).then_some(i + 1)
        });
    let found: Vec<f64> = ends
        .map(|end| {
            let after = relation(&start_of(architecture, end), &x, &y).one_minus_correlation;
            let slope = after / before;
            before = after;
            slope
        })
        .collect();
    assert_eq!(found.len(), pieces.len());
    found
}

#[test]
fn r_regime_scaled_kernel_and_condition_number_are_those_of_the_limit() {
    let mut draws = Draws(7);
    let (mut blocks, mut chaotic, mut images) = (0, 0, 0);
    for case in 0..120 {
        let place = [Over::Vectors, Over::Tori, Over::Vectors, Over::Images][case % 4];
        let network = architecture(place, &mut draws);
        let what = format!(
            "case {case}: {place:?} {:?} {:?}",
            network.parametrization,
            network.nodes.iter().map(|n| &n.layer).collect::<Vec<_>>()
        );
        // What quadrature cannot reach is refused alike by all.
        let [x, y] = correlated_inputs(network.input, 0.0).expect("several values");
        let limit = NetworkLimit::new(&network).expect("has a limit");
        let Ok(expected) = limit.relation(&x, &y) else {
            assert!(Standing::of(&network, 64).is_err(), "{what}");
            continue;
        };

        let pieces = regimes(&network);
        let mean = mean_r(&pieces).expect("several pieces");
        // r is that of positions away from the border.
        if place != Over::Images {
            // Behind a pool, differences are those of means, and as exact as f64 holds the means.
            let pools = network.nodes.iter().any(|node| matches!(node.layer, Layer::GlobalAveragePool(_)));
            let angle = if pools { 3e-5 } else { 1e-7 };
            let slopes = slopes(&network, &pieces, angle);
            for (piece, slope) in pieces.iter().zip(&slopes).skip(1) {
                let r = piece.r.expect("not the first");
                // A kink adds a term of the order of the angle.
                near(r / slope, 1.0, 200.0 * angle, &what);
                blocks += usize::from(piece.is_block);
            }
            let product: f64 = slopes[1..].iter().product();
            near(mean.powi(slopes.len() as i32 - 1) / product, 1.0, 2000.0 * angle, &what);
        }
        images += usize::from(place != Over::Vectors);
        let regime = Regime::of(mean);
        chaotic += usize::from(regime == Regime::Chaos);

        // `tune` and `check` say of the network what the walk says.
        let standing = Standing::of(&network, 64).expect("has a limit");
        assert_eq!((standing.r, standing.regime()), (Some(mean), Some(regime)), "{what}");
        near(standing.scaled, expected.scaled(), 1e-12, &what);
        let theta = standing.scaled;
        let by_hand = (1.0 + 63.0 * theta) / (1.0 - theta);
        if 1.0 - theta > 1e-6 && theta > 1e-6 {
            near(standing.condition / by_hand, 1.0, 1e-9, &what);
        }
        let knob = Knob::Nonlinearity;
        assert!(TuneGoal::R(mean).is_reached(&network, knob).expect("has a limit"), "{what}");

        // The kernel between three inputs, where f64 holds it.
        let of = |a: &[f64], b: &[f64]| limit.kernel(a, b, &Request::default()).expect("in range").ntk[0];
        let (own, other, between) = (of(&x, &x), of(&y, &y), of(&x, &y));
        near(between / (own.sqrt() * other.sqrt()), theta, 1e-11, &what);

        // `theory`: the network is a member of its family.
        let family = Family::of(&network).expect("has a limit").expect("hidden layers");
        let sweep = family.sweep(&[std::f64::consts::FRAC_PI_2], 1).expect("as the network").expect("several values");
        let at = sweep.repeats.iter().position(|&k| k == family.repeats()).expect("the network itself");
        near(sweep.relations[0][at].scaled(), theta, 1e-9, &what);
    }
    assert!(blocks > 40 && chaotic > 20 && images > 40, "{blocks} blocks, {chaotic} in chaos, {images} of images");
}

fn relu_tower(layers: usize, parametrization: Parametrization, gain: f64) -> Architecture {
    let relu = Layer::Activation(Activation { gain, ..Activation::raw(Function::Relu) });
    let mut list = vec![Layer::Dense(8.into())];
    for _ in 1..layers {
        list.extend([relu.clone(), Layer::Dense(8.into())]);
    }
    Architecture::new(Shape::vector(8), &list, parametrization).expect("sound")
}

/// Homogeneous networks know no scale: weights of any variance have the kernel of He initialisation.
#[test]
fn scaled_kernels_of_homogeneous_networks_know_no_scale() {
    for layers in [60, 2000] {
        let at = |gain: f64| {
            let standing = Standing::of(&relu_tower(layers, ntk(0.0), gain), 64).expect("has a limit");
            [standing.scaled, standing.condition, standing.r.expect("has one")]
        };
        let he = at(2.0_f64.sqrt());
        for variance in [1e-3_f64, 1e6, 1e-300, 1e300] {
            for (got, want) in at(variance.sqrt()).into_iter().zip(he) {
                near(got / want, 1.0, 1e-9, &format!("{layers} layers of variance {variance}"));
            }
        }
        // Inputs of any size too.
        let limit = NetworkLimit::new(&relu_tower(layers, ntk(0.0), 0.01)).expect("has a limit");
        let [x, y] = correlated_inputs(Shape::vector(8), 0.3).expect("several values");
        let want = limit.relation(&x, &y).expect("a number").scaled();
        for [a, b] in [[1e-200, 1e-200], [1e200, 1e200], [1e-150, 1e150]] {
            let by = |v: &[f64], s: f64| v.iter().map(|v| s * v).collect::<Vec<_>>();
            near(limit.relation(&by(&x, a), &by(&y, b)).expect("a number").scaled(), want, 1e-9, "sizes");
        }
    }
    near(Standing::of(&relu_tower(61, ntk(0.0), 0.001_f64.sqrt()), 64).expect("a limit").scaled, 0.282_499, 5e-7, "60");
}

/// In the standard parametrization the same holds of weights alone; each layer counts by its width.
#[test]
fn standard_networks_of_any_variance() {
    let standard = |variance| Parametrization::Standard(Standard { init: Init::Variance(variance), bias_std: 0.0 });
    let of = |variance: f64| {
        let limit =
            NetworkLimit::new(&relu_tower(61, standard(variance), 1.0)).expect("has a limit").with_scaled_parameters();
        limit.relation_at(0.0).expect("a number").expect("several values").scaled()
    };
    for variance in [2.0, 1e-3, 1e6] {
        near(of(variance), 0.282_499, 5e-7, "scaled as in the ntk parametrization");
    }
    // With biases of derivative 1, which a network of tiny weights is left with, ϑ tends to 1: no NaN, no 0/0.
    let tiny = Standing::of(&relu_tower(2000, standard(1e-3), 1.0), 64).expect("has a limit");
    assert!(tiny.scaled > 0.999 && tiny.scaled <= 1.0, "{tiny:?}");
}

/// Behind variances that f64 does not hold, a nonlinearity is its tangent at 0: tanh that of the identity, softplus a
/// constant and half of it.
#[test]
fn nonlinearities_of_vanishing_variances_are_their_tangents() {
    let net = |function, layers: usize| {
        let mut list: Vec<Layer> = relu_tower(layers, ntk(0.0), 0.01).nodes.iter().map(|n| n.layer.clone()).collect();
        list.extend([Layer::Activation(Activation::raw(function)), Layer::Dense(8.into())]);
        Architecture::new(Shape::vector(8), &list, ntk(0.0)).expect("sound")
    };
    for layers in [10, 50, 400] {
        let scaled = |function| Standing::of(&net(function, layers), 64).expect("has a limit").scaled;
        near(scaled(Function::Tanh), scaled(Function::Identity), 1e-12, "tanh");
        near(scaled(Function::Sin), scaled(Function::Identity), 1e-12, "sin");
        near(scaled(Function::Softplus), 1.0, 1e-12, "softplus");
    }
}

/// dense, raw ReLU, then three times (dense, normalized ReLU), dense under β = 0.1: later nonlinearities count.
#[test]
fn later_nonlinearities_count() {
    let wide = || Layer::Dense(8.into());
    let relu = |scaling| Layer::Activation(Activation::raw(Function::Relu).with_scaling(scaling));
    let mut layers = vec![wide(), relu(Scaling::Raw)];
    for _ in 0..3 {
        layers.extend([wide(), relu(Scaling::Normalized)]);
    }
    layers.push(Layer::Dense(1.into()));
    let network = Architecture::new(Shape::vector(6), &layers, ntk(0.1)).expect("sound");
    let standing = Standing::of(&network, 64).expect("has a limit");
    near(standing.scaled, 0.109_009, 5e-7, "scaled");
    assert_eq!(standing.regime(), Some(Regime::Chaos));
}

/// A residual tower in chaos is told from one in order, and a goal on r sees its blocks.
#[test]
fn goals_see_residual_blocks() {
    let sigma = Layer::Activation(Activation::raw(Function::Relu).with_scaling(Scaling::Standardized));
    let layers = vec![sigma, Layer::Dense(8.into())];
    let block = Layer::Residual(Residual { layers, shortcut: Vec::new(), scale: FRAC_1_SQRT_2 });
    let list = [vec![Layer::Dense(8.into())], vec![block; 5], vec![Layer::Dense(1.into())]].concat();
    let network = Architecture::new(Shape::vector(6), &list, ntk(0.1)).expect("sound");
    let most = (0.5 * (1.0 + 0.99 * std::f64::consts::PI / (std::f64::consts::PI - 1.0))).powf(5.0 / 6.0)
        * 0.99_f64.powf(1.0 / 6.0);
    for wanted in [1.05, most] {
        let tuned = fintan_theory::tune(&network, &TuneGoal::R(wanted), Knob::Mu).unwrap_or_else(|e| panic!("{e}"));
        near(mean_r(&regimes(&tuned.network)).expect("has one"), wanted, 1e-6, "r");
    }
    let chaos = TuneGoal::Regime { regime: Regime::Chaos, margin: 0.5 };
    let tuned = fintan_theory::tune(&network, &chaos, Knob::Mu).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(Standing::of(&tuned.network, 64).expect("a limit").regime(), Some(Regime::Chaos));
}
