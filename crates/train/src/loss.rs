//! Losses on logits, with their cotangents in closed form.

use burn::tensor::Tensor;

/// A loss and its derivative in the logits.
#[derive(Debug, Clone)]
pub struct Loss {
    /// Mean over the batch, one value.
    pub value: Tensor<1>,
    /// `∂loss/∂logit`, shaped as the logits.
    pub cotangent: Tensor<4>,
    /// Mean of the probability 1 / (1 + exp(-logit)), one value.
    pub probability: Tensor<1>,
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
    Loss { value, cotangent, probability: probability.mean() }
}

/// 1 / (1 + exp(-l)), through tanh: no overflow for any logit.
pub(crate) fn sigmoid(logits: Tensor<4>) -> Tensor<4> {
    logits.mul_scalar(0.5).tanh().add_scalar(1.0).mul_scalar(0.5)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{DType, Device, TensorData};

    #[test]
    fn cross_entropy_is_its_formula_and_its_cotangent_its_derivative() {
        let device = Device::flex();
        let at = |logits: &[f64]| {
            let data = TensorData::new(logits.to_vec(), [logits.len(), 1, 1, 1]);
            binary_cross_entropy(Tensor::from_data(data, (&device, DType::F64)), 0.9)
        };
        let logits = [-30.0, -1.5, 0.0, 0.7, 40.0, 800.0];
        let want: f64 =
            logits.iter().map(|&l: &f64| l.max(0.0) + (-l.abs()).exp().ln_1p() - 0.9 * l).sum::<f64>() / 6.0;
        let loss = at(&logits);
        assert!((loss.value.into_scalar::<f64>() - want).abs() < 1e-12 * want.abs());
        let cotangent = loss.cotangent.into_data().try_to_vec::<f64>().expect("f64");
        for i in 0..5 {
            let h = 1e-5;
            let shifted = |t: f64| {
                let mut moved = logits;
                moved[i] += t;
                at(&moved).value.into_scalar::<f64>()
            };
            assert!((cotangent[i] - (shifted(h) - shifted(-h)) / (2.0 * h)).abs() < 1e-7, "logit {i}");
        }
    }
}
