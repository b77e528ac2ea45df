//! Predictions for signal and noise through the depth of random networks.
//!
//! The normalized sensitivity is `χ² = (μ₂(dx) / μ₂(x)) / (μ₂(dx⁰) / μ₂(x⁰))` (Labatie, ICML 2019, arXiv 1811.03087), with
//! μ₂ the variance over inputs, mean over channels.

use fintan_config::Activation;
use rayon::prelude::*;

use crate::dual::{Dual, DualError, GaussianPair};
use crate::series::Known;

/// Mean and variance of the change of log ν₂(x) per layer, in a network of ReLUs with He weights whose signal has become
/// one-dimensional. To second order in 1/N they are `-5/(2N) - 4.1/N²` and `5/N + 18.5/N²`.
///
/// The relevant ratio is L/N: after L layers, log ν₂ is distributed like N(-5L/(2N), 5L/N) (Hanin and Nica 2018, arXiv
/// 1812.05994).
#[must_use]
pub fn signal_diffusion(width: f64) -> (f64, f64) {
    (-2.5 / width - 4.1 / width.powi(2), 5.0 / width + 18.5 / width.powi(2))
}

/// Mean and variance of the change of log μ₂(dx) in a layer of width N: `-(1 + 4/P)/(2N)`, `(1 + 4/P)/N`. P is the
/// participation ratio of the noise's covariance.
#[must_use]
pub fn noise_diffusion(width: f64, participation: f64) -> (f64, f64) {
    let spread = (1.0 + 4.0 / participation) / width;
    (-0.5 * spread, spread)
}

/// Increment δ of χ through a nonlinearity of standard normal values: `δ² = E[σ'(Z)²] / Var σ(Z)`; for ReLU δ² = π/(π-1).
///
/// A batch-normalized network with Gaussian pre-activations has χ ~ exp(γ l), γ = log δ.
///
/// ```
/// use fintan_config::{Activation, Function};
/// use std::f64::consts::PI;
///
/// let increment = fintan_theory::gaussian_increment(&Activation::raw(Function::Relu));
/// assert!((increment.powi(2) - PI / (PI - 1.0)).abs() < 1e-12);
/// ```
#[must_use]
pub fn gaussian_increment(activation: &Activation) -> f64 {
    let moments = Dual::new(*activation).moments(1.0);
    (moments.slope / (moments.second - moments.mean * moments.mean)).sqrt()
}

/// Exponent τ of χ ~ l^τ for residual units of H layers with increment δ each: `τ = (δ^2H - 1) / 2`.
///
/// ```
/// // δ² = 1.5 and units of two layers
/// assert!((fintan_theory::residual_exponent(1.5_f64.sqrt(), 2) - (1.5 * 1.5 - 1.0) / 2.0).abs() < 1e-12);
/// ```
#[must_use]
pub fn residual_exponent(increment: f64, layers: usize) -> f64 {
    (increment.powi(2 * layers as i32) - 1.0) / 2.0
}

/// Signal and noise after the nonlinearity of one layer.
///
/// ```
/// use fintan_config::{Activation, Function};
/// use fintan_theory::{Dual, signal_noise};
/// use std::f64::consts::PI;
///
/// // Two orthogonal inputs, ReLU and weights of variance 2 / fan-in.
/// let relu = Dual::new(Activation::raw(Function::Relu));
/// let layers = signal_noise(&relu, 2.0, 0.0, &[1.0, 0.0, 0.0, 1.0], 1.0, 2, 1)?;
/// assert!((layers[0].nu2 - 1.0).abs() < 1e-12);
/// assert!((layers[0].cosine - 1.0 / PI).abs() < 1e-12);
/// # Ok::<(), fintan_theory::DualError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SignalNoise {
    /// Layer l, counted from 1.
    pub depth: usize,
    /// ν₂(x), mean over inputs.
    pub nu2: f64,
    /// log χ, relative to an embedding whose noise has mean square 1.
    pub log_sensitivity: f64,
    /// Mean cosine between two inputs.
    pub cosine: f64,
}

/// Fully connected networks of infinite width without norms: moments over given inputs, layer by layer.
///
/// A_ij are the second moments after a nonlinearity, and K = b² + w A. Then `A' = E[σ(u_i) σ(u_j)]` with u ~ N(0, K),
/// `ν₂(x) = mean A_ii`, `μ₂(x) = mean_ij ½ E(σ_i - σ_j)²`, and the noise of input i grows by the factor `w E[σ'(u_i)²]`.
///
/// The given inputs represent a batch of `batch` inputs: μ₂ over a batch is the mean over pairs times `1 - 1/batch`. The
/// result ends early if second moments leave the range from 1e-100 to 1e100, or if quadrature would be needed beyond 1e4.
///
/// # Shapes
/// - `embedded`: second moments of the input of the first layer, `[n, n]`
/// - `input`: μ₂ of the inputs, divided by the mean square of their noise after the embedding's weights
///
/// # Errors
/// A dual activation that quadrature cannot compute.
pub fn signal_noise(
    dual: &Dual,
    weights: f64,
    biases: f64,
    embedded: &[f64],
    input: f64,
    batch: usize,
    depth: usize,
) -> Result<Vec<SignalNoise>, DualError> {
    let n = embedded.len().isqrt();
    let pairs: Vec<(usize, usize)> = (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j))).collect();
    let mut own: Vec<f64> = (0..n).map(|i| embedded[i * n + i]).collect();
    let mut gaps: Vec<f64> = pairs.iter().map(|&(i, j)| f64::midpoint(own[i], own[j]) - embedded[i * n + j]).collect();
    let mut noise = vec![1.0; n];
    let known = Known::default();
    let mut found = Vec::with_capacity(depth);
    for depth in 1..=depth {
        let q: Vec<f64> = own.iter().map(|a| biases + weights * a).collect();
        let range = if dual.is_quadrature() { 1e-4..1e4 } else { 1e-100..1e100 };
        if !q.iter().all(|q| range.contains(q)) {
            break;
        }
        let moments: Vec<_> = q.iter().map(|&q| known.moments(dual, q)).collect();
        gaps = pairs
            .par_iter()
            .zip(&gaps)
            .with_min_len(16)
            .map(|(&(i, j), gap)| {
                let pair = GaussianPair { q1: q[i], q2: q[j], gap: (weights * gap).max(0.0) };
                let series = if dual.is_quadrature() { known.pair(dual, pair) } else { None };
                Ok(series.map_or_else(|| dual.pair(pair), Ok)?.gap)
            })
            .collect::<Result<_, DualError>>()?;
        own = moments.iter().map(|m| m.second).collect();
        for (noise, moments) in noise.iter_mut().zip(&moments) {
            *noise *= weights * moments.slope;
        }
        let mean_of = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let mean = |values: &[f64]| values.iter().sum::<f64>() / n as f64;
        let mu2 = mean_of(&gaps) * (1.0 - 1.0 / batch as f64);
        if !(mu2 > 0.0 && mean(&noise) > 0.0) {
            break;
        }
        let cosine =
            |(&(i, j), gap): (&(usize, usize), &f64)| (f64::midpoint(own[i], own[j]) - gap) / (own[i] * own[j]).sqrt();
        found.push(SignalNoise {
            depth,
            nu2: mean(&own),
            log_sensitivity: 0.5 * (mean(&noise).ln() - mu2.ln() + input.ln()),
            cosine: pairs.iter().zip(&gaps).map(cosine).sum::<f64>() / pairs.len() as f64,
        });
    }
    Ok(found)
}
