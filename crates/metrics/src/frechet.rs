//! Fréchet distance between Gaussians fitted to two sets of features.

use faer::{Mat, Side};

use crate::{Features, MetricError};

const NAME: &str = "the Fréchet distance";

/// The squared Fréchet distance between two sets of features (FID; Heusel et al. 2017):
///
/// `|μ₁ - μ₂|² + tr(C₁ + C₂ - 2 (C₁^½ C₂ C₁^½)^½)`
///
/// with covariances of divisor n - 1. The square root is that of a symmetric matrix, so no complex numbers occur. The
/// distance has a bias that falls with the number of samples: compare only values from the same number of samples.
///
/// ```
/// use fintan_metrics::{Features, frechet_distance};
///
/// // Two sets with equal covariances, whose means differ by 3.
/// let a = Features { values: vec![0.0, 2.0], width: 1 };
/// let b = Features { values: vec![3.0, 5.0], width: 1 };
/// assert!((frechet_distance(&a, &b)? - 9.0).abs() < 1e-9);
/// # Ok::<(), fintan_metrics::MetricError>(())
/// ```
///
/// # Errors
/// Fewer than width + 1 samples (the covariance then has not full rank), sets of different widths, values that are not
/// finite.
pub fn frechet_distance(a: &Features, b: &Features) -> Result<f64, MetricError> {
    a.check(b, NAME, a.width + 1)?;
    let d = a.width;
    let means: f64 = a.mean().iter().zip(b.mean()).map(|(x, y)| (x - y).powi(2)).sum();
    let [first, second] = [a, b].map(|set| {
        let covariance = set.covariance();
        Mat::<f64>::from_fn(d, d, |i, j| covariance[i * d + j])
    });
    let eigen = first.self_adjoint_eigen(Side::Lower).map_err(|_| MetricError::NotFinite(NAME))?;
    let (vectors, values) = (eigen.U(), eigen.S());
    // U diag(√λ): its product with its transpose is C₁, so it can replace the symmetric square root.
    let root = Mat::<f64>::from_fn(d, d, |i, j| vectors[(i, j)] * values[j].max(0.0).sqrt());
    let between = root.transpose() * &second * &root;
    let products = between.self_adjoint_eigenvalues(Side::Lower).map_err(|_| MetricError::NotFinite(NAME))?;
    let overlap: f64 = products.iter().map(|v| v.max(0.0).sqrt()).sum();
    let traces: f64 = (0..d).map(|i| first[(i, i)] + second[(i, i)]).sum();
    Ok((means + traces - 2.0 * overlap).max(0.0))
}
