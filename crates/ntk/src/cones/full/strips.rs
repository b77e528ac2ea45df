//! One side's cotangents pushed through the patch Gram matrix, onto one row of the map at a time.

use std::ops::Range;

use rayon::prelude::*;

use super::super::cotangents::Cotangents;
use super::super::gemm::axpy;
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

    /// `Z_r[u] = sum_{u' in W(r)} (Gamma[u, u'] + beta^2) delta_r[u']` for the positions `u` of one row of the map and
    /// some outputs `r`: `[outputs, columns, c]`.
    pub(super) fn push(&self, strip: &Strip<T>, ranks: Range<usize>, pushed: &mut Vec<T>) {
        let [_, width, c] = self.side.plan().map(self.level);
        pushed.resize(ranks.len() * width * c, T::default());
        let whole = strip.columns.iter().map(Vec::len).sum::<usize>() == width;
        pushed.par_chunks_mut(width * c).zip(ranks).for_each(|(pushed, rank)| {
            // Columns that no target holds are multiplied by zeros, so they must be numbers.
            if !whole {
                pushed.fill(T::default());
            }
            self.push_row(strip, rank, pushed);
        });
    }

    fn push_row(&self, strip: &Strip<T>, rank: usize, pushed: &mut [T]) {
        let c = self.side.plan().map(self.level)[2];
        let bias = &self.bias[rank * c..(rank + 1) * c];
        let [rows, columns] = self.side.plan().clipped(self.level, rank);
        let [top, left] = self.side.plan().window(self.level, rank);
        let window = self.side.window(self.level, rank, self.sample);
        let mut terms = Vec::new();
        for (residue, targets) in strip.columns.iter().enumerate() {
            terms.clear();
            for y in rows.clone().filter(|y| y % strip.modulus[0] == strip.row) {
                for x in columns.clone().filter(|x| x % strip.modulus[1] == residue) {
                    let at = (y as isize - top.start) as usize * left.len + (x as isize - left.start) as usize;
                    terms.push((strip.row(residue, self.positions.index([y, x])), &window[at * c..(at + 1) * c]));
                }
            }
            for (t, &column) in targets.iter().enumerate() {
                combine(&mut pushed[column * c..(column + 1) * c], bias, &terms, t);
            }
        }
    }
}

/// `to = bias + sum_i gamma_i[t] delta_i`, few passes over `to`.
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
