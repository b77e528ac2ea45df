//! Pointwise nonlinearities and their scaling, which controls order and chaos.
//!
//! With Z ~ N(0, 1) and f(x) = function(g x) the raw function with gain g, an [`Activation`] computes
//!
//! `σ(x) = (f(x) - m) / s`
//!
//! | scaling | m | s | effect |
//! | --- | --- | --- | --- |
//! | `raw` | 0 | 1 | the function as it is |
//! | `standardized` | 0 | √E\[f(Z)²\] | E\[σ(Z)²\] = 1: variances stay 1 through depth |
//! | `normalized` | E\[f(Z)\] | √Var\[f(Z)\] | centred too: the chaos switch |
//! | `partial` | mu | √E\[(f(Z) - mu)²\] | a dial between the two |
//!
//! The characteristic value `r = (1 - β²) E[σ'(Z)²]` then separates order (r < 1) from chaos (r > 1).
//! Source: Jacot, Gabriel, Ged, Hongler, arXiv 1907.05715.

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::function::{BelowZero, Function};
use crate::gaussian::expectation;

/// How the raw function is centred and scaled. See the table of this module.
///
/// ```
/// use fintan_config::{Activation, Function, Scaling};
/// use std::f64::consts::PI;
///
/// let r = |scaling| Activation::raw(Function::Relu).with_scaling(scaling).characteristic_value(0.0);
/// assert!((r(Scaling::Standardized) - 1.0).abs() < 1e-12); // the edge of chaos
/// assert!((r(Scaling::Normalized) - PI / (PI - 1.0)).abs() < 1e-12); // chaos
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scaling {
    /// The function as it is.
    #[default]
    Raw,
    /// Unit second moment under a standard normal.
    Standardized,
    /// Zero mean and unit variance under a standard normal.
    Normalized,
    /// Centred by `mu`, then scaled to unit second moment.
    Partial,
}

/// A nonlinearity as written in a configuration: a table, or only the name of a raw function (`"relu"`).
///
/// ```
/// use fintan_config::{Activation, Function, Scaling};
///
/// // E[max(Z, 0)²] = 1/2 for Z ~ N(0, 1), so a standardized ReLU is max(x, 0) / √(1/2).
/// let relu = Activation::raw(Function::Relu).with_scaling(Scaling::Standardized);
/// assert_eq!(relu.centre_and_scale(), (0.0, 0.5_f64.sqrt()));
/// assert_eq!(Activation { gain: 2.0, ..relu }.raw_value(3.0), 6.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct Activation {
    /// The raw function.
    pub function: Function,
    /// Centring and scaling of the raw function.
    #[serde(default)]
    pub scaling: Scaling,
    /// Inner gain g > 0: the function is evaluated at g·x.
    #[serde(default = "one")]
    pub gain: f64,
    /// Slope of `leaky_relu` below zero (default 0.2), scale of `elu` below zero (default 1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slope: Option<f64>,
    /// The constant that `partial` scaling subtracts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mu: Option<f64>,
}

fn one() -> f64 {
    1.0
}

impl Serialize for Activation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Activation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrTable;
        impl<'de> Visitor<'de> for NameOrTable {
            type Value = Activation;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(
                    "the name of a function such as \"relu\", or a table such as { function = \"relu\", scaling = \"normalized\" }",
                )
            }
            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Activation, E> {
                Function::deserialize(StrDeserializer::new(name)).map(Activation::raw)
            }
            fn visit_map<M: MapAccess<'de>>(self, table: M) -> Result<Activation, M::Error> {
                Activation::deserialize(MapAccessDeserializer::new(table))
            }
        }
        deserializer.deserialize_any(NameOrTable)
    }
}

impl Activation {
    /// The raw function with gain 1.
    #[must_use]
    pub fn raw(function: Function) -> Self {
        Self { function, scaling: Scaling::Raw, gain: 1.0, slope: None, mu: None }
    }

    /// The nonlinearity with another scaling.
    #[must_use]
    pub fn with_scaling(mut self, scaling: Scaling) -> Self {
        self.scaling = scaling;
        self
    }

    /// Slope or scale of the function below zero, with its default filled in; `None` if the function has no such number.
    #[must_use]
    pub fn negative_slope(&self) -> Option<f64> {
        match self.function.properties().below_zero {
            BelowZero::Slope { default } => Some(self.slope.unwrap_or(default)),
            BelowZero::Constant(constant) => Some(constant),
            BelowZero::Nothing => None,
        }
    }

    /// The raw function at g·x.
    #[must_use]
    pub fn raw_value(&self, x: f64) -> f64 {
        (self.function.properties().value)(self.gain * x, self.negative_slope().unwrap_or_default())
    }

    /// Derivative of [`Self::raw_value`] in x (gain included); at a kink, the derivative from the left.
    #[must_use]
    pub fn raw_slope(&self, x: f64) -> f64 {
        let derivative = self.function.properties().derivative;
        self.gain * derivative(self.gain * x, self.negative_slope().unwrap_or_default())
    }

    /// Slopes above and below zero of a homogeneous function, without the gain; `None` for other functions.
    #[must_use]
    pub fn lines(&self) -> Option<[f64; 2]> {
        let slope = self.negative_slope().unwrap_or_default();
        let derivative = self.function.properties().derivative;
        self.function.is_homogeneous().then(|| [derivative(1.0, slope), derivative(-1.0, slope)])
    }

    /// Whether σ(a x) = a σ(x) for a > 0: true for a homogeneous function that is not centred.
    #[must_use]
    pub fn is_homogeneous(&self) -> bool {
        self.function.is_homogeneous() && self.centre_and_scale().0 == 0.0
    }

    /// The centre m and scale s of `σ(x) = (f(x) - m) / s`: constants of the function, independent of the samples.
    ///
    /// Closed forms for the piecewise linear functions, erf and sin; piecewise Gauss-Legendre quadrature for the others.
    #[must_use]
    pub fn centre_and_scale(&self) -> (f64, f64) {
        let (mean, second) = self.raw_moments();
        match self.scaling {
            Scaling::Raw => (0.0, 1.0),
            Scaling::Standardized => (0.0, second.sqrt()),
            Scaling::Normalized => (mean, (second - mean * mean).sqrt()),
            Scaling::Partial => {
                let mu = self.mu.unwrap_or(0.0);
                (mu, (second - 2.0 * mu * mean + mu * mu).sqrt())
            }
        }
    }

    /// E\[f(Z)\] and E\[f(Z)²\] of the raw function.
    #[must_use]
    pub fn raw_moments(&self) -> (f64, f64) {
        let g = self.gain;
        if let Some([up, down]) = self.lines() {
            // x for x > 0 and a x below has mean (1 - a)/√(2π) and second moment (1 + a²)/2.
            let mean = (up - down) / (2.0 * std::f64::consts::PI).sqrt() * g;
            return (mean, f64::midpoint(up * up, down * down) * g * g);
        }
        let function = self.function.properties();
        if let Some(moments) = function.moments {
            return moments(g);
        }
        let of = |power: i32| expectation(|z| self.raw_value(z).powi(power), self.kinks());
        (if function.is_odd { 0.0 } else { of(1) }, of(2))
    }

    /// E\[σ'(Z)²\] of the scaled function: the growth factor of small differences in each layer.
    #[must_use]
    pub fn slope_second_moment(&self) -> f64 {
        let (_, scale) = self.centre_and_scale();
        expectation(|z| self.raw_slope(z).powi(2), self.kinks()) / (scale * scale)
    }

    /// Characteristic value `r = (1 - β²) E[σ'(Z)²]`: order below 1, chaos above 1.
    ///
    /// It is meaningful if E\[σ(Z)²\] = 1, i.e. for every scaling but `raw`; the theory crate has the general case.
    #[must_use]
    pub fn characteristic_value(&self, beta: f64) -> f64 {
        (1.0 - beta * beta) * self.slope_second_moment()
    }

    /// Points where the function is not smooth.
    #[must_use]
    pub fn kinks(&self) -> &'static [f64] {
        self.function.properties().kinks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// E[σ], E[σ²], E[σ'²] of the raw function, then r after centring and standardizing at β = 0: values computed once
    /// with adaptive quadrature in another program, to six decimals.
    const TABLE: [(Function, Option<f64>, [f64; 4]); 16] = [
        (Function::Identity, None, [0.0, 1.0, 1.0, 1.0]),
        (Function::Relu, None, [0.398_942, 0.5, 0.5, 1.466_942]),
        (Function::LeakyRelu, Some(0.1), [0.359_048, 0.505, 0.505, 1.342_783]),
        (Function::LeakyRelu, Some(0.2), [0.319_154, 0.52, 0.52, 1.243_600]),
        (Function::Abs, None, [0.797_885, 1.0, 1.0, 2.751_938]),
        (Function::Tanh, None, [0.0, 0.394_294, 0.464_403, 1.177_807]),
        (Function::Erf, None, [0.0, 0.464_559, 0.569_410, 1.225_700]),
        (Function::Sigmoid, None, [0.5, 0.293_379, 0.044_836, 1.033_592]),
        (Function::Softplus, None, [0.806_059, 0.921_246, 0.293_379, 1.080_528]),
        (Function::Gelu, None, [0.282_095, 0.425_221, 0.455_851, 1.318_845]),
        (Function::GeluTanh, None, [0.282_039, 0.425_194, 0.455_818, 1.318_734]),
        (Function::Silu, None, [0.206_621, 0.355_776, 0.379_482, 1.212_081]),
        (Function::Mish, None, [0.240_404, 0.452_342, 0.479_084, 1.214_259]),
        (Function::Elu, None, [0.160_521, 0.644_945, 0.668_102, 1.079_013]),
        (Function::Selu, None, [0.0, 1.0, 1.071_575, 1.071_575]),
        (Function::Sin, None, [0.0, 0.432_332, 0.567_668, 1.313_035]),
    ];

    #[test]
    fn moments_and_characteristic_values_match_the_table() {
        for (function, slope, [mean, second, slope_second, r]) in TABLE {
            let raw = Activation { slope, ..Activation::raw(function) };
            let (got_mean, got_second) = raw.raw_moments();
            let normalized = raw.with_scaling(Scaling::Normalized);
            for (got, want) in [
                (got_mean, mean),
                (got_second, second),
                (raw.slope_second_moment(), slope_second),
                (normalized.characteristic_value(0.0), r),
            ] {
                assert!((got - want).abs() < 1e-6, "{function:?}: got {got}, want {want}");
            }
        }
    }

    #[test]
    fn closed_forms_agree_with_quadrature() {
        for function in
            [Function::Relu, Function::LeakyRelu, Function::Abs, Function::Identity, Function::Erf, Function::Sin]
        {
            for gain in [0.5, 1.0, 1.7] {
                let activation = Activation { gain, ..Activation::raw(function) };
                let (mean, second) = activation.raw_moments();
                assert!((mean - expectation(|z| activation.raw_value(z), &[0.0])).abs() < 1e-14, "{function:?} {gain}");
                assert!(
                    (second - expectation(|z| activation.raw_value(z).powi(2), &[0.0])).abs() < 1e-14,
                    "{function:?} {gain}"
                );
            }
        }
    }

    #[test]
    fn homogeneous_functions_have_r_of_one_minus_beta_squared_and_normalized_relu_pi_over_pi_minus_one() {
        let relu = Activation::raw(Function::Relu);
        for function in [Function::Relu, Function::LeakyRelu, Function::Abs, Function::Identity] {
            let r = Activation::raw(function).with_scaling(Scaling::Standardized).characteristic_value(0.5);
            assert!((r - 0.75).abs() < 1e-14, "{function:?}: {r}");
        }
        let r = relu.with_scaling(Scaling::Normalized).characteristic_value(0.0);
        assert!((r - std::f64::consts::PI / (std::f64::consts::PI - 1.0)).abs() < 1e-14);
        // Partially centred ReLU, between `standardized` and `normalized`.
        for (mu, want) in [(0.0, 1.0), (0.1, 1.162_22), (0.2, 1.314_33), (0.3, 1.425_99)] {
            let r = Activation { mu: Some(mu), scaling: Scaling::Partial, ..relu }.characteristic_value(0.0);
            assert!((r - want).abs() < 1e-5, "mu {mu}: {r}");
        }
        for (gain, want) in [(0.25, 1.0038), (0.5, 1.0336), (1.0, 1.1778), (2.0, 1.6116), (4.0, 2.6156)] {
            let tanh = Activation { gain, ..Activation::raw(Function::Tanh) };
            let r = tanh.with_scaling(Scaling::Standardized).characteristic_value(0.0);
            assert!((r - want).abs() < 1e-4, "tanh gain {gain}: {r}");
        }
    }

    #[test]
    fn slopes_are_derivatives() {
        for (function, ..) in TABLE {
            let activation = Activation { gain: 1.3, ..Activation::raw(function) };
            for x in [-2.3, -0.4, 0.7, 3.1] {
                let h = 1e-5;
                let difference = (activation.raw_value(x + h) - activation.raw_value(x - h)) / (2.0 * h);
                assert!((difference - activation.raw_slope(x)).abs() < 1e-8, "{function:?} at {x}");
            }
        }
    }
}
