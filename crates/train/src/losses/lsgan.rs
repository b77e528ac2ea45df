//! Least squares. The discriminator minimises `mean (l(x) - t)² / 2 + mean l(G(z))² / 2`, where t is the label of real
//! images. The generator minimises `mean (l(G(z)) - 1)² / 2`.

use burn::tensor::Tensor;

use super::{AdversarialLoss, DiscriminatorLoss, GeneratorLoss, Term, Victory, sum};

pub(super) struct LeastSquares {
    /// Label of real images: 1, or less with label smoothing.
    pub(super) label: f64,
}

impl AdversarialLoss for LeastSquares {
    fn discriminator(&self, real: Tensor<4>, generated: Tensor<4>) -> DiscriminatorLoss {
        sum(term(real, self.label), term(generated, 0.0))
    }

    fn generator(&self, generated: Tensor<4>, _: &dyn Fn() -> Tensor<4>) -> GeneratorLoss {
        term(generated, 1.0).of_generator()
    }

    fn victory(&self) -> Victory {
        // At chance level the discriminator's output is label / 2 for all images.
        Victory::Loss { least: 0.0, undecided: 0.25 * self.label * self.label }
    }
}

fn term(outputs: Tensor<4>, label: f64) -> Term {
    let off = outputs.clone().sub_scalar(label);
    Term::mean(off.clone().square().mul_scalar(0.5), off, outputs)
}
