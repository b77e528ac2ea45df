//! The division of a batch into passes, for products with a kernel that is never formed.

use super::counter::Counter;
use super::{Bytes, PlanError, most};
use crate::problem::KernelRequest;

/// Extra Krylov vectors, `[minimum, usual]`, that the eigensolver needs before it converges.
const SPARE: [usize; 2] = [16, 64];

/// Number of samples in one pass of products with the kernel, and number of pairs of vectors that also fit, if `count`
/// eigenpairs are needed with at most `memory` bytes.
///
/// The whole batch is one pass if at least half of the memory, and enough of it, remains for vectors.
pub(crate) fn of_products(problem: &KernelRequest, count: usize, memory: f64) -> Result<(usize, usize), PlanError> {
    let counter = Counter::with(problem, None);
    passes(problem, problem.samples()[0] * problem.outputs().len(), &|samples| counter.pass(samples), count, memory)
}

/// Number of samples in one pass of products with a matrix of second derivatives in the parameters, and number of pairs of
/// vectors that also fit, if `count` eigenpairs are needed with at most `memory` bytes. `problem` gives network and samples.
///
/// ```
/// # use burn::tensor::{DType, Device, Tensor};
/// # use fintan_config::{Architecture, Layer, Parametrization, Shape};
/// # use fintan_net::{Lowering, Mode, PlacedNetwork, Placement};
/// # use rand::SeedableRng as _;
/// # let architecture = Architecture::new(Shape::vector(2), &[Layer::Dense(1.into())], Parametrization::default())?;
/// # let cpu = Placement { device: Device::flex(), dtype: DType::F64, lowering: Lowering::Host };
/// # let network = PlacedNetwork::init(&architecture, &mut rand_chacha::ChaCha20Rng::seed_from_u64(0), &cpu);
/// # let x = Tensor::<4>::from_data([[[[1.0, 0.0]]], [[[0.0, 2.0]]]], (&cpu.device, cpu.dtype));
/// use fintan_ntk::{Entries, KernelRequest, passes_of_curvature};
///
/// let request = KernelRequest::new(network, x, None, Mode::Eval, Entries::Full, Vec::new())?;
/// let (samples, vectors) = passes_of_curvature(&request, 1, 4e9)?;
/// assert!(samples == 2 && vectors > 3); // all samples at once, and vectors for every parameter
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`PlanError::Eigenpairs`] if the memory is not sufficient, [`PlanError::TensorOfPass`] if a pass does not fit the device.
pub fn passes_of_curvature(problem: &KernelRequest, count: usize, memory: f64) -> Result<(usize, usize), PlanError> {
    let counter = Counter::with(problem, None);
    // Beside the tape there are the tangents of all maps, and pairs of cotangents.
    let pass = |samples| counter.pass(samples) + counter.tapes(samples);
    passes(problem, problem.network().architecture().parameter_count(), &pass, count, memory)
}

fn passes(
    problem: &KernelRequest,
    rows: usize,
    pass: &dyn Fn(usize) -> f64,
    count: usize,
    memory: f64,
) -> Result<(usize, usize), PlanError> {
    let counter = Counter::with(problem, None);
    let (n, count) = (problem.samples()[0], count.min(rows));
    let least = (count + SPARE[0]).min(rows);
    let rows = rows as f64;
    // `pair`: a vector and its product. `found`: vectors, products and images of the current and the previous eigenpairs.
    let (pair, found) = (2.0 * 8.0 * rows, (4.0 * count as f64 + 4.0) * 8.0 * rows);
    let free = memory - counter.base() - found;
    let rest = (0.5 * free).min(free - pair * (count + SPARE[1]) as f64);
    let holds = |some: usize| problem.limits().holds(counter.tensor_of_pass(some));
    let least_pass = if problem.is_coupled() { n } else { 1 };
    if let Some(largest) = problem.limits().largest_tensor.filter(|_| !holds(least_pass)) {
        let needed = Bytes(counter.tensor_of_pass(least_pass));
        return Err(PlanError::TensorOfPass { samples: least_pass, needed, largest: Bytes(largest) });
    }
    let fits = |some: usize| pass(some) <= rest && holds(some);
    let samples = if problem.is_coupled() { n } else { most(n, fits).unwrap_or(1) };
    let vectors = ((free - pass(samples)) / pair).floor();
    if vectors < least as f64 {
        let needed = Bytes(memory - free + pass(least_pass) + pair * least as f64);
        return Err(PlanError::Eigenpairs { count, needed, given: Bytes(memory) });
    }
    Ok((samples, vectors as usize))
}
