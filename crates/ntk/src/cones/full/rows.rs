//! The rows and columns of a kernel by rank, and adding to them.

use super::super::cotangents::Cotangents;
use super::super::gemm::axpy;
use super::super::real::Real;

/// Outputs of consecutive ranks that are also consecutive columns of the kernel.
#[derive(Debug, Clone, Copy)]
struct Run {
    rank: usize,
    column: usize,
    len: usize,
}

/// Columns of one sample of a kernel, by rank.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    runs: Vec<Run>,
}

impl Columns {
    /// `order` holds the column of each rank.
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
            axpy(&mut row[column..column + to - from], factor, &values[from - first..to - first]);
        }
    }
}

/// Both sides of a kernel.
pub(super) struct Block<'b, 'a, T: Clone> {
    pub(super) sides: [&'b Cotangents<'a, T>; 2],
    pub(super) symmetric: bool,
    pub(super) columns: Columns,
}

impl<'b, 'a, T: Real> Block<'b, 'a, T> {
    pub(super) fn new(first: &'b Cotangents<'a, T>, second: Option<&'b Cotangents<'a, T>>) -> Self {
        let sides = [first, second.unwrap_or(first)];
        Self { sides, symmetric: second.is_none(), columns: Columns::new(sides[1].plan().order()) }
    }

    /// `N1 O1`.
    pub(super) fn rows(&self) -> usize {
        self.sides[0].chain().samples() * self.sides[0].plan().len()
    }

    /// `N2 O2`.
    pub(super) fn row_len(&self) -> usize {
        self.sides[1].chain().samples() * self.sides[1].plan().len()
    }

    /// Pairs of samples whose blocks are computed, and whether only half of the block is.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (usize, usize, bool)> {
        let (n1, n2, symmetric) = (self.sides[0].chain().samples(), self.sides[1].chain().samples(), self.symmetric);
        (0..n1).flat_map(move |n| (if symmetric { n } else { 0 }..n2).map(move |m| (n, m, symmetric && n == m)))
    }

    /// Rows of a pair's block, by rank; their columns are in the order of the selection.
    pub(super) fn rows_of<'k>(&self, kernel: &'k mut [T], n: usize, m: usize) -> Vec<&'k mut [T]> {
        let (o1, o2, row_len) = (self.sides[0].plan().len(), self.sides[1].plan().len(), self.row_len());
        let block = &mut kernel[n * o1 * row_len..(n + 1) * o1 * row_len];
        let rows = block.chunks_mut(row_len.max(1)).map(|row| Some(&mut row[m * o2..(m + 1) * o2]));
        let mut rows: Vec<_> = rows.collect();
        self.sides[0].plan().order().iter().filter_map(|&index| rows.get_mut(index)?.take()).collect()
    }
}
