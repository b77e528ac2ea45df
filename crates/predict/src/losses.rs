//! Losses of gradient descent, predicted from kernels.

use burn::tensor::{Tensor, TensorData};
use fintan_config::{Architecture, LayerRates, Shape, Transform};
use fintan_net::{Mode, PlacedNetwork, Placement, channels_last};
use fintan_ntk::{Entries, KernelParts, KernelPlan, KernelRequest};
use fintan_theory::{Flow, FlowError, LimitError, NetworkLimit, PositionKernel, Request, Time};

use crate::PredictError;

/// Bytes that the kernel over training inputs and outputs may use; it is computed in one tile.
const MEMORY: f64 = 1e12;

/// Samples of a regression task, and the outputs of the network before training.
///
/// ```
/// // Two samples with 3 inputs and 1 output.
/// let samples = fintan_predict::TaskArrays { inputs: vec![0.0; 2 * 3], targets: vec![1.0, -1.0], start: vec![0.0; 2] };
/// assert_eq!(samples.inputs.len() / samples.targets.len(), 3);
/// ```
#[derive(Debug, Clone)]
pub struct TaskArrays {
    /// `[N, input]`, in channel, row, column order.
    pub inputs: Vec<f64>,
    /// `[N, outputs]`
    pub targets: Vec<f64>,
    /// `[N, outputs]`: the outputs before the first step.
    pub start: Vec<f64>,
}

/// Gradient descent on all training samples, without momentum.
#[derive(Debug, Clone, Copy)]
pub struct GradientDescent<'a> {
    /// Learning rate.
    pub rate: f64,
    /// Factors of the rate for each layer.
    pub layer_rates: &'a LayerRates,
    /// The steps at which losses are predicted.
    pub steps: &'a [u64],
}

/// The losses `Σ |f - y|² / (2N)` of the training and the test samples.
///
/// ```
/// # use burn::tensor::{DType, Device};
/// # use fintan_config::{Architecture, Beta, Layer, LayerRates, Parametrization, Shape};
/// # use fintan_net::{Lowering, PlacedNetwork, Placement};
/// # use fintan_predict::{GradientDescent, LossPrediction, TaskArrays};
/// # use rand::SeedableRng as _;
/// #
/// # let ntk = Parametrization::Ntk(Beta { beta: 0.0 });
/// # let network = Architecture::new(Shape::vector(1), &[Layer::Dense(1.into())], ntk)?;
/// # let cpu = Placement { device: Device::flex(), dtype: DType::F64, lowering: Lowering::Host };
/// # let network = PlacedNetwork::init(&network, &mut rand_chacha::ChaCha20Rng::seed_from_u64(0), &cpu);
/// // One sample with x = 1, y = 1 and the output 0 before training: Θ = 1, and a step of rate 0.5 halves the error.
/// let sample = TaskArrays { inputs: vec![1.0], targets: vec![1.0], start: vec![0.0] };
/// let descent = GradientDescent { rate: 0.5, layer_rates: &LayerRates::Off, steps: &[0, 1] };
/// let found = LossPrediction::new(&network, &sample, &sample, &descent)?;
/// assert!((found.empirical[1].test - 0.125).abs() < 1e-9); // (1 - 0.5)² / 2
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PredictedLosses {
    /// Loss of the training samples.
    pub train: f64,
    /// Loss of the test samples.
    pub test: f64,
}

/// Losses that constant kernels predict for gradient descent on the squared loss.
///
/// ```
/// use burn::tensor::{DType, Device};
/// use fintan_config::{Architecture, Beta, Layer, LayerRates, Parametrization, Shape};
/// use fintan_net::{Lowering, PlacedNetwork, Placement};
/// use fintan_predict::{GradientDescent, LossPrediction, TaskArrays};
/// use rand::SeedableRng as _;
///
/// let ntk = Parametrization::Ntk(Beta { beta: 0.0 });
/// let network = Architecture::new(Shape::vector(1), &[Layer::Dense(1.into())], ntk)?;
/// let cpu = Placement { device: Device::flex(), dtype: DType::F64, lowering: Lowering::Host };
/// let network = PlacedNetwork::init(&network, &mut rand_chacha::ChaCha20Rng::seed_from_u64(0), &cpu);
/// // One sample with x = 1, y = 1 and the output 0 before training: Θ = 1, and a step of rate 0.5 halves the error.
/// let sample = TaskArrays { inputs: vec![1.0], targets: vec![1.0], start: vec![0.0] };
/// let descent = GradientDescent { rate: 0.5, layer_rates: &LayerRates::Off, steps: &[0, 1] };
/// let found = LossPrediction::new(&network, &sample, &sample, &descent)?;
/// assert!((found.empirical[0].train - 0.5).abs() < 1e-9 && (found.empirical[1].train - 0.125).abs() < 1e-9);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LossPrediction {
    /// Prediction of the network's initial kernel, at each step.
    pub empirical: Vec<PredictedLosses>,
    /// Prediction of the kernel at infinite width, at each step; an error if there is none.
    pub limit: Result<Vec<PredictedLosses>, LimitError>,
    /// The eigendecomposition of the network's kernel over the training samples.
    pub flow: Flow,
    /// The initial squared error along each eigenvector, in the order of the eigenvalues.
    pub error_by_mode: Vec<f64>,
}

impl LossPrediction {
    /// Predicts the losses of a network that starts with its present parameters.
    ///
    /// With layer-dependent rates, the parts of the kernel are multiplied by the factors.
    ///
    /// # Errors
    /// Samples that do not fit the network, or kernels that cannot be computed.
    pub fn new(
        network: &PlacedNetwork,
        train: &TaskArrays,
        test: &TaskArrays,
        descent: &GradientDescent,
    ) -> Result<Self, PredictError> {
        let architecture = network.architecture();
        let outputs = architecture.output().len();
        let count = train.count(outputs);
        let rates = parameter_rates(architecture, descent.layer_rates);
        let own = effective_kernel(network, train, None, &rates)?;
        let other = effective_kernel(network, test, Some(train), &rates)?;
        let flow = Flow::new(&own, count * outputs, count)?;
        let along = |flow: &Flow, other: &[f64]| -> Result<Vec<PredictedLosses>, FlowError> {
            let at = |&count: &u64| {
                let time = Time::Steps { rate: descent.rate, count };
                // A kernel over inputs alone is the same for every output. A kernel over rows (input, output) needs the
                // outputs as one column.
                let at_train = flow.train(&train.start, &train.targets, time)?;
                let at_test = flow.test(other, &test.start, &train.start, &train.targets, time)?;
                Ok(PredictedLosses { train: train.loss(&at_train, outputs), test: test.loss(&at_test, outputs) })
            };
            descent.steps.iter().map(at).collect()
        };
        let empirical = along(&flow, &other)?;
        let error_by_mode = flow.error_by_mode(&train.start, &train.targets)?;
        let limit = match limit_kernels(architecture, train, test, &rates) {
            Err(e) => Err(e),
            Ok([own, other]) => Ok(along(&Flow::new(&own, count, count)?, &other)?),
        };
        Ok(Self { empirical, limit, flow, error_by_mode })
    }

    /// The number of steps of size `rate` after which the error along each eigenvector has fallen by a factor e. It is
    /// infinite in null directions, and if steps are so large that the error does not fall.
    #[must_use]
    pub fn e_fold_steps(&self, rate: f64) -> Vec<f64> {
        let steps = |decay: f64| match rate * decay {
            x if x <= 1e-14 || x >= 2.0 => f64::INFINITY,
            x => -1.0 / (1.0 - x).abs().ln(),
        };
        self.flow.rates().into_iter().map(steps).collect()
    }
}

impl TaskArrays {
    fn count(&self, outputs: usize) -> usize {
        self.targets.len() / outputs
    }

    fn loss(&self, values: &[f64], outputs: usize) -> f64 {
        let sum: f64 = values.iter().zip(&self.targets).map(|(f, y)| (f - y).powi(2)).sum();
        sum / (2 * self.count(outputs)) as f64
    }
}

/// `Σ_θ rate(θ) ∂f/∂θ ∂f/∂θᵀ` over rows (sample, output), row-major; the columns are those of `second`, if it is given.
fn effective_kernel(
    network: &PlacedNetwork,
    first: &TaskArrays,
    second: Option<&TaskArrays>,
    rates: &[f64],
) -> Result<Vec<f64>, PredictError> {
    let Shape { channels, height, width } = network.architecture().input;
    let Placement { device, dtype, .. } = network.placement();
    let tensor = |samples: &TaskArrays| {
        let n = samples.inputs.len() / (channels * height * width);
        let data = TensorData::new(samples.inputs.clone(), [n, channels, height, width]).convert_dtype(dtype);
        channels_last(Tensor::from_data(data, (&device, dtype)))
    };
    let problem =
        KernelRequest::new(network.clone(), tensor(first), second.map(tensor), Mode::Train, Entries::Full, Vec::new())?;
    let problem = if rates.iter().all(|rate| *rate == 1.0) { problem.without_parts() } else { problem };
    let kernel = KernelParts::compute(&problem, &KernelPlan::new(&problem, None, MEMORY)?);
    let [rows, columns] = kernel.matrix_shape()?;
    let effective = kernel.weighted(if kernel.parts.len() == 1 { &[1.0] } else { rates });
    let mut matrix = vec![0.0; rows * columns];
    for (i, row) in matrix.chunks_mut(columns).enumerate() {
        kernel.row(&effective, i, row);
    }
    Ok(matrix)
}

/// Kernels at infinite width of the training inputs, and between test and training inputs; they are the same for every
/// output.
fn limit_kernels(
    architecture: &Architecture,
    train: &TaskArrays,
    test: &TaskArrays,
    rates: &[f64],
) -> Result<[Vec<f64>; 2], LimitError> {
    // The outputs of a flattened image have different kernels.
    if architecture.before_output().nodes.last().is_some_and(|node| node.transform() == Transform::Reshape) {
        return Err(LimitError::Layer { layer: "flatten", reason: "outputs at several positions" });
    }
    let limit = NetworkLimit::of_outputs(architecture)?;
    let pairs: Vec<(f64, f64)> = rates.chunks(2).map(|pair| (pair[0], pair[1])).collect();
    let request = Request { rates: Some(pairs), ..Request::default() };
    let len = architecture.input.len();
    let [train, test] = [train, test].map(|samples| samples.inputs.chunks(len).collect::<Vec<&[f64]>>());
    let value = |kernel: PositionKernel| kernel.ntk[0];
    Ok([limit.gram_map(&train, None, &request, value)?, limit.gram_map(&test, Some(&train), &request, value)?])
}

/// Factors of the learning rate, one for each parameter: weights and biases alternate.
fn parameter_rates(architecture: &Architecture, rule: &LayerRates) -> Vec<f64> {
    let nodes = architecture.flat().into_iter().filter(|node| node.index.is_some());
    nodes.map(|node| rule.factors(node)).flat_map(|(weights, biases)| [weights, biases]).collect()
}
