//! Hinge loss. The discriminator minimises `mean max(0, 1 - l(x)) + mean max(0, 1 + l(G(z)))`, the generator
//! `-mean l(G(z))`.

use burn::tensor::Tensor;

use super::wasserstein::height;
use super::{AdversarialLoss, DiscriminatorLoss, GeneratorLoss, Term, Victory, sum};

pub(super) struct Hinge;

impl AdversarialLoss for Hinge {
    fn discriminator(&self, real: Tensor<4>, generated: Tensor<4>) -> DiscriminatorLoss {
        sum(margin(real, -1.0), margin(generated, 1.0))
    }

    fn generator(&self, generated: Tensor<4>, _: &dyn Fn() -> Tensor<4>) -> GeneratorLoss {
        height(generated, -1.0).of_generator()
    }

    fn victory(&self) -> Victory {
        Victory::Loss { least: 0.0, undecided: 2.0 }
    }
}

/// `mean max(0, 1 + sign l)`
pub(crate) fn margin(outputs: Tensor<4>, sign: f64) -> Term {
    let value = outputs.clone().mul_scalar(sign).add_scalar(1.0).clamp_min(0.0);
    let inside = value.clone().greater_elem(0.0).float().cast(outputs.dtype());
    Term::mean(value, inside.mul_scalar(sign), outputs)
}
