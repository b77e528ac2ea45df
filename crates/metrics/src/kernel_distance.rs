//! Kernel distance between two sets of features.

use rayon::prelude::*;

use crate::{Features, MetricError, Tick};

/// The squared maximum mean discrepancy under `k(x, y) = (x·y / d + 1)³` (KID; Binkowski et al. 2018). The unbiased
/// estimator runs over all samples at once, not over the mean of subsets. It can be slightly negative.
///
/// ```
/// use fintan_metrics::{Features, kernel_distance};
///
/// // k(0, 0) = k(0, 1) = 1 and k(1, 1) = 8.
/// let zeros = Features { values: vec![0.0, 0.0], width: 1 };
/// let ones = Features { values: vec![1.0, 1.0], width: 1 };
/// assert!((kernel_distance(&zeros, &ones, &|_| {})? - (1.0 + 8.0 - 2.0)).abs() < 1e-12);
/// # Ok::<(), fintan_metrics::MetricError>(())
/// ```
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
