//! Fixed points and depth scales of the variance and correlation maps.
//!
//! `q ↦ w E[σ(√q Z)²] + b²` and, at its fixed point q*, `c ↦ (w E[σ(u) σ(v)] + b²) / q*`: the correlation map, whose slope
//! at 1 is `χ₁ = w E[σ'(√q* Z)²]`: below 1 order, above 1 chaos. Sources: Poole et al., NeurIPS 2016; Schoenholz et al.,
//! ICLR 2017. With w = σ_w² = 1 - β², b² = σ_b² = β² and a standardized σ, q* = 1 and χ₁ is the characteristic value r.

use fintan_config::expectation;
use rayon::prelude::*;

use crate::dual::{Dual, DualError, Pair};
use crate::root::root;

/// Where variances and correlations go with depth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeanField {
    /// q*, to which the variance of pre-activations goes.
    pub q: f64,
    /// χ₁ = r: slope of the correlation map at 1.
    pub chi: f64,
    /// c*, to which correlations go: 1 in order.
    pub c: f64,
    /// Slope of the correlation map at c*.
    pub chi_c: f64,
    /// Slope of the variance map at q*.
    pub chi_q: f64,
}

impl MeanField {
    /// Of a nonlinearity with weights of variance w / fan-in and biases of variance b².
    ///
    /// `None` where the variance grows without bound or vanishes.
    ///
    /// # Errors
    /// A dual activation that quadrature does not reach.
    pub fn of(dual: &Dual, weights: f64, biases: f64) -> Result<Option<Self>, DualError> {
        let Variance::Stays(q) = fixed_variance(dual, weights, biases) else { return Ok(None) };
        let chi = weights * dual.moments(q).slope;
        // By Stein's lemma d/dq E[σ(√q Z)²] = E[(Z² - 1) σ(√q Z)²] / (2q): no second derivative at kinks.
        let activation = dual.activation();
        let (centre, scale) = activation.centre_and_scale();
        let square = |z: f64| ((activation.raw_value(q.sqrt() * z) - centre) / scale).powi(2);
        let chi_q = weights * expectation(|z| (z * z - 1.0) * square(z), activation.kinks()) / (2.0 * q);
        let (mut c, mut chi_c) = (1.0, chi);
        if chi > 1.0 {
            let at = |h: f64| dual.pair(Pair { q1: q, q2: q, gap: q * h });
            let growth = |h: f64| at(h).map(|duals| weights * duals.gap / (q * h) - 1.0);
            // No further than c = 0, where the map cannot point below the diagonal but for rounding.
            let h = if growth(1.0)? > -1e-13 { 1.0 } else { root(growth, [1e-12, 1.0], 1e-15)?.unwrap_or(0.0) };
            (c, chi_c) = (1.0 - h, weights * at(h)?.slope);
        }
        Ok(Some(Self { q, chi, c, chi_c, chi_q }))
    }

    /// ξ_c: layers over which what is left to the fixed correlation shrinks e-fold; `None` at the edge.
    #[must_use]
    pub fn correlation_depth(&self) -> Option<f64> {
        (self.chi_c > 0.0 && self.chi_c < 1.0).then(|| -1.0 / self.chi_c.ln())
    }

    /// ξ_q: the same of the variance.
    #[must_use]
    pub fn variance_depth(&self) -> Option<f64> {
        (self.chi_q > 0.0 && self.chi_q < 1.0).then(|| -1.0 / self.chi_q.ln())
    }
}

/// Where the variance goes with depth.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Variance {
    Stays(f64),
    Vanishes,
    Grows,
}

/// The fixed point that iteration from 1 reaches.
fn fixed_variance(dual: &Dual, weights: f64, biases: f64) -> Variance {
    let surplus = |q: f64| weights * dual.second_moment(q) + biases - q;
    let at_one = surplus(1.0);
    let gone = if at_one > 0.0 { Variance::Grows } else { Variance::Vanishes };
    if at_one.abs() < 4.0 * f64::EPSILON {
        return Variance::Stays(1.0);
    }
    let factor = if at_one > 0.0 { 2.0 } else { 0.5 };
    let mut end = 1.0;
    while (surplus(end) > 0.0) == (at_one > 0.0) {
        end *= factor;
        if !(LEAST..1e12).contains(&end) {
            return gone;
        }
    }
    let ends = if at_one > 0.0 { [0.5 * end, end] } else { [end, 2.0 * end] };
    let found = root(|q| Ok::<_, std::convert::Infallible>(surplus(q)), ends, 4e-16);
    found.unwrap_or_else(|never| match never {}).map_or(gone, Variance::Stays)
}

/// Variance that counts as none.
const LEAST: f64 = 1e-12;

/// [`critical_weights`] of many variances of biases.
#[must_use]
pub fn critical_line(dual: &Dual, biases: &[f64]) -> Vec<Option<f64>> {
    biases.par_iter().map(|&b| critical_weights(dual, b)).collect()
}

/// The w at which χ₁ = 1 for biases of variance b²: a point of the critical line between order and chaos.
///
/// `None` where no w in \[0.01, 100\] is critical.
#[must_use]
pub fn critical_weights(dual: &Dual, biases: f64) -> Option<f64> {
    // Small w is ordered: without biases the variance vanishes, and the slope there is that at 0. Where it grows w is too
    // large.
    let excess = |w: f64| {
        let chi = match fixed_variance(dual, w, biases) {
            Variance::Stays(q) => w * dual.moments(q).slope,
            Variance::Vanishes => w * dual.moments(LEAST).slope,
            Variance::Grows => f64::MAX.sqrt(),
        };
        Ok::<_, std::convert::Infallible>(chi.min(1e3) - 1.0)
    };
    root(excess, [0.01, 100.0], 1e-14).unwrap_or_else(|never| match never {})
}
