//! Eigenvalues and traces of the Hessian of a task's loss.

use burn::tensor::{DType, Tensor, TensorData};
use fintan_config::{Bytes, LossFunction};
use fintan_net::{Mode, Placement};
use fintan_ntk::{
    Entries, KernelParts, KernelPlan, KernelRequest, PlanError, Spectrum, SpectrumError, SymmetricOperator, Trace,
    extreme_eigenpairs, passes_of_curvature,
};
use fintan_train::{Curvature, TaskCurvature};

use crate::device::DeviceError;
use crate::error::Error;
use crate::inputs::{TaskSamples, task, task_examples};
use crate::kernel::Memory;
use crate::network::Network;

/// Tolerance of the residuals |A v - λ v|, relative to the largest absolute eigenvalue.
const TOLERANCE: f64 = 1e-4;
/// Largest number of products with a matrix before the iteration stops with an error.
const PRODUCTS: usize = 2000;
/// Largest number of rows (samples times outputs) for which the trace of the Gauss-Newton matrix is exact.
const EXACT_ROWS: usize = 16_384;
/// Number of random vectors for an estimate of a trace.
const DRAWS: usize = 64;

/// Why the curvature of a loss cannot be measured.
///
/// ```
/// let error = fintan::CurvatureError::NotFinite("Hessian");
/// assert_eq!(error.to_string(), "products with the Hessian of the loss are not finite");
/// ```
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CurvatureError {
    /// The loss, or a derivative of it, overflows.
    #[error("products with the {0} of the loss are not finite")]
    NotFinite(&'static str),
    /// The eigenvalues of the matrix did not converge.
    #[error("after {products} products with the {matrix} of the loss its eigenvalues have not converged{}", limit(*memory))]
    NotConverged {
        /// The name of the matrix.
        matrix: &'static str,
        /// Number of products with the matrix.
        products: usize,
        /// The memory, if there is too little of it for more vectors.
        memory: Option<Bytes>,
    },
}

fn limit(memory: Option<Bytes>) -> String {
    memory.map_or(String::new(), |memory| format!("; more vectors do not fit into {memory}"))
}

/// Eigenvalues and trace of a matrix of second derivatives.
///
/// ```
/// let trace = fintan::Trace { value: 3.0, standard_error: 0.0 };
/// let found = fintan::CurvatureSpectrum { largest: vec![2.0], smallest: vec![-1.0], largest_residual: 0.0, trace };
/// assert!(found.is_trace_exact());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct CurvatureSpectrum {
    /// The largest eigenvalues, the largest first.
    pub largest: Vec<f64>,
    /// The smallest eigenvalues, the smallest first; none for the Gauss-Newton matrix, which has no negative ones.
    pub smallest: Vec<f64>,
    /// The largest residual |A v - λ v|, as a fraction of the largest absolute eigenvalue.
    pub largest_residual: f64,
    /// The trace: exact up to rounding if its standard error is 0, or an estimate from random vectors (Hutchinson's method).
    pub trace: Trace,
}

impl CurvatureSpectrum {
    /// Whether the trace is exact up to rounding, and not an estimate.
    #[must_use]
    pub fn is_trace_exact(&self) -> bool {
        self.trace.standard_error == 0.0
    }
}

/// The second derivatives of a task's loss C in the parameters θ of a network f: the Hessian H, and its two parts,
///
/// ```text
/// H = ∂²C/∂θ² = Jᵀ (∂²C/∂f²) J + S,   S = Σ_k ∂C/∂f_k ∂²f_k/∂θ²,   J = ∂f/∂θ.
/// ```
///
/// C is the mean over the samples of the task, see [`fintan_config::LossFunction`]. For the squared loss the Gauss-Newton matrix
/// Jᵀ (∂²C/∂f²) J has the eigenvalues of the tangent kernel, divided by the number of samples. Parameters are those that the
/// parametrization multiplies by its factors, with one learning rate for all.
///
/// Source: Jacot et al., arXiv 1910.02875, where H = I + S.
///
/// ```
/// let net = fintan::Network::parse("
///     seed = 1
///     network = { input = 4, parametrization.ntk = { beta = 0.0 }, layers = [{ dense = { out = 1 } }] }
///     data.teacher.degree = 1
///     task.supervised = { goal = 'regression', train = 8, test = 4, steps = 1, optimizer.sgd.rate = 0.1 }
/// ")?;
/// // A linear network, whose kernel is x · x' / 4. Inputs have |x|² = 4, so that the trace of the kernel is 8, of 8 samples.
/// let found = fintan::LossCurvature::of(&net).eigenvalues(1).double_precision().compute()?;
/// assert!((found.gauss_newton.trace.value - 1.0).abs() < 1e-6);
/// assert_eq!(found.functional.largest, [0.0]); // the network is linear in its parameters
/// let kernel = fintan::Kernel::of(&net).inputs(fintan::Inputs::train()).double_precision().compute()?;
/// assert!((found.hessian.largest[0] - kernel.spectrum()?.values[0] / 8.0).abs() < 1e-6);
/// # Ok::<(), fintan::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LossCurvature {
    /// Number of samples.
    pub samples: usize,
    /// Number of outputs of the network.
    pub outputs: usize,
    /// Number of parameters, which is the number of rows of the matrices.
    pub parameters: usize,
    /// Jᵀ (∂²C/∂f²) J. Its trace is exact if the samples have few outputs together, at most [`Self::EXACT_TRACE_ROWS`].
    pub gauss_newton: CurvatureSpectrum,
    /// S, whose trace is estimated.
    pub functional: CurvatureSpectrum,
    /// H, whose trace is the sum of those of its parts.
    pub hessian: CurvatureSpectrum,
}

impl LossCurvature {
    /// Largest number of samples times outputs for which the trace of the Gauss-Newton matrix is exact, if memory allows.
    pub const EXACT_TRACE_ROWS: usize = EXACT_ROWS;
    /// Number of random vectors for an estimate of a trace.
    pub const TRACE_DRAWS: usize = DRAWS;

    /// Begins to measure the curvature of the loss of a network's task, at the weights of the network.
    #[must_use]
    pub fn of(network: &Network) -> CurvatureBuilder<'_> {
        CurvatureBuilder {
            network,
            count: 1,
            samples: TaskSamples::Train,
            double_precision: false,
            mode: Mode::Train,
            memory: Memory::Half,
        }
    }
}

/// Options of a curvature; [`LossCurvature::of`] makes them.
///
/// By default the largest and the smallest eigenvalue are found, over all training samples, in the precision of the device. Batch
/// norms use the statistics of all samples together, and memory is bounded by half of what is free.
///
/// ```
/// let net = fintan::Network::parse("
///     network = { input = 4, outputs = 1, fc = { widths = [8] } }
///     data.teacher.degree = 1
///     task.supervised = { goal = 'regression', train = 8, test = 4, steps = 1, optimizer.sgd.rate = 0.1 }
/// ")?;
/// let loss = fintan::LossCurvature::of(&net).eigenvalues(2).samples(fintan::TaskSamples::Test).memory("4GB");
/// let found = loss.compute()?;
/// assert_eq!((found.samples, found.parameters), (4, 4 * 8 + 8 + 8 + 1));
/// assert!(found.hessian.largest[0] >= found.hessian.largest[1] && found.hessian.smallest[0] < 0.0);
/// # Ok::<(), fintan::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct CurvatureBuilder<'a> {
    network: &'a Network,
    count: usize,
    samples: TaskSamples,
    double_precision: bool,
    mode: Mode,
    memory: Memory,
}

impl CurvatureBuilder<'_> {
    /// Finds this number of eigenvalues at each end of the spectrum, each eigenvalue once if the network has fewer parameters.
    /// With 0, only traces are computed.
    #[must_use]
    pub fn eigenvalues(mut self, count: usize) -> Self {
        self.count = count;
        self
    }

    /// Takes the loss over these samples of the task.
    #[must_use]
    pub fn samples(mut self, samples: TaskSamples) -> Self {
        self.samples = samples;
        self
    }

    /// Computes in f64. The device must support it.
    #[must_use]
    pub fn double_precision(mut self) -> Self {
        self.double_precision = true;
        self
    }

    /// Uses the running statistics of batch norms. By default batch norms use the statistics of all samples together.
    #[must_use]
    pub fn running_statistics(mut self) -> Self {
        self.mode = Mode::Eval;
        self
    }

    /// Uses at most this amount of memory, such as `4GB` or `500MB`.
    #[must_use]
    pub fn memory(mut self, amount: &str) -> Self {
        self.memory = Memory::Text(amount.into());
        self
    }

    /// Computes eigenvalues and traces. Eigenvalues come from Lanczos iteration: one product with a matrix costs about two to
    /// four steps of training over all samples, and an eigenvalue takes tens of products.
    ///
    /// # Errors
    /// Fails if the network has no task, weights or data cannot be read, memory does not suffice, derivatives are not finite, or
    /// eigenvalues do not converge.
    pub fn compute(&self) -> Result<LossCurvature, Error> {
        let Self { network, count, samples, mode, .. } = *self;
        let experiment = task(network).ok_or(Error::NoTask { name: samples.name() })?;
        let loss = experiment.supervised().ok_or(Error::NoTask { name: samples.name() })?.task.loss;
        let device = network.device();
        let mut placement: Placement = device.placement.clone();
        if self.double_precision {
            if !device.supports_f64() {
                return Err(DeviceError::NoDoublePrecision.into());
            }
            placement.dtype = DType::F64;
        }
        let memory = self.memory.bytes()?;
        let examples = task_examples(experiment, samples)?;
        let (placed, _) = network.placed(&placement, mode)?;
        let x = examples.batch(0..examples.len(), &placement.device, placement.dtype);
        let problem = KernelRequest::new(placed, x, None, mode, Entries::Full, Vec::new())?.without_parts();
        let problem = problem.with_limits(device.limits);
        let (each, vectors) = passes_of_curvature(&problem, 2 * count, memory)?;
        let curvature = TaskCurvature::new(problem.network().clone(), &examples, mode, loss, each);
        let parameters = network.architecture().parameter_count();
        let found = |of: Curvature| -> Result<(Product<'_>, Spectrum), Error> {
            let product = Product { curvature: &curvature, of, vectors };
            let spectrum = product.extremes(count, memory, network.seed())?;
            Ok((product, spectrum))
        };
        let [first, second, whole] = Curvature::ALL.map(found);
        let ((first, gauss_newton), (second, functional), (_, hessian)) = (first?, second?, whole?);
        let exact = (problem.samples()[0] * problem.outputs().len() <= EXACT_ROWS)
            .then(|| exact_trace(&problem, &curvature, loss, memory).ok())
            .flatten();
        let first = exact.unwrap_or_else(|| first.trace(&gauss_newton, network.seed()));
        let second = second.trace(&functional, network.seed().wrapping_add(1));
        let sum = Trace {
            value: first.value + second.value,
            standard_error: first.standard_error.hypot(second.standard_error),
        };
        for (of, trace) in Curvature::ALL.into_iter().zip([first, second, sum]) {
            if !trace.value.is_finite() {
                return Err(CurvatureError::NotFinite(of.name()).into());
            }
        }
        Ok(LossCurvature {
            samples: examples.len(),
            outputs: examples.outputs,
            parameters,
            gauss_newton: spectrum_of(gauss_newton, count, first),
            functional: spectrum_of(functional, count, second),
            hessian: spectrum_of(hessian, count, sum),
        })
    }
}

/// A matrix of second derivatives over all parameters, one after the other.
struct Product<'a> {
    curvature: &'a TaskCurvature,
    of: Curvature,
    vectors: usize,
}

impl SymmetricOperator for Product<'_> {
    fn rows(&self) -> usize {
        self.curvature.network().architecture().parameter_count()
    }

    fn times(&self, v: &[f64]) -> Vec<f64> {
        let placement = self.curvature.network().placement();
        let mut from = 0;
        let tangents: Vec<Tensor<2>> = (self.curvature.network().parameters().iter())
            .map(|parameter| {
                let shape = parameter.dims();
                let values = v[from..from + shape[0] * shape[1]].to_vec();
                from += values.len();
                let data = TensorData::new(values, shape).convert_dtype(placement.dtype);
                Tensor::from_data(data, (&placement.device, placement.dtype))
            })
            .collect();
        let product = self.curvature.times(self.of, &tangents);
        product.into_iter().flat_map(|each| each.into_data().iter::<f64>().collect::<Vec<f64>>()).collect()
    }

    fn vectors(&self) -> usize {
        self.vectors
    }
}

impl Product<'_> {
    /// The eigenpairs at the ends of the spectrum: at the upper end only, if no eigenvalue is negative.
    fn extremes(&self, count: usize, memory: f64, seed: u64) -> Result<Spectrum, Error> {
        if count == 0 {
            return Ok(Spectrum { values: Vec::new(), vectors: Vec::new(), residuals: Vec::new() });
        }
        let ends = match self.of {
            Curvature::GaussNewton => [count, 0],
            Curvature::Functional | Curvature::Hessian => [count, count],
        };
        let matrix = self.of.name();
        extreme_eigenpairs(self, ends, TOLERANCE, PRODUCTS, seed).map_err(|e| {
            let products = match e {
                SpectrumError::NotConverged { products, .. } | SpectrumError::NotConfirmed { products } => products,
                SpectrumError::NotFinite => return CurvatureError::NotFinite(matrix).into(),
                SpectrumError::NotSymmetric | SpectrumError::Diagonal | SpectrumError::NotDecomposed => {
                    return e.into();
                }
            };
            let memory = (products < PRODUCTS && products == self.vectors).then_some(Bytes(memory));
            CurvatureError::NotConverged { matrix, products, memory }.into()
        })
    }

    /// An estimate of the trace, or the sum of the eigenvalues if all of them are known.
    fn trace(&self, found: &Spectrum, seed: u64) -> Trace {
        if found.values.len() == self.rows() {
            return Trace { value: found.values.iter().sum(), standard_error: 0.0 };
        }
        Trace::estimate(self, found, DRAWS, seed)
    }
}

/// The trace of the Gauss-Newton matrix, Σ_n ⟨∂²C/∂f², Θ⟩ over the kernels Θ of single samples.
fn exact_trace(
    problem: &KernelRequest,
    curvature: &TaskCurvature,
    loss: LossFunction,
    memory: f64,
) -> Result<Trace, PlanError> {
    let (n, width) = (problem.samples()[0], problem.outputs().len());
    let mut value = 0.0;
    if loss == LossFunction::Squared {
        let traced = problem.clone().with_entries(Entries::Traced);
        for i in 0..n {
            let one = traced.restricted_to(&[i..i + 1, i..i + 1]);
            let kernel = KernelParts::compute(&one, &KernelPlan::new(&one, None, memory)?);
            value += kernel.trace(&kernel.total()) / n as f64;
        }
        return Ok(Trace { value, standard_error: 0.0 });
    }
    for (i, second) in curvature.of_outputs().chunks_exact(width * width).enumerate() {
        let one = problem.restricted_to(&[i..i + 1, i..i + 1]);
        let kernel = KernelParts::compute(&one, &KernelPlan::new(&one, None, memory)?);
        value += kernel.total().iter().zip(second).map(|(k, a)| k * a).sum::<f64>();
    }
    Ok(Trace { value, standard_error: 0.0 })
}

/// Cuts a list of eigenvalues into its ends.
fn spectrum_of(found: Spectrum, count: usize, trace: Trace) -> CurvatureSpectrum {
    let Spectrum { values, residuals, .. } = found;
    let largest = values.iter().copied().take(count).collect();
    let smallest = values.iter().copied().skip(count).rev().collect();
    let largest_residual = residuals.into_iter().fold(0.0, f64::max);
    CurvatureSpectrum { largest, smallest, largest_residual, trace }
}
