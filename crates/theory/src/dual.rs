//! Dual activations: the second moments of a pair of Gaussian pre-activations after a nonlinearity.
//!
//! For (u, v) ~ N(0, \[\[q1, k\], \[k, q2\]\]) and σ(x) = (f(x) - m)/s:
//!
//! `E[σ(u) σ(v)]`, `½ E[(σ(u) - σ(v))²]` and `E[σ'(u) σ'(v)]`
//!
//! Pairs store the *gap* `½ E[(u - v)²] = (q1 + q2)/2 - k` instead of their covariance. Deep in the order regime
//! correlations tend to 1, and 1 - c would be lost in rounding: 1 - c = gap / q if q1 = q2 = q.
//!
//! Scale and correlation are stored separately. Relu, leaky relu, abs and the identity are homogeneous, f(a x) = a f(x) for
//! a > 0, so they can be evaluated at variances of any size ([`Wide`]). Other functions are replaced by their tangent at 0
//! at very small variances, and by their asymptotes at very large variances.
//!
//! | f | closed form | source |
//! | --- | --- | --- |
//! | relu, leaky relu, abs, identity | arc-cosine kernels of order 0 and 1 | Cho and Saul, NeurIPS 2009 |
//! | erf | `(2/π) asin(2k / √((1+2q1)(1+2q2)))` | Williams, Neural Computation 10, 1998 |
//! | sin | `(exp(-gap) - exp(gap - q1 - q2)) / 2` | characteristic function of the normal |
//! | all others | quadrature with a stated error | [`crate::quadrature`](index.html) |

use std::f64::consts::{FRAC_2_PI, PI};

use fintan_config::{Activation, Function, Growth, expectation};

use crate::quadrature::bivariate;
use crate::wide::Wide;

/// Second moments of a pair of centred Gaussians.
///
/// ```
/// use fintan_theory::GaussianPair;
///
/// let pair = GaussianPair::of_covariance(1.0, 4.0, 1.0);
/// assert_eq!((pair.gap, pair.covariance()), (1.5, 1.0));
/// assert_eq!(pair.one_minus_correlation(), 0.5);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GaussianPair {
    /// Variance of u.
    pub q1: f64,
    /// Variance of v.
    pub q2: f64,
    /// ½ E\[(u - v)²\]; it lies between (√q1 - √q2)²/2 (c = 1) and (√q1 + √q2)²/2 (c = -1).
    pub gap: f64,
}

impl GaussianPair {
    /// A pair with the given covariance.
    #[must_use]
    pub fn of_covariance(q1: f64, q2: f64, covariance: f64) -> Self {
        Self { q1, q2, gap: f64::midpoint(q1, q2) - covariance }
    }

    /// A pair of unit variances with correlation c.
    #[must_use]
    pub fn of_correlation(c: f64) -> Self {
        Self { q1: 1.0, q2: 1.0, gap: 1.0 - c }
    }

    /// E\[u v\].
    #[must_use]
    pub fn covariance(&self) -> f64 {
        f64::midpoint(self.q1, self.q2) - self.gap
    }

    /// 1 - c, in \[0, 2\]; 0 if a variance is 0.
    #[must_use]
    pub fn one_minus_correlation(&self) -> f64 {
        let (a, b) = (self.q1.sqrt(), self.q2.sqrt());
        if a * b == 0.0 { 0.0 } else { ((self.gap - 0.5 * (a - b) * (a - b)) / (a * b)).clamp(0.0, 2.0) }
    }

    fn scaled(self, factor: f64) -> Self {
        Self { q1: factor * self.q1, q2: factor * self.q2, gap: factor * self.gap }
    }

    /// √(q1 q2), even if the product leaves the range of f64.
    pub(crate) fn size(&self) -> f64 {
        self.q1.sqrt() * self.q2.sqrt()
    }
}

/// Moments of one activated value σ(u), u ~ N(0, q).
///
/// ```
/// use fintan_config::{Activation, Function};
///
/// let relu = fintan_theory::Dual::new(Activation::raw(Function::Relu));
/// let moments = relu.moments(4.0); // u ~ N(0, 4)
/// assert!((moments.second - 2.0).abs() < 1e-12 && (moments.slope - 0.5).abs() < 1e-12);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ActivatedMoments {
    /// E\[σ(u)\]
    pub mean: f64,
    /// E\[σ(u)²\]
    pub second: f64,
    /// E\[σ'(u)²\]
    pub slope: f64,
}

/// [`ActivatedMoments`] of any size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct WideMoments {
    pub(crate) mean: Wide,
    pub(crate) second: Wide,
    pub(crate) slope: Wide,
}

/// A nonlinearity in the form of a broken line and a constant, `σ(u) = factor · line(u) + constant`. The line passes through
/// 0, with slope `up` above 0 and `down` below.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Line {
    pub(crate) up: f64,
    pub(crate) down: f64,
    pub(crate) factor: Wide,
    pub(crate) constant: f64,
}

impl Line {
    /// E\[line(u)²\] / q, which equals E\[line'(u)²\].
    fn both(&self) -> f64 {
        0.5 * (self.up * self.up + self.down * self.down)
    }

    fn mean(&self, q: Wide) -> Wide {
        (q * (1.0 / (2.0 * PI))).sqrt() * self.factor * (self.up - self.down)
    }

    fn moments(&self, q: Wide) -> WideMoments {
        let (mean, c) = (self.mean(q), Wide::new(self.constant));
        let slope = self.factor * self.factor * self.both();
        WideMoments { mean: mean + c, second: slope * q + (mean * 2.0 + c) * c, slope }
    }

    /// Derivatives of the mean and the second moment with respect to q.
    fn rates(&self, q: Wide) -> [Wide; 2] {
        let mean = if self.up == self.down { Wide::ZERO } else { self.mean(q) / (q * 2.0) };
        [mean, self.factor * self.factor * self.both() + mean * 2.0 * self.constant]
    }

    /// E\[line(u)\] and E\[line(u)²\], without factor and constant.
    pub(crate) fn own(&self, q: f64) -> [f64; 2] {
        [(self.up - self.down) * (q / (2.0 * PI)).sqrt(), self.both() * q]
    }

    /// Moments of a pair, for the line alone, without factor and constant.
    pub(crate) fn pair(&self, pair: GaussianPair) -> Duals {
        broken_line(pair, self.up, self.down)
    }
}

/// log₂ of the variance of g u below which a function is replaced by its tangent at 0, and above which it is replaced by its
/// asymptotes. The relative errors are √q and 1/√q.
const TANGENT: f64 = -120.0;
const ASYMPTOTES: f64 = 120.0;

/// Moments of an activated pair.
///
/// ```
/// use fintan_config::{Activation, Function};
/// use fintan_theory::{Dual, GaussianPair};
///
/// // The identity keeps the covariance.
/// let identity = Dual::new(Activation::raw(Function::Identity));
/// let duals = identity.pair(GaussianPair::of_covariance(1.0, 1.0, 0.5))?;
/// assert!((duals.value - 0.5).abs() < 1e-12 && (duals.gap - 0.5).abs() < 1e-12);
/// # Ok::<(), fintan_theory::DualError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Duals {
    /// E\[σ(u) σ(v)\]
    pub value: f64,
    /// ½ E\[(σ(u) - σ(v))²\]
    pub gap: f64,
    /// E\[σ'(u) σ'(v)\]
    pub slope: f64,
    /// Estimated error of all three, relative to the largest; for closed forms it is the rounding error.
    pub error: f64,
}

/// A dual activation that could not be computed accurately enough.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error(
    "quadrature of the dual activation of `{name}` at variances {q1:.4} and {q2:.4} has the error {error:.0e}; at most {LARGEST_ERROR:.0e} is allowed"
)]
pub struct DualError {
    name: &'static str,
    q1: f64,
    q2: f64,
    error: f64,
}

/// Largest relative error of a quadrature whose result is returned.
pub const LARGEST_ERROR: f64 = 1e-10;

/// The closed form of a dual activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClosedForm {
    /// For homogeneous functions, which are evaluated as a [`Line`] before a closed form is needed.
    ArcCosine,
    Erf,
    Sin,
}

/// The closed form of a function's dual activation; `None` if it is computed by quadrature.
fn closed_form(function: Function) -> Option<ClosedForm> {
    match function {
        Function::Relu | Function::LeakyRelu | Function::Abs | Function::Identity => Some(ClosedForm::ArcCosine),
        Function::Erf => Some(ClosedForm::Erf),
        Function::Sin => Some(ClosedForm::Sin),
        Function::Tanh
        | Function::Sigmoid
        | Function::Gelu
        | Function::GeluTanh
        | Function::Silu
        | Function::Mish
        | Function::Elu
        | Function::Selu
        | Function::Softplus => None,
    }
}

/// The dual activation of a nonlinearity.
///
/// ```
/// use fintan_config::{Activation, Function};
/// use fintan_theory::{Dual, GaussianPair};
/// use std::f64::consts::PI;
///
/// let relu = Dual::new(Activation::raw(Function::Relu));
/// let pair = relu.pair(GaussianPair::of_correlation(0.0))?;
/// assert!((pair.value - 0.5 / PI).abs() < 1e-12); // E[σ(u)]² of independent u and v
/// assert!((pair.slope - 0.25).abs() < 1e-12);
/// # Ok::<(), fintan_theory::DualError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Dual {
    activation: Activation,
    centre: f64,
    scale: f64,
}

impl Dual {
    /// The dual of a nonlinearity, including its gain and scaling.
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

    /// Whether the function is a line through 0, for instance a leaky relu of slope 1.
    pub(crate) fn is_linear(&self) -> bool {
        self.activation.lines().is_some_and(|[up, down]| up == down)
    }

    /// Whether `σ(a x) = a σ(x)` for a > 0.
    pub(crate) fn is_homogeneous(&self) -> bool {
        self.activation.is_homogeneous()
    }

    /// Whether the slope of the function jumps at 0.
    pub(crate) fn has_kink(&self) -> bool {
        self.activation.raw_slope(1e-300) != self.activation.raw_slope(-1e-300)
    }

    /// Whether pairs are computed by quadrature.
    #[must_use]
    pub fn is_quadrature(&self) -> bool {
        closed_form(self.activation.function).is_none()
    }

    /// The nonlinearity as a broken line, if it is one at all nonzero variances between 2^least and 2^most.
    pub(crate) fn line(&self, least: f64, most: f64) -> Option<Line> {
        let (f, steep) = (&self.activation, 2.0 * self.activation.gain.log2());
        let line = |up, down, at_zero: f64| Line {
            up,
            down,
            factor: Wide::new(f.gain) / Wide::new(self.scale),
            constant: (at_zero - self.centre) / self.scale,
        };
        if let Some([up, down]) = self.activation.lines() {
            return Some(line(up, down, 0.0));
        }
        if most + steep < TANGENT {
            let beside = 1e-300 / f.gain;
            return Some(line(f.raw_slope(beside) / f.gain, f.raw_slope(-beside) / f.gain, f.raw_value(0.0)));
        }
        match f.function.properties().growth {
            Growth::LineAbove { slope } => (least + steep > ASYMPTOTES).then(|| line(slope, 0.0, 0.0)),
            // Bounded, or homogeneous and handled above.
            Growth::Saturating | Growth::Periodic | Growth::Homogeneous => None,
        }
    }

    /// Moments at the variance q.
    #[must_use]
    pub fn moments(&self, q: f64) -> ActivatedMoments {
        let WideMoments { mean, second, slope } = self.wide_moments(Wide::new(q));
        ActivatedMoments { mean: mean.value(), second: second.value(), slope: slope.value() }
    }

    /// Moments at a variance q of any size.
    pub(crate) fn wide_moments(&self, q: Wide) -> WideMoments {
        if let Some(line) = self.line(q.log2(), q.log2()) {
            return line.moments(q);
        }
        let (within, beyond) = self.within(q);
        let raw = self.raw_moments(within);
        let (m, s) = (self.centre, self.scale);
        WideMoments {
            mean: Wide::new((raw.mean - m) / s),
            second: Wide::new((raw.second - 2.0 * m * raw.mean + m * m) / (s * s)),
            slope: beyond * (raw.slope / (s * s)),
        }
    }

    /// `½ E[(σ(u) - σ(v))²]` and `E[σ'(u) σ'(v)]` of a pair with equal variances of any size.
    pub(crate) fn wide_gap(&self, q: Wide, gap: Wide) -> Result<[Wide; 2], DualError> {
        if let Some(line) = self.line(q.log2(), q.log2()) {
            let (duals, square) =
                (line.pair(GaussianPair { q1: 1.0, q2: 1.0, gap: gap.over(q) }), line.factor * line.factor);
            return Ok([square * q * duals.gap, square * duals.slope]);
        }
        let duals = self.pair(GaussianPair { q1: q.value(), q2: q.value(), gap: gap.value() })?;
        Ok([Wide::new(duals.gap), Wide::new(duals.slope)])
    }

    /// The variance, limited to the value above which a bounded function acts like a step. Beyond it mean and second moment
    /// are constant, and E\[σ'²\] falls like 1/√q; the second result is this factor.
    fn within(&self, q: Wide) -> (f64, Wide) {
        let most = Wide::scaled(1.0, ASYMPTOTES as i64) / (Wide::new(self.activation.gain) * self.activation.gain);
        if q.log2() <= most.log2() || self.activation.function.properties().growth == Growth::Periodic {
            return (q.value(), Wide::new(1.0));
        }
        (most.value(), (most / q).sqrt())
    }

    /// Derivatives of E\[σ(u)\] and E\[σ(u)²\] with respect to the variance of u.
    pub(crate) fn rates(&self, q: Wide) -> [Wide; 2] {
        if let Some(line) = self.line(q.log2(), q.log2()) {
            return line.rates(q);
        }
        // By Stein's lemma d/dq E[g(√q Z)] = E[(Z² - 1) g(√q Z)] / (2q); this avoids the second derivative at kinks.
        let std = self.within(q).0.sqrt();
        let value = |z: f64| (self.activation.raw_value(std * z) - self.centre) / self.scale;
        let cuts = self.cuts(std);
        let of = |g: &dyn Fn(f64) -> f64| Wide::new(expectation(|z| (z * z - 1.0) * g(value(z)), &cuts)) / (q * 2.0);
        [of(&|v| v), of(&|v| v * v)]
    }

    /// Points at which integrals over z of f(std z) are cut: the kinks, and points ever closer to 0 if f is steep there.
    fn cuts(&self, std: f64) -> Vec<f64> {
        // `expectation` itself handles steepness up to 2^9.
        let halvings = (std * self.activation.gain).log2().clamp(0.0, 80.0) as i32;
        let last = if halvings > 9 { 12 + halvings } else { 0 };
        let finer = (13..=last).flat_map(|k| [-0.5_f64.powi(k), 0.5_f64.powi(k)]);
        self.activation.kinks().iter().copied().chain(finer).collect()
    }

    /// Moments of the raw function, if it is not a broken line.
    pub(crate) fn raw_moments(&self, q: f64) -> ActivatedMoments {
        let gg = self.activation.gain * self.activation.gain;
        let t = gg * q;
        match closed_form(self.activation.function) {
            Some(ClosedForm::Erf) => ActivatedMoments {
                mean: 0.0,
                second: FRAC_2_PI * (2.0 * t / (1.0 + 2.0 * t)).asin(),
                slope: gg * 2.0 * FRAC_2_PI / (1.0 + 4.0 * t).sqrt(),
            },
            Some(ClosedForm::Sin) => {
                let away = (-2.0 * t).exp_m1();
                ActivatedMoments { mean: 0.0, second: -0.5 * away, slope: gg * (1.0 + 0.5 * away) }
            }
            Some(ClosedForm::ArcCosine) | None => {
                let (std, f) = (q.sqrt(), &self.activation);
                let cuts = self.cuts(std);
                let of = |g: &dyn Fn(f64) -> f64| expectation(|z| g(std * z), &cuts);
                ActivatedMoments {
                    mean: of(&|x| f.raw_value(x)),
                    second: of(&|x| f.raw_value(x).powi(2)),
                    slope: of(&|x| f.raw_slope(x).powi(2)),
                }
            }
        }
    }

    /// Moments of an activated pair.
    ///
    /// # Errors
    /// A quadrature whose error remains above [`LARGEST_ERROR`], as for steep functions at large variances, or moments that
    /// are not finite.
    pub fn pair(&self, pair: GaussianPair) -> Result<Duals, DualError> {
        let GaussianPair { q1, q2, .. } = pair;
        let (least, most) = (q1.min(q2), q1.max(q2));
        let raw = if let Some(line) = self.line(if least == 0.0 { most } else { least }.log2(), most.log2()) {
            let (raw, square) = (line.pair(pair), (line.factor * line.factor).value());
            Duals { gap: square * raw.gap, slope: square * raw.slope, ..raw }
        } else {
            let raw = if least == 0.0 { self.at_zero(pair) } else { self.raw_pair(pair) };
            let ss = self.scale * self.scale;
            Duals { gap: raw.gap / ss, slope: raw.slope / ss, ..raw }
        };
        let name = self.activation.function.name();
        if raw.error.is_nan() || raw.error >= LARGEST_ERROR {
            return Err(DualError { name, q1, q2, error: raw.error });
        }
        let first = self.moments(q1).second;
        let second = if q1 == q2 { first } else { self.moments(q2).second };
        let found = Duals::of_gap(first, second, raw);
        if [found.value, found.gap, found.slope].iter().any(|v| !v.is_finite()) {
            return Err(DualError { name, q1, q2, error: f64::INFINITY });
        }
        Ok(found)
    }

    /// Converts gap and slope of the raw function to those of the scaled function, whose second moments are given.
    pub(crate) fn scaled(&self, [first, second]: [f64; 2], raw: Duals) -> Duals {
        let ss = self.scale * self.scale;
        Duals::of_gap(first, second, Duals { gap: raw.gap / ss, slope: raw.slope / ss, ..raw })
    }

    /// Moments of a pair in which one of the two values is 0 and not random.
    fn at_zero(&self, pair: GaussianPair) -> Duals {
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

    /// Moments of a pair under the raw function, if it is not a broken line.
    fn raw_pair(&self, pair: GaussianPair) -> Duals {
        let gg = self.activation.gain * self.activation.gain;
        match closed_form(self.activation.function) {
            Some(ClosedForm::Erf) => erf(pair.scaled(gg), gg),
            Some(ClosedForm::Sin) => sin(pair.scaled(gg), gg),
            Some(ClosedForm::ArcCosine) | None => {
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

impl Duals {
    /// Computes `value` from the second moments and the gap, not from E\[σ σ\]. In this way a pair of equal values has
    /// exactly the second moment of each.
    fn of_gap(first: f64, second: f64, rest: Self) -> Self {
        Self { value: f64::midpoint(first, second) - rest.gap, ..rest }
    }
}

/// f(x) = α x + γ |x| with α, γ = (up ± down)/2, and cos θ = c:
/// `E[f f] = α² k + γ² √(q1 q2) (2/π)(√(1-c²) + c asin c)`, `E[f' f'] = α² + γ² (2/π) asin c`.
///
/// The slope at 0 is that from the left; it is used for a value that is 0 and not random.
fn broken_line(pair: GaussianPair, up: f64, down: f64) -> Duals {
    let (odd, even) = ((0.5 * (up + down)).powi(2), (0.5 * (up - down)).powi(2));
    let theta = 2.0 * (0.5 * pair.one_minus_correlation()).sqrt().min(1.0).asin();
    let lost = even * pair.size() * FRAC_2_PI * sin_minus_theta_cos(theta);
    let slope = match [pair.q1 == 0.0, pair.q2 == 0.0] {
        [false, false] => odd + even - even * FRAC_2_PI * theta,
        [true, true] => down * down,
        [true, false] | [false, true] => down * 0.5 * (up + down),
    };
    Duals {
        value: (odd + even) * pair.covariance() + lost,
        gap: (odd + even) * pair.gap - lost,
        slope,
        error: f64::EPSILON,
    }
}

/// sin θ - θ cos θ; a series is used where the difference would lose digits.
fn sin_minus_theta_cos(theta: f64) -> f64 {
    if theta > 0.5 {
        return theta.sin() - theta * theta.cos();
    }
    let square = theta * theta;
    // θ³/3 (1 - θ²/10 (1 - θ²/28 (1 - θ²/54 (1 - θ²/88 (1 - θ²/130)))))
    let tail = [130.0, 88.0, 54.0, 28.0, 10.0].iter().fold(1.0, |inner, divisor: &f64| 1.0 - square / divisor * inner);
    theta * square / 3.0 * tail
}

fn erf(pair: GaussianPair, gg: f64) -> Duals {
    let (a, b) = (1.0 + 2.0 * pair.q1, 1.0 + 2.0 * pair.q2);
    let (k, root) = (pair.covariance(), a.sqrt() * b.sqrt());
    let ratio = 2.0 * k / root;
    // root - 2k, without cancellation if the two are nearly equal.
    let away = 1.0 + 2.0 * pair.gap - 0.5 * (a.sqrt() - b.sqrt()).powi(2);
    // asin x - asin y from x - y, without cancellation if x and y have the same sign.
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
        slope: gg * 2.0 * FRAC_2_PI / (away.sqrt() * (root + 2.0 * k).sqrt()),
        error: f64::EPSILON,
    }
}

fn sin(pair: GaussianPair, gg: f64) -> Duals {
    let GaussianPair { q1, q2, gap } = pair;
    // E[cos(u - v)] and E[cos(u + v)]: the exponents -(q1+q2)/2 ± k are written with the gap, so that neither overflows.
    let (a, b) = ((-gap).exp(), (gap - q1 - q2).exp());
    // ½ (E sin² u + E sin² v) - E sin u sin v.
    let lost = if q1 + q2 > 40.0 {
        // The own terms are below rounding, or belong to very different variances.
        -0.5 * (-gap).exp_m1() - 0.25 * ((-2.0 * q1).exp() + (-2.0 * q2).exp()) + 0.5 * b
    } else {
        let own = 2.0 * (0.5 * (q1 - q2)).sinh().powi(2) - gap.exp_m1();
        -0.5 * ((-gap).exp_m1() + (-q1 - q2).exp() * own)
    };
    Duals { value: 0.5 * (a - b), gap: lost, slope: 0.5 * gg * (a + b), error: f64::EPSILON }
}
