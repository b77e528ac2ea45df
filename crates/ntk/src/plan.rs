//! What a kernel will cost, and the tiles in which it fits into memory.

use fintan_config::{Layer, Node};
use fintan_net::Ending;

use crate::cones;
use crate::contraction::{self, Order};
use crate::kernel::Entries;
use crate::method::Method;
use crate::pixels::{endings, has_place, plan_of};
use crate::problem::{Problem, Side, Tile};

/// How a kernel will be computed: method, tiles, memory, operations. Counted from shapes, before any of it is done.
///
/// Tiles are numbered; a kernel is put together from them in that order, whoever computed them. So a kernel's bytes depend
/// on its plan, not on how the work was cut between processes or interrupted.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The method.
    pub method: Method,
    /// The tiles.
    pub tiles: Vec<Tile>,
    /// Outputs a side of a tile.
    pub tile_outputs: usize,
    /// Bytes held at most, the kernel and the program included.
    pub bytes: f64,
    /// Bytes of it that stay when the kernel is there: the program, the network and the kernel.
    pub held: f64,
    /// Multiply-adds of all tiles.
    pub operations: f64,
    /// A line for each layer with parameters.
    pub layers: Vec<LayerPlan>,
}

/// How one layer's part is computed.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerPlan {
    /// Index i of its parameters `{i}.weight`, `{i}.bias`.
    pub index: usize,
    /// `dense`, `conv`, ..
    pub layer: &'static str,
    /// `cones`, or the order of summation: `hadamard`, `weights`, `patches`, `pushed`.
    pub order: &'static str,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// Too little memory for the smallest tiles.
    #[error(
        "this kernel needs at least {needed} of memory ({kernel} for the kernel itself), but only {given} may be used; take \
         fewer samples or outputs, a traced kernel, or leave its parts out"
    )]
    Memory {
        /// What one output a tile takes.
        needed: Bytes,
        /// What the kernel takes.
        kernel: Bytes,
        /// What was given.
        given: Bytes,
    },
    /// A tile size out of range.
    #[error("a tile must have 1 to {outputs} outputs, got {found}")]
    TileOutputs {
        /// Outputs there are.
        outputs: usize,
        /// Outputs asked for.
        found: usize,
    },
}

/// A number of bytes, for people.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bytes(pub f64);

impl std::fmt::Display for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(bytes) = *self;
        let (unit, name) =
            [(1e9, "GB"), (1e6, "MB"), (1e3, "kB")].into_iter().find(|&(u, _)| bytes >= u).unwrap_or((1.0, "B"));
        write!(f, "{:.1} {name}", bytes / unit)
    }
}

/// Bytes of the program itself, of its threads, of what matrix products keep for each (together 40 MB were seen), and of a
/// kernel's picture.
const PROGRAM: f64 = 64e6;

/// Bytes and multiply-adds of a tile.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    bytes: f64,
    operations: f64,
}

impl Plan {
    /// Plans `problem` for at most `memory` bytes, in tiles of `tile_outputs` where that is given.
    ///
    /// `method`: none chooses the one with the fewest operations.
    ///
    /// # Errors
    /// [`PlanError::Memory`] if the smallest tiles do not fit, [`PlanError::TileOutputs`].
    pub fn new(
        problem: &Problem,
        method: Option<Method>,
        memory: f64,
        tile_outputs: Option<usize>,
    ) -> Result<Self, PlanError> {
        let outputs = problem.outputs().len();
        if let Some(found) = tile_outputs.filter(|n| !(1..=outputs).contains(n)) {
            return Err(PlanError::TileOutputs { outputs, found });
        }
        let counter = Counter::new(problem);
        let method = method.unwrap_or_else(|| counter.cheapest());
        let fixed = counter.held();
        let off_diagonal = |t: usize| problem.entries() == Entries::Full && t < outputs;
        let needs = |t: usize| {
            let block = if t == outputs && counter.has_place(method) { 0.0 } else { counter.block(t) };
            fixed + counter.tile(method, t, off_diagonal(t)).bytes + block
        };
        let fits = |t: usize| needs(t) <= memory;
        let size = match tile_outputs {
            Some(t) if fits(t) => Some(t),
            Some(_) => None,
            // Bytes grow with the tile: the largest that fits, by bisection.
            None if fits(outputs) => Some(outputs),
            None if !fits(1) => None,
            None => {
                let (mut low, mut high) = (1, outputs);
                while high - low > 1 {
                    let middle = low.midpoint(high);
                    if fits(middle) { low = middle } else { high = middle }
                }
                // Tiles of nearly equal sizes.
                Some(outputs.div_ceil(outputs.div_ceil(low)))
            }
        };
        let Some(size) = size else {
            let (needed, kernel) = (Bytes(needs(tile_outputs.unwrap_or(1))), Bytes(counter.kernel()));
            return Err(PlanError::Memory { needed, kernel, given: Bytes(memory) });
        };
        let tiles = tiles(problem, size);
        let operations =
            tiles.iter().map(|tile| counter.tile(method, tile.rows.len(), tile.rows != tile.columns).operations).sum();
        Ok(Self {
            method,
            tile_outputs: size,
            bytes: needs(size),
            held: fixed,
            operations,
            layers: counter.layers(method),
            tiles,
        })
    }
}

/// Ranges of outputs against ranges of outputs; of a symmetric full kernel those on and below the diagonal.
fn tiles(problem: &Problem, size: usize) -> Vec<Tile> {
    let outputs = problem.outputs().len();
    let cuts: Vec<_> = (0..outputs).step_by(size).map(|start| start..outputs.min(start + size)).collect();
    let mut tiles = Vec::new();
    for (i, rows) in cuts.iter().enumerate() {
        for (j, columns) in cuts.iter().enumerate() {
            let wanted = match problem.entries() {
                Entries::Full => !problem.is_symmetric() || j <= i,
                _ => i == j,
            };
            if wanted {
                tiles.push(Tile { rows: rows.clone(), columns: columns.clone() });
            }
        }
    }
    tiles
}

/// Counts from shapes.
struct Counter<'p> {
    problem: &'p Problem,
    nodes: Vec<&'p Node>,
    endings: Option<[Ending; 2]>,
    /// Bytes of a number on the device.
    number: f64,
}

impl<'p> Counter<'p> {
    fn new(problem: &'p Problem) -> Self {
        let number = if problem.is_double_precision() { 8.0 } else { 4.0 };
        Self { problem, nodes: problem.network().architecture().flat(), endings: endings(problem), number }
    }

    /// The program, parameters, tapes and the kernel.
    fn held(&self) -> f64 {
        PROGRAM + self.network() + self.kernel()
    }

    /// Parameters and tapes.
    fn network(&self) -> f64 {
        let samples: usize = self.problem.sides.iter().map(Side::n).sum();
        let maps: usize = self.nodes.iter().map(|node| node.input.len() + node.output.len()).sum();
        let parameters = self.problem.network().architecture().parameter_count();
        self.number * (parameters + samples * maps) as f64
    }

    fn kernel(&self) -> f64 {
        let problem = self.problem;
        let len: usize = problem.entries().shape(problem.samples(), problem.outputs().len()).iter().product();
        // The sum of several parts is one more.
        let parts = problem.part_names().len();
        let copies = if parts == 1 { 1 } else { parts + 1 };
        (len * copies) as f64 * if problem.is_double() { 8.0 } else { 4.0 }
    }

    fn linear(&self) -> impl Iterator<Item = &&'p Node> {
        self.nodes.iter().filter(|node| node.fan_in().is_some())
    }

    /// Multiply-adds of a forward pass of one sample.
    fn forward(&self) -> f64 {
        self.linear().map(|node| (node.weight_count() * node.weight_sites()) as f64).sum()
    }

    fn cheapest(&self) -> Method {
        let outputs = self.problem.outputs().len();
        [Method::Structured, Method::NtkVectorProducts, Method::JacobianContraction]
            .into_iter()
            .min_by(|&a, &b| {
                self.tile(a, outputs, false).operations.total_cmp(&self.tile(b, outputs, false).operations)
            })
            .expect("three methods")
    }

    /// A tile of `t` outputs a side without its block; `apart` if its sides are different outputs.
    fn tile(&self, method: Method, t: usize, apart: bool) -> Cost {
        let problem = self.problem;
        let ([n1, n2], t1) = (problem.samples(), t as f64);
        let parameters = problem.network().architecture().parameter_count() as f64;
        // Cotangents of coupled samples span the batch.
        let spans = |n: usize| if problem.is_coupled() { n as f64 } else { 1.0 };
        let distinct = if apart || !problem.is_symmetric() { 2.0 } else { 1.0 };
        match method {
            Method::Structured => self.structured(t, apart),
            Method::NtkVectorProducts => {
                let maps: usize = self.nodes.iter().map(|node| node.output.len()).max().unwrap_or(0);
                let parts = problem.part_names().len() as f64;
                let each = 3.0 * spans(n2) + 2.0 * parts * n1 as f64;
                Cost {
                    bytes: self.number * (3.0 * parameters + 4.0 * (n1 * maps) as f64),
                    operations: n2 as f64 * t1 * each * self.forward(),
                }
            }
            Method::JacobianContraction => {
                let rows = t1 * (n1 + if distinct == 1.0 { 0 } else { n2 }) as f64;
                let pairs = (n1 * n2) as f64 * if problem.entries() == Entries::Full { t1 * t1 } else { t1 };
                Cost {
                    bytes: self.number * 2.0 * rows * parameters,
                    operations: rows * 3.0 * spans(n1) * self.forward() + pairs * parameters,
                }
            }
        }
    }

    /// Whether a kernel in one tile is computed where it stays.
    fn has_place(&self, method: Method) -> bool {
        method == Method::Structured && self.endings.as_ref().is_some_and(|endings| has_place(self.problem, endings))
    }

    /// Bytes of the block of a tile of `t` outputs a side.
    fn block(&self, t: usize) -> f64 {
        let (problem, [n1, n2], t) = (self.problem, self.problem.samples(), t as f64);
        let entries = match problem.entries() {
            Entries::Full => (n1 * n2) as f64 * t * t,
            Entries::Traced => (n1 * n2) as f64,
            Entries::Diagonal => (n1 * n2) as f64 * t,
        };
        entries * problem.part_names().len() as f64 * if problem.is_double() { 8.0 } else { 4.0 }
    }

    fn structured(&self, t: usize, apart: bool) -> Cost {
        let problem = self.problem;
        let ([n1, n2], symmetric) = (problem.samples(), problem.is_symmetric() && !apart);
        let distinct = if symmetric { 1.0 } else { 2.0 };
        let (mut bytes, mut operations, mut kept) = (0.0_f64, 0.0, 0.0);
        let mut below: &[&Node] = &self.nodes;
        if let Some(endings) = &self.endings {
            let size = self.number as usize;
            let plan = plan_of(problem, &endings[0], &(0..t));
            let carried = !matches!(endings[0].below, fintan_net::Below::Nothing);
            let cost = match problem.entries() {
                Entries::Full => cones::full_cost(&plan, (!symmetric).then_some(&plan), [n1, n2], size, carried),
                _ => cones::sums_cost(&plan, [n1, n2], symmetric, size),
            };
            // Parameters and tapes as the host's loops read them are copies.
            bytes += cost.bytes + self.network();
            operations += cost.total();
            let first = endings[0].links[0].parameter / 2;
            let at = self.nodes.iter().position(|node| node.index == Some(first)).unwrap_or(0);
            below = match endings[0].below {
                fintan_net::Below::Layers => &self.nodes[..at],
                _ => &[],
            };
        }
        let coupled = problem.is_coupled();
        let rows = (t * n1 * if coupled { n1 } else { 1 }) as f64;
        let mut widest = 0.0_f64;
        for (i, node) in below.iter().enumerate() {
            let (input, output) = (node.input.len() as f64, node.output.len() as f64);
            let mut here = rows * (input + 2.0 * output);
            if node.index.is_some() {
                let (dims, k) = self.dims(node, t);
                let [b, g, of_group, s, c] = dims.map(|d| d as f64);
                let order = contraction::choose(dims, k, if coupled { 1 } else { n2 });
                operations += contraction::cost(order, dims, k, if coupled { 1 } else { n2 });
                let cotangents = b * g * of_group * s * c;
                here += cotangents + if order == Order::Weights { b * g * of_group * k as f64 * c } else { 0.0 };
                kept += cotangents;
                if i > 0 && node.fan_in().is_some() {
                    operations += distinct * rows * (node.weight_count() * node.weight_sites()) as f64;
                }
            }
            widest = widest.max(here);
        }
        // The first side waits for the second.
        bytes += self.number * (widest + if symmetric { 0.0 } else { kept });
        Cost { bytes, operations }
    }

    /// `[b, groups, i, sites, C]` and K of a layer's weights.
    fn dims(&self, node: &Node, t: usize) -> ([usize; 5], usize) {
        let n = self.problem.samples()[0];
        let (sites, k, c) = match &node.layer {
            Layer::Dense(dense) => (1, node.input.channels, dense.out),
            Layer::Conv(conv) => (node.output.positions(), node.weight_count() / conv.out, conv.out),
            Layer::Deconv(_) => {
                (node.input.positions(), node.input.channels, node.weight_count() / node.input.channels)
            }
            _ => (1, 1, node.weight_count()),
        };
        let full = self.problem.entries() == Entries::Full;
        let dims = match (full, self.problem.is_coupled()) {
            (true, false) => [1, n, t, sites, c],
            (false, false) => [t, n, 1, sites, c],
            (true, true) => [1, 1, t * n, n * sites, c],
            (false, true) => [t, 1, n, n * sites, c],
        };
        (dims, k)
    }

    fn layers(&self, method: Method) -> Vec<LayerPlan> {
        let on_cones: Vec<usize> = match (&self.endings, method) {
            (Some(endings), Method::Structured) => endings[0].links.iter().map(|link| link.parameter / 2).collect(),
            _ => Vec::new(),
        };
        let with_parameters = self.nodes.iter().filter_map(|node| node.index.map(|index| (index, node)));
        with_parameters
            .map(|(index, node)| {
                let (dims, k) = self.dims(node, self.problem.outputs().len());
                let groups = if self.problem.is_coupled() { 1 } else { self.problem.samples()[1] };
                let order = match method {
                    Method::Structured if on_cones.contains(&index) => "cones",
                    Method::Structured => contraction::choose(dims, k, groups).name(),
                    Method::NtkVectorProducts | Method::JacobianContraction => method.name(),
                };
                LayerPlan { index, layer: node.layer.name(), order }
            })
            .collect()
    }
}
