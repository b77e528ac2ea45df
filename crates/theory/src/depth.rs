//! The tangent kernel of fully connected networks as a function of depth, and its asymptotic laws.
//!
//! On the sphere |x|² = n_0, with c = x·y / n_0, weights of variance w / fan-in, and biases of variance b²:
//!
//! `Σ¹ = Θ¹ = b² + w c`, `Σ^{l+1} = b² + w E[σσ]`, `Θ^{l+1} = w E[σ'σ'] Θ^l + Σ^{l+1}`
//!
//! (Jacot, Gabriel, Hongler, NeurIPS 2018). The scaled kernel is `ϑ = Θ(x, y) / √(Θ(x, x) Θ(y, y))`.

use crate::bulk::Rule;
use crate::dual::{Dual, DualError};
use crate::mean_field::MeanField;
use crate::wide::Wide;

/// The kernels of a network with L linear layers.
///
/// ```
/// use fintan_config::{Activation, Function};
/// use fintan_theory::{Dual, depth_sweep};
/// use std::f64::consts::PI;
///
/// let relu = Dual::new(Activation::raw(Function::Relu));
/// // Orthogonal inputs, weights of variance 2 / fan-in, networks of 1 and 2 linear layers.
/// let sweep = depth_sweep(&relu, 2.0, 0.0, 1.0, 2)?;
/// assert_eq!((sweep[0].layers, sweep[0].scaled()), (1, 0.0));
/// assert!((sweep[1].scaled() - 0.5 / PI).abs() < 1e-12);
/// # Ok::<(), fintan_theory::DualError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AtDepth {
    /// Number of linear layers L.
    pub layers: usize,
    /// Σ(x, x)
    pub variance: Wide,
    /// 1 - c of the outputs, accurate even if c is close to 1.
    pub one_minus_correlation: f64,
    /// Θ(x, x)
    pub own_ntk: Wide,
    /// Θ(x, y)
    pub ntk: Wide,
}

impl AtDepth {
    /// The scaled kernel ϑ(x, y).
    #[must_use]
    pub fn scaled(&self) -> f64 {
        self.ntk.over(self.own_ntk)
    }

    /// Condition number of the kernel of n inputs whose pairs all have this ϑ: `(Θ_xx + (n-1) Θ_xy) / (Θ_xx - Θ_xy)`, or its
    /// inverse if Θ_xy < 0. It is infinite if the difference is below rounding.
    #[must_use]
    pub fn condition_number(&self, n: usize) -> f64 {
        condition(self.scaled(), n)
    }
}

/// Eigenvalues below this fraction of the diagonal are rounding errors.
const ROUNDING: f64 = 1e-14;

/// The largest condition number that can be computed for n inputs; above it, the smallest eigenvalue is a rounding error.
#[must_use]
pub fn condition_bound(n: usize) -> f64 {
    n as f64 / ROUNDING
}

/// Condition number of the n-by-n matrix with 1 on the diagonal and ϑ elsewhere: `(1 + (n-1) ϑ) / (1 - ϑ)`, or its inverse
/// if ϑ < 0.
pub(crate) fn condition(scaled: f64, n: usize) -> f64 {
    let (one, rest) = (1.0 + (n as f64 - 1.0) * scaled, 1.0 - scaled);
    let (large, small) = if one >= rest { (one, rest) } else { (rest, one) };
    if small > ROUNDING { large / small } else { f64::INFINITY }
}

/// Kernels of networks with 1, 2, ..., `layers` linear layers between two points of the sphere with 1 - c = `gap`.
///
/// # Errors
/// A dual activation that quadrature cannot compute.
pub fn depth_sweep(dual: &Dual, weights: f64, biases: f64, gap: f64, layers: usize) -> Result<Vec<AtDepth>, DualError> {
    let (mut q, mut gap) = (Wide::new(weights + biases), Wide::new(weights * gap));
    let (mut own, mut ntk) = (q, q - gap);
    let mut found = Vec::with_capacity(layers);
    for l in 1..=layers {
        found.push(AtDepth { layers: l, variance: q, one_minus_correlation: gap.over(q), own_ntk: own, ntk });
        if l == layers {
            break;
        }
        let moments = dual.wide_moments(q);
        let [lost, slope] = dual.wide_gap(q, gap)?;
        (q, gap) = (moments.second * weights + Wide::new(biases), lost * weights);
        (own, ntk) = (moments.slope * weights * own + q, slope * weights * ntk + q - gap);
        // Deep in the order regime, the difference of the two is below their rounding.
        if (own - ntk).value() < 0.0 {
            ntk = own;
        }
    }
    Ok(found)
}

/// Asymptotic law of ϑ as L grows, for x ≠ ±y. Sources: arXiv 1907.05715; Hayou, Doucet, Rousseau 2019 (edge).
///
/// ```
/// use fintan_config::{Activation, Function};
/// use fintan_theory::{Dual, Law, MeanField};
///
/// let relu = Dual::new(Activation::raw(Function::Relu));
/// let critical = MeanField::of(&relu, 2.0, 0.0)?.expect("the variance stays");
/// assert_eq!(Law::of(&relu, &critical), Law::KinkedEdge); // ϑ tends to 1/4
/// # Ok::<(), fintan_theory::LimitError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Law {
    /// `1 - ϑ ~ L r^L`: order, with a differentiable σ.
    Smooth,
    /// `1 - ϑ ~ r^{L/2}`: order, with a kink in σ, for which E\[σ'σ'\] behaves like a square root at c = 1.
    Kinked,
    /// ϑ tends to 1/4 with corrections of order log L / L: the edge, with a kink in σ.
    KinkedEdge,
    /// ϑ tends to 1/3 with corrections of order log L / L: the edge, with a smooth, nonlinear σ.
    SmoothEdge,
    /// ϑ does not change: a linear network at the edge.
    Linear,
    /// `ϑ r^L` tends to a constant. For dense networks with one nonlinearity the constant is `a (r - 1) / (1 - χ)`, where a
    /// is the limit of correlations and χ the slope of their map there.
    Chaos {
        /// The limit of ϑ r^L; `None` if it is unknown.
        prefactor: Option<f64>,
    },
    /// ϑ vanishes faster, like `(χ/r)^L` up to powers of L: chaos in which correlations tend to 0.
    CentredChaos {
        /// χ/r
        rate: f64,
    },
}

/// Largest |r - 1| for which the laws of the edge are used. It is smaller than the range of the edge in [`crate::Regime`],
/// because for r = 0.9975, for example, the limit is 1, as in the order regime.
const AT_THE_EDGE: f64 = 1e-6;

impl Law {
    /// The law of dense networks with one nonlinearity, at its fixed point.
    #[must_use]
    pub fn of(dual: &Dual, at: &MeanField) -> Self {
        Self::of_block(&[Rule::Activation(dual.clone())], at, true)
    }

    /// The law of a block that is repeated L times. `is_plain`: the whole network consists of one nonlinearity and dense
    /// layers.
    pub(crate) fn of_block(block: &[Rule], at: &MeanField, is_plain: bool) -> Self {
        let kink = block.iter().any(|rule| rule.any_activation(&Dual::has_kink));
        let linear = !block.iter().any(|rule| rule.any_activation(&|dual: &Dual| !dual.is_linear()));
        if (at.chi - 1.0).abs() < AT_THE_EDGE {
            return match kink {
                _ if linear => Self::Linear,
                true => Self::KinkedEdge,
                false => Self::SmoothEdge,
            };
        }
        match at.chi < 1.0 {
            true if kink => Self::Kinked,
            true => Self::Smooth,
            false if at.c > 1e-9 => {
                Self::Chaos { prefactor: is_plain.then(|| at.c * (at.chi - 1.0) / (1.0 - at.chi_c)) }
            }
            false => Self::CentredChaos { rate: at.chi_c / at.chi },
        }
    }

    /// A description of the law.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Smooth => "1 - ϑ shrinks like L r^L".into(),
            Self::Kinked => "1 - ϑ shrinks like r^(L/2)".into(),
            Self::KinkedEdge => "ϑ tends to 1/4 like log(L)/L".into(),
            Self::SmoothEdge => "ϑ tends to 1/3 like log(L)/L".into(),
            Self::Linear => "ϑ stays as it is".into(),
            Self::Chaos { prefactor: Some(prefactor) } => format!("ϑ shrinks like {prefactor:.4} r^-L"),
            Self::Chaos { prefactor: None } => "ϑ shrinks like r^-L".into(),
            Self::CentredChaos { rate } => format!("ϑ shrinks like {rate:.4}^L, up to powers of L"),
        }
    }
}
