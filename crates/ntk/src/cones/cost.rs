//! What a kernel costs, from shapes alone.

use super::band::{rectangle, shifts};
use super::full::contraction;
use super::plan::{Piece, Plan};
use super::pull::readers;

/// Multiply-adds and memory of a kernel, counted without running it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Multiply-adds of pulling cotangents back.
    pub pull: f64,
    /// Multiply-adds of all contractions.
    pub contract: f64,
    /// Products of a few numbers each, which cost a call more than their multiply-adds.
    pub calls: f64,
    /// Bytes needed at a time, about, without the kernel and what the chains hold.
    pub bytes: f64,
}

impl Cost {
    /// All multiply-adds.
    pub fn total(&self) -> f64 {
        self.pull + self.contract
    }
}

/// Cost of [`traced`](super::traced) and [`diagonal`](super::diagonal) for `samples` on each side, or of one batch
/// with itself; `size` is the bytes of a number.
pub fn sums_cost(plan: &Plan, samples: [usize; 2], symmetric: bool, size: usize) -> Cost {
    let sides = if symmetric { samples[0] } else { samples[0] + samples[1] } as f64;
    let pairs = (samples[0] * samples[1]) as f64;
    let (mut contract, mut calls, mut bands) = (0.0, 0.0, 0.0);
    for level in 1..=plan.layers().len() {
        let (c, hull) = (plan.layers()[level - 1].input[2], rectangle(plan, level));
        let area = (hull[0].len() * hull[1].len()) as f64;
        let count = shifts(plan, level, symmetric).len() as f64;
        let [sy, sx] = plan.layers()[level - 1].modulus();
        // Products of activations lie on the input, which is finer or coarser by the strides.
        contract += count * area / (sy * sx) as f64 * c as f64 * pairs;
        bands += count * area * pairs;
        calls += count * area;
    }
    let mut largest = 0.0_f64;
    for piece in plan.pieces(samples[0].max(samples[1])) {
        let outputs = piece.ranks.len() as f64;
        largest = largest.max(outputs * numbers(plan, piece.ranks[0], 0) * sides);
        for level in 1..plan.layers().len() {
            let ([h, w], c) = (piece.size(level), plan.map(level)[2]);
            let inside = shifts(plan, level, symmetric)
                .into_iter()
                .map(|[y, x]| (h.saturating_sub(y.unsigned_abs()) * w.saturating_sub(x.unsigned_abs())) as f64);
            let inside = inside.sum::<f64>() + 1.0;
            contract += outputs * inside * c as f64 * pairs;
            calls += outputs * inside;
        }
        let [h, w] = piece.size(0);
        contract += outputs * (h * w * plan.map(0)[2]) as f64 * pairs;
    }
    // A piece is held by each thread.
    let bytes = (bands + 2.0 * largest * rayon::current_num_threads() as f64) * size as f64;
    Cost { pull: pull_cost(plan, samples[0].max(samples[1]), 0) * sides, contract, calls, bytes }
}

/// Cost of [`Cotangents`](super::Cotangents) and [`full`](fn@super::full) between two selections, or of one with
/// itself if `second` is `None`; `size` is the bytes of a number. `below`: whether cotangents are carried to the chain's
/// input, for what lies below it.
pub fn full_cost(first: &Plan, second: Option<&Plan>, samples: [usize; 2], size: usize, below: bool) -> Cost {
    let sides = [first, second.unwrap_or(first)];
    let distinct = if second.is_some() { 2 } else { 1 };
    let (mut pull, mut held) = (0.0, 0.0);
    let lowest = usize::from(!below);
    for (plan, &n) in sides.iter().zip(&samples).take(distinct) {
        pull += pull_cost(plan, n, lowest) * n as f64;
        held += (0..plan.len()).map(|rank| numbers(plan, rank, lowest)).sum::<f64>() * n as f64;
    }
    let (multiply_adds, numbers) = contraction(sides, below);
    // Of one batch with itself: half of the blocks and half of those on the diagonal.
    let pairs = (samples[0] * samples[1]) as f64 * if second.is_some() { 1.0 } else { 0.5 };
    Cost { pull, contract: multiply_adds * pairs, calls: 0.0, bytes: (held + numbers) * size as f64 }
}

/// Multiply-adds of pulling back all outputs of one sample, of a batch of `samples`, to level `lowest`.
fn pull_cost(plan: &Plan, samples: usize, lowest: usize) -> f64 {
    plan.pieces(samples).into_iter().map(|piece| piece_cost(piece, lowest)).sum()
}

fn piece_cost(piece: Piece<'_>, lowest: usize) -> f64 {
    let layers = piece.plan.layers();
    let mut cost = 0.0;
    for (level, layer) in layers.iter().enumerate().take(layers.len() - 1).skip(lowest) {
        let [h, w] = piece.size(level);
        for (j, i) in (0..h).flat_map(|j| (0..w).map(move |i| (j, i))) {
            let Some([rows, columns]) = readers(piece, level, j, i) else { continue };
            let places = piece.ranks.iter().filter(|&&rank| piece.place(level, rank, j, i).is_some());
            cost += (places.count() * rows.len * columns.len * layer.input[2] * layer.output[2]) as f64;
        }
    }
    cost
}

/// Numbers of the windows of one output and sample, from level `lowest` to the one below the last.
fn numbers(plan: &Plan, rank: usize, lowest: usize) -> f64 {
    let levels = lowest..plan.layers().len();
    levels
        .map(|level| plan.window(level, rank).map(|w| w.len as f64).iter().product::<f64>() * plan.map(level)[2] as f64)
        .sum()
}
