//! The empirical tangent kernel of a network.

use std::borrow::Cow;
use std::path::Path;

use burn::tensor::DType;
use fintan_artifact::{Array, Values as ArrayValues, write_npz};
use fintan_net::{Mode, Placement};
use fintan_ntk::{Entries, Method, Overflow, Plan, Problem, Spectrum, Values};

use crate::device::DeviceError;
use crate::error::Error;
use crate::inputs::Inputs;
use crate::memory::{free_memory, parse_memory};
use crate::network::Network;
use crate::stored::{self, Convention, KernelMetadata, input_arrays, kernel_arrays};

/// Half of the memory that is free, or 4 GB where the system does not say: what a kernel may take by default.
///
/// ```
/// assert!(fintan::parts::half_of_free_memory() > 0.0);
/// ```
#[must_use]
pub fn half_of_free_memory() -> f64 {
    free_memory().map_or(4e9, |bytes| bytes / 2.0)
}

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
    found: fintan_ntk::Kernel,
    metadata: KernelMetadata,
    inputs: Vec<Array<'static>>,
}

/// Which kernel of a network is wanted; [`Kernel::of`] makes it.
///
/// By default it is the traced kernel on drawn inputs, over all outputs, in the device's precision, with the statistics of the
/// batch in batch norms, and within half of the memory that is free.
///
/// ```
/// let net = fintan::Network::parse("
///     [network]
///     input = 8
///     parametrization = { ntk = { beta = 0.5 } }
///     layers = [{ dense = { out = 3 } }]
/// ")?;
/// let mut tiles = Vec::new();
/// let kernel = fintan::Kernel::of(&net)
///     .inputs(fintan::Inputs::drawn(4))
///     .outputs(0..2)
///     .by_parameter()
///     .double_precision()
///     .on_tile(|done, all| tiles.push((done, all)))
///     .compute()?;
/// // Drawn inputs have |x|² = 8, so that the weights give 2 (1 - β²) and the biases 2 β².
/// let parts: Vec<(String, f64)> = kernel.parts().map(|(name, part)| (name.into(), part.to_f64()[0])).collect();
/// assert_eq!(parts[0].0, "0.weight");
/// assert!((parts[0].1 - 1.5).abs() < 1e-12 && (parts[1].1 - 0.5).abs() < 1e-12);
/// assert_eq!(tiles, [(1, 1)]);
/// # Ok::<(), fintan::Error>(())
/// ```
pub struct KernelBuilder<'a> {
    network: &'a Network,
    inputs: Inputs,
    inputs2: Option<Inputs>,
    entries: Entries,
    outputs: Vec<usize>,
    by_parameter: bool,
    mean: bool,
    double_precision: bool,
    mode: Mode,
    method: Option<Method>,
    memory: Option<String>,
    on_tile: Option<Box<dyn FnMut(usize, usize) + 'a>>,
}

impl<'a> KernelBuilder<'a> {
    /// Takes these inputs: an array, a file, the samples of a task, or so many as the network draws.
    #[must_use]
    pub fn inputs(mut self, inputs: impl Into<Inputs>) -> Self {
        self.inputs = inputs.into();
        self
    }

    /// Takes other inputs for the second side: the kernel is then one between two sets.
    #[must_use]
    pub fn inputs2(mut self, inputs: impl Into<Inputs>) -> Self {
        self.inputs2 = Some(inputs.into());
        self
    }

    /// Computes the entries of this choice.
    #[must_use]
    pub fn entries(mut self, entries: Entries) -> Self {
        self.entries = entries;
        self
    }

    /// Sums over equal outputs: `[N, N2]`. This is the default.
    #[must_use]
    pub fn traced(self) -> Self {
        self.entries(Entries::Traced)
    }

    /// Computes all entries: `[N, N2, O, O]`.
    #[must_use]
    pub fn full(self) -> Self {
        self.entries(Entries::Full)
    }

    /// Computes the entries of equal outputs: `[N, N2, O]`.
    #[must_use]
    pub fn diagonal(self) -> Self {
        self.entries(Entries::Diagonal)
    }

    /// Divides a traced kernel by the number of outputs.
    #[must_use]
    pub fn mean(mut self) -> Self {
        self.mean = true;
        self
    }

    /// Takes these outputs, counted in channel, row, column order; none stands for all.
    #[must_use]
    pub fn outputs(mut self, outputs: impl IntoIterator<Item = usize>) -> Self {
        self.outputs = outputs.into_iter().collect();
        self
    }

    /// Keeps each parameter's part of the kernel, which takes more memory.
    #[must_use]
    pub fn by_parameter(mut self) -> Self {
        self.by_parameter = true;
        self
    }

    /// Computes in f64, on a device that supports it.
    #[must_use]
    pub fn double_precision(mut self) -> Self {
        self.double_precision = true;
        self
    }

    /// Takes the running statistics of batch norms, where the default is those of the batch, which couple its samples.
    #[must_use]
    pub fn running_statistics(mut self) -> Self {
        self.mode = Mode::Eval;
        self
    }

    /// Computes by this method, where the default is the fastest.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.method = Some(method);
        self
    }

    /// Takes at most so much memory, such as `4GB` or `500MB`.
    #[must_use]
    pub fn memory(mut self, amount: &str) -> Self {
        self.memory = Some(amount.into());
        self
    }

    /// Calls `on_tile(done, all)` after each tile of the kernel.
    #[must_use]
    pub fn on_tile(mut self, on_tile: impl FnMut(usize, usize) + 'a) -> Self {
        self.on_tile = Some(Box::new(on_tile));
        self
    }

    /// The request as `fintan_ntk` takes it, for programs that plan tiles by themselves, and the names of tensors in the file of
    /// weights that belong to no layer.
    ///
    /// # Errors
    /// As [`Self::compute`].
    pub fn request(&self) -> Result<(Problem, Vec<String>), Error> {
        let device = self.network.device();
        let mut placement: Placement = device.placement.clone();
        if self.double_precision {
            if !device.supports_f64() {
                return Err(DeviceError::NoDoublePrecision.into());
            }
            placement.dtype = DType::F64;
        }
        let (placed, unused) = self.network.placed(&placement, self.mode)?;
        let x1 = self.inputs.placed(self.network, &placement)?;
        let x2 = self.inputs2.as_ref().map(|x| x.placed(self.network, &placement)).transpose()?;
        let problem = Problem::new(placed, x1, x2, self.mode, self.entries, self.outputs.clone())?;
        Ok((if self.by_parameter { problem } else { problem.summed() }, unused))
    }

    /// Computes the kernel.
    ///
    /// # Errors
    /// Weights or inputs that do not fit, outputs that are not there, too little memory, a kernel that is not finite.
    pub fn compute(mut self) -> Result<Kernel, Error> {
        let memory = self.memory.as_deref().map(parse_memory).transpose()?;
        let (problem, _) = self.request()?;
        let plan = Plan::new(&problem, self.method, memory.unwrap_or_else(half_of_free_memory))?;
        let mut on_tile = self.on_tile.take().unwrap_or_else(|| Box::new(|_, _| ()));
        let mut kernel = fintan_ntk::Kernel::compute_watched(&problem, &plan, &mut on_tile);
        if !kernel.is_finite() {
            return Err(Error::Overflow(Overflow::of(&problem, Some(&kernel))));
        }
        if !kernel.total().is_finite() {
            return Err(Error::SumOverflow);
        }
        let mean = self.mean && self.entries == Entries::Traced;
        if mean {
            kernel.divide(kernel.outputs as f64);
        }
        let before_output = self.network.is_before_output();
        let metadata = KernelMetadata::of(&problem, Convention { mean, before_output });
        Ok(Kernel { found: kernel, metadata, inputs: input_arrays(&problem) })
    }
}

impl Kernel {
    /// Begins the request for a kernel of a network.
    #[must_use]
    pub fn of(network: &Network) -> KernelBuilder<'_> {
        KernelBuilder {
            network,
            inputs: Inputs::Drawn(None),
            inputs2: None,
            entries: Entries::Traced,
            outputs: Vec::new(),
            by_parameter: false,
            mean: false,
            double_precision: false,
            mode: Mode::Train,
            method: None,
            memory: None,
            on_tile: None,
        }
    }

    /// Reads a kernel file (`.npz`), as [`Self::save`] and `fintan ntk` write it.
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
    /// A file that cannot be read, or lacks an array of a kernel.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        let (kernel, metadata, inputs) = stored::read(path.as_ref())?;
        Ok(Self { found: kernel, metadata, inputs })
    }

    /// Writes a kernel file (`.npz`), whole or not at all.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let total = self.found.total();
        let arrays = kernel_arrays(&self.found, &total, &self.metadata, &self.inputs);
        let arrays: Vec<(&str, Array)> = arrays.iter().map(|(name, array)| (name.as_str(), array.clone())).collect();
        Ok(write_npz(path.as_ref(), &arrays)?)
    }

    /// The shape and the numbers of the kernel, row by row.
    #[must_use]
    pub fn values(&self) -> Array<'_> {
        let shape = self.found.shape();
        match self.found.total() {
            Cow::Borrowed(values) => stored::values_array(values, &shape),
            Cow::Owned(Values::F32(values)) => Array { shape, values: ArrayValues::F32(values.into()) },
            Cow::Owned(Values::F64(values)) => Array { shape, values: ArrayValues::F64(values.into()) },
        }
    }

    /// Each parameter's part of the kernel, with its name; they add up to the kernel.
    pub fn parts(&self) -> impl ExactSizeIterator<Item = (&str, Array<'_>)> {
        let shape = self.found.shape();
        self.found.parts.iter().map(move |part| (part.name.as_str(), stored::values_array(&part.values, &shape)))
    }

    /// Lengths of the axes: `[N, N2]`, `[N, N2, O]` or `[N, N2, O, O]`.
    #[must_use]
    pub fn shape(&self) -> Vec<usize> {
        self.found.shape()
    }

    /// Inputs of one side, or of both.
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

    /// Θ[n, n'] / (Θ[n, n] Θ[n', n'])^½ of a traced kernel of inputs with themselves; none of other kernels.
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

    /// All eigenpairs of a traced or full kernel of inputs with themselves, the largest first.
    ///
    /// # Errors
    /// A kernel between two sets, or a diagonal one.
    pub fn spectrum(&self) -> Result<Spectrum, Error> {
        if !self.metadata.symmetric {
            return Err(fintan_ntk::SpectrumError::NotSymmetric.into());
        }
        Ok(self.found.spectrum(&self.found.total())?)
    }
}
