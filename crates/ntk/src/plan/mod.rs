//! Counts the cost of a kernel in advance, and divides it into tiles that fit into memory.

mod choice;
mod cost;
mod counter;
mod passes;
mod structured;
mod tensors;

use std::ops::Range;

use fintan_config::Bytes;

pub(crate) use self::choice::convolutions_on_cones;
use self::cost::Cost;
use self::counter::Counter;
pub(crate) use self::passes::of_products;
pub use self::passes::passes_of_curvature;
use crate::kernel::{Entries, KernelShape};
use crate::method::Method;
use crate::problem::{KernelRequest, Tile};

/// How a kernel will be computed: method, tiles, memory and operations, counted from shapes before the computation.
///
/// Tiles are numbered, and the kernel is assembled in this order, whichever process computed a tile. So the bytes of a
/// kernel depend on its plan, and not on the division of work between processes or on interruptions.
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
/// use fintan_ntk::{Entries, KernelPlan, KernelRequest, TileSize};
///
/// let request = KernelRequest::new(network, x, None, Mode::Eval, Entries::Full, Vec::new())?;
/// // Two samples in tiles of one: the tiles (0, 0), (1, 0) and (1, 1).
/// let size = TileSize { samples: Some(1), outputs: None };
/// let plan = KernelPlan::in_tiles(&request, None, f64::INFINITY, size)?;
/// assert_eq!(plan.tiles.len(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct KernelPlan {
    /// The method.
    pub method: Method,
    /// The tiles.
    pub tiles: Vec<Tile>,
    /// Number of samples and outputs on each side of the largest tile.
    pub tile: TileSize<usize>,
    /// Peak memory in bytes, including the kernel and the program.
    pub bytes: f64,
    /// Bytes that remain in use after the kernel is complete: the program, the network with its inputs, and the kernel.
    pub held: f64,
    /// Multiply-adds of all tiles, including forward passes.
    pub operations: f64,
    /// One entry for each layer with parameters.
    pub layers: Vec<LayerPlan>,
}

/// Number of samples and outputs on each side of a tile.
///
/// ```
/// use fintan_ntk::{Entries, KernelShape, TileSize};
///
/// let kernel = KernelShape { entries: Entries::Traced, samples: [4, 4], outputs: 1, symmetric: false };
/// assert_eq!(kernel.count(TileSize { samples: 2, outputs: 1 }), 4);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TileSize<N = Option<usize>> {
    /// Samples.
    pub samples: N,
    /// Outputs.
    pub outputs: N,
}

/// How the part of one layer is computed.
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
/// use fintan_ntk::{Entries, KernelPlan, KernelRequest};
///
/// let request = KernelRequest::new(network, x, None, Mode::Eval, Entries::Full, Vec::new())?;
/// let plan = KernelPlan::new(&request, None, f64::INFINITY)?;
/// assert_eq!((plan.layers[0].index, plan.layers[0].layer), (0, "dense"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LayerPlan {
    /// Index i in its parameter names `{i}.weight` and `{i}.bias`.
    pub index: usize,
    /// `dense`, `conv`, ..
    pub layer: &'static str,
    /// `cones`, or the order of summation: `hadamard`, `weights`, `patches`, `pushed`.
    pub order: &'static str,
}

/// The error for a kernel that cannot be planned.
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
/// use fintan_ntk::{Entries, KernelPlan, KernelRequest, PlanError};
///
/// let request = KernelRequest::new(network, x, None, Mode::Eval, Entries::Full, Vec::new())?;
/// let error = KernelPlan::new(&request, None, 1.0).unwrap_err(); // one byte
/// assert!(matches!(error, PlanError::Memory { .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// Not enough memory for the smallest tiles.
    #[error(
        "this kernel needs at least {needed} of memory ({kernel} for the kernel itself), but only {given} may be used; take \
         fewer samples or outputs, a traced kernel, or leave its parts out"
    )]
    Memory {
        /// Bytes for tiles of one output.
        needed: Bytes,
        /// Bytes of the kernel.
        kernel: Bytes,
        /// Bytes that may be used.
        given: Bytes,
    },
    /// Not enough memory for the eigenpairs of a kernel that is not formed.
    #[error(
        "{count} eigenpairs need at least {needed} of memory, but only {given} may be used; take fewer of them, or fewer samples or outputs"
    )]
    Eigenpairs {
        /// Number of eigenpairs.
        count: usize,
        /// Bytes that they need.
        needed: Bytes,
        /// Bytes that may be used.
        given: Bytes,
    },
    /// A tensor that the device does not hold, although its memory might suffice.
    #[error(
        "a tile of samples = {samples}, outputs = {outputs} needs a tensor of {needed}, but the device holds tensors of at most \
         {largest}; take smaller tiles, fewer samples if batch norms couple them, or the device flex, which has no such limit"
    )]
    Tensor {
        /// Samples of the smallest tiles that may be taken.
        samples: usize,
        /// Their outputs.
        outputs: usize,
        /// Bytes of the largest tensor.
        needed: Bytes,
        /// Bytes that a tensor of the device may have.
        largest: Bytes,
    },
    /// A pass through the network, for products with a kernel that is not formed, that makes a tensor that the device does not
    /// hold.
    #[error(
        "a pass with samples = {samples} needs a tensor of {needed}, but the device holds tensors of at most {largest}; take \
         fewer samples, or the device flex, which has no such limit"
    )]
    TensorOfPass {
        /// Samples of the smallest pass: one, or all if batch norms couple them.
        samples: usize,
        /// Bytes of the largest tensor.
        needed: Bytes,
        /// Bytes that a tensor of the device may have.
        largest: Bytes,
    },
    /// Not enough memory on the device for the smallest tiles.
    #[error(
        "this kernel needs at least {needed} of the device's memory, which is {given}; take fewer samples or outputs, or the \
         device flex"
    )]
    DeviceMemory {
        /// Bytes for the smallest tiles.
        needed: Bytes,
        /// Bytes of the device.
        given: Bytes,
    },
    /// A tile size out of range.
    #[error("a tile must have 1 to {all} {of} a side, got {found}")]
    TileSize {
        /// `samples` or `outputs`.
        of: &'static str,
        /// The number in the kernel.
        all: usize,
        /// The requested number.
        found: usize,
    },
}

impl KernelPlan {
    /// Bytes that are left beside the kernel of `memory`; without a bound on memory there is no end to them.
    #[must_use]
    pub fn spare(&self, memory: Option<f64>) -> f64 {
        memory.map_or(f64::INFINITY, |memory| memory - self.held)
    }

    /// Plans `problem` for at most `memory` bytes.
    ///
    /// Without a `method`, the fastest one is chosen, from its multiply-adds and the values that it writes.
    ///
    /// # Errors
    /// [`PlanError::Memory`] if the smallest tiles do not fit; the errors of [`Self::in_tiles`].
    pub fn new(problem: &KernelRequest, method: Option<Method>, memory: f64) -> Result<Self, PlanError> {
        Self::in_tiles(problem, method, memory, TileSize::default())
    }

    /// A plan whose tiles have a given size; sizes that are `None` are chosen.
    ///
    /// Tiles repeat work, because cotangents of a row are pulled back for each tile that contains the row. So a kernel that
    /// fits into memory is one tile; otherwise the fastest size that fits is taken. No tile makes a tensor that is larger than
    /// the device of the problem allows ([`KernelRequest::with_limits`]).
    ///
    /// # Errors
    /// [`PlanError::Memory`] if the tiles do not fit, [`PlanError::Tensor`] and [`PlanError::DeviceMemory`] if they do not fit
    /// the device, [`PlanError::TileSize`].
    pub fn in_tiles(
        problem: &KernelRequest,
        method: Option<Method>,
        memory: f64,
        wanted: TileSize,
    ) -> Result<Self, PlanError> {
        let (samples, outputs) = (problem.samples().into_iter().max().unwrap_or(1), problem.outputs().len());
        for (of, all, found) in [("samples", samples, wanted.samples), ("outputs", outputs, wanted.outputs)] {
            if let Some(found) = found.filter(|n| !(1..=all).contains(n)) {
                return Err(PlanError::TileSize { of, all, found });
            }
        }
        let counter = Counter::new(problem);
        let method = method.unwrap_or_else(|| counter.cheapest());
        let needs = |size: TileSize<usize>| counter.needs(method, size);
        let best = counter.fastest(method, memory, wanted);
        let Some((tile, Cost { operations, .. })) = best else {
            if let Some(error) = counter.beyond_device(method, wanted) {
                return Err(error);
            }
            let (needed, kernel) = (Bytes(counter.least(method, wanted)), Bytes(counter.kernel()));
            return Err(PlanError::Memory { needed, kernel, given: Bytes(memory) });
        };
        Ok(Self {
            method,
            tiles: problem.shape().tiles(tile),
            tile,
            bytes: needs(tile),
            held: counter.held(),
            operations,
            layers: counter.layers(method, tile),
        })
    }
}

/// The largest number that fits when `all` is divided into parts of nearly equal sizes; `None` if not even one fits. If a
/// number fits, all smaller numbers must fit too.
fn most(all: usize, fits: impl Fn(usize) -> bool) -> Option<usize> {
    if fits(all) {
        return Some(all);
    }
    if !fits(1) {
        return None;
    }
    let (mut low, mut high) = (1, all);
    while high - low > 1 {
        let middle = low.midpoint(high);
        if fits(middle) { low = middle } else { high = middle }
    }
    Some(all.div_ceil(all.div_ceil(low)))
}

/// Largest number of tiles of a plan: each tile is a file, and repeats work of others.
const MOST_TILES: usize = 100_000;

impl KernelShape {
    /// Number of tiles of a size.
    #[must_use]
    pub fn count(&self, size: TileSize<usize>) -> usize {
        let [first, second] = self.samples.map(|n| n.div_ceil(size.samples));
        let outputs = self.outputs.div_ceil(size.outputs);
        // Sizes may come from a file and give enormous counts, so arithmetic saturates; no plan has so many tiles.
        let (times, half) = (usize::saturating_mul, |n: usize| n.saturating_mul(n.saturating_add(1)) / 2);
        let (pair, diagonal) =
            if self.entries == Entries::Full { (times(outputs, outputs), half(outputs)) } else { (outputs, outputs) };
        if self.symmetric {
            times(half(first.saturating_sub(1)), pair).saturating_add(times(first, diagonal))
        } else {
            times(times(first, second), pair)
        }
    }

    /// Tiles of samples and outputs, rows against columns; for a symmetric kernel only the tiles on and below the diagonal.
    /// Tiles with equal samples are consecutive.
    #[must_use]
    pub fn tiles(&self, size: TileSize<usize>) -> Vec<Tile> {
        let cuts = |all: usize, size: usize| -> Vec<Range<usize>> {
            (0..all).step_by(size).map(|start| start..all.min(start + size)).collect()
        };
        let samples = self.samples.map(|n| cuts(n, size.samples));
        let outputs = cuts(self.outputs, size.outputs);
        let (symmetric, full) = (self.symmetric, self.entries == Entries::Full);
        let mut tiles = Vec::new();
        for (a, first) in samples[0].iter().enumerate() {
            for (b, second) in samples[1].iter().enumerate().take(if symmetric { a + 1 } else { usize::MAX }) {
                for (i, rows) in outputs.iter().enumerate() {
                    let (from, to) = match (full, symmetric && a == b) {
                        (false, _) => (i, i + 1),
                        (true, true) => (0, i + 1),
                        (true, false) => (0, outputs.len()),
                    };
                    for columns in &outputs[from..to] {
                        tiles.push(Tile {
                            samples: [first.clone(), second.clone()],
                            outputs: [rows.clone(), columns.clone()],
                        });
                    }
                }
            }
        }
        tiles
    }
}
