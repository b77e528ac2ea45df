//! Reshapes and flattening, in channel, row, column order.

use burn::tensor::Tensor;
use fintan_config::Shape;

use super::{CotangentPair, WithoutParameters};

/// A change of the shape that keeps the values.
#[derive(Debug)]
pub(crate) struct Reshape {
    pub(crate) from: Shape,
    pub(crate) to: Shape,
}

impl WithoutParameters for Reshape {
    type Saved = ();

    fn forward(&self, x: Tensor<4>) -> (Tensor<4>, ()) {
        (reshape(x, self.from, self.to), ())
    }

    fn pullback(&self, (): &(), dy: Tensor<4>) -> Tensor<4> {
        reshape(dy, self.to, self.from)
    }

    fn pushforward(&self, (): &(), dx: Tensor<4>) -> Tensor<4> {
        reshape(dx, self.from, self.to)
    }

    fn pullback_tangent(&self, (): &(), _: &Tensor<4>, dy: CotangentPair) -> CotangentPair {
        dy.map(|d| reshape(d, self.to, self.from))
    }
}

/// Maps are channels last here, so channels are moved to the front before the reshape and back after it.
fn reshape(x: Tensor<4>, from: Shape, to: Shape) -> Tensor<4> {
    let n = x.dims()[0];
    let flat: Tensor<2> =
        if from.is_vector() { x.reshape([n, from.channels]) } else { x.permute([0, 3, 1, 2]).reshape([n, from.len()]) };
    if to.is_vector() {
        flat.reshape([n, 1, 1, to.channels])
    } else {
        flat.reshape([n, to.channels, to.height, to.width]).permute([0, 2, 3, 1])
    }
}
