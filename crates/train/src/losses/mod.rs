//! Losses of GANs as functions of the discriminator's outputs, one file for each loss, with cotangents in closed form.
//!
//! The properties of a loss that other parts of the program need (name, labels, penalties, clipping, publications) are in
//! [`LossProperties`](fintan_config::LossProperties).

mod bce;
mod hinge;
mod lsgan;
mod relativistic;
mod wasserstein;

use burn::tensor::Tensor;
use fintan_config::{Adversarial, Settings};

#[cfg(test)]
pub(crate) use hinge::margin;

/// The arithmetic of a loss on the outputs l of the discriminator, shaped `[batch, 1, 1, 1]`.
pub(crate) trait AdversarialLoss {
    /// The loss of the discriminator, given l(x) on real images and l(G(z)) on generated ones.
    fn discriminator(&self, real: Tensor<4>, generated: Tensor<4>) -> DiscriminatorLoss;

    /// The loss of the generator, given l(G(z)); `real` computes l(x) on the real images of the step's last batch.
    fn generator(&self, generated: Tensor<4>, real: &dyn Fn() -> Tensor<4>) -> GeneratorLoss;

    /// The number that shows whether the discriminator has won.
    fn victory(&self) -> Victory;
}

/// The arithmetic of the loss of an experiment.
pub(crate) fn adversarial(settings: &Settings) -> Box<dyn AdversarialLoss> {
    let label = 1.0 - settings.train.label_smoothing;
    match settings.loss.function {
        Adversarial::Bce => Box::new(bce::CrossEntropy { label }),
        Adversarial::Hinge => Box::new(hinge::Hinge),
        Adversarial::Lsgan => Box::new(lsgan::LeastSquares { label }),
        Adversarial::WganGp(_) | Adversarial::WganClip(_) => Box::new(wasserstein::Wasserstein),
        Adversarial::Relativistic => Box::new(relativistic::Relativistic),
    }
}

/// The logged number that shows whether a discriminator has won.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Victory {
    /// Its loss, between the minimum `least` and the loss at chance level `undecided`.
    Loss { least: f64, undecided: f64 },
    /// Its slope at generated images, divided by the mean slope from there to real images; for losses without a scale.
    Slope,
}

/// The loss of a discriminator, and its derivatives in the outputs on real and on generated images.
#[derive(Debug, Clone)]
pub(crate) struct DiscriminatorLoss {
    /// A single value.
    pub(crate) value: Tensor<1>,
    /// Part of real images.
    pub(crate) real: Judged,
    /// Part of generated images.
    pub(crate) generated: Judged,
}

/// Derivative and mean output of a discriminator on images of one kind.
#[derive(Debug, Clone)]
pub(crate) struct Judged {
    /// `∂loss/∂l`, in the shape of the outputs l.
    pub(crate) cotangent: Tensor<4>,
    /// A single value: mean of the probability 1 / (1 + exp(-l)) under cross-entropy, mean of l under the other losses.
    pub(crate) verdict: Tensor<1>,
}

/// The loss of a generator and its derivative in the discriminator's outputs on generated images.
#[derive(Debug, Clone)]
pub(crate) struct GeneratorLoss {
    /// A single value.
    pub(crate) value: Tensor<1>,
    /// `∂loss/∂l`, in the shape of the outputs l.
    pub(crate) cotangent: Tensor<4>,
}

/// A loss that depends on images of one kind.
#[derive(Debug, Clone)]
pub(crate) struct Term {
    /// Mean over the batch, a single value.
    pub(crate) value: Tensor<1>,
    /// `∂value/∂l`, in the shape of the outputs l.
    pub(crate) cotangent: Tensor<4>,
    /// See [`Judged::verdict`].
    verdict: Tensor<1>,
}

impl Term {
    /// The mean of `values`, whose derivatives are `slopes`.
    fn mean(values: Tensor<4>, slopes: Tensor<4>, outputs: Tensor<4>) -> Self {
        let batch = outputs.dims()[0] as f64;
        Self { value: values.mean(), cotangent: slopes.div_scalar(batch), verdict: outputs.mean() }
    }

    fn of_generator(self) -> GeneratorLoss {
        GeneratorLoss { value: self.value, cotangent: self.cotangent }
    }
}

/// The sum of a term on real images and one on generated images.
fn sum(real: Term, generated: Term) -> DiscriminatorLoss {
    let judged = |term: Term| Judged { cotangent: term.cotangent, verdict: term.verdict };
    DiscriminatorLoss {
        value: real.value.clone() + generated.value.clone(),
        real: judged(real),
        generated: judged(generated),
    }
}

/// ln(1 + exp l) = max(l, 0) + ln(1 + exp(-|l|)): no overflow for any l.
fn softplus(logits: Tensor<4>) -> Tensor<4> {
    logits.clone().clamp_min(0.0) + logits.abs().neg().exp().log1p()
}

/// 1 / (1 + exp(-l)), computed with tanh: no overflow for any logit.
pub(crate) fn sigmoid(logits: Tensor<4>) -> Tensor<4> {
    logits.mul_scalar(0.5).tanh().add_scalar(1.0).mul_scalar(0.5)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{DType, Device, TensorData};
    use fintan_config::Experiment;

    const REAL: [f64; 6] = [-30.0, -1.5, 0.0, 0.7, 40.0, 800.0];
    const GENERATED: [f64; 6] = [2.0, -0.4, 0.1, 900.0, -25.0, -2.0];
    /// Label of real images, for losses with labels.
    const LABEL: f64 = 0.9;

    fn loss(function: Adversarial) -> Box<dyn AdversarialLoss> {
        let text = "[data.shapes]\n[generator]\noptimizer.adam.rate = 1e-3\nfc.widths = [4]\n\
                    [discriminator]\noptimizer.adam.rate = 1e-3\nfc.widths = [4]\n";
        let mut settings = Experiment::parse("test", text, &[]).expect("sound").settings;
        settings.loss.function = function;
        settings.train.label_smoothing = 1.0 - LABEL;
        adversarial(&settings)
    }

    fn tensor(outputs: &[f64]) -> Tensor<4> {
        let data = TensorData::new(outputs.to_vec(), [outputs.len(), 1, 1, 1]);
        Tensor::from_data(data, (&Device::flex(), DType::F64))
    }

    /// The formulas of [`Adversarial`] for discriminator and generator, for one pair of outputs.
    fn formulas(function: Adversarial, x: f64, g: f64) -> [f64; 2] {
        let softplus = |l: f64| l.max(0.0) + (-l.abs()).exp().ln_1p();
        match function {
            Adversarial::Bce => [softplus(x) - LABEL * x + softplus(g), softplus(-g)],
            Adversarial::Lsgan => [(x - LABEL).powi(2) / 2.0 + g * g / 2.0, (g - 1.0).powi(2) / 2.0],
            Adversarial::Hinge => [(1.0 - x).max(0.0) + (1.0 + g).max(0.0), -g],
            Adversarial::WganGp(_) | Adversarial::WganClip(_) => [g - x, -g],
            Adversarial::Relativistic => [softplus(g - x), softplus(x - g)],
        }
    }

    #[test]
    fn losses_are_their_formulas_and_their_cotangents_the_derivatives() {
        let numbers = |t: Tensor<4>| t.into_data().try_to_vec::<f64>().expect("f64");
        for function in Adversarial::all() {
            let mean = |of: usize, real: &[f64], generated: &[f64]| {
                real.iter().zip(generated).map(|(&x, &g)| formulas(function, x, g)[of]).sum::<f64>() / 6.0
            };
            let loss = loss(function);
            let discriminator = loss.discriminator(tensor(&REAL), tensor(&GENERATED));
            let generator = loss.generator(tensor(&GENERATED), &|| tensor(&REAL));
            for (of, value) in [discriminator.value, generator.value].into_iter().enumerate() {
                let (value, want) = (value.into_scalar::<f64>(), mean(of, &REAL, &GENERATED));
                assert!((value - want).abs() <= 1e-12 * want.abs(), "{function:?} {of}: {value} and {want}");
            }
            let found = [
                (0, true, numbers(discriminator.real.cotangent)),
                (0, false, numbers(discriminator.generated.cotangent)),
                (1, false, numbers(generator.cotangent)),
            ];
            for (of, on_real, cotangent) in found {
                for (i, cotangent) in cotangent.into_iter().enumerate() {
                    let h = 1e-5;
                    let shifted = |t: f64| {
                        let (on_x, on_g) = if on_real { (t, 0.0) } else { (0.0, t) };
                        formulas(function, REAL[i] + on_x, GENERATED[i] + on_g)[of] / 6.0
                    };
                    let slope = (shifted(h) - shifted(-h)) / (2.0 * h);
                    let off = (cotangent - slope).abs();
                    assert!(off < 1e-6 * (1.0 + slope.abs()), "{function:?} {of} {on_real} {i}: {cotangent} {slope}");
                }
            }
        }
    }

    /// Compares with the losses of a discriminator at chance level and of one that is certain.
    #[test]
    fn victories_are_those_of_the_formulas() {
        for function in Adversarial::all() {
            let Victory::Loss { least, undecided } = loss(function).victory() else {
                assert_eq!(formulas(function, 1e9, -1e9)[0], -2e9, "{function:?}: without bound");
                continue;
            };
            let grid = || (-4000..=4000).map(|i| f64::from(i) / 100.0);
            let both = grid().map(|l| formulas(function, l, l)[0]).fold(f64::INFINITY, f64::min);
            // Under cross-entropy with smooth labels, the loss at chance level is that of outputs 0, as at the start of
            // training.
            let even = if function == Adversarial::Bce { formulas(function, 0.0, 0.0)[0] } else { both };
            assert!((undecided - even).abs() < 1e-4, "{function:?}: {undecided} and {even}");
            let apart = grid().map(|l| formulas(function, l, -40.0)[0]);
            let lowest = apart.chain(grid().map(|l| formulas(function, l, 0.0)[0])).fold(f64::INFINITY, f64::min);
            assert!((least - lowest).abs() < 1e-4, "{function:?}: {least} and {lowest}");
        }
    }
}
