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
//!
//! Each order has a file with its multiply-adds (`operations`), the values that it holds meanwhile (`held`), and the sum
//! itself.

mod hadamard;
mod patches;
mod pushed;
mod sizes;
mod weights;

use std::ops::Range;

use burn::tensor::Tensor;
use fintan_net::VjpFactors;

use crate::kernel::Entries;
use crate::products::{Batch, By};
pub(crate) use sizes::Sizes;

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

/// Kernel parts between two sides, or of one side with itself: `[groups · i, groups · i]` (full), the same summed over b
/// (traced), or one such matrix for each b (diagonal). There is one part for the weights, and one for the biases if they
/// have the same cotangents; if `apart` is false, the result is their sum.
pub(crate) fn contract(
    left: &Operand,
    other: Option<&Operand>,
    entries: Entries,
    apart: bool,
) -> Vec<(usize, Vec<f64>)> {
    let right = other.unwrap_or(left);
    let sizes = Sizes {
        sides: [left.cotangents.dims(), right.cotangents.dims()],
        k: left.inputs.as_ref().map_or(1, |a| a.dims()[2]),
        distinct: other.is_some(),
    };
    let mut theta = match sizes.order() {
        Order::Hadamard => return hadamard::sum(left, other, entries, apart),
        Order::Weights => weights::sum(left, other, entries),
        Order::Patches => patches::sum(left, other, entries),
        Order::Pushed => pushed::sum(left, other, entries),
    };
    scale(&mut theta, left.scale * right.scale);
    let mut parts = vec![(left.parameter, theta)];
    if let Some(one) = left.sum_of_sites() {
        parts.extend(hadamard::sum(&one, other.and_then(Operand::sum_of_sites).as_ref(), entries, apart));
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

/// How the matrices of several outputs are combined.
fn of_outputs(entries: Entries) -> Batch {
    if entries == Entries::Diagonal { Batch::Kept } else { Batch::Summed }
}
