//! Nonlinearities applied to each value separately.

use burn::tensor::Tensor;

use super::{CotangentPair, WithoutParameters};
pub(crate) use crate::activation::Pointwise;

impl WithoutParameters for Pointwise {
    /// The pre-activation.
    type Saved = Tensor<4>;

    fn forward(&self, x: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        (self.value(x.clone()), x)
    }

    fn pullback(&self, x: &Tensor<4>, dy: Tensor<4>) -> Tensor<4> {
        self.times_derivative(x, dy)
    }

    fn pushforward(&self, x: &Tensor<4>, dx: Tensor<4>) -> Tensor<4> {
        self.times_derivative(x, dx)
    }

    fn pullback_tangent(
        &self,
        x: &Tensor<4>,
        dx: &Tensor<4>,
        CotangentPair { value, tangent }: CotangentPair,
    ) -> CotangentPair {
        let slope = self.derivative(x.clone());
        let by_slope = tangent.map(|tangent| tangent * slope.clone());
        let by_curve = self.second_derivative(x.clone()).map(|second| second * dx.clone() * value.clone());
        CotangentPair { value: value * slope, tangent: by_slope }.plus(by_curve)
    }
}
