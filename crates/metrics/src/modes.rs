//! Which classes samples fall into.

/// Classes of a set of samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Modes {
    /// Samples of each class.
    pub counts: Vec<usize>,
    /// Classes with at least one sample.
    pub hit: usize,
    /// `Σ p ln(p / q)` of the samples' shares p and the data's q: 0 where they agree, ln(1/q) where all fall into one class.
    pub divergence: f64,
}

/// Counts `classes` beside the data's `shares` (Metz et al. 2017).
///
/// # Panics
/// On a class that has no share.
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
