//! Losses of supervised training: values on the host in f64, derivatives on the device.

use burn::tensor::Tensor;
use burn::tensor::activation::softmax;
use fintan_config::{LossFunction, TaskGoal};
use serde::Serialize;

use crate::losses::sigmoid;

/// Loss and accuracy of outputs.
///
/// ```
/// # use burn::tensor::{DType, Device};
/// # use fintan_config::Subject;
/// # use fintan_data::TaskData;
/// # use fintan_net::{Lowering, Placement};
/// # let text = "
/// #     network = { input = 4, outputs = 1, fc.widths = [8] }
/// #     data.teacher.degree = 1
/// #     task.supervised = { goal = 'regression', train = 8, test = 16, steps = 20, optimizer.sgd.rate = 0.1 }
/// # ";
/// # let Subject::Network(network) = Subject::parse("toy.toml", text, &[])? else { panic!("not a network") };
/// # let task = network.supervised().expect("a task");
/// # let data = TaskData::load(&task, None)?;
/// # let cpu = Placement { device: Device::flex(), dtype: DType::F32, lowering: Lowering::Host };
/// # let trainee = fintan_train::Supervised::new(&task, &cpu);
/// // `trainee` is a network with a regression task.
/// let score = trainee.score(&data.train);
/// let errors = trainee.outputs(&data.train).into_iter().zip(&data.train.targets).map(|(f, y)| f64::from(f - y).powi(2));
/// assert!((score.loss - errors.sum::<f64>() / (2.0 * 8.0)).abs() < 1e-6);
/// assert_eq!(score.accuracy, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Score {
    /// The loss, see [`LossFunction`].
    pub loss: f64,
    /// Fraction of samples classified correctly; `None` for regression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
}

/// Loss and accuracy of `outputs`, both `[count, width]` row-major.
pub(crate) fn score(outputs: &[f32], targets: &[f32], width: usize, goal: TaskGoal, loss: LossFunction) -> Score {
    let count = (outputs.len() / width).max(1) as f64;
    let pairs = || outputs.chunks_exact(width).zip(targets.chunks_exact(width));
    let each = |(f, y): (&[f32], &[f32])| match loss {
        LossFunction::Squared => {
            f.iter().zip(y).map(|(&f, &y)| (f64::from(f) - f64::from(y)).powi(2)).sum::<f64>() / 2.0
        }
        LossFunction::CrossEntropy if width == 1 => {
            let margin = f64::from(f[0]) * f64::from(y[0]);
            (-margin).max(0.0) + (-margin.abs()).exp().ln_1p()
        }
        LossFunction::CrossEntropy => {
            let largest = f64::from(f[class(f)]);
            let sum: f64 = f.iter().map(|&f| (f64::from(f) - largest).exp()).sum();
            largest + sum.ln() - f64::from(f[class(y)])
        }
    };
    let right = |(f, y): &(&[f32], &[f32])| class(f) == class(y);
    Score {
        loss: pairs().map(each).sum::<f64>() / count,
        accuracy: (goal == TaskGoal::Classification).then(|| pairs().filter(right).count() as f64 / count),
    }
}

/// The index of the first largest output; with a single output, 1 if it is positive and 0 otherwise.
fn class(outputs: &[f32]) -> usize {
    if let [one] = outputs {
        return usize::from(*one > 0.0);
    }
    (1..outputs.len()).fold(0, |best, i| if outputs[i] > outputs[best] { i } else { best })
}

/// `∂C/∂f` for outputs f and targets y, `[N, 1, 1, k]`:
///
/// | loss | derivative |
/// | --- | --- |
/// | squared | `(f - y) / N` |
/// | cross-entropy, k outputs | `(softmax(f) - y - 1/k) / N`; y + 1/k is one-hot |
/// | cross-entropy, one output | `(sigmoid(f) - (y + 1)/2) / N`; y is -1 or 1 |
pub(crate) fn cotangent(outputs: Tensor<4>, targets: Tensor<4>, loss: LossFunction) -> Tensor<4> {
    let [count, _, _, width] = outputs.dims();
    let difference = match loss {
        LossFunction::Squared => outputs - targets,
        LossFunction::CrossEntropy if width == 1 => sigmoid(outputs) - targets.add_scalar(1.0).mul_scalar(0.5),
        LossFunction::CrossEntropy => softmax(outputs, 3) - targets.add_scalar(1.0 / width as f64),
    };
    difference.div_scalar(count as f64)
}

/// `∂²C/∂f² ḟ` for outputs f and a tangent ḟ, `[N, 1, 1, k]`. With p the probability that a cross-entropy gives:
///
/// | loss | product |
/// | --- | --- |
/// | squared | `ḟ / N` |
/// | cross-entropy, k outputs | `p (ḟ - Σ_k p ḟ) / N`, with p = softmax(f) |
/// | cross-entropy, one output | `p (1 - p) ḟ / N`, with p = sigmoid(f) |
pub(crate) fn cotangent_tangent(outputs: Tensor<4>, tangent: Tensor<4>, loss: LossFunction) -> Tensor<4> {
    let [count, _, _, width] = outputs.dims();
    let product = match loss {
        LossFunction::Squared => tangent,
        LossFunction::CrossEntropy if width == 1 => {
            let p = sigmoid(outputs);
            p.clone() * p.neg().add_scalar(1.0) * tangent
        }
        LossFunction::CrossEntropy => {
            let p = softmax(outputs, 3);
            let mean = (p.clone() * tangent.clone()).sum_dim(3);
            p * (tangent - mean)
        }
    };
    product.div_scalar(count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{DType, Device, TensorData};

    const OUTPUTS: [f32; 6] = [0.3, -1.2, 2.5, -0.4, 0.9, 60.0];

    fn at(outputs: &[f32], targets: &[f32], width: usize, loss: LossFunction) -> (f64, Vec<f64>) {
        let tensor = |values: &[f32]| {
            let data = TensorData::new(values.to_vec(), [values.len() / width, 1, 1, width]);
            Tensor::<4>::from_data(data.convert_dtype(DType::F64), (&Device::flex(), DType::F64))
        };
        let slope = cotangent(tensor(outputs), tensor(targets), loss).into_data();
        let score = score(outputs, targets, width, TaskGoal::Classification, loss);
        (score.loss, slope.try_to_vec::<f64>().expect("f64"))
    }

    #[test]
    fn the_cotangent_is_the_derivative_of_the_loss() {
        let third = 1.0 / 3.0;
        let three = [1.0 - third, -third, -third, -third, 1.0 - third, -third];
        let one = [1.0, -1.0, 1.0, 1.0, -1.0, 1.0];
        for (width, targets, loss) in [
            (3, three, LossFunction::Squared),
            (1, one, LossFunction::Squared),
            (3, three, LossFunction::CrossEntropy),
            (1, one, LossFunction::CrossEntropy),
        ] {
            let (_, slopes) = at(&OUTPUTS, &targets, width, loss);
            for i in 0..OUTPUTS.len() {
                // A power of two, so that the shifted f32 values are accurate enough.
                let h = 2.0_f32.powi(-7);
                let moved = |by: f32| {
                    let mut outputs = OUTPUTS;
                    outputs[i] += by;
                    (at(&outputs, &targets, width, loss).0, f64::from(outputs[i]))
                };
                let ((up, right), (down, left)) = (moved(h), moved(-h));
                let slope = (up - down) / (right - left);
                assert!((slopes[i] - slope).abs() < 2e-5, "{loss:?}, {width}, {i}: {} and {slope}", slopes[i]);
            }
        }
    }

    #[test]
    fn the_second_derivative_is_that_of_the_cotangent() {
        let tensor = |values: &[f64], width: usize| {
            let data = TensorData::new(values.to_vec(), [values.len() / width, 1, 1, width]);
            Tensor::<4>::from_data(data, (&Device::flex(), DType::F64))
        };
        let outputs = [0.3, -1.2, 2.5, -0.4, 0.9, 6.0];
        let tangent = [1.0, -0.5, 0.25, 2.0, -1.5, 0.75];
        for (width, loss) in [
            (3, LossFunction::Squared),
            (1, LossFunction::Squared),
            (3, LossFunction::CrossEntropy),
            (1, LossFunction::CrossEntropy),
        ] {
            let targets = tensor(&[0.0; 6], width);
            let moved = |t: f64| {
                let outputs: Vec<f64> = outputs.iter().zip(tangent).map(|(f, d)| f + t * d).collect();
                cotangent(tensor(&outputs, width), targets.clone(), loss)
            };
            let h = 1e-3;
            let near = (moved(h) - moved(-h)).mul_scalar(8.0);
            let wanted = (near - (moved(2.0 * h) - moved(-2.0 * h))).div_scalar(12.0 * h);
            let found = cotangent_tangent(tensor(&outputs, width), tensor(&tangent, width), loss);
            let off = (found - wanted).abs().max().into_scalar::<f64>();
            assert!(off < 1e-10, "{loss:?}, {width}: {off:e}");
        }
    }

    #[test]
    fn losses_are_their_formulas() {
        let (squared, _) = at(&[0.5, -0.5, 2.0, 0.0], &[1.0, 0.0, 0.0, 1.0], 2, LossFunction::Squared);
        assert!((squared - (0.25 + 0.25 + 4.0 + 1.0) / 4.0).abs() < 1e-12);
        let (even, _) = at(&[0.0; 4], &[0.5, -0.5, -0.5, 0.5], 2, LossFunction::CrossEntropy);
        assert!((even - 2.0_f64.ln()).abs() < 1e-12);
        let (far, _) = at(&[-800.0, 800.0], &[1.0, 1.0], 1, LossFunction::CrossEntropy);
        assert!((far - 400.0).abs() < 1e-9);
    }

    #[test]
    fn accuracy_counts_signs_and_largest_outputs() {
        let accuracy = |outputs: &[f32], targets: &[f32], width| {
            score(outputs, targets, width, TaskGoal::Classification, LossFunction::Squared).accuracy
        };
        assert_eq!(accuracy(&[0.1, -3.0, 2.0, -1.0], &[1.0, 1.0, 1.0, -1.0], 1), Some(0.75));
        assert_eq!(accuracy(&[0.1, 0.0, 0.3, 0.5, 0.9, -1.0], &[-0.3, -0.3, 0.6, 0.6, -0.3, -0.3], 3), Some(0.5));
        assert_eq!(score(&[1.0], &[1.0], 1, TaskGoal::Regression, LossFunction::Squared).accuracy, None);
    }
}
