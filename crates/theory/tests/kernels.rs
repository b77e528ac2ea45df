//! Kernels of dense and convolutional nets.

use fintan_config::{Activation, Architecture, Empty, Function, Layer, LayerNorm, NormAxes, Residual, Scaling, Shape};
use fintan_theory::{LimitError, NetworkLimit, PositionKernel, Request};
use serde_json::Value;

use crate::support::{
    activation, deconv, dense, function, generator, golden, graph, near, normalized_relu, ntk, number, numbers, pair,
    standardized_relu,
};

fn scaling(case: &Value) -> Scaling {
    serde_json::from_value(case["scaling"].clone()).expect("a known scaling")
}

fn between(architecture: &Architecture, x: &[f64], y: &[f64]) -> PositionKernel {
    NetworkLimit::new(architecture).expect("has a limit").kernel(x, y, &Request::default()).expect("fits")
}

#[test]
fn dense_nets_match_high_precision() {
    for case in golden()["dense"].as_array().expect("a list") {
        let sigma = activation(function(case["function"].as_str().expect("a name")), scaling(case));
        let layers = case["layers"].as_u64().expect("a count") as usize;
        let net = dense(sigma, layers, ntk(number(case, "beta")), 2);
        let [x, y] = pair(number(case, "c"));
        let (cross, own) = (between(&net, &x, &y), between(&net, &x, &x));
        let what = format!("{} {} beta {} c {} L {layers}", case["function"], case["scaling"], case["beta"], case["c"]);
        // The inputs themselves are rounded: 1 - c = 1e-6 is given to 1e-10.
        let size = number(case, "own_ntk");
        near(cross.covariance[0], number(case, "covariance"), 1e-10, &what);
        near(cross.ntk[0], number(case, "ntk"), 1e-9 * size, &what);
        near(own.ntk[0], size, 1e-12 * size, &what);
    }
}

/// Reference values computed once with another program; of tanh, the diagonals at 25 digits.
#[test]
fn reference_values_of_dense_kernels() {
    let cases = [
        (standardized_relu(), 0.0, 0.0, [std::f64::consts::FRAC_1_PI, 0.685_708_636_3, 1.060_388_106_8], 4.0),
        (standardized_relu(), 0.0, 0.5, [0.942_331_114_4, 1.351_479_561_1, 1.737_844_679_2], 4.0),
        (standardized_relu(), 0.1, 0.5, [0.950_432_688_0, 1.361_450_905_4, 1.748_677_461_4], 3.940_399),
        (standardized_relu(), 0.1, -0.5, [-0.039_785_624_9, 0.367_105_821_0, 0.769_289_275_8], 3.940_399),
        (standardized_relu(), 0.5, 0.5, [1.106_580_157_8, 1.501_230_459_6, 1.832_296_729_0], 2.734_375),
        (normalized_relu(), 0.0, 0.5, [0.915_403_077_7, 1.215_627_087_6, 1.389_118_862_2], 7.775_603_095_6),
        (normalized_relu(), 0.1, 0.5, [0.927_287_617_9, 1.239_419_323_0, 1.431_192_326_8], 7.624_352_098_8),
        (normalized_relu(), 0.5, 0.5, [1.156_346_931_8, 1.626_979_111_7, 2.056_027_772_2], 4.642_411_638_6),
        (
            activation(Function::Erf, Scaling::Standardized),
            0.1,
            0.5,
            [0.960_908_043_0, 1.364_369_513_5, 1.714_419_540_2],
            5.472_613_704_3,
        ),
        (
            activation(Function::Tanh, Scaling::Standardized),
            0.1,
            0.5,
            [0.970_996_493_0, 1.395_915_798_5, 1.778_872_317_9],
            5.111_014_394_8,
        ),
        (
            activation(Function::Tanh, Scaling::Standardized),
            0.5,
            0.5,
            [1.168_163_364_9, 1.651_194_123_6, 2.089_311_600_7],
            3.352_969_312_5,
        ),
    ];
    for (sigma, beta, c, values, own) in cases {
        let [x, y] = pair(c);
        for (layers, want) in (2..).zip(values) {
            let net = dense(sigma, layers, ntk(beta), 2);
            near(between(&net, &x, &y).ntk[0], want, 1e-9, &format!("{sigma:?} beta {beta} c {c} L {layers}"));
        }
        near(between(&dense(sigma, 4, ntk(beta), 2), &x, &x).ntk[0], own, 1e-9, &format!("{sigma:?} beta {beta} own"));
    }
}

#[test]
fn the_diagonal_on_the_sphere_is_a_geometric_series() {
    for sigma in [standardized_relu(), normalized_relu(), activation(Function::Tanh, Scaling::Standardized)] {
        for beta in [0.0, 0.1, 0.5] {
            let [x, _] = pair(0.0);
            for layers in [1, 3, 7] {
                let r = sigma.characteristic_value(beta);
                let want: f64 = (0..layers).map(|k| r.powi(k)).sum();
                let own = between(&dense(sigma, layers as usize, ntk(beta), 2), &x, &x);
                near(own.ntk[0], want, 1e-11 * want, &format!("{sigma:?} {beta} {layers}"));
            }
        }
    }
}

fn small_generator(case: &Value) -> Architecture {
    let sigma = Layer::Activation(activation(function(case["function"].as_str().expect("a name")), scaling(case)));
    let layers = [
        Layer::Deconv(deconv(3, 1, 0)),
        sigma.clone(),
        Layer::Deconv(deconv(4, 2, 1)),
        sigma.clone(),
        Layer::Deconv(deconv(5, 3, 1)),
        sigma,
        Layer::Conv(deconv(3, 2, 1)),
    ];
    let parametrization = if case["graph"] == true { graph(0.3) } else { ntk(0.3) };
    Architecture::new(Shape::vector(2), &layers, parametrization).expect("sound")
}

/// Between all positions of two inputs, borders, overlapping windows and strides that do not divide kernels included.
#[test]
fn generators_match_every_tap_written_out() {
    for case in golden()["images"].as_array().expect("a list") {
        let net = small_generator(case);
        let limit = NetworkLimit::new(&net).expect("has a limit");
        // x·x / 2 = 1.2, x·y / 2 = 0.5, y·y / 2 = 0.8
        let (x, first) = (vec![2.4_f64.sqrt(), 0.0], 1.0 / 2.4_f64.sqrt());
        let y = vec![first, (1.6 - first * first).sqrt()];
        let request = Request { all_positions: true, parts: true, ..Request::default() };
        for (key, other) in [("xx", &x), ("xy", &y)] {
            let found = limit.kernel(&x, other, &request).expect("fits");
            let rows = [0, 4, 40, 80].into_iter().flat_map(|p| (0..81).map(move |q| p * 81 + q));
            let wanted = numbers(&case["covariance"][key]).into_iter().zip(numbers(&case["ntk"][key]));
            for (i, (covariance, ntk)) in rows.zip(wanted) {
                let what = format!("{} graph {} {key} entry {i}", case["function"], case["graph"]);
                near(found.covariance[i], covariance, 1e-12, &what);
                near(found.ntk[i], ntk, 1e-12, &what);
                near(found.parts.iter().map(|(_, part)| part[i]).sum(), ntk, 1e-12, &what);
            }
            let same = limit.kernel(&x, other, &Request::default()).expect("fits");
            for p in 0..81 {
                near(same.ntk[p], found.ntk[p * 82], 1e-13, "positions with themselves");
            }
        }
    }
}

#[test]
fn rates_multiply_parts_and_exchange_transposes() {
    let case = &golden()["images"][1];
    let limit = NetworkLimit::new(&small_generator(case)).expect("has a limit");
    let (x, y) = (vec![0.3, -1.1], vec![0.9, 0.2]);
    let rates: Vec<(f64, f64)> = vec![(1.0, 0.5), (0.3, 2.0), (0.0, 1.0), (0.7, 0.1)];
    let request = Request { all_positions: true, parts: true, rates: None };
    let plain = limit.kernel(&x, &y, &request).expect("fits");
    let rated = limit.kernel(&x, &y, &Request { rates: Some(rates.clone()), ..request.clone() }).expect("fits");
    let total =
        limit.kernel(&x, &y, &Request { parts: false, rates: Some(rates.clone()), all_positions: true }).expect("fits");
    for i in 0..plain.ntk.len() {
        let by_parts: f64 = (plain.parts.iter().enumerate())
            .map(|(k, (_, part))| part[i] * if k % 2 == 0 { rates[k / 2].0 } else { rates[k / 2].1 })
            .sum();
        near(rated.ntk[i], by_parts, 1e-13, "from parts");
        near(total.ntk[i], by_parts, 1e-13, "from the sum");
    }
    let turned = limit.kernel(&y, &x, &request).expect("fits").transposed();
    for (a, b) in plain.ntk.iter().zip(&turned.ntk) {
        near(*a, *b, 1e-13, "exchanged");
    }
    let gram = limit.gram(&[&x, &y], None, &request).expect("fits");
    for (i, (a, b)) in [(&x, &x), (&x, &y), (&y, &x), (&y, &y)].into_iter().enumerate() {
        assert_eq!(gram[i].ntk.len(), 81 * 81);
        let direct = limit.kernel(a, b, &request).expect("fits");
        assert!(direct.ntk.iter().zip(&gram[i].ntk).all(|(a, b)| (a - b).abs() < 1e-13));
    }
}

/// A head that flattens sums over positions: the kernel of a convolution with as large a window.
#[test]
fn flattening_is_a_convolution_over_everything_and_pooling_a_mean_over_pairs() {
    let image = Shape::image(2, 5, 4);
    let conv = Layer::Conv(fintan_config::Convolution { out: 8, padding: 1.into(), ..deconv(3, 1, 1) });
    let sigma = Layer::Activation(normalized_relu());
    let x: Vec<f64> = (0..40).map(|i| (f64::from(i) * 0.7).sin()).collect();
    let y: Vec<f64> = (0..40).map(|i| (f64::from(i) * 1.3).cos()).collect();
    let net = |tail: &[Layer]| {
        let layers: Vec<Layer> = [&[conv.clone(), sigma.clone(), conv.clone(), sigma.clone()], tail].concat();
        Architecture::new(image, &layers, ntk(0.2)).expect("sound")
    };
    let flat = between(&net(&[Layer::Flatten(Empty {}), Layer::Dense(1.into())]), &x, &y);
    let whole =
        fintan_config::Convolution { kernel: fintan_config::Pair([5, 4]), padding: 0.into(), ..deconv(5, 1, 0) };
    let window = between(&net(&[Layer::Conv(whole)]), &x, &y);
    near(flat.ntk[0], window.ntk[0], 1e-13, "flattened");

    // By hand from the kernel before the head: no head weights, then Θ is the mean of all pairs' E[σ'σ'] Θ.
    let pooled = NetworkLimit::new(&net(&[Layer::GlobalAveragePool(Empty {}), Layer::Dense(1.into())])).expect("limit");
    let request = Request { parts: true, ..Request::default() };
    let found = pooled.kernel(&x, &y, &request).expect("fits");
    let body = NetworkLimit::new(&net(&[])).expect("limit");
    let all = Request { all_positions: true, ..Request::default() };
    let [xx, xy, yy] = [(&x, &x), (&x, &y), (&y, &y)].map(|(a, b)| body.kernel(a, b, &all).expect("fits"));
    let dual = fintan_theory::Dual::new(normalized_relu());
    let (mut covariance, mut tangent) = (0.0, 0.0);
    for p in 0..20 {
        for q in 0..20 {
            let pair = fintan_theory::GaussianPair::of_covariance(
                xx.covariance[p * 21],
                yy.covariance[q * 21],
                xy.covariance[p * 20 + q],
            );
            let duals = dual.pair(pair).expect("closed form");
            covariance += duals.value / 400.0;
            tangent += duals.slope * xy.ntk[p * 20 + q] / 400.0;
        }
    }
    near(found.covariance[0], 0.04 + 0.96 * covariance, 1e-13, "pooled covariance");
    near(found.ntk[0], 0.04 + 0.96 * (covariance + tangent), 1e-13, "pooled kernel");
}

/// On the sphere, a layer norm after the nonlinearity is its centring and standardization; before it, nothing.
#[test]
fn layer_norms_are_constants_at_infinite_width() {
    let norm = |affine| Layer::LayerNorm(LayerNorm { over: NormAxes::Features, affine, eps: 1e-300 });
    let relu = Layer::Activation(standardized_relu());
    let linear = || Layer::Dense(8.into());
    let net = |layers: &[Layer]| Architecture::new(Shape::vector(2), layers, ntk(0.3)).expect("sound");
    let [x, y] = pair(0.3);
    let after = between(&net(&[linear(), relu.clone(), norm(false), linear()]), &x, &y);
    let centred = between(&dense(normalized_relu(), 2, ntk(0.3), 2), &x, &y);
    near(after.ntk[0], centred.ntk[0], 1e-13, "after");
    let before = between(&net(&[linear(), norm(false), relu.clone(), linear()]), &x, &y);
    let plain = between(&dense(standardized_relu(), 2, ntk(0.3), 2), &x, &y);
    near(before.ntk[0], plain.ntk[0], 1e-13, "before");
    // It takes the size of the input away.
    let large: Vec<f64> = x.iter().map(|v| 7.0 * v).collect();
    let layers = [linear(), norm(false), relu, linear()];
    let no_bias = Architecture::new(Shape::vector(2), &layers, ntk(0.0)).expect("sound");
    let sizes = [between(&no_bias, &x, &y), between(&no_bias, &large, &y)];
    near(sizes[0].covariance[0], sizes[1].covariance[0], 1e-13, "size");
    // Learnable scales and shifts add Σ and 1 at their place.
    let with = between(&net(&[linear(), norm(true)]), &x, &y);
    let without = between(&net(&[linear(), norm(false)]), &x, &y);
    near(with.ntk[0], without.ntk[0] + with.covariance[0] + 1.0, 1e-13, "affine");
}

/// `y = s (branch + x)` with an independent branch adds kernels.
#[test]
fn residual_blocks_add_kernels_of_independent_branches() {
    let linear = || Layer::Dense(8.into());
    let sigma = || Layer::Activation(normalized_relu());
    let block = |shortcut| Layer::Residual(Residual { layers: vec![sigma(), linear()], shortcut, scale: 0.5 });
    let net = |layers: &[Layer]| Architecture::new(Shape::vector(2), layers, ntk(0.3)).expect("sound");
    let [x, y] = pair(0.3);
    let found = between(&net(&[linear(), block(vec![])]), &x, &y);
    let (one, two) = (dense(normalized_relu(), 1, ntk(0.3), 2), dense(normalized_relu(), 2, ntk(0.3), 2));
    let want = 0.25 * (between(&one, &x, &y).ntk[0] + between(&two, &x, &y).ntk[0]);
    near(found.ntk[0], want, 1e-13, "identity");
    let around = between(&net(&[linear(), block(vec![linear()])]), &x, &y);
    let twice = between(&net(&[linear(), linear()]), &x, &y);
    near(around.ntk[0], 0.25 * (twice.ntk[0] + between(&two, &x, &y).ntk[0]), 1e-13, "projection");
    let dependent = net(&[linear(), Layer::Residual(Residual { layers: vec![sigma()], shortcut: vec![], scale: 1.0 })]);
    assert!(matches!(
        NetworkLimit::new(&dependent).expect("compiles").kernel(&x, &y, &Request::default()),
        Err(LimitError::Layer { layer: "residual", .. })
    ));
}

#[test]
fn what_has_no_limit_is_refused_by_name() {
    let linear = || Layer::Dense(8.into());
    let sigma = || Layer::Activation(normalized_relu());
    let batch = Layer::BatchNorm(fintan_config::BatchNorm { affine: false, eps: 1e-5, momentum: 0.1 });
    let net = |layers: &[Layer]| Architecture::new(Shape::vector(2), layers, ntk(0.3)).expect("sound");
    let error = NetworkLimit::new(&net(&[linear(), batch, sigma(), linear()])).expect_err("couples");
    assert!(error.to_string().contains("batch_norm"), "{error}");
    let [x, y] = pair(0.3);
    let twice = NetworkLimit::new(&net(&[linear(), sigma(), sigma(), linear()])).expect("compiles");
    assert!(twice.kernel(&x, &y, &Request::default()).is_err());
    let good = NetworkLimit::new(&net(&[linear()])).expect("compiles");
    assert_eq!(good.kernel(&x, &y[..1], &Request::default()), Err(LimitError::Input { found: 1, wanted: 2 }));
}

/// Standard parametrization: the same covariances, and a kernel that grows with the width.
#[test]
fn standard_parametrization_counts_channels() {
    let he = fintan_config::Parametrization::Standard(fintan_config::Standard::default());
    let [x, y] = pair(0.3);
    let relu = Activation::raw(Function::Relu);
    let found = between(&dense(relu, 2, he, 2), &x, &y);
    // W1: 8 σσ with variance 2 c; b1: 1; W0: 2 · 2 c · d, b0: 2 d.
    let dual =
        fintan_theory::Dual::new(relu).pair(fintan_theory::GaussianPair::of_covariance(2.0, 2.0, 0.6)).expect("closed");
    let want = 8.0 * dual.value + 1.0 + 2.0 * dual.slope * (2.0 * 0.3 + 1.0);
    near(found.ntk[0], want, 1e-12, "standard");
    near(found.covariance[0], 2.0 * dual.value, 1e-12, "covariance");
}

#[test]
fn a_reshaped_vector_has_independent_positions() {
    let layers = [
        Layer::Dense((8 * 16).into()),
        Layer::Reshape(Shape::image(8, 4, 4)),
        Layer::Activation(standardized_relu()),
        Layer::Deconv(deconv(4, 2, 1)),
    ];
    let net = Architecture::new(Shape::vector(1), &layers, graph(0.1)).expect("sound");
    let all = Request { all_positions: true, ..Request::default() };
    let found = NetworkLimit::new(&net).expect("limit").kernel(&[1.0], &[1.0], &all).expect("fits");
    // As a deconv from 1x1, but for the bias that positions of the first map do not share.
    let shared = NetworkLimit::new(&generator(standardized_relu(), 1, graph(0.1))).expect("limit");
    let other = shared.kernel(&[1.0], &[1.0], &all).expect("fits");
    near(found.ntk[0], other.ntk[0], 1e-13, "diagonal");
    assert!(found.ntk[2] < other.ntk[2] - 1e-3, "{} {}", found.ntk[2], other.ntk[2]);
}

/// From some hundred pairs on, smooth nonlinearities without a closed form are evaluated by series.
#[test]
fn series_of_many_pairs_are_the_integrals_of_each() {
    let points: Vec<Vec<f64>> = (0..20)
        .map(|i| {
            let angle = f64::from(i) * 0.15;
            vec![1.4 * angle.cos(), (1.4 + 0.01 * f64::from(i)) * angle.sin()]
        })
        .chain([vec![1.4, 1e-9]])
        .collect();
    let rows: Vec<&[f64]> = points.iter().map(Vec::as_slice).collect();
    for sigma in [
        activation(Function::Tanh, Scaling::Standardized),
        activation(Function::Gelu, Scaling::Normalized),
        Activation { gain: 1.5, ..Activation::raw(Function::Softplus) },
        activation(Function::Elu, Scaling::Normalized),
    ] {
        let limit = NetworkLimit::new(&dense(sigma, 3, ntk(0.1), 2)).expect("limit");
        let all = limit.gram(&rows, None, &Request::default()).expect("fits");
        for (i, j) in [(0, 0), (0, 20), (3, 17), (19, 2), (5, 6)] {
            let one = limit.kernel(rows[i], rows[j], &Request::default()).expect("fits");
            let many = &all[i * rows.len() + j];
            near(many.ntk[0], one.ntk[0], 1e-10, &format!("{sigma:?} {i} {j}"));
            near(many.covariance[0], one.covariance[0], 1e-11, &format!("{sigma:?} {i} {j}"));
        }
    }
}

/// What is flattened keeps its positions through residual blocks, pools and norms until a dense layer sums over them.
#[test]
fn flattening_commutes_with_what_keeps_positions() {
    let conv = || Layer::Conv(fintan_config::Convolution { out: 8, padding: 1.into(), ..deconv(3, 1, 1) });
    let flat = || Layer::Flatten(Empty {});
    let sigma = || Layer::Activation(standardized_relu());
    let residual = |layers, shortcut| Layer::Residual(Residual { layers, shortcut, scale: 0.7 });
    let norm = |over| Layer::LayerNorm(LayerNorm { over, affine: true, eps: 1e-5 });
    let head = || Layer::Dense(1.into());
    let net = |layers: &[Layer]| Architecture::new(Shape::image(2, 3, 4), layers, ntk(0.2)).expect("sound");
    let x: Vec<f64> = (0..24).map(|i| (f64::from(i) * 0.7).sin()).collect();
    let y: Vec<f64> = (0..24).map(|i| (f64::from(i) * 1.3).cos()).collect();
    for (found, want, what) in [
        (
            vec![conv(), residual(vec![sigma(), conv(), flat()], vec![flat()]), head()],
            vec![conv(), residual(vec![sigma(), conv()], vec![]), flat(), head()],
            "residual",
        ),
        (
            vec![conv(), flat(), Layer::GlobalAveragePool(Empty {}), head()],
            vec![conv(), flat(), head()],
            "the mean over the one position of a vector",
        ),
        (
            vec![conv(), sigma(), flat(), norm(NormAxes::Features), head()],
            vec![conv(), sigma(), norm(NormAxes::Chw), flat(), head()],
            "norm",
        ),
    ] {
        let (found, want) = (between(&net(&found), &x, &y), between(&net(&want), &x, &y));
        near(found.covariance[0], want.covariance[0], 1e-13, what);
        near(found.ntk[0], want.ntk[0], 1e-13, what);
    }
    for windows in [Layer::Conv(deconv(1, 1, 0)), Layer::Deconv(deconv(2, 1, 0))] {
        let error =
            NetworkLimit::new(&net(&[conv(), flat(), windows])).expect_err("weights of neurons, not of positions");
        assert!(error.to_string().contains("a flattened image enters it"), "{error}");
    }
}

/// One side of a residual may know more pairs of positions than are needed behind it.
#[test]
fn residual_blocks_may_hold_more_pairs_than_they_need() {
    let windows = |out| fintan_config::Convolution { out, padding: 1.into(), ..deconv(3, 1, 1) };
    let image = Shape::image(2, 3, 3);
    let (sigma, mean) = (|| Layer::Activation(standardized_relu()), || Layer::GlobalAveragePool(Empty {}));
    let residual = |layers| Layer::Residual(Residual { layers, shortcut: vec![], scale: 0.7 });
    let x: Vec<f64> = (0..18).map(|i| (f64::from(i) * 0.7).sin()).collect();
    let y: Vec<f64> = (0..18).map(|i| (f64::from(i) * 1.3).cos()).collect();
    let net = |layers: &[Layer]| {
        NetworkLimit::new(&Architecture::new(image, layers, ntk(0.1)).expect("sound")).expect("limit")
    };

    // A branch that pools needs all pairs; its shortcut keeps them.
    let gate = [mean(), Layer::Dense(18.into()), Layer::Reshape(image)];
    let gated = net(&[Layer::Conv(windows(2)), sigma(), residual(gate.to_vec())]);
    let every = gated.kernel(&x, &y, &Request { all_positions: true, ..Request::default() }).expect("fits");
    let each = gated.kernel(&x, &y, &Request::default()).expect("fits");
    assert_eq!((each.all_positions, each.ntk.len(), every.ntk.len()), (false, 9, 81));
    for (values, all) in [(&each.ntk, &every.ntk), (&each.covariance, &every.covariance)] {
        for (p, value) in values.iter().enumerate() {
            near(*value, all[p * 10], 1e-14, "diagonal");
        }
    }

    // The second moments behind a pool, where a residual far in front needs single positions only.
    let body = [
        residual(vec![Layer::Conv(windows(2))]),
        Layer::Flatten(Empty {}),
        Layer::Dense(18.into()),
        Layer::Reshape(image),
        Layer::Conv(windows(8)),
    ];
    let tail = [mean(), sigma(), Layer::Dense(1.into())];
    let found = net(&[&body[..], &tail].concat()).kernel(&x, &x, &Request::default()).expect("fits");
    let all = net(&body).kernel(&x, &x, &Request { all_positions: true, ..Request::default() }).expect("fits");
    let pooled = all.covariance.iter().sum::<f64>() / 81.0;
    let second = fintan_theory::Dual::new(standardized_relu()).moments(pooled).second;
    near(found.covariance[0], 0.01 + 0.99 * second, 1e-13, "pooled");
}

/// Behind windows of any kind, by hand: means over the pairs of positions in two windows.
#[test]
fn average_pools_are_means_over_the_pairs_of_their_windows() {
    let image = Shape::image(2, 4, 3);
    let conv = Layer::Conv(fintan_config::Convolution { out: 8, padding: 1.into(), ..deconv(3, 1, 1) });
    let sigma = Layer::Activation(normalized_relu());
    let x: Vec<f64> = (0..24).map(|i| (f64::from(i) * 0.7).sin()).collect();
    let y: Vec<f64> = (0..24).map(|i| (f64::from(i) * 1.3).cos()).collect();
    let net = |tail: &[Layer]| {
        let layers: Vec<Layer> = [&[conv.clone(), sigma.clone(), conv.clone()], tail].concat();
        NetworkLimit::new(&Architecture::new(image, &layers, ntk(0.2)).expect("sound")).expect("limit")
    };
    let all = Request { all_positions: true, ..Request::default() };
    let [xx, xy, yy] = [(&x, &x), (&x, &y), (&y, &y)].map(|(a, b)| net(&[]).kernel(a, b, &all).expect("fits"));
    for ((window, stride, padding), count_padding) in
        [(([2, 2], [2, 1], [0, 0]), true), (([3, 2], [1, 2], [2, 1]), true), (([3, 2], [1, 2], [2, 1]), false)]
    {
        let pool = Layer::AvgPool(fintan_config::AvgPool {
            window: fintan_config::Pair(window),
            stride: Some(fintan_config::Pair(stride)),
            padding: fintan_config::Pair(padding),
            count_padding,
        });
        // (positions, divisor) of each window, row by row.
        let mut windows = Vec::new();
        for top in (0..=4 + 2 * padding[0] - window[0]).step_by(stride[0]) {
            for left in (0..=3 + 2 * padding[1] - window[1]).step_by(stride[1]) {
                let mut inside = Vec::new();
                for row in top..top + window[0] {
                    for column in left..left + window[1] {
                        if (padding[0]..padding[0] + 4).contains(&row) && (padding[1]..padding[1] + 3).contains(&column)
                        {
                            inside.push((row - padding[0]) * 3 + column - padding[1]);
                        }
                    }
                }
                let divisor = if count_padding { window[0] * window[1] } else { inside.len() };
                windows.push((inside, divisor as f64));
            }
        }
        let mean = |of: &[f64], p: usize| {
            let (inside, divisor) = &windows[p];
            inside.iter().flat_map(|a| inside.iter().map(move |b| of[a * 12 + b])).sum::<f64>() / (divisor * divisor)
        };
        let dual = fintan_theory::Dual::new(normalized_relu());
        let (mut covariance, mut tangent) = (0.0, 0.0);
        let count = windows.len();
        for p in 0..count {
            let pair = fintan_theory::GaussianPair::of_covariance(
                mean(&xx.covariance, p),
                mean(&yy.covariance, p),
                mean(&xy.covariance, p),
            );
            let duals = dual.pair(pair).expect("closed form");
            covariance += duals.value / count as f64;
            tangent += duals.slope * mean(&xy.ntk, p) / count as f64;
        }
        let found = net(&[pool, sigma.clone(), Layer::Flatten(Empty {}), Layer::Dense(1.into())]);
        let found = found.kernel(&x, &y, &Request::default()).expect("fits");
        near(found.covariance[0], 0.04 + 0.96 * covariance, 1e-13, "covariance");
        near(found.ntk[0], found.covariance[0] + 0.96 * tangent, 1e-13, "tangent kernel");
    }
    // A window as large as the map is the mean over everything.
    let everything = Layer::AvgPool(fintan_config::AvgPool {
        window: fintan_config::Pair([4, 3]),
        stride: None,
        padding: 0.into(),
        count_padding: true,
    });
    let head = [sigma.clone(), Layer::Dense(1.into())];
    let [one, other] = [everything, Layer::GlobalAveragePool(Empty {})]
        .map(|pool| net(&[&[pool], &head[..]].concat()).kernel(&x, &y, &Request::default()).expect("fits"));
    assert_eq!((one.ntk, one.covariance), (other.ntk, other.covariance));
}
