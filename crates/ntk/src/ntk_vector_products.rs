//! NTK-vector products: `Θ v = J (Jᵀ v)` by pullback and pushforward.

use std::ops::Range;

use burn::tensor::Tensor;

use crate::kernel::{Block, Entries};
use crate::problem::KernelRequest;
use crate::products::numbers;

/// The block between outputs of rows and outputs of columns, column by column (Novak et al., arXiv 2206.08720, section 3.3).
///
/// For column (n', o'), the pullback of that output is a tangent of the parameters; its pushforward over the first side is
/// the column. One pushforward for each parameter keeps the parts separate.
#[must_use]
pub fn ntk_vector_products(problem: &KernelRequest, outputs: &[Range<usize>; 2]) -> Block {
    let network = &problem.network;
    let ([n1, n2], coupled) = (problem.samples(), problem.is_coupled());
    let (rows, columns) = (outputs[0].len(), outputs[1].len());
    let mut block = Block::zeros(problem, outputs);
    let mut parts: Vec<Vec<f64>> = block.parts.iter().map(|part| vec![0.0; part.len()]).collect();
    let apart = parts.len() > 1;
    let here: Vec<usize> = problem.outputs[outputs[0].clone()].iter().map(|&o| problem.in_memory(o)).collect();
    let (one, other) = (problem.side(0), problem.side(1));
    let (still, batch) = (one.x.zeros_like(), other.x.dims()[0]);
    for j in 0..columns {
        let output = outputs[1].start + j;
        for n in 0..n2 {
            let tangents = if coupled {
                let seeds = problem.seeds(1, &(output..output + 1));
                network.pullback_parameters(problem.tape(1), seeds.narrow(0, n * batch, batch))
            } else {
                // The sample alone: its own tape costs one forward pass and saves pullbacks of the whole batch.
                let (_, tape) = network.forward(other.x.clone().narrow(0, n, 1), problem.mode);
                let seeds = problem.seeds(1, &(output..output + 1));
                network.pullback_parameters(&tape, seeds.narrow(0, 0, 1))
            };
            let zeros: Vec<Tensor<2>> = tangents.iter().map(Tensor::zeros_like).collect();
            for (p, part) in parts.iter_mut().enumerate() {
                let alone = if apart {
                    let mut alone = zeros.clone();
                    alone[p] = tangents[p].clone();
                    alone
                } else {
                    tangents.clone()
                };
                let column = numbers(network.pushforward(problem.tape(0), still.clone(), Some(&alone)));
                let len = column.len() / still.dims()[0];
                for (m, sample) in one.rows.clone().enumerate() {
                    for (i, at) in here.iter().enumerate() {
                        let value = column[sample * len + at];
                        match problem.entries {
                            Entries::Full => part[(m * rows + i) * n2 * columns + n * columns + j] = value,
                            Entries::Traced if i == j => part[m * n2 + n] += value,
                            Entries::Diagonal if i == j => part[(i * n1 + m) * n2 + n] = value,
                            Entries::Traced | Entries::Diagonal => {}
                        }
                    }
                }
            }
        }
    }
    for (parameter, part) in parts.iter().enumerate() {
        block.add(parameter, part);
    }
    block
}
