//! Non-saturating cross-entropy. The discriminator minimises `mean(softplus(l(x)) - t l(x)) + mean softplus(l(G(z)))`, where
//! t is the label of real images. The generator minimises `mean softplus(-l(G(z)))`.

use burn::tensor::Tensor;

use super::{AdversarialLoss, DiscriminatorLoss, GeneratorLoss, Term, Victory, sigmoid, softplus, sum};

pub(super) struct CrossEntropy {
    /// Label of real images: 1, or less with label smoothing.
    pub(super) label: f64,
}

impl AdversarialLoss for CrossEntropy {
    fn discriminator(&self, real: Tensor<4>, generated: Tensor<4>) -> DiscriminatorLoss {
        sum(term(real, self.label), term(generated, 0.0))
    }

    fn generator(&self, generated: Tensor<4>, _: &dyn Fn() -> Tensor<4>) -> GeneratorLoss {
        term(generated, 1.0).of_generator()
    }

    fn victory(&self) -> Victory {
        Victory::Loss { least: entropy(self.label), undecided: 2.0 * std::f64::consts::LN_2 }
    }
}

/// Binary cross-entropy of logits l with one target t for all: `mean(softplus(l) - t l)`; its derivative is
/// `(sigmoid(l) - t) / batch`.
fn term(logits: Tensor<4>, target: f64) -> Term {
    let batch = logits.dims()[0] as f64;
    let value = (softplus(logits.clone()) - logits.clone().mul_scalar(target)).mean();
    let probability = sigmoid(logits);
    let cotangent = probability.clone().sub_scalar(target).div_scalar(batch);
    Term { value, cotangent, verdict: probability.mean() }
}

/// Binary entropy of `p`: the smallest cross-entropy of real images with the label `p`.
fn entropy(p: f64) -> f64 {
    let term = |p: f64| if p > 0.0 { -p * p.ln() } else { 0.0 };
    term(p) + term(1.0 - p)
}
