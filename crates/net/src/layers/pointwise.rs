//! Nonlinearities applied to each value separately.

use burn::tensor::Tensor;

use super::rows::times_rows;
use super::{CotangentPair, Rules};
pub(crate) use crate::activation::Pointwise;
use crate::network::{Mode, PlacedNetwork};
use crate::parameter_use::ParameterUse;

impl Rules for Pointwise {
    /// The pre-activation.
    type Saved = Tensor<4>;

    /// dx
    type Tangent = Tensor<4>;

    fn forward(&self, _: &PlacedNetwork, x: Tensor<4>, _: Mode) -> (Tensor<4>, Tensor<4>) {
        (self.value(x.clone()), x)
    }

    fn pullback(
        &self,
        _: &PlacedNetwork,
        x: &Tensor<4>,
        dy: Tensor<4>,
        _: &mut dyn FnMut(ParameterUse),
        _: bool,
    ) -> Option<Tensor<4>> {
        Some(times_rows(dy, self.derivative(x.clone())))
    }

    fn pushforward(&self, _: &PlacedNetwork, x: &Tensor<4>, dx: Tensor<4>, _: Option<&[Tensor<2>]>) -> Tensor<4> {
        times_rows(dx, self.derivative(x.clone()))
    }

    fn pushforward_saved(&self, network: &PlacedNetwork, x: &Tensor<4>, dx: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        (self.pushforward(network, x, dx.clone(), None), dx)
    }

    fn pullback_tangent(
        &self,
        _: &PlacedNetwork,
        x: &Tensor<4>,
        dx: &Tensor<4>,
        CotangentPair { value, tangent }: CotangentPair,
        _: &mut dyn FnMut(usize, Tensor<2>),
        _: bool,
    ) -> Option<CotangentPair> {
        let slope = self.derivative(x.clone());
        let by_slope = tangent.map(|tangent| tangent * slope.clone());
        let by_curve = self.second_derivative(x.clone()).map(|second| second * dx.clone() * value.clone());
        let tangent = match (by_slope, by_curve) {
            (Some(a), Some(b)) => Some(a + b),
            (one, other) => one.or(other),
        };
        Some(CotangentPair { value: value * slope, tangent })
    }
}
