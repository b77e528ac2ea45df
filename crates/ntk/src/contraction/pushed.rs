//! `Pushed`: cotangents pushed through the products of inputs, times the cotangents of the other side.

use super::sizes::{Counts, Sizes};
use super::{Operand, of_outputs};
use crate::kernel::Entries;
use crate::products::{packed, products};

/// Multiply-adds.
pub(super) fn operations(&Counts { b, i, s, c, k, pairs, .. }: &Counts) -> f64 {
    pairs * (s * s * (k + b * i * c) + i * i * b * s * c)
}

/// Number of values that are held: the pushed cotangents with their copy, the products of inputs, and the copies of the
/// products.
pub(super) fn held(sizes: &Sizes, size: usize) -> f64 {
    let [[b, _, i, s1, c], [_, _, _, s2, _]] = sizes.sides;
    packed(sizes.rows_or_sites(), s2 * c, size) + 2.0 * (b * i * s2 * c) as f64 + 2.0 * (s1 * s2) as f64
}

/// The sum.
pub(super) fn sum(left: &Operand, other: Option<&Operand>, entries: Entries) -> Vec<f64> {
    let right = other.unwrap_or(left);
    // Two coupled sides with different batches have different numbers of sites.
    let ([b, g1, i1, s1, c], [_, g2, i2, s2, _]) = (left.cotangents.dims(), right.cotangents.dims());
    let kept = if entries == Entries::Diagonal { b } else { 1 };
    let (rows, columns) = (g1 * i1, g2 * i2);
    let mut theta = vec![0.0; kept * rows * columns];
    for x in 0..g1 {
        let (a, d) = left.group(x);
        let (a, d) = (a.transpose(), d.reshape([b * i1, s1, c]));
        for y in 0..other.map_or(x + 1, |_| g2) {
            let (a2, d2) = right.group(y);
            let through = a2.matmul(a.clone()).reshape([1, s2, s1]);
            let pushed = through.matmul(d.clone()).reshape([b, i1, s2 * c]);
            let block = products(&pushed, Some(&d2.reshape([b, i2, s2 * c])), of_outputs(entries), left.by);
            for (o, matrix) in block.chunks(i1 * i2).enumerate() {
                for (i, line) in matrix.chunks(i2).enumerate() {
                    let row = o * rows + x * i1 + i;
                    theta[row * columns + y * i2..][..i2].copy_from_slice(line);
                    if other.is_none() && y < x {
                        for (j, value) in line.iter().enumerate() {
                            theta[(o * rows + y * i2 + j) * columns + x * i1 + i] = *value;
                        }
                    }
                }
            }
        }
    }
    theta
}
