//! Features of images, computed by a network.

use crate::MetricError;

/// Features of a set of images, `[count, width]` row-major.
///
/// ```
/// use fintan_metrics::Features;
///
/// let features = Features { values: vec![1.0, 2.0, 3.0, 4.0], width: 2 };
/// assert_eq!((features.len(), features.row(1)), (2, &[3.0, 4.0][..]));
/// assert_eq!((features.mean(), features.covariance()), (vec![2.0, 3.0], vec![2.0; 4]));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    /// The values.
    pub values: Vec<f64>,
    /// Number of features of an image.
    pub width: usize,
}

impl Features {
    /// Number of images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len() / self.width.max(1)
    }

    /// Whether there are no images.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Features of image `i`.
    #[must_use]
    pub fn row(&self, i: usize) -> &[f64] {
        &self.values[i * self.width..(i + 1) * self.width]
    }

    /// Features of each image.
    pub fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.width)
    }

    /// Mean of each feature.
    #[must_use]
    pub fn mean(&self) -> Vec<f64> {
        let mut mean = vec![0.0; self.width];
        for row in self.rows() {
            for (sum, v) in mean.iter_mut().zip(row) {
                *sum += v;
            }
        }
        let n = self.len().max(1) as f64;
        mean.into_iter().map(|sum| sum / n).collect()
    }

    /// Covariance with divisor n - 1, `[width, width]` row-major.
    #[must_use]
    pub fn covariance(&self) -> Vec<f64> {
        let (mean, d) = (self.mean(), self.width);
        let mut covariance = vec![0.0; d * d];
        let mut centred = vec![0.0; d];
        for row in self.rows() {
            for ((c, v), m) in centred.iter_mut().zip(row).zip(&mean) {
                *c = v - m;
            }
            for (i, &a) in centred.iter().enumerate() {
                for (sum, b) in covariance[i * d..(i + 1) * d].iter_mut().zip(&centred) {
                    *sum += a * b;
                }
            }
        }
        let divisor = self.len().saturating_sub(1).max(1) as f64;
        covariance.into_iter().map(|sum| sum / divisor).collect()
    }

    /// Checks that two sets have the same number of features, at least `needed` images each, and finite values.
    pub(crate) fn check(&self, other: &Self, metric: &'static str, needed: usize) -> Result<(), MetricError> {
        if self.width != other.width {
            let (first, second) = ([self.len(), self.width], [other.len(), other.width]);
            return Err(MetricError::Shapes { metric, first, second });
        }
        let found = self.len().min(other.len());
        if found < needed {
            return Err(MetricError::TooFew { metric, found, needed });
        }
        if self.values.iter().chain(&other.values).any(|v| !v.is_finite()) {
            return Err(MetricError::NotFinite(metric));
        }
        Ok(())
    }
}

/// A shift for each feature and a common factor: `(f - mean) / scale`.
///
/// A separate factor for each feature would enlarge features that hardly vary, and these would dominate every distance.
///
/// ```
/// use fintan_metrics::{Features, Scale};
///
/// let reference = Features { values: vec![0.0, 2.0, 4.0], width: 1 };
/// // The mean is 2 and the variance is 4.
/// assert_eq!(Scale::of(&reference).apply(&reference).values, [-1.0, 0.0, 1.0]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    mean: Vec<f64>,
    scale: f64,
}

impl Scale {
    /// The scale of a reference set: its means, and the square root of its mean variance.
    #[must_use]
    pub fn of(reference: &Features) -> Self {
        let covariance = reference.covariance();
        let variances = (0..reference.width).map(|i| covariance[i * reference.width + i]);
        let scale = (variances.sum::<f64>() / reference.width as f64).sqrt();
        Self { mean: reference.mean(), scale: if scale > 0.0 { scale } else { 1.0 } }
    }

    /// Applies the scale to features.
    #[must_use]
    pub fn apply(&self, features: &Features) -> Features {
        let row = |row: &[f64]| row.iter().zip(&self.mean).map(|(v, m)| (v - m) / self.scale).collect::<Vec<_>>();
        Features { values: features.rows().flat_map(row).collect(), width: features.width }
    }
}
