//! Frames, up-sampling and pools: fixed linear maps of positions.

use fintan_config::Window;

use crate::limit::Walk;
use crate::limit::signal::{Field, Signal};
use crate::wide::Wide;

/// Whether positions are added up.
pub(in crate::limit) fn averages(windows: &[Window]) -> bool {
    windows.iter().any(|window| window.sources.len() > 1 || window.divisor > 1)
}

impl Walk<'_> {
    /// Sums over windows of positions, divided by numbers; windows of one position are copies, empty ones zeros.
    pub(super) fn positions(&mut self, signal: &Signal, windows: &[Window], all: bool) -> Signal {
        let positions = windows.len();
        let all = all && positions > 1;
        // Copies alone need no sums: of each position the one that it copies, or none for zeros.
        let is_mean = averages(windows);
        let copies: Vec<Option<usize>> = windows.iter().map(|window| window.sources.first().copied()).collect();
        let mapped = |field: &Field| {
            Field::from_fn(positions, all, |p, q| {
                if !is_mean {
                    return copies[p].zip(copies[q]).map_or(0.0, |(i, j)| field.at(i, j));
                }
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
        let second = if is_mean {
            let own: Vec<f64> = (0..positions).map(|p| covariance.at(p, p)).collect();
            self.met.push(own.iter().map(|&value| signal.product(value, [0, 1])).collect());
            let number = self.pools;
            self.pools += 1;
            // Without second moments of each input by itself, this is the walk of an input with itself that finds them.
            [0, 1].map(|side| match self.pooled[side].get(number) {
                Some(known) => {
                    let back = Wide::scaled(1.0, -2 * signal.scale[side]);
                    known.iter().map(|second| (*second * back).value()).collect()
                }
                None => own.clone(),
            })
        } else {
            [0, 1].map(|side| each(&signal.second[side]))
        };
        // A copy has the difference of what it copies.
        let is_copy = |window: &Window| window.sources.len() == 1 && window.divisor == 1;
        let copied: Vec<Option<usize>> =
            windows.iter().zip(&copies).map(|(window, source)| source.filter(|_| is_copy(window))).collect();
        let gap = Field::from_fn(positions, all, |p, q| match (copied[p], copied[q]) {
            (Some(p), Some(q)) => signal.gap.at(p, q),
            (None, _) | (_, None) => (f64::midpoint(second[0][p], second[1][q]) - covariance.at(p, q)).max(0.0),
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
