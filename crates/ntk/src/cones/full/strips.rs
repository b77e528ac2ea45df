//! One side's cotangents pushed through the patch Gram matrix, onto one row of the map at a time.

use std::ops::Range;

use rayon::prelude::*;

use super::super::active::{Active, pick};
use super::super::cotangents::Cotangents;
use super::super::gemm::{Loop, axpy, simd};
use super::super::patches::{Positions, Strip};
use super::super::real::Real;
use super::totals::totals;

/// What the rows of a map share: one side, level and sample.
pub(super) struct Source<'s, 'a, T: Clone> {
    side: &'s Cotangents<'a, T>,
    positions: &'s Positions,
    level: usize,
    sample: usize,
    /// `beta^2 sum_u delta_r[u]` by rank: `[outputs, c]`.
    bias: Vec<T>,
}

impl<'s, 'a, T: Real> Source<'s, 'a, T> {
    /// `bias` is `beta^2`, or zero if the bias is left out.
    pub(super) fn new(
        side: &'s Cotangents<'a, T>,
        positions: &'s Positions,
        level: usize,
        sample: usize,
        bias: T,
    ) -> Self {
        let bias = totals(side, level, sample, bias);
        Self { side, positions, level, sample, bias }
    }

    /// `Z_r[u] = sum_{u' in W(r)} (Gamma[u, u'] + beta^2) delta_r[u']` for the positions `u` of row `y` of the map and
    /// some outputs `r`, in the channels that are active there: `[outputs, active channels]`.
    pub(super) fn push(
        &self,
        strip: &Strip<T>,
        ranks: Range<usize>,
        (y, active): (usize, &Active),
        pushed: &mut Vec<T>,
    ) {
        let [_, columns, _] = self.side.plan().map(self.level);
        let width = active.count(y, &(0..columns));
        pushed.resize(ranks.len() * width, T::default());
        let whole = strip.columns.iter().map(Vec::len).sum::<usize>() == columns;
        pushed.par_chunks_mut(width.max(1)).zip(ranks).for_each_init(Vec::new, |all, (pushed, rank)| {
            // Columns that no target holds are multiplied by zeros, so they must be numbers.
            if !whole {
                pushed.fill(T::default());
            }
            simd(Row { source: self, strip, rank, at: (y, active), all, pushed });
        });
    }
}

/// What is pushed onto one row of the map from one output.
struct Row<'r, 's, 'a, T: Clone> {
    source: &'r Source<'s, 'a, T>,
    strip: &'r Strip<T>,
    rank: usize,
    at: (usize, &'r Active),
    /// For all channels of a position.
    all: &'r mut Vec<T>,
    pushed: &'r mut [T],
}

impl<T: Real> Loop for Row<'_, '_, '_, T> {
    #[inline(always)]
    fn run(self) {
        let Self { source, strip, rank, at: (row, active), all, pushed } = self;
        let (plan, level) = (source.side.plan(), source.level);
        let c = plan.map(level)[2];
        let bias = &source.bias[rank * c..(rank + 1) * c];
        let [rows, columns] = plan.clipped(level, rank);
        let [top, left] = plan.window(level, rank);
        let window = source.side.window(level, rank, source.sample);
        let mut terms = Vec::new();
        all.resize(c, T::default());
        for (residue, targets) in strip.columns.iter().enumerate() {
            terms.clear();
            for y in rows.clone().filter(|y| y % strip.modulus[0] == strip.row) {
                for x in columns.clone().filter(|x| x % strip.modulus[1] == residue) {
                    let at = (y as isize - top.start) as usize * left.len + (x as isize - left.start) as usize;
                    terms.push((strip.row(residue, source.positions.index([y, x])), &window[at * c..(at + 1) * c]));
                }
            }
            for (t, &column) in targets.iter().enumerate() {
                let to = &mut pushed[active.start(row, column)..][..active.count(row, &(column..column + 1))];
                match active.at(row, column) {
                    None => combine(to, bias, &terms, t),
                    // Whole vectors at full speed first.
                    some => {
                        combine(all, bias, &terms, t);
                        pick(some, all, to);
                    }
                }
            }
        }
    }
}

/// `to = bias + sum_i gamma_i[t] delta_i`, few passes over `to`.
#[inline(always)]
fn combine<T: Real>(to: &mut [T], bias: &[T], terms: &[(&[T], &[T])], t: usize) {
    let rest = match terms {
        [] => {
            to.copy_from_slice(bias);
            &[][..]
        }
        [(gamma, delta)] => {
            let gamma = gamma[t];
            for ((to, &bias), &delta) in to.iter_mut().zip(bias).zip(*delta) {
                *to = bias + gamma * delta;
            }
            &[]
        }
        [(gamma1, delta1), (gamma2, delta2), rest @ ..] => {
            let (gamma1, gamma2) = (gamma1[t], gamma2[t]);
            for (((to, &bias), &delta1), &delta2) in to.iter_mut().zip(bias).zip(*delta1).zip(*delta2) {
                *to = bias + gamma1 * delta1 + gamma2 * delta2;
            }
            rest
        }
    };
    for (gamma, delta) in rest {
        axpy(to, gamma[t], delta);
    }
}
