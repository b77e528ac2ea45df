//! Compares the kernel of a finite network with its limit.

use fintan_config::Architecture;
use fintan_theory::{NetworkLimit, PositionKernel, Request};

use crate::PredictError;

/// The kernel of a finite network between some inputs.
#[derive(Debug, Clone, Copy)]
pub struct FiniteKernel<'a> {
    /// `[N1, N2]` (traced), `[N1, N2, O]` (diagonal) or `[N1, N2, O, O]` (full).
    pub shape: &'a [usize],
    /// Its entries, row-major.
    pub values: &'a [f64],
    /// Inputs of the rows, `[N1, input]` in channel, row, column order.
    pub inputs: &'a [f64],
    /// Inputs of the columns, if they differ from those of the rows.
    pub inputs2: Option<&'a [f64]>,
    /// The outputs of the kernel.
    pub outputs: &'a [usize],
    /// Whether a traced kernel is divided by the number of outputs.
    pub is_mean: bool,
    /// Whether it is the kernel of the network without its output nonlinearity.
    pub before_output: bool,
}

/// The comparison of a finite network's kernel with its limit.
///
/// ```
/// use fintan_config::{Architecture, Beta, Layer, Parametrization, Shape};
/// use fintan_predict::{FiniteKernel, KernelComparison};
///
/// let layers = [Layer::Dense(1.into())];
/// let network = Architecture::new(Shape::vector(2), &layers, Parametrization::Ntk(Beta { beta: 0.0 }))?;
/// // A kernel that is 1.5 times its limit ⟨x, x'⟩ / 2.
/// let (values, inputs) = (&[0.75, 0.0, 0.0, 0.75], &[1.0, 0.0, 0.0, 1.0]);
/// let (shape, outputs) = (&[2, 2], &[0]);
/// let kernel =
///     FiniteKernel { shape, values, inputs, inputs2: None, outputs, is_mean: false, before_output: false };
/// let found = KernelComparison::new(&network, &kernel)?;
/// assert_eq!((found.ntk, found.relative_difference), (vec![0.5, 0.0, 0.0, 0.5], 0.5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct KernelComparison {
    /// The limit of the tangent kernel, in the shape of the finite kernel.
    pub ntk: Vec<f64>,
    /// The covariance of the outputs of a random network (NNGP), in the shape of the finite kernel.
    pub nngp: Vec<f64>,
    /// `‖Θ - Θ∞‖ / ‖Θ∞‖` in Frobenius norms.
    pub relative_difference: f64,
    /// The largest difference divided by the largest entry of the limit.
    pub largest_difference: f64,
    /// For a traced kernel over one set of inputs: the angle between two inputs, and the finite kernel divided by the square
    /// root of the product of its diagonal entries.
    pub scaled_by_angle: Vec<(f64, f64)>,
}

impl KernelComparison {
    /// Compares a kernel with the limit of its network.
    ///
    /// # Errors
    /// A network without a limit, or a kernel whose shape does not fit its inputs and outputs.
    ///
    /// # Example
    ///
    /// A linear layer has no finite-width error: `Θ = (1 - β²) ⟨x, x'⟩ / n + β²`.
    ///
    /// ```
    /// use fintan_config::{Architecture, Beta, Layer, Parametrization, Shape};
    /// use fintan_predict::{FiniteKernel, KernelComparison};
    ///
    /// let layers = [Layer::Dense(1.into())];
    /// let network = Architecture::new(Shape::vector(2), &layers, Parametrization::Ntk(Beta { beta: 0.6 }))?;
    /// let kernel = FiniteKernel {
    ///     shape: &[2, 2],
    ///     values: &[0.68, 0.36, 0.36, 0.68],
    ///     inputs: &[1.0, 0.0, 0.0, 1.0],
    ///     inputs2: None,
    ///     outputs: &[0],
    ///     is_mean: false,
    ///     before_output: false,
    /// };
    /// assert!(KernelComparison::new(&network, &kernel)?.relative_difference < 1e-15);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(network: &Architecture, kernel: &FiniteKernel) -> Result<Self, PredictError> {
        let FiniteKernel { shape, values, inputs, inputs2, outputs, is_mean, before_output } = *kernel;
        let len = network.input.len();
        let request = Request { all_positions: shape.len() == 4, ..Request::default() };
        let limit = if before_output { NetworkLimit::new(network) } else { NetworkLimit::of_outputs(network) }?;
        let first: Vec<&[f64]> = inputs.chunks(len).collect();
        let second: Option<Vec<&[f64]>> = inputs2.map(|x| x.chunks(len).collect());
        let of = |kernel: PositionKernel| {
            [&kernel.ntk, &kernel.covariance].map(|values| entries(values, &kernel, shape.len(), outputs, is_mean))
        };
        let (mut ntk, mut nngp) = (Vec::new(), Vec::new());
        for [tangent, covariance] in limit.gram_map(&first, second.as_deref(), &request, of)? {
            ntk.extend(tangent);
            nngp.extend(covariance);
        }
        if ntk.len() != values.len() {
            return Err(PredictError::Shape(format!("its kernel {shape:?} does not fit its inputs and outputs")));
        }
        let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
        let differences = || ntk.iter().zip(values).map(|(a, b)| a - b);
        let relative_difference = norm(&mut differences()) / norm(&mut ntk.iter().copied());
        let largest = ntk.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
        let largest_difference = differences().fold(0.0_f64, |m, v| m.max(v.abs())) / largest;
        let is_square = second.is_none() && shape.len() == 2;
        let scaled_by_angle = if is_square { scaled_by_angle(&first, values) } else { Vec::new() };
        Ok(Self { ntk, nngp, relative_difference, largest_difference, scaled_by_angle })
    }
}

/// The entries of a finite kernel for one pair of inputs, at infinite width; `rank` selects traced, diagonal or full.
pub(crate) fn entries(
    values: &[f64],
    kernel: &PositionKernel,
    rank: usize,
    outputs: &[usize],
    is_mean: bool,
) -> Vec<f64> {
    // In the network a flattened image is a vector; here it has its positions.
    let positions = kernel.positions;
    let at = |o: usize, other: usize| {
        let (p, q) = (o % positions, other % positions);
        if o / positions != other / positions {
            0.0
        } else if kernel.all_positions {
            values[p * kernel.positions + q]
        } else {
            values[p]
        }
    };
    match rank {
        2 => {
            let sum: f64 = outputs.iter().map(|&o| at(o, o)).sum();
            vec![if is_mean { sum / outputs.len() as f64 } else { sum }]
        }
        3 => outputs.iter().map(|&o| at(o, o)).collect(),
        _ => {
            outputs.iter().flat_map(|&o| outputs.iter().map(move |&other| (o, other))).map(|(o, r)| at(o, r)).collect()
        }
    }
}

fn scaled_by_angle(inputs: &[&[f64]], kernel: &[f64]) -> Vec<(f64, f64)> {
    let n = inputs.len();
    let product = |i: usize, j: usize| inputs[i].iter().zip(inputs[j]).map(|(a, b)| a * b).sum::<f64>();
    (0..n)
        .flat_map(|i| (i..n).map(move |j| (i, j)))
        .map(|(i, j)| {
            let cosine = product(i, j) / (product(i, i).sqrt() * product(j, j).sqrt());
            let scaled = kernel[i * n + j] / (kernel[i * n + i].sqrt() * kernel[j * n + j].sqrt());
            (cosine.clamp(-1.0, 1.0).acos(), scaled)
        })
        .collect()
}
