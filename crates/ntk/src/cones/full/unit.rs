//! The last layer: the cotangent of an output is a single number, so the kernel is the patch Gram matrix itself.

use rayon::prelude::*;

use super::super::chain::Chain;
use super::super::cotangents::ConeCotangents;
use super::super::gemm::{Matrix, product_transposed};
use super::super::patches::{Positions, patch_len, patches};
use super::super::real::Real;
use super::rows::Block;

/// Number of rows of a Gram matrix that are computed at a time.
const ROWS: usize = 64;

/// Outputs of one channel: rank, and index of the position in its residue class.
type Members = Vec<(usize, usize)>;

impl<T: Real> Block<'_, '_, T> {
    /// Adds `Gamma_nn'[u, u'] d d'` between outputs of one channel, where `d` is the derivative of the function after the
    /// last layer.
    pub(super) fn add_unit_weights(&self, kernel: &mut [T]) {
        let plans = self.sides.map(ConeCotangents::plan);
        let chains = self.sides.map(ConeCotangents::chain);
        let level = plans[0].layers().len();
        let geometry = &plans[0].layers()[level - 1];
        let positions = plans.map(|plan| Positions::new(plan, level));
        for class in 0..positions[0].classes().len() {
            let len = patch_len(geometry, positions[0].modulus(), class);
            let members = self.members(1, &positions[1], class);
            let targets = self.members(0, &positions[0], class);
            for n in 0..chains[0].samples() {
                let first = patches(&chains[0].layers()[level - 1], &positions[0], class, n);
                for (_, m, half) in self.pairs().filter(|pair| pair.0 == n) {
                    let second = patches(&chains[1].layers()[level - 1], &positions[1], class, m);
                    let columns = positions[1].classes()[class].len();
                    let factors = [0, 1].map(|side| self.output_derivatives(side, [n, m][side]));
                    let second = Matrix::new(&second, columns, len);
                    // Rows are separated by strips of positions, so that strips can be processed in parallel.
                    let mut rows: Vec<_> = self.rows_of(kernel, n, m).into_iter().map(Some).collect();
                    let mut strips: Vec<Vec<_>> = Vec::new();
                    strips.resize_with(positions[0].classes()[class].len().div_ceil(ROWS), Vec::new);
                    for (channel, targets) in targets.iter().enumerate() {
                        for &(rank, place) in targets {
                            strips[place / ROWS].extend(rows[rank].take().map(|row| (row, rank, place, channel)));
                        }
                    }
                    let patches = first.par_chunks((ROWS * len).max(1));
                    strips.into_par_iter().zip(patches).enumerate().for_each(|(strip, (rows, patches))| {
                        let count = patches.len() / len;
                        let mut gram = vec![T::default(); count * columns];
                        product_transposed(&mut gram, false, Matrix::new(patches, count, len), second);
                        for (row, rank, place, channel) in rows {
                            let gram = &gram[(place - strip * ROWS) * columns..][..columns];
                            let members = &members[channel];
                            let start = if half { members.partition_point(|member| member.0 < rank) } else { 0 };
                            for &(other, place) in &members[start..] {
                                let column = plans[1].order()[other];
                                row[column] += factors[0][rank] * factors[1][other] * gram[place];
                            }
                        }
                    });
                }
            }
        }
    }

    /// Adds `beta^2 d d'` between outputs of one channel.
    pub(super) fn add_unit_bias(&self, kernel: &mut [T]) {
        let plans = self.sides.map(ConeCotangents::plan);
        let level = plans[0].layers().len();
        let square = T::of(self.sides[0].chain().layers()[level - 1].bias_square());
        if square == T::default() {
            return;
        }
        let channels = plans[0].map(level)[2];
        for (n, m, half) in self.pairs() {
            let factors = [0, 1].map(|side| self.output_derivatives(side, [n, m][side]));
            // For each channel, the derivatives of its outputs; zero for other outputs.
            let masked: Vec<Vec<T>> = (0..channels)
                .map(|channel| {
                    let of = plans[1].outputs().iter().zip(&factors[1]);
                    of.map(|(o, &d)| if o.channel == channel { d } else { T::default() }).collect()
                })
                .collect();
            self.rows_of(kernel, n, m).into_par_iter().enumerate().for_each(|(rank, row)| {
                let start = if half { rank } else { 0 };
                let values = &masked[plans[0].outputs()[rank].channel][start..];
                self.columns.add(row, start, square * factors[0][rank], values);
            });
        }
    }

    /// For each channel, its outputs in a residue class.
    fn members(&self, side: usize, positions: &Positions, class: usize) -> Vec<Members> {
        let plan = self.sides[side].plan();
        let modulus = positions.modulus();
        let mut members = vec![Vec::new(); plan.map(plan.layers().len())[2]];
        for (rank, output) in plan.outputs().iter().enumerate() {
            if output.y % modulus[0] * modulus[1] + output.x % modulus[1] == class {
                members[output.channel].push((rank, positions.index([output.y, output.x])));
            }
        }
        members
    }

    /// The output derivatives, ordered by rank.
    fn output_derivatives(&self, side: usize, sample: usize) -> Vec<T> {
        let chain: &Chain<'_, T> = self.sides[side].chain();
        let outputs = self.sides[side].plan().outputs();
        outputs.iter().map(|o| chain.output_derivative(sample, [o.y, o.x], o.channel)).collect()
    }
}
