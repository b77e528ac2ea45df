//! Measures the change of a kernel during training.

use fintan_ntk::{KernelValues, Spectrum};

/// The kernel with which later kernels are compared.
///
/// ```
/// use fintan_ntk::{KernelValues, Spectrum};
/// use fintan_predict::KernelReference;
///
/// let kernel = vec![4.0, 0.0, 0.0, 3.0];
/// let spectrum = Spectrum::of(&kernel, 2)?;
/// let reference = KernelReference::new(&KernelValues::F64(kernel), &spectrum);
/// assert_eq!(reference.values(), [4.0, 0.0, 0.0, 3.0]);
/// assert!((reference.leading()[0].abs() - 1.0).abs() < 1e-12);
/// # Ok::<(), fintan_ntk::SpectrumError>(())
/// ```
#[derive(Debug, Clone)]
pub struct KernelReference {
    values: Vec<f64>,
    leading: Vec<f64>,
}

/// The distance of a kernel from its reference.
///
/// ```
/// use fintan_predict::{KernelDrift, KernelReference};
///
/// // The kernel is doubled: its leading eigenvector stays.
/// let reference = KernelReference::from_parts(vec![3.0, 0.0, 0.0, 4.0], vec![0.0, 1.0]);
/// let drift = reference.drift_of(&[6.0, 0.0, 0.0, 8.0], &[0.0, 1.0]);
/// assert_eq!(drift, KernelDrift { relative: 1.0, alignment: 1.0 });
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KernelDrift {
    /// `‖Θ - Θ₀‖ / ‖Θ₀‖` in Frobenius norms.
    pub relative: f64,
    /// `|⟨v, v₀⟩|`, with the leading eigenvectors v and v₀.
    pub alignment: f64,
}

impl KernelReference {
    /// Creates a reference from a kernel and its spectrum, which must contain at least one eigenvector.
    #[must_use]
    pub fn new(values: &KernelValues, spectrum: &Spectrum) -> Self {
        Self::from_parts(values.iter().collect(), spectrum.vectors[0].clone())
    }

    /// Creates a reference from the entries of a kernel and its leading eigenvector.
    ///
    /// ```
    /// let reference = fintan_predict::KernelReference::from_parts(vec![3.0, 0.0, 0.0, 4.0], vec![0.0, 1.0]);
    /// let drift = reference.drift_of(&[3.0, 0.0, 0.0, 9.0], &[0.6, 0.8]);
    /// assert_eq!((drift.relative, drift.alignment), (1.0, 0.8));
    /// ```
    #[must_use]
    pub fn from_parts(values: Vec<f64>, leading: Vec<f64>) -> Self {
        Self { values, leading }
    }

    /// The entries of the kernel.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The leading eigenvector.
    #[must_use]
    pub fn leading(&self) -> &[f64] {
        &self.leading
    }

    /// The distance of another kernel over the same inputs and outputs from this one.
    #[must_use]
    pub fn drift(&self, values: &KernelValues, spectrum: &Spectrum) -> KernelDrift {
        self.drift_of(&values.iter().collect::<Vec<_>>(), &spectrum.vectors[0])
    }

    /// The drift of a kernel, given by its entries and its leading eigenvector.
    #[must_use]
    pub fn drift_of(&self, values: &[f64], leading: &[f64]) -> KernelDrift {
        let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
        let moved = norm(&mut values.iter().zip(&self.values).map(|(a, b)| a - b));
        let alignment = leading.iter().zip(&self.leading).map(|(a, b)| a * b).sum::<f64>().abs();
        KernelDrift { relative: moved / norm(&mut self.values.iter().copied()), alignment }
    }
}
