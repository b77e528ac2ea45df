//! Expectations over a standard normal, in f64, for functions with kinks.
//!
//! The integral `E[g(Z)] = ∫ g(z) exp(-z²/2)/√(2π) dz` is cut at the function's kinks and at multiples of two. It is also
//! cut at ±1/2, ±1/4, ..., for functions that are steep at 0 because of a large gain. Each piece is integrated with a
//! 40-point Gauss-Legendre rule over |z| ≤ 14. The mass beyond is 1e-44, which no nonlinearity of at most exponential growth
//! lifts above rounding. On pieces where `g` is analytic the error is at rounding level; Gauss-Hermite nodes would be off by
//! 1e-3 on a ReLU.

use std::sync::OnceLock;

const REACH: f64 = 14.0;
const PIECE: f64 = 2.0;
const POINTS: usize = 40;
/// Number of times that the pieces are halved towards 0.
const HALVINGS: i32 = 12;

/// `E[g(Z)]` for Z ~ N(0, 1), if `g` is smooth between the given `kinks`.
///
/// ```
/// // E[max(Z, 0)] = 1/√(2π)
/// let mean = fintan_config::expectation(|z| z.max(0.0), &[0.0]);
/// assert!((mean - 1.0 / (2.0 * std::f64::consts::PI).sqrt()).abs() < 1e-12);
/// ```
#[must_use]
pub fn expectation(g: impl Fn(f64) -> f64, kinks: &[f64]) -> f64 {
    static RULE: OnceLock<Vec<(f64, f64)>> = OnceLock::new();
    let mut cuts: Vec<f64> = (0..=(2.0 * REACH / PIECE) as usize).map(|i| i as f64 * PIECE - REACH).collect();
    cuts.extend((1..=HALVINGS).map(|k| 0.5_f64.powi(k)).flat_map(|cut| [-cut, cut]));
    cuts.extend(kinks.iter().copied().filter(|k| k.abs() < REACH));
    cuts.sort_by(f64::total_cmp);
    let rule = RULE.get_or_init(|| gauss_legendre(POINTS));
    let density = 1.0 / (2.0 * std::f64::consts::PI).sqrt();
    cuts.windows(2)
        .map(|ends| {
            let (centre, half) = (0.5 * (ends[0] + ends[1]), 0.5 * (ends[1] - ends[0]));
            rule.iter()
                .map(|&(node, weight)| {
                    let z = centre + half * node;
                    half * weight * g(z) * density * (-0.5 * z * z).exp()
                })
                .sum::<f64>()
        })
        .sum()
}

/// Nodes and weights of the n-point Gauss-Legendre rule on \[-1, 1\], by Newton's method on the Legendre recurrence.
///
/// ```
/// // Two points integrate x² over [-1, 1] exactly.
/// let sum: f64 = fintan_config::gauss_legendre(2).iter().map(|(x, weight)| weight * x * x).sum();
/// assert!((sum - 2.0 / 3.0).abs() < 1e-12);
/// ```
#[must_use]
pub fn gauss_legendre(n: usize) -> Vec<(f64, f64)> {
    (0..n)
        .map(|i| {
            let mut x = (std::f64::consts::PI * (i as f64 + 0.75) / (n as f64 + 0.5)).cos();
            let mut slope = 1.0;
            for _ in 0..100 {
                let (mut previous, mut current) = (1.0, x);
                for k in 2..=n {
                    let k = k as f64;
                    (previous, current) = (current, ((2.0 * k - 1.0) * x * current - (k - 1.0) * previous) / k);
                }
                slope = n as f64 * (x * current - previous) / (x * x - 1.0);
                let step = current / slope;
                x -= step;
                if step.abs() < 1e-15 {
                    break;
                }
            }
            (x, 2.0 / ((1.0 - x * x) * slope * slope))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_the_normal_and_of_kinked_functions() {
        for (power, moment) in [(0, 1.0), (2, 1.0), (4, 3.0), (6, 15.0), (8, 105.0)] {
            let got = expectation(|z| z.powi(power), &[]);
            assert!((got - moment).abs() < 1e-12 * moment, "E[Z^{power}] = {got}");
        }
        let relu = expectation(|z| z.max(0.0), &[0.0]);
        assert!((relu - 1.0 / (2.0 * std::f64::consts::PI).sqrt()).abs() < 1e-15);
        // A kink off the grid of pieces: E[max(Z - 0.3, 0)] = φ(0.3) - 0.3 (1 - Φ(0.3)).
        let (phi, tail) =
            ((-0.045_f64).exp() / (2.0 * std::f64::consts::PI).sqrt(), 0.5 * libm::erfc(0.3 / 2.0_f64.sqrt()));
        let shifted = expectation(|z| (z - 0.3).max(0.0), &[0.3]);
        assert!((shifted - (phi - 0.3 * tail)).abs() < 1e-15);
    }

    /// Compares E[σ'(Z)²] of tanh at large gains with a sum over points that are dense at the scale of the function.
    #[test]
    fn steep_functions_are_seen() {
        for gain in [1.0, 20.0, 200.0, 1000.0_f64] {
            let square = |z: f64| (gain / (gain * z).cosh().powi(2)).powi(2);
            // The trapezoidal rule in gain · z, whose error is exp(-2π (π/2) / step); beyond 40 the square is 16 e^-160.
            let step = 1.0 / 64.0;
            let density = |z: f64| (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
            let at = |i: i32| f64::from(i) * step / gain;
            let fine: f64 = (-40 * 64..=40 * 64).map(|i| square(at(i)) * density(at(i)) * step / gain).sum();
            let got = expectation(square, &[]);
            assert!((got - fine).abs() < 1e-13 * fine, "gain {gain}: {got} {fine}");
        }
    }
}
