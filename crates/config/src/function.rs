//! Pointwise functions and their properties: one constant for each function.
//!
//! Code that needs a property of a function reads its [`FunctionProperties`]. Only the arithmetic on devices (`fintan_net`)
//! and the closed forms of dual activations (`fintan_theory`) match on functions, and they have no wildcard arm.

use std::f64::consts::{PI, SQRT_2};

use serde::{Deserialize, Serialize};

use crate::citations::Citation;

/// What a pointwise function f is, before gain and scaling.
///
/// ```
/// let tanh = fintan_config::Function::Tanh.properties();
/// assert_eq!(((tanh.value)(0.0, 0.0), (tanh.derivative)(0.0, 0.0)), (0.0, 1.0));
/// assert!(tanh.is_odd && tanh.kinks.is_empty());
/// ```
#[derive(Debug, Clone, Copy)]
pub struct FunctionProperties {
    /// Its name in a configuration.
    pub name: &'static str,
    /// f(x), given x and the slope below zero.
    pub value: fn(f64, f64) -> f64,
    /// f'(x), given x and the slope below zero; at a kink, the derivative from the left.
    pub derivative: fn(f64, f64) -> f64,
    /// f''(x), given x and the slope below zero; at a kink, 0. `None` of functions that are lines between their kinks.
    pub second_derivative: Option<fn(f64, f64) -> f64>,
    /// Its slope or scale below zero.
    pub below_zero: BelowZero,
    /// Points where the function is not smooth.
    pub kinks: &'static [f64],
    /// The behaviour of the function far from zero.
    pub growth: Growth,
    /// Whether f(-x) = -f(x).
    pub is_odd: bool,
    /// E\[f(gZ)\] and E\[f(gZ)²\] for Z ~ N(0, 1) as functions of g, if there is a closed form. Homogeneous functions need
    /// no entry: both moments follow from their slopes.
    pub moments: Option<fn(f64) -> (f64, f64)>,
    /// Publications.
    pub citations: &'static [Citation],
}

/// The slope or scale of a function below zero.
///
/// ```
/// use fintan_config::{BelowZero, Function};
///
/// assert_eq!(Function::LeakyRelu.properties().below_zero, BelowZero::Slope { default: 0.2 });
/// assert_eq!(Function::Tanh.properties().below_zero, BelowZero::Nothing);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum BelowZero {
    /// The key `slope` sets it.
    Slope {
        /// The value if the key is not given.
        default: f64,
    },
    /// It is a constant of the function.
    Constant(f64),
    /// The function has none.
    Nothing,
}

/// The behaviour of a function far from zero.
///
/// ```
/// use fintan_config::{Function, Growth};
///
/// assert_eq!(Function::Relu.properties().growth, Growth::Homogeneous);
/// assert_eq!(Function::Gelu.properties().growth, Growth::LineAbove { slope: 1.0 });
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Growth {
    /// f(a x) = a f(x) for a > 0: the function is a line on either side of zero.
    Homogeneous,
    /// f(x) - slope · x is bounded above zero, f(x) is bounded below.
    LineAbove {
        /// The slope of the line.
        slope: f64,
    },
    /// f tends to a constant on either side.
    Saturating,
    /// f is bounded and periodic.
    Periodic,
}

/// Defines the functions from one list, so that every part of a definition is required.
macro_rules! functions {
    ($($(#[$doc:meta])* $variant:ident = $properties:ident,)+) => {
        /// A pointwise function, before gain and scaling.
        ///
        /// ```
        /// use fintan_config::Function;
        ///
        /// let relu = Function::Relu.properties();
        /// assert_eq!(((relu.value)(-2.0, 0.0), (relu.derivative)(3.0, 0.0)), (0.0, 1.0));
        /// assert_eq!(Function::GeluTanh.name(), "gelu_tanh");
        /// ```
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Function {
            $($(#[$doc])* $variant,)+
        }

        impl Function {
            /// All functions, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// All properties of the function.
            #[must_use]
            pub const fn properties(self) -> &'static FunctionProperties {
                match self {
                    $(Self::$variant => &$properties,)+
                }
            }
        }
    };
}

functions! {
    /// max(x, 0)
    Relu = RELU,
    /// x for x > 0, `slope`·x below
    LeakyRelu = LEAKY_RELU,
    /// |x|
    Abs = ABS,
    /// tanh x
    Tanh = TANH,
    /// erf x
    Erf = ERF,
    /// 1 / (1 + exp(-x))
    Sigmoid = SIGMOID,
    /// x Φ(x), the exact form with the normal distribution function
    Gelu = GELU,
    /// x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2, the approximation of `gelu` by tanh
    GeluTanh = GELU_TANH,
    /// x / (1 + exp(-x))
    Silu = SILU,
    /// x tanh(ln(1 + exp x))
    Mish = MISH,
    /// x for x > 0, `slope`·(exp x - 1) below
    Elu = ELU,
    /// λ·elu with the constants of Klambauer et al. 2017
    Selu = SELU_FUNCTION,
    /// ln(1 + exp x)
    Softplus = SOFTPLUS,
    /// sin x
    Sin = SIN,
    /// x
    Identity = IDENTITY,
}

impl Function {
    /// Its name in a configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.properties().name
    }

    /// Whether the function has the key `slope`.
    #[must_use]
    pub const fn takes_slope(self) -> bool {
        matches!(self.properties().below_zero, BelowZero::Slope { .. })
    }

    /// Whether f(a x) = a f(x) for a > 0.
    #[must_use]
    pub const fn is_homogeneous(self) -> bool {
        matches!(self.properties().growth, Growth::Homogeneous)
    }
}

const RELU: FunctionProperties = FunctionProperties {
    name: "relu",
    value: |x, _| x.max(0.0),
    derivative: |x, _| if x > 0.0 { 1.0 } else { 0.0 },
    second_derivative: None,
    below_zero: BelowZero::Nothing,
    kinks: &[0.0],
    growth: Growth::Homogeneous,
    is_odd: false,
    moments: None,
    citations: &[ARC_COSINE],
};

const LEAKY_RELU: FunctionProperties = FunctionProperties {
    name: "leaky_relu",
    value: |x, slope| if x > 0.0 { x } else { slope * x },
    derivative: |x, slope| if x > 0.0 { 1.0 } else { slope },
    second_derivative: None,
    below_zero: BelowZero::Slope { default: 0.2 },
    kinks: &[0.0],
    growth: Growth::Homogeneous,
    is_odd: false,
    moments: None,
    citations: &[ARC_COSINE],
};

const ABS: FunctionProperties = FunctionProperties {
    name: "abs",
    value: |x, _| x.abs(),
    derivative: |x, _| if x > 0.0 { 1.0 } else { -1.0 },
    second_derivative: None,
    below_zero: BelowZero::Nothing,
    kinks: &[0.0],
    growth: Growth::Homogeneous,
    is_odd: false,
    moments: None,
    citations: &[ARC_COSINE],
};

const TANH: FunctionProperties = FunctionProperties {
    name: "tanh",
    value: |x, _| x.tanh(),
    derivative: |x, _| 1.0 - x.tanh().powi(2),
    second_derivative: Some(|x, _| -2.0 * x.tanh() * (1.0 - x.tanh().powi(2))),
    below_zero: BelowZero::Nothing,
    kinks: &[],
    growth: Growth::Saturating,
    is_odd: true,
    moments: None,
    citations: &[],
};

const ERF: FunctionProperties = FunctionProperties {
    name: "erf",
    value: |x, _| libm::erf(x),
    derivative: |x, _| 2.0 / PI.sqrt() * (-x * x).exp(),
    second_derivative: Some(|x, _| -4.0 / PI.sqrt() * x * (-x * x).exp()),
    below_zero: BelowZero::Nothing,
    kinks: &[],
    growth: Growth::Saturating,
    is_odd: true,
    // E[erf(gZ)²] = (2/π) asin(2g²/(1 + 2g²)); Williams 1997.
    moments: Some(|g| (0.0, 2.0 / PI * (2.0 * g * g / (1.0 + 2.0 * g * g)).asin())),
    citations: &[],
};

const SIGMOID: FunctionProperties = FunctionProperties {
    name: "sigmoid",
    value: |x, _| sigmoid(x),
    derivative: |x, _| sigmoid(x) * sigmoid(-x),
    second_derivative: Some(|x, _| sigmoid_second_derivative(x)),
    below_zero: BelowZero::Nothing,
    kinks: &[],
    growth: Growth::Saturating,
    is_odd: false,
    moments: None,
    citations: &[],
};

const GELU: FunctionProperties = FunctionProperties {
    name: "gelu",
    value: |x, _| x * normal_cdf(x),
    derivative: |x, _| normal_cdf(x) + x * normal_density(x),
    second_derivative: Some(|x, _| if x.abs() < 1e3 { normal_density(x) * (2.0 - x * x) } else { 0.0 }),
    below_zero: BelowZero::Nothing,
    kinks: &[],
    growth: Growth::LineAbove { slope: 1.0 },
    is_odd: false,
    moments: None,
    citations: &[Citation::new(
        "@misc{hendrycks2016gelu,
  author = {Hendrycks, Dan and Gimpel, Kevin},
  title = {Gaussian Error Linear Units ({GELUs})},
  year = {2016},
  eprint = {1606.08415},
  archiveprefix = {arXiv},
}",
    )],
};

/// (1 + tanh u) / 2 = sigmoid(2u) with u = √(2/π) (x + 0.044715 x³), which keeps its digits below zero.
const GELU_TANH: FunctionProperties = FunctionProperties {
    name: "gelu_tanh",
    value: |x, _| x * sigmoid(2.0 * gelu_tanh_argument(x)),
    derivative: |x, _| {
        let u = 2.0 * gelu_tanh_argument(x);
        // Where u is beyond 1e4 one factor is 0, and x times the slope of u must not be infinite.
        let slope = if u.abs() < 1e4 { 2.0 * GELU_TANH_ROOT * (1.0 + 3.0 * GELU_TANH_CUBE * x * x) } else { 0.0 };
        sigmoid(u) + x * (sigmoid(u) * sigmoid(-u) * slope)
    },
    second_derivative: Some(|x, _| {
        if x.abs() > 1e3 {
            return 0.0;
        }
        let u = 2.0 * gelu_tanh_argument(x);
        let slope = 2.0 * GELU_TANH_ROOT * (1.0 + 3.0 * GELU_TANH_CUBE * x * x);
        let curve = 12.0 * GELU_TANH_ROOT * GELU_TANH_CUBE * x;
        let first = sigmoid(u) * sigmoid(-u);
        2.0 * first * slope + x * (sigmoid_second_derivative(u) * slope * slope + first * curve)
    }),
    below_zero: BelowZero::Nothing,
    kinks: &[],
    growth: Growth::LineAbove { slope: 1.0 },
    is_odd: false,
    moments: None,
    citations: GELU.citations,
};

/// √(2/π), the factor in front of the argument of `gelu_tanh`.
pub const GELU_TANH_ROOT: f64 = 0.797_884_560_802_865_4;

/// The coefficient of x³ in the argument of `gelu_tanh` (Hendrycks and Gimpel, arXiv 1606.08415).
pub const GELU_TANH_CUBE: f64 = 0.044_715;

/// √(2/π) (x + 0.044715 x³)
fn gelu_tanh_argument(x: f64) -> f64 {
    GELU_TANH_ROOT * (x + GELU_TANH_CUBE * x * x * x)
}

const SILU: FunctionProperties = FunctionProperties {
    name: "silu",
    value: |x, _| x * sigmoid(x),
    derivative: |x, _| sigmoid(x) * (1.0 + x * sigmoid(-x)),
    second_derivative: Some(|x, _| {
        let first = sigmoid(x) * sigmoid(-x);
        first * (2.0 + x * (sigmoid(-x) - sigmoid(x)))
    }),
    below_zero: BelowZero::Nothing,
    kinks: &[],
    growth: Growth::LineAbove { slope: 1.0 },
    is_odd: false,
    moments: None,
    citations: &[],
};

/// With s = 1/(1 + exp(-x)) and c = 1 - s, tanh(softplus x) = (1 - c²)/(1 + c²) = s (1 + c)/(1 + c²). This form subtracts no
/// nearly equal numbers, and both factors stay between 0 and 1.
const MISH: FunctionProperties = FunctionProperties {
    name: "mish",
    value: |x, _| {
        let (s, c) = (sigmoid(x), sigmoid(-x));
        x * (s * (1.0 + c) / (1.0 + c * c))
    },
    derivative: |x, _| {
        let (s, c) = (sigmoid(x), sigmoid(-x));
        let d = 1.0 + c * c;
        s * (1.0 + c) / d + x * (s * (2.0 * c / d).powi(2))
    },
    second_derivative: Some(|x, _| {
        let (s, c) = (sigmoid(x), sigmoid(-x));
        let d = 1.0 + c * c;
        // 1 - t² of t = tanh(softplus x), whose derivative is s (1 - t²).
        let (t, rest) = (s * (1.0 + c) / d, (2.0 * c / d).powi(2));
        s * rest * (2.0 + x * (c - 2.0 * t * s))
    }),
    below_zero: BelowZero::Nothing,
    kinks: &[],
    growth: Growth::LineAbove { slope: 1.0 },
    is_odd: false,
    moments: None,
    citations: &[Citation::new(
        "@inproceedings{misra2020mish,
  author = {Misra, Diganta},
  title = {Mish: A Self Regularized Non-Monotonic Activation Function},
  booktitle = {British Machine Vision Conference},
  year = {2020},
  eprint = {1908.08681},
  archiveprefix = {arXiv},
}",
    )],
};

const ELU: FunctionProperties = FunctionProperties {
    name: "elu",
    value: |x, slope| if x > 0.0 { x } else { slope * x.exp_m1() },
    derivative: |x, slope| if x > 0.0 { 1.0 } else { slope * x.exp() },
    second_derivative: Some(|x, slope| if x > 0.0 { 0.0 } else { slope * x.exp() }),
    below_zero: BelowZero::Slope { default: 1.0 },
    kinks: &[0.0],
    growth: Growth::LineAbove { slope: 1.0 },
    is_odd: false,
    moments: None,
    citations: &[Citation::new(
        r"@inproceedings{clevert2016elu,
  author = {Clevert, Djork-Arn{\'e} and Unterthiner, Thomas and Hochreiter, Sepp},
  title = {Fast and Accurate Deep Network Learning by Exponential Linear Units ({ELUs})},
  booktitle = {International Conference on Learning Representations},
  year = {2016},
  eprint = {1511.07289},
  archiveprefix = {arXiv},
}",
    )],
};

/// α and λ of SELU (Klambauer et al., arXiv 1706.02515).
pub const SELU: (f64, f64) = (1.673_263_242_354_377_3, 1.050_700_987_355_480_5);

const SELU_FUNCTION: FunctionProperties = FunctionProperties {
    name: "selu",
    value: |x, alpha| SELU.1 * if x > 0.0 { x } else { alpha * x.exp_m1() },
    derivative: |x, alpha| SELU.1 * if x > 0.0 { 1.0 } else { alpha * x.exp() },
    second_derivative: Some(|x, alpha| if x > 0.0 { 0.0 } else { SELU.1 * alpha * x.exp() }),
    below_zero: BelowZero::Constant(SELU.0),
    kinks: &[0.0],
    growth: Growth::LineAbove { slope: SELU.1 },
    is_odd: false,
    moments: None,
    citations: &[Citation::new(
        r#"@inproceedings{klambauer2017selu,
  author = {Klambauer, G{\"u}nter and Unterthiner, Thomas and Mayr, Andreas and Hochreiter, Sepp},
  title = {Self-Normalizing Neural Networks},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2017},
  eprint = {1706.02515},
  archiveprefix = {arXiv},
}"#,
    )],
};

const SOFTPLUS: FunctionProperties = FunctionProperties {
    name: "softplus",
    value: |x, _| x.max(0.0) + (-x.abs()).exp().ln_1p(),
    derivative: |x, _| sigmoid(x),
    second_derivative: Some(|x, _| sigmoid(x) * sigmoid(-x)),
    below_zero: BelowZero::Nothing,
    kinks: &[],
    growth: Growth::LineAbove { slope: 1.0 },
    is_odd: false,
    moments: None,
    citations: &[],
};

const SIN: FunctionProperties = FunctionProperties {
    name: "sin",
    value: |x, _| x.sin(),
    derivative: |x, _| x.cos(),
    second_derivative: Some(|x, _| -x.sin()),
    below_zero: BelowZero::Nothing,
    kinks: &[],
    growth: Growth::Periodic,
    is_odd: true,
    moments: Some(|g| (0.0, -0.5 * (-2.0 * g * g).exp_m1())),
    citations: &[],
};

const IDENTITY: FunctionProperties = FunctionProperties {
    name: "identity",
    value: |x, _| x,
    derivative: |_, _| 1.0,
    second_derivative: None,
    below_zero: BelowZero::Nothing,
    kinks: &[],
    growth: Growth::Homogeneous,
    is_odd: true,
    moments: None,
    citations: &[],
};

/// Kernels of functions that are linear on either side of zero.
const ARC_COSINE: Citation = Citation::new(
    "@inproceedings{cho2009kernel,
  author = {Cho, Youngmin and Saul, Lawrence K.},
  title = {Kernel Methods for Deep Learning},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2009},
}",
);

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn sigmoid_second_derivative(x: f64) -> f64 {
    sigmoid(x) * sigmoid(-x) * (sigmoid(-x) - sigmoid(x))
}

fn normal_cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x / SQRT_2)
}

fn normal_density(x: f64) -> f64 {
    (-0.5 * x * x).exp() / (2.0 * PI).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_parser() {
        for function in Function::ALL {
            assert_eq!(serde_json::to_value(function).expect("JSON"), function.name());
        }
    }

    /// Compares the properties of each function with its values.
    #[test]
    fn properties_are_those_of_the_values() {
        for function in Function::ALL {
            let FunctionProperties { name, value, derivative, below_zero, kinks, growth, is_odd, .. } =
                function.properties();
            let slope = match below_zero {
                BelowZero::Slope { default: slope } | BelowZero::Constant(slope) => *slope,
                BelowZero::Nothing => 0.0,
            };
            // A slope other than the default, because `elu` with the default slope has no kink.
            let (f, d) = (|x: f64| value(x, slope), |x: f64| derivative(x, slope + 0.3));
            let takes = f(-1.0) != value(-1.0, slope + 0.1);
            assert_eq!(takes, *below_zero != BelowZero::Nothing, "{name}: a slope below zero");
            let points = [0.3, 0.9, 2.1, 5.0];
            assert_eq!(*is_odd, points.iter().all(|&x| (f(-x) + f(x)).abs() < 1e-14), "{name}: odd");
            assert_eq!(kinks.is_empty(), (d(1e-9) - d(-1e-9)).abs() < 1e-6, "{name}: a kink at zero");
            let homogeneous = points.iter().all(|&x| f(2.0 * x) == 2.0 * f(x) && f(-2.0 * x) == 2.0 * f(-x));
            assert_eq!(function.is_homogeneous(), homogeneous, "{name}: homogeneous");
            let far = 1e6;
            match growth {
                Growth::Homogeneous => {}
                Growth::LineAbove { slope } => {
                    assert!((f(far) - slope * far).abs() < 10.0 && f(-far).abs() < 10.0, "{name}");
                }
                Growth::Saturating => assert!(f(far) == f(2.0 * far) && f(-far) == f(-2.0 * far), "{name}"),
                Growth::Periodic => {
                    let period = 2.0 * std::f64::consts::PI;
                    assert!(points.iter().all(|&x| (f(x + period) - f(x)).abs() < 1e-14), "{name}");
                }
            }
        }
    }

    /// Second derivatives against central differences of the first.
    #[test]
    fn second_derivatives_are_the_slopes_of_the_first() {
        for function in Function::ALL {
            let FunctionProperties { name, derivative, second_derivative, kinks, .. } = function.properties();
            for x in [-7.3, -2.1, -0.8, -0.05, 0.05, 0.4, 1.7, 3.2, 9.1] {
                let slope = if *name == "selu" { SELU.0 } else { 0.7 };
                let differences = (derivative(x + 1e-5, slope) - derivative(x - 1e-5, slope)) / 2e-5;
                let found = second_derivative.map_or(0.0, |second| second(x, slope));
                assert!((found - differences).abs() < 1e-9, "{name} at {x}: {found} and {differences}");
            }
            match second_derivative {
                Some(second) => {
                    let finite = [0.0, 1e3, -1e3, 1e300, -1e300].iter().all(|&x| second(x, 0.7).is_finite());
                    assert!(finite, "{name}");
                }
                None => assert!(function.is_homogeneous() || !kinks.is_empty(), "{name}"),
            }
        }
    }

    /// Compares with rational functions of one exponential, that of -|x| (Misra, arXiv 1908.08681, equation 2 for the
    /// derivative).
    #[test]
    fn mish_keeps_its_digits_from_one_end_of_the_numbers_to_the_other() {
        let by_exponential = |x: f64| {
            let e = (-x.abs()).exp();
            if x > 0.0 {
                let d = 1.0 + 2.0 * e + 2.0 * e * e;
                let slope = 1.0 + 4.0 * e + (6.0 * e) * e + 4.0 * e * e * e + x * e * (4.0 * e + 4.0 * e * e);
                [x * (1.0 + 2.0 * e) / d, slope / (d * d)]
            } else {
                let d = e * e + 2.0 * e + 2.0;
                // Misra's ω times e. Each term is multiplied by e separately, because 4 (x + 1) alone overflows.
                let slope = 4.0 * (e * (x + 1.0)) + 4.0 * e * e * e + e * e * e * e + e * (e * x) * 4.0 + 6.0 * e * e;
                [x * (e * (e + 2.0) / d), slope / (d * d)]
            }
        };
        for size in [0.0, 1e-300, 1e-8, 0.3, 1.19, 3.0, 17.0, 40.0, 88.0, 104.0, 700.0, 746.0, 1e4, 1e200, f64::MAX] {
            for x in [size, -size] {
                let [value, slope] = by_exponential(x);
                let near = |got: f64, want: f64, what: &str| {
                    let rounding = if size < 10.0 { 1e-15 } else { 1e-300 };
                    assert!((got - want).abs() <= 1e-14 * want.abs() + rounding, "{what} at {x}: {got} and {want}");
                };
                near((MISH.value)(x, 0.0), value, "value");
                near((MISH.derivative)(x, 0.0), slope, "derivative");
            }
        }
    }
}
