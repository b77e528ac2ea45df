//! Fixed points and depth scales of the variance and correlation maps of a block of layers.
//!
//! Of one nonlinearity and a linear layer `q ↦ w E[σ(√q Z)²] + b²` and, at its fixed point q*,
//! `c ↦ (w E[σ(u) σ(v)] + b²) / q*`: the correlation map, whose slope at 1 is `χ₁ = w E[σ'(√q* Z)²]`: below 1 order, above 1
//! chaos. Sources: Poole et al., NeurIPS 2016; Schoenholz et al., ICLR 2017. With w = σ_w² = 1 - β², b² = σ_b² = β² and a
//! standardized σ, q* = 1 and χ₁ is the characteristic value r. Other blocks compose such maps.
//!
//! A homogeneous block (no biases, no norm; relu, leaky relu, abs and linear layers) multiplies every variance by the same
//! factor: where that is 1 every variance is a fixed point, and else none above 0 is; its correlation map is the same at
//! every variance.

use rayon::prelude::*;

use crate::bulk::{Bulk, Rule};
use crate::dual::Dual;
use crate::limit::LimitError;
use crate::root::root;
use crate::wide::{Wide, power_of_two};

/// What depth does to the variance of pre-activations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fate {
    /// It tends to a fixed point.
    Tends,
    /// It stays as it is, whatever it is.
    Stays,
    /// It is multiplied by a factor below 1.
    Vanishes,
    /// It is multiplied by a factor above 1.
    Grows,
}

/// Where variances and correlations go with depth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeanField {
    /// Where the variance goes.
    pub fate: Fate,
    /// q*, to which the variance of pre-activations goes. Where every variance stays, the one that it has; where it vanishes
    /// or grows, one at which the correlation map, which is the same at all of them, was taken.
    pub q: f64,
    /// r: slope of the correlation map at 1. At a fixed point χ₁.
    pub chi: f64,
    /// c*, to which correlations go: 1 in order.
    pub c: f64,
    /// Slope of the correlation map at c*.
    pub chi_c: f64,
    /// Slope of the variance map at q*.
    pub chi_q: f64,
}

/// Slopes closer to 1 than that are 1 but for rounding: nothing decays at a rate.
const AT_ONE: f64 = 1e-9;

impl MeanField {
    /// Of a nonlinearity with weights of variance w / fan-in and biases of variance b², from a variance of 1 on.
    ///
    /// `None` where the variance grows without bound or vanishes, and the correlation map depends on it.
    ///
    /// # Errors
    /// A dual activation that quadrature does not reach.
    pub fn of(dual: &Dual, weights: f64, biases: f64) -> Result<Option<Self>, LimitError> {
        Self::of_block(&plain(dual, weights, biases), Wide::new(1.0))
    }

    /// Of a block that begins and ends at pre-activations, from a variance on.
    pub(crate) fn of_block(block: &[Rule], start: Wide) -> Result<Option<Self>, LimitError> {
        let (fate, q) = match fixed_variance(block, start)? {
            Variance::Tends(q) => (Fate::Tends, q),
            Variance::Stays => (Fate::Stays, start.value()),
            Variance::Vanishes | Variance::Grows if !block.iter().all(Rule::is_homogeneous) => return Ok(None),
            Variance::Vanishes => (Fate::Vanishes, 1.0),
            Variance::Grows => (Fate::Grows, 1.0),
        };
        // The variance that stays may be one that f64 does not hold.
        let at = if q.is_normal() { q } else { 1.0 };
        let begin = Bulk { rates: Some([Wide::ZERO, Wide::new(1.0)]), ..Bulk::of(Wide::new(at)) };
        let end = begin.through(block)?;
        let grown = end.q.over(begin.q);
        let chi_q = end.rates.map_or(f64::NAN, |[_, q]| q.value());
        // At a fixed point the variance is what it was but for rounding.
        let slope_of = |slope: Wide| slope.value() / if fate == Fate::Tends { 1.0 } else { grown };
        let chi = slope_of(end.slope);
        let (mut c, mut chi_c) = (1.0, chi);
        if chi > 1.0 + AT_ONE {
            let to = |h: f64| Bulk { gap: Wide::new(at * h), ..Bulk::of(Wide::new(at)) }.through(block);
            let growth = |h: f64| to(h).map(|end| slope_of(end.gap) / (at * h) - 1.0);
            // No further than c = 0, where the map cannot point below the diagonal but for rounding.
            let h = if growth(1.0)? > -1e-13 { 1.0 } else { root(growth, [1e-12, 1.0], 1e-15)?.unwrap_or(0.0) };
            (c, chi_c) = (1.0 - h, slope_of(to(h)?.slope));
        }
        Ok(Some(Self { fate, q, chi, c, chi_c, chi_q }))
    }

    /// ξ_c: layers over which what is left to the fixed correlation shrinks e-fold; `None` at the edge.
    #[must_use]
    pub fn correlation_depth(&self) -> Option<f64> {
        depth_scale(self.chi_c)
    }

    /// ξ_q: the same of the variance; `None` where every variance stays, or none does.
    #[must_use]
    pub fn variance_depth(&self) -> Option<f64> {
        (self.fate == Fate::Tends).then(|| depth_scale(self.chi_q)).flatten()
    }
}

/// Of the slope of a map at its fixed point.
fn depth_scale(slope: f64) -> Option<f64> {
    (slope > 0.0 && slope < 1.0 - AT_ONE).then(|| -1.0 / slope.ln())
}

/// One nonlinearity and a linear layer.
fn plain(dual: &Dual, weights: f64, biases: f64) -> Vec<Rule> {
    vec![Rule::Activation(dual.clone()), Rule::Linear { weights, biases }]
}

/// Where the variance goes with depth.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Variance {
    Tends(f64),
    /// Every variance is a fixed point.
    Stays,
    Vanishes,
    Grows,
}

/// The fixed point that iteration from `start` reaches.
fn fixed_variance(block: &[Rule], start: Wide) -> Result<Variance, LimitError> {
    // By how much a variance grows, relative to it.
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
    // Towards where it goes, by secants, which do not step over a fixed point to another one that is near it; no further
    // at once than by a factor, which grows where the fixed point is far.
    let up = at_start > 0.0;
    let [mut here, mut before] = [start; 2];
    let [mut growth, mut growth_before] = [start * at_start; 2];
    let (mut factor, mut steps) = (1.25_f64, 0);
    loop {
        let furthest = here * if up { factor } else { 1.0 / factor };
        let slowing = growth.over(growth_before);
        let next = if slowing < 1.0 {
            // Where the growth would be 0 if it went on falling so.
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

/// Powers of two of the start's variance between which fixed points are looked for.
const RANGE: i64 = 900;

/// [`critical_weights`] of many variances of biases.
///
/// # Errors
/// A dual activation that quadrature does not reach.
pub fn critical_line(dual: &Dual, biases: &[f64]) -> Result<Vec<Option<f64>>, LimitError> {
    critical_line_of_block(&plain(dual, 1.0, 0.0), biases)
}

/// Of a block whose linear layers all have these variances.
pub(crate) fn critical_line_of_block(block: &[Rule], biases: &[f64]) -> Result<Vec<Option<f64>>, LimitError> {
    biases.par_iter().map(|&b| critical(block, b)).collect()
}

/// The w at which χ₁ = 1 for biases of variance b²: a point of the critical line between order and chaos.
///
/// `None` where no w in \[0.01, 100\] is critical.
///
/// # Errors
/// A dual activation that quadrature does not reach.
pub fn critical_weights(dual: &Dual, biases: f64) -> Result<Option<f64>, LimitError> {
    critical(&plain(dual, 1.0, 0.0), biases)
}

fn critical(block: &[Rule], biases: f64) -> Result<Option<f64>, LimitError> {
    // Small w is ordered: without biases the variance vanishes, and the slope there is that at 0. Where it grows w is too
    // large.
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
