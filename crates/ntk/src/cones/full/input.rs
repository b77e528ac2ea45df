//! Levels whose positions share no weight, such as the chain's input: position by position, the outputs whose cones hold
//! it on both sides.

use rayon::prelude::*;

use super::super::active::Active;
use super::super::axis::Axis;
use super::super::cotangents::Cotangents;
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
    /// `[ranks, active channels]`.
    cotangents: Vec<T>,
}

impl<T: Real> Block<'_, '_, T> {
    /// Adds `(factor[n, n'] + bias) sum_q <delta_r[q], delta_r'[q]>`.
    pub(super) fn add_input(&self, factor: &[f64], bias: f64, kernel: &mut [T]) {
        let [n1, n2] = self.sides.map(|side| side.chain().samples());
        assert_eq!(factor.len(), n1 * n2, "a factor for each pair of samples");
        let [h, w, _] = self.sides[0].plan().map(0);
        let factor = |n: usize, m: usize| vec![T::of(factor[n * n2 + m] + bias); h * w];
        self.add_positions(0, factor, kernel);
    }

    /// By the weights of the layer whose output is `level` and whose input is a single position, from which every
    /// position of the output has weights of its own: `sum_u Gamma_nn'[u, u] <delta_r[u], delta_r'[u]>`.
    pub(super) fn add_unshared(&self, level: usize, kernel: &mut [T]) {
        let layers = self.sides.map(|side| &side.chain().layers()[level - 1]);
        let ([h, w, _], c) = (layers[0].geometry.output, layers[0].geometry.input[2]);
        let axes = [Axis::new(&layers[0].geometry, 0), Axis::new(&layers[0].geometry, 1)];
        let reached = |axis: usize, u: usize| axes[axis].tap(u as isize, 0).is_some();
        let factor = |n: usize, m: usize| {
            let mut gram = [T::default()];
            let [a, b] = [(0, n), (1, m)].map(|(side, n)| Matrix::new(layers[side].activation(n, [0, 0]), 1, c));
            product_transposed(&mut gram, false, a, b);
            let of = |at: usize| {
                let read = reached(0, at / w) && reached(1, at % w);
                if read { gram[0] * layers[0].scale[at] * layers[1].scale[at] } else { T::default() }
            };
            (0..h * w).map(of).collect()
        };
        self.add_positions(level, factor, kernel);
    }

    /// Adds `sum_u factor(n, n')[u] <delta_r[u], delta_r'[u]>` at a level.
    fn add_positions(&self, level: usize, factor: impl Fn(usize, usize) -> Vec<T>, kernel: &mut [T]) {
        let [_, w, _] = self.sides[0].plan().map(level);
        for (n, m, half) in self.pairs() {
            let factors = factor(n, m);
            if factors.iter().all(|&factor| factor == T::default()) {
                continue;
            }
            let active = Active::both(self.sides.map(Cotangents::chain), level, [n, m]);
            let second = self.holders(level, 1, m, &active, 0..self.sides[1].plan().len());
            let mut rows = self.rows_of(kernel, n, m);
            let count = strip_rows(rows.len());
            rows.par_chunks_mut(count).enumerate().for_each(|(strip, rows)| {
                let base = strip * count;
                let first = self.holders(level, 0, n, &active, base..base + rows.len());
                let (mut columns, mut gram) = (Vec::new(), Vec::new());
                for (at, ((first, second), &factor)) in first.iter().zip(&second).zip(&factors).enumerate() {
                    let c = active.count(at / w, &(at % w..at % w + 1));
                    if first.ranks.is_empty() || c == 0 || factor == T::default() {
                        continue;
                    }
                    let start = if half { second.ranks.partition_point(|&rank| rank < base) } else { 0 };
                    for start in (start..second.ranks.len()).step_by(CHUNK) {
                        let ranks = &second.ranks[start..second.ranks.len().min(start + CHUNK)];
                        let a = Matrix::new(&first.cotangents, first.ranks.len(), c);
                        let b = Matrix::new(&second.cotangents[start * c..], ranks.len(), c);
                        columns.resize(a.rows * b.rows, T::default());
                        product_transposed(&mut columns, false, b, a);
                        transpose(&columns, a.rows, &mut gram);
                        let runs: Vec<&[usize]> = ranks.chunk_by(|a, b| a + 1 == *b).collect();
                        for (&rank, gram) in first.ranks.iter().zip(gram.chunks(ranks.len())) {
                            let mut at = 0;
                            for run in &runs {
                                self.columns.add(rows[rank - base], run[0], factor, &gram[at..at + run.len()]);
                                at += run.len();
                            }
                        }
                    }
                }
            });
        }
    }

    /// For each position of a level.
    fn holders(
        &self,
        level: usize,
        side: usize,
        sample: usize,
        active: &Active,
        ranks: std::ops::Range<usize>,
    ) -> Vec<Holders<T>> {
        let [h, w, c] = self.sides[side].plan().map(level);
        let mut holders = Vec::new();
        holders.resize_with(h * w, || Holders { ranks: Vec::new(), cotangents: Vec::new() });
        for rank in ranks {
            self.sides[side].for_each_row(level, rank, sample, |y, x, values| {
                for (x, values) in (x..).zip(values.chunks(c)) {
                    let holder = &mut holders[y * w + x];
                    holder.ranks.push(rank);
                    match active.at(y, x) {
                        None => holder.cotangents.extend_from_slice(values),
                        Some(channels) => holder.cotangents.extend(channels.iter().map(|&at| values[at as usize])),
                    }
                }
            });
        }
        holders
    }
}
