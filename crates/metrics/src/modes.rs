//! Counts the classes of generated samples.

/// The classes in a set of samples.
///
/// ```
/// // All samples are in the first of two classes that are equally frequent in the data.
/// let modes = fintan_metrics::modes(&[0, 0, 0], &[0.5, 0.5]);
/// assert_eq!((modes.counts, modes.hit), (vec![3, 0], 1));
/// assert!((modes.divergence - 2.0_f64.ln()).abs() < 1e-12);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Modes {
    /// Number of samples in each class.
    pub counts: Vec<usize>,
    /// Number of classes with at least one sample.
    pub hit: usize,
    /// `Σ p ln(p / q)` with the shares p of the samples and q of the data: 0 if they agree, ln(1/q) if all samples are in
    /// one class.
    pub divergence: f64,
}

/// Counts `classes` and compares with the `shares` of the data (Metz et al. 2017).
///
/// # Panics
/// If a sample's class has no share in `shares`.
#[must_use]
pub fn modes(classes: &[usize], shares: &[f64]) -> Modes {
    let mut counts = vec![0; shares.len()];
    for &class in classes {
        counts[class] += 1;
    }
    let n = classes.len().max(1) as f64;
    let hit = || counts.iter().zip(shares).filter(|(count, _)| **count > 0);
    let divergence = hit().map(|(&count, q)| count as f64 / n * (count as f64 / n / q).ln()).sum();
    Modes { hit: hit().count(), divergence, counts }
}
