//! Relativistic pairing. The i-th real and the i-th generated image of a batch form a pair. The discriminator minimises
//! `mean softplus(-(l(x) - l(G(z))))`, the generator `mean softplus(-(l(G(z)) - l(x)))`.
//!
//! Source: Jolicoeur-Martineau, arXiv 1807.00734; pairs as in Huang et al., arXiv 2501.05441.

use burn::tensor::Tensor;

use super::{AdversarialLoss, DiscriminatorLoss, GeneratorLoss, Judged, Victory, sigmoid, softplus};

pub(super) struct Relativistic;

impl AdversarialLoss for Relativistic {
    fn discriminator(&self, real: Tensor<4>, generated: Tensor<4>) -> DiscriminatorLoss {
        let GeneratorLoss { value, cotangent } = above(real.clone(), generated.clone());
        DiscriminatorLoss {
            value,
            generated: Judged { cotangent: cotangent.clone().neg(), verdict: generated.mean() },
            real: Judged { cotangent, verdict: real.mean() },
        }
    }

    fn generator(&self, generated: Tensor<4>, real: &dyn Fn() -> Tensor<4>) -> GeneratorLoss {
        above(generated, real())
    }

    fn victory(&self) -> Victory {
        // At chance level the discriminator has equal outputs on both images of a pair.
        Victory::Loss { least: 0.0, undecided: std::f64::consts::LN_2 }
    }
}

/// `mean softplus(-(a - b))` and its derivative in a, `-sigmoid(b - a) / batch`; the derivative in b is the negative.
fn above(a: Tensor<4>, b: Tensor<4>) -> GeneratorLoss {
    let batch = a.dims()[0] as f64;
    let lead = b - a;
    GeneratorLoss { value: softplus(lead.clone()).mean(), cotangent: sigmoid(lead).neg().div_scalar(batch) }
}
