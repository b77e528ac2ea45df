//! Training in the kernel regime, in closed form.
//!
//! For the loss `C = Σ_i |f(x_i) - y_i|² / (2N)` and a kernel Θ that stays as it is, gradient flow gives
//! `f(t) = y + e^{-tΘ/N} (f(0) - y)` on the N training inputs, and on others
//! `f*(t) = f*(0) + Θ* Θ⁻¹ (1 - e^{-tΘ/N}) (y - f(0))`: along an eigenvector the error decays at the rate λ/N. Steps of
//! gradient descent of size η do the same with `(1 - ηλ/N)^k` for `e^{-tλ/N}`, and diverge where `ηλ > 2N`.
//! Source: Jacot, Gabriel, Hongler, NeurIPS 2018; Lee et al., NeurIPS 2019.

use faer::linalg::solvers::SelfAdjointEigen;
use faer::{Mat, MatRef, Side};

/// A kernel over training inputs, decomposed.
#[derive(Debug, Clone)]
pub struct Flow {
    vectors: Mat<f64>,
    /// Eigenvalues of Θ, largest first.
    values: Vec<f64>,
    /// N
    samples: f64,
}

/// Why a kernel has no flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FlowError {
    /// Arrays that do not belong together.
    #[error("a kernel of {kernel} training inputs does not fit outputs of {outputs}")]
    Shape {
        /// Rows of the kernel.
        kernel: usize,
        /// Rows of outputs or targets.
        outputs: usize,
    },
    /// A kernel that holds a value that is not finite.
    #[error("the kernel holds a value that is not finite")]
    NotFinite,
}

/// How time passes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Time {
    /// Gradient flow for a time t.
    Flow(f64),
    /// Steps of gradient descent of a size.
    Steps {
        /// Learning rate η.
        rate: f64,
        /// Number of steps.
        count: u64,
    },
}

impl Time {
    /// What is left of the error along an eigenvalue λ/N.
    fn left(self, rate: f64) -> f64 {
        match self {
            Self::Flow(t) => (-t * rate).exp(),
            Self::Steps { rate: step, count } => (1.0 - step * rate).powf(count as f64),
        }
    }

    /// `(1 - left) / rate`, also where the rate is 0.
    fn done(self, rate: f64) -> f64 {
        let whole = match self {
            Self::Flow(t) => t,
            Self::Steps { rate, count } => rate * count as f64,
        };
        if rate == 0.0 {
            return whole;
        }
        // Near rate 0 what is left is 1 but for rounding.
        match self {
            Self::Flow(t) => -(-t * rate).exp_m1() / rate,
            Self::Steps { rate: step, count } if step * rate < 0.5 => {
                -(count as f64 * (-step * rate).ln_1p()).exp_m1() / rate
            }
            Self::Steps { .. } => (1.0 - self.left(rate)) / rate,
        }
    }
}

impl Flow {
    /// Of a symmetric kernel of n rows, row-major: Θ\[i, j\] of N = n training inputs, the same for every output, or between
    /// their outputs too, `Θ[(i, o), (j, o')]`, with N = n / outputs.
    ///
    /// # Errors
    /// Values that are not n² or not finite.
    pub fn new(kernel: &[f64], n: usize, samples: usize) -> Result<Self, FlowError> {
        if kernel.len() != n * n {
            return Err(FlowError::Shape { kernel: kernel.len(), outputs: n });
        }
        if kernel.iter().any(|v| !v.is_finite()) {
            return Err(FlowError::NotFinite);
        }
        let matrix = MatRef::from_row_major_slice(kernel, n, n);
        let eigen = SelfAdjointEigen::new(matrix, Side::Lower).map_err(|_| FlowError::NotFinite)?;
        let order: Vec<usize> = (0..n).rev().collect();
        let values = order.iter().map(|&i| eigen.S().column_vector()[i]).collect();
        let vectors = Mat::from_fn(n, n, |row, column| eigen.U()[(row, order[column])]);
        Ok(Self { vectors, values, samples: samples as f64 })
    }

    /// Eigenvalues, largest first.
    #[must_use]
    pub fn eigenvalues(&self) -> &[f64] {
        &self.values
    }

    /// Rates λ/N at which the error decays along each eigenvector, largest first.
    #[must_use]
    pub fn rates(&self) -> Vec<f64> {
        self.values.iter().map(|v| v / self.samples).collect()
    }

    /// Learning rate above which gradient descent diverges: 2N/λ_max.
    #[must_use]
    pub fn largest_rate(&self) -> f64 {
        2.0 * self.samples / self.values[0]
    }

    /// Squared error of the start along each eigenvector, summed over outputs: what each rate has to remove.
    ///
    /// # Errors
    /// Arrays that do not fit.
    pub fn error_by_mode(&self, outputs: &[f64], targets: &[f64]) -> Result<Vec<f64>, FlowError> {
        let (along, k) = self.along(outputs, targets)?;
        Ok(along.chunks(k).map(|mode| mode.iter().map(|v| v * v).sum()).collect())
    }

    /// Outputs on the training inputs, \[N, k\] row-major, from those at the start and the targets.
    ///
    /// # Errors
    /// Arrays that do not fit.
    pub fn train(&self, outputs: &[f64], targets: &[f64], time: Time) -> Result<Vec<f64>, FlowError> {
        let (mut along, k) = self.along(outputs, targets)?;
        for (mode, rate) in along.chunks_mut(k).zip(self.rates()) {
            for v in mode {
                *v *= time.left(rate);
            }
        }
        let error = self.back(&along, k);
        Ok(targets.iter().zip(error).map(|(y, e)| y + e).collect())
    }

    /// Outputs on other inputs, \[M, k\] row-major, from the kernel Θ*\[M, N\] between them and the training inputs and from
    /// their outputs at the start.
    ///
    /// # Errors
    /// Arrays that do not fit.
    pub fn test(
        &self,
        kernel: &[f64],
        test_outputs: &[f64],
        outputs: &[f64],
        targets: &[f64],
        time: Time,
    ) -> Result<Vec<f64>, FlowError> {
        let n = self.values.len();
        let (mut along, k) = self.along(outputs, targets)?;
        let rows = test_outputs.len() / k;
        if kernel.len() != rows * n || test_outputs.len() != rows * k {
            return Err(FlowError::Shape { kernel: kernel.len() / n, outputs: rows });
        }
        for (mode, rate) in along.chunks_mut(k).zip(self.rates()) {
            for v in mode {
                *v *= time.done(rate) / self.samples;
            }
        }
        let dual = self.back(&along, k);
        let moved = MatRef::from_row_major_slice(kernel, rows, n) * MatRef::from_row_major_slice(&dual, n, k);
        Ok((0..rows * k).map(|i| test_outputs[i] - moved[(i / k, i % k)]).collect())
    }

    /// The error of the start along the eigenvectors, \[N, k\], and k.
    fn along(&self, outputs: &[f64], targets: &[f64]) -> Result<(Vec<f64>, usize), FlowError> {
        let n = self.values.len();
        if outputs.len() != targets.len() || outputs.is_empty() || !outputs.len().is_multiple_of(n) {
            return Err(FlowError::Shape { kernel: n, outputs: outputs.len() });
        }
        let k = outputs.len() / n;
        let error: Vec<f64> = outputs.iter().zip(targets).map(|(f, y)| f - y).collect();
        let along = self.vectors.transpose() * MatRef::from_row_major_slice(&error, n, k);
        Ok(((0..n * k).map(|i| along[(i / k, i % k)]).collect(), k))
    }

    fn back(&self, along: &[f64], k: usize) -> Vec<f64> {
        let n = self.values.len();
        let values = &self.vectors * MatRef::from_row_major_slice(along, n, k);
        (0..n * k).map(|i| values[(i / k, i % k)]).collect()
    }
}
