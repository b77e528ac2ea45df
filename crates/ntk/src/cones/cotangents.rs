//! Cotangents on all cones of a plan.

use std::ops::Range;

use rayon::prelude::*;

use super::chain::Chain;
use super::plan::ConePlan;
use super::pull::{Windows, pull};
use super::real::Real;
use super::weights::PullWeights;

/// Cotangents of all selected outputs of a batch, each on its own cone.
pub struct ConeCotangents<'a, T: Clone> {
    plan: &'a ConePlan,
    chain: &'a Chain<'a, T>,
    pieces: Vec<Windows<T>>,
    /// For each rank, the index of its piece and its index in the piece.
    places: Vec<(usize, usize)>,
}

impl<'a, T: Real> ConeCotangents<'a, T> {
    /// Pulls all outputs of a plan back to the input of the chain.
    pub fn new(plan: &'a ConePlan, chain: &'a Chain<'a, T>) -> Self {
        Self::down_to(0, plan, chain)
    }

    /// Pulls the outputs back only to the output of the first layer, which is sufficient for [`full`](fn@super::full)
    /// without an [`InputTerm`](super::InputTerm). These cotangents cannot be scattered.
    pub fn of_layers(plan: &'a ConePlan, chain: &'a Chain<'a, T>) -> Self {
        Self::down_to(1, plan, chain)
    }

    fn down_to(lowest: usize, plan: &'a ConePlan, chain: &'a Chain<'a, T>) -> Self {
        let weights: Vec<_> = chain.layers().iter().map(PullWeights::new).collect();
        let pieces = plan.pieces(chain.samples());
        let mut places = vec![(0, 0); plan.len()];
        for (index, piece) in pieces.iter().enumerate() {
            for (local, &rank) in piece.ranks.iter().enumerate() {
                places[rank] = (index, local);
            }
        }
        let pieces = pieces.into_par_iter().map(|piece| pull(chain, &weights, piece, lowest)).collect();
        Self { plan, chain, pieces, places }
    }

    /// The cones.
    pub fn plan(&self) -> &'a ConePlan {
        self.plan
    }

    /// The batch.
    pub fn chain(&self) -> &'a Chain<'a, T> {
        self.chain
    }

    /// The window of one output and sample at a level: `[rows, columns, c]`.
    pub(super) fn window(&self, level: usize, rank: usize, sample: usize) -> &[T] {
        let (piece, local) = self.places[rank];
        let len = self.plan.window(level, rank).map(|window| window.len).iter().product::<usize>();
        let len = len * self.plan.map(level)[2];
        &self.pieces[piece].levels[level][(local * self.chain.samples() + sample) * len..][..len]
    }

    /// Visits the rows of the window of one output and sample that lie on the map. The visitor receives a row, its first
    /// column and the cotangents `[columns, c]` of that row.
    pub(super) fn for_each_row(
        &self,
        level: usize,
        rank: usize,
        sample: usize,
        mut visit: impl FnMut(usize, usize, &[T]),
    ) {
        let ([y, x], [rows, columns]) = (self.plan.window(level, rank), self.plan.clipped(level, rank));
        let (window, c) = (self.window(level, rank, sample), self.plan.map(level)[2]);
        if columns.is_empty() {
            return;
        }
        let skipped = (columns.start as isize - x.start) as usize;
        for row in rows {
            let j = (row as isize - y.start) as usize;
            visit(row, columns.start, &window[(j * x.len + skipped) * c..][..columns.len() * c]);
        }
    }

    /// Cotangents at the input of the chain as whole maps: `[N, outputs, h, w, c]` for a range of the selected outputs.
    ///
    /// # Panics
    ///
    /// If the range is not inside the selection.
    pub fn scatter(&self, outputs: Range<usize>) -> Vec<T> {
        let [h, w, c] = self.plan.map(0);
        let mut ranks = vec![0; self.plan.len()];
        for (rank, &index) in self.plan.order().iter().enumerate() {
            ranks[index] = rank;
        }
        let ranks = &ranks[outputs];
        let mut maps = vec![T::default(); self.chain.samples() * ranks.len() * h * w * c];
        maps.par_chunks_mut(h * w * c).enumerate().for_each(|(row, map)| {
            let (sample, rank) = (row / ranks.len(), ranks[row % ranks.len()]);
            self.for_each_row(0, rank, sample, |y, x, values| {
                map[(y * w + x) * c..][..values.len()].copy_from_slice(values);
            });
        });
        maps
    }
}
