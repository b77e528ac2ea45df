//! Depth: laws of order and chaos, fixed points, conditioning.

use fintan_config::{Activation, Function, Scaling};
use fintan_theory::{AtDepth, Dual, Law, MeanField, critical_weights, depth_sweep};

use crate::support::{activation, function, golden, near, normalized_relu, number, standardized_relu};

fn tanh() -> Activation {
    activation(Function::Tanh, Scaling::Standardized)
}

/// From c_0 = 0.
fn sweep(sigma: Activation, beta: f64, layers: usize) -> Vec<AtDepth> {
    let square = beta * beta;
    depth_sweep(&Dual::new(sigma), 1.0 - square, square, 1.0, layers).expect("smooth")
}

fn mean_field(sigma: Activation, beta: f64) -> MeanField {
    let square = beta * beta;
    MeanField::of(&Dual::new(sigma), 1.0 - square, square).expect("smooth").expect("has a fixed point")
}

#[test]
fn scaled_kernels_through_depth() {
    let rows: [(Activation, f64, f64, f64); 6] = [
        (standardized_relu(), 0.1, 0.3390, 0.3537),
        (standardized_relu(), 0.5, 0.9301, 0.99895),
        (normalized_relu(), 0.1, 3.8e-5, 0.0),
        (normalized_relu(), 0.5, 0.1060, 0.01086),
        (tanh(), 0.1, 0.00657, 1.2e-4),
        (tanh(), 0.5, 0.7584, 0.9815),
    ];
    for (sigma, beta, at_20, at_50) in rows {
        let found = sweep(sigma, beta, 50);
        near(found[19].scaled(), at_20, 6e-5, &format!("{sigma:?} {beta} L 20"));
        near(found[49].scaled(), at_50, 6e-5, &format!("{sigma:?} {beta} L 50"));
    }
}

/// He ReLU without biases: `(1 - Σ) L² → 9π²/2` and ϑ → 1/4, where 1 - c falls below rounding.
#[test]
fn the_edge_of_chaos_with_a_kink() {
    let found = sweep(standardized_relu(), 0.0, 100_000);
    near(found[99].scaled(), 0.27267, 6e-6, "L 100");
    near(found[999].scaled(), 0.25329, 6e-6, "L 1000");
    // One nonlinearity fewer than linear layers, at c_0 = 0.
    let at = |l: usize| found[l].one_minus_correlation * (l * l) as f64;
    near(at(10_000), 44.26, 0.01, "L 10^4");
    let limit = 4.5 * std::f64::consts::PI.powi(2);
    assert!((at(99_999) - limit).abs() < 0.03 && (at(99_999) - limit).abs() < (at(10_000) - limit).abs());
    for (l, c) in [(1, std::f64::consts::FRAC_1_PI), (10, 0.871_535_516_021_517_5), (200, 0.999_015_643_554_027_8)] {
        near(1.0 - found[l].one_minus_correlation, c, 1e-13, "c");
    }
    assert_eq!(Law::of(&Dual::new(standardized_relu()), &mean_field(standardized_relu(), 0.0)), Law::KinkedEdge);
}

#[test]
fn chaos_has_the_prefactor_of_its_fixed_point() {
    for (beta, a, constant) in [(0.1, Some(0.037_715_2), 0.066_521), (0.3, None, 0.647_381)] {
        let at = mean_field(normalized_relu(), beta);
        if let Some(a) = a {
            near(at.c, a, 5e-8, "a*");
        }
        let Law::Chaos { prefactor: Some(prefactor) } = Law::of(&Dual::new(normalized_relu()), &at) else {
            panic!("chaos")
        };
        // The published constant was read off a recursion.
        near(prefactor, constant, 1e-5, "the constant");
        let found = sweep(normalized_relu(), beta, 120);
        near(found[119].scaled() * at.chi.powi(120), prefactor, 1e-6, "the recursion");
    }
    let centred = Law::of(&Dual::new(tanh()), &mean_field(tanh(), 0.0));
    assert!(matches!(centred, Law::CentredChaos { rate } if rate < 1.0), "{centred:?}");
}

#[test]
fn order_follows_its_law() {
    let ratio = |sigma: Activation, law: fn(f64, f64) -> f64, l: usize| {
        let found = sweep(sigma, 0.5, l);
        (1.0 - found[l - 1].scaled()) / law(sigma.characteristic_value(0.5), l as f64)
    };
    let smooth = |r: f64, l: f64| l * r.powf(l);
    let kinked = |r: f64, l: f64| r.powf(l / 2.0);
    for sigma in [tanh(), activation(Function::Erf, Scaling::Standardized)] {
        let (a, b) = (ratio(sigma, smooth, 100), ratio(sigma, smooth, 200));
        assert!((a / b - 1.0).abs() < 0.1, "{sigma:?}: {a} {b}");
        assert_eq!(Law::of(&Dual::new(sigma), &mean_field(sigma, 0.5)), Law::Smooth);
    }
    near(ratio(standardized_relu(), kinked, 60), 1.40, 0.005, "kinked");
    let (a, b) = (ratio(standardized_relu(), smooth, 30), ratio(standardized_relu(), smooth, 60));
    assert!(b > 10.0 * a, "the smooth law does not hold for ReLU: {a} {b}");
    assert_eq!(Law::of(&Dual::new(standardized_relu()), &mean_field(standardized_relu(), 0.5)), Law::Kinked);
}

#[test]
fn condition_numbers_of_orthogonal_inputs() {
    let rows: [(Activation, f64, &[(usize, f64)]); 3] = [
        (standardized_relu(), 0.0, &[(2, 13.11), (10, 30.51)]),
        (normalized_relu(), 0.1, &[(2, 1.648), (10, 1.085), (20, 1.002)]),
        (tanh(), 0.5, &[(10, 84.2), (50, 3388.0)]),
    ];
    for (sigma, beta, values) in rows {
        let found = sweep(sigma, beta, 50);
        for &(l, want) in values {
            near(found[l - 1].condition_number(64), want, 6e-4 * want, &format!("{sigma:?} L {l}"));
        }
    }
    near(sweep(standardized_relu(), 0.0, 20_000)[19_999].condition_number(64), 67.0 / 3.0, 0.05, "the limit");
}

/// Against `assets/golden/make_mean_field_cases.py`, and 25 digits of `make_infinite_cases.py`.
#[test]
fn fixed_points_and_the_critical_line() {
    let of = |name: &str, w: f64, b: f64| {
        MeanField::of(&Dual::new(Activation::raw(function(name))), w, b).expect("smooth").expect("bounded")
    };
    for case in golden()["fixed"].as_array().expect("a list") {
        let at = of("tanh", number(case, "weights"), number(case, "biases"));
        for (got, key) in [(at.q, "q"), (at.chi, "chi"), (at.chi_q, "chi_q")] {
            near(got, number(case, key), 1e-12, &format!("{key} of {case}"));
        }
    }
    near(of("relu", 1.5, 0.1).variance_depth().expect("order"), 3.476_059_496_78, 1e-9, "variance depth");
    assert!(MeanField::of(&Dual::new(Activation::raw(Function::Relu)), 2.5, 0.1).expect("closed").is_none());

    let text = include_str!("../../../assets/golden/mean_field_cases.json");
    let cases: serde_json::Value = serde_json::from_str(text).expect("golden cases");
    let name = |case: &serde_json::Value| case["function"].as_str().expect("a name").to_owned();
    for case in cases["points"].as_array().expect("a list") {
        let at = of(&name(case), number(case, "weights"), number(case, "biases"));
        for (got, key) in [(at.q, "q"), (at.chi, "chi"), (at.c, "c"), (at.chi_c, "chi_c"), (at.chi_q, "chi_q")] {
            near(got, number(case, key), 1e-10, &format!("{key} of {case}"));
        }
        let depths = [(at.variance_depth(), "variance_depth"), (at.correlation_depth(), "correlation_depth")];
        for (got, key) in depths {
            // A depth has the error of its slope, times its square.
            let want = number(case, key);
            near(got.expect("finite"), want, 1e-10 * want.max(1.0).powi(2), &format!("{key} of {case}"));
        }
    }
    for case in cases["critical"].as_array().expect("a list") {
        let dual = Dual::new(Activation::raw(function(&name(case))));
        let got = critical_weights(&dual, number(case, "biases")).expect("smooth").expect("critical");
        near(got, number(case, "weights"), 1e-9, &format!("{case}"));
    }
}

/// Where Θ_xx and Θ_xy differ by their rounding the number is infinite, and never negative or below 1.
#[test]
fn condition_numbers_deep_in_order_grow_to_infinity() {
    let found = sweep(activation(Function::Sigmoid, Scaling::Standardized), 0.1, 80);
    let numbers: Vec<f64> = found.iter().map(|at| at.condition_number(64)).collect();
    for (l, pair) in numbers.windows(2).enumerate() {
        assert!(pair[0] >= 1.0 && pair[1] >= pair[0], "L {}: {pair:?}", l + 1);
    }
    assert!(found.iter().all(|at| (at.own_ntk - at.ntk).value() >= 0.0));
    assert_eq!(numbers[79], f64::INFINITY);
}

/// Half a percent from the edge is order or chaos in the limit.
#[test]
fn laws_of_the_edge_hold_at_the_edge_alone() {
    let of = |sigma: Activation, beta: f64| Law::of(&Dual::new(sigma), &mean_field(sigma, beta));
    assert_eq!(of(standardized_relu(), 0.05), Law::Kinked);
    assert_eq!(of(standardized_relu(), 0.0), Law::KinkedEdge);
    let line = Activation { slope: Some(1.0), ..Activation::raw(Function::LeakyRelu) };
    assert_eq!(of(line, 0.0), Law::Linear);
}

/// Without biases the variance of an ordered net vanishes: the critical line ends at w = 1/σ'(0)².
#[test]
fn the_critical_line_reaches_biases_of_zero() {
    for (f, want) in [(Function::Tanh, 1.0), (Function::Erf, std::f64::consts::FRAC_PI_4), (Function::Relu, 2.0)] {
        let got = critical_weights(&Dual::new(Activation::raw(f)), 0.0).expect("smooth").expect("critical");
        // Above it r - 1 is quadratic in what w is above.
        near(got, want, 1e-7, f.name());
    }
    let near_zero =
        critical_weights(&Dual::new(Activation::raw(Function::Tanh)), 1e-8).expect("smooth").expect("critical");
    near(near_zero, 1.0, 1e-2, "continuous");
}

#[test]
fn critical_lines_are_of_many_biases() {
    let dual = Dual::new(tanh());
    let line = fintan_theory::critical_line(&dual, &[0.1, 0.5]).expect("smooth");
    assert_eq!(line, [0.1, 0.5].map(|b| critical_weights(&dual, b).expect("smooth")));
}
