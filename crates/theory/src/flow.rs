//! Training in the kernel regime, in closed form.
//!
//! For the loss `C = Σ_i |f(x_i) - y_i|² / (2N)` and a constant kernel Θ, gradient flow gives
//! `f(t) = y + e^{-tΘ/N} (f(0) - y)` on the N training inputs, and `f*(t) = f*(0) + Θ* Θ⁻¹ (1 - e^{-tΘ/N}) (y - f(0))` on
//! other inputs. Along an eigenvector the error decays at the rate λ/N. For steps of gradient descent of size η,
//! `(1 - ηλ/N)^k` replaces `e^{-tλ/N}`; they diverge if `ηλ > 2N`.
//! Source: Jacot, Gabriel, Hongler, NeurIPS 2018; Lee et al., NeurIPS 2019.

use faer::linalg::solvers::SelfAdjointEigen;
use faer::{Mat, MatRef, Side};

/// The eigendecomposition of a kernel over training inputs.
///
/// ```
/// use fintan_theory::{Flow, Time};
///
/// // Two training inputs with the eigenvalues 2 and 1, outputs 0 and targets 1.
/// let flow = Flow::new(&[2.0, 0.0, 0.0, 1.0], 2, 2)?;
/// assert_eq!((flow.rates(), flow.largest_rate()), (vec![1.0, 0.5], 2.0));
/// let outputs = flow.train(&[0.0, 0.0], &[1.0, 1.0], Time::Steps { rate: 1.0, count: 1 })?;
/// assert!((outputs[0] - 1.0).abs() < 1e-12 && (outputs[1] - 0.5).abs() < 1e-12);
/// # Ok::<(), fintan_theory::FlowError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Flow {
    vectors: Mat<f64>,
    /// Eigenvalues of Θ, largest first.
    values: Vec<f64>,
    /// The number N of training inputs.
    samples: f64,
}

/// The error for a kernel without a flow.
///
/// ```
/// use fintan_theory::{Flow, FlowError};
///
/// assert_eq!(Flow::new(&[f64::NAN], 1, 1).unwrap_err(), FlowError::NotFinite);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FlowError {
    /// Arrays whose shapes do not match.
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

/// The training time.
///
/// ```
/// use fintan_theory::{Flow, Time};
///
/// let flow = Flow::new(&[1.0], 1, 1)?;
/// let output = |time| flow.train(&[0.0], &[1.0], time).map(|outputs| outputs[0]);
/// // The error falls as exp(-t), and by half in a step of rate 1/2.
/// assert!((output(Time::Flow(2.0))? - (1.0 - (-2.0_f64).exp())).abs() < 1e-12);
/// assert!((output(Time::Steps { rate: 0.5, count: 3 })? - 0.875).abs() < 1e-12);
/// # Ok::<(), fintan_theory::FlowError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Time {
    /// Gradient flow for the time t.
    Flow(f64),
    /// Steps of gradient descent.
    Steps {
        /// Learning rate η.
        rate: f64,
        /// Number of steps.
        count: u64,
    },
}

impl Time {
    /// The remaining fraction of the error along an eigenvector with eigenvalue λ/N = `rate`.
    fn left(self, rate: f64) -> f64 {
        match self {
            Self::Flow(t) => (-t * rate).exp(),
            Self::Steps { rate: step, count } => (1.0 - step * rate).powf(count as f64),
        }
    }

    /// `(1 - left) / rate`, with its limit at rate 0.
    fn done(self, rate: f64) -> f64 {
        let whole = match self {
            Self::Flow(t) => t,
            Self::Steps { rate, count } => rate * count as f64,
        };
        if rate == 0.0 {
            return whole;
        }
        // For rates near 0, the remaining fraction is 1 up to rounding.
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
    /// Decomposes a symmetric row-major kernel with n rows. It is either Θ\[i, j\] over N = n training inputs, the same for
    /// every output, or `Θ[(i, o), (j, o')]` over inputs and outputs, with N = n / outputs.
    ///
    /// # Errors
    /// A number of values other than n², or values that are not finite.
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

    /// Squared initial error along each eigenvector, summed over outputs.
    ///
    /// # Errors
    /// Arrays whose shapes do not match.
    pub fn error_by_mode(&self, outputs: &[f64], targets: &[f64]) -> Result<Vec<f64>, FlowError> {
        let (along, k) = self.along(outputs, targets)?;
        Ok(along.chunks(k).map(|mode| mode.iter().map(|v| v * v).sum()).collect())
    }

    /// Outputs on the training inputs, \[N, k\] row-major, from the initial outputs and the targets.
    ///
    /// # Errors
    /// Arrays whose shapes do not match.
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

    /// Outputs on other inputs, \[M, k\] row-major, from the kernel Θ*\[M, N\] between these and the training inputs, and
    /// from their initial outputs.
    ///
    /// # Errors
    /// Arrays whose shapes do not match.
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

    /// The initial error along the eigenvectors, \[N, k\], and the number k of outputs.
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
