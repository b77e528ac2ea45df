//! Rows and columns of a kernel in the order of ranks, and additions to them.

use super::super::cotangents::ConeCotangents;
use super::super::gemm::{Axpy, simd};
use super::super::real::Real;

/// Outputs with consecutive ranks that are also consecutive columns of the kernel.
#[derive(Debug, Clone, Copy)]
struct Run {
    rank: usize,
    column: usize,
    len: usize,
}

/// The columns of one sample of a kernel, ordered by rank.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    runs: Vec<Run>,
}

impl Columns {
    /// `order[rank]` is the column of a rank.
    fn new(order: &[usize]) -> Self {
        let mut runs: Vec<Run> = Vec::new();
        for (rank, &column) in order.iter().enumerate() {
            match runs.last_mut() {
                Some(run) if run.column + run.len == column => run.len += 1,
                _ => runs.push(Run { rank, column, len: 1 }),
            }
        }
        Self { runs }
    }

    /// `row[columns of first, first + 1, ..] += factor values`.
    pub(super) fn add<T: Real>(&self, row: &mut [T], first: usize, factor: T, values: &[T]) {
        let end = first + values.len();
        let start = self.runs.partition_point(|run| run.rank + run.len <= first);
        for run in self.runs[start..].iter().take_while(|run| run.rank < end) {
            let (from, to) = (run.rank.max(first), (run.rank + run.len).min(end));
            let column = run.column + from - run.rank;
            let y = &mut row[column..column + to - from];
            simd(Axpy { y, factor, x: &values[from - first..to - first] });
        }
    }
}

/// Position of a kernel in a slice: `Theta[(n, o), (n', o')]` is at `start + n samples[0] + n' samples[1] + o row + o'`.
///
/// The entries of a pair of samples (n, n') must come after those of all earlier pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Position of the first entry.
    pub start: usize,
    /// Distance between consecutive samples of each side.
    pub samples: [usize; 2],
    /// Distance between consecutive outputs of the first side.
    pub row: usize,
}

impl Layout {
    /// Row-major `[N1 O1, N2 O2]`; rows and columns are ordered by sample.
    #[must_use]
    pub fn matrix([o1, o2]: [usize; 2], n2: usize) -> Self {
        Self { start: 0, samples: [o1 * n2 * o2, o2], row: n2 * o2 }
    }

    /// Row-major `[N1, N2, O, O]`, starting with output `first` of each side.
    #[must_use]
    pub fn pairs(outputs: usize, first: [usize; 2], n2: usize) -> Self {
        let square = outputs * outputs;
        Self { start: first[0] * outputs + first[1], samples: [n2 * square, square], row: outputs }
    }
}

/// The two sides of a kernel.
pub(super) struct Block<'b, 'a, T: Clone> {
    pub(super) sides: [&'b ConeCotangents<'a, T>; 2],
    pub(super) symmetric: bool,
    pub(super) columns: Columns,
    layout: Layout,
}

impl<'b, 'a, T: Real> Block<'b, 'a, T> {
    pub(super) fn new(
        first: &'b ConeCotangents<'a, T>,
        second: Option<&'b ConeCotangents<'a, T>>,
        layout: Layout,
    ) -> Self {
        let sides = [first, second.unwrap_or(first)];
        Self { sides, symmetric: second.is_none(), columns: Columns::new(sides[1].plan().order()), layout }
    }

    /// One more than the position of the last entry; `None` if there is no entry.
    pub(super) fn end(&self) -> Option<usize> {
        let ([n1, n2], [o1, o2]) = (self.samples(), self.sides.map(|side| side.plan().len()));
        let last = |len: usize, stride: usize| Some(len.checked_sub(1)? * stride);
        let rows = last(n1, self.layout.samples[0])? + last(n2, self.layout.samples[1])? + last(o1, self.layout.row)?;
        (o2 > 0).then_some(self.layout.start + rows + o2)
    }

    fn samples(&self) -> [usize; 2] {
        self.sides.map(|side| side.chain().samples())
    }

    /// Pairs of samples whose blocks are computed; the flag says that only half of the block is computed.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (usize, usize, bool)> {
        let (n1, n2, symmetric) = (self.sides[0].chain().samples(), self.sides[1].chain().samples(), self.symmetric);
        (0..n1).flat_map(move |n| (if symmetric { n } else { 0 }..n2).map(move |m| (n, m, symmetric && n == m)))
    }

    /// Rows of the block of a pair of samples, ordered by rank; columns are in the order of the selection.
    pub(super) fn rows_of<'k>(&self, kernel: &'k mut [T], n: usize, m: usize) -> Vec<&'k mut [T]> {
        self.rows_from(kernel, self.layout.start + n * self.layout.samples[0], m)
    }

    /// Rows of the blocks (n, m) and (m, n) of two samples, for n < m.
    pub(super) fn rows_of_both<'k>(&self, kernel: &'k mut [T], n: usize, m: usize) -> [Vec<&'k mut [T]>; 2] {
        let Layout { start, samples, .. } = self.layout;
        let (before, after) = kernel.split_at_mut(start + m * samples[0]);
        [self.rows_from(before, start + n * samples[0], m), self.rows_from(after, 0, n)]
    }

    fn rows_from<'k>(&self, kernel: &'k mut [T], start: usize, m: usize) -> Vec<&'k mut [T]> {
        let [o1, o2] = self.sides.map(|side| side.plan().len());
        let block = kernel.get_mut(start + m * self.layout.samples[1]..).unwrap_or_default();
        let rows = block.chunks_mut(self.layout.row.max(1)).take(o1);
        let mut rows: Vec<_> = rows.map(|row| Some(&mut row[..o2])).collect();
        self.sides[0].plan().order().iter().filter_map(|&index| rows.get_mut(index)?.take()).collect()
    }
}
