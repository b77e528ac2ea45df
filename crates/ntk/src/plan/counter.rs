//! The cost of tiles (bytes, multiply-adds, time), counted from shapes.

use fintan_config::{Layer, Node, Parameters};
use fintan_net::ConvTail;

use super::{Bytes, LayerPlan, MOST_TILES, PlanError, TileSize, most};
use crate::cones;
use crate::contraction::{self, Order};
use crate::kernel::Entries;
use crate::method::Method;
use crate::pixels::{has_place, have_cones, plan_of};
use crate::problem::{KernelRequest, Tile};
use crate::products;

/// Bytes of the program (24 MB were measured), of memory that its libraries allocate, and of a picture of the kernel.
const PROGRAM: f64 = 56e6;

/// Bytes of a thread: the used part of its stack, and memory that the allocator reserves for it.
const THREAD: f64 = 2e6;

/// Bytes that a process holds for each byte in use. The allocator keeps freed blocks between used ones (10 % were measured).
const SCATTERED: f64 = 1.2;

// Times are in multiply-adds of a large matrix product, measured with two threads (benches/RESULTS.md). Only their orders of
// magnitude decide which of two methods is faster.

/// Time to write a value without a product, for instance a copy or a cotangent.
const WRITE: f64 = 30.0;

/// Time of a multiply-add on cones.
const ON_CONES: f64 = 2.0;

/// Time to call a product of a few values.
const CALL: f64 = 2500.0;

/// Time to start a tile and to write it to the disk.
const TILE: f64 = 1e8;

/// Cost of a tile, or of all tiles.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cost {
    bytes: f64,
    pub(super) operations: f64,
    time: f64,
}

impl Cost {
    /// Adds multiply-adds in large products.
    fn multiply(&mut self, operations: f64) {
        self.operations += operations;
        self.time += operations;
    }

    /// Adds values that are written.
    fn write(&mut self, numbers: f64) {
        self.time += WRITE * numbers;
    }
}

/// The properties of a tile on which its cost depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    samples: [usize; 2],
    /// Number of outputs, the larger of both sides.
    outputs: usize,
    /// Whether the sides have different samples.
    apart: bool,
    /// Whether the sides have different samples or outputs, so that each side has its own cotangents.
    distinct: bool,
}

impl Extent {
    fn of(tile: &Tile, problem: &KernelRequest) -> Self {
        let symmetric = problem.is_symmetric();
        Self {
            samples: [tile.samples[0].len(), tile.samples[1].len()],
            outputs: tile.outputs[0].len().max(tile.outputs[1].len()),
            apart: !symmetric || tile.samples[0] != tile.samples[1],
            distinct: !symmetric || !tile.is_diagonal(),
        }
    }

    /// The most expensive tile of a size.
    fn largest(size: TileSize<usize>, problem: &KernelRequest) -> Self {
        let (n, symmetric) = (problem.samples(), problem.is_symmetric());
        let apart = !symmetric || size.samples < n[0];
        let cut = problem.entries() == Entries::Full && size.outputs < problem.outputs().len();
        let samples = n.map(|n| n.min(size.samples));
        Self { samples, outputs: size.outputs, apart, distinct: apart || cut }
    }
}

/// The problem with one sample, to find the convolutions that can use cones. Shapes do not depend on the samples.
fn one_sample(problem: &KernelRequest) -> Option<KernelRequest> {
    have_cones(problem).then(|| problem.restricted_to(&[0..1, 0..1]))
}

/// Largest size in bytes of whole maps that may replace cones. Larger maps are limited by memory bandwidth and slower than
/// counted.
const MAPS: f64 = 256e6;

/// The best number of last convolutions on cones. It is all of them, unless cones grow until they cover their maps; then
/// they are many small products, and whole maps are a few large ones.
pub(crate) fn convolutions_on_cones(problem: &KernelRequest) -> usize {
    let Some(one) = one_sample(problem) else { return 0 };
    let tail = |most: usize| one.network().conv_tail(one.tape(0), most);
    let all = tail(usize::MAX).map_or(0, |tail| tail.layers.len());
    let samples = problem.samples();
    let size = TileSize { samples: samples[0].max(samples[1]), outputs: problem.outputs().len() };
    let cost = |layers: usize| Counter::with(problem, tail(layers)).structured(Extent::largest(size, problem));
    // If several are equally fast, the largest number is taken, because cones need less memory.
    let costs = (0..=all).rev().map(|layers| (layers, cost(layers)));
    let costs = costs.filter(|(layers, cost)| *layers == all || cost.bytes <= MAPS);
    costs.min_by(|a, b| a.1.time.total_cmp(&b.1.time)).map_or(0, |(layers, _)| layers)
}

/// Extra Krylov vectors, `[minimum, usual]`, that the eigensolver needs before it converges.
const SPARE: [usize; 2] = [16, 64];

/// Number of samples in one pass of products with the kernel, and number of pairs of vectors that also fit, if `count`
/// eigenpairs are needed with at most `memory` bytes.
///
/// The whole batch is one pass if at least half of the memory, and enough of it, remains for vectors.
pub(crate) fn of_products(problem: &KernelRequest, count: usize, memory: f64) -> Result<(usize, usize), PlanError> {
    let counter = Counter::with(problem, None);
    let (n, rows) = (problem.samples()[0], (problem.samples()[0] * problem.outputs().len()) as f64);
    let count = count.min(n * problem.outputs().len());
    // `pair`: a vector and its product. `found`: vectors, products and images of the current and the previous eigenpairs.
    let (pair, found) = (2.0 * 8.0 * rows, (4.0 * count as f64 + 4.0) * 8.0 * rows);
    let free = memory - counter.base() - found;
    let least = (count + SPARE[0]).min(n * problem.outputs().len());
    let rest = (0.5 * free).min(free - pair * (count + SPARE[1]) as f64);
    let samples = if problem.is_coupled() { n } else { most(n, |some| counter.pass(some) <= rest).unwrap_or(1) };
    let vectors = ((free - counter.pass(samples)) / pair).floor();
    if vectors < least as f64 {
        let needed =
            Bytes(memory - free + counter.pass(if problem.is_coupled() { n } else { 1 }) + pair * least as f64);
        return Err(PlanError::Eigenpairs { count, needed, given: Bytes(memory) });
    }
    Ok((samples, vectors as usize))
}

/// Counts the cost of tiles from shapes.
pub(super) struct Counter<'p> {
    problem: &'p KernelRequest,
    nodes: Vec<&'p Node>,
    /// The convolutions on cones.
    tail: Option<ConvTail>,
    /// Bytes of a value on the device.
    number: f64,
}

impl<'p> Counter<'p> {
    pub(super) fn new(problem: &'p KernelRequest) -> Self {
        let tail = one_sample(problem).and_then(|one| one.network().conv_tail(one.tape(0), problem.on_cones()));
        Self::with(problem, tail)
    }

    fn with(problem: &'p KernelRequest, tail: Option<ConvTail>) -> Self {
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
    fn pass(&self, samples: usize) -> f64 {
        let widest = self.nodes.iter().map(|node| of_row(node)).fold(0.0, f64::max);
        let numbers = 3.0 * self.parameters() + 2.0 * samples as f64 * widest;
        self.tapes(samples) + SCATTERED * self.number * numbers
    }

    /// Bytes of the program and of the network with its inputs.
    fn base(&self) -> f64 {
        let inputs: usize = self.problem.inputs().map(|x| x.dims().iter().product::<usize>()).sum();
        // Inputs are stored with the kernel: a copy in their own precision, and one in f64.
        let threads = rayon::current_num_threads() as f64 * (THREAD + products::kept_by_thread());
        PROGRAM + threads + self.number * self.parameters() + (2.0 * self.number + 8.0) * inputs as f64
    }

    fn parameters(&self) -> f64 {
        self.problem.network().architecture().parameter_count() as f64
    }

    /// Number of samples in all batches.
    fn batch(&self) -> usize {
        self.problem.inputs().map(|x| x.dims()[0]).sum()
    }

    /// Bytes of the tapes of `samples` samples, including the inputs.
    fn tapes(&self, samples: usize) -> f64 {
        let maps: usize = self.nodes.iter().map(|node| node.input.len() + node.output.len()).sum();
        self.number * (samples * maps) as f64
    }

    /// Number of samples whose forward pass a tile needs; 0 for a coupled batch.
    fn passed(&self, Extent { samples: [n1, n2], apart, .. }: Extent) -> usize {
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

    /// Numbers of samples per tile that are tried: all samples in 1, 2, 3, 4, 6, 8, 12, 16, .. pieces.
    fn sizes(&self, wanted: TileSize) -> Vec<usize> {
        let samples = self.problem.samples().into_iter().max().unwrap_or(1);
        let pieces = std::iter::successors(Some(1), |&n: &usize| Some(n + ((1 << n.ilog2()) / 2).max(1)));
        let sizes = pieces.take_while(|&n| n < 2 * samples).map(|n| wanted.samples.unwrap_or(samples.div_ceil(n)));
        let mut sizes: Vec<usize> = sizes.collect();
        sizes.dedup();
        sizes
    }

    /// The smallest number of bytes for which a plan exists.
    pub(super) fn least(&self, method: Method, wanted: TileSize) -> f64 {
        let all = self.problem.outputs().len();
        let needs = self.sizes(wanted).into_iter().filter_map(|samples| {
            let size = |outputs: usize| TileSize { samples, outputs };
            let halves = (0..=all.ilog2()).map(|p| all >> p);
            let few = halves.filter(|&outputs| self.problem.shape().count(size(outputs)) <= MOST_TILES);
            let outputs = if wanted.outputs.is_some() { wanted.outputs } else { few.min() };
            outputs.map(|outputs| self.needs(method, size(outputs)))
        });
        needs.fold(f64::INFINITY, f64::min)
    }

    /// The size of the fastest tiles that fit, and the cost of all tiles.
    pub(super) fn fastest(&self, method: Method, memory: f64, wanted: TileSize) -> Option<(TileSize<usize>, Cost)> {
        let all = self.problem.outputs().len();
        let mut best: Option<(TileSize<usize>, Cost)> = None;
        for samples in self.sizes(wanted) {
            let few = |outputs: usize| self.problem.shape().count(TileSize { samples, outputs }) <= MOST_TILES;
            let fits = |outputs: usize| self.needs(method, TileSize { samples, outputs }) <= memory;
            let fitting = wanted.outputs.map_or_else(|| most(all, fits), |n| fits(n).then_some(n)).filter(|&n| few(n));
            let Some(size) = fitting.map(|outputs| TileSize { samples, outputs }) else { continue };
            let cost = self.all(method, size);
            if best.is_none_or(|(_, fastest)| cost.time < fastest.time) {
                best = Some((size, cost));
            }
            if size.outputs == wanted.outputs.unwrap_or(all) {
                // Fewer samples would only repeat more work.
                break;
            }
        }
        best
    }

    /// Cost of all tiles of a size, including forward passes.
    fn all(&self, method: Method, size: TileSize<usize>) -> Cost {
        let mut known: Vec<(Extent, Cost)> = Vec::new();
        let mut sum = Cost::default();
        let mut passed = if self.problem.is_coupled() { self.batch() } else { 0 };
        let mut before = None;
        for tile in self.problem.shape().tiles(size) {
            let extent = Extent::of(&tile, self.problem);
            if before.as_ref() != Some(&tile.samples) {
                passed += self.passed(extent);
            }
            let seen = known.iter().find(|(of, _)| *of == extent).map(|(_, cost)| *cost);
            let cost = seen.unwrap_or_else(|| {
                let cost = self.tile(method, extent);
                known.push((extent, cost));
                cost
            });
            sum.operations += cost.operations;
            sum.time += TILE + cost.time;
            before = Some(tile.samples);
        }
        sum.multiply(passed as f64 * self.forward());
        sum.write(self.tapes(passed) / self.number);
        sum
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

    fn linear(&self) -> impl Iterator<Item = &&'p Node> {
        self.nodes.iter().filter(|node| node.fan_in().is_some())
    }

    /// Multiply-adds of a forward pass of one sample.
    fn forward(&self) -> f64 {
        self.linear().map(|node| (node.weight_count() * node.weight_sites()) as f64).sum()
    }

    pub(super) fn cheapest(&self) -> Method {
        let (problem, samples) = (self.problem, self.problem.samples());
        let whole = TileSize { samples: samples[0].max(samples[1]), outputs: problem.outputs().len() };
        let time = |method: Method| self.tile(method, Extent::largest(whole, problem)).time;
        [Method::Structured, Method::NtkVectorProducts, Method::JacobianContraction]
            .into_iter()
            .min_by(|&a, &b| time(a).total_cmp(&time(b)))
            .expect("three methods")
    }

    /// Cost of a tile without its block and its forward pass.
    fn tile(&self, method: Method, extent: Extent) -> Cost {
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
    fn entries(&self, Extent { samples: [n1, n2], outputs, .. }: Extent) -> f64 {
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

    fn structured(&self, extent: Extent) -> Cost {
        let problem = self.problem;
        let Extent { samples: [n1, n2], outputs, apart, distinct } = extent;
        let mut cost = Cost::default();
        let mut below: &[&Node] = &self.nodes;
        if let Some(tail) = &self.tail {
            let size = self.number as usize;
            // Outputs from the middle, because the cones of corner pixels are cut off at the border.
            let start = (problem.outputs().len() - outputs) / 2;
            let plan = plan_of(problem, tail, &(start..start + outputs));
            let carried = !matches!(tail.below, fintan_net::TailInput::Nothing);
            let cones = match problem.entries() {
                Entries::Full => cones::full_cost(&plan, distinct.then_some(&plan), [n1, n2], size, carried),
                Entries::Traced | Entries::Diagonal => cones::sums_cost(&plan, [n1, n2], !distinct, size),
            };
            // The host's loops read copies of the parameters and tapes.
            let copies = self.number * self.parameters() + self.tapes(if apart { n1 + n2 } else { n1 });
            cost.bytes += cones.bytes + copies;
            cost.operations += cones.total();
            cost.time += ON_CONES * cones.total() + CALL * cones.calls;
            cost.write(copies / self.number);
            let first = tail.layers[0].parameter / 2;
            let at = self.nodes.iter().position(|node| node.index == Some(first)).unwrap_or(0);
            below = match tail.below {
                fintan_net::TailInput::Layers => &self.nodes[..at],
                fintan_net::TailInput::Nothing | fintan_net::TailInput::Dense { .. } => &[],
            };
        }
        let rows = [(0, n1), (1, n2)].map(|(side, n)| {
            let spans = if problem.is_coupled() { problem.side(side).x.dims()[0] } else { 1 };
            (outputs * n * spans) as f64
        });
        let (most, walked) = if distinct { (rows[0].max(rows[1]), rows[0] + rows[1]) } else { (rows[0], rows[0]) };
        let (mut widest, mut kept) = (0.0_f64, 0.0);
        for (i, node) in below.iter().enumerate() {
            let mut here = most * of_row(node);
            cost.write(walked * of_row(node));
            if node.index.is_some() {
                let (sides, k, order) = self.order(node, extent);
                let [[b, g1, i1, s1, c], [_, g2, i2, s2, _]] = sides;
                let mut dims = sides[0];
                dims[2] = i1.max(i2);
                cost.multiply(contraction::cost(order, dims, k, distinct.then_some(g2)));
                let cotangents = sides.map(|dims| dims.iter().product::<usize>() as f64);
                // Copies for the host's loops, and copies that products make.
                here += cotangents[0].max(cotangents[1]);
                kept += cotangents[0];
                let rows =
                    [b * g1 * i1, b * g2 * i2].map(|rows| rows.max(if order == Order::Weights { 0 } else { s1 }));
                let terms = match order {
                    Order::Hadamard => k.max(c),
                    Order::Weights => k * contraction::slice(rows[0].max(rows[1]), k, c),
                    Order::Patches => k.max(b * c),
                    Order::Pushed => s2 * c,
                };
                here += products::packed(rows[0], rows[1], terms, self.number as usize) / self.number;
                if order == Order::Weights {
                    // The product, its reordered copy, and a copy for the host.
                    let rows = [b * g1 * i1, b * g2 * i2];
                    let width = contraction::slice(rows[0].max(rows[1]), k, c);
                    let both = if distinct { rows[0] + rows[1] } else { rows[0] };
                    here += 3.0 * (both * k * width) as f64;
                }
                if order == Order::Pushed {
                    // The pushed cotangents, their copy, and the products of inputs.
                    here += 2.0 * (b * i1 * s2 * c) as f64 + 2.0 * (s1 * s2) as f64;
                }
                if matches!(node.layer, Layer::Conv(_)) {
                    // Patches of the inputs.
                    here += (g1 * s1 * k).max(g2 * s2 * k) as f64;
                    kept += (g1 * s1 * k) as f64;
                }
                if i > 0 && node.fan_in().is_some() {
                    cost.multiply(walked * (node.weight_count() * node.weight_sites()) as f64);
                }
            }
            // The forward pass of these samples needs patches too.
            widest = widest.max(here).max(self.passed(extent) as f64 * patches(node));
        }
        // The first side is kept until the second has been computed.
        cost.bytes += SCATTERED * self.number * (widest + if distinct { kept } else { 0.0 });
        if !below.is_empty() {
            // For a layer: its products, their reordered copy, and the products of its biases.
            let entries = 3.0 * self.entries(extent);
            cost.bytes += 8.0 * entries;
            cost.write(entries * below.iter().filter(|node| node.index.is_some()).count() as f64);
        }
        cost
    }

    /// `[b, groups, i, sites, C]` of a layer's weights on each side, K, and the order of summation.
    fn order(&self, node: &Node, extent: Extent) -> ([[usize; 5]; 2], usize, Order) {
        let (sides, k) = ([self.dims(node, extent, 0), self.dims(node, extent, 1)], inputs(node));
        let mut dims = sides[0];
        dims[2] = dims[2].max(sides[1][2]);
        (sides, k, contraction::choose(dims, k, extent.distinct.then_some(sides[1][1])))
    }

    /// `[b, groups, i, sites, C]` of a layer's weights on one side.
    fn dims(&self, node: &Node, extent: Extent, side: usize) -> [usize; 5] {
        let (n, t, batch) = (extent.samples[side], extent.outputs, self.problem.side(side).x.dims()[0]);
        // C: the outputs, or, for a transposed convolution, patches of the outputs.
        let (sites, c) = match node.parameters {
            Parameters::Linear { weights, sites, .. } => (sites, weights / inputs(node)),
            Parameters::Affine { count } => (1, count),
            Parameters::None => (1, 0),
        };
        let full = self.problem.entries() == Entries::Full;
        match (full, self.problem.is_coupled()) {
            (true, false) => [1, n, t, sites, c],
            (false, false) => [t, n, 1, sites, c],
            (true, true) => [1, 1, t * n, batch * sites, c],
            (false, true) => [t, 1, n, batch * sites, c],
        }
    }

    pub(super) fn layers(&self, method: Method, tile: TileSize<usize>) -> Vec<LayerPlan> {
        let on_cones: Vec<usize> = match (&self.tail, method) {
            (Some(tail), Method::Structured) => tail.layers.iter().map(|layer| layer.parameter / 2).collect(),
            _ => Vec::new(),
        };
        let extent = Extent::largest(tile, self.problem);
        let with_parameters = self.nodes.iter().filter_map(|node| node.index.map(|index| (index, node)));
        with_parameters
            .map(|(index, node)| {
                let order = match method {
                    Method::Structured if on_cones.contains(&index) => "cones",
                    Method::Structured => self.order(node, extent).2.name(),
                    Method::NtkVectorProducts | Method::JacobianContraction => method.name(),
                };
                LayerPlan { index, layer: node.layer.name(), order }
            })
            .collect()
    }
}

/// Number of values that a pullback through a layer holds at a time, for each row and sample.
fn of_row(node: &Node) -> f64 {
    let (input, output) = (node.input.len() as f64, node.output.len() as f64);
    if node.layer.properties().is_norm {
        // Cotangents, their products with the scale and with x̂, and the steps that subtract means.
        return 6.0 * output;
    }
    // Patches of cotangents, before they are summed or after they are extracted.
    input + 2.0 * output + patches(node)
}

/// K of a layer's weights.
fn inputs(node: &Node) -> usize {
    match (node.parameters, &node.layer) {
        (Parameters::Linear { weights, biases, .. }, Layer::Conv(_)) => weights / biases,
        (Parameters::Linear { .. }, _) => node.input.channels,
        (Parameters::None | Parameters::Affine { .. }, _) => 1,
    }
}

/// Number of values in the patches of the larger map of a convolution.
fn patches(node: &Node) -> f64 {
    let small = if let Layer::Conv(conv) = &node.layer {
        conv.out
    } else if let Layer::Deconv(_) = &node.layer {
        node.input.channels
    } else {
        return 0.0;
    };
    (node.weight_sites() * node.weight_count() / small) as f64
}
