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
    let (n, rows) = (problem.samples()[0], (problem.samples()[0] * problem.outputs().len()) as f64);
    let count = count.min(n * problem.outputs().len());
    // `pair`: a vector and its product. `found`: vectors, products and images of the current and the previous eigenpairs.
    let (pair, found) = (2.0 * 8.0 * rows, (4.0 * count as f64 + 4.0) * 8.0 * rows);
    let free = memory - counter.base() - found;
    let least = (count + SPARE[0]).min(n * problem.outputs().len());
    let rest = (0.5 * free).min(free - pair * (count + SPARE[1]) as f64);
    let holds = |some: usize| problem.limits().holds(counter.tensor_of_pass(some));
    let least_pass = if problem.is_coupled() { n } else { 1 };
    if let Some(largest) = problem.limits().largest_tensor.filter(|_| !holds(least_pass)) {
        let needed = Bytes(counter.tensor_of_pass(least_pass));
        return Err(PlanError::TensorOfPass { samples: least_pass, needed, largest: Bytes(largest) });
    }
    let fits = |some: usize| counter.pass(some) <= rest && holds(some);
    let samples = if problem.is_coupled() { n } else { most(n, fits).unwrap_or(1) };
    let vectors = ((free - counter.pass(samples)) / pair).floor();
    if vectors < least as f64 {
        let needed = Bytes(memory - free + counter.pass(least_pass) + pair * least as f64);
        return Err(PlanError::Eigenpairs { count, needed, given: Bytes(memory) });
    }
    Ok((samples, vectors as usize))
}
