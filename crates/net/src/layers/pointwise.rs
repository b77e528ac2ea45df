//! Nonlinearities applied to each value separately.

use burn::tensor::Tensor;

use super::Rules;
use super::rows::times_rows;
pub(crate) use crate::activation::Pointwise;
use crate::network::{Mode, PlacedNetwork};
use crate::parameter_use::ParameterUse;

impl Rules for Pointwise {
    /// The pre-activation.
    type Saved = Tensor<4>;

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
}
