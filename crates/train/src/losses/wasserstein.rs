//! Wasserstein loss. The discriminator minimises `mean l(G(z)) - mean l(x)`, the generator `-mean l(G(z))`. The penalty on
//! slopes, or the clipping of weights, is in other files.

use burn::tensor::Tensor;

use super::{AdversarialLoss, DiscriminatorLoss, GeneratorLoss, Term, Victory, sum};

pub(super) struct Wasserstein;

impl AdversarialLoss for Wasserstein {
    fn discriminator(&self, real: Tensor<4>, generated: Tensor<4>) -> DiscriminatorLoss {
        sum(height(real, -1.0), height(generated, 1.0))
    }

    fn generator(&self, generated: Tensor<4>, _: &dyn Fn() -> Tensor<4>) -> GeneratorLoss {
        height(generated, -1.0).of_generator()
    }

    fn victory(&self) -> Victory {
        Victory::Slope
    }
}

/// `mean sign l`
pub(super) fn height(outputs: Tensor<4>, sign: f64) -> Term {
    let slope = outputs.ones_like().mul_scalar(sign);
    Term::mean(outputs.clone().mul_scalar(sign), slope, outputs)
}
