//! Eigenvalues and eigenvectors of kernels, formed or not.

use faer::{Mat, Side};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha20Rng;
use rand_distr::{Distribution as _, StandardNormal};

use crate::kernel::{Entries, Kernel, Values};
use crate::operator::Operator;
use crate::plan::{Plan, PlanError};
use crate::problem::Problem;

/// Eigenpairs of a symmetric kernel, the largest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Spectrum {
    /// Eigenvalues.
    pub values: Vec<f64>,
    /// Eigenvectors of unit length, one after another.
    pub vectors: Vec<Vec<f64>>,
    /// |Θ v - λ v| / λ₁ of each pair.
    pub residuals: Vec<f64>,
}

/// Why there is no spectrum.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SpectrumError {
    /// Two sets of samples.
    #[error("a kernel between two sets of inputs is no symmetric matrix and has no eigenvalues")]
    NotSymmetric,
    /// A kernel without a matrix.
    #[error("a diagonal kernel is a list of matrices; take a full or a traced one for eigenvalues")]
    Diagonal,
    /// Numbers that are none; [`crate::Overflow::of`] says where they come from.
    #[error("the kernel holds values that are not finite")]
    NotFinite,
    /// The decomposition of a finite matrix failed.
    #[error("the kernel is finite, but the decomposition into eigenvalues did not converge")]
    NotDecomposed,
    /// The iteration ended before a second start confirmed what had converged.
    #[error(
        "after {products} products with the kernel its eigenpairs have converged, but others of the same eigenvalues may be \
         missing"
    )]
    NotConfirmed {
        /// Products with the kernel.
        products: usize,
    },
    /// The iteration ended first.
    #[error("after {products} products with the kernel the largest residual is {residual:.1e}, above {wanted:.1e}")]
    NotConverged {
        /// Products with the kernel.
        products: usize,
        /// The largest residual.
        residual: f64,
        /// What was wanted.
        wanted: f64,
    },
}

impl Kernel {
    /// The kernel as a matrix, row-major, with its numbers of rows and columns.
    ///
    /// # Errors
    /// [`SpectrumError::Diagonal`]
    pub fn matrix(&self, values: &Values) -> Result<(Vec<f64>, [usize; 2]), SpectrumError> {
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
    /// A kernel that is no symmetric matrix, or holds values that are not finite.
    pub fn spectrum(&self, values: &Values) -> Result<Spectrum, SpectrumError> {
        let (matrix, [rows, columns]) = self.matrix(values)?;
        if rows != columns {
            return Err(SpectrumError::NotSymmetric);
        }
        Spectrum::of(&matrix, rows)
    }

    /// All eigenvalues of the kernel, without eigenvectors: a spectrum whose vectors and residuals are empty, in a third
    /// of the time and in [`Self::eigenvalue_bytes`].
    ///
    /// # Errors
    /// As [`Self::spectrum`].
    pub fn eigenvalues(&self, values: &Values) -> Result<Spectrum, SpectrumError> {
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

    /// Bytes that [`Self::eigenvalues`] of so many rows takes: the matrix, two copies of it and work space.
    #[must_use]
    pub fn eigenvalue_bytes(rows: usize) -> f64 {
        4.0 * 8.0 * (rows * rows) as f64
    }
}

impl Spectrum {
    /// All eigenpairs of a symmetric n x n matrix, row-major.
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

    /// λ₁ / λ_min; none where the smallest eigenvalue is lost in the rounding of the largest.
    #[must_use]
    pub fn condition_number(&self) -> Option<f64> {
        let (largest, smallest) = (*self.values.first()?, *self.values.last()?);
        (smallest > largest * f64::EPSILON * self.values.len() as f64).then(|| largest / smallest)
    }

    /// exp of the entropy of the eigenvalues as shares of the trace: 1 for a constant kernel, N for a delta
    /// (Roy and Vetterli, 2007).
    #[must_use]
    pub fn effective_rank(&self) -> f64 {
        let positive = || self.values.iter().map(|v| v.max(0.0));
        let trace: f64 = positive().sum();
        let entropy: f64 = positive().map(|v| v / trace).filter(|&p| p > 0.0).map(|p| -p * p.ln()).sum();
        entropy.exp()
    }
}

/// The largest `count` eigenpairs of a full kernel that is never formed.
///
/// Lanczos with full reorthogonalization on v ↦ J Jᵀ v: one pullback and one pushforward of the batch a step. Vectors and
/// projections are f64, the products are in the network's precision. A Krylov space holds one vector of every eigenspace,
/// so what has converged is confirmed from a second start, orthogonal to the first space and followed for half as many
/// products: several eigenvectors of one eigenvalue are found.
///
/// # Errors
/// Two sets of samples, values that are not finite, and residuals above `tolerance`, or pairs that were not confirmed, after
/// `products` steps or as many as the operator has memory for.
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
    let rows = operator.rows();
    let (count, products) = (count.min(rows), products.min(operator.vectors()).min(rows));
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let mut space = Space::default();
    // What the start before had converged to, and after how many products.
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
        let closed = left < 1e-12 * space.scale;
        next = rest.iter().map(|v| v / left).collect();
        if last || (size >= count && size.is_multiple_of(8)) {
            let spectrum = space.ritz(count).ok_or(SpectrumError::NotDecomposed)?;
            let worst = spectrum.residuals.iter().copied().fold(0.0, f64::max);
            if last && (worst >= tolerance && size < rows) {
                return Err(SpectrumError::NotConverged { products, residual: worst, wanted: tolerance });
            }
            // A start is followed for half as long as the first: values converge twice as fast as vectors.
            let followed = found.as_ref().is_none_or(|(_, first)| 2 * (size - start) >= *first);
            let again = found.as_ref().is_some_and(|(before, _)| {
                let moved = before.values.iter().zip(&spectrum.values).map(|(a, b)| (a - b).abs());
                moved.fold(0.0, f64::max) <= tolerance * spectrum.values[0].abs()
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

/// An orthonormal basis and what the kernel makes of it.
#[derive(Default)]
struct Space {
    basis: Vec<Vec<f64>>,
    products: Vec<Vec<f64>>,
    /// `projected[j][i] = q_i · Θ q_j` for i up to j.
    projected: Vec<Vec<f64>>,
    /// The longest product.
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

    /// Takes out what lies in the space; twice is enough (Kahan).
    fn clear(&self, v: &mut [f64]) {
        for _ in 0..2 {
            for q in &self.basis {
                let share = dot(q, v);
                v.iter_mut().zip(q).for_each(|(v, q)| *v -= share * q);
            }
        }
    }

    /// Adds a unit vector orthogonal to the basis with its product, and gives what of the product lies outside.
    fn extend(&mut self, q: Vec<f64>, product: Vec<f64>) -> Vec<f64> {
        self.basis.push(q);
        self.projected.push(self.basis.iter().map(|q| dot(q, &product)).collect());
        self.scale = self.scale.max(norm(&product));
        let mut rest = product.clone();
        self.clear(&mut rest);
        self.products.push(product);
        rest
    }

    /// The largest Ritz pairs, with their true residuals.
    fn ritz(&self, count: usize) -> Option<Spectrum> {
        let size = self.basis.len();
        let matrix = Mat::from_fn(size, size, |i, j| self.projected[i.max(j)][i.min(j)]);
        let eigen = matrix.self_adjoint_eigen(Side::Lower).ok()?;
        let (small, values) = (eigen.U(), eigen.S().column_vector());
        let largest = values[size - 1].abs().max(f64::MIN_POSITIVE);
        let mut spectrum = Spectrum { values: Vec::new(), vectors: Vec::new(), residuals: Vec::new() };
        for column in (0..size).rev().take(count) {
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
            spectrum.values.push(values[column]);
            spectrum.vectors.push(vector);
            spectrum.residuals.push(rest.sqrt() / largest);
        }
        Some(spectrum)
    }
}

/// The trace of a full kernel that is never formed, and the standard error of its estimate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trace {
    /// Σ_n Σ_o Θ[(n, o), (n, o)], never less than the sum of the eigenvalues that are known.
    pub value: f64,
    /// 0 if the value is exact to rounding.
    pub standard_error: f64,
}

impl Trace {
    /// The exact trace: the sum of all eigenvalues if they are known, else of one traced kernel a sample, each in at most
    /// `memory` bytes.
    ///
    /// # Errors
    /// [`PlanError`] if that is too little.
    pub fn exact(problem: &Problem, found: &Spectrum, memory: f64) -> Result<Self, PlanError> {
        let (n, sum) = (problem.samples()[0], found.values.iter().sum::<f64>());
        if found.values.len() == n * problem.outputs().len() {
            return Ok(Self { value: sum, standard_error: 0.0 });
        }
        let traced = problem.clone().summed().with_entries(Entries::Traced);
        let mut value = 0.0;
        for i in 0..n {
            let one = traced.among(&[i..i + 1, i..i + 1]);
            let kernel = Kernel::compute(&one, &Plan::new(&one, None, memory)?);
            value += kernel.trace(&kernel.total());
        }
        Ok(Self { value: value.max(sum), standard_error: 0.0 })
    }

    /// An estimate by Hutchinson's method in the complement of the eigenvectors that are known: Σ λ + the mean of |Jᵀ v|² over
    /// `draws` vectors of random signs without their shares along the eigenvectors (Meyer et al., 2021).
    #[must_use]
    pub fn estimate(operator: &Operator, found: &Spectrum, draws: usize, seed: u64) -> Self {
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

    /// An eigenvalue as a share of the trace, and the standard error of the share.
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
