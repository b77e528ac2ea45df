//! Jacobian contraction: the definition of the kernel, computed with Burn's autodiff.

use std::ops::Range;

use burn::tensor::{Tensor, TensorData};

use fintan_net::{Lowering, Placement};

use crate::kernel::{Block, Entries};
use crate::problem::{KernelRequest, Side};
use crate::products::{Batch, By, products};

/// The block between outputs of rows and outputs of columns, from whole Jacobians, with one backward pass of Burn's autodiff
/// for each row.
///
/// It shares only the forward pass with the other methods, so it is used to test them. Its time and memory restrict it to
/// small sizes.
#[must_use]
pub fn jacobian_contraction(problem: &KernelRequest, outputs: &[Range<usize>; 2]) -> Block {
    let left = jacobian(problem, 0, outputs[0].clone());
    let right = if problem.is_symmetric() && outputs[0] == outputs[1] {
        left.clone()
    } else {
        jacobian(problem, 1, outputs[1].clone())
    };
    let mut block = Block::zeros(problem, outputs);
    // Not the product of the structured kernel: a reference must not share code with the method that it tests.
    let products = |x: Tensor<3>, y: Tensor<3>| products(&x, Some(&y), Batch::Kept, By::Device);
    for (parameter, (x, y)) in left.into_iter().zip(right).enumerate() {
        let ([o1, n1, p], [o2, n2, _]) = (x.dims(), y.dims());
        let values = match problem.entries {
            Entries::Full => {
                products(x.permute([1, 0, 2]).reshape([1, n1 * o1, p]), y.permute([1, 0, 2]).reshape([1, n2 * o2, p]))
            }
            Entries::Diagonal => products(x, y),
            Entries::Traced => {
                products(x.permute([1, 0, 2]).reshape([1, n1, o1 * p]), y.permute([1, 0, 2]).reshape([1, n2, o2 * p]))
            }
        };
        block.add(parameter, &values);
    }
    block
}

/// `[outputs, N, parameters]` for each parameter.
fn jacobian(problem: &KernelRequest, side: usize, outputs: Range<usize>) -> Vec<Tensor<3>> {
    let Side { x, rows: samples, .. } = problem.side(side);
    let (device, dtype, n) = (x.device(), x.dtype(), samples.len());
    let taped = device.clone().autodiff();
    let network = problem.network.moved(&Placement { device: taped.clone(), dtype, lowering: Lowering::Views });
    let mut rows: Vec<Vec<Tensor<2>>> = network.parameters().iter().map(|_| Vec::new()).collect();
    for output in outputs.clone() {
        let at = problem.in_memory(problem.outputs[output]);
        for sample in samples.clone() {
            // Coupled samples need the rest of the batch; other samples are cheaper alone.
            let (batch, row) =
                if problem.is_coupled() { (x.clone(), sample) } else { (x.clone().narrow(0, sample, 1), 0) };
            let batch = Tensor::from_data(batch.into_data(), (&taped, dtype));
            let tracked = network.with_parameters(network.parameters().into_iter().map(Tensor::require_grad).collect());
            let (y, _) = tracked.forward(batch, problem.mode);
            let len = y.dims().iter().product::<usize>();
            let value: Tensor<1> = y.clone().reshape([len]).narrow(0, row * (len / y.dims()[0]) + at, 1);
            let gradients = value.backward();
            for (rows, parameter) in rows.iter_mut().zip(tracked.parameters()) {
                let len = parameter.dims().iter().product();
                let gradient = parameter.grad(&gradients).map_or_else(
                    || Tensor::zeros([1, len], (&device, dtype)),
                    |g| {
                        let data: TensorData = g.into_data();
                        Tensor::<2>::from_data(data, (&device, dtype)).reshape([1, len])
                    },
                );
                rows.push(gradient);
            }
        }
    }
    rows.into_iter()
        .map(|rows| {
            let len = rows[0].dims()[1];
            Tensor::cat(rows, 0).reshape([outputs.len(), n, len])
        })
        .collect()
}
