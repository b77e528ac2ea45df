//! Reshapes and flattening, in channel, row, column order.

use burn::tensor::Tensor;
use fintan_config::Shape;

use super::{CotangentPair, Rules};
use crate::network::{Mode, PlacedNetwork};
use crate::parameter_use::ParameterUse;

/// A change of the shape that keeps the values.
#[derive(Debug)]
pub(crate) struct Reshape {
    pub(crate) from: Shape,
    pub(crate) to: Shape,
}

impl Rules for Reshape {
    type Saved = ();
    type Tangent = ();

    fn forward(&self, _: &PlacedNetwork, x: Tensor<4>, _: Mode) -> (Tensor<4>, ()) {
        (reshape(x, self.from, self.to), ())
    }

    fn pullback(
        &self,
        _: &PlacedNetwork,
        (): &(),
        dy: Tensor<4>,
        _: &mut dyn FnMut(ParameterUse),
        _: bool,
    ) -> Option<Tensor<4>> {
        Some(reshape(dy, self.to, self.from))
    }

    fn pushforward(&self, _: &PlacedNetwork, (): &(), dx: Tensor<4>, _: Option<&[Tensor<2>]>) -> Tensor<4> {
        reshape(dx, self.from, self.to)
    }

    fn pushforward_saved(&self, network: &PlacedNetwork, (): &(), dx: Tensor<4>) -> (Tensor<4>, ()) {
        (self.pushforward(network, &(), dx, None), ())
    }

    fn pullback_tangent(
        &self,
        _: &PlacedNetwork,
        (): &(),
        (): &(),
        dy: CotangentPair,
        _: &mut dyn FnMut(usize, Tensor<2>),
        _: bool,
    ) -> Option<CotangentPair> {
        Some(dy.map(|d| reshape(d, self.to, self.from)))
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
