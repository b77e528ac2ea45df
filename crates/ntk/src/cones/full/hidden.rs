//! Layers whose outputs are hidden: tiles of one side against the other side pushed through the patch Gram matrix.

use std::collections::BTreeMap;
use std::ops::Range;

use rayon::prelude::*;

use super::super::active::Active;
use super::super::cotangents::Cotangents;
use super::super::gemm::{Matrix, product_transposed, transpose};
use super::super::patches::{Positions, Strip, all_patches};
use super::super::real::Real;
use super::super::tiles::{Tile, TileRow};
use super::choice::Method;
use super::rows::Block;
use super::strips::Source;
use super::totals::totals;

/// Columns of the kernel that a tile is multiplied with at a time.
pub(super) const CHUNK: usize = 128;

/// Tiles that are worked on together.
const TILES: usize = 4;

/// Rows that share a product with all biases.
const BIAS_ROWS: usize = 64;

/// A tile with its rows of the kernel and its cotangents on the joined window: by row `[outputs, active channels]`.
struct Task<'t, 'k, T> {
    tile: &'t Tile,
    rows: Vec<&'k mut [T]>,
    targets: Vec<T>,
}

impl<T: Real> Block<'_, '_, T> {
    /// By the weights of the layer whose output is `level`, and by its bias if asked.
    pub(super) fn add_hidden(&self, level: usize, bias: bool, kernel: &mut [T]) {
        let plans = self.sides.map(Cotangents::plan);
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

    fn add_tile_rows(&self, level: usize, bias: T, tile_rows: &[TileRow], kernel: &mut [T]) {
        let plans = self.sides.map(Cotangents::plan);
        let layers = self.sides.map(|side| &side.chain().layers()[level - 1]);
        let positions = plans.map(|plan| Positions::new(plan, level));
        for (n, m, half) in self.pairs() {
            let patches = [all_patches(layers[0], &positions[0], n), all_patches(layers[1], &positions[1], m)];
            let active = Active::new(self.sides[0].chain(), level, n);
            let source = Source::new(self.sides[1], &positions[1], level, m, bias);
            let mut rows: Vec<_> = self.rows_of(kernel, n, m).into_iter().map(Some).collect();
            let mut strips: BTreeMap<usize, Strip<T>> = BTreeMap::new();
            let mut pushed = Vec::new();
            for tile_row in tile_rows {
                // Rows of tiles go down the map, so strips above this one are not read again.
                strips = strips.split_off(&tile_row.rows.start);
                for y in tile_row.rows.clone() {
                    let sides = [(&positions[0], &patches[0][..]), (&positions[1], &patches[1][..])];
                    strips.entry(y).or_insert_with(|| Strip::new(&layers[0].geometry, y, sides));
                }
                let tasks = tile_row.tiles.iter().map(|tile| Task {
                    tile,
                    rows: tile.ranks.iter().filter_map(|&rank| rows[rank].take()).collect(),
                    targets: self.targets(tile, level, n, &active),
                });
                let mut tasks: Vec<_> = tasks.collect();
                // A few outputs at a time, so that what is pushed stays in the cache for all tiles that read it.
                for start in (if half { tile_row.first } else { 0 }..plans[1].len()).step_by(CHUNK) {
                    let ranks = start..plans[1].len().min(start + CHUNK);
                    pushed.resize_with(tile_row.rows.len(), Vec::new);
                    let rows = pushed.par_iter_mut().zip(tile_row.rows.clone());
                    rows.for_each(|(pushed, y)| source.push(&strips[&y], ranks.clone(), (y, &active), pushed));
                    tasks.par_chunks_mut(TILES).for_each(|tasks| {
                        for task in tasks {
                            if !half || task.tile.ranks[0] < ranks.end {
                                self.add_tile(task, tile_row.rows.start, ranks.clone(), &active, &pushed);
                            }
                        }
                    });
                }
            }
        }
    }

    /// `Theta[r, r'] += <delta_r, Z_r'>` over the joined window of a tile, for its rows `r` and some `r'`. `pushed`
    /// begins at row `top` of the map.
    fn add_tile(
        &self,
        task: &mut Task<'_, '_, T>,
        top: usize,
        ranks: Range<usize>,
        active: &Active,
        pushed: &[Vec<T>],
    ) {
        let (tile, members) = (task.tile, task.tile.ranks.len());
        let (mut columns, mut gram) = (vec![T::default(); ranks.len() * members], Vec::new());
        let mut targets = &task.targets[..];
        for y in tile.rows.clone() {
            let width = active.count(y, &tile.columns);
            let (row, rest) = targets.split_at(members * width);
            targets = rest;
            let stride = pushed[y - top].len() / ranks.len();
            let data = &pushed[y - top][active.start(y, tile.columns.start)..];
            let pushed = Matrix { data, rows: ranks.len(), columns: width, stride };
            product_transposed(&mut columns, y > tile.rows.start, pushed, Matrix::new(row, members, width));
        }
        transpose(&columns, members, &mut gram);
        for (row, gram) in task.rows.iter_mut().zip(gram.chunks(ranks.len())) {
            self.columns.add(row, ranks.start, T::of(1.0), gram);
        }
    }

    /// Cotangents of a tile on its joined window.
    fn targets(&self, tile: &Tile, level: usize, sample: usize, active: &Active) -> Vec<T> {
        let (c, members) = (self.sides[0].plan().map(level)[2], tile.ranks.len());
        let mut starts = vec![0];
        for y in tile.rows.clone() {
            starts.push(starts[y - tile.rows.start] + members * active.count(y, &tile.columns));
        }
        let mut targets = vec![T::default(); starts[tile.rows.len()]];
        for (member, &rank) in tile.ranks.iter().enumerate() {
            self.sides[0].for_each_row(level, rank, sample, |y, x, values| {
                let before = member * active.count(y, &tile.columns) + active.count(y, &(tile.columns.start..x));
                let to = &mut targets[starts[y - tile.rows.start] + before..];
                active.pick(y, x, c, values, to);
            });
        }
        targets
    }

    /// By the bias alone: `beta^2 <sum_u delta_r[u], sum_u delta_r'[u]>`.
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
