//! Position kernels of generators: valuations, checkerboards, borders, layer-dependent rates.

use fintan_config::{Activation, Architecture, Function, Layer, LayerRates, Scaling, Shape};
use fintan_theory::{NetworkLimit, Request, Ultrametric};

use crate::support::{activation, deconv, generator, graph, near, normalized_relu, ntk, standardized_relu};

fn tanh() -> Activation {
    activation(Function::Tanh, Scaling::Standardized)
}

/// 64x64 with one latent of size 1.
fn large(sigma: Activation, beta: f64) -> Ultrametric {
    Ultrametric::of(&generator(sigma, 4, graph(beta)), [1.0; 3]).expect("ultrametric")
}

/// ϑ by class, λ_k / λ_min and trace shares of the 64x64 generator: values published with the derivation, to the digits given.
#[test]
fn blocks_of_the_large_generator() {
    let rows = [
        (
            standardized_relu(),
            0.1,
            [0.0020, 0.0684, 0.1443, 0.2214, 0.2973],
            Some([146.0, 134.0, 37.4, 9.75, 2.73, 1.0]),
            [0.025, 0.069, 0.077, 0.080, 0.090, 0.659],
        ),
        (
            standardized_relu(),
            0.5,
            [0.0819, 0.2291, 0.3672, 0.4886, 0.5939],
            Some([1309.0, 482.0, 111.0, 24.3, 5.15, 1.0]),
            [0.130, 0.144, 0.133, 0.116, 0.098, 0.381],
        ),
        (
            normalized_relu(),
            0.1,
            [0.0008, 0.0020, 0.0034, 0.0047, 0.0059],
            Some([6.1, 2.69, 1.45, 1.10, 1.02, 1.0]),
            [0.0015, 0.0020, 0.0042, 0.013, 0.048, 0.932],
        ),
        (
            normalized_relu(),
            0.5,
            [0.0409, 0.0914, 0.1448, 0.1991, 0.2532],
            None,
            [0.058, 0.052, 0.055, 0.060, 0.076, 0.700],
        ),
        (
            tanh(),
            0.1,
            [0.0014, 0.0041, 0.0077, 0.0122, 0.0174],
            Some([11.1, 5.1, 2.3, 1.4, 1.1, 1.0]),
            [0.0027, 0.0037, 0.0067, 0.016, 0.050, 0.921],
        ),
    ];
    for (sigma, beta, scaled, ratios, shares) in rows {
        let kernel = large(sigma, beta);
        let what = format!("{sigma:?} beta {beta}");
        assert_eq!(kernel.sizes, [4096, 1024, 256, 64, 16, 1]);
        for (got, want) in kernel.scaled().iter().zip(scaled) {
            near(*got, want, 5.1e-5, &what);
        }
        let spectrum = kernel.spectrum();
        assert_eq!(spectrum.iter().map(|s| s.1).collect::<Vec<_>>(), [1, 3, 12, 48, 192, 3840]);
        for (got, want) in spectrum.iter().zip(ratios.into_iter().flatten()) {
            // Two or three digits are given.
            near(got.0 / spectrum[5].0, want, 0.0052 * want.max(10.0), &what);
        }
        for (got, want) in kernel.trace_shares().iter().zip(shares) {
            near(*got, want, 6e-4, &what);
        }
        near(kernel.trace_shares().iter().sum(), 1.0, 1e-12, &what);
        // λ_0 - λ_1 is the shared bias of the last layer alone.
        near(spectrum[0].0 - spectrum[1].0, 4096.0 * beta * beta, 1e-9, &what);
    }
}

/// The kernel over all pairs of positions has these values wherever no border is near, at any distance.
#[test]
fn interiors_of_full_kernels_are_ultrametric() {
    for sigma in [standardized_relu(), normalized_relu(), tanh()] {
        let net = generator(sigma, 2, graph(0.3));
        let limit = NetworkLimit::new(&net).expect("has a limit");
        assert_eq!(net.output(), Shape::image(8, 16, 16));
        let own = Ultrametric::of(&net, [1.0; 3]).expect("ultrametric");
        let all = Request { all_positions: true, ..Request::default() };
        let full = limit.kernel(&[1.0], &[1.0], &all).expect("fits");
        let centre = 7 * 16 + 7;
        for q in 0..256 {
            let (row, column) = (q / 16, q % 16);
            if !(3..13).contains(&row) || !(3..13).contains(&column) {
                continue;
            }
            let distance = |a: usize| a.abs_diff(7);
            let valuation = (distance(row) | distance(column)).trailing_zeros().min(3) as usize;
            let class = if q == centre { 3 } else { valuation.min(2) };
            near(full.ntk[centre * 256 + q], own.ntk[class], 1e-12, &format!("{sigma:?} {q}"));
            near(full.covariance[centre * 256 + q], own.covariance[class], 1e-12, &format!("{sigma:?} {q}"));
        }
    }
}

#[test]
fn values_of_the_small_one_dimensional_generator() {
    // 1 -> 4 -> 8 -> 16 in two dimensions has the interior values of one.
    for (sigma, beta, want) in [
        (standardized_relu(), 0.1, [0.01, 0.335_074_057_0, 0.707_234_701_5, 2.9701]),
        (standardized_relu(), 0.5, [0.25, 0.698_813_150_2, 1.120_210_490_9, 2.3125]),
        (normalized_relu(), 0.1, [0.01, 0.024_592_069_7, 0.040_673_643_5, 4.561_369_026_5]),
        (normalized_relu(), 0.5, [0.25, 0.558_176_297_9, 0.884_612_072_2, 3.310_661_339_3]),
    ] {
        let kernel = Ultrametric::of(&generator(sigma, 2, graph(beta)), [1.0; 3]).expect("ultrametric");
        for (got, want) in kernel.ntk.iter().zip(want) {
            near(*got, want, 1e-9, &format!("{sigma:?} {beta}"));
        }
    }
}

#[test]
fn valuation_bounds_and_centred_nets_without_bias() {
    for sigma in [tanh(), activation(Function::Erf, Scaling::Standardized), standardized_relu(), normalized_relu()] {
        for beta in [0.1, 0.3, 0.5] {
            let r = sigma.characteristic_value(beta);
            let scaled = large(sigma, beta).scaled();
            for (v, pair) in scaled[..5].windows(2).enumerate() {
                assert!(pair[0] < pair[1], "{sigma:?} {beta} {scaled:?}");
                let bound = (1.0 - r.powi(v as i32 + 1)) / (1.0 - r.powi(5));
                assert!(pair[0] <= bound + 1e-12, "{sigma:?} {beta} v {v}: {} above {bound}", pair[0]);
            }
        }
    }
    // A centred σ without biases has no kernel between different positions at all.
    let limit = NetworkLimit::new(&generator(normalized_relu(), 2, graph(0.0))).expect("limit");
    let all = Request { all_positions: true, ..Request::default() };
    let full = limit.kernel(&[1.0], &[1.0], &all).expect("fits");
    for (i, value) in full.ntk.iter().enumerate().filter(|(i, _)| i % 257 != 0) {
        near(*value, 0.0, 1e-15, &format!("entry {i}"));
    }
}

/// The graph-based parametrization has the variance and kernel of the interior at every position; the other loses a half at
/// each border and layer: v' = β² + (1 - β²) f v, f = 1/2 at an edge and 1/4 in a corner.
#[test]
fn borders() {
    for beta in [0.0_f64, 0.1, 0.5] {
        let after_four = |f: f64| (0..4).fold(1.0, |v, _| beta * beta + (1.0 - beta * beta) * f * v);
        let of = |parametrization| {
            let limit = NetworkLimit::new(&generator(standardized_relu(), 4, parametrization)).expect("limit");
            limit.kernel(&[1.0], &[1.0], &Request::default()).expect("fits")
        };
        let plain = of(ntk(beta));
        near(plain.covariance[32], after_four(0.5), 1e-12, "edge");
        near(plain.covariance[0], after_four(0.25), 1e-12, "corner");
        near(plain.covariance[32 * 65], 1.0, 1e-12, "middle");
        let level = of(graph(beta));
        let r = 1.0 - beta * beta;
        let diagonal: f64 = (0..5).map(|k| r.powi(k)).sum();
        for p in 0..4096 {
            near(level.covariance[p], 1.0, 1e-12, "graph variance");
            near(level.ntk[p], diagonal, 1e-11, "graph kernel");
        }
    }
}

/// Layer-dependent rates: λ_k / λ_min of the effective kernel, values published to two or three digits.
#[test]
fn layer_rates_flatten_the_spectrum() {
    let tables: [(Activation, f64, [(f64, [f64; 6]); 3]); 2] = [
        (
            standardized_relu(),
            0.1,
            [
                (0.5, [14.8, 14.3, 6.4, 2.9, 1.5, 1.0]),
                (0.75, [4.42, 4.35, 2.69, 1.75, 1.26, 1.0]),
                (1.0, [1.85, 1.84, 1.52, 1.29, 1.12, 1.0]),
            ],
        ),
        (
            standardized_relu(),
            0.5,
            [
                (0.5, [103.0, 60.0, 22.0, 7.6, 2.7, 1.0]),
                (0.75, [23.0, 16.0, 7.9, 3.8, 1.9, 1.0]),
                (1.0, [5.8, 4.9, 3.2, 2.1, 1.4, 1.0]),
            ],
        ),
    ];
    for (sigma, beta, rows) in tables {
        let net = generator(sigma, 4, graph(beta));
        let kernel = Ultrametric::of(&net, [1.0; 3]).expect("ultrametric");
        for (gamma, want) in rows {
            let rule = LayerRates::Exponents(fintan_config::Exponents { weights: gamma, biases: gamma });
            let rates: Vec<(f64, f64)> =
                net.nodes.iter().filter(|node| node.index.is_some()).map(|node| rule.factors(node)).collect();
            let spectrum = kernel.with_rates(&rates).spectrum();
            for (got, want) in spectrum.iter().zip(want) {
                let digits = if want < 10.0 && want != 1.0 { 0.051 } else { 0.51 };
                near(got.0 / spectrum[5].0, want, digits, &format!("gamma {gamma} {sigma:?} {beta}"));
            }
        }
    }
    // Late layers hold the top of the spectrum: parts of λ_0.
    let kernel = large(standardized_relu(), 0.1);
    let top = |name: &str| {
        let (_, part) = kernel.parts.iter().find(|(n, _)| n == name).expect("a part");
        kernel.part_spectrum(part)[0].0
    };
    for (name, want) in
        [("0.weight", 0.95), ("1.weight", 2.31), ("2.weight", 10.6), ("3.weight", 60.1), ("4.weight", 381.0)]
    {
        near(top(name), want, 0.0051 * want, name);
    }
    near(top("4.bias"), 41.0, 0.05, "4.bias");
}

#[test]
fn other_nets_are_refused() {
    let mut layers: Vec<fintan_config::Layer> =
        generator(tanh(), 2, graph(0.1)).nodes.iter().map(|node| node.layer.clone()).collect();
    layers.push(fintan_config::Layer::Conv(fintan_config::Convolution {
        padding: 1.into(),
        ..crate::support::deconv(3, 1, 1)
    }));
    let net = fintan_config::Architecture::new(Shape::vector(1), &layers, graph(0.1)).expect("sound");
    assert!(Ultrametric::of(&net, [1.0; 3]).is_err());
}

/// The closed form knows one variance and covariance of the data, not one for each of their positions.
#[test]
fn data_with_positions_are_refused_by_name() {
    let layer = || Layer::Deconv(deconv(4, 2, 1));
    let vector = (Shape::vector(8), vec![Layer::Reshape(Shape::image(2, 2, 2)), layer()]);
    for (shape, layers) in [(Shape::image(2, 2, 2), vec![layer()]), vector] {
        let net = Architecture::new(shape, &layers, graph(0.1)).expect("sound");
        let error = Ultrametric::of(&net, [1.0; 3]).expect_err("a position has covariances of its own");
        assert!(error.to_string().contains("starts from a vector"), "{error}");
    }
}
