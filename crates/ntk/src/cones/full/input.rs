//! Kernel parts of levels whose positions share no weight, such as the input of the chain. Outputs of the two sides are
//! multiplied on the positions that both cones contain.

use std::ops::Range;

use rayon::prelude::*;

use super::super::active::Active;
use super::super::axis::Axis;
use super::super::cotangents::ConeCotangents;
use super::super::gemm::{Matrix, product_transposed, simd};
use super::super::panel::{GROUP, PanelProduct};
use super::super::real::Real;
use super::super::tiles::{Tile, product_cost, tile_rows};
use super::lanes::Lanes;
use super::rows::Block;
use super::tiled::{DOUBLE, PANELS, SINGLE};

impl<T: Real> Block<'_, '_, T> {
    /// Adds `(factor[n, n'] + bias) sum_q <delta_r[q], delta_r'[q]>`.
    pub(super) fn add_input(&self, factor: &[f64], bias: f64, kernel: &mut [T]) {
        let [n1, n2] = self.sides.map(|side| side.chain().samples());
        assert_eq!(factor.len(), n1 * n2, "a factor for each pair of samples");
        let [h, w, _] = self.sides[0].plan().map(0);
        let factor = |n: usize, m: usize| vec![T::of(factor[n * n2 + m] + bias); h * w];
        self.add_positions(0, factor, kernel);
    }

    /// Adds the part of the weights of the layer whose output is `level` and whose input is a single position, so that every
    /// output position has its own weights: `sum_u Gamma_nn'[u, u] <delta_r[u], delta_r'[u]>`.
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
        if size_of::<T>() == size_of::<f32>() {
            self.add_tiles::<SINGLE>(level, factor, kernel);
        } else {
            self.add_tiles::<DOUBLE>(level, factor, kernel);
        }
    }

    fn add_tiles<const P: usize>(&self, level: usize, factor: impl Fn(usize, usize) -> Vec<T>, kernel: &mut [T]) {
        let plans = self.sides.map(ConeCotangents::plan);
        let width = plans[0].map(level)[1];
        let strips = [tile_rows(plans[0], level, panel_cost), tile_rows(plans[1], level, product_cost)];
        let [strips, tiles] = strips.map(|rows| rows.into_iter().flat_map(|row| row.tiles).collect::<Vec<_>>());
        for (n, m, half) in self.pairs() {
            let factors = factor(n, m);
            if factors.iter().all(|&factor| factor == T::default()) {
                continue;
            }
            let active = Active::both(self.sides.map(ConeCotangents::chain), level, [n, m]);
            let targets =
                tiles.par_iter().map(|tile| Lanes::new(self.sides[1], tile, &tile.ranks, (level, m), &active));
            let targets: Vec<Lanes<T, GROUP>> = targets.collect();
            let mut rows: Vec<_> = self.rows_of(kernel, n, m).into_iter().map(Some).collect();
            let mut work = Vec::new();
            for strip in &strips {
                for ranks in strip.ranks.chunks(PANELS * P) {
                    work.push((strip, ranks, ranks.iter().filter_map(|&rank| rows[rank].take()).collect::<Vec<_>>()));
                }
            }
            work.into_par_iter().for_each(|(strip, ranks, mut rows)| {
                let panel = |ranks: &[usize]| {
                    let mut panel = Lanes::<T, P>::new(self.sides[0], strip, ranks, (level, n), &active);
                    panel.scale(strip, &active, |y, x| factors[y * width + x]);
                    panel
                };
                let panels: Vec<_> = ranks.chunks(P).map(panel).collect();
                let mut sums = Vec::new();
                for (tile, targets) in tiles.iter().zip(&targets) {
                    let common = [common(&strip.rows, &tile.rows), common(&strip.columns, &tile.columns)];
                    // Entries before the diagonal are not needed.
                    let skipped = if half { tile.ranks.partition_point(|&rank| rank < ranks[0]) / GROUP } else { 0 };
                    if common.iter().any(Range::is_empty) || skipped * GROUP >= tile.ranks.len() {
                        continue;
                    }
                    for (panel, rows) in panels.iter().zip(rows.chunks_mut(P)) {
                        sums.clear();
                        sums.resize(tile.ranks.len().div_ceil(GROUP) - skipped, [[T::default(); P]; GROUP]);
                        for y in common[0].clone() {
                            let terms = active.count(y, &common[1]);
                            if terms == 0 {
                                continue;
                            }
                            let before = |tile: &Tile| active.count(y, &(tile.columns.start..common[1].start));
                            let panel = &panel.0[y - strip.rows.start][before(strip)..][..terms];
                            let stride = active.count(y, &tile.columns);
                            let rows = &targets.0[y - tile.rows.start][skipped * stride + before(tile)..];
                            simd(PanelProduct { sums: &mut sums, rows, stride, panel });
                        }
                        self.add_sums(&tile.ranks[skipped * GROUP..], &sums, rows);
                    }
                }
            });
        }
    }
}

/// Time for one position with `outputs` outputs: an incomplete panel takes as long as a full one.
pub(super) fn panel_cost(outputs: usize) -> f64 {
    (outputs.div_ceil(SINGLE) * SINGLE) as f64
}

fn common(a: &Range<usize>, b: &Range<usize>) -> Range<usize> {
    a.start.max(b.start)..a.end.min(b.end)
}
