//! The cost of a kernel, computed from shapes alone.

use super::band::{rectangle, shifts};
use super::full::contraction;
use super::plan::{ConePlan, Piece};
use super::pull::readers;

/// Multiply-adds and memory of a kernel, counted without computing it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Multiply-adds of pulling cotangents back.
    pub pull: f64,
    /// Multiply-adds of all contractions.
    pub contract: f64,
    /// Number of small products, for which the overhead of a call exceeds the multiply-adds.
    pub calls: f64,
    /// Peak memory in bytes (approximate), without the kernel and the data of the chains.
    pub bytes: f64,
}

impl Cost {
    /// The sum of all multiply-adds.
    pub fn total(&self) -> f64 {
        self.pull + self.contract
    }
}

/// Cost of [`traced`](super::traced) and [`diagonal`](super::diagonal), for `samples` on each side or for one batch with
/// itself. `size` is the number of bytes of a floating-point number.
pub fn sums_cost(plan: &ConePlan, samples: [usize; 2], symmetric: bool, size: usize) -> Cost {
    let sides = if symmetric { samples[0] } else { samples[0] + samples[1] } as f64;
    let pairs = (samples[0] * samples[1]) as f64;
    let (mut contract, mut calls, mut bands) = (0.0, 0.0, 0.0);
    for level in 1..=plan.layers().len() {
        let (c, hull) = (plan.layers()[level - 1].input[2], rectangle(plan, level));
        let area = (hull[0].len() * hull[1].len()) as f64;
        let count = shifts(plan, level, symmetric).len() as f64;
        let [sy, sx] = plan.layers()[level - 1].modulus();
        // Products of activations are computed on the input map, which is finer or coarser than the output by the stride.
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
    // Each thread holds one piece.
    let bytes = (bands + 2.0 * largest * rayon::current_num_threads() as f64) * size as f64;
    Cost { pull: pull_cost(plan, samples[0].max(samples[1]), 0) * sides, contract, calls, bytes }
}

/// Cost of [`ConeCotangents`](super::ConeCotangents) and [`full`](fn@super::full) between two selections, or of one selection with
/// itself if `second` is `None`. `size` is the number of bytes of a floating-point number. `below` says whether cotangents
/// are pulled back to the input of the chain, for the layers below it.
pub fn full_cost(first: &ConePlan, second: Option<&ConePlan>, samples: [usize; 2], size: usize, below: bool) -> Cost {
    let sides = [first, second.unwrap_or(first)];
    let distinct = if second.is_some() { 2 } else { 1 };
    let (mut pull, mut held) = (0.0, 0.0);
    let lowest = usize::from(!below);
    for (plan, &n) in sides.iter().zip(&samples).take(distinct) {
        pull += pull_cost(plan, n, lowest) * n as f64;
        held += (0..plan.len()).map(|rank| numbers(plan, rank, lowest)).sum::<f64>() * n as f64;
    }
    let (multiply_adds, numbers) = contraction(sides, below);
    // For one batch with itself, only half of the blocks and half of each diagonal block are computed.
    let pairs = (samples[0] * samples[1]) as f64 * if second.is_some() { 1.0 } else { 0.5 };
    Cost { pull, contract: multiply_adds * pairs, calls: 0.0, bytes: (held + numbers) * size as f64 }
}

/// Multiply-adds of pulling all outputs back to level `lowest`, for each sample of a batch of `samples`.
fn pull_cost(plan: &ConePlan, samples: usize, lowest: usize) -> f64 {
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

/// Number of values in the windows of one output and sample, from level `lowest` to the level below the last.
fn numbers(plan: &ConePlan, rank: usize, lowest: usize) -> f64 {
    let levels = lowest..plan.layers().len();
    levels
        .map(|level| plan.window(level, rank).map(|w| w.len as f64).iter().product::<f64>() * plan.map(level)[2] as f64)
        .sum()
}
