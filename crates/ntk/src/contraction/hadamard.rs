//! `Hadamard`: products of inputs times products of cotangents, at a single site.

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::sizes::{Counts, Sizes};
use super::{Operand, of_outputs, scale};
use crate::kernel::Entries;
use crate::products::{Batch, ENTRIES, packed, products};

/// Multiply-adds.
pub(super) fn operations(&Counts { b, i, c, k, pairs, .. }: &Counts) -> f64 {
    pairs * (k + i * i * b * c)
}

/// Number of values that are held: the copies of the products.
pub(super) fn held(sizes: &Sizes, size: usize) -> f64 {
    packed(sizes.rows_or_sites(), sizes.k.max(sizes.sides[0][4]), size)
}

/// The sum.
pub(super) fn sum(left: &Operand, other: Option<&Operand>, entries: Entries, apart: bool) -> Vec<(usize, Vec<f64>)> {
    let right = other.unwrap_or(left);
    let ([b, g1, i1, _, c], [_, g2, i2, ..]) = (left.cotangents.dims(), right.cotangents.dims());
    let (rows, columns) = (g1 * i1, g2 * i2);
    // Rows are in the order (i, g) of the cotangents in memory, so nothing is copied. Only the small result is reordered.
    let by_sample = |d: &Tensor<5>| d.clone().permute([0, 2, 1, 3, 4]).reshape([b, d.dims()[1] * d.dims()[2], c]);
    let second = other.map(|right| by_sample(&right.cotangents));
    let found = products(&by_sample(&left.cotangents), second.as_ref(), of_outputs(entries), left.by);
    let mut theta = if [i1, i2] == [1, 1] { found } else { by_group(&found, [g1, i1], [g2, i2]) };
    let (Some(x), Some(y)) = (&left.inputs, &right.inputs) else {
        scale(&mut theta, left.scale * right.scale);
        return vec![(left.parameter, theta)];
    };
    let by_biases = left.biases.zip(right.biases).map(|(one, other)| one * other);
    let biases = by_biases.filter(|_| apart).map(|factor| {
        let mut biases = theta.clone();
        scale(&mut biases, factor);
        (left.parameter + 1, biases)
    });
    let flat = |a: &Tensor<3>| {
        let [g, _, k] = a.dims();
        a.clone().reshape([1, g, k])
    };
    let mut inputs = products(&flat(x), other.map(|_| flat(y)).as_ref(), Batch::Kept, left.by);
    let together = by_biases.filter(|_| !apart).unwrap_or(0.0);
    for value in &mut inputs {
        *value = *value * left.scale * right.scale + together;
    }
    let multiply = |(line, values): (usize, &mut [f64])| {
        let factors = &inputs[line % rows / i1 * g2..][..g2];
        if i2 == 1 {
            values.iter_mut().zip(factors).for_each(|(value, factor)| *value *= factor);
            return;
        }
        for (run, factor) in values.chunks_mut(i2).zip(factors) {
            for value in run {
                *value *= factor;
            }
        }
    };
    if theta.len() <= ENTRIES {
        theta.chunks_mut(columns).enumerate().for_each(multiply);
    } else {
        theta.par_chunks_mut(columns).enumerate().with_min_len(ENTRIES.div_ceil(columns)).for_each(multiply);
    }
    std::iter::once((left.parameter, theta)).chain(biases).collect()
}

/// Reorders rows and columns of matrices from (i, g) to (g, i).
fn by_group(found: &[f64], [g1, i1]: [usize; 2], [g2, i2]: [usize; 2]) -> Vec<f64> {
    let (rows, columns) = (g1 * i1, g2 * i2);
    let mut theta = vec![0.0; found.len()];
    for (matrix, found) in theta.chunks_mut(rows * columns).zip(found.chunks(rows * columns)) {
        for (row, line) in matrix.chunks_mut(columns).enumerate() {
            let from = &found[(row % i1 * g1 + row / i1) * columns..][..columns];
            for (g, run) in line.chunks_mut(i2).enumerate() {
                run.iter_mut().zip(from[g..].iter().step_by(g2)).for_each(|(value, found)| *value = *found);
            }
        }
    }
    theta
}
