//! Other views of samples: as vectors, as rows of a norm, with rows in front of the batch.

use burn::tensor::Tensor;
use fintan_config::{NormAxes, Shape};

pub(super) fn layer_norm_view([n, h, w, c]: [usize; 4], over: NormAxes) -> [usize; 2] {
    match over {
        NormAxes::Chw => [n, h * w * c],
        NormAxes::Features => [n * h * w, c],
    }
}

pub(super) fn reshape(x: Tensor<4>, from: Shape, to: Shape) -> Tensor<4> {
    let n = x.dims()[0];
    let flat: Tensor<2> =
        if from.is_vector() { x.reshape([n, from.channels]) } else { x.permute([0, 3, 1, 2]).reshape([n, from.len()]) };
    if to.is_vector() {
        flat.reshape([n, 1, 1, to.channels])
    } else {
        flat.reshape([n, to.channels, to.height, to.width]).permute([0, 2, 3, 1])
    }
}

pub(super) fn global_average_pool(x: Tensor<4>, from: Shape) -> Tensor<4> {
    let n = x.dims()[0];
    let mean: Tensor<3> = x.reshape([n, from.positions(), from.channels]).mean_dim(1);
    mean.reshape([n, 1, 1, from.channels])
}

/// `d` with rows in front of the batch, times `x` of the batch.
pub(super) fn times_rows(d: Tensor<4>, x: Tensor<4>) -> Tensor<4> {
    over_rows(d, x, |d, x| d * x)
}

pub(super) fn plus_rows(d: Tensor<4>, x: Tensor<4>) -> Tensor<4> {
    over_rows(d, x, |d, x| d + x)
}

fn over_rows(d: Tensor<4>, x: Tensor<4>, combine: impl Fn(Tensor<2>, Tensor<2>) -> Tensor<2>) -> Tensor<4> {
    let (dims, len) = (d.dims(), x.dims().iter().product::<usize>());
    let rows = dims.iter().product::<usize>() / len;
    combine(d.reshape([rows, len]), x.reshape([1, len])).reshape(dims)
}
