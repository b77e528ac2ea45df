//! Hidden layers: one side is pushed through the patch Gram matrix, panel by panel, and multiplied with tiles of the other
//! side.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::super::active::Active;
use super::super::cotangents::ConeCotangents;
use super::super::gemm::simd;
use super::super::panel::{GROUP, PanelProduct};
use super::super::patches::{Positions, gram};
use super::super::real::Real;
use super::super::tiles::{Tile, TileRow};
use super::lanes::Lanes;
use super::pushed::{Gram, Panel};
use super::rows::Block;
use super::totals::totals;

/// Number of outputs in a panel, in single and in double precision: [`VECTORS`](super::super::panel::VECTORS) vectors of 512
/// bits, or more vectors that are shorter.
pub(super) const SINGLE: usize = 32;
pub(super) const DOUBLE: usize = 16;

/// Number of panels that are processed together: tiles are read from memory once for all of them.
pub(super) const PANELS: usize = 3;

/// Largest number of outputs that are processed together.
pub(super) const OUTPUTS: usize = PANELS * SINGLE;

impl<T: Real> Block<'_, '_, T> {
    /// Adds `Theta[r, r'] = sum_{u'} <Z_r[u'], delta_r'[u']>` for all `r` of the first side and the tiles of the second.
    /// `bias` is `beta^2`, or zero to leave the bias out.
    pub(super) fn add_tile_rows(&self, level: usize, bias: T, tile_rows: &[TileRow], kernel: &mut [T]) {
        if size_of::<T>() == size_of::<f32>() {
            self.add_tiled::<SINGLE>(level, bias, tile_rows, kernel);
        } else {
            self.add_tiled::<DOUBLE>(level, bias, tile_rows, kernel);
        }
    }

    fn add_tiled<const P: usize>(&self, level: usize, bias: T, tile_rows: &[TileRow], kernel: &mut [T]) {
        let plans = self.sides.map(ConeCotangents::plan);
        let layers = self.sides.map(|side| &side.chain().layers()[level - 1]);
        let positions = plans.map(|plan| Positions::new(plan, level));
        let positions = [&positions[0], &positions[1]];
        for (n, m, half) in self.pairs() {
            let values = gram(layers, positions, [n, m]);
            let active = Active::new(self.sides[1].chain(), level, m);
            let bias = if bias == T::default() { Vec::new() } else { totals(self.sides[0], level, n, bias) };
            let lanes = |tile: &Tile, active| Lanes::new(self.sides[1], tile, &tile.ranks, (level, m), active);
            let targets = tile_rows.par_iter().map(|row| row.tiles.iter().map(|tile| lanes(tile, &active)));
            let targets: Vec<Vec<Lanes<T, GROUP>>> = targets.map(Iterator::collect).collect();
            let gram = Gram { values: &values, positions };
            let mut rows = self.rows_of(kernel, n, m);
            rows.par_chunks_mut(PANELS * P).enumerate().for_each(|(chunk, rows)| {
                let first = chunk * PANELS * P;
                let panels: Vec<Panel<T, P>> = (first..first + rows.len())
                    .step_by(P)
                    .map(|first| Panel::new(self.sides[0], positions[0], (level, n), first, &bias))
                    .collect();
                // Pushed values for each row of the map and each panel.
                let mut pushed: BTreeMap<usize, Vec<Vec<[T; P]>>> = BTreeMap::new();
                let (mut sums, width) = (Vec::new(), plans[1].map(level)[1]);
                for (row, targets) in tile_rows.iter().zip(&targets) {
                    let wanted = |tile: &Tile| !half || tile.ranks.last().is_some_and(|&last| last >= first);
                    if !row.tiles.iter().any(wanted) {
                        continue;
                    }
                    // Rows of tiles are processed from top to bottom, so rows of the map above this one are no longer
                    // needed.
                    pushed = pushed.split_off(&row.rows.start);
                    for y in row.rows.clone() {
                        let push = || panels.iter().map(|panel| panel.push(&gram, width, (y, &active))).collect();
                        pushed.entry(y).or_insert_with(push);
                    }
                    for (tile, targets) in row.tiles.iter().zip(targets).filter(|(tile, _)| wanted(tile)) {
                        for (panel, rows) in rows.chunks_mut(P).enumerate() {
                            sums.clear();
                            sums.resize(tile.ranks.len().div_ceil(GROUP), [[T::default(); P]; GROUP]);
                            for (y, rows) in tile.rows.clone().zip(&targets.0) {
                                let start = active.start(y, tile.columns.start);
                                let panel = &pushed[&y][panel][start..start + active.count(y, &tile.columns)];
                                simd(PanelProduct { sums: &mut sums, rows, stride: panel.len(), panel });
                            }
                            self.add_sums(&tile.ranks, &sums, rows);
                        }
                    }
                }
            });
        }
    }
}
