//! Products of row-major matrices in slices; each product runs on the calling thread.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use pulp::{Arch, Simd, WithSimd};

use super::real::Real;

/// Products with fewer entries than this are computed as dot products, because a call of the general routine costs more.
const SMALL: usize = 9;

/// Number of partial sums of a dot product, which the compiler keeps in vector registers.
const LANES: usize = 16;

/// A row-major matrix in a slice: entry `(i, j)` at `i * stride + j`.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a, T> {
    pub(super) data: &'a [T],
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) stride: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// A matrix without gaps between its rows.
    pub(super) fn new(data: &'a [T], rows: usize, columns: usize) -> Self {
        Self { data, rows, columns, stride: columns }
    }

    fn row(&self, i: usize) -> &'a [T] {
        &self.data[i * self.stride..i * self.stride + self.columns]
    }

    fn is_empty(&self) -> bool {
        self.rows == 0 || self.columns == 0
    }

    /// The transpose, as a column-major view.
    fn transposed(self) -> MatRef<'a, T> {
        MatRef::from_column_major_slice_with_stride(self.data, self.columns, self.rows, self.stride)
    }
}

/// `c = a b`, or `c += a b`; `c` is row-major `[a.rows, b.columns]` without gaps.
pub(super) fn product<T: Real>(c: &mut [T], accumulate: bool, a: Matrix<'_, T>, b: Matrix<'_, T>) {
    debug_assert_eq!(a.columns, b.rows);
    if a.rows == 0 || b.columns == 0 {
        return;
    }
    if a.is_empty() {
        return clear_unless(accumulate, c);
    }
    let c = MatMut::from_column_major_slice_with_stride_mut(c, b.columns, a.rows, b.columns);
    matmul(c, accum(accumulate), b.transposed(), a.transposed(), T::of(1.0), Par::Seq);
}

/// `c = a b^T`, or `c += a b^T`; `c` is row-major `[a.rows, b.rows]` without gaps. It is faster if `a` has more rows than
/// `b`, because `b` is copied first.
pub(super) fn product_transposed<T: Real>(c: &mut [T], accumulate: bool, a: Matrix<'_, T>, b: Matrix<'_, T>) {
    debug_assert_eq!(a.columns, b.columns);
    if a.rows == 0 || b.rows == 0 {
        return;
    }
    if a.is_empty() {
        return clear_unless(accumulate, c);
    }
    if a.rows * b.rows < SMALL {
        for (i, row) in c.chunks_mut(b.rows).take(a.rows).enumerate() {
            for (j, value) in row.iter_mut().enumerate() {
                let dot = dot(a.row(i), b.row(j));
                *value = if accumulate { *value + dot } else { dot };
            }
        }
        return;
    }
    let c = MatMut::from_column_major_slice_with_stride_mut(c, b.rows, a.rows, b.rows);
    matmul(c, accum(accumulate), b.transposed().transpose(), a.transposed(), T::of(1.0), Par::Seq);
}

/// A loop that is compiled for each vector instruction set. [`run`](Loop::run), and the functions that it calls, must be
/// inlined.
pub(super) trait Loop {
    fn run<S: Simd>(self, simd: S);
}

struct Compiled<L>(L);

impl<L: Loop> WithSimd for Compiled<L> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.0.run(simd);
    }
}

/// Runs a loop with the vector instructions of this machine. Multiplications and additions are fused only where the loop
/// asks for it, so the result has the same bytes on every machine. (A closure cannot replace the trait: the compiler does
/// not always inline a long closure.)
pub(super) fn simd(work: impl Loop) {
    Arch::new().dispatch(Compiled(work));
}

/// The loop `y += factor x`.
pub(super) struct Axpy<'v, T> {
    pub(super) y: &'v mut [T],
    pub(super) factor: T,
    pub(super) x: &'v [T],
}

impl<T: Real> Loop for Axpy<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        axpy(self.y, self.factor, self.x);
    }
}

/// Computes `y += factor x`.
#[inline(always)]
pub(super) fn axpy<T: Real>(y: &mut [T], factor: T, x: &[T]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y += factor * x;
    }
}

fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    let mut lanes = [T::default(); LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let mut rest = T::default();
    for (&a, &b) in a.remainder().iter().zip(b.remainder()) {
        rest += a * b;
    }
    for (a, b) in a.zip(b) {
        for (lane, (&a, &b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += a * b;
        }
    }
    lanes.iter().fold(rest, |sum, &lane| sum + lane)
}

fn accum(accumulate: bool) -> Accum {
    if accumulate { Accum::Add } else { Accum::Replace }
}

fn clear_unless<T: Real>(keep: bool, c: &mut [T]) {
    if !keep {
        c.fill(T::default());
    }
}
