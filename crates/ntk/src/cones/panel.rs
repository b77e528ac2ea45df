//! Products with panels: row-major matrices whose width is a few vector registers.

use pulp::Simd;

use super::gemm::Loop;
use super::real::Real;

/// Number of rows of the other matrix that are processed together.
pub(super) const GROUP: usize = 6;

/// Number of vectors that are processed together. With a group of rows they need fifteen of sixteen registers. (With four
/// rows and three vectors, one or two sums would be in memory, at less than half the speed.)
pub(super) const VECTORS: usize = 2;

/// The entries of a group of rows for one term of the sum.
pub(super) type Group<T> = [T; GROUP];

/// `sums[g][i] += sum_k rows[g][k][i] panel[k]` for all groups `g`; the width of a panel is a multiple of [`VECTORS`].
pub(super) struct PanelProduct<'v, T, const P: usize> {
    pub(super) sums: &'v mut [[[T; P]; GROUP]],
    /// `[groups, terms]`, starting with the first term of the first group.
    pub(super) rows: &'v [Group<T>],
    /// Distance from one group to the next.
    pub(super) stride: usize,
    /// `[terms]`
    pub(super) panel: &'v [[T; P]],
}

impl<T: Real, const P: usize> Loop for PanelProduct<'_, T, P> {
    /// Index loops instead of iterators: iterator calls are not always inlined, and then values do not stay in registers.
    #[inline(always)]
    #[expect(clippy::needless_range_loop, reason = "see above")]
    fn run<S: Simd>(self, simd: S) {
        let terms = self.panel.len();
        let width = T::vectors::<S>(&[T::default(); P]).len();
        let panel = T::vectors::<S>(self.panel.as_flattened());
        for start in (0..width).step_by(VECTORS) {
            for g in 0..self.sums.len() {
                let rows = &self.rows[g * self.stride..g * self.stride + terms];
                let mut part = [[T::splat(simd, T::default()); VECTORS]; GROUP];
                let mut at = start;
                for row in rows {
                    let here = &panel[at..at + VECTORS];
                    for i in 0..GROUP {
                        let row = T::splat(simd, row[i]);
                        for j in 0..VECTORS {
                            part[i][j] = T::fused(simd, row, here[j], part[i][j]);
                        }
                    }
                    at += width;
                }
                for i in 0..GROUP {
                    let sums = &mut T::vectors_mut::<S>(&mut self.sums[g][i])[start..start + VECTORS];
                    for j in 0..VECTORS {
                        sums[j] = T::sum(simd, sums[j], part[i][j]);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::gemm::simd;
    use super::*;

    #[test]
    fn panel_products_are_sums_of_products() {
        let rows: Vec<Group<f64>> =
            (0..10).map(|k| [0, 1, 2, 3, 4, 5].map(|i| f64::from((7 * k + i) % 5) - 2.0)).collect();
        let panel: Vec<[f64; 16]> =
            (0..5).map(|k| std::array::from_fn(|j| ((3 * k + 2 * j) % 7) as f64 - 3.0)).collect();
        let mut sums = [[[0.5; 16]; GROUP]; 2];
        simd(PanelProduct { sums: &mut sums, rows: &rows, stride: 5, panel: &panel });
        for (g, i, j) in (0..2).flat_map(|g| (0..GROUP).flat_map(move |i| (0..16).map(move |j| (g, i, j)))) {
            let expected: f64 = (0..5).map(|k| rows[5 * g + k][i] * panel[k][j]).sum();
            assert_eq!(sums[g][i][j], 0.5 + expected, "whole numbers are exact");
        }
    }
}
