//! Products and sums of cotangents or tangents, which have rows in front of the batch, with values of the batch.

use burn::tensor::Tensor;

/// `d` times `x`, where `d` has rows in front of the batch and `x` has only the batch.
pub(crate) fn times_rows(d: Tensor<4>, x: Tensor<4>) -> Tensor<4> {
    over_rows(d, x, |d, x| d * x)
}

/// `d` plus `x`, where `d` has rows in front of the batch and `x` has only the batch.
pub(super) fn plus_rows(d: Tensor<4>, x: Tensor<4>) -> Tensor<4> {
    over_rows(d, x, |d, x| d + x)
}

fn over_rows(d: Tensor<4>, x: Tensor<4>, combine: impl Fn(Tensor<2>, Tensor<2>) -> Tensor<2>) -> Tensor<4> {
    let (dims, len) = (d.dims(), x.dims().iter().product::<usize>());
    let rows = dims.iter().product::<usize>() / len;
    combine(d.reshape([rows, len]), x.reshape([1, len])).reshape(dims)
}
