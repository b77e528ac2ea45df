//! `Patches`: products of inputs and products of cotangents, summed over all pairs of sites.

use burn::tensor::Tensor;

use super::Operand;
use super::sizes::{Counts, Sizes};
use crate::kernel::Entries;
use crate::products::{Batch, packed, products};

/// Multiply-adds.
pub(super) fn operations(&Counts { b, s, c, k, pairs, .. }: &Counts) -> f64 {
    pairs * s * s * (k + b * c)
}

/// Number of values that are held: the copies of the products.
pub(super) fn held(sizes: &Sizes, size: usize) -> f64 {
    let [b, _, _, _, c] = sizes.sides[0];
    packed(sizes.rows_or_sites(), sizes.k.max(b * c), size)
}

/// The sum.
pub(super) fn sum(left: &Operand, other: Option<&Operand>, entries: Entries) -> Vec<f64> {
    let right = other.unwrap_or(left);
    let ([b, g1, ..], [_, g2, ..]) = (left.cotangents.dims(), right.cotangents.dims());
    let kept = if entries == Entries::Diagonal { b } else { 1 };
    let sites = |d: Tensor<4>| {
        let [_, _, s, c] = d.dims();
        let by_output: Tensor<3> = d.reshape([b, s, c]);
        if kept == b { by_output } else { by_output.permute([1, 0, 2]).reshape([1, s, b * c]) }
    };
    let mut theta = vec![0.0; kept * g1 * g2];
    for x in 0..g1 {
        let (a, d) = left.group(x);
        let (a, d): (Tensor<3>, _) = (a.unsqueeze(), sites(d));
        // For one side with itself, only the pairs on and below the diagonal.
        for y in 0..other.map_or(x + 1, |_| g2) {
            let (a2, d2) = right.group(y);
            let inputs = products(&a, Some(&a2.unsqueeze()), Batch::Kept, left.by);
            let cotangents = products(&d, Some(&sites(d2)), Batch::Kept, left.by);
            for (o, matrix) in cotangents.chunks(inputs.len()).enumerate() {
                let value = matrix.iter().zip(&inputs).map(|(p, q)| p * q).sum();
                theta[(o * g1 + x) * g2 + y] = value;
                if other.is_none() {
                    theta[(o * g1 + y) * g2 + x] = value;
                }
            }
        }
    }
    theta
}
