//! What tiles take (bytes, multiply-adds, time), counted from shapes.

use fintan_config::Node;
use fintan_net::ConvTail;

use super::TileSize;
use super::choice::one_sample;
use super::cost::Cost;
use super::structured::of_row;
use crate::kernel::Entries;
use crate::method::Method;
use crate::pixels::has_place;
use crate::problem::{KernelRequest, Tile};
use crate::products;

/// Bytes of the program (24 MB were measured), of memory that its libraries allocate, and of a picture of the kernel.
const PROGRAM: f64 = 56e6;

/// Bytes of a thread: the used part of its stack, and memory that the allocator reserves for it.
const THREAD: f64 = 2e6;

/// Bytes that a process holds for each byte in use. The allocator keeps freed blocks between used ones (10 % were measured).
pub(super) const SCATTERED: f64 = 1.2;

/// The properties of a tile on which its cost depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) samples: [usize; 2],
    /// Number of outputs, the larger of both sides.
    pub(super) outputs: usize,
    /// Whether the sides have different samples.
    pub(super) apart: bool,
    /// Whether the sides have different samples or outputs, so that each side has its own cotangents.
    pub(super) distinct: bool,
}

impl Extent {
    pub(super) fn of(tile: &Tile, problem: &KernelRequest) -> Self {
        let symmetric = problem.is_symmetric();
        Self {
            samples: [tile.samples[0].len(), tile.samples[1].len()],
            outputs: tile.outputs[0].len().max(tile.outputs[1].len()),
            apart: !symmetric || tile.samples[0] != tile.samples[1],
            distinct: !symmetric || !tile.is_diagonal(),
        }
    }

    /// The most expensive tile of a size.
    pub(super) fn largest(size: TileSize<usize>, problem: &KernelRequest) -> Self {
        let (n, symmetric) = (problem.samples(), problem.is_symmetric());
        let apart = !symmetric || size.samples < n[0];
        let cut = problem.entries() == Entries::Full && size.outputs < problem.outputs().len();
        let samples = n.map(|n| n.min(size.samples));
        Self { samples, outputs: size.outputs, apart, distinct: apart || cut }
    }
}

/// Counts the cost of tiles from shapes.
pub(super) struct Counter<'p> {
    pub(super) problem: &'p KernelRequest,
    pub(super) nodes: Vec<&'p Node>,
    /// The convolutions on cones.
    pub(super) tail: Option<ConvTail>,
    /// Bytes of a value on the device.
    pub(super) number: f64,
}

impl<'p> Counter<'p> {
    pub(super) fn new(problem: &'p KernelRequest) -> Self {
        let tail = one_sample(problem).and_then(|one| one.network().conv_tail(one.tape(0), problem.on_cones()));
        Self::with(problem, tail)
    }

    pub(super) fn with(problem: &'p KernelRequest, tail: Option<ConvTail>) -> Self {
        let number = if problem.is_double_precision() { 8.0 } else { 4.0 };
        Self { problem, nodes: problem.network().architecture().flat(), tail, number }
    }

    /// Bytes of the program, the network with its inputs, and the kernel.
    pub(super) fn held(&self) -> f64 {
        // A coupled batch passes through the network once, for all tiles.
        let tapes = if self.problem.is_coupled() { self.tapes(self.batch()) } else { 0.0 };
        self.base() + tapes + self.kernel()
    }

    /// Bytes of a forward pass, a pullback and a pushforward of `samples` samples, with the tangents of the parameters.
    pub(super) fn pass(&self, samples: usize) -> f64 {
        let widest = self.nodes.iter().map(|node| of_row(node)).fold(0.0, f64::max);
        let numbers = 3.0 * self.parameters() + 2.0 * samples as f64 * widest;
        self.tapes(samples) + SCATTERED * self.number * numbers
    }

    /// Bytes of the program and of the network with its inputs.
    pub(super) fn base(&self) -> f64 {
        let inputs: usize = self.problem.inputs().map(|x| x.dims().iter().product::<usize>()).sum();
        // Inputs are stored with the kernel: a copy in their own precision, and one in f64.
        let threads = rayon::current_num_threads() as f64 * (THREAD + products::kept_by_thread());
        PROGRAM + threads + self.number * self.parameters() + (2.0 * self.number + 8.0) * inputs as f64
    }

    pub(super) fn parameters(&self) -> f64 {
        self.problem.network().architecture().parameter_count() as f64
    }

    /// Number of samples in all batches.
    pub(super) fn batch(&self) -> usize {
        self.problem.inputs().map(|x| x.dims()[0]).sum()
    }

    /// Bytes of the tapes of `samples` samples, including the inputs.
    pub(super) fn tapes(&self, samples: usize) -> f64 {
        let maps: usize = self.nodes.iter().map(|node| node.input.len() + node.output.len()).sum();
        self.number * (samples * maps) as f64
    }

    /// Number of samples whose forward pass a tile needs; 0 for a coupled batch.
    pub(super) fn passed(&self, Extent { samples: [n1, n2], apart, .. }: Extent) -> usize {
        match (self.problem.is_coupled(), apart) {
            (true, _) => 0,
            (false, true) => n1 + n2,
            (false, false) => n1,
        }
    }

    /// Largest number of bytes that tiles of a size need.
    pub(super) fn needs(&self, method: Method, size: TileSize<usize>) -> f64 {
        let problem = self.problem;
        let extent = Extent::largest(size, problem);
        let in_place = size.outputs == problem.outputs().len() && !extent.apart && self.has_place(method);
        let block = if in_place { 0.0 } else { self.block(extent) };
        self.held() + SCATTERED * (self.tapes(self.passed(extent)) + block) + self.tile(method, extent).bytes
    }

    pub(super) fn kernel(&self) -> f64 {
        let problem = self.problem;
        let len: usize = problem.entries().shape(problem.samples(), problem.outputs().len()).iter().product();
        // If there are several parts, their sum is one more array; a symmetric traced kernel also has its scaled version.
        let parts = problem.part_names().len();
        let scaled = problem.is_symmetric() && problem.entries() == Entries::Traced;
        let copies = if parts == 1 { 1 } else { parts + 1 } + usize::from(scaled);
        (len * copies) as f64 * if problem.is_double() { 8.0 } else { 4.0 }
    }

    /// Multiply-adds of a forward pass of one sample.
    pub(super) fn forward(&self) -> f64 {
        let linear = self.nodes.iter().filter(|node| node.fan_in().is_some());
        linear.map(|node| (node.weight_count() * node.weight_sites()) as f64).sum()
    }

    /// Cost of a tile without its block and its forward pass.
    pub(super) fn tile(&self, method: Method, extent: Extent) -> Cost {
        let problem = self.problem;
        let Extent { samples: [n1, n2], outputs, distinct, .. } = extent;
        let (t, parameters) = (outputs as f64, self.parameters());
        // If samples are coupled, a cotangent spans the batch.
        let spans = |side: usize| if problem.is_coupled() { problem.side(side).x.dims()[0] as f64 } else { 1.0 };
        let mut cost = Cost::default();
        match method {
            Method::Structured => return self.structured(extent),
            Method::NtkVectorProducts => {
                let maps: usize = self.nodes.iter().map(|node| node.output.len()).max().unwrap_or(0);
                let parts = problem.part_names().len() as f64;
                let passed = if problem.is_coupled() { spans(0) } else { n1 as f64 };
                let each = 3.0 * spans(1) + 2.0 * parts * passed;
                let passes = n2 as f64 * t * each;
                cost.bytes = self.number * (3.0 * parameters + 4.0 * passed * maps as f64);
                cost.multiply(passes * self.forward());
                cost.write(passes * self.tapes(1) / self.number);
            }
            Method::JacobianContraction => {
                let rows = t * (n1 + if distinct { n2 } else { 0 }) as f64;
                let pairs = (n1 * n2) as f64 * if problem.entries() == Entries::Full { t * t } else { t };
                let passes = rows * 3.0 * spans(0);
                cost.bytes = self.number * 2.0 * rows * parameters;
                cost.multiply(passes * self.forward() + pairs * parameters);
                cost.write(passes * self.tapes(1) / self.number + 2.0 * rows * parameters);
            }
        }
        cost
    }

    /// Whether a kernel in a single tile is computed directly in its final memory.
    fn has_place(&self, method: Method) -> bool {
        method == Method::Structured && self.tail.as_ref().is_some_and(|tail| has_place(self.problem, tail))
    }

    /// Number of entries of a tile's block, for each part.
    pub(super) fn entries(&self, Extent { samples: [n1, n2], outputs, .. }: Extent) -> f64 {
        let t = outputs as f64;
        match self.problem.entries() {
            Entries::Full => (n1 * n2) as f64 * t * t,
            Entries::Traced => (n1 * n2) as f64,
            Entries::Diagonal => (n1 * n2) as f64 * t,
        }
    }

    /// Bytes of a tile's block.
    fn block(&self, extent: Extent) -> f64 {
        let problem = self.problem;
        self.entries(extent) * problem.part_names().len() as f64 * if problem.is_double() { 8.0 } else { 4.0 }
    }
}
