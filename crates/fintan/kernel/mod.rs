//! The empirical tangent kernel of a network.

mod largest;
mod request;
pub(crate) mod stored;
mod tiles;
pub(crate) mod written;

use std::borrow::Cow;
use std::path::Path;

use fintan_artifact::{Array, ArrayValues, write_npz};
use fintan_ntk::{Entries, KernelValues, Spectrum};
use fintan_predict::{KernelDrift, KernelReference};

pub use self::largest::LargestEigenpairs;
pub use self::request::{KernelBuilder, PreparedKernel, TileProgress};
pub(crate) use self::request::{Memory, half_of_free_memory};
pub use self::stored::KernelMetadata;
use self::stored::kernel_arrays;
pub use self::tiles::{TileStore, TilesError};
use self::written::write_kernel;
pub use self::written::{EigenvalueSummary, KernelSummary, WriteOrder};
use crate::error::Error;
use crate::network::Network;

/// The empirical neural tangent kernel of a network between inputs, Θ[(n, o), (n', o')] over samples n and outputs o.
///
/// ```
/// let net = fintan::Network::parse("
///     [network]
///     input = 4
///     parametrization = { ntk = { beta = 0.0 } }
///     layers = [{ dense = { out = 3 } }]
/// ")?;
/// let x = vec![vec![4.0, 0.0, 0.0, 0.0], vec![1.0, 1.0, 1.0, 1.0]];
/// let kernel = fintan::Kernel::of(&net).inputs(x).full().compute()?;
/// // A linear network: Θ[(n, o), (n', o')] = (x · x') / 4 where o = o', else 0.
/// assert_eq!(kernel.shape(), [2, 2, 3, 3]);
/// assert_eq!(kernel.trace(), 3.0 * (4.0 + 1.0));
/// # Ok::<(), fintan::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Kernel {
    found: fintan_ntk::KernelParts,
    metadata: KernelMetadata,
    inputs: Vec<Array<'static>>,
}

impl Kernel {
    /// Begins a request for a kernel of a network.
    #[must_use]
    pub fn of(network: &Network) -> KernelBuilder<'_> {
        KernelBuilder::new(network)
    }

    /// Reads a kernel file (`.npz`) of [`Self::save`] or `fintan ntk`.
    ///
    /// ```
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("k.npz");
    /// let net = fintan::Network::parse("[network]\ninput = 2\nlayers = [{ dense = { out = 3 } }]")?;
    /// let kernel = fintan::Kernel::of(&net).by_parameter().compute()?;
    /// kernel.save(&path)?;
    /// assert_eq!(fintan::Kernel::load(&path)?.values(), kernel.values());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Fails if the file cannot be read, or lacks an array.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        let (kernel, metadata, inputs) = stored::read(path.as_ref())?;
        Ok(Self { found: kernel, metadata, inputs })
    }

    /// Writes a kernel file (`.npz`). The file appears complete or not at all.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let total = self.found.total();
        let arrays = kernel_arrays(&self.found, &total, &self.metadata, &self.inputs);
        let arrays: Vec<(&str, Array)> = arrays.iter().map(|(name, array)| (name.as_str(), array.clone())).collect();
        Ok(write_npz(path.as_ref(), &arrays)?)
    }

    /// Writes a kernel file as [`Self::save`] does, together with its eigenvalues and pictures (a heat map, a plot of the
    /// spectrum). Returns a summary.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<KernelSummary, Error> {
        self.write_within(path, f64::INFINITY, WriteOrder::KernelFirst)
    }

    /// Does what [`Self::write`] does, with a bound on the bytes for the eigenvalues and a choice of what is written first.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn write_within(&self, path: impl AsRef<Path>, spare: f64, order: WriteOrder) -> Result<KernelSummary, Error> {
        write_kernel(path.as_ref(), &self.found, &self.metadata, &self.inputs, spare, order)
    }

    /// Merges the tiles that several processes computed, each in its own folder or in a shared one.
    ///
    /// # Errors
    /// Fails if folders hold tiles of different kernels, if tiles are missing, or if a tile is damaged.
    pub fn merge(folders: &[impl AsRef<Path>]) -> Result<Self, Error> {
        tiles::merge(folders)
    }

    /// Makes a kernel of computed parts. It fails if the kernel is not finite, and divides by the number of outputs if
    /// requested.
    fn finish(
        mut found: fintan_ntk::KernelParts,
        metadata: KernelMetadata,
        inputs: Vec<Array<'static>>,
    ) -> Result<Self, Error> {
        if metadata.mean {
            found.divide(found.outputs as f64);
        }
        if !found.total().is_finite() {
            return Err(Error::SumOverflow);
        }
        Ok(Self { found, metadata, inputs })
    }

    /// The kernel as an array in row-major order.
    #[must_use]
    pub fn values(&self) -> Array<'_> {
        let shape = self.found.shape();
        match self.found.total() {
            Cow::Borrowed(values) => stored::values_array(values, &shape),
            Cow::Owned(KernelValues::F32(values)) => Array { shape, values: ArrayValues::F32(values.into()) },
            Cow::Owned(KernelValues::F64(values)) => Array { shape, values: ArrayValues::F64(values.into()) },
        }
    }

    /// Each parameter's part of the kernel, with the parameter's name. The parts add up to the kernel.
    pub fn parts(&self) -> impl ExactSizeIterator<Item = (&str, Array<'_>)> {
        let shape = self.found.shape();
        self.found.parts.iter().map(move |part| (part.name.as_str(), stored::values_array(&part.values, &shape)))
    }

    /// The shape: `[N, N2]`, `[N, N2, O]` or `[N, N2, O, O]`.
    #[must_use]
    pub fn shape(&self) -> Vec<usize> {
        self.found.shape()
    }

    /// The inputs of both sides; one array if both sides are the same.
    #[must_use]
    pub fn inputs(&self) -> &[Array<'static>] {
        &self.inputs
    }

    /// The outputs, the symmetry and the convention of the kernel.
    #[must_use]
    pub fn metadata(&self) -> &KernelMetadata {
        &self.metadata
    }

    /// Σ Θ[(n, o), (n, o)] over samples and outputs.
    #[must_use]
    pub fn trace(&self) -> f64 {
        self.found.trace(&self.found.total())
    }

    /// Θ[n, n'] / (Θ[n, n] Θ[n', n'])^½ for a traced kernel whose two sides are the same inputs; `None` for other kernels.
    ///
    /// ```
    /// let net = fintan::Network::parse("[network]\ninput = 2\nlayers = [{ dense = { out = 3 } }]")?;
    /// let kernel = fintan::Kernel::of(&net).inputs(vec![vec![1.0, 0.0], vec![2.0, 0.0]]).compute()?;
    /// let scaled = kernel.scaled().expect("a traced kernel").to_f64();
    /// assert!((scaled[0] - 1.0).abs() < 1e-12 && (scaled[1] - scaled[2]).abs() < 1e-12);
    /// # Ok::<(), fintan::Error>(())
    /// ```
    #[must_use]
    pub fn scaled(&self) -> Option<Array<'static>> {
        stored::scaled(&self.found, &self.found.total(), &self.metadata)
    }

    /// The change of this kernel from `first`. If `first` is `None`, it is set to this kernel.
    ///
    /// ```
    /// let net = fintan::Network::parse("[network]\ninput = 2\nlayers = [{ dense = { out = 3 } }]")?;
    /// let mut first = None;
    /// let drift = fintan::Kernel::of(&net).compute()?.drift(&mut first)?;
    /// assert!(drift.relative == 0.0 && (drift.alignment - 1.0).abs() < 1e-12);
    /// # Ok::<(), fintan::Error>(())
    /// ```
    ///
    /// # Errors
    /// Fails for a kernel between two sets of inputs, and for a diagonal kernel.
    pub fn drift(&self, first: &mut Option<KernelReference>) -> Result<KernelDrift, Error> {
        let (total, spectrum) = (self.found.total(), self.spectrum()?);
        Ok(first.get_or_insert_with(|| KernelReference::new(&total, &spectrum)).drift(&total, &spectrum))
    }

    /// The choice of entries that the kernel holds.
    #[must_use]
    pub fn entries(&self) -> Entries {
        self.found.entries
    }

    /// All eigenpairs, largest first, of a traced or full kernel whose two sides are the same inputs.
    ///
    /// # Errors
    /// Fails for a kernel between two sets of inputs, and for a diagonal kernel.
    pub fn spectrum(&self) -> Result<Spectrum, Error> {
        if !self.metadata.symmetric {
            return Err(fintan_ntk::SpectrumError::NotSymmetric.into());
        }
        Ok(self.found.spectrum(&self.found.total())?)
    }
}
