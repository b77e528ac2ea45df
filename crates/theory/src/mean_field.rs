//! Fixed points and depth scales of the variance and correlation maps of a block of layers.
//!
//! For one nonlinearity and a linear layer, the variance map is `q ↦ w E[σ(√q Z)²] + b²`. At its fixed point q* the
//! correlation map is `c ↦ (w E[σ(u) σ(v)] + b²) / q*`. Its slope at 1 is `χ₁ = w E[σ'(√q* Z)²]`: below 1 order, above 1
//! chaos. Sources: Poole et al., NeurIPS 2016; Schoenholz et al., ICLR 2017. With w = σ_w² = 1 - β², b² = σ_b² = β² and a
//! standardized σ, q* = 1 and χ₁ is the characteristic value r. Other blocks compose such maps.
//!
//! A homogeneous block (no biases, no norm; relu, leaky relu, abs and linear layers) multiplies every variance by the same
//! factor. If the factor is 1, every variance is a fixed point; otherwise no positive variance is. The correlation map is
//! the same at every variance.

use rayon::prelude::*;

use crate::bulk::{Bulk, Rule};
use crate::dual::Dual;
use crate::limit::LimitError;
use crate::root::root;
use crate::wide::{Wide, power_of_two};

/// The behaviour of the variance of pre-activations with depth.
///
/// ```
/// use fintan_config::{Activation, Function};
/// use fintan_theory::{Dual, Fate, MeanField};
///
/// let relu = Dual::new(Activation::raw(Function::Relu));
/// let fate = |weights| MeanField::of(&relu, weights, 0.0).map(|limits| limits.expect("homogeneous").fate);
/// assert_eq!((fate(1.0)?, fate(3.0)?), (Fate::Vanishes, Fate::Grows));
/// # Ok::<(), fintan_theory::LimitError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fate {
    /// It tends to a fixed point.
    Tends,
    /// It does not change, whatever its value.
    Stays,
    /// It is multiplied by a factor below 1.
    Vanishes,
    /// It is multiplied by a factor above 1.
    Grows,
}

/// The limits of variances and correlations with depth.
///
/// ```
/// use fintan_config::{Activation, Function};
/// use fintan_theory::{Dual, Fate, MeanField};
///
/// // He initialisation of ReLU networks lies on the critical line.
/// let relu = Dual::new(Activation::raw(Function::Relu));
/// let limits = MeanField::of(&relu, 2.0, 0.0)?.expect("the variance stays");
/// assert_eq!(limits.fate, Fate::Stays);
/// assert!((limits.chi - 1.0).abs() < 1e-12);
/// # Ok::<(), fintan_theory::LimitError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeanField {
    /// The behaviour of the variance.
    pub fate: Fate,
    /// q*, the limit of the variance of pre-activations. If every variance is a fixed point, it is the variance of the
    /// network. If the variance vanishes or grows, it is the variance at which the correlation map was computed (the map is
    /// the same at all of them).
    pub q: f64,
    /// r: the slope of the correlation map at 1. At a fixed point it is χ₁.
    pub chi: f64,
    /// c*, the limit of correlations; 1 in the order regime.
    pub c: f64,
    /// Slope of the correlation map at c*.
    pub chi_c: f64,
    /// Slope of the variance map at q*.
    pub chi_q: f64,
}

/// Slopes closer to 1 than this equal 1 up to rounding: there is no exponential decay.
const AT_ONE: f64 = 1e-9;

impl MeanField {
    /// The limits for one nonlinearity with weights of variance w / fan-in and biases of variance b², starting from variance
    /// 1.
    ///
    /// `None` if the variance grows without bound or vanishes, and the correlation map depends on it.
    ///
    /// # Errors
    /// A dual activation that quadrature cannot compute.
    pub fn of(dual: &Dual, weights: f64, biases: f64) -> Result<Option<Self>, LimitError> {
        Self::of_block(&plain(dual, weights, biases), Wide::new(1.0))
    }

    /// The limits for a block that starts and ends at pre-activations, starting from the variance `start`.
    pub(crate) fn of_block(block: &[Rule], start: Wide) -> Result<Option<Self>, LimitError> {
        let (fate, q) = match fixed_variance(block, start)? {
            Variance::Tends(q) => (Fate::Tends, q),
            Variance::Stays => (Fate::Stays, start.value()),
            Variance::Vanishes | Variance::Grows if !block.iter().all(Rule::is_homogeneous) => return Ok(None),
            Variance::Vanishes => (Fate::Vanishes, 1.0),
            Variance::Grows => (Fate::Grows, 1.0),
        };
        // If every variance is a fixed point, the variance may be outside the range of f64.
        let at = if q.is_normal() { q } else { 1.0 };
        let begin = Bulk { rates: Some([Wide::ZERO, Wide::new(1.0)]), ..Bulk::of(Wide::new(at)) };
        let end = begin.through(block)?;
        let grown = end.q.over(begin.q);
        let chi_q = end.rates.map_or(f64::NAN, |[_, q]| q.value());
        // At a fixed point the variance is unchanged up to rounding.
        let slope_of = |slope: Wide| slope.value() / if fate == Fate::Tends { 1.0 } else { grown };
        let chi = slope_of(end.slope);
        let (mut c, mut chi_c) = (1.0, chi);
        if chi > 1.0 + AT_ONE {
            let to = |h: f64| Bulk { gap: Wide::new(at * h), ..Bulk::of(Wide::new(at)) }.through(block);
            let growth = |h: f64| to(h).map(|end| slope_of(end.gap) / (at * h) - 1.0);
            // The search ends at c = 0, where the map lies below the diagonal only by rounding.
            let h = if growth(1.0)? > -1e-13 { 1.0 } else { root(growth, [1e-12, 1.0], 1e-15)?.unwrap_or(0.0) };
            (c, chi_c) = (1.0 - h, slope_of(to(h)?.slope));
        }
        Ok(Some(Self { fate, q, chi, c, chi_c, chi_q }))
    }

    /// ξ_c: number of layers over which the distance to c* falls by a factor e; `None` at the edge.
    #[must_use]
    pub fn correlation_depth(&self) -> Option<f64> {
        depth_scale(self.chi_c)
    }

    /// ξ_q: number of layers over which the distance to q* falls by a factor e; `None` unless the variance tends to q*.
    #[must_use]
    pub fn variance_depth(&self) -> Option<f64> {
        (self.fate == Fate::Tends).then(|| depth_scale(self.chi_q)).flatten()
    }
}

/// The depth scale for a map with this slope at its fixed point.
fn depth_scale(slope: f64) -> Option<f64> {
    (slope > 0.0 && slope < 1.0 - AT_ONE).then(|| -1.0 / slope.ln())
}

/// The block of one nonlinearity and a linear layer.
fn plain(dual: &Dual, weights: f64, biases: f64) -> Vec<Rule> {
    vec![Rule::Activation(dual.clone()), Rule::Linear { weights, biases }]
}

/// The behaviour of the variance with depth, with its limit.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Variance {
    Tends(f64),
    /// Every variance is a fixed point.
    Stays,
    Vanishes,
    Grows,
}

/// The limit of the variance, starting from `start`.
fn fixed_variance(block: &[Rule], start: Wide) -> Result<Variance, LimitError> {
    // Relative growth of a variance in one block.
    let surplus = |q: Wide| Bulk::of(q).through(block).map(|end| end.q.over(q) - 1.0);
    let gone = |at: f64| if at > 0.0 { Variance::Grows } else { Variance::Vanishes };
    if block.iter().all(Rule::is_homogeneous) {
        let at_one = surplus(Wide::new(1.0))?;
        return Ok(if at_one.abs() < 1e-12 { Variance::Stays } else { gone(at_one) });
    }
    let at_start = surplus(start)?;
    if at_start.abs() < 4.0 * f64::EPSILON {
        return Ok(Variance::Tends(start.value()));
    }
    // Moves towards the limit by secant steps, which do not step over one fixed point to another nearby. A step is limited
    // by a factor, which grows if the fixed point is far.
    let up = at_start > 0.0;
    let [mut here, mut before] = [start; 2];
    let [mut growth, mut growth_before] = [start * at_start; 2];
    let (mut factor, mut steps) = (1.25_f64, 0);
    loop {
        let furthest = here * if up { factor } else { 1.0 / factor };
        let slowing = growth.over(growth_before);
        let next = if slowing < 1.0 {
            // The secant estimate of the point where the growth becomes 0.
            let secant = here + (here - before) * (slowing / (1.0 - slowing));
            if ((secant - furthest).value() > 0.0) == up { furthest } else { secant }
        } else {
            furthest
        };
        let found = surplus(next)?;
        if found.abs() < 4.0 * f64::EPSILON || next == here {
            return Ok(Variance::Tends(next.value()));
        }
        if (found > 0.0) != up {
            let (a, b) = (here.value(), next.value());
            let root = root(|q| surplus(Wide::new(q)), [a.min(b), a.max(b)], 4e-16)?;
            return Ok(root.map_or(gone(at_start), Variance::Tends));
        }
        (before, growth_before) = (here, growth);
        (here, growth) = (next, next * found);
        steps += 1;
        factor = if steps < 40 { 2.0 } else { (factor * factor).min(1e60) };
        if (here.log2() - start.log2()).abs() > RANGE as f64 {
            return Ok(gone(at_start));
        }
    }
}

/// Fixed points are searched between 2^-900 and 2^900 times the starting variance.
const RANGE: i64 = 900;

/// [`critical_weights`] for many variances of biases.
///
/// # Errors
/// A dual activation that quadrature cannot compute.
pub fn critical_line(dual: &Dual, biases: &[f64]) -> Result<Vec<Option<f64>>, LimitError> {
    critical_line_of_block(&plain(dual, 1.0, 0.0), biases)
}

/// The critical line of a block whose linear layers all get the same variances.
pub(crate) fn critical_line_of_block(block: &[Rule], biases: &[f64]) -> Result<Vec<Option<f64>>, LimitError> {
    biases.par_iter().map(|&b| critical(block, b)).collect()
}

/// The w for which χ₁ = 1 with biases of variance b²: a point on the critical line between order and chaos.
///
/// `None` if no w in \[0.01, 100\] is critical.
///
/// ```
/// use fintan_config::{Activation, Function};
///
/// let relu = fintan_theory::Dual::new(Activation::raw(Function::Relu));
/// let weights = fintan_theory::critical_weights(&relu, 0.0)?.expect("a critical point");
/// assert!((weights - 2.0).abs() < 1e-9); // He initialisation
/// # Ok::<(), fintan_theory::LimitError>(())
/// ```
///
/// # Errors
/// A dual activation that quadrature cannot compute.
pub fn critical_weights(dual: &Dual, biases: f64) -> Result<Option<f64>, LimitError> {
    critical(&plain(dual, 1.0, 0.0), biases)
}

fn critical(block: &[Rule], biases: f64) -> Result<Option<f64>, LimitError> {
    // Small w gives order: without biases the variance vanishes, and the slope is that at variance 0. If the variance grows,
    // w is too large.
    let excess = |w: f64| {
        let block: Vec<Rule> = block.iter().map(|rule| rule.with_variances(w, biases)).collect();
        let slope = |q: f64| Bulk::of(Wide::new(q)).through(&block).map(|end| end.slope.value());
        let chi = match fixed_variance(&block, Wide::new(1.0))? {
            Variance::Tends(q) => slope(q)?,
            Variance::Stays => slope(1.0)?,
            Variance::Vanishes => slope(power_of_two(-RANGE))?,
            Variance::Grows => f64::MAX.sqrt(),
        };
        Ok(chi.min(1e3) - 1.0)
    };
    root(excess, [0.01, 100.0], 1e-14)
}
