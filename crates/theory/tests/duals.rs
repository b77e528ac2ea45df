//! Dual activations against nested quadrature in other coordinates, closed forms and limits.

use fintan_config::{Activation, Function, Scaling};
use fintan_theory::{Dual, GaussianPair};

use crate::support::{activation, function, golden, near, number};

#[test]
fn all_functions_match_quadrature_in_high_precision() {
    for case in golden()["duals"].as_array().expect("a list") {
        let name = case["function"].as_str().expect("a name");
        let dual = Dual::new(Activation::raw(function(name)));
        let [q1, q2, k] = ["q1", "q2", "covariance"].map(|key| number(case, key));
        let found = dual.pair(GaussianPair::of_covariance(q1, q2, k)).expect("smooth enough");
        for (got, key) in [(found.value, "value"), (found.gap, "gap"), (found.slope, "slope")] {
            near(got, number(case, key), 2e-12, &format!("{name} {key} at {q1} {q2} {k}"));
        }
    }
}

#[test]
fn gain_and_variance_are_one_and_scaling_is_affine() {
    for f in
        [Function::Relu, Function::Erf, Function::Sin, Function::Tanh, Function::Elu, Function::Gelu, Function::Mish]
    {
        let raw = Dual::new(Activation::raw(f));
        let steep = Dual::new(Activation { gain: 1.5, ..Activation::raw(f) });
        let pair = GaussianPair { q1: 0.8, q2: 1.1, gap: 0.3 };
        let grown = GaussianPair { q1: 2.25 * pair.q1, q2: 2.25 * pair.q2, gap: 2.25 * pair.gap };
        let (a, b) = (steep.pair(pair).expect("smooth"), raw.pair(grown).expect("smooth"));
        near(a.value, b.value, 1e-12, "value");
        near(a.gap, b.gap, 1e-12, "gap");
        near(a.slope, 2.25 * b.slope, 1e-12, "slope");

        let scaled = activation(f, Scaling::Normalized);
        let (m, s) = scaled.centre_and_scale();
        let c = Dual::new(scaled).pair(pair).expect("smooth");
        let plain = raw.pair(pair).expect("smooth");
        let means = raw.moments(pair.q1).mean + raw.moments(pair.q2).mean;
        near(c.value, (plain.value - m * means + m * m) / (s * s), 1e-12, "centred value");
        near(c.gap, plain.gap / (s * s), 1e-12, "centred gap");
    }
}

/// The gap keeps its relative precision where 1 - c is far below rounding: a smooth σ has gap ≈ E[σ'²] (1 - c), and a
/// kinked one loses γ² (2/π) θ³/3 of that.
#[test]
fn gaps_close_to_equal_inputs_keep_their_digits() {
    for f in [
        Function::Erf,
        Function::Sin,
        Function::Tanh,
        Function::Gelu,
        Function::Mish,
        Function::Elu,
        Function::Identity,
    ] {
        let dual = Dual::new(Activation::raw(f));
        let gap = 1e-18;
        let found = dual.pair(GaussianPair { q1: 1.0, q2: 1.0, gap }).expect("smooth");
        near(found.gap / gap, dual.moments(1.0).slope, 1e-7, f.name());
    }
    let relu = Dual::new(Activation::raw(Function::Relu));
    for gap in [1e-4, 1e-10, 1e-16, 1e-24] {
        let found = relu.pair(GaussianPair { q1: 1.0, q2: 1.0, gap }).expect("closed form");
        // To the next order: θ² = 2 gap (1 + gap/6).
        let theta = (2.0 * gap * (1.0 + gap / 6.0)).sqrt();
        let want = 0.5 * gap - theta.powi(3) / (6.0 * std::f64::consts::PI) * (1.0 - theta * theta / 10.0);
        near(found.gap / want, 1.0, 1e-8, "relu");
    }
    let equal = relu.pair(GaussianPair { q1: 0.3, q2: 0.3, gap: 0.0 }).expect("closed form");
    assert_eq!((equal.gap, equal.value), (0.0, relu.moments(0.3).second));
}

#[test]
fn a_quadrature_that_does_not_converge_is_refused() {
    let steep = Dual::new(Activation { gain: 1e4, ..Activation::raw(Function::Tanh) });
    let error = steep.pair(GaussianPair::of_correlation(0.5)).expect_err("a step function to every rule");
    assert!(error.to_string().contains("tanh"), "{error}");
}

#[test]
fn a_value_that_is_not_random_is_no_special_case() {
    for f in [Function::Softplus, Function::Sigmoid, Function::Tanh, Function::Relu] {
        let dual = Dual::new(Activation::raw(f));
        let zero = dual.pair(GaussianPair { q1: 0.0, q2: 1.0, gap: 0.5 }).expect("one-dimensional");
        let almost = dual.pair(GaussianPair { q1: 1e-20, q2: 1.0, gap: 0.5 }).expect("smooth");
        near(zero.value, almost.value, 1e-9, f.name());
        near(zero.gap, almost.gap, 1e-9, f.name());
    }
}

/// At variances where sinh and exp overflow by themselves.
#[test]
fn sines_of_large_variances_are_finite() {
    let steep = Dual::new(Activation { gain: 30.0, ..Activation::raw(Function::Sin) });
    let found = steep.pair(GaussianPair::of_correlation(0.5)).expect("closed form");
    near(found.value, 0.0, 1e-100, "value");
    near(found.gap, 0.5, 1e-15, "gap");
    near(found.slope, 0.0, 1e-100, "slope");
    let close = steep.pair(GaussianPair { q1: 1.0, q2: 1.0, gap: 1e-12 }).expect("closed form");
    near(close.gap / (0.5 * 9e-10), 1.0, 1e-9, "close");
    near(close.slope / 450.0, 1.0, 1e-9, "slope of equals");
    // On either side of the switch of formulas, and where one variance is small.
    for (q1, q2) in [(20.0, 20.0), (0.01, 39.99), (3.0, 37.0)] {
        let at = |more: f64| {
            let (q1, q2) = (q1, q2 + more);
            let found =
                Dual::new(Activation::raw(Function::Sin)).pair(GaussianPair { q1, q2, gap: 0.5 * (q1 + q2) - 0.05 });
            found.expect("closed form").gap
        };
        near(at(1e-13), at(-1e-13), 1e-14, "continuous");
    }
}

#[test]
fn moments_that_are_not_finite_are_refused() {
    let relu = Dual::new(Activation::raw(Function::Relu));
    assert!(relu.pair(GaussianPair { q1: 1e300, q2: 1e300, gap: f64::INFINITY }).is_err());
}
