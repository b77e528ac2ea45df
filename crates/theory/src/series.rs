//! Dual activations of many pairs at once, by Hermite series.
//!
//! h_i are the orthonormal Hermite polynomials, and `a_i(q) = E[f(√q Z) h_i(Z)]`. For a correlation c between u and v with
//! variances q1 and q2, Mehler's formula gives
//!
//! `E[f(u) f(v)] = Σ a_i(q1) a_i(q2) c^i` and, by Stein's lemma, `E[f'(u) f'(v)] = Σ i a_i(q1) a_i(q2) c^{i-1} / √(q1 q2)`
//!
//! (Daniely, Frostig, Singer, NeurIPS 2016). The omitted terms are bounded by their values at c = 1, which are
//! `E[f²] - Σ a_i²`. If this is not below rounding, as for functions with kinks, the series is not used.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::dual::{ActivatedMoments, Dual, Duals, GaussianPair};

/// Number of terms of a series.
const TERMS: usize = 320;

/// Largest fraction of a moment that may be missing.
const MISSING: f64 = 1e-12;

/// The series for one variance.
#[derive(Debug)]
pub(crate) struct Series {
    /// a_0, a_1, ...
    coefficients: Vec<f64>,
    /// E\[σ²\] of the scaled function.
    second: f64,
}

impl Series {
    /// The series of the raw function at a variance; `None` if the number of terms is not sufficient.
    fn of(dual: &Dual, q: f64) -> Option<Self> {
        let f = dual.activation();
        if q == 0.0 || !f.kinks().is_empty() || dual.line(q.log2(), q.log2()).is_some() {
            return None;
        }
        // √density times the polynomials is bounded; beyond 13 it is below rounding. In the middle, polynomials of this
        // degree have half a period of 0.09.
        let (reach, step) = (13.0, 1.0 / 32.0);
        let count = (reach / step) as i64;
        let mut coefficients = vec![0.0; TERMS];
        // h_{n+1} = (z h_n - √n h_{n-1}) / √(n+1)
        let roots: Vec<(f64, f64)> = (0..TERMS).map(|n| ((n as f64).sqrt(), 1.0 / (n as f64 + 1.0).sqrt())).collect();
        for i in -count..=count {
            let z = i as f64 * step;
            let weight = step * (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt() * f.raw_value(q.sqrt() * z);
            let (mut before, mut here) = (0.0, 1.0);
            for (sum, (root, next)) in coefficients.iter_mut().zip(&roots) {
                *sum += weight * here;
                (before, here) = (here, (z * here - root * before) * next);
            }
        }
        let moments = dual.raw_moments(q);
        let square: f64 = coefficients.iter().map(|a| a * a).sum();
        let slope: f64 = coefficients.iter().enumerate().map(|(i, a)| i as f64 * a * a).sum::<f64>() / q;
        let missing = |sum: f64, whole: f64| (sum / whole - 1.0).abs() > MISSING;
        let second = dual.moments(q).second;
        (!missing(square, moments.second) && !missing(slope, moments.slope)).then_some(Self { coefficients, second })
    }

    /// Raw moments of a pair: value, gap and slope.
    fn pair(&self, other: &Self, pair: GaussianPair) -> [f64; 3] {
        let h = pair.one_minus_correlation();
        let log = (-h).ln_1p();
        let c = 1.0 - h;
        let (mut value, mut gap, mut slope) = (0.0, 0.0, 0.0);
        // c^(i-1)
        let mut power = 1.0;
        for (i, (a, b)) in self.coefficients.iter().zip(&other.coefficients).enumerate() {
            let product = a * b;
            if i == 0 {
                value += product;
                gap += 0.5 * (a - b) * (a - b);
                continue;
            }
            slope += i as f64 * product * power;
            power *= c;
            value += product * power;
            // 1 - c^i, exact near c = 1.
            let lost = if h < 0.5 { -(i as f64 * log).exp_m1() } else { 1.0 - power };
            gap += 0.5 * (a - b) * (a - b) + product * lost;
        }
        [value, gap, slope / pair.size()]
    }
}

/// Results that were already computed for the variances of one nonlinearity.
#[derive(Debug, Default)]
pub(crate) struct Known {
    moments: Mutex<HashMap<u64, ActivatedMoments>>,
    series: Mutex<HashMap<u64, Option<Arc<Series>>>>,
}

impl Known {
    /// Moments of the scaled function at a variance.
    pub(crate) fn moments(&self, dual: &Dual, q: f64) -> ActivatedMoments {
        look_up(&self.moments, q, || dual.moments(q))
    }

    /// Moments of a pair from series; `None` unless both variances have one.
    pub(crate) fn pair(&self, dual: &Dual, pair: GaussianPair) -> Option<Duals> {
        let at = |q: f64| look_up(&self.series, q, || Series::of(dual, q).map(Arc::new));
        let (first, second) = (at(pair.q1)?, at(pair.q2)?);
        let [value, gap, slope] = first.pair(&second, pair);
        Some(dual.scaled([first.second, second.second], Duals { value, gap, slope, error: MISSING }))
    }
}

/// Two threads may compute the same value; the results are equal.
fn look_up<T: Clone>(known: &Mutex<HashMap<u64, T>>, q: f64, of: impl FnOnce() -> T) -> T {
    let found = known.lock().unwrap_or_else(PoisonError::into_inner).get(&q.to_bits()).cloned();
    found.unwrap_or_else(|| {
        let value = of();
        known.lock().unwrap_or_else(PoisonError::into_inner).insert(q.to_bits(), value.clone());
        value
    })
}
