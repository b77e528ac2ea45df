//! Kernel distance between two sets of features.

use rayon::prelude::*;

use crate::{Features, MetricError, Tick};

/// The squared maximum mean discrepancy under `k(x, y) = (x·y / d + 1)³` (KID; Binkowski et al. 2018). The unbiased
/// estimator runs over all samples at once, not over the mean of subsets. It can be slightly negative.
///
/// # Errors
/// Fewer than two samples, sets of different widths, values that are not finite.
pub fn kernel_distance(a: &Features, b: &Features, tick: Tick) -> Result<f64, MetricError> {
    a.check(b, "the kernel distance", 2)?;
    let kernel = |x: &[f64], y: &[f64]| {
        let product: f64 = x.iter().zip(y).map(|(p, q)| p * q).sum();
        (product / a.width as f64 + 1.0).powi(3)
    };
    // Rows are summed in order, so that the result does not depend on threads.
    let total = |x: &Features, y: &Features, same: bool| -> f64 {
        let rows: Vec<f64> = (0..x.len())
            .into_par_iter()
            .map(|i| {
                let others = y.rows().enumerate().filter(|(j, _)| !same || i != *j);
                let sum = others.map(|(_, row)| kernel(x.row(i), row)).sum();
                tick(1);
                sum
            })
            .collect();
        rows.into_iter().sum()
    };
    let (m, n) = (a.len() as f64, b.len() as f64);
    let within = total(a, a, true) / (m * (m - 1.0)) + total(b, b, true) / (n * (n - 1.0));
    Ok(within - 2.0 * total(a, b, false) / (m * n))
}
