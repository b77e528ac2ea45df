//! The tangent kernel of fully connected nets as they get deeper, and the laws it follows.
//!
//! On the sphere |x|² = n_0, with c = x·y / n_0, weights of variance w / fan-in and biases of variance b²:
//!
//! `Σ¹ = Θ¹ = b² + w c`, `Σ^{l+1} = b² + w E[σσ]`, `Θ^{l+1} = w E[σ'σ'] Θ^l + Σ^{l+1}`
//!
//! (Jacot, Gabriel, Hongler, NeurIPS 2018). The scaled kernel is `ϑ = Θ(x, y) / √(Θ(x, x) Θ(y, y))`.

use rayon::prelude::*;

use crate::dual::{Dual, DualError, Duals, Moments, Pair};
use crate::mean_field::MeanField;
use crate::series::Known;

/// The kernels of a network with a number of linear layers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AtDepth {
    /// Linear layers L.
    pub layers: usize,
    /// Σ(x, x)
    pub variance: f64,
    /// 1 - c of the outputs, exact where c is close to 1.
    pub one_minus_correlation: f64,
    /// Θ(x, x)
    pub own_ntk: f64,
    /// Θ(x, y)
    pub ntk: f64,
}

impl AtDepth {
    /// ϑ(x, y).
    #[must_use]
    pub fn scaled(&self) -> f64 {
        self.ntk / self.own_ntk
    }

    /// Condition number of the kernel of n inputs whose pairs are all as this one: `(Θ_xx + (n-1) Θ_xy) / (Θ_xx - Θ_xy)`, or
    /// its inverse where Θ_xy < 0; infinite where their difference is rounding.
    #[must_use]
    pub fn condition_number(&self, n: usize) -> f64 {
        condition(self.scaled(), n)
    }
}

/// Share of the diagonal below which an eigenvalue is rounding.
const ROUNDING: f64 = 1e-14;

/// Of the n-by-n matrix of 1 on and ϑ off the diagonal: `(1 + (n-1) ϑ) / (1 - ϑ)`, or its inverse where ϑ < 0.
pub(crate) fn condition(scaled: f64, n: usize) -> f64 {
    let (one, rest) = (1.0 + (n as f64 - 1.0) * scaled, 1.0 - scaled);
    let (large, small) = if one >= rest { (one, rest) } else { (rest, one) };
    if small > ROUNDING { large / small } else { f64::INFINITY }
}

/// Kernels of nets of 1, 2, ..., `layers` linear layers between two points of the sphere with 1 - c = `gap`.
///
/// # Errors
/// A dual activation that quadrature does not reach.
pub fn depth_sweep(dual: &Dual, weights: f64, biases: f64, gap: f64, layers: usize) -> Result<Vec<AtDepth>, DualError> {
    let of = |pair: Pair| Ok((dual.pair(pair)?, dual.moments(pair.q1)));
    sweep(of, weights, biases, gap, layers)
}

/// The same for many gaps: variances do not depend on them, and what is worked out for one serves all.
///
/// # Errors
/// As [`depth_sweep`].
pub fn depth_sweeps(
    dual: &Dual,
    weights: f64,
    biases: f64,
    gaps: &[f64],
    layers: usize,
) -> Result<Vec<Vec<AtDepth>>, DualError> {
    let known = Known::default();
    let of = |pair: Pair| {
        let series = if dual.is_quadrature() { known.pair(dual, pair) } else { None };
        Ok((series.map_or_else(|| dual.pair(pair), Ok)?, known.moments(dual, pair.q1)))
    };
    gaps.par_iter().map(|&gap| sweep(of, weights, biases, gap, layers)).collect()
}

fn sweep(
    of: impl Fn(Pair) -> Result<(Duals, Moments), DualError>,
    weights: f64,
    biases: f64,
    gap: f64,
    layers: usize,
) -> Result<Vec<AtDepth>, DualError> {
    let (mut q, mut gap) = (weights + biases, weights * gap);
    let (mut own, mut ntk) = (q, q - gap);
    let mut found = Vec::with_capacity(layers);
    for l in 1..=layers {
        found.push(AtDepth { layers: l, variance: q, one_minus_correlation: gap / q, own_ntk: own, ntk });
        if l == layers {
            break;
        }
        let (duals, moments) = of(Pair { q1: q, q2: q, gap })?;
        (q, gap) = (biases + weights * moments.second, weights * duals.gap);
        (own, ntk) = (weights * moments.slope * own + q, weights * duals.slope * ntk + q - gap);
        // Deep in order the two differ by less than their rounding.
        ntk = ntk.min(own);
    }
    Ok(found)
}

/// How ϑ approaches its limit as L grows, for x ≠ ±y. Sources: arXiv 1907.05715; Hayou, Doucet, Rousseau 2019 (edge).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Law {
    /// `1 - ϑ ~ L r^L`: order with a differentiable σ.
    Smooth,
    /// `1 - ϑ ~ r^{L/2}`: order with a kink in σ, whose E\[σ'σ'\] has a square root at c = 1.
    Kinked,
    /// ϑ goes to 1/4 like log L / L: the edge with a kink.
    KinkedEdge,
    /// ϑ goes to 1/3 like log L / L: the edge with a smooth, nonlinear σ.
    SmoothEdge,
    /// ϑ stays: a linear network at the edge.
    Linear,
    /// `ϑ r^L` tends to `a (r - 1) / (1 - χ)`, with a the limit of correlations and χ the slope of their map there.
    Chaos {
        /// The limit of ϑ r^L.
        prefactor: f64,
    },
    /// ϑ vanishes faster, like `(χ/r)^L` up to powers of L: chaos whose correlations go to 0.
    CentredChaos {
        /// χ/r
        rate: f64,
    },
}

/// Largest |r - 1| at which the limits are those of the edge: closer than [`crate::Regime`] draws it, since r = 0.9975 is
/// order, whose limit is 1.
const AT_THE_EDGE: f64 = 1e-6;

impl Law {
    /// Of a nonlinearity at its fixed point.
    #[must_use]
    pub fn of(dual: &Dual, at: &MeanField) -> Self {
        let activation = dual.activation();
        let kink = activation.raw_slope(1e-300) != activation.raw_slope(-1e-300);
        if (at.chi - 1.0).abs() < AT_THE_EDGE {
            return match kink {
                _ if dual.is_linear() => Self::Linear,
                true => Self::KinkedEdge,
                false => Self::SmoothEdge,
            };
        }
        match at.chi < 1.0 {
            true if kink => Self::Kinked,
            true => Self::Smooth,
            false if at.c > 1e-9 => Self::Chaos { prefactor: at.c * (at.chi - 1.0) / (1.0 - at.chi_c) },
            false => Self::CentredChaos { rate: at.chi_c / at.chi },
        }
    }

    /// The law in words.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Smooth => "1 - ϑ shrinks like L r^L".into(),
            Self::Kinked => "1 - ϑ shrinks like r^(L/2)".into(),
            Self::KinkedEdge => "ϑ tends to 1/4 like log(L)/L".into(),
            Self::SmoothEdge => "ϑ tends to 1/3 like log(L)/L".into(),
            Self::Linear => "ϑ stays as it is".into(),
            Self::Chaos { prefactor } => format!("ϑ shrinks like {prefactor:.4} r^-L"),
            Self::CentredChaos { rate } => format!("ϑ shrinks like {rate:.4}^L, up to powers of L"),
        }
    }
}
