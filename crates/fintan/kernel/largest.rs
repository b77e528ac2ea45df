//! The largest eigenpairs of kernels too large to form.

use std::path::{Path, PathBuf};

use fintan_artifact::{Array, write_npz, write_whole};
use fintan_config::{Bytes, Shape};
use fintan_ntk::{KernelRequest, Operator, Overflow, Spectrum, SpectrumError, Trace, largest_eigenpairs};
use fintan_report::grid_png;

use crate::error::Error;

/// Tolerance of the residuals |Θ v - λ v|, relative to the largest eigenvalue.
const TOLERANCE: f64 = 1e-4;
/// Largest number of products with the kernel before the iteration stops with an error.
const PRODUCTS: usize = 2000;
/// Largest number of rows (samples times outputs) for which the trace is exact. Each row needs its cotangents, which cost about
/// as much as a product with the kernel for every sample.
const EXACT_ROWS: usize = 16_384;
/// Number of random vectors for an estimate of the trace.
const DRAWS: usize = 16;

/// The largest eigenpairs of a full kernel over samples and outputs. The kernel is never formed;
/// [`PreparedKernel::largest`](super::PreparedKernel::largest) computes them.
///
/// ```
/// let net = fintan::Network::parse("
///     [network]
///     input = 4
///     parametrization = { ntk = { beta = 0.0 } }
///     layers = [{ dense = { out = 2 } }]
/// ")?;
/// // A linear network: Θ[(n, o), (n', o')] = (x · x') / 4 where o = o', so that each eigenvalue of the Gram matrix is double.
/// let x = vec![vec![4.0, 0.0, 0.0, 0.0], vec![0.0, 2.0, 0.0, 0.0]];
/// let found = fintan::Kernel::of(&net).inputs(x).full().prepare()?.largest(1)?;
/// assert!((found.spectrum.values[0] - 4.0).abs() < 1e-4);
/// assert!((found.shares()[0][0] - 0.4).abs() < 1e-4);
/// # Ok::<(), fintan::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LargestEigenpairs {
    /// The eigenpairs, largest first. An eigenvector is indexed by sample, then by output.
    pub spectrum: Spectrum,
    /// The trace of the whole kernel: exact, or an estimate with its standard error.
    pub trace: Trace,
    samples: usize,
    outputs: Vec<usize>,
    /// The shape of the output, if the network gives one square image in grey or colour.
    image: Option<Shape>,
}

impl LargestEigenpairs {
    /// Number of random vectors for an estimate of the trace.
    pub const TRACE_DRAWS: usize = DRAWS;
    /// Largest number of rows of a kernel for which the trace is exact, if memory allows.
    pub const EXACT_TRACE_ROWS: usize = EXACT_ROWS;

    pub(super) fn find(problem: &KernelRequest, count: usize, memory: f64, seed: u64) -> Result<Self, Error> {
        let operator = Operator::within(problem, count, memory)?;
        let spectrum = largest_eigenpairs(&operator, count, TOLERANCE, PRODUCTS, seed).map_err(|e| {
            let short = matches!(e, SpectrumError::NotConverged { products, .. } | SpectrumError::NotConfirmed { products }
                if products < PRODUCTS && products == operator.vectors());
            if short {
                return Error::FewVectors { source: e, memory: Bytes(memory) };
            }
            if matches!(e, SpectrumError::NotFinite) { Error::Overflow(Overflow::of(problem, None)) } else { e.into() }
        })?;
        let trace = trace(problem, &operator, &spectrum, memory, seed);
        let (outputs, shape) = (problem.outputs().to_vec(), problem.network().architecture().output());
        let whole = outputs.len() == shape.len() && shape.height == shape.width && !shape.is_vector();
        let image = (whole && [1, 3].contains(&shape.channels)).then_some(shape);
        Ok(Self { spectrum, trace, samples: problem.samples()[0], outputs, image })
    }

    /// Each eigenvalue as a share of the trace, and the standard error of the share.
    #[must_use]
    pub fn shares(&self) -> Vec<[f64; 2]> {
        self.spectrum.values.iter().map(|&value| self.trace.share(value)).collect()
    }

    /// The largest residual |Θ v - λ v| / λ₁.
    #[must_use]
    pub fn largest_residual(&self) -> f64 {
        self.spectrum.residuals.iter().copied().fold(0.0, f64::max)
    }

    /// Writes the arrays `eigenvalues`, `eigenvectors` `[K, N, O]`, `residuals`, `trace` (value, standard error), `shares` and
    /// `outputs`. If eigenvectors are images, it also writes a picture of them and returns its path.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<Option<PathBuf>, Error> {
        let Self { spectrum, trace, samples, outputs, image } = self;
        let (path, found) = (path.as_ref(), spectrum.values.len());
        let arrays = [
            ("eigenvalues", Array::f64(&[found], spectrum.values.clone())),
            ("eigenvectors", Array::f64(&[found, *samples, outputs.len()], spectrum.vectors.concat())),
            ("residuals", Array::f64(&[found], spectrum.residuals.clone())),
            ("trace", Array::f64(&[2], vec![trace.value, trace.standard_error])),
            ("shares", Array::f64(&[found, 2], self.shares().concat())),
            ("outputs", Array::integers(outputs.iter().copied())),
        ];
        let picture = image.map(|shape| self.images(shape)).transpose()?;
        write_npz(path, &arrays)?;
        let Some(png) = picture else { return Ok(None) };
        let picture = path.with_extension("png");
        write_whole(&picture, &png)?;
        Ok(Some(picture))
    }

    /// Draws eigenvectors as images, one row of samples for each eigenvector.
    fn images(&self, shape: Shape) -> Result<Vec<u8>, Error> {
        // Each eigenvector has its own scale, with zero in the middle, because its sign and length are arbitrary.
        let mut values = Vec::with_capacity(self.spectrum.values.len() * self.samples * shape.len());
        for vector in &self.spectrum.vectors {
            let largest = vector.iter().fold(f64::MIN_POSITIVE, |m, v| m.max(v.abs()));
            for image in vector.chunks_exact(shape.len()) {
                let at = |p: usize| (0..shape.channels).map(move |c| c * shape.positions() + p);
                values.extend((0..shape.positions()).flat_map(at).map(|i| (image[i] / largest) as f32));
            }
        }
        Ok(grid_png(&values, shape.height, shape.channels, self.samples)?)
    }
}

/// Computes the trace exactly if all eigenvalues are known, or if the kernel has few rows whose cotangents fit into memory.
/// Otherwise it is estimated.
fn trace(problem: &KernelRequest, operator: &Operator, found: &Spectrum, memory: f64, seed: u64) -> Trace {
    let exact = operator.rows() <= EXACT_ROWS || found.values.len() == operator.rows();
    // Memory left beside the eigenvectors and their output arrays.
    let left = memory - 4.0 * 8.0 * (found.values.len() * operator.rows()) as f64;
    let exact = exact.then(|| Trace::exact(problem, found, left).ok()).flatten();
    exact.unwrap_or_else(|| Trace::estimate(operator, found, DRAWS, seed))
}
