//! Layer normalization.

use fintan_config::NormAxes;

use crate::limit::signal::{Field, Owner, Signal};
use crate::limit::{LimitError, Walk, refuse};
use crate::wide::scaled_by;

impl Walk<'_> {
    /// `(a - mean) / √(var + eps)` over channels, or over channels and positions. At infinite width mean and variance are
    /// constants.
    pub(super) fn layer_norm(
        &self,
        over: NormAxes,
        eps: f64,
        affine: Option<usize>,
        mut signal: Signal,
    ) -> Result<Signal, LimitError> {
        if !signal.gaussian && signal.tangent.is_empty() {
            return refuse("layer_norm", "it stands before the first weights");
        }
        signal.make_room(eps.sqrt());
        let positions = signal.positions();
        let statistics = [0, 1].map(|side| {
            let (mean, second) = (&signal.mean[side], &signal.second[side]);
            let eps = scaled_by(eps, -2 * signal.scale[side]);
            match over {
                NormAxes::Features => {
                    let of = |p: usize| (mean[p], (second[p] - mean[p] * mean[p] + eps).sqrt());
                    (0..positions).map(of).collect::<Vec<_>>()
                }
                NormAxes::Chw => {
                    let average = |v: &[f64]| v.iter().sum::<f64>() / positions as f64;
                    let (m, s) = (average(mean), average(second));
                    vec![(m, (s - m * m + eps).sqrt()); positions]
                }
            }
        });
        let [x, y] = &statistics;
        let (mean, second) = (signal.mean.clone(), signal.second.clone());
        // E[(a - s)(a' - t)]
        signal.covariance.update(|p, q, k| {
            let ((s, d), (t, e)) = (x[p], y[q]);
            (k - s * mean[1][q] - t * mean[0][p] + s * t) / (d * e)
        });
        for side in [0, 1] {
            for p in 0..positions {
                let (s, d) = statistics[side][p];
                signal.second[side][p] = (second[side][p] - 2.0 * s * mean[side][p] + s * s) / (d * d);
                signal.mean[side][p] = (mean[side][p] - s) / d;
            }
        }
        signal.tangent_scale -= signal.scale[0] + signal.scale[1];
        signal.scale = [0, 0];
        // ½ E(αa - α'a' - δ)², δ = αs - α't. Second moments are not used, because they lose digits if the two are nearly
        // equal.
        signal.gap.update(|p, q, gap| {
            let ((s, d), (t, e)) = (x[p], y[q]);
            let (a, b) = (1.0 / d, 1.0 / e);
            let apart = a * s - b * t;
            let scaled = gap / (d * e) + 0.5 * (a - b) * (a * second[0][p] - b * second[1][q]);
            (scaled - apart * (a * mean[0][p] - b * mean[1][q]) + 0.5 * apart * apart).max(0.0)
        });
        for (_, part) in &mut signal.tangent {
            part.update(|p, q, value| value / (x[p].1 * y[q].1));
        }
        if let Some(index) = affine {
            // Each normalized value has its own scale and shift; with `Chw`, positions share none of them.
            let shared = over == NormAxes::Features;
            let (by_scales, by_shifts) = self.rates(index);
            let all = signal.all();
            let scales = Field::from_fn(positions, all, |p, q| {
                if shared || p == q { by_scales * signal.covariance.at(p, q) } else { 0.0 }
            });
            let shifts = Field::from_fn(positions, all, |p, q| if shared || p == q { by_shifts } else { 0.0 });
            signal.add_part(Owner { index, bias: false }, self.request.parts, scales, 0);
            signal.add_part(Owner { index, bias: true }, self.request.parts, shifts, 0);
        }
        Ok(signal)
    }
}
