//! Hidden layers with small windows: each pair of positions of two windows is multiplied separately.

use std::collections::BTreeMap;
use std::ops::Range;

use pulp::Simd;
use rayon::prelude::*;

use super::super::cotangents::ConeCotangents;
use super::super::gemm::{Loop, Matrix, product_transposed, simd};
use super::super::patches::{Positions, gram};
use super::super::plan::ConePlan;
use super::super::real::Real;
use super::rows::Block;
use super::totals::totals;

/// Number of rows of a product.
const ROWS: usize = 192;

/// Number of columns of a product: small enough, together with its rows, for the cache.
const COLUMNS: usize = 96;

/// One position in the windows of a group.
struct Slot {
    /// Index of the position in the window.
    at: usize,
    /// Residue class of the position, the same for all outputs of the group.
    class: usize,
    /// For each output, the index of the position in its residue class; arbitrary if the position is off the map, where
    /// cotangents are zero.
    places: Vec<usize>,
}

/// Outputs whose windows at a level have the same size and start in the same residue class.
struct Group {
    ranks: Vec<usize>,
    slots: Vec<Slot>,
}

/// Number of pairs of positions that share weights, over all pairs of outputs.
pub(super) fn count(sides: [&ConePlan; 2], level: usize) -> f64 {
    let held = sides.map(|plan| {
        let positions = Positions::new(plan, level);
        let mut held = vec![0.0; positions.classes().len()];
        for group in groups(plan, level, &positions) {
            group.slots.iter().for_each(|slot| held[slot.class] += group.ranks.len() as f64);
        }
        held
    });
    held[0].iter().zip(&held[1]).map(|(a, b)| a * b).sum()
}

fn groups(plan: &ConePlan, level: usize, positions: &Positions) -> Vec<Group> {
    let modulus = positions.modulus();
    let mut groups: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for rank in 0..plan.len() {
        let window = plan.window(level, rank);
        let residue = |axis: usize| window[axis].start.rem_euclid(modulus[axis] as isize) as usize;
        groups.entry((window.map(|window| window.len), [residue(0), residue(1)])).or_default().push(rank);
    }
    let group = |(([h, w], corner), ranks): (([usize; 2], [usize; 2]), Vec<usize>)| {
        let slots = (0..h * w).map(|at| {
            let (j, i) = (at / w, at % w);
            let class = (corner[0] + j) % modulus[0] * modulus[1] + (corner[1] + i) % modulus[1];
            let place = |&rank: &usize| plan.place(level, rank, j, i).map_or(0, |at| positions.index(at));
            Slot { at, class, places: ranks.iter().map(place).collect() }
        });
        Group { slots: slots.collect(), ranks }
    };
    groups.into_iter().map(group).collect()
}

/// Cotangents of one sample: for each group and slot a matrix `[outputs, c]`.
fn gather<T: Real>(side: &ConeCotangents<'_, T>, level: usize, sample: usize, groups: &[Group]) -> Vec<Vec<Vec<T>>> {
    let c = side.plan().map(level)[2];
    let slot = |ranks: &[usize], at: usize| {
        let mut values = Vec::with_capacity(ranks.len() * c);
        for &rank in ranks {
            values.extend_from_slice(&side.window(level, rank, sample)[at * c..(at + 1) * c]);
        }
        values
    };
    let groups = groups.par_iter();
    groups.map(|group| group.slots.iter().map(|s| slot(&group.ranks, s.at)).collect()).collect()
}

/// Cotangents of one sample, summed over their windows: for each group a matrix `[outputs, c]`.
fn add_up<T: Real>(
    side: &ConeCotangents<'_, T>,
    level: usize,
    sample: usize,
    groups: &[Group],
    factor: T,
) -> Vec<Vec<T>> {
    let (totals, c) = (totals(side, level, sample, factor), side.plan().map(level)[2]);
    let group = |group: &Group| {
        let mut values = Vec::with_capacity(group.ranks.len() * c);
        group.ranks.iter().for_each(|&rank| values.extend_from_slice(&totals[rank * c..(rank + 1) * c]));
        values
    };
    groups.iter().map(group).collect()
}

impl<T: Real> Block<'_, '_, T> {
    /// Adds `sum_{u, u'} Gamma[u, u'] <delta_r[u], delta_r'[u']>`, and the part of the bias if `bias` is not zero. There is
    /// one matrix product for each pair of positions of two groups, and one factor of the patch Gram matrix for each pair of
    /// outputs.
    pub(super) fn add_pairs(&self, level: usize, bias: T, kernel: &mut [T]) {
        let plans = self.sides.map(ConeCotangents::plan);
        let layers = self.sides.map(|side| &side.chain().layers()[level - 1]);
        let positions = plans.map(|plan| Positions::new(plan, level));
        let groups = [0, 1].map(|side| groups(plans[side], level, &positions[side]));
        for (n, m, half) in self.pairs() {
            let pair = Pair {
                groups: [&groups[0], &groups[1]],
                cotangents: [gather(self.sides[0], level, n, &groups[0]), gather(self.sides[1], level, m, &groups[1])],
                biases: [
                    add_up(self.sides[0], level, n, &groups[0], bias),
                    add_up(self.sides[1], level, m, &groups[1], T::of(1.0)),
                ],
                biased: bias != T::default(),
                channels: plans[0].map(level)[2],
                gamma: gram(layers, [&positions[0], &positions[1]], [n, m]),
                widths: positions[1].classes().iter().map(Vec::len).collect(),
            };
            let mut rows: Vec<_> = self.rows_of(kernel, n, m).into_iter().map(Some).collect();
            let mut strips = Vec::new();
            for (index, group) in groups[0].iter().enumerate() {
                for start in (0..group.ranks.len()).step_by(ROWS) {
                    let strip = start..group.ranks.len().min(start + ROWS);
                    let ranks = &group.ranks[strip.clone()];
                    let rows: Vec<_> = ranks.iter().filter_map(|&rank| rows[rank].take()).collect();
                    strips.push((index, strip, rows));
                }
            }
            let order = plans[1].order();
            strips.into_par_iter().for_each(|(index, strip, mut rows)| {
                let (mut sum, mut dots) = (Vec::new(), Vec::new());
                for (other, group) in groups[1].iter().enumerate() {
                    let first = groups[0][index].ranks[strip.start];
                    let start = if half { group.ranks.partition_point(|&rank| rank < first) } else { 0 };
                    for start in (start..group.ranks.len()).step_by(COLUMNS) {
                        let columns = start..group.ranks.len().min(start + COLUMNS);
                        pair.block([index, other], &[strip.clone(), columns.clone()], &mut sum, &mut dots);
                        for (row, sum) in rows.iter_mut().zip(sum.chunks(columns.len())) {
                            for (&rank, &value) in group.ranks[columns.clone()].iter().zip(sum) {
                                row[order[rank]] += value;
                            }
                        }
                    }
                }
            });
        }
    }
}

/// Data shared by the blocks of a pair of samples.
struct Pair<'g, T> {
    groups: [&'g [Group]; 2],
    cotangents: [Vec<Vec<Vec<T>>>; 2],
    /// For each group, cotangents summed over their windows; those of the first side are multiplied by `beta^2`.
    biases: [Vec<Vec<T>>; 2],
    biased: bool,
    channels: usize,
    /// For each residue class, the patch Gram matrix; `widths` has its numbers of columns.
    gamma: Vec<Vec<T>>,
    widths: Vec<usize>,
}

impl<T: Real> Pair<'_, T> {
    /// Computes the kernel between some outputs of two groups and stores it in `sum`: `[rows, columns]`.
    fn block(&self, groups: [usize; 2], outputs: &[Range<usize>; 2], sum: &mut Vec<T>, dots: &mut Vec<T>) {
        let (c, counts) = (self.channels, [outputs[0].len(), outputs[1].len()]);
        sum.clear();
        sum.resize(counts[0] * counts[1], T::default());
        dots.resize(counts[0] * counts[1], T::default());
        let [first, second] = [0, 1].map(|side| &self.groups[side][groups[side]]);
        if self.biased {
            let part = |side: usize| slice(&self.biases[side][groups[side]], &outputs[side], c);
            product_transposed(sum, false, part(0), part(1));
        }
        let part = |side: usize, slot: usize| slice(&self.cotangents[side][groups[side]][slot], &outputs[side], c);
        for (slot, place) in first.slots.iter().enumerate() {
            for (other, other_place) in second.slots.iter().enumerate() {
                let gamma = &self.gamma[place.class];
                if other_place.class != place.class || gamma.is_empty() {
                    continue;
                }
                product_transposed(dots, false, part(0, slot), part(1, other));
                let (u, u2) = (&place.places[outputs[0].clone()], &other_place.places[outputs[1].clone()]);
                let width = self.widths[place.class];
                simd(Weigh { sum, dots, width: counts[1], u, u2, gamma, gamma_width: width });
            }
        }
    }
}

/// The loop `sum[i, j] += gamma[u_i, u2_j] dots[i, j]`.
struct Weigh<'v, T> {
    sum: &'v mut [T],
    dots: &'v [T],
    width: usize,
    u: &'v [usize],
    u2: &'v [usize],
    gamma: &'v [T],
    gamma_width: usize,
}

impl<T: Real> Loop for Weigh<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let rows = self.sum.chunks_mut(self.width).zip(self.dots.chunks(self.width));
        for ((sum, dots), &u) in rows.zip(self.u) {
            let gamma = &self.gamma[u * self.gamma_width..(u + 1) * self.gamma_width];
            for ((sum, &dot), &u2) in sum.iter_mut().zip(dots).zip(self.u2) {
                *sum += gamma[u2] * dot;
            }
        }
    }
}

/// A range of rows of a matrix with `columns` columns.
fn slice<'v, T>(values: &'v [T], rows: &Range<usize>, columns: usize) -> Matrix<'v, T> {
    Matrix::new(&values[rows.start * columns..rows.end * columns], rows.len(), columns)
}
