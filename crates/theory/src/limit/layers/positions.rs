//! Frames, up-sampling and pools: fixed linear maps of positions.

use fintan_config::Window;

use crate::limit::Walk;
use crate::limit::signal::{Field, Signal};
use crate::wide::Wide;

/// Copies positions; some output positions may be 0.
pub(super) fn copies(signal: &Signal, sources: &[Option<usize>], all: bool) -> Signal {
    let positions = sources.len();
    let copied = |field: &Field| {
        Field::from_fn(positions, all, |p, q| match (sources[p], sources[q]) {
            (Some(p), Some(q)) => field.at(p, q),
            (None, _) | (_, None) => 0.0,
        })
    };
    let each = |values: &[f64]| -> Vec<f64> { sources.iter().map(|at| at.map_or(0.0, |at| values[at])).collect() };
    let second = [0, 1].map(|side| each(&signal.second[side]));
    let gap = Field::from_fn(positions, all, |p, q| match (sources[p], sources[q]) {
        (Some(p), Some(q)) => signal.gap.at(p, q),
        // A zero and a value, or two zeros.
        (None, _) | (_, None) => f64::midpoint(second[0][p], second[1][q]),
    });
    Signal {
        covariance: copied(&signal.covariance),
        gap,
        tangent: signal.tangent.iter().map(|(owner, field)| (*owner, copied(field))).collect(),
        mean: [0, 1].map(|side| each(&signal.mean[side])),
        second,
        scale: signal.scale,
        tangent_scale: signal.tangent_scale,
        gaussian: signal.gaussian,
        fresh: signal.fresh,
    }
}

impl Walk<'_> {
    /// Sums over windows of positions, with divisors.
    pub(super) fn means(&mut self, signal: &Signal, windows: &[Window], all: bool) -> Signal {
        let positions = windows.len();
        let all = all && positions > 1;
        let mapped = |field: &Field| {
            Field::from_fn(positions, all, |p, q| {
                let (a, b) = (&windows[p], &windows[q]);
                let sum: f64 = a.sources.iter().flat_map(|&i| b.sources.iter().map(move |&j| field.at(i, j))).sum();
                sum / (a.divisor as f64 * b.divisor as f64)
            })
        };
        let each = |values: &[f64]| -> Vec<f64> {
            let of = |window: &Window| window.sources.iter().map(|&i| values[i]).sum::<f64>() / window.divisor as f64;
            windows.iter().map(of).collect()
        };
        let covariance = mapped(&signal.covariance);
        let own: Vec<f64> = (0..positions).map(|p| covariance.at(p, p)).collect();
        self.met.push(own.iter().map(|&value| signal.product(value, [0, 1])).collect());
        // If the second moments of each input are not known, this pass is for an input with itself and determines them.
        let second = [0, 1].map(|side| match self.pooled[side].get(self.pools) {
            Some(known) => {
                let back = Wide::scaled(1.0, -2 * signal.scale[side]);
                known.iter().map(|second| (*second * back).value()).collect()
            }
            None => own.clone(),
        });
        self.pools += 1;
        let gap = Field::from_fn(positions, all, |p, q| {
            (f64::midpoint(second[0][p], second[1][q]) - covariance.at(p, q)).max(0.0)
        });
        Signal {
            tangent: signal.tangent.iter().map(|(owner, field)| (*owner, mapped(field))).collect(),
            mean: [0, 1].map(|side| each(&signal.mean[side])),
            scale: signal.scale,
            tangent_scale: signal.tangent_scale,
            gaussian: signal.gaussian,
            fresh: signal.fresh,
            covariance,
            gap,
            second,
        }
    }
}
