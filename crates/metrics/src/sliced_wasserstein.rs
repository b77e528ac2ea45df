//! Sliced Wasserstein distance between sets of images or of patches.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha20Rng;
use rand_distr::{Distribution as _, StandardNormal};
use rayon::prelude::*;

use crate::{MetricError, Samples, Tick};

/// Rows and columns of a patch.
pub const PATCH: usize = 7;

/// Points of a space, one in each row.
///
/// ```
/// // Two points of a plane.
/// let rows = fintan_metrics::Rows { values: &[0.0, 1.0, 2.0, 3.0], width: 2 };
/// assert_eq!(rows.values.chunks(rows.width).nth(1), Some(&[2.0, 3.0][..]));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// `[count, width]`, row-major.
    pub values: &'a [f32],
    /// Number of coordinates of a point.
    pub width: usize,
}

impl Rows<'_> {
    fn shape(&self) -> [usize; 2] {
        [self.values.len() / self.width.max(1), self.width]
    }
}

/// Unit vectors for projections.
///
/// ```
/// let directions = fintan_metrics::Directions::draw(0, 10, 3);
/// for direction in directions.values.chunks(3) {
///     assert!((direction.iter().map(|x| x * x).sum::<f64>() - 1.0).abs() < 1e-12);
/// }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Directions {
    /// `[count, width]`, row-major, each of length 1.
    pub values: Vec<f64>,
    /// Number of coordinates of a vector.
    pub width: usize,
}

impl Directions {
    /// Draws uniformly distributed unit vectors.
    #[must_use]
    pub fn draw(seed: u64, count: usize, width: usize) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut values: Vec<f64> = (0..count * width).map(|_| StandardNormal.sample(&mut rng)).collect();
        for direction in values.chunks_exact_mut(width) {
            let length = direction.iter().map(|v| v * v).sum::<f64>().sqrt();
            for v in direction {
                *v /= length;
            }
        }
        Self { values, width }
    }
}

/// The mean over directions of the Wasserstein-1 distance between the projections of `reference` and of each of `others`:
///
/// `mean over directions d and ranks i of |sort(A d)_i - sort(B d)_i|`
///
/// ```
/// use fintan_metrics::{Directions, Rows, sliced_wasserstein};
///
/// // Two sets of points on a line, 2 apart.
/// let rows = |values| Rows { values, width: 1 };
/// let directions = Directions::draw(0, 4, 1);
/// let distances = sliced_wasserstein(rows(&[0.0, 1.0]), &[rows(&[3.0, 2.0])], &directions, &|_| {})?;
/// assert_eq!(distances, [2.0]);
/// # Ok::<(), fintan_metrics::MetricError>(())
/// ```
///
/// # Errors
/// No points, sets of different shapes, values that are not finite.
pub fn sliced_wasserstein(
    reference: Rows,
    others: &[Rows],
    directions: &Directions,
    tick: Tick,
) -> Result<Vec<f64>, MetricError> {
    let metric = "the sliced Wasserstein distance";
    let first = reference.shape();
    if first[0] == 0 {
        return Err(MetricError::TooFew { metric, found: 0, needed: 1 });
    }
    for second in others.iter().map(Rows::shape).chain([[first[0], directions.width]]) {
        if first != second {
            return Err(MetricError::Shapes { metric, first, second });
        }
    }
    if others.iter().chain([&reference]).any(|set| set.values.iter().any(|v| !v.is_finite())) {
        return Err(MetricError::NotFinite(metric));
    }
    let count = directions.values.len() / directions.width;
    // Summed in order, so that the result does not depend on the threads.
    let each: Vec<Vec<f64>> = directions
        .values
        .par_chunks_exact(directions.width)
        .map(|direction| {
            let at = projected(reference, direction);
            let distance = |other: &Rows| {
                let there = projected(*other, direction);
                at.iter().zip(there).map(|(a, b)| (a - b).abs()).sum::<f64>() / at.len() as f64
            };
            let distances = others.iter().map(distance).collect();
            tick(1);
            distances
        })
        .collect();
    Ok((0..others.len()).map(|k| each.iter().map(|distances| distances[k]).sum::<f64>() / count as f64).collect())
}

/// Sorted projections.
fn projected(set: Rows, direction: &[f64]) -> Vec<f64> {
    let product = |row: &[f32]| row.iter().zip(direction).map(|(&v, d)| f64::from(v) * d).sum::<f64>();
    let mut values: Vec<f64> = set.values.chunks_exact(set.width).map(product).collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}

/// Patches of [`PATCH`] rows and columns at random positions of random images, `[count, PATCH · PATCH · channels]`. A seed
/// determines the same positions in all sets with the same number of images and the same size.
///
/// ```
/// use fintan_metrics::{PATCH, Samples, patches};
///
/// let samples = Samples { values: vec![0.5; 2 * 8 * 8], size: 8, channels: 1 };
/// assert_eq!(patches(&samples, 3, 0)?, vec![0.5; 3 * PATCH * PATCH]);
/// # Ok::<(), fintan_metrics::MetricError>(())
/// ```
///
/// # Errors
/// No images, or images smaller than a patch.
pub fn patches(samples: &Samples, count: usize, seed: u64) -> Result<Vec<f32>, MetricError> {
    let (n, size, channels) = (samples.len(), samples.size, samples.channels);
    let metric = "the sliced Wasserstein distance of patches";
    if n == 0 {
        return Err(MetricError::TooFew { metric, found: 0, needed: 1 });
    }
    if size < PATCH {
        return Err(MetricError::TooSmall { metric, found: size, needed: PATCH });
    }
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let mut values = Vec::with_capacity(count * PATCH * PATCH * channels);
    for _ in 0..count {
        let (image, top, left) =
            (rng.random_range(0..n), rng.random_range(0..=size - PATCH), rng.random_range(0..=size - PATCH));
        for row in top..top + PATCH {
            let at = ((image * size + row) * size + left) * channels;
            values.extend_from_slice(&samples.values[at..at + PATCH * channels]);
        }
    }
    Ok(values)
}
