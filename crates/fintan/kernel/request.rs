//! The request for a kernel, and its computation.

use std::path::Path;

use burn::tensor::DType;
use fintan_net::{Lowering, Mode, Placement};
use fintan_ntk::{Entries, KernelPlan, KernelRequest, Method, Overflow, TileSize};

use super::stored::{Convention, KernelMetadata, input_arrays};
use super::tiles::TileStore;
use super::{Kernel, LargestEigenpairs};
use crate::device::DeviceError;
use crate::error::Error;
use crate::inputs::Inputs;
use crate::memory::{free_memory, parse_memory};
use crate::network::Network;

/// The default bound on memory for a kernel: half of the free memory, or 4 GB if the system does not report it.
pub(crate) fn half_of_free_memory() -> f64 {
    free_memory().map_or(4e9, |bytes| bytes / 2.0)
}

/// Number of samples with which the convolutions of a kernel's network are measured on a GPU. It does not depend on the kernel,
/// so that all its tiles are computed in one way.
const MEASURED: usize = 64;

/// Options of a kernel; [`Kernel::of`] makes them.
///
/// By default the kernel is traced, over drawn inputs and all outputs, in the precision of the device. Batch norms use the
/// statistics of the batch, and memory is bounded by half of what is free.
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
///     .on_tile(|tile| tiles.push((tile.done, tile.all)))
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
    memory: Memory,
    tile: TileSize,
    on_tile: Option<Box<dyn FnMut(TileProgress) + 'a>>,
}

/// A bound on memory.
#[derive(Debug, Clone)]
pub(crate) enum Memory {
    /// Half of the free memory.
    Half,
    Bytes(f64),
    /// An amount as text, such as `4GB`.
    Text(String),
}

impl Memory {
    pub(crate) fn bytes(&self) -> Result<f64, Error> {
        Ok(match self {
            Self::Half => half_of_free_memory(),
            Self::Bytes(bytes) => *bytes,
            Self::Text(amount) => parse_memory(amount)?,
        })
    }
}

impl<'a> KernelBuilder<'a> {
    pub(super) fn new(network: &'a Network) -> Self {
        Self {
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
            memory: Memory::Half,
            tile: TileSize::default(),
            on_tile: None,
        }
    }

    /// Uses these inputs: an array, a file, the samples of a task, or a number of drawn inputs.
    #[must_use]
    pub fn inputs(mut self, inputs: impl Into<Inputs>) -> Self {
        self.inputs = inputs.into();
        self
    }

    /// Uses other inputs for the second side, so that the kernel is between two sets.
    #[must_use]
    pub fn inputs2(mut self, inputs: impl Into<Inputs>) -> Self {
        self.inputs2 = Some(inputs.into());
        self
    }

    /// Computes this choice of entries.
    #[must_use]
    pub fn entries(mut self, entries: Entries) -> Self {
        self.entries = entries;
        self
    }

    /// Sums over equal outputs, o = o': `[N, N2]`. This is the default.
    #[must_use]
    pub fn traced(self) -> Self {
        self.entries(Entries::Traced)
    }

    /// Computes all entries: `[N, N2, O, O]`.
    #[must_use]
    pub fn full(self) -> Self {
        self.entries(Entries::Full)
    }

    /// Computes the entries with equal outputs, o = o': `[N, N2, O]`.
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

    /// Restricts the kernel to these outputs, counted in channel, row, column order. An empty list means all outputs.
    #[must_use]
    pub fn outputs(mut self, outputs: impl IntoIterator<Item = usize>) -> Self {
        self.outputs = outputs.into_iter().collect();
        self
    }

    /// Keeps each parameter's part of the kernel. This takes more memory.
    #[must_use]
    pub fn by_parameter(mut self) -> Self {
        self.by_parameter = true;
        self
    }

    /// Computes in f64. The device must support it.
    #[must_use]
    pub fn double_precision(mut self) -> Self {
        self.double_precision = true;
        self
    }

    /// Uses the running statistics of batch norms. By default batch norms use the statistics of the batch, which couple its
    /// samples.
    #[must_use]
    pub fn running_statistics(mut self) -> Self {
        self.mode = Mode::Eval;
        self
    }

    /// Uses this method. By default the fastest one is chosen.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.method = Some(method);
        self
    }

    /// Uses at most this amount of memory, such as `4GB` or `500MB`.
    #[must_use]
    pub fn memory(mut self, amount: &str) -> Self {
        self.memory = Memory::Text(amount.into());
        self
    }

    /// Uses at most this number of bytes of memory.
    #[must_use]
    pub fn memory_bytes(mut self, bytes: f64) -> Self {
        self.memory = Memory::Bytes(bytes);
        self
    }

    /// Cuts the kernel into tiles of at most this number of samples a side. By default tiles fit into memory and cost the
    /// least.
    #[must_use]
    pub fn tile_samples(mut self, samples: usize) -> Self {
        self.tile.samples = Some(samples);
        self
    }

    /// Cuts the kernel into tiles of at most this number of outputs a side.
    #[must_use]
    pub fn tile_outputs(mut self, outputs: usize) -> Self {
        self.tile.outputs = Some(outputs);
        self
    }

    /// Calls `on_tile` after each tile of the kernel.
    #[must_use]
    pub fn on_tile(mut self, on_tile: impl FnMut(TileProgress) + 'a) -> Self {
        self.on_tile = Some(Box::new(on_tile));
        self
    }

    /// Reads weights and inputs and places them on the device. The methods of the result compute kernels and eigenpairs.
    ///
    /// # Errors
    /// Fails if weights or inputs do not fit, an output does not exist, or the amount of memory cannot be read.
    pub fn prepare(&self) -> Result<PreparedKernel, Error> {
        let device = &self.network.device().for_networks(&[(self.network.architecture(), MEASURED)]);
        let mut placement: Placement = device.placement.clone();
        if self.double_precision {
            if !device.supports_f64() {
                return Err(DeviceError::NoDoublePrecision.into());
            }
            placement.dtype = DType::F64;
        }
        let memory = self.memory.bytes()?;
        let (placed, unused) = self.network.placed(&placement, self.mode)?;
        let x1 = self.inputs.placed(self.network, &placement)?;
        let x2 = self.inputs2.as_ref().map(|x| x.placed(self.network, &placement)).transpose()?;
        let problem = KernelRequest::new(placed, x1, x2, self.mode, self.entries, self.outputs.clone())?
            .with_limits(device.limits);
        let problem = if self.by_parameter { problem } else { problem.without_parts() };
        let convention = Convention {
            mean: self.mean && self.entries == Entries::Traced,
            before_output: self.network.is_before_output(),
        };
        Ok(PreparedKernel {
            metadata: KernelMetadata::of(&problem, convention),
            problem,
            unused_weights: unused,
            method: self.method,
            memory,
            tile: self.tile,
            // Kernels of two methods differ in the last digits, so their tiles do not mix.
            device: match placement.lowering {
                Lowering::Views => format!("{}, convolutions as products", device.name),
                Lowering::Native | Lowering::Host => device.name.clone(),
            },
            note: device.note().map(Into::into),
            seed: self.network.seed(),
        })
    }

    /// Computes the kernel.
    ///
    /// # Errors
    /// Fails if weights or inputs do not fit, an output does not exist, memory does not suffice, or the kernel is not finite.
    pub fn compute(mut self) -> Result<Kernel, Error> {
        let prepared = self.prepare()?;
        let mut on_tile = self.on_tile.take().unwrap_or_else(|| Box::new(|_| ()));
        prepared.compute(&prepared.plan()?, &mut on_tile)
    }
}

/// A kernel whose network and inputs are on the device; [`KernelBuilder::prepare`] makes it.
///
/// ```
/// let net = fintan::Network::parse("[network]\ninput = 4\nlayers = [{ dense = { out = 3 } }]")?;
/// let prepared = fintan::Kernel::of(&net).inputs(fintan::Inputs::drawn(5)).prepare()?;
/// let plan = prepared.plan()?;
/// assert_eq!((prepared.samples(), plan.tiles.len()), ([5, 5], 1));
/// let kernel = prepared.compute(&plan, |_| ())?;
/// assert_eq!(kernel.shape(), [5, 5]);
/// # Ok::<(), fintan::Error>(())
/// ```
#[derive(Debug)]
pub struct PreparedKernel {
    problem: KernelRequest,
    metadata: KernelMetadata,
    unused_weights: Vec<String>,
    method: Option<Method>,
    memory: f64,
    tile: TileSize,
    device: String,
    note: Option<String>,
    seed: u64,
}

impl PreparedKernel {
    /// How the kernel is computed: method, tiles, memory, operations.
    ///
    /// # Errors
    /// Fails if memory does not suffice, or the method cannot compute this kernel.
    pub fn plan(&self) -> Result<KernelPlan, Error> {
        Ok(KernelPlan::in_tiles(&self.problem, self.method, self.memory, self.tile)?)
    }

    /// The plan for continuing the tiles of a folder: unless tile sizes are requested, it uses the sizes of the tiles there.
    /// The default sizes depend on free memory, which may have changed.
    ///
    /// # Errors
    /// The errors of [`Self::plan`].
    pub fn plan_beside(&self, folder: &Path) -> Result<KernelPlan, Error> {
        let begun = TileStore::tile_size(folder);
        // Tiles of another kernel may be larger than this kernel. A later check refuses them.
        let (samples, outputs) = (self.problem.samples().into_iter().max(), self.problem.outputs().len());
        let tile = TileSize {
            samples: self.tile.samples.or(begun.samples.filter(|&n| Some(n) <= samples)),
            outputs: self.tile.outputs.or(begun.outputs.filter(|&n| n <= outputs)),
        };
        Ok(KernelPlan::in_tiles(&self.problem, self.method, self.memory, tile)?)
    }

    /// Computes the kernel in memory, and calls `on_tile` after each tile.
    ///
    /// # Errors
    /// Fails if the kernel is not finite.
    pub fn compute(&self, plan: &KernelPlan, mut on_tile: impl FnMut(TileProgress)) -> Result<Kernel, Error> {
        let mut on_tile = |done, all| on_tile(TileProgress { done, all, computed: true });
        let kernel = fintan_ntk::KernelParts::compute_watched(&self.problem, plan, &mut on_tile);
        if !kernel.is_finite() {
            return Err(Error::Overflow(Overflow::of(&self.problem, Some(&kernel))));
        }
        Kernel::finish(kernel, self.metadata.clone(), input_arrays(&self.problem))
    }

    /// Opens the folder of the kernel's tiles. It is new, or holds tiles of this kernel, which other processes may compute at
    /// the same time.
    ///
    /// # Errors
    /// Fails if the folder holds something else, or with errors of the file system.
    pub fn tiles<'p>(&'p self, plan: &'p KernelPlan, folder: impl AsRef<Path>) -> Result<TileStore<'p>, Error> {
        TileStore::make(folder.as_ref().into(), &self.problem, plan, &self.device, &self.metadata)
    }

    /// The `count` largest eigenpairs of the full kernel, by Lanczos iteration. The kernel is never formed.
    ///
    /// # Errors
    /// Fails if the kernel is not full or is between two sets, if memory does not suffice, or if the pairs do not converge.
    pub fn largest(&self, count: usize) -> Result<LargestEigenpairs, Error> {
        LargestEigenpairs::find(&self.problem, count, self.memory, self.seed)
    }

    /// The numbers of samples of both sides.
    #[must_use]
    pub fn samples(&self) -> [usize; 2] {
        self.problem.samples()
    }

    /// Whether both sides are the same samples.
    #[must_use]
    pub fn is_symmetric(&self) -> bool {
        self.problem.is_symmetric()
    }

    /// Whether batch norms couple the samples.
    #[must_use]
    pub fn is_coupled(&self) -> bool {
        self.problem.is_coupled()
    }

    /// Whether the kernel is computed in f64.
    #[must_use]
    pub fn is_double_precision(&self) -> bool {
        self.problem.is_double_precision()
    }

    /// A remark about the device; see [`Device::note`](crate::Device::note).
    #[must_use]
    pub fn device_note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// The bound on memory, in bytes.
    #[must_use]
    pub fn memory(&self) -> f64 {
        self.memory
    }

    /// The names of tensors in the file of weights that belong to no layer.
    #[must_use]
    pub fn unused_weights(&self) -> &[String] {
        &self.unused_weights
    }
}

/// Progress of a kernel: one more tile is done.
///
/// ```
/// let tile = fintan::TileProgress { done: 1, all: 3, computed: true };
/// assert_eq!(tile.all - tile.done, 2);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TileProgress {
    /// The number of tiles that are done.
    pub done: usize,
    /// The number of requested tiles.
    pub all: usize,
    /// Whether the tile was computed now. Otherwise it existed already.
    pub computed: bool,
}
