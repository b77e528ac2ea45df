//! Cotangents of several outputs, interleaved for products of panels.

use super::super::active::Active;
use super::super::cotangents::ConeCotangents;
use super::super::panel::GROUP;
use super::super::real::Real;
use super::super::tiles::Tile;
use super::rows::Block;

/// Cotangents of the outputs of a tile on its joined window, `L` outputs interleaved. Each row of the window is
/// `[groups, active channels]`. Unused lanes contain zeros.
pub(super) struct Lanes<T, const L: usize>(pub(super) Vec<Vec<[T; L]>>);

impl<T: Real, const L: usize> Lanes<T, L> {
    /// Collects the outputs `ranks` of a tile, at one level and for one sample.
    pub(super) fn new(
        side: &ConeCotangents<'_, T>,
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

    /// Multiplies the cotangents by a factor that depends on the position of the map.
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
    /// Adds the products of second-side outputs and a panel to the rows of the panel.
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
