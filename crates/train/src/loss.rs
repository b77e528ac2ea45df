//! Losses on the outputs of a discriminator, with their cotangents in closed form.

use burn::tensor::Tensor;
use fintan_config::Adversarial;

/// A loss and its derivative in the discriminator's outputs.
#[derive(Debug, Clone)]
pub struct Loss {
    /// Mean over the batch, one value.
    pub value: Tensor<1>,
    /// `∂loss/∂l`, shaped as the outputs l.
    pub cotangent: Tensor<4>,
    /// One value: mean of the probability 1 / (1 + exp(-l)) under cross-entropy, of l itself under the other losses.
    pub verdict: Tensor<1>,
}

/// Whose images a loss is on, and who minimises it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Side {
    /// The discriminator, on real images that are labelled with this.
    Real(f64),
    /// The discriminator, on generated images.
    Generated,
    /// The generator, on its images.
    Generator,
}

/// A side of a loss, see [`Adversarial`].
pub(crate) fn loss(function: Adversarial, side: Side, outputs: Tensor<4>) -> Loss {
    let label = match side {
        Side::Real(label) => label,
        Side::Generated => 0.0,
        Side::Generator => 1.0,
    };
    match (function, side) {
        (Adversarial::Bce, _) => binary_cross_entropy(outputs, label),
        (Adversarial::Lsgan, _) => {
            let off = outputs.clone().sub_scalar(label);
            of(off.clone().square().mul_scalar(0.5), off, outputs)
        }
        (Adversarial::Hinge, Side::Real(_)) => hinge(outputs, -1.0),
        (Adversarial::Hinge, Side::Generated) => hinge(outputs, 1.0),
        (Adversarial::WganGp(_) | Adversarial::WganClip(_), Side::Generated) => height(outputs, 1.0),
        (Adversarial::WganGp(_) | Adversarial::WganClip(_), Side::Real(_)) | (_, Side::Generator) => {
            height(outputs, -1.0)
        }
    }
}

/// `mean max(0, 1 + sign l)`
fn hinge(outputs: Tensor<4>, sign: f64) -> Loss {
    let value = outputs.clone().mul_scalar(sign).add_scalar(1.0).clamp_min(0.0);
    let inside = value.clone().greater_elem(0.0).float().cast(outputs.dtype());
    of(value, inside.mul_scalar(sign), outputs)
}

/// `mean sign l`
fn height(outputs: Tensor<4>, sign: f64) -> Loss {
    let slope = outputs.ones_like().mul_scalar(sign);
    of(outputs.clone().mul_scalar(sign), slope, outputs)
}

/// The mean of values whose slopes are given.
fn of(values: Tensor<4>, slopes: Tensor<4>, outputs: Tensor<4>) -> Loss {
    let batch = outputs.dims()[0] as f64;
    Loss { value: values.mean(), cotangent: slopes.div_scalar(batch), verdict: outputs.mean() }
}

/// Binary cross-entropy of logits l against one target t for all: `mean(softplus(l) - t l)`, derivative
/// `(sigmoid(l) - t) / batch`.
///
/// Real images have t = 1 (less with label smoothing), generated ones 0. The generator minimises it with t = 1, the
/// non-saturating loss of Goodfellow et al., arXiv 1406.2661.
#[must_use]
pub fn binary_cross_entropy(logits: Tensor<4>, target: f64) -> Loss {
    let batch = logits.dims()[0] as f64;
    // softplus(l) = max(l, 0) + ln(1 + exp(-|l|)): no overflow for any logit.
    let softplus = logits.clone().clamp_min(0.0) + logits.clone().abs().neg().exp().log1p();
    let value = (softplus - logits.clone().mul_scalar(target)).mean();
    let probability = sigmoid(logits);
    let cotangent = probability.clone().sub_scalar(target).div_scalar(batch);
    Loss { value, cotangent, verdict: probability.mean() }
}

/// 1 / (1 + exp(-l)), through tanh: no overflow for any logit.
pub(crate) fn sigmoid(logits: Tensor<4>) -> Tensor<4> {
    logits.mul_scalar(0.5).tanh().add_scalar(1.0).mul_scalar(0.5)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{DType, Device, TensorData};
    use fintan_config::{Clip, GradientPenalty};

    const OUTPUTS: [f64; 6] = [-30.0, -1.5, 0.0, 0.7, 40.0, 800.0];

    fn at(function: Adversarial, side: Side, outputs: &[f64]) -> Loss {
        let data = TensorData::new(outputs.to_vec(), [outputs.len(), 1, 1, 1]);
        loss(function, side, Tensor::from_data(data, (&Device::flex(), DType::F64)))
    }

    /// The formulas of [`Adversarial`], one output at a time.
    fn formula(function: Adversarial, side: Side, l: f64) -> f64 {
        let softplus = |l: f64| l.max(0.0) + (-l.abs()).exp().ln_1p();
        match (function, side) {
            (Adversarial::Bce, Side::Real(t)) => softplus(l) - t * l,
            (Adversarial::Bce, Side::Generated) => softplus(l),
            (Adversarial::Bce, Side::Generator) => softplus(-l),
            (Adversarial::Lsgan, Side::Real(t)) => (l - t).powi(2) / 2.0,
            (Adversarial::Lsgan, Side::Generated) => l * l / 2.0,
            (Adversarial::Lsgan, Side::Generator) => (l - 1.0).powi(2) / 2.0,
            (Adversarial::Hinge, Side::Real(_)) => (1.0 - l).max(0.0),
            (Adversarial::Hinge, Side::Generated) => (1.0 + l).max(0.0),
            (_, Side::Generated) => l,
            _ => -l,
        }
    }

    #[test]
    fn losses_are_their_formulas_and_their_cotangents_the_derivatives() {
        let functions = [
            Adversarial::Bce,
            Adversarial::Hinge,
            Adversarial::Lsgan,
            Adversarial::WganGp(GradientPenalty::default()),
            Adversarial::WganClip(Clip::default()),
        ];
        for function in functions {
            for side in [Side::Real(0.9), Side::Generated, Side::Generator] {
                let mean = |outputs: &[f64]| outputs.iter().map(|&l| formula(function, side, l)).sum::<f64>() / 6.0;
                let found = at(function, side, &OUTPUTS);
                let (value, want) = (found.value.into_scalar::<f64>(), mean(&OUTPUTS));
                assert!((value - want).abs() <= 1e-12 * want.abs(), "{function:?} {side:?}: {value} and {want}");
                let cotangent = found.cotangent.into_data().try_to_vec::<f64>().expect("f64");
                for i in 0..5 {
                    let h = 1e-5;
                    let shifted = |t: f64| {
                        let mut moved = OUTPUTS;
                        moved[i] += t;
                        mean(&moved)
                    };
                    let slope = (shifted(h) - shifted(-h)) / (2.0 * h);
                    assert!((cotangent[i] - slope).abs() < 1e-6, "{function:?} {side:?}, output {i}");
                }
            }
        }
    }
}
