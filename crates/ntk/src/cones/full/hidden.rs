//! Kernel parts of layers whose outputs are hidden.

use rayon::prelude::*;

use super::super::cotangents::ConeCotangents;
use super::super::gemm::{Matrix, product_transposed};
use super::super::real::Real;
use super::choice::Method;
use super::rows::Block;
use super::totals::totals;

/// Number of rows that are multiplied with all biases in one product.
const BIAS_ROWS: usize = 64;

impl<T: Real> Block<'_, '_, T> {
    /// Adds the part of the weights of the layer whose output is `level`, and the part of its bias if `bias` is true.
    pub(super) fn add_hidden(&self, level: usize, bias: bool, kernel: &mut [T]) {
        let plans = self.sides.map(ConeCotangents::plan);
        let square = self.sides[0].chain().layers()[level - 1].bias_square();
        let square = if bias { T::of(square) } else { T::default() };
        match Method::new(plans, level) {
            Method::Positions => {
                self.add_unshared(level, kernel);
                if bias {
                    self.add_hidden_bias(level, kernel);
                }
            }
            Method::Pairs => self.add_pairs(level, square, kernel),
            Method::Tiles(rows) => self.add_tile_rows(level, square, &rows, kernel),
        }
    }

    /// Adds the part of the bias: `beta^2 <sum_u delta_r[u], sum_u delta_r'[u]>`.
    pub(super) fn add_hidden_bias(&self, level: usize, kernel: &mut [T]) {
        let square = T::of(self.sides[0].chain().layers()[level - 1].bias_square());
        if square == T::default() {
            return;
        }
        let c = self.sides[0].plan().map(level)[2];
        for (n, m, half) in self.pairs() {
            let first = totals(self.sides[0], level, n, T::of(1.0));
            let second = totals(self.sides[1], level, m, T::of(1.0));
            let mut rows = self.rows_of(kernel, n, m);
            let strips = rows.par_chunks_mut(BIAS_ROWS).zip(first.par_chunks(BIAS_ROWS * c)).enumerate();
            strips.for_each(|(strip, (rows, first))| {
                let start = if half { strip * BIAS_ROWS } else { 0 };
                let second = &second[start * c..];
                let columns = second.len() / c;
                let mut gram = vec![T::default(); rows.len() * columns];
                let (a, b) = (Matrix::new(first, rows.len(), c), Matrix::new(second, columns, c));
                product_transposed(&mut gram, false, a, b);
                for (row, gram) in rows.iter_mut().zip(gram.chunks(columns)) {
                    self.columns.add(row, start, square, gram);
                }
            });
        }
    }
}
