//! Cotangents and tangents with rows in front of the batch, beside values of the batch.

use burn::tensor::Tensor;

/// `d` with rows in front of the batch, times `x` of the batch.
pub(super) fn times_rows(d: Tensor<4>, x: Tensor<4>) -> Tensor<4> {
    over_rows(d, x, |d, x| d * x)
}

/// `d` with rows in front of the batch, plus `x` of the batch.
pub(super) fn plus_rows(d: Tensor<4>, x: Tensor<4>) -> Tensor<4> {
    over_rows(d, x, |d, x| d + x)
}

fn over_rows(d: Tensor<4>, x: Tensor<4>, combine: impl Fn(Tensor<2>, Tensor<2>) -> Tensor<2>) -> Tensor<4> {
    let (dims, len) = (d.dims(), x.dims().iter().product::<usize>());
    let rows = dims.iter().product::<usize>() / len;
    combine(d.reshape([rows, len]), x.reshape([1, len])).reshape(dims)
}
