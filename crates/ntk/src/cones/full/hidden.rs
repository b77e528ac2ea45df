//! Layers whose outputs are hidden: tiles of one side against the other side pushed through the patch Gram matrix.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::super::gemm::{Matrix, product_transposed, transpose};
use super::super::patches::{Positions, Strip, all_patches};
use super::super::real::Real;
use super::super::tiles::{self, Band, Tile, bands};
use super::pairs;
use super::rows::Block;
use super::strips::{Pushed, Source};
use super::totals::totals;

/// Columns of the kernel that a tile is multiplied with at a time.
const CHUNK: usize = 128;

/// Tiles that are worked on together.
const TILES: usize = 4;

/// Rows that share a product with all biases.
const BIAS_ROWS: usize = 64;

impl<T: Real> Block<'_, '_, T> {
    /// By the weights of the layer whose output is `level`, and by its bias if asked.
    pub(super) fn add_hidden(&self, level: usize, bias: bool, kernel: &mut [T]) {
        let plans = self.sides.map(super::super::Cotangents::plan);
        let layers = self.sides.map(|side| &side.chain().layers()[level - 1]);
        let positions = plans.map(|plan| Positions::new(plan, level));
        let bias = if bias { T::of(layers[0].bias_square()) } else { T::default() };
        let bands = bands(plans[0], level);
        if self.pairs_win(level, &bands) {
            return self.add_pairs(level, bias, kernel);
        }
        for (n, m, half) in self.pairs() {
            let patches =
                [all_patches(layers[0], &positions[0], n), all_patches(layers[1], &positions[1], m)];
            let source = Source::new(self.sides[1], &positions[1], level, m, bias);
            let mut rows: Vec<_> = self.rows_of(kernel, n, m).into_iter().map(Some).collect();
            let mut strips: BTreeMap<usize, Pushed<T>> = BTreeMap::new();
            let mut free = Vec::new();
            for band in &bands {
                let first = if half { band.first } else { 0 };
                // Bands go down the map, so rows above this one are not read again.
                let kept = strips.split_off(&band.rows.start);
                free.extend(std::mem::replace(&mut strips, kept).into_values().map(|pushed| pushed.values));
                for y in band.rows.clone() {
                    strips.entry(y).or_insert_with(|| {
                        let sides = [(&positions[0], &patches[0][..]), (&positions[1], &patches[1][..])];
                        let strip = Strip::new(&layers[0].geometry, y, sides);
                        source.push(&strip, first, free.pop().unwrap_or_default())
                    });
                }
                let tasks = band.tiles.iter().map(|tile| {
                    let rows: Vec<_> = tile.ranks.iter().filter_map(|&rank| rows[rank].take()).collect();
                    (tile, rows)
                });
                let mut tasks: Vec<_> = tasks.collect();
                tasks.par_chunks_mut(TILES).for_each(|tasks| {
                    let first = if half { tasks[0].0.ranks[0] } else { 0 };
                    self.add_tiles(tasks, level, n, first, &strips);
                });
            }
        }
    }

    /// Whether pairs of positions cost less than tiles, in products of two numbers. The weights are measured times.
    fn pairs_win(&self, level: usize, bands: &[Band]) -> bool {
        const PAIR: f64 = 100.0;
        const PUSH: f64 = 50.0;
        let plans = self.sides.map(super::super::Cotangents::plan);
        let ([h, w, c], outputs) = (plans[0].map(level), plans[1].len() as f64);
        let tiles = bands.iter().flat_map(|band| &band.tiles).map(|tile| {
            let area = (tile.rows.len() * tile.columns.len()) as f64;
            area * (tiles::product_cost(tile.ranks.len()) as f64 / 2.7)
        });
        let strips = (tiles.sum::<f64>() + PUSH * (h * w) as f64) * outputs * c as f64;
        let p=pairs::count(plans, level) * (c as f64 + PAIR);eprintln!("level {level} pairs {p:.3e} strips {strips:.3e}"); if let Ok(v)=std::env::var("PAIRS") {return v=="1";} p < strips
    }

    /// `Theta[r, r'] += <delta_r, Z_r'>` over the joined windows of neighbouring tiles, for their rows `r` and all `r'`
    /// from `first` on. Tile by tile for a few `r'`, so that what the tiles share of `Z` stays in the cache.
    fn add_tiles(
        &self,
        tasks: &mut [(&Tile, Vec<&mut [T]>)],
        level: usize,
        sample: usize,
        first: usize,
        strips: &BTreeMap<usize, Pushed<T>>,
    ) {
        let c = self.sides[0].plan().map(level)[2];
        let targets: Vec<_> = tasks.iter().map(|(tile, _)| self.targets(tile, level, sample)).collect();
        let end = self.sides[1].plan().len();
        let (mut columns, mut gram) = (Vec::new(), Vec::new());
        for start in (first..end).step_by(CHUNK) {
            let ranks = start..end.min(start + CHUNK);
            for ((tile, rows), targets) in tasks.iter_mut().zip(&targets) {
                let (members, width) = (tile.ranks.len(), tile.columns.len() * c);
                columns.resize(ranks.len() * members, T::default());
                for (y, targets) in tile.rows.clone().zip(targets.chunks(members * width)) {
                    let pushed = strips[&y].part(ranks.clone(), tile.columns.start * c, width);
                    let targets = Matrix::new(targets, members, width);
                    product_transposed(&mut columns, y > tile.rows.start, pushed, targets);
                }
                transpose(&columns, members, &mut gram);
                for (row, gram) in rows.iter_mut().zip(gram.chunks(ranks.len())) {
                    self.columns.add(row, start, T::of(1.0), gram);
                }
            }
        }
    }

    /// Cotangents of a tile on its joined window: `[rows, outputs, columns c]`.
    fn targets(&self, tile: &Tile, level: usize, sample: usize) -> Vec<T> {
        let (c, members) = (self.sides[0].plan().map(level)[2], tile.ranks.len());
        let width = tile.columns.len() * c;
        let mut targets = vec![T::default(); tile.rows.len() * members * width];
        for (member, &rank) in tile.ranks.iter().enumerate() {
            self.sides[0].for_each_row(level, rank, sample, |y, x, values| {
                let at = ((y - tile.rows.start) * members + member) * width + (x - tile.columns.start) * c;
                targets[at..at + values.len()].copy_from_slice(values);
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
