//! Precision and recall from nearest-neighbour manifolds.

use rayon::prelude::*;

use crate::{Features, MetricError, Tick};

/// The ball around a point reaches to its third nearest neighbour.
pub const NEIGHBOURS: usize = 3;

const NAME: &str = "precision and recall";

/// The overlap of two sets, measured on their manifolds.
///
/// ```
/// use fintan_metrics::{Features, precision_recall};
///
/// // A collapsed generator: all samples are one point among the data.
/// let data = Features { values: vec![0.0, 1.0, 2.0, 3.0, 4.0], width: 1 };
/// let samples = Features { values: vec![2.5; 5], width: 1 };
/// let found = precision_recall(&data, &samples, &|_| {})?;
/// assert_eq!((found.precision, found.recall), (1.0, 0.0));
/// # Ok::<(), fintan_metrics::MetricError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PrecisionRecall {
    /// Fraction of samples on the manifold of the data: fidelity. It is 1 for a generator that repeats one good image.
    pub precision: f64,
    /// Fraction of the data on the manifold of the samples: variety. It is 0 for a collapsed generator.
    pub recall: f64,
}

/// Precision and recall of `samples` against `data` (Kynkaanniemi et al. 2019). The manifold of a set is the union of balls
/// around its points; each ball reaches to the [`NEIGHBOURS`]-th nearest neighbour of its centre in the set.
///
/// # Errors
/// Too few samples (at most as many as neighbours), sets of different widths, values that are not finite.
pub fn precision_recall(data: &Features, samples: &Features, tick: Tick) -> Result<PrecisionRecall, MetricError> {
    data.check(samples, NAME, NEIGHBOURS + 1)?;
    Ok(PrecisionRecall { precision: share_on(data, samples, tick), recall: share_on(samples, data, tick) })
}

/// Fraction of `points` on the manifold of `set`.
fn share_on(set: &Features, points: &Features, tick: Tick) -> f64 {
    let radii: Vec<f64> = (0..set.len())
        .into_par_iter()
        .map(|i| {
            let others = set.rows().enumerate().filter(|(j, _)| i != *j);
            let mut distances: Vec<f64> = others.map(|(_, row)| squared(set.row(i), row)).collect();
            tick(1);
            *distances.select_nth_unstable_by(NEIGHBOURS - 1, f64::total_cmp).1
        })
        .collect();
    let inside = (0..points.len()).into_par_iter().filter(|&i| {
        tick(1);
        set.rows().zip(&radii).any(|(row, radius)| squared(points.row(i), row) <= *radius)
    });
    inside.count() as f64 / points.len() as f64
}

fn squared(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum()
}
