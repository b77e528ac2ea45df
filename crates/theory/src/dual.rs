//! Dual activations: what a nonlinearity makes of the second moments of a pair of Gaussian pre-activations.
//!
//! For (u, v) ~ N(0, \[\[q1, k\], \[k, q2\]\]) and σ(x) = (f(x) - m)/s:
//!
//! `E[σ(u) σ(v)]`, `½ E[(σ(u) - σ(v))²]` and `E[σ'(u) σ'(v)]`
//!
//! Pairs carry their *gap* `½ E[(u - v)²] = (q1 + q2)/2 - k` rather than their covariance, because deep in order
//! correlations tend to 1 and 1 - c would be lost in rounding: 1 - c = gap / q where q1 = q2 = q.
//!
//! | f | closed form | source |
//! | --- | --- | --- |
//! | relu, leaky relu, abs, identity | arc-cosine kernels of order 0 and 1 | Cho and Saul, NeurIPS 2009 |
//! | erf | `(2/π) asin(2k / √((1+2q1)(1+2q2)))` | Williams, Neural Computation 10, 1998 |
//! | sin | `(exp(-gap) - exp(gap - q1 - q2)) / 2` | characteristic function of the normal |
//! | all others | quadrature with a stated error | [`crate::quadrature`](index.html) |

use std::f64::consts::{FRAC_2_PI, PI};

use fintan_config::{Activation, Function, expectation};

use crate::quadrature::bivariate;

/// Second moments of a pair of centred Gaussians.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// Variance of u.
    pub q1: f64,
    /// Variance of v.
    pub q2: f64,
    /// ½ E\[(u - v)²\], from (√q1 - √q2)²/2 (c = 1) to (√q1 + √q2)²/2 (c = -1).
    pub gap: f64,
}

impl Pair {
    /// A pair with a covariance.
    #[must_use]
    pub fn of_covariance(q1: f64, q2: f64, covariance: f64) -> Self {
        Self { q1, q2, gap: f64::midpoint(q1, q2) - covariance }
    }

    /// A pair of unit variances with a correlation.
    #[must_use]
    pub fn of_correlation(c: f64) -> Self {
        Self { q1: 1.0, q2: 1.0, gap: 1.0 - c }
    }

    /// E\[u v\].
    #[must_use]
    pub fn covariance(&self) -> f64 {
        f64::midpoint(self.q1, self.q2) - self.gap
    }

    /// 1 - c, in \[0, 2\]; 0 where a variance is.
    #[must_use]
    pub fn one_minus_correlation(&self) -> f64 {
        let (a, b) = (self.q1.sqrt(), self.q2.sqrt());
        if a * b == 0.0 { 0.0 } else { ((self.gap - 0.5 * (a - b) * (a - b)) / (a * b)).clamp(0.0, 2.0) }
    }

    fn scaled(self, factor: f64) -> Self {
        Self { q1: factor * self.q1, q2: factor * self.q2, gap: factor * self.gap }
    }
}

/// Moments of one activated value σ(u), u ~ N(0, q).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    /// E\[σ(u)\]
    pub mean: f64,
    /// E\[σ(u)²\]
    pub second: f64,
    /// E\[σ'(u)²\]
    pub slope: f64,
}

/// Moments of an activated pair.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Duals {
    /// E\[σ(u) σ(v)\]
    pub value: f64,
    /// ½ E\[(σ(u) - σ(v))²\]
    pub gap: f64,
    /// E\[σ'(u) σ'(v)\]
    pub slope: f64,
    /// Estimated error of the three, relative to the largest: rounding for closed forms.
    pub error: f64,
}

/// A dual activation that could not be computed well enough.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error(
    "the dual activation of `{name}` at variances {q1:.4} and {q2:.4} is known only to {error:.0e} by quadrature; it needs {LARGEST_ERROR:.0e}"
)]
pub struct DualError {
    name: &'static str,
    q1: f64,
    q2: f64,
    error: f64,
}

/// Largest relative error of a quadrature that is handed out.
pub const LARGEST_ERROR: f64 = 1e-10;

/// A nonlinearity seen from infinite width.
#[derive(Debug, Clone)]
pub struct Dual {
    activation: Activation,
    centre: f64,
    scale: f64,
}

impl Dual {
    /// Of a nonlinearity as the configuration names it, gain and scaling included.
    #[must_use]
    pub fn new(activation: Activation) -> Self {
        let (centre, scale) = activation.centre_and_scale();
        Self { activation, centre, scale }
    }

    /// The nonlinearity.
    #[must_use]
    pub fn activation(&self) -> &Activation {
        &self.activation
    }

    /// Slopes for x > 0 and x < 0 of a function that is a line on either side of 0, gain left out.
    fn broken_line(&self) -> Option<(f64, f64)> {
        match self.activation.function {
            Function::Relu => Some((1.0, 0.0)),
            Function::LeakyRelu => Some((1.0, self.activation.negative_slope())),
            Function::Abs => Some((1.0, -1.0)),
            Function::Identity => Some((1.0, 1.0)),
            _ => None,
        }
    }

    /// Whether the function is a line through 0, as a leaky relu of slope 1 is.
    pub(crate) fn is_linear(&self) -> bool {
        self.broken_line().is_some_and(|(up, down)| up == down)
    }

    /// Whether pairs are evaluated by quadrature.
    #[must_use]
    pub fn is_quadrature(&self) -> bool {
        self.broken_line().is_none() && !matches!(self.activation.function, Function::Erf | Function::Sin)
    }

    /// Moments at a variance.
    #[must_use]
    pub fn moments(&self, q: f64) -> Moments {
        let raw = self.raw_moments(q);
        let (m, s) = (self.centre, self.scale);
        Moments {
            mean: (raw.mean - m) / s,
            second: (raw.second - 2.0 * m * raw.mean + m * m) / (s * s),
            slope: raw.slope / (s * s),
        }
    }

    /// E\[σ(u)²\] alone, u ~ N(0, q).
    pub(crate) fn second_moment(&self, q: f64) -> f64 {
        if !self.is_quadrature() {
            return self.moments(q).second;
        }
        let (std, f) = (q.sqrt(), &self.activation);
        expectation(|z| ((f.raw_value(std * z) - self.centre) / self.scale).powi(2), f.kinks())
    }

    pub(crate) fn raw_moments(&self, q: f64) -> Moments {
        let gg = self.activation.gain * self.activation.gain;
        if let Some((up, down)) = self.broken_line() {
            let both = 0.5 * (up * up + down * down) * gg;
            return Moments { mean: (up - down) * (gg * q / (2.0 * PI)).sqrt(), second: both * q, slope: both };
        }
        let t = gg * q;
        match self.activation.function {
            Function::Erf => Moments {
                mean: 0.0,
                second: FRAC_2_PI * (2.0 * t / (1.0 + 2.0 * t)).asin(),
                slope: gg * 2.0 * FRAC_2_PI / (1.0 + 4.0 * t).sqrt(),
            },
            Function::Sin => {
                let away = (-2.0 * t).exp_m1();
                Moments { mean: 0.0, second: -0.5 * away, slope: gg * (1.0 + 0.5 * away) }
            }
            _ => {
                let (std, f) = (q.sqrt(), &self.activation);
                let of = |g: &dyn Fn(f64) -> f64| expectation(|z| g(std * z), f.kinks());
                Moments {
                    mean: of(&|x| f.raw_value(x)),
                    second: of(&|x| f.raw_value(x).powi(2)),
                    slope: of(&|x| f.raw_slope(x).powi(2)),
                }
            }
        }
    }

    /// Moments of a pair.
    ///
    /// # Errors
    /// A quadrature whose error stays above [`LARGEST_ERROR`], as for steep functions at large variances, and moments that are
    /// not finite.
    pub fn pair(&self, pair: Pair) -> Result<Duals, DualError> {
        let raw = if pair.q1 == 0.0 || pair.q2 == 0.0 { self.at_zero(pair) } else { self.raw_pair(pair) };
        let (name, q1, q2) = (self.activation.function.name(), pair.q1, pair.q2);
        if raw.error.is_nan() || raw.error >= LARGEST_ERROR {
            return Err(DualError { name, q1, q2, error: raw.error });
        }
        let first = self.raw_moments(q1);
        let second = if q1 == q2 { first } else { self.raw_moments(q2) };
        let found = self.scaled([first, second], raw);
        if [found.value, found.gap, found.slope].iter().any(|v| !v.is_finite()) {
            return Err(DualError { name, q1, q2, error: f64::INFINITY });
        }
        Ok(found)
    }

    /// From moments of the raw function, of either value and of the pair, to those of the scaled one.
    pub(crate) fn scaled(&self, [first, second]: [Moments; 2], raw: Duals) -> Duals {
        let (m, ss) = (self.centre, self.scale * self.scale);
        // Not from E[f f]: this way a pair of equals has exactly the second moment of each.
        let half = f64::midpoint(first.second, second.second) - m * (first.mean + second.mean) + m * m;
        Duals { value: (half - raw.gap) / ss, gap: raw.gap / ss, slope: raw.slope / ss, error: raw.error }
    }

    /// One of the two is 0 and not random.
    fn at_zero(&self, pair: Pair) -> Duals {
        let f = &self.activation;
        let std = pair.q1.max(pair.q2).sqrt();
        let of = |g: &dyn Fn(f64) -> f64| expectation(|z| g(std * z), f.kinks());
        let (value, slope) = (f.raw_value(0.0), f.raw_slope(0.0));
        Duals {
            value: value * of(&|x| f.raw_value(x)),
            gap: 0.5 * of(&|x| (f.raw_value(x) - value).powi(2)),
            slope: slope * of(&|x| f.raw_slope(x)),
            error: f64::EPSILON,
        }
    }

    fn raw_pair(&self, pair: Pair) -> Duals {
        let gg = self.activation.gain * self.activation.gain;
        if let Some((up, down)) = self.broken_line() {
            return broken_line(pair, up, down, gg);
        }
        match self.activation.function {
            Function::Erf => erf(pair.scaled(gg), gg),
            Function::Sin => sin(pair.scaled(gg), gg),
            _ => {
                let f = &self.activation;
                let integrals = bivariate(pair, !f.kinks().is_empty(), |u, v| {
                    let (x, y) = (f.raw_value(u), f.raw_value(v));
                    [x * y, 0.5 * (x - y) * (x - y), f.raw_slope(u) * f.raw_slope(v)]
                });
                let [value, gap, slope] = integrals.values;
                Duals { value, gap, slope, error: integrals.error }
            }
        }
    }
}

/// f(x) = α x + γ |x| with α, γ = (up ± down)/2, and cos θ = c:
/// `E[f f] = α² k + γ² √(q1 q2) (2/π)(√(1-c²) + c asin c)`, `E[f' f'] = α² + γ² (2/π) asin c`.
fn broken_line(pair: Pair, up: f64, down: f64, gg: f64) -> Duals {
    let (odd, even) = ((0.5 * (up + down)).powi(2), (0.5 * (up - down)).powi(2));
    let theta = 2.0 * (0.5 * pair.one_minus_correlation()).sqrt().min(1.0).asin();
    let size = (pair.q1 * pair.q2).sqrt();
    let lost = even * size * FRAC_2_PI * sin_minus_theta_cos(theta);
    Duals {
        value: gg * ((odd + even) * pair.covariance() + lost),
        gap: gg * ((odd + even) * pair.gap - lost),
        slope: gg * (odd + even - even * FRAC_2_PI * theta),
        error: f64::EPSILON,
    }
}

/// sin θ - θ cos θ, by its series where the difference would lose digits.
fn sin_minus_theta_cos(theta: f64) -> f64 {
    if theta > 0.5 {
        return theta.sin() - theta * theta.cos();
    }
    let square = theta * theta;
    // θ³/3 (1 - θ²/10 (1 - θ²/28 (1 - θ²/54 (1 - θ²/88 (1 - θ²/130)))))
    let tail = [130.0, 88.0, 54.0, 28.0, 10.0].iter().fold(1.0, |inner, divisor: &f64| 1.0 - square / divisor * inner);
    theta * square / 3.0 * tail
}

fn erf(pair: Pair, gg: f64) -> Duals {
    let (a, b) = (1.0 + 2.0 * pair.q1, 1.0 + 2.0 * pair.q2);
    let (k, root) = (pair.covariance(), (a * b).sqrt());
    let ratio = 2.0 * k / root;
    // asin x - asin y for x, y of one sign, without cancellation, given x - y.
    let difference = |x: f64, y: f64, x_minus_y: f64| {
        let (cx, cy) = ((1.0 - x * x).sqrt(), (1.0 - y * y).sqrt());
        if x * y > 0.0 {
            (x_minus_y * (x + y) / (x * cy + y * cx)).clamp(-1.0, 1.0).asin()
        } else {
            x.asin() - y.asin()
        }
    };
    let (own1, own2) = (2.0 * pair.q1 / a, 2.0 * pair.q2 / b);
    let gap = if pair.q1 == pair.q2 {
        difference(own1, ratio, 2.0 * pair.gap / a)
    } else {
        f64::midpoint(own1.asin(), own2.asin()) - ratio.asin()
    };
    Duals {
        value: FRAC_2_PI * ratio.asin(),
        gap: FRAC_2_PI * gap,
        slope: gg * 2.0 * FRAC_2_PI / (a * b - 4.0 * k * k).sqrt(),
        error: f64::EPSILON,
    }
}

fn sin(pair: Pair, gg: f64) -> Duals {
    let Pair { q1, q2, gap } = pair;
    // E[cos(u - v)] and E[cos(u + v)]: -(q1+q2)/2 ± k written by the gap, of which neither overflows.
    let (a, b) = ((-gap).exp(), (gap - q1 - q2).exp());
    // ½ (E sin² u + E sin² v) - E sin u sin v.
    let lost = if q1 + q2 > 40.0 {
        // Own terms that are below rounding, or of a variance far from the other.
        -0.5 * (-gap).exp_m1() - 0.25 * ((-2.0 * q1).exp() + (-2.0 * q2).exp()) + 0.5 * b
    } else {
        let own = 2.0 * (0.5 * (q1 - q2)).sinh().powi(2) - gap.exp_m1();
        -0.5 * ((-gap).exp_m1() + (-q1 - q2).exp() * own)
    };
    Duals { value: 0.5 * (a - b), gap: lost, slope: 0.5 * gg * (a + b), error: f64::EPSILON }
}
