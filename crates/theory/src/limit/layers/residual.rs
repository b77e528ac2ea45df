//! Residual blocks.

use crate::limit::signal::{Field, Signal, common};
use crate::limit::{DEPENDENT, LimitError, refuse};
use crate::wide::{outside, scaled_by};

/// `scale (branch + shortcut)`. The two are independent if one of them comes from its own weights.
///
/// `before`: number of parts of the tangent kernel at the input of the block.
pub(super) fn sum(
    mut through: Signal,
    mut around: Signal,
    scale: f64,
    before: usize,
    parts: bool,
) -> Result<Signal, LimitError> {
    if !through.fresh && !around.fresh {
        return refuse("residual", DEPENDENT);
    }
    if through.positions() != around.positions() {
        return refuse("residual", "a flattened image is added to a vector");
    }
    // Both signals in the units of the larger one.
    if through.scale != around.scale {
        let larger = [0, 1].map(|side| through.size(side).max(around.size(side)));
        let scale = common(larger, through.scale);
        through.rescale(scale);
        around.rescale(scale);
    }
    if through.tangent_scale != around.tangent_scale {
        let size = through.tangent_size().max(around.tangent_size()).unwrap_or(0);
        through.shift_tangent(size);
        around.shift_tangent(size);
    }
    let exponent = outside(scale);
    let scale = scaled_by(scale, -exponent);
    let square = scale * scale;
    let both = |a: Field, b: &Field| {
        assert_eq!(a.values.len(), b.values.len(), "both sides hold the same pairs");
        let mut sum = a;
        for (x, y) in sum.values.iter_mut().zip(&b.values) {
            *x = square * (*x + y);
        }
        sum
    };
    // One of the means is 0, and so is the covariance of the two.
    let add = |a: &[f64], b: &[f64], factor: f64| a.iter().zip(b).map(|(a, b)| factor * (a + b)).collect::<Vec<f64>>();
    let [second, mean] = [(&through.second, &around.second, square), (&through.mean, &around.mean, scale)]
        .map(|(a, b, factor)| [add(&a[0], &b[0], factor), add(&a[1], &b[1], factor)]);
    let shared = if parts { before } else { through.tangent.len().min(around.tangent.len()) };
    let mut tangent = through.tangent;
    let mut rest = around.tangent.into_iter();
    for (own, (_, other)) in tangent.iter_mut().zip(rest.by_ref().take(shared)) {
        assert_eq!(own.1.values.len(), other.values.len(), "both sides hold the same pairs");
        for (x, y) in own.1.values.iter_mut().zip(&other.values) {
            *x += y;
        }
    }
    tangent.extend(rest);
    for value in tangent.iter_mut().flat_map(|(_, field)| &mut field.values) {
        *value *= square;
    }
    Ok(Signal {
        covariance: both(through.covariance, &around.covariance),
        gap: both(through.gap, &around.gap),
        tangent,
        second,
        mean,
        scale: through.scale.map(|scale| scale + exponent),
        tangent_scale: through.tangent_scale + 2 * exponent,
        gaussian: through.gaussian && around.gaussian,
        fresh: false,
    })
}
