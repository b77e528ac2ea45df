//! Eigenvalues and eigenvectors of kernels, formed or not.

use faer::{Mat, Side};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha20Rng;
use rand_distr::{Distribution as _, StandardNormal};
use rayon::prelude::*;

use crate::kernel::{Entries, KernelParts, KernelValues};
use crate::operator::Operator;
use crate::plan::{KernelPlan, PlanError};
use crate::problem::KernelRequest;

/// Eigenpairs of a symmetric kernel, the largest first.
///
/// ```
/// let spectrum = fintan_ntk::Spectrum::of(&[2.0, 0.0, 0.0, 6.0], 2)?;
/// assert_eq!(spectrum.values, [6.0, 2.0]);
/// assert_eq!(spectrum.condition_number(), Some(3.0));
/// # Ok::<(), fintan_ntk::SpectrumError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Spectrum {
    /// Eigenvalues.
    pub values: Vec<f64>,
    /// Eigenvectors of unit length.
    pub vectors: Vec<Vec<f64>>,
    /// |Θ v - λ v| / λ₁ for each pair; of a matrix that is not positive, relative to its largest |λ|.
    pub residuals: Vec<f64>,
}

/// The error for a spectrum that cannot be computed.
///
/// ```
/// use fintan_ntk::{Spectrum, SpectrumError};
///
/// assert_eq!(Spectrum::of(&[f64::NAN], 1), Err(SpectrumError::NotFinite));
/// ```
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SpectrumError {
    /// The kernel is between two sets of samples.
    #[error("a kernel between two sets of inputs is not a symmetric matrix and has no eigenvalues")]
    NotSymmetric,
    /// A diagonal kernel, which is not a matrix.
    #[error("a diagonal kernel is a list of matrices; take a full or a traced one for eigenvalues")]
    Diagonal,
    /// Values that are not finite; [`crate::Overflow::of`] finds their origin.
    #[error("the kernel holds values that are not finite")]
    NotFinite,
    /// The decomposition of a finite matrix failed.
    #[error("the kernel is finite, but the decomposition into eigenvalues did not converge")]
    NotDecomposed,
    /// The iteration ended before a second start confirmed the converged pairs.
    #[error(
        "after {products} products with the kernel its eigenpairs have converged, but others of the same eigenvalues may be \
         missing"
    )]
    NotConfirmed {
        /// Number of products with the kernel.
        products: usize,
    },
    /// The iteration ended before it converged.
    #[error("after {products} products with the kernel the largest residual is {residual:.1e}, above {wanted:.1e}")]
    NotConverged {
        /// Number of products with the kernel.
        products: usize,
        /// The largest residual.
        residual: f64,
        /// The required residual.
        wanted: f64,
    },
}

impl KernelParts {
    /// The kernel as a row-major matrix, with its numbers of rows and columns.
    ///
    /// # Errors
    /// [`SpectrumError::Diagonal`]
    pub fn matrix(&self, values: &KernelValues) -> Result<(Vec<f64>, [usize; 2]), SpectrumError> {
        let [rows, columns] = self.matrix_shape()?;
        let mut matrix = vec![0.0; rows * columns];
        for (i, row) in matrix.chunks_mut(columns).enumerate() {
            self.row(values, i, row);
        }
        Ok((matrix, [rows, columns]))
    }

    /// All eigenpairs of the kernel.
    ///
    /// # Errors
    /// A kernel that is not a symmetric matrix, or has values that are not finite.
    pub fn spectrum(&self, values: &KernelValues) -> Result<Spectrum, SpectrumError> {
        let (matrix, [rows, columns]) = self.matrix(values)?;
        if rows != columns {
            return Err(SpectrumError::NotSymmetric);
        }
        Spectrum::of(&matrix, rows)
    }

    /// All eigenvalues of the kernel, without eigenvectors; vectors and residuals of the result are empty. It needs a third
    /// of the time of [`Self::spectrum`], and [`Self::eigenvalue_bytes`] of memory.
    ///
    /// # Errors
    /// The errors of [`Self::spectrum`].
    pub fn eigenvalues(&self, values: &KernelValues) -> Result<Spectrum, SpectrumError> {
        let (matrix, [rows, columns]) = self.matrix(values)?;
        if rows != columns {
            return Err(SpectrumError::NotSymmetric);
        }
        if matrix.iter().any(|v| !v.is_finite()) {
            return Err(SpectrumError::NotFinite);
        }
        let faer = Mat::from_fn(rows, rows, |i, j| matrix[i * rows + j]);
        drop(matrix);
        let mut values = faer.self_adjoint_eigenvalues(Side::Lower).map_err(|_| SpectrumError::NotDecomposed)?;
        values.reverse();
        Ok(Spectrum { values, vectors: Vec::new(), residuals: Vec::new() })
    }

    /// Bytes that [`Self::eigenvalues`] needs for a matrix with `rows` rows: the matrix, two copies, and work space.
    #[must_use]
    pub fn eigenvalue_bytes(rows: usize) -> f64 {
        4.0 * 8.0 * (rows * rows) as f64
    }
}

impl Spectrum {
    /// All eigenpairs of a symmetric row-major n x n matrix.
    ///
    /// # Errors
    /// [`SpectrumError::NotFinite`]
    pub fn of(matrix: &[f64], n: usize) -> Result<Self, SpectrumError> {
        if matrix.iter().any(|v| !v.is_finite()) {
            return Err(SpectrumError::NotFinite);
        }
        let rows = n;
        let matrix = Mat::from_fn(rows, rows, |i, j| matrix[i * rows + j]);
        let eigen = matrix.self_adjoint_eigen(Side::Lower).map_err(|_| SpectrumError::NotDecomposed)?;
        let (u, s) = (eigen.U(), eigen.S().column_vector());
        let values: Vec<f64> = (0..rows).rev().map(|i| s[i]).collect();
        let vectors = (0..rows).rev().map(|i| (0..rows).map(|r| u[(r, i)]).collect()).collect();
        let largest = values[0].abs().max(f64::MIN_POSITIVE);
        let rest = &matrix * u - u * s.as_diagonal();
        let residuals = (0..rows).rev().map(|i| rest.col(i).norm_l2() / largest).collect();
        Ok(Self { values, vectors, residuals })
    }

    /// λ₁ / λ_min; `None` if the smallest eigenvalue is below the rounding error of the largest.
    #[must_use]
    pub fn condition_number(&self) -> Option<f64> {
        let (largest, smallest) = (*self.values.first()?, *self.values.last()?);
        (smallest > largest * f64::EPSILON * self.values.len() as f64).then(|| largest / smallest)
    }

    /// The exponential of the entropy of the eigenvalues divided by the trace: 1 for a constant kernel, N for a delta kernel
    /// (Roy and Vetterli, 2007).
    #[must_use]
    pub fn effective_rank(&self) -> f64 {
        let positive = || self.values.iter().map(|v| v.max(0.0));
        let trace: f64 = positive().sum();
        let entropy: f64 = positive().map(|v| v / trace).filter(|&p| p > 0.0).map(|p| -p * p.ln()).sum();
        entropy.exp()
    }
}

/// A symmetric matrix that is known by its products with vectors.
///
/// ```
/// use fintan_ntk::{SymmetricOperator, Trace, extreme_eigenpairs};
///
/// /// The diagonal matrix of 3, 1, 0 and -2.
/// struct Diagonal;
///
/// impl SymmetricOperator for Diagonal {
///     fn rows(&self) -> usize {
///         4
///     }
///
///     fn times(&self, v: &[f64]) -> Vec<f64> {
///         v.iter().zip([3.0, 1.0, 0.0, -2.0]).map(|(v, d)| v * d).collect()
///     }
/// }
///
/// let found = extreme_eigenpairs(&Diagonal, [1, 1], 1e-9, 100, 0)?;
/// assert!((found.values[0] - 3.0).abs() < 1e-9 && (found.values[1] + 2.0).abs() < 1e-9);
/// let trace = Trace::estimate(&Diagonal, &found, 8, 0);
/// assert!((trace.value - 2.0).abs() < 1e-9); // the other entries are on the diagonal, so every draw is exact
/// # Ok::<(), fintan_ntk::SpectrumError>(())
/// ```
pub trait SymmetricOperator {
    /// Number of rows of the matrix.
    fn rows(&self) -> usize;

    /// The product of the matrix with v.
    fn times(&self, v: &[f64]) -> Vec<f64>;

    /// The quadratic form `vᵀ A v`.
    fn form(&self, v: &[f64]) -> f64 {
        dot(v, &self.times(v))
    }

    /// Number of pairs of vectors, each with its product, that fit into the memory.
    fn vectors(&self) -> usize {
        usize::MAX
    }
}

impl SymmetricOperator for Operator<'_> {
    fn rows(&self) -> usize {
        Operator::rows(self)
    }

    fn times(&self, v: &[f64]) -> Vec<f64> {
        Operator::times(self, v)
    }

    fn form(&self, v: &[f64]) -> f64 {
        Operator::form(self, v)
    }

    fn vectors(&self) -> usize {
        Operator::vectors(self)
    }
}

/// The largest `count` eigenpairs of a full kernel, without forming the kernel.
///
/// Lanczos iteration with full reorthogonalization on v ↦ J Jᵀ v; each step is one pullback and one pushforward of the
/// batch. Vectors and projections are f64, and products have the precision of the network. A Krylov space contains only one
/// vector of every eigenspace. So converged pairs are confirmed by a second start, orthogonal to the first space, with half
/// as many products. In this way several eigenvectors of one eigenvalue are found.
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
/// use fintan_ntk::{Entries, KernelRequest, Operator, largest_eigenpairs};
///
/// // `network` is y = w · x + b, so that Θ = x · x' + 1, and `x` holds (1, 0) and (0, 2).
/// let request = KernelRequest::new(network, x, None, Mode::Eval, Entries::Full, Vec::new())?;
/// let found = largest_eigenpairs(&Operator::new(&request), 1, 1e-9, 100, 0)?;
/// // The eigenvalues of [[2, 1], [1, 5]] are (7 ± √13) / 2.
/// assert!((found.values[0] - f64::midpoint(7.0, 13.0_f64.sqrt())).abs() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Two sets of samples; values that are not finite; residuals above `tolerance` or unconfirmed pairs after `products` steps,
/// or after as many steps as the operator has memory for.
pub fn largest_eigenpairs(
    operator: &Operator,
    count: usize,
    tolerance: f64,
    products: usize,
    seed: u64,
) -> Result<Spectrum, SpectrumError> {
    if !operator.is_symmetric() {
        return Err(SpectrumError::NotSymmetric);
    }
    extreme_eigenpairs(operator, [count, 0], tolerance, products, seed)
}

/// The eigenpairs at both ends of the spectrum of a symmetric matrix that is known by its products: the `largest` and the
/// `smallest`, which are negative if the matrix has enough negative eigenvalues. In the result the largest is the first and
/// the smallest the last.
///
/// The iteration is that of [`largest_eigenpairs`]; one Krylov space serves both ends. `tolerance` is relative to the largest
/// absolute eigenvalue. See [`SymmetricOperator`] for an example.
///
/// # Errors
/// Values that are not finite; residuals above `tolerance` or unconfirmed pairs after `products` steps, or after as many steps
/// as the operator has memory for.
pub fn extreme_eigenpairs(
    operator: &impl SymmetricOperator,
    [largest, smallest]: [usize; 2],
    tolerance: f64,
    products: usize,
    seed: u64,
) -> Result<Spectrum, SpectrumError> {
    let rows = operator.rows();
    let ends = [largest.min(rows), smallest.min(rows - largest.min(rows))];
    let (count, products) = (ends[0] + ends[1], products.min(operator.vectors()).min(rows));
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let mut space = Space::default();
    // The converged pairs of the previous start, and the number of products at that time.
    let mut found: Option<(Spectrum, usize)> = None;
    let mut start = 0;
    let mut next = space.outside(rows, &mut rng);
    loop {
        let product = operator.times(&next);
        let rest = space.extend(next, product);
        let (size, left) = (space.basis.len(), norm(&rest));
        if !left.is_finite() {
            return Err(SpectrumError::NotFinite);
        }
        let last = size >= products;
        let closed = left <= 1e-12 * space.scale;
        next = rest.iter().map(|v| v / left).collect();
        if last || (size >= count && size.is_multiple_of(8)) {
            let (spectrum, scale) = space.ritz(ends).ok_or(SpectrumError::NotDecomposed)?;
            let worst = spectrum.residuals.iter().copied().fold(0.0, f64::max);
            if last && (worst >= tolerance && size < rows) {
                return Err(SpectrumError::NotConverged { products, residual: worst, wanted: tolerance });
            }
            // The second start takes half as many products as the first, because values converge twice as fast as vectors.
            let followed = found.as_ref().is_none_or(|(_, first)| 2 * (size - start) >= *first);
            let again = found.as_ref().is_some_and(|(before, _)| {
                let moved = before.values.iter().zip(&spectrum.values).map(|(a, b)| (a - b).abs());
                moved.fold(0.0, f64::max) <= tolerance * scale
            });
            if size == rows || (worst < tolerance && followed && again) {
                return Ok(spectrum);
            }
            if last {
                return Err(SpectrumError::NotConfirmed { products });
            }
            if worst < tolerance && followed {
                let first = found.map_or(size, |(_, first)| first);
                (found, start) = (Some((spectrum, first)), size);
                next = space.outside(rows, &mut rng);
                continue;
            }
        }
        if closed {
            next = space.outside(rows, &mut rng);
        }
    }
}

/// An orthonormal basis and its products with the kernel.
#[derive(Default)]
struct Space {
    basis: Vec<Vec<f64>>,
    products: Vec<Vec<f64>>,
    /// `projected[j][i] = q_i · Θ q_j` for i up to j.
    projected: Vec<Vec<f64>>,
    /// The largest norm of a product.
    scale: f64,
}

impl Space {
    /// A random unit vector orthogonal to the basis.
    fn outside(&self, rows: usize, rng: &mut ChaCha20Rng) -> Vec<f64> {
        let mut v: Vec<f64> = (0..rows).map(|_| StandardNormal.sample(rng)).collect();
        self.clear(&mut v);
        let length = norm(&v);
        for x in &mut v {
            *x /= length;
        }
        v
    }

    /// Removes the component of `v` in the space; two passes are enough (Kahan).
    fn clear(&self, v: &mut [f64]) {
        for _ in 0..2 {
            for q in &self.basis {
                let share = dot(q, v);
                v.iter_mut().zip(q).for_each(|(v, q)| *v -= share * q);
            }
        }
    }

    /// Adds a unit vector orthogonal to the basis, with its product. Returns the component of the product outside the space.
    fn extend(&mut self, q: Vec<f64>, product: Vec<f64>) -> Vec<f64> {
        self.basis.push(q);
        self.projected.push(self.basis.par_iter().map(|q| dot(q, &product)).collect());
        self.scale = self.scale.max(norm(&product));
        let mut rest = product.clone();
        self.clear(&mut rest);
        self.products.push(product);
        rest
    }

    /// The largest and the smallest Ritz pairs, with their true residuals, and the largest absolute Ritz value.
    fn ritz(&self, [largest, smallest]: [usize; 2]) -> Option<(Spectrum, f64)> {
        let size = self.basis.len();
        let matrix = Mat::from_fn(size, size, |i, j| self.projected[i.max(j)][i.min(j)]);
        let eigen = matrix.self_adjoint_eigen(Side::Lower).ok()?;
        let (small, values) = (eigen.U(), eigen.S().column_vector());
        let scale = values[size - 1].abs().max(values[0].abs()).max(f64::MIN_POSITIVE);
        let columns: Vec<usize> =
            (0..size).rev().filter(|&column| column < smallest || column + largest >= size).collect();
        let pair = |&column: &usize| {
            let combined = |vectors: &[Vec<f64>]| {
                let mut sum = vec![0.0; vectors[0].len()];
                for (j, q) in vectors.iter().enumerate() {
                    let share = small[(j, column)];
                    sum.iter_mut().zip(q).for_each(|(sum, q)| *sum += share * q);
                }
                sum
            };
            let (vector, product) = (combined(&self.basis), combined(&self.products));
            let rest: f64 = product.iter().zip(&vector).map(|(p, v)| (p - values[column] * v).powi(2)).sum();
            (values[column], vector, rest.sqrt() / scale)
        };
        let pairs: Vec<(f64, Vec<f64>, f64)> = columns.par_iter().map(pair).collect();
        let mut spectrum = Spectrum { values: Vec::new(), vectors: Vec::new(), residuals: Vec::new() };
        for (value, vector, residual) in pairs {
            spectrum.values.push(value);
            spectrum.vectors.push(vector);
            spectrum.residuals.push(residual);
        }
        Some((spectrum, scale))
    }
}

/// The trace of a full kernel, computed without forming the kernel, and the standard error of the estimate.
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
/// use fintan_ntk::{Entries, KernelRequest, Spectrum, Trace};
///
/// // `network` is y = w · x + b, so that Θ = x · x' + 1, and `x` holds (1, 0) and (0, 2).
/// let request = KernelRequest::new(network, x, None, Mode::Eval, Entries::Full, Vec::new())?;
/// let trace = Trace::exact(&request, &Spectrum::of(&[2.0, 1.0, 1.0, 5.0], 2)?, f64::INFINITY)?;
/// assert!((trace.value - 7.0).abs() < 1e-12);
/// assert!((trace.share(3.5)[0] - 0.5).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trace {
    /// The sum of the diagonal, for a kernel Σ_n Σ_o Θ[(n, o), (n, o)]. The trace of a kernel is at least the sum of the known
    /// eigenvalues.
    pub value: f64,
    /// 0 if the value is exact up to rounding.
    pub standard_error: f64,
}

impl Trace {
    /// The exact trace. If all eigenvalues are known it is their sum; otherwise it is computed from one traced kernel for
    /// each sample, each with at most `memory` bytes.
    ///
    /// # Errors
    /// [`PlanError`] if the memory is not sufficient.
    pub fn exact(problem: &KernelRequest, found: &Spectrum, memory: f64) -> Result<Self, PlanError> {
        let (n, sum) = (problem.samples()[0], found.values.iter().sum::<f64>());
        if found.values.len() == n * problem.outputs().len() {
            return Ok(Self { value: sum, standard_error: 0.0 });
        }
        let traced = problem.clone().without_parts().with_entries(Entries::Traced);
        let mut value = 0.0;
        for i in 0..n {
            let one = traced.restricted_to(&[i..i + 1, i..i + 1]);
            let kernel = KernelParts::compute(&one, &KernelPlan::new(&one, None, memory)?);
            value += kernel.trace(&kernel.total());
        }
        Ok(Self { value: value.max(sum), standard_error: 0.0 })
    }

    /// An estimate by Hutchinson's method in the complement of the known eigenvectors: Σ λ + the mean of vᵀ A v (|Jᵀ v|² for
    /// a kernel) over `draws` vectors of random signs from which the components along the eigenvectors are removed (Meyer et
    /// al., 2021).
    #[must_use]
    pub fn estimate(operator: &impl SymmetricOperator, found: &Spectrum, draws: usize, seed: u64) -> Self {
        let rows = operator.rows();
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let squares: Vec<f64> = (0..draws)
            .map(|_| {
                let mut v: Vec<f64> = (0..rows).map(|_| if rng.random_bool(0.5) { 1.0 } else { -1.0 }).collect();
                for q in &found.vectors {
                    let share = dot(q, &v);
                    v.iter_mut().zip(q).for_each(|(v, q)| *v -= share * q);
                }
                operator.form(&v)
            })
            .collect();
        let mean = squares.iter().sum::<f64>() / draws as f64;
        let variance = squares.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / (draws.max(2) - 1) as f64;
        Self { value: found.values.iter().sum::<f64>() + mean, standard_error: (variance / draws as f64).sqrt() }
    }

    /// An eigenvalue divided by the trace, and the standard error of this ratio.
    #[must_use]
    pub fn share(&self, eigenvalue: f64) -> [f64; 2] {
        let share = eigenvalue / self.value;
        [share, share * self.standard_error / self.value]
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}
