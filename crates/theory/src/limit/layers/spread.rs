//! Reshapes a vector to an image: its features are independent neurons at each position.

use crate::limit::signal::{Field, Signal};

/// The signal at each position, where different positions are independent.
pub(super) fn spread(signal: &Signal, positions: usize, all: bool) -> Signal {
    let [x, y] = [0, 1].map(|side| (signal.second[side][0], signal.mean[side][0]));
    let on_diagonal = |field: &Field, off: f64| {
        let value = field.at(0, 0);
        Field::from_fn(positions, all, |p, q| if p == q { value } else { off })
    };
    let product = x.1 * y.1;
    Signal {
        covariance: on_diagonal(&signal.covariance, product),
        gap: on_diagonal(&signal.gap, f64::midpoint(x.0, y.0) - product),
        tangent: signal.tangent.iter().map(|(owner, field)| (*owner, on_diagonal(field, 0.0))).collect(),
        second: [vec![x.0; positions], vec![y.0; positions]],
        mean: [vec![x.1; positions], vec![y.1; positions]],
        scale: signal.scale,
        tangent_scale: signal.tangent_scale,
        gaussian: signal.gaussian,
        fresh: signal.fresh,
    }
}
