//! Dense layers, convolutions and transposed convolutions.

use fintan_config::{Node, Parametrization, Transform};
use rayon::prelude::*;

use crate::limit::Walk;
use crate::limit::signal::{Field, Owner, Signal};
use crate::limit::wiring::Wiring;
use crate::variances::Variances;
use crate::wide::{outside, scaled_by};

#[derive(Debug)]
pub(in crate::limit) struct Linear {
    index: usize,
    wiring: Wiring,
    /// √(w / c_p), divided by 2^exponent.
    factors: Vec<f64>,
    /// Exponent for weights of very small or very large variance; otherwise 0.
    exponent: i64,
    /// b²
    bias: f64,
    own: Own,
    /// The layer's own part of Θ from its biases.
    bias_own: f64,
}

/// The layer's own part of Θ from its weights.
#[derive(Debug, Clone, Copy)]
struct Own {
    /// Factor of `Σ - b²`.
    factor: f64,
    /// Whether it includes the factors of the layer.
    scaled: bool,
}

impl Linear {
    /// Number of output positions.
    pub(in crate::limit) fn positions(&self) -> usize {
        self.wiring.parents.len()
    }

    /// Changes the layer to parameters from N(0, 1) that are scaled in the forward pass.
    pub(in crate::limit) fn scale_parameters(&mut self) {
        self.own = Own { factor: 1.0, scaled: true };
        self.bias_own = self.bias;
    }

    /// The layer of a node whose input has `positions` positions (more than one before a dense layer means a flattened
    /// image).
    pub(in crate::limit) fn of(node: &Node, parametrization: Parametrization, positions: usize) -> Self {
        let wiring = Wiring::of(node, positions);
        // Channels at each position; for a flattened image, those of the image.
        let is_dense = node.transform() == Transform::Dense;
        let channels = (if is_dense { node.input.channels / positions } else { node.input.channels }) as f64;
        let fan_in = node.fan_in().expect("a linear layer has a fan-in") / channels;
        let Variances { weights, biases, scaled } = Variances::of(node, parametrization);
        let exponent = outside(weights.sqrt());
        let weights = scaled_by(weights, -2 * exponent);
        let factors = wiring.parents.iter().map(|parents| {
            let by_parents =
                matches!((parametrization, node.transform()), (Parametrization::Graph(_), Transform::Deconv(_)));
            let count = if by_parents { parents.len().max(1) as f64 } else { fan_in };
            (weights / count).sqrt()
        });
        Self {
            index: node.index.expect("a linear layer has parameters"),
            factors: factors.collect(),
            exponent,
            bias: biases,
            own: Own { factor: if scaled { 1.0 } else { channels * fan_in / weights }, scaled },
            bias_own: if scaled { biases } else { 1.0 },
            wiring,
        }
    }
}

impl Walk<'_> {
    pub(super) fn rates(&self, index: usize) -> (f64, f64) {
        self.request.rates.as_ref().map_or((1.0, 1.0), |rates| rates.get(index).copied().unwrap_or((1.0, 1.0)))
    }

    pub(super) fn linear(&self, linear: &Linear, signal: &Signal, all: bool) -> Signal {
        let Linear { index, wiring, factors, exponent, bias, own, bias_own } = linear;
        let positions = wiring.parents.len();
        let second = [0, 1].map(|side| {
            let values: &[f64] = &signal.second[side];
            let of =
                |p: usize| factors[p] * factors[p] * wiring.parents[p].iter().map(|&(_, q)| values[q]).sum::<f64>();
            (0..positions).map(of).collect::<Vec<f64>>()
        });
        let covariance = gather(linear, &signal.covariance, all);
        // If both positions have the same taps, the difference contains no term of only one of them.
        let mut gap = gather(linear, &signal.gap, all);
        let alike = |p: usize, q: usize| p == q || (factors[p] == factors[q] && same_taps(linear, p, q));
        gap.update(
            |p, q, gap| {
                if alike(p, q) { gap } else { f64::midpoint(second[0][p], second[1][q]) - covariance.at(p, q) }
            },
        );
        let mut out = Signal {
            tangent: signal.tangent.iter().map(|(owner, field)| (*owner, gather(linear, field, all))).collect(),
            mean: [vec![0.0; positions], vec![0.0; positions]],
            second,
            scale: signal.scale.map(|scale| scale + exponent),
            tangent_scale: signal.tangent_scale + 2 * exponent,
            gaussian: true,
            fresh: true,
            covariance,
            gap,
        };
        let (by_weights, by_biases) = self.rates(*index);
        let parts = self.request.parts;
        // Part of the weights: the input covariance, times the number of weights if they are not scaled in the forward pass.
        let weights = Field::from_fn(positions, all, |p, q| by_weights * own.factor * out.covariance.at(p, q));
        let scale = if own.scaled { &out } else { signal }.scale;
        out.add_part(Owner { index: *index, bias: false }, parts, weights, scale[0] + scale[1]);
        let biases = Field::from_fn(positions, all, |_, _| by_biases * bias_own);
        out.add_part(Owner { index: *index, bias: true }, parts, biases, 0);
        out.add_common(*bias);
        out.normalize();
        out
    }
}

fn same_taps(linear: &Linear, p: usize, q: usize) -> bool {
    let (a, b) = (&linear.wiring.parents[p], &linear.wiring.parents[q]);
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0)
}

/// `√(w/c_p) √(w/c_p') Σ_{shared taps} field_qq'`.
fn gather(linear: &Linear, field: &Field, all: bool) -> Field {
    let Linear { wiring, factors, .. } = linear;
    let positions = wiring.parents.len();
    let mut out = Field::zeros(positions, all);
    // With a single output position, covariances between different inputs are not needed, because each input has its own
    // tap.
    if !all || positions == 1 {
        out.update(|p, _, _| {
            factors[p] * factors[p] * wiring.parents[p].iter().map(|&(_, q)| field.at(q, q)).sum::<f64>()
        });
        return out;
    }
    out.values.par_chunks_mut(positions).enumerate().for_each(|(p, row)| {
        for &(tap, q) in &wiring.parents[p] {
            let from = &field.values[q * field.positions..][..field.positions];
            for &(child, parent) in &wiring.edges[tap] {
                row[child] += from[parent];
            }
        }
        for (value, factor) in row.iter_mut().zip(factors) {
            *value *= factors[p] * factor;
        }
    });
    out
}
