//! Cotangents summed over their windows, for the parts of biases.

use rayon::prelude::*;

use super::super::cotangents::ConeCotangents;
use super::super::gemm::{Axpy, simd};
use super::super::real::Real;

/// `factor sum_u delta_r[u]` for one sample, ordered by rank: `[outputs, c]`.
pub(super) fn totals<T: Real>(side: &ConeCotangents<'_, T>, level: usize, sample: usize, factor: T) -> Vec<T> {
    let c = side.plan().map(level)[2];
    let mut totals = vec![T::default(); side.plan().len() * c];
    if factor != T::default() {
        totals.par_chunks_mut(c).enumerate().for_each(|(rank, sum)| {
            for x in side.window(level, rank, sample).chunks(c) {
                simd(Axpy { y: sum, factor, x });
            }
        });
    }
    totals
}
