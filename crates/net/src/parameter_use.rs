//! The use of a layer's parameters in a pullback: their inputs and output cotangents.

use burn::tensor::Tensor;
use fintan_config::{Convolution, Node};

use crate::correlation::{Correlation, Lowering};
use crate::host;
use crate::norm::Normalized;

/// The weights and biases of one layer, as `visit` receives them during a pullback.
///
/// It contains everything that gradients and kernels need from a layer: its inputs and the cotangents of its outputs. They
/// are combined only on request, because gradients and kernels combine them in different orders.
///
/// ```
/// # use burn::tensor::{DType, Device, Tensor, TensorData};
/// # use fintan_config::{Architecture, Layer, Parametrization, Shape};
/// # use fintan_net::{Lowering, Mode, PlacedNetwork, Placement};
/// # let architecture = Architecture::new(Shape::vector(2), &[Layer::Dense(1.into())], Parametrization::default())?;
/// # let cpu = Placement { device: Device::flex(), dtype: DType::F64, lowering: Lowering::Host };
/// # let mut ones = |[rows, columns]: [usize; 2], _: f64| TensorData::new(vec![1.0; rows * columns], [rows, columns]);
/// # let network = PlacedNetwork::drawn(&architecture, &cpu, &mut ones);
/// # let x = Tensor::<4>::from_data([[[[2.0, 3.0]]]], (&cpu.device, cpu.dtype));
/// // `network` is y = w · x + b, and x is (2, 3).
/// let (y, tape) = network.forward(x, Mode::Eval);
/// network.visit(&tape, y.ones_like(), &mut |used| {
///     let [weights, biases] = used.gradients();
///     assert_eq!((weights.sum().into_scalar::<f64>(), biases.into_scalar::<f64>()), (2.0 + 3.0, 1.0));
/// });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ParameterUse<'a> {
    /// Index of the weights among the parameters; the biases follow.
    pub(crate) parameter: usize,
    pub(crate) kind: Kind<'a>,
}

#[derive(Debug)]
pub(crate) enum Kind<'a> {
    /// `y = scale · (W ∗ x) + bias_scale · b`; `scaled` is `scale · dy`, and `scale` is `Some` if it is a single number.
    Linear { map: Linear, x: &'a Tensor<4>, dy: Tensor<4>, scaled: Tensor<4>, scale: Option<f64>, bias_scale: f64 },
    /// `y = w · x_hat + b` over `[outer, inner]`; `dy` is `[rows, outer, inner]`.
    Affine { norm: &'a Normalized, dy: Tensor<3>, batch: usize },
}

/// The bilinear map of a layer, `W ∗ x`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Linear {
    Dense(Lowering),
    Conv(Correlation),
    Deconv(Correlation),
}

/// Cotangents of weights as sums of products of two factors. Row r is
/// `dW_r = scale · Σ_{n,s} inputs[n, s, :] ⊗ cotangents[r, n, s, :]`.
///
/// Sites s are the uses of the same weights within a sample n: one site for dense layers, the positions of the smaller map
/// for convolutions and transposed convolutions.
///
/// ```
/// # use burn::tensor::{DType, Device, Tensor, TensorData};
/// # use fintan_config::{Architecture, Layer, Parametrization, Shape};
/// # use fintan_net::{Lowering, Mode, PlacedNetwork, Placement};
/// # let architecture = Architecture::new(Shape::vector(2), &[Layer::Dense(1.into())], Parametrization::default())?;
/// # let cpu = Placement { device: Device::flex(), dtype: DType::F64, lowering: Lowering::Host };
/// # let mut ones = |[rows, columns]: [usize; 2], _: f64| TensorData::new(vec![1.0; rows * columns], [rows, columns]);
/// # let network = PlacedNetwork::drawn(&architecture, &cpu, &mut ones);
/// # let x = Tensor::<4>::from_data([[[[2.0, 3.0]]]], (&cpu.device, cpu.dtype));
/// // `network` is y = w · x + b, and x is (2, 3).
/// let (y, tape) = network.forward(x, Mode::Eval);
/// network.visit(&tape, y.ones_like(), &mut |used| {
///     let weights = &used.factors()[0];
///     assert_eq!(weights.inputs.as_ref().expect("x").dims(), [1, 1, 2]); // one sample, one site, two inputs
///     assert_eq!(weights.cotangents.dims(), [1, 1, 1, 1]);
/// });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct VjpFactors {
    /// Index among the parameters.
    pub parameter: usize,
    /// `[batch, sites, K]`; `None` stands for a single input that is always 1, at one site.
    pub inputs: Option<Tensor<3>>,
    /// `[rows, batch, sites, C]`
    pub cotangents: Tensor<4>,
    /// A common factor.
    pub scale: f64,
    /// The factor of the biases, if the biases of the layer have the same cotangents at a single site.
    pub biases: Option<f64>,
}

impl ParameterUse<'_> {
    /// Index of the weights among the parameters; the biases follow.
    #[must_use]
    pub fn parameter(&self) -> usize {
        self.parameter
    }

    /// Cotangents of weights and biases, summed over the batch, for one row of cotangents.
    #[must_use]
    pub fn gradients(self) -> [Tensor<2>; 2] {
        match self.kind {
            Kind::Linear { map, x, dy, scaled, bias_scale, .. } => {
                let [n, h, w, c] = dy.dims();
                let on_host = host::serves(&dy, map.lowering());
                let dy = dy.reshape([n * h * w, c]);
                let biases =
                    if on_host { host::columns_summed(&dy, bias_scale) } else { dy.sum_dim(0).mul_scalar(bias_scale) };
                [map.weights(x.clone(), scaled), biases]
            }
            Kind::Affine { norm, dy, .. } => norm.gradients(dy.reshape(norm.x_hat.dims())),
        }
    }

    /// Weights and biases as factors, for any number of rows.
    #[must_use]
    pub fn factors(self) -> Vec<VjpFactors> {
        let weights = self.parameter;
        let alone = |parameter: usize, cotangents: Tensor<4>, scale: f64| VjpFactors {
            parameter,
            inputs: None,
            cotangents,
            scale,
            biases: None,
        };
        match self.kind {
            Kind::Linear { map, x, dy, scaled, scale, bias_scale } => {
                let ([n, ..], [rows, h, w, c]) = (x.dims(), dy.dims());
                // A factor that is a single number is not multiplied into the tensors.
                let (cotangents, scale) = scale.map_or((scaled, 1.0), |scale| (dy.clone(), scale));
                let (inputs, cotangents) = map.factors(x.clone(), cotangents);
                let shared = matches!(map, Linear::Dense(_));
                let mut all = vec![VjpFactors {
                    parameter: weights,
                    inputs: Some(inputs),
                    cotangents,
                    scale,
                    biases: shared.then_some(bias_scale),
                }];
                if !shared {
                    let sums = dy.reshape([rows, h * w, c]).sum_dim(1).reshape([rows / n, n, 1, c]);
                    all.push(alone(weights + 1, sums, bias_scale));
                }
                all
            }
            Kind::Affine { norm, dy, batch } => {
                let [rows, outer, inner] = dy.dims();
                let sums = |d: Tensor<3>| {
                    d.reshape([rows * batch, outer / batch, inner]).sum_dim(1).reshape([rows, batch, 1, inner])
                };
                let by_scale = sums(dy.clone() * norm.x_hat.clone().unsqueeze::<3>());
                vec![alone(weights, by_scale, 1.0), alone(weights + 1, sums(dy), 1.0)]
            }
        }
    }
}

impl Linear {
    pub(crate) fn lowering(&self) -> Lowering {
        match self {
            Self::Dense(lowering) => *lowering,
            Self::Conv(correlation) | Self::Deconv(correlation) => correlation.lowering(),
        }
    }

    /// The convolution of a node.
    pub(crate) fn conv(c: &Convolution, node: &Node, lowering: Lowering) -> Self {
        Self::Conv(Correlation::new(c, node.input, node.output, lowering))
    }

    /// The transposed convolution of a node: the adjoint of a convolution of its output.
    pub(crate) fn deconv(c: &Convolution, node: &Node, lowering: Lowering) -> Self {
        Self::Deconv(Correlation::new(c, node.output, node.input, lowering))
    }

    /// `factor · W ∗ x + bias`, by loops over host memory.
    ///
    /// # Shapes
    /// - `bias`: `[1, channels]`
    pub(crate) fn on_host(&self, x: &Tensor<4>, w: &Tensor<2>, factor: f64, bias: Option<&Tensor<2>>) -> Tensor<4> {
        match self {
            Self::Dense(_) => {
                let ([n, _, _, features], out) = (x.dims(), w.dims()[1]);
                host::dense(&x.clone().reshape([n, features]), w, false, factor, bias).reshape([n, 1, 1, out])
            }
            Self::Conv(correlation) => correlation.windows().gather(x, w, factor, bias),
            Self::Deconv(correlation) => correlation.windows().scatter(x, w, factor, bias),
        }
    }

    /// `W ∗ x`
    pub(crate) fn apply(&self, x: Tensor<4>, w: Tensor<2>) -> Tensor<4> {
        match self {
            Self::Dense(lowering) => {
                let ([n, _, _, features], out) = (x.dims(), w.dims()[1]);
                let x = x.reshape([n, features]);
                let y = if host::serves(&x, *lowering) { host::dense(&x, &w, false, 1.0, None) } else { x.matmul(w) };
                y.reshape([n, 1, 1, out])
            }
            Self::Conv(correlation) => correlation.gather(x, w),
            Self::Deconv(correlation) => correlation.scatter(x, w),
        }
    }

    /// The cotangent of x.
    pub(crate) fn inputs(&self, dy: Tensor<4>, w: Tensor<2>) -> Tensor<4> {
        match self {
            Self::Dense(lowering) => {
                let ([rows, _, _, out], features) = (dy.dims(), w.dims()[0]);
                if host::serves(&dy, *lowering) {
                    return host::dense_inputs(&dy.reshape([rows, out]), &w).reshape([rows, 1, 1, features]);
                }
                if 4 * rows > features {
                    return self.apply(dy, w.transpose());
                }
                // For few rows and a large matrix, the product is faster if the rows are the operand that is read against
                // its memory order: with 128 rows and 4096 features it takes half the time (benches/RESULTS.md).
                let turned = w.matmul(dy.reshape([rows, out]).transpose());
                turned.transpose().reshape([rows, 1, 1, features])
            }
            Self::Conv(correlation) => correlation.scatter(dy, w),
            Self::Deconv(correlation) => correlation.gather(dy, w),
        }
    }

    /// The cotangent of W.
    pub(crate) fn weights(&self, x: Tensor<4>, dy: Tensor<4>) -> Tensor<2> {
        match self {
            Self::Dense(lowering) => {
                let ([n, _, _, features], out) = (x.dims(), dy.dims()[3]);
                let (x, dy) = (x.reshape([n, features]), dy.reshape([n, out]));
                if host::serves(&x, *lowering) { host::dense_weights(&x, &dy) } else { x.transpose().matmul(dy) }
            }
            Self::Conv(correlation) => correlation.weights(x, dy),
            Self::Deconv(correlation) => correlation.weights(dy, x),
        }
    }

    /// The factors of the cotangent of W: `[batch, sites, K]` and `[rows, batch, sites, C]`.
    fn factors(&self, x: Tensor<4>, dy: Tensor<4>) -> (Tensor<3>, Tensor<4>) {
        let ([n, hx, wx, cx], [rows, hy, wy, cy]) = (x.dims(), dy.dims());
        match self {
            Self::Dense(_) => (x.reshape([n, 1, cx]), dy.reshape([rows / n, n, 1, cy])),
            Self::Conv(correlation) => {
                let (patches, sites) = (correlation.patches(x), hy * wy);
                let inner = patches.dims()[1];
                (patches.reshape([n, sites, inner]), dy.reshape([rows / n, n, sites, cy]))
            }
            Self::Deconv(correlation) => {
                let (patches, sites) = (correlation.patches(dy), hx * wx);
                let inner = patches.dims()[1];
                (x.reshape([n, sites, cx]), patches.reshape([rows / n, n, sites, inner]))
            }
        }
    }
}
