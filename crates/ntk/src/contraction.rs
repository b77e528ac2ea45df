//! The kernel part of one parameter, computed from its inputs and cotangents.
//!
//! With inputs a and cotangents δ at the sites s of a parameter ([`VjpFactors`]), its part of the kernel is
//!
//! ```text
//! Θ[r, r'] = Σ_{s, s'} ⟨a_s, a'_s'⟩ ⟨δ_rs, δ'_r's'⟩
//! ```
//!
//! The sum can be computed in several orders. Which order is cheapest depends on the layer and on the entries that are
//! needed, so it is chosen by counting operations (Novak et al., arXiv 2206.08720, name the first three):
//!
//! | [`Order`] | first | then |
//! | --- | --- | --- |
//! | `Hadamard` | ⟨a, a'⟩ and ⟨δ, δ'⟩, at a single site | their product |
//! | `Weights` | weight cotangents Σ_s a_s ⊗ δ_rs of both sides | their products |
//! | `Patches` | ⟨a_s, a'_s'⟩ and ⟨δ_rs, δ'_r's'⟩ over all pairs of sites | Σ over the pairs |
//! | `Pushed` | ⟨a_s, a'_s'⟩, and δ pushed through it: Σ_s ⟨a_s, a'_s'⟩ δ_rs | products with δ' |

use std::ops::Range;

use burn::tensor::Tensor;
use fintan_net::VjpFactors;

use crate::kernel::Entries;
use crate::products::{Batch, By, products};

/// An order of summation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Hadamard,
    Weights,
    Patches,
    Pushed,
}

impl Order {
    /// Its name in a printed plan.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hadamard => "hadamard",
            Self::Weights => "weights",
            Self::Patches => "patches",
            Self::Pushed => "pushed",
        }
    }
}

/// The factors of one side. A row of cotangents has the index (b, g, i).
///
/// b is the output if the kernel is traced or diagonal (only equal outputs are paired). g is the group of sites that the row
/// reads: its sample, or a single group for the whole batch if samples are coupled. i counts the remaining rows.
pub(crate) struct Operand {
    pub(crate) parameter: usize,
    /// `[groups, sites, K]`
    inputs: Option<Tensor<3>>,
    /// `[b, groups, i, sites, C]`; it may be a view in another memory order.
    cotangents: Tensor<5>,
    scale: f64,
    biases: Option<f64>,
    by: By,
}

impl Operand {
    /// `coupled`: the number of samples that are rows, if samples are coupled. `by`: the device or the host.
    pub(crate) fn new(factors: VjpFactors, entries: Entries, coupled: Option<usize>, by: By) -> Self {
        let VjpFactors { parameter, inputs, mut cotangents, scale, biases } = factors;
        let [rows, n, mut sites, c] = cotangents.dims();
        if inputs.is_none() && coupled.is_some() {
            // All samples have the same input, so their cotangents are summed first.
            cotangents = cotangents.reshape([rows, n * sites, c]).sum_dim(1).unsqueeze_dim(2);
            sites = 1;
        }
        let inputs = match inputs {
            Some(a) if coupled.is_some() => {
                let [n, sites, k] = a.dims();
                Some(a.reshape([1, n * sites, k]))
            }
            inputs => inputs,
        };
        let cotangents = match (entries, coupled) {
            (Entries::Full, None) => cotangents.reshape([1, rows, n, sites, c]).permute([0, 2, 1, 3, 4]),
            (_, None) => cotangents.reshape([rows, n, 1, sites, c]),
            (entries, Some(samples)) => {
                let sites = cotangents.dims()[1] * sites;
                let by_sample = cotangents.reshape([rows / samples, samples, sites, c]);
                if entries == Entries::Full {
                    by_sample.permute([1, 0, 2, 3]).reshape([1, 1, rows, sites, c])
                } else {
                    by_sample.unsqueeze_dim(1)
                }
            }
        };
        Self { parameter, inputs, cotangents, scale, biases, by }
    }

    /// The biases that share the cotangents of these weights; their several sites have a single input.
    fn sum_of_sites(&self) -> Option<Self> {
        let (scale, cotangents) = (self.biases?, self.cotangents.clone().sum_dim(3));
        Some(Self { parameter: self.parameter + 1, inputs: None, cotangents, scale, biases: None, by: self.by })
    }

    /// Cotangents of the weights of some channels: `[b, groups · i, K · channels]`.
    fn weights(&self, channels: &Range<usize>) -> Tensor<3> {
        let [b, g, i, s, _] = self.cotangents.dims();
        let (inputs, c) = (self.inputs.as_ref().expect("several sites have inputs"), channels.len());
        let k = inputs.dims()[2];
        let some = self.cotangents.clone().narrow(4, channels.start, c);
        // One product for each group, with all its rows side by side.
        let columns = some.permute([1, 3, 0, 2, 4]).reshape([g, s, b * i * c]);
        let weights = inputs.clone().transpose().matmul(columns);
        weights.reshape([g, k, b, i, c]).permute([2, 0, 3, 1, 4]).reshape([b, g * i, k * c])
    }

    fn group(&self, g: usize) -> (Tensor<2>, Tensor<4>) {
        let [b, _, i, s, c] = self.cotangents.dims();
        let inputs = self.inputs.clone().expect("several sites have inputs");
        let k = inputs.dims()[2];
        (inputs.narrow(0, g, 1).reshape([s, k]), self.cotangents.clone().narrow(1, g, 1).reshape([b, i, s, c]))
    }
}

/// Multiply-adds of an order. One side has `[b, g, i, s, c]` and k inputs; the other has `g2` groups, or is the same side if
/// `g2` is `None`.
pub(crate) fn cost(order: Order, [b, g, i, s, c]: [usize; 5], k: usize, g2: Option<usize>) -> f64 {
    let [b, g, i, s, c, k] = [b, g, i, s, c, k].map(|n| n as f64);
    let (sides, pairs) = g2.map_or((g, 0.5 * g * g), |g2| (g + g2 as f64, g * g2 as f64));
    match order {
        Order::Hadamard => pairs * (k + i * i * b * c),
        Order::Weights => sides * b * i * s * k * c + pairs * i * i * b * k * c,
        Order::Patches => pairs * s * s * (k + b * c),
        Order::Pushed => pairs * (s * s * (k + b * i * c) + i * i * b * s * c),
    }
}

/// The cheapest order that applies.
pub(crate) fn choose(dims: [usize; 5], k: usize, g2: Option<usize>) -> Order {
    let [_, _, i, s, _] = dims;
    if s == 1 {
        return Order::Hadamard;
    }
    let other = if i == 1 { Order::Patches } else { Order::Pushed };
    if cost(other, dims, k, g2) < cost(Order::Weights, dims, k, g2) { other } else { Order::Weights }
}

/// Kernel parts between two sides, or of one side with itself: `[groups · i, groups · i]` (full), the same summed over b
/// (traced), or one such matrix for each b (diagonal). There is one part for the weights, and one for the biases if they
/// have the same cotangents; if `apart` is false, the result is their sum.
pub(crate) fn contract(
    left: &Operand,
    other: Option<&Operand>,
    entries: Entries,
    apart: bool,
) -> Vec<(usize, Vec<f64>)> {
    let (mut dims, right) = (left.cotangents.dims(), other.unwrap_or(left));
    let [_, g2, i2, ..] = right.cotangents.dims();
    // The rows and columns of a tile may have different numbers of outputs.
    dims[2] = dims[2].max(i2);
    let k = left.inputs.as_ref().map_or(1, |a| a.dims()[2]);
    let mut theta = match choose(dims, k, other.map(|_| g2)) {
        Order::Hadamard => return hadamard(left, other, entries, apart),
        Order::Weights => by_weights(left, other, entries),
        Order::Patches => patches(left, other, entries),
        Order::Pushed => pushed(left, other, entries),
    };
    scale(&mut theta, left.scale * right.scale);
    let mut parts = vec![(left.parameter, theta)];
    if let Some(one) = left.sum_of_sites() {
        parts.extend(hadamard(&one, other.and_then(Operand::sum_of_sites).as_ref(), entries, apart));
    }
    parts
}

fn scale(values: &mut [f64], factor: f64) {
    if factor != 1.0 {
        for value in values {
            *value *= factor;
        }
    }
}

/// Number of values of weight cotangents that are computed at a time, unless this is too few for a product.
const SLICE: usize = 1 << 21;

/// Number of channels whose weight cotangents are computed at a time, for `rows` rows with K inputs.
pub(crate) fn slice(rows: usize, k: usize, channels: usize) -> usize {
    (SLICE / (rows * k).max(1)).max(16).min(channels)
}

/// Computes weight cotangents of both sides and their products, some channels at a time.
fn by_weights(left: &Operand, other: Option<&Operand>, entries: Entries) -> Vec<f64> {
    let ([.., c], k) = (left.cotangents.dims(), left.inputs.as_ref().map_or(1, |a| a.dims()[2]));
    let rows = |side: &Operand| side.cotangents.dims()[..3].iter().product::<usize>();
    let width = slice(rows(left).max(other.map_or(0, rows)), k, c);
    let slices = (0..c).step_by(width).map(|start| {
        let channels = start..c.min(start + width);
        products(left.weights(&channels), other.map(|right| right.weights(&channels)), of_outputs(entries), left.by)
    });
    let sum = slices.reduce(|mut sum, more| {
        sum.iter_mut().zip(more).for_each(|(sum, value)| *sum += value);
        sum
    });
    sum.expect("a layer has channels")
}

/// How the matrices of several outputs are combined.
fn of_outputs(entries: Entries) -> Batch {
    if entries == Entries::Diagonal { Batch::Kept } else { Batch::Summed }
}

fn hadamard(left: &Operand, other: Option<&Operand>, entries: Entries, apart: bool) -> Vec<(usize, Vec<f64>)> {
    let right = other.unwrap_or(left);
    let ([b, g1, i1, _, c], [_, g2, i2, ..]) = (left.cotangents.dims(), right.cotangents.dims());
    let (rows, columns) = (g1 * i1, g2 * i2);
    // Rows are in the order (i, g) of the cotangents in memory, so nothing is copied. Only the small result is reordered.
    let by_sample = |d: &Tensor<5>| d.clone().permute([0, 2, 1, 3, 4]).reshape([b, d.dims()[1] * d.dims()[2], c]);
    let second = other.map(|right| by_sample(&right.cotangents));
    let found = products(by_sample(&left.cotangents), second, of_outputs(entries), left.by);
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
    let mut inputs = products(flat(x), other.map(|_| flat(y)), Batch::Kept, left.by);
    let together = by_biases.filter(|_| !apart).unwrap_or(0.0);
    for value in &mut inputs {
        *value = *value * left.scale * right.scale + together;
    }
    for matrix in theta.chunks_mut(rows * columns) {
        for (row, line) in matrix.chunks_mut(columns).enumerate() {
            let factors = &inputs[row / i1 * g2..][..g2];
            if i2 == 1 {
                line.iter_mut().zip(factors).for_each(|(value, factor)| *value *= factor);
                continue;
            }
            for (run, factor) in line.chunks_mut(i2).zip(factors) {
                for value in run {
                    *value *= factor;
                }
            }
        }
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

fn patches(left: &Operand, other: Option<&Operand>, entries: Entries) -> Vec<f64> {
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
            let inputs = products(a.clone(), Some(a2.unsqueeze()), Batch::Kept, left.by);
            let cotangents = products(d.clone(), Some(sites(d2)), Batch::Kept, left.by);
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

fn pushed(left: &Operand, other: Option<&Operand>, entries: Entries) -> Vec<f64> {
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
            let block = products(pushed, Some(d2.reshape([b, i2, s2 * c])), of_outputs(entries), left.by);
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
