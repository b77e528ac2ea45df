//! `Weights`: products of weight cotangents, some channels at a time.

use super::sizes::{Counts, Sizes};
use super::{Operand, of_outputs};
use crate::kernel::Entries;
use crate::products::{packed, products};

/// Number of values of weight cotangents that are computed at a time, unless this is too few for a product.
const SLICE: usize = 1 << 21;

/// Number of channels whose weight cotangents are computed at a time, for `rows` rows with K inputs.
fn slice(rows: usize, k: usize, channels: usize) -> usize {
    (SLICE / (rows * k).max(1)).max(16).min(channels)
}

/// Multiply-adds.
pub(super) fn operations(&Counts { b, i, s, c, k, groups, pairs, .. }: &Counts) -> f64 {
    groups * b * i * s * k * c + pairs * i * i * b * k * c
}

/// Number of values that are held: weight cotangents of some channels, their reordered copy and a copy for the host, and the
/// copies of their products.
pub(super) fn held(sizes: &Sizes, size: usize) -> f64 {
    let (rows, k) = (sizes.rows(), sizes.k);
    let width = k * slice(rows[0].max(rows[1]), k, sizes.sides[0][4]);
    let both = if sizes.distinct { rows[0] + rows[1] } else { rows[0] };
    packed(rows, width, size) + 3.0 * (both * width) as f64
}

/// Number of weight cotangents that are computed at a time.
pub(super) fn largest(sizes: &Sizes) -> f64 {
    let rows = sizes.rows();
    let rows = rows[0].max(rows[1]);
    (rows as f64) * (sizes.k * slice(rows, sizes.k, sizes.sides[0][4])) as f64
}

/// Computes weight cotangents of both sides and their products, some channels at a time.
pub(super) fn sum(left: &Operand, other: Option<&Operand>, entries: Entries) -> Vec<f64> {
    let ([.., c], k) = (left.cotangents.dims(), left.inputs.as_ref().map_or(1, |a| a.dims()[2]));
    let rows = |side: &Operand| side.cotangents.dims()[..3].iter().product::<usize>();
    let width = slice(rows(left).max(other.map_or(0, rows)), k, c);
    let slices = (0..c).step_by(width).map(|start| {
        let channels = start..c.min(start + width);
        let second = other.map(|right| right.weights(&channels));
        products(&left.weights(&channels), second.as_ref(), of_outputs(entries), left.by)
    });
    let sum = slices.reduce(|mut sum, more| {
        sum.iter_mut().zip(more).for_each(|(sum, value)| *sum += value);
        sum
    });
    sum.expect("a layer has channels")
}
