//! An [`Architecture`] with parameters on a device, and its rules.

mod conv_tail;
mod overflow;
mod rules;
mod running;
mod signal_noise;

use std::sync::Arc;

use burn::module::{Module, Param, ParamId};
use burn::tensor::{DType, Device, Tensor, TensorData};
use fintan_config::{Architecture, Parametrization, Standard, Transform};
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::correlation::Lowering;
use crate::layers::{Entry, Operation, TangentEntry, compile, weight_shape};
pub(crate) use running::Running;
pub use signal_noise::{LayerProbe, NoiseRule};

/// The device, precision and method with which a network computes.
///
/// ```
/// use burn::tensor::{DType, Device};
/// use fintan_config::{Architecture, Layer, Parametrization, Shape};
/// use fintan_net::{Lowering, PlacedNetwork, Placement};
/// use rand::SeedableRng as _;
///
/// let architecture = Architecture::new(Shape::vector(2), &[Layer::Dense(1.into())], Parametrization::default())?;
/// let cpu = Placement { device: Device::flex(), dtype: DType::F64, lowering: Lowering::Host };
/// let network = PlacedNetwork::init(&architecture, &mut rand_chacha::ChaCha20Rng::seed_from_u64(0), &cpu);
/// let single = network.moved(&Placement { dtype: DType::F32, ..cpu });
/// assert_eq!(single.placement().dtype, DType::F32);
/// # Ok::<(), fintan_config::ArchitectureError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Placement {
    /// The device of its parameters.
    pub device: Device,
    /// `F32` or `F64`.
    pub dtype: DType,
    /// How its convolutions are computed.
    pub lowering: Lowering,
}

/// The statistics that batch normalization uses.
///
/// ```
/// # use burn::tensor::{DType, Device, Tensor};
/// # use fintan_config::{Architecture, Parametrization, Shape};
/// # use fintan_net::{Lowering, Mode, PlacedNetwork, Placement};
/// # use rand::SeedableRng as _;
/// # let layers = [serde_json::from_str(r#"{ "batch_norm": {} }"#)?];
/// # let architecture = Architecture::new(Shape::vector(1), &layers, Parametrization::default())?;
/// # let cpu = Placement { device: Device::flex(), dtype: DType::F64, lowering: Lowering::Host };
/// # let network = PlacedNetwork::init(&architecture, &mut rand_chacha::ChaCha20Rng::seed_from_u64(0), &cpu);
/// // A batch norm of the samples 1 and 3, whose mean is 2. Before training the running mean is 0 and the variance 1.
/// let x = Tensor::<4>::from_data([[[[1.0]]], [[[3.0]]]], (&cpu.device, cpu.dtype));
/// let first = |mode| network.forward(x.clone(), mode).0.slice([0..1]).into_scalar::<f64>();
/// assert!((first(Mode::Train) + 1.0).abs() < 1e-4);
/// assert!((first(Mode::Eval) - 1.0).abs() < 1e-4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The statistics of the current batch.
    Train,
    /// The running averages from training.
    Eval,
}

/// A network: an [`Architecture`] and its parameters.
///
/// Maps are channels last: inputs and outputs are `[batch, rows, columns, channels]`, vectors `[batch, 1, 1, features]`.
/// Parameters are matrices in the order of [`PlacedNetwork::parameter_names`].
///
/// The network has four rules, and so has each layer:
///
/// | rule | is |
/// | --- | --- |
/// | [`forward`](Self::forward) | y = f(θ, x), and a [`Tape`] of what the others need |
/// | [`pullback`](Self::pullback) | (dθ, dx) = (∂f/∂θ)ᵀ dy, (∂f/∂x)ᵀ dy |
/// | [`pushforward`](Self::pushforward) | dy = ∂f/∂θ dθ + ∂f/∂x dx |
/// | [`pullback_parameters_tangent`](Self::pullback_parameters_tangent) | the derivative of the pullback along (dθ, dx): products with second derivatives; [`slope_cotangents`](Self::slope_cotangents) along dx only |
///
/// Cotangents and tangents may have rows in front of the batch, `[rows · batch, ..]` row-major, so one tape serves any
/// number of them. The rules are Burn tensor operations: on an autodiff device they can be differentiated again.
///
/// ```
/// use burn::tensor::{DType, Device, Tensor, TensorData};
/// use fintan_config::{Architecture, Layer, Parametrization, Shape};
/// use fintan_net::{Lowering, Mode, PlacedNetwork, Placement};
///
/// let architecture = Architecture::new(Shape::vector(2), &[Layer::Dense(1.into())], Parametrization::default())?;
/// let cpu = Placement { device: Device::flex(), dtype: DType::F64, lowering: Lowering::Host };
/// // All parameters are 1: y = x₀ + x₁ + 1.
/// let mut ones = |[rows, columns]: [usize; 2], _: f64| TensorData::new(vec![1.0; rows * columns], [rows, columns]);
/// let network = PlacedNetwork::drawn(&architecture, &cpu, &mut ones);
/// let x = Tensor::<4>::from_data([[[[2.0, 3.0]]]], (&cpu.device, cpu.dtype));
/// let (y, _tape) = network.forward(x, Mode::Eval);
/// assert_eq!(y.into_scalar::<f64>(), 6.0);
/// # Ok::<(), fintan_config::ArchitectureError>(())
/// ```
#[derive(Module, Debug)]
pub struct PlacedNetwork {
    parameters: Vec<Param<Tensor<2>>>,
    #[module(skip)]
    pub(crate) running: Vec<Running>,
    #[module(skip)]
    plan: Arc<Plan>,
}

#[derive(Debug)]
struct Plan {
    architecture: Architecture,
    lowering: Lowering,
    operations: Vec<Operation>,
}

/// Data that a forward pass stores for the other two rules: one entry for each layer.
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
/// // `network` is y = x₀ + x₁ + 1.
/// let (y, tape) = network.forward(x, Mode::Eval);
/// let dx = network.pullback(&tape, y.ones_like());
/// assert_eq!(dx.to_data().try_to_vec::<f64>()?, [1.0, 1.0]); // ∂y/∂x
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Tape(Vec<Entry>);

/// Data that a pushforward stores for [`PlacedNetwork::pullback_parameters_tangent`]: the tangents of every layer's input and
/// of the parameters.
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
/// // `network` is y = w · x + b.
/// let (y, tape) = network.forward(x.clone(), Mode::Eval);
/// let (_, tangents) = network.pushforward_taped(&tape, x, None);
/// // ∂/∂w (∂y/∂x · dx) = dx, here x.
/// let found = network.pullback_parameters_tangent(&tape, &tangents, y.ones_like(), None);
/// assert_eq!(found[0].to_data().try_to_vec::<f64>()?, [2.0, 3.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct TangentTape {
    entries: Vec<TangentEntry>,
    d_parameters: Option<Cotangents>,
}

/// Cotangents of the parameters, in their order.
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
/// let gradients = network.pullback_parameters(&tape, y.ones_like());
/// assert_eq!(gradients[0].to_data().try_to_vec::<f64>()?, [2.0, 3.0]); // ∂y/∂w = x
/// assert_eq!(gradients[1].to_data().try_to_vec::<f64>()?, [1.0]); // ∂y/∂b
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type Cotangents = Vec<Tensor<2>>;

impl PlacedNetwork {
    /// Draws a network. Every parameter is drawn from `rng` on the host, in order, so a seed gives the same network on all
    /// devices.
    #[must_use]
    pub fn init(architecture: &Architecture, rng: &mut ChaCha20Rng, placement: &Placement) -> Self {
        Self::drawn(architecture, placement, &mut |[rows, columns], std| {
            let values: Vec<f64> =
                (0..rows * columns).map(|_| std * Distribution::<f64>::sample(&StandardNormal, rng)).collect();
            TensorData::new(values, [rows, columns])
        })
    }

    /// A network whose parameters are drawn by `draw(shape, std)`: independent values from N(0, std²), one matrix at a time
    /// in the order of the parameters. Scales and shifts of norms are 1 and 0.
    ///
    /// # Panics
    /// If a drawn matrix has another shape.
    #[must_use]
    pub fn drawn(
        architecture: &Architecture,
        placement: &Placement,
        draw: &mut dyn FnMut([usize; 2], f64) -> TensorData,
    ) -> Self {
        let mut parameters = Vec::new();
        let mut running = Vec::new();
        for node in architecture.flat() {
            let (shape, bias_shape) = (weight_shape(node), [1, node.bias_count()]);
            if let Transform::BatchNorm(norm) = node.transform() {
                let shape = [1, node.input.channels];
                let options = (&placement.device, placement.dtype);
                let (mean, variance) = (Tensor::zeros(shape, options), Tensor::ones(shape, options));
                running.push(Running { mean, variance, momentum: norm.momentum });
            }
            if node.index.is_none() {
                continue;
            }
            let (weights, biases) = match (node.fan_in(), architecture.parametrization) {
                (None, _) => {
                    let constant =
                        |value: f64, shape: [usize; 2]| TensorData::new(vec![value; shape[0] * shape[1]], shape);
                    (constant(1.0, shape), constant(0.0, bias_shape))
                }
                (Some(fan_in), parametrization) => {
                    let (weight_std, bias_std) = match parametrization {
                        Parametrization::Standard(Standard { init, bias_std }) => {
                            (node.init(init).std(fan_in), bias_std)
                        }
                        Parametrization::Ntk(_) | Parametrization::Graph(_) => (1.0, 1.0),
                    };
                    (draw(shape, weight_std), draw(bias_shape, bias_std))
                }
            };
            for (data, shape) in [(weights, shape), (biases, bias_shape)] {
                assert_eq!(data.shape().as_slice(), shape, "shape of a parameter");
                let tensor =
                    Tensor::from_data(data.convert_dtype(placement.dtype), (&placement.device, placement.dtype));
                parameters.push(Param::initialized(ParamId::from(parameters.len() as u64), tensor));
            }
        }
        let mut norms = 0;
        let operations = compile(&architecture.nodes, architecture.parametrization, placement, &mut norms);
        Self {
            parameters,
            running,
            plan: Arc::new(Plan { architecture: architecture.clone(), lowering: placement.lowering, operations }),
        }
    }

    /// The architecture.
    #[must_use]
    pub fn architecture(&self) -> &Architecture {
        &self.plan.architecture
    }

    /// How its convolutions are computed.
    #[must_use]
    pub fn lowering(&self) -> Lowering {
        self.plan.lowering
    }

    /// The device, precision and method of the network.
    ///
    /// # Panics
    /// Never, because an architecture has parameters.
    #[must_use]
    pub fn placement(&self) -> Placement {
        let first = self.parameters.first().expect("an architecture has parameters").val();
        Placement { device: first.device(), dtype: first.dtype(), lowering: self.plan.lowering }
    }

    /// The parameters, `{0}.weight`, `{0}.bias`, `{1}.weight`, ...; see [`crate::weights`] for their layouts.
    #[must_use]
    pub fn parameters(&self) -> Vec<Tensor<2>> {
        self.parameters.iter().map(Param::val).collect()
    }

    /// A network with this architecture and new parameters, in the order of [`Self::parameters`].
    ///
    /// # Panics
    /// If their number or shapes differ.
    #[must_use]
    pub fn with_parameters(&self, parameters: Vec<Tensor<2>>) -> Self {
        assert_eq!(parameters.len(), self.parameters.len(), "number of parameters");
        let parameters = self
            .parameters
            .iter()
            .zip(parameters)
            .map(|(old, new)| {
                assert_eq!(old.val().dims(), new.dims(), "shape of a parameter");
                Param::initialized(old.id, new)
            })
            .collect();
        Self { parameters, running: self.running.clone(), plan: Arc::clone(&self.plan) }
    }

    /// A copy of the network on another device, in another precision, or with another method for convolutions.
    ///
    /// # Panics
    /// Never, because the copied parameters have the right shapes.
    #[must_use]
    pub fn moved(&self, to: &Placement) -> Self {
        let there = Self::init(self.architecture(), &mut ChaCha20Rng::from_seed([0; 32]), to);
        there.with_tensors(&self.to_tensors()).expect("parameters fit their own network")
    }

    /// Names of the parameters: `{i}.weight` and `{i}.bias`, where i counts the layers with parameters.
    #[must_use]
    pub fn parameter_names(&self) -> Vec<String> {
        (0..self.parameters.len()).map(|i| format!("{}.{}", i / 2, ["weight", "bias"][i % 2])).collect()
    }

    pub(crate) fn parameter(&self, i: usize) -> Tensor<2> {
        self.parameters[i].val()
    }
}
