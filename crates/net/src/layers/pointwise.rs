//! Nonlinearities applied to each value separately.

use burn::tensor::Tensor;

use super::WithoutParameters;
use super::rows::times_rows;
pub(crate) use crate::activation::Pointwise;

impl WithoutParameters for Pointwise {
    /// The pre-activation.
    type Saved = Tensor<4>;

    fn forward(&self, x: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        (self.value(x.clone()), x)
    }

    fn pullback(&self, x: &Tensor<4>, dy: Tensor<4>) -> Tensor<4> {
        times_rows(dy, self.derivative(x.clone()))
    }

    fn pushforward(&self, x: &Tensor<4>, dx: Tensor<4>) -> Tensor<4> {
        times_rows(dx, self.derivative(x.clone()))
    }
}
