//! The chain's input: position by position, the outputs whose cones hold it on both sides.

use rayon::prelude::*;

use super::super::gemm::{Matrix, product_transposed, transpose};
use super::super::real::Real;
use super::rows::Block;

/// Rows of the kernel that are worked on together: large products, but work for several threads.
fn strip_rows(rows: usize) -> usize {
    (rows / 8).clamp(128, 1024)
}

/// Columns of a product at a time.
const CHUNK: usize = 512;

/// The outputs of one side and sample whose cones hold a position, with their cotangents there.
struct Holders<T> {
    ranks: Vec<usize>,
    /// `[ranks, c]`.
    cotangents: Vec<T>,
}

impl<T: Real> Block<'_, '_, T> {
    /// Adds `(factor[n, n'] + bias) sum_q <delta_r[q], delta_r'[q]>`.
    pub(super) fn add_input(&self, factor: &[f64], bias: f64, kernel: &mut [T]) {
        let samples = self.sides.map(|side| side.chain().samples());
        assert_eq!(factor.len(), samples[0] * samples[1], "a factor for each pair of samples");
        let c = self.sides[0].plan().map(0)[2];
        for (n, m, half) in self.pairs() {
            let factor = T::of(factor[n * samples[1] + m] + bias);
            if factor == T::default() {
                continue;
            }
            let second = self.holders(1, m, 0..self.sides[1].plan().len());
            let mut rows = self.rows_of(kernel, n, m);
            let count = strip_rows(rows.len());
            rows.par_chunks_mut(count).enumerate().for_each(|(strip, rows)| {
                let base = strip * count;
                let first = self.holders(0, n, base..base + rows.len());
                let (mut columns, mut gram) = (Vec::new(), Vec::new());
                for (first, second) in first.iter().zip(&second).filter(|(first, _)| !first.ranks.is_empty()) {
                    let start = if half { second.ranks.partition_point(|&rank| rank < base) } else { 0 };
                    for start in (start..second.ranks.len()).step_by(CHUNK) {
                        let ranks = &second.ranks[start..second.ranks.len().min(start + CHUNK)];
                        let a = Matrix::new(&first.cotangents, first.ranks.len(), c);
                        let b = Matrix::new(&second.cotangents[start * c..], ranks.len(), c);
                        columns.resize(a.rows * b.rows, T::default());
                        product_transposed(&mut columns, false, b, a);
                        transpose(&columns, a.rows, &mut gram);
                        for (&rank, gram) in first.ranks.iter().zip(gram.chunks(ranks.len())) {
                            let mut at = 0;
                            for run in ranks.chunk_by(|a, b| a + 1 == *b) {
                                self.columns.add(rows[rank - base], run[0], factor, &gram[at..at + run.len()]);
                                at += run.len();
                            }
                        }
                    }
                }
            });
        }
    }

    /// For each position of the chain's input.
    fn holders(&self, side: usize, sample: usize, ranks: std::ops::Range<usize>) -> Vec<Holders<T>> {
        let [h, w, c] = self.sides[side].plan().map(0);
        let mut holders = Vec::new();
        holders.resize_with(h * w, || Holders { ranks: Vec::new(), cotangents: Vec::new() });
        for rank in ranks {
            self.sides[side].for_each_row(0, rank, sample, |y, x, values| {
                for (holder, values) in holders[y * w + x..].iter_mut().zip(values.chunks(c)) {
                    holder.ranks.push(rank);
                    holder.cotangents.extend_from_slice(values);
                }
            });
        }
        holders
    }
}
