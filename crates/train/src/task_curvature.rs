//! Products with the second derivatives of a task's loss in the parameters of a network.

use burn::tensor::Tensor;
use fintan_config::LossFunction;
use fintan_data::Examples;
use fintan_net::{Cotangents, Mode, PlacedNetwork, Tape};

use crate::task_loss::{cotangent, cotangent_tangent};

/// A matrix of second derivatives of a loss C(f(θ)), where J = ∂f/∂θ (Jacot et al., arXiv 1910.02875, who write H = I + S).
///
/// ```
/// use fintan_train::Curvature;
///
/// assert_eq!(Curvature::ALL.map(Curvature::name), ["Gauss-Newton matrix", "functional part", "Hessian"]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curvature {
    /// The Gauss-Newton matrix Jᵀ (∂²C/∂f²) J, which has no negative eigenvalues if the loss is convex in the outputs.
    GaussNewton,
    /// The functional part S = Σ_k ∂C/∂f_k ∂²f_k/∂θ², from the second derivatives of the network.
    Functional,
    /// The Hessian ∂²C/∂θ² = Jᵀ (∂²C/∂f²) J + S.
    Hessian,
}

impl Curvature {
    /// All matrices: the two parts, and their sum.
    pub const ALL: [Self; 3] = [Self::GaussNewton, Self::Functional, Self::Hessian];

    /// The name of the matrix.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::GaussNewton => "Gauss-Newton matrix",
            Self::Functional => "functional part",
            Self::Hessian => "Hessian",
        }
    }
}

/// The loss of a task over samples, at the present parameters of a network.
///
/// The loss C is that of training, a mean over samples, see [`LossFunction`]. A product is a pushforward and a pullback, or for
/// the functional part the tangent of a pullback ([`PlacedNetwork::pullback_parameters_tangent`]); no matrix is formed.
///
/// ```
/// # use burn::tensor::{DType, Device, Tensor, TensorData};
/// # use fintan_config::{Architecture, Layer, LossFunction, Parametrization, Shape};
/// # use fintan_data::Examples;
/// # use fintan_net::{Lowering, Mode, PlacedNetwork, Placement};
/// use fintan_train::{Curvature, TaskCurvature};
///
/// # let layers = [Layer::Dense(1.into()), Layer::Dense(1.into())];
/// # let architecture = Architecture::new(Shape::vector(1), &layers, Parametrization::default())?;
/// # let cpu = Placement { device: Device::flex(), dtype: DType::F64, lowering: Lowering::Host };
/// # let mut ones = |[rows, columns]: [usize; 2], _: f64| TensorData::new(vec![1.0; rows * columns], [rows, columns]);
/// # let network = PlacedNetwork::drawn(&architecture, &cpu, &mut ones);
/// // `network` is f = v (w x + b) + c, and all parameters are 1. With x = 2, f = 4 and C = (f - 3)² / 2.
/// let examples = Examples { inputs: vec![2.0], targets: vec![3.0], input: Shape::vector(1), outputs: 1 };
/// let loss = TaskCurvature::new(network, &examples, Mode::Train, LossFunction::Squared, 1);
/// let column = |of| -> Vec<f64> {
///     let along_w = [1.0, 0.0, 0.0, 0.0].map(|d| Tensor::<2>::from_data([[d]], (&cpu.device, cpu.dtype)));
///     loss.times(of, &along_w).into_iter().map(|each| each.into_scalar()).collect()
/// };
/// // J = (v x, v, w x + b, 1) = (2, 1, 3, 1), and ∂²f/∂w∂v = x.
/// assert_eq!(column(Curvature::GaussNewton), [4.0, 2.0, 6.0, 2.0]);
/// assert_eq!(column(Curvature::Functional), [0.0, 0.0, 2.0, 0.0]);
/// assert_eq!(column(Curvature::Hessian), [4.0, 2.0, 8.0, 2.0]);
/// # Ok::<(), fintan_config::ArchitectureError>(())
/// ```
#[derive(Debug)]
pub struct TaskCurvature {
    network: PlacedNetwork,
    mode: Mode,
    loss: LossFunction,
    pieces: Vec<Piece>,
    samples: usize,
}

/// Samples of one pass through the network.
#[derive(Debug)]
struct Piece {
    inputs: Tensor<4>,
    targets: Tensor<4>,
    /// Kept only if it is that of the whole batch.
    passed: Option<(Tensor<4>, Tape)>,
}

impl TaskCurvature {
    /// The loss of a network over samples. Passes are of at most `samples` samples; if batch norms use the statistics of the
    /// batch (`mode`), all samples are one pass.
    ///
    /// # Panics
    /// If there are no samples, `samples` is 0, or the samples do not fit the network.
    #[must_use]
    pub fn new(network: PlacedNetwork, examples: &Examples, mode: Mode, loss: LossFunction, samples: usize) -> Self {
        let (placement, count) = (network.placement(), examples.len());
        assert!(count > 0 && samples > 0, "samples of the loss");
        let coupled = mode == Mode::Train && network.architecture().is_batch_coupled();
        let each = if coupled { count } else { samples.min(count) };
        let targets = examples.targets(&placement.device, placement.dtype);
        let pieces = (0..count).step_by(each).map(|start| {
            let end = count.min(start + each);
            let inputs = examples.batch(start..end, &placement.device, placement.dtype);
            let passed = (each == count).then(|| network.forward(inputs.clone(), mode));
            Piece { inputs, targets: targets.clone().narrow(0, start, end - start), passed }
        });
        let pieces = pieces.collect();
        Self { network, mode, loss, pieces, samples: count }
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &PlacedNetwork {
        &self.network
    }

    /// Number of samples.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// The gradient of the loss, ∂C/∂θ, one matrix for each parameter.
    #[must_use]
    pub fn gradient(&self) -> Cotangents {
        self.summed(|piece, outputs, tape| {
            let dy = cotangent(outputs.clone(), piece.targets.clone(), self.loss);
            self.network.pullback_parameters(tape, dy)
        })
    }

    /// The product of a matrix with a tangent dθ of the parameters.
    ///
    /// # Shapes
    /// - `d_parameters`: one matrix for each parameter, and so is the result
    ///
    /// # Panics
    /// If the shapes differ from those of the parameters.
    #[must_use]
    pub fn times(&self, of: Curvature, d_parameters: &[Tensor<2>]) -> Cotangents {
        self.summed(|piece, outputs, tape| {
            let still = piece.inputs.zeros_like();
            let bent = |tangent| cotangent_tangent(outputs.clone(), tangent, self.loss);
            if of == Curvature::GaussNewton {
                let tangent = self.network.pushforward(tape, still, Some(d_parameters));
                return self.network.pullback_parameters(tape, bent(tangent));
            }
            let (tangent, tangents) = self.network.pushforward_taped(tape, still, Some(d_parameters));
            let dy = cotangent(outputs.clone(), piece.targets.clone(), self.loss);
            let dy_tangent = (of == Curvature::Hessian).then(|| bent(tangent));
            self.network.pullback_parameters_tangent(tape, &tangents, dy, dy_tangent)
        })
    }

    /// The second derivatives of the loss in the outputs, ∂²C/∂f², of each sample: `[N, k, k]`, row-major.
    #[must_use]
    pub fn of_outputs(&self) -> Vec<f64> {
        let mut all = Vec::new();
        for piece in &self.pieces {
            let (outputs, _) = self.passed(piece);
            let [n, h, w, width] = outputs.dims();
            let columns: Vec<Vec<f64>> = (0..width)
                .map(|k| {
                    let unit = outputs.zeros_like().slice_fill([0..n, 0..h, 0..w, k..k + 1], 1.0);
                    let column = cotangent_tangent(outputs.clone(), unit, self.loss).mul_scalar(self.share(piece));
                    column.into_data().iter::<f64>().collect()
                })
                .collect();
            all.extend((0..n).flat_map(|i| {
                let columns = &columns;
                (0..width).flat_map(move |row| columns.iter().map(move |column| column[i * width + row]))
            }));
        }
        all
    }

    /// The sum of `each` over pieces, each with its share of the samples.
    fn summed(&self, each: impl Fn(&Piece, &Tensor<4>, &Tape) -> Cotangents) -> Cotangents {
        let parts = self.pieces.iter().map(|piece| {
            let share = self.share(piece);
            let (outputs, tape) = self.passed(piece);
            let part = each(piece, &outputs, &tape);
            part.into_iter().map(|part| if share < 1.0 { part.mul_scalar(share) } else { part }).collect()
        });
        let sum = |sum: Cotangents, more: Cotangents| sum.into_iter().zip(more).map(|(a, b)| a + b).collect();
        parts.reduce(sum).expect("there are samples")
    }

    fn passed(&self, piece: &Piece) -> (Tensor<4>, Tape) {
        piece.passed.clone().unwrap_or_else(|| self.network.forward(piece.inputs.clone(), self.mode))
    }

    /// The share of a piece in the mean over samples.
    fn share(&self, piece: &Piece) -> f64 {
        piece.inputs.dims()[0] as f64 / self.samples as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::differences::{dot, placement, spread};
    use burn::tensor::TensorData;
    use fintan_config::{Architecture, Layer, Shape};
    use fintan_net::{Lowering, Placement};
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha20Rng;

    const LOSSES: [LossFunction; 2] = [LossFunction::Squared, LossFunction::CrossEntropy];

    /// Networks of 2x6x6 images in front of the last layer, with every kind of layer that has rules.
    const LAYERS: [&str; 5] = [
        r#"{"flatten":{}},{"dense":{"out":5}},{"activation":{"function":"tanh"}},{"layer_norm":{"eps":0.01}}"#,
        r#"{"conv":{"out":4,"kernel":3,"padding":1}},{"batch_norm":{"eps":0.01}},{"activation":{"function":"mish"}},
           {"residual":{"layers":[{"batch_norm":{}},{"activation":{"function":"gelu_tanh"}},{"conv":{"out":4,"kernel":1}}],
           "shortcut":[{"conv":{"out":4,"kernel":1}}]}},{"avg_pool":{"window":2}},{"flatten":{}}"#,
        r#"{"conv":{"out":3,"kernel":4,"stride":2,"padding":1}},{"activation":{"function":"relu","scaling":"normalized"}},
           {"deconv":{"out":2,"kernel":4,"stride":2,"padding":1}},{"activation":{"function":"sin"}},{"flatten":{}}"#,
        r#"{"flatten":{}},{"dense":{"out":6}},{"activation":{"function":"leaky_relu","slope":0.2}},{"dense":{"out":4}},
           {"activation":{"function":"softplus"}}"#,
        r#"{"pad":{"before":1,"after":1,"mode":"periodic"}},{"conv":{"out":3,"kernel":3}},{"layer_norm":{"over":"features","eps":0.01}},
           {"activation":{"function":"silu"}},{"flatten":{}}"#,
    ];

    fn architecture(i: usize, outputs: usize) -> Architecture {
        let layers = format!(r#"[{},{{"dense":{{"out":{outputs}}}}}]"#, LAYERS[i]);
        let layers: Vec<Layer> = serde_json::from_str(&layers).expect("layers");
        let parametrizations =
            [r#"{"standard":{"init":"he","bias_std":0.3}}"#, r#"{"ntk":{"beta":0.2}}"#, r#"{"graph":{"beta":0.2}}"#];
        let parametrization = serde_json::from_str(parametrizations[i % 3]).expect("a parametrization");
        Architecture::new(Shape::image(2, 6, 6), &layers, parametrization).expect("sound")
    }

    fn examples(count: usize, outputs: usize) -> Examples {
        let inputs = (0..count * 72).map(|i| ((i * i) % 37) as f32 / 18.0 - 1.0).collect();
        let third = 1.0 / outputs as f32;
        let target = |i: usize, k: usize| match outputs {
            1 => [-1.0, 1.0][i % 2],
            _ => f32::from(u8::from(i % outputs == k)) - third,
        };
        let targets = (0..count).flat_map(|i| (0..outputs).map(move |k| target(i, k))).collect();
        Examples { inputs, targets, input: Shape::image(2, 6, 6), outputs }
    }

    /// A network with parameters away from their start.
    fn network(architecture: &Architecture, to: &Placement) -> PlacedNetwork {
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let network = PlacedNetwork::init(architecture, &mut rng, to);
        let moved =
            network.parameters().into_iter().map(|p| p.clone() + spread(p.dims(), &mut rng, to).mul_scalar(0.2));
        network.with_parameters(moved.collect())
    }

    fn direction(network: &PlacedNetwork, seed: u64) -> Cotangents {
        let (mut rng, to) = (ChaCha20Rng::seed_from_u64(seed), network.placement());
        network.parameters().iter().map(|p| spread(p.dims(), &mut rng, &to)).collect()
    }

    fn flat(all: Cotangents) -> Vec<f64> {
        all.into_iter().flat_map(|each| each.into_data().iter::<f64>().collect::<Vec<_>>()).collect()
    }

    fn off(found: &[f64], wanted: &[f64]) -> f64 {
        let size = wanted.iter().fold(1.0_f64, |m, w| m.max(w.abs()));
        found.iter().zip(wanted).map(|(f, w)| (f - w).abs()).fold(0.0, f64::max) / size
    }

    /// Calls a check with every architecture, loss and number of outputs.
    fn each(mut check: impl FnMut(&str, &Architecture, &Examples, LossFunction)) {
        for i in 0..LAYERS.len() {
            for outputs in [1, 3] {
                for loss in LOSSES {
                    let name = format!("{i}, {outputs} outputs, {loss:?}");
                    check(&name, &architecture(i, outputs), &examples(4, outputs), loss);
                }
            }
        }
    }

    /// The products with the Hessian against autodiff through the gradient.
    #[test]
    fn products_with_the_hessian_are_those_of_autodiff() {
        each(|name, architecture, examples, loss| {
            for lowering in [Lowering::Views, Lowering::Host, Lowering::Native] {
                let to = Placement { lowering, ..placement() };
                let plain = network(architecture, &to);
                let along = direction(&plain, 6);
                let taped = plain.moved(&Placement { device: to.device.clone().autodiff(), ..to.clone() });
                let leaves: Vec<_> = plain.parameters().into_iter().map(|p| p.autodiff().require_grad()).collect();
                let taped = TaskCurvature::new(taped.with_parameters(leaves.clone()), examples, Mode::Train, loss, 9);
                let slope = taped.gradient().into_iter().zip(&along).map(|(g, d)| (g * d.clone().autodiff()).sum());
                let mut second = slope.reduce(|a, b| a + b).expect("parameters").backward();
                let each = leaves.iter().zip(plain.parameters());
                let wanted =
                    each.map(|(leaf, p)| leaf.grad_remove(&mut second).unwrap_or_else(|| p.zeros_like())).collect();
                let found = TaskCurvature::new(plain, examples, Mode::Train, loss, 9).times(Curvature::Hessian, &along);
                let off = off(&flat(found), &flat(wanted));
                assert!(off < 1e-10, "{name}, {lowering:?}: {off:e}");
            }
        });
    }

    /// The products with the Hessian against differences of the gradient, which the pullback gives.
    #[test]
    fn products_with_the_hessian_are_what_differences_show() {
        each(|name, architecture, examples, loss| {
            let network = network(architecture, &placement());
            let along = direction(&network, 6);
            let gradient = |t: f64| {
                let moved = network.parameters().into_iter().zip(&along).map(|(p, d)| p + d.clone().mul_scalar(t));
                let moved = network.with_parameters(moved.collect());
                flat(TaskCurvature::new(moved, examples, Mode::Train, loss, 9).gradient())
            };
            let h = 1e-4;
            let [up, down, far_up, far_down] = [h, -h, 2.0 * h, -2.0 * h].map(gradient);
            let wanted: Vec<f64> =
                (0..up.len()).map(|i| (8.0 * (up[i] - down[i]) - (far_up[i] - far_down[i])) / (12.0 * h)).collect();
            let curvature = TaskCurvature::new(network.clone(), examples, Mode::Train, loss, 9);
            let off = off(&flat(curvature.times(Curvature::Hessian, &along)), &wanted);
            assert!(off < 1e-7, "{name}: {off:e}");
        });
    }

    /// The Gauss-Newton matrix against Jᵀ A J, with one pullback for each row of J and A from the formulas of the losses.
    #[test]
    fn the_gauss_newton_matrix_is_that_of_the_jacobian() {
        each(|name, architecture, examples, loss| {
            let network = network(architecture, &placement());
            let (count, width) = (examples.len(), examples.outputs);
            let to = network.placement();
            let (outputs, tape) = network.forward(examples.batch(0..count, &to.device, to.dtype), Mode::Train);
            let f = outputs.clone().into_data().iter::<f64>().collect::<Vec<_>>();
            let jacobian: Vec<Vec<f64>> = (0..count * width)
                .map(|row| {
                    let unit = (0..count * width).map(|i| f64::from(u8::from(i == row))).collect();
                    let unit = TensorData::new(unit, [count, 1, 1, width]);
                    flat(network.pullback_parameters(&tape, Tensor::from_data(unit, (&to.device, to.dtype))))
                })
                .collect();
            let second = |n: usize, k: usize, l: usize| -> f64 {
                let same = f64::from(u8::from(k == l));
                let f = &f[n * width..(n + 1) * width];
                let sum: f64 = f.iter().map(|f| f.exp()).sum();
                let each = match loss {
                    LossFunction::Squared => same,
                    LossFunction::CrossEntropy if width == 1 => 0.25 / (0.5 * f[0]).cosh().powi(2),
                    LossFunction::CrossEntropy => {
                        let [p, q] = [k, l].map(|k| f[k].exp() / sum);
                        p * (same - q)
                    }
                };
                each / count as f64
            };
            let along = direction(&network, 8);
            let pushed: Vec<f64> = {
                let along = flat(along.clone());
                jacobian.iter().map(|row| row.iter().zip(&along).map(|(j, d)| j * d).sum()).collect()
            };
            let mut wanted = vec![0.0; jacobian[0].len()];
            let mut of_outputs = Vec::new();
            for n in 0..count {
                for k in 0..width {
                    for l in 0..width {
                        let a = second(n, k, l);
                        of_outputs.push(a);
                        let factor = a * pushed[n * width + l];
                        wanted.iter_mut().zip(&jacobian[n * width + k]).for_each(|(w, j)| *w += factor * j);
                    }
                }
            }
            let curvature = TaskCurvature::new(network, examples, Mode::Train, loss, 9);
            let found = flat(curvature.times(Curvature::GaussNewton, &along));
            let off_by = off(&found, &wanted);
            assert!(off_by < 1e-12, "{name}: {off_by:e}");
            let off_by = off(&curvature.of_outputs(), &of_outputs);
            assert!(off_by < 1e-14, "{name}: {off_by:e}");
        });
    }

    /// H = Jᵀ A J + S; each is symmetric; passes of a few samples give the sums of one pass.
    #[test]
    fn parts_add_up_and_are_symmetric() {
        each(|name, architecture, examples, loss| {
            let network = network(architecture, &placement());
            let [u, v] = [1, 2].map(|seed| direction(&network, seed));
            let coupled = architecture.is_batch_coupled();
            let whole = TaskCurvature::new(network.clone(), examples, Mode::Train, loss, 9);
            let pieces = TaskCurvature::new(network, examples, Mode::Train, loss, 3);
            assert_eq!((whole.pieces.len(), pieces.pieces.len()), (1, if coupled { 1 } else { 2 }));
            let products = Curvature::ALL.map(|of| {
                let product = whole.times(of, &v);
                let [uv, vu] = [(&u, &product), (&v, &whole.times(of, &u))]
                    .map(|(a, b)| a.iter().zip(b).map(|(a, b)| dot(a, b)).sum::<f64>());
                assert!((uv - vu).abs() < 1e-11 * uv.abs().max(1.0), "{name}, {of:?}: {uv} and {vu}");
                let product = flat(product);
                let off_by = off(&flat(pieces.times(of, &v)), &product);
                assert!(off_by < 1e-13, "{name}, {of:?}: {off_by:e}");
                product
            });
            let sum: Vec<f64> = products[0].iter().zip(&products[1]).map(|(a, b)| a + b).collect();
            assert!(off(&sum, &products[2]) < 1e-13, "{name}");
            assert!(off(&flat(pieces.gradient()), &flat(whole.gradient())) < 1e-13, "{name}");
            assert!(off(&pieces.of_outputs(), &whole.of_outputs()) < 1e-13, "{name}");
        });
    }

    /// A network of piecewise linear functions without norms is linear in the parameters of each layer: the diagonal of S is 0.
    #[test]
    fn the_functional_part_of_broken_lines_has_no_diagonal() {
        let layers = r#"[{"flatten":{}},{"dense":{"out":3}},{"activation":{"function":"relu"}},{"dense":{"out":2}}]"#;
        let layers: Vec<Layer> = serde_json::from_str(layers).expect("layers");
        let parametrization = serde_json::from_str(r#"{"ntk":{"beta":0.2}}"#).expect("a parametrization");
        let architecture = Architecture::new(Shape::image(2, 6, 6), &layers, parametrization).expect("sound");
        let network = network(&architecture, &placement());
        let curvature =
            TaskCurvature::new(network.clone(), &examples(4, 2), Mode::Train, LossFunction::CrossEntropy, 9);
        let mut largest = 0.0_f64;
        for (p, parameter) in network.parameters().iter().enumerate() {
            let [rows, columns] = parameter.dims();
            for at in 0..rows * columns {
                let mut unit: Cotangents = network.parameters().iter().map(Tensor::zeros_like).collect();
                let (row, column) = (at / columns, at % columns);
                unit[p] = unit[p].clone().slice_fill([row..row + 1, column..column + 1], 1.0);
                let found = curvature.times(Curvature::Functional, &unit);
                let diagonal = found[p].clone().slice([row..row + 1, column..column + 1]).into_scalar::<f64>();
                assert_eq!(diagonal, 0.0, "parameter {p}, {at}");
                largest = flat(found).into_iter().fold(largest, |m, v| m.max(v.abs()));
            }
        }
        assert!(largest > 1e-2, "S has entries off its diagonal: {largest}");
    }
}
