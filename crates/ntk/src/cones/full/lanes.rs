//! Cotangents of several outputs side by side, for products of panels.

use super::super::active::Active;
use super::super::cotangents::Cotangents;
use super::super::panel::GROUP;
use super::super::real::Real;
use super::super::tiles::Tile;
use super::rows::Block;

/// Cotangents of the outputs of a tile on its joined window, `L` outputs side by side: for each row of the window
/// `[groups, active channels]`. Places that are left over hold zeros.
pub(super) struct Lanes<T, const L: usize>(pub(super) Vec<Vec<[T; L]>>);

impl<T: Real, const L: usize> Lanes<T, L> {
    /// Some outputs of a tile, those of `ranks`, at a level and of a sample.
    pub(super) fn new(
        side: &Cotangents<'_, T>,
        tile: &Tile,
        ranks: &[usize],
        (level, sample): (usize, usize),
        active: &Active,
    ) -> Self {
        let (c, groups) = (side.plan().map(level)[2], ranks.len().div_ceil(L));
        let row = |y| vec![[T::default(); L]; groups * active.count(y, &tile.columns)];
        let mut lanes: Vec<Vec<[T; L]>> = tile.rows.clone().map(row).collect();
        for (member, &rank) in ranks.iter().enumerate() {
            let lane = member % L;
            side.for_each_row(level, rank, sample, |y, left, values| {
                let before = member / L * active.count(y, &tile.columns) + active.count(y, &(tile.columns.start..left));
                let to = &mut lanes[y - tile.rows.start][before..];
                let mut at = 0;
                for (x, values) in (left..).zip(values.chunks(c)) {
                    match active.at(y, x) {
                        None => {
                            for i in 0..c {
                                to[at + i][lane] = values[i];
                            }
                            at += c;
                        }
                        Some(channels) => {
                            for i in 0..channels.len() {
                                to[at + i][lane] = values[channels[i] as usize];
                            }
                            at += channels.len();
                        }
                    }
                }
            });
        }
        Self(lanes)
    }

    /// Multiplies them by a factor of each position of the map.
    pub(super) fn scale(&mut self, tile: &Tile, active: &Active, factor: impl Fn(usize, usize) -> T) {
        for (y, row) in tile.rows.clone().zip(&mut self.0) {
            let width = active.count(y, &tile.columns).max(1);
            for group in row.chunks_mut(width) {
                for x in tile.columns.clone() {
                    let (start, factor) = (active.count(y, &(tile.columns.start..x)), factor(y, x));
                    for lanes in &mut group[start..start + active.count(y, &(x..x + 1))] {
                        for value in lanes {
                            *value *= factor;
                        }
                    }
                }
            }
        }
    }
}

impl<T: Real> Block<'_, '_, T> {
    /// Adds the products of outputs of the second side and a panel to the rows of the panel.
    pub(super) fn add_sums<const P: usize>(&self, ranks: &[usize], sums: &[[[T; P]; GROUP]], rows: &mut [&mut [T]]) {
        let order = self.sides[1].plan().order();
        for (start, sums) in (0..ranks.len()).step_by(GROUP).zip(sums) {
            let count = GROUP.min(ranks.len() - start);
            let mut columns = [0; GROUP];
            for i in 0..count {
                columns[i] = order[ranks[start + i]];
            }
            for lane in 0..rows.len() {
                let row = &mut *rows[lane];
                for i in 0..count {
                    row[columns[i]] += sums[i][lane];
                }
            }
        }
    }
}
