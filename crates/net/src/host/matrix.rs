//! Matrix products of slices.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

use super::HostNumber;

/// Smallest number of multiply-adds for which one product uses several threads.
const PARALLEL: usize = 1 << 22;

/// A matrix in row-major order, or its transpose.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix<'a, T>(MatRef<'a, T>);

impl<'a, T: HostNumber> Matrix<'a, T> {
    /// Values of `rows` by `columns`.
    pub(crate) fn new(values: &'a [T], rows: usize, columns: usize) -> Self {
        Self(MatRef::from_row_major_slice(values, rows, columns))
    }

    pub(crate) fn transposed(self) -> Self {
        Self(self.0.transpose())
    }
}

/// `to = factor · a b`, with `to` in row-major order.
pub(crate) fn set_product<T: HostNumber>(to: &mut [T], factor: T, a: Matrix<T>, b: Matrix<T>, threads: Threads) {
    product(to, Accum::Replace, factor, a, b, threads);
}

/// `to += factor · a b`, with `to` in row-major order.
pub(crate) fn add_product<T: HostNumber>(to: &mut [T], factor: T, a: Matrix<T>, b: Matrix<T>, threads: Threads) {
    product(to, Accum::Add, factor, a, b, threads);
}

/// How many threads work on one product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threads {
    /// The calling thread only, which is one of many with a product each.
    One,
    /// All, if the product is large enough.
    All,
}

fn product<T: HostNumber>(to: &mut [T], how: Accum, factor: T, a: Matrix<T>, b: Matrix<T>, threads: Threads) {
    let (m, k, n) = (a.0.nrows(), a.0.ncols(), b.0.ncols());
    let par = if threads == Threads::All && m * k * n >= PARALLEL { Par::rayon(0) } else { Par::Seq };
    matmul(MatMut::from_row_major_slice_mut(to, m, n), how, a.0, b.0, factor, par);
}
