//! What a kernel will cost, and the tiles in which it fits into memory.

mod counter;

use std::ops::Range;

use fintan_config::Bytes;

use self::counter::{Cost, Counter};
pub(crate) use self::counter::{convolutions_on_cones, of_products};
use crate::kernel::{Entries, KernelShape};
use crate::method::Method;
use crate::problem::{Problem, Tile};

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
    /// Samples and outputs a side of the largest tile.
    pub tile: TileSize<usize>,
    /// Bytes held at most, the kernel and the program included.
    pub bytes: f64,
    /// Bytes of it that stay when the kernel is there: the program, the network with its inputs and the kernel.
    pub held: f64,
    /// Multiply-adds of all tiles, forward passes included.
    pub operations: f64,
    /// A line for each layer with parameters.
    pub layers: Vec<LayerPlan>,
}

/// Samples and outputs a side of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TileSize<N = Option<usize>> {
    /// Samples.
    pub samples: N,
    /// Outputs.
    pub outputs: N,
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
    /// Too little memory for eigenpairs of a kernel that is not formed.
    #[error(
        "{count} eigenpairs need at least {needed} of memory, but only {given} may be used; take fewer of them, or fewer samples or outputs"
    )]
    Eigenpairs {
        /// How many.
        count: usize,
        /// What they take.
        needed: Bytes,
        /// What was given.
        given: Bytes,
    },
    /// A tile size out of range.
    #[error("a tile must have 1 to {all} {of} a side, got {found}")]
    TileSize {
        /// `samples` or `outputs`.
        of: &'static str,
        /// How many there are.
        all: usize,
        /// How many were asked for.
        found: usize,
    },
}

impl Plan {
    /// Bytes that are left beside the kernel of `memory`; without a bound on memory there is no end to them.
    #[must_use]
    pub fn spare(&self, memory: Option<f64>) -> f64 {
        memory.map_or(f64::INFINITY, |memory| memory - self.held)
    }

    /// Plans `problem` for at most `memory` bytes.
    ///
    /// `method`: none chooses the fastest, by its multiply-adds and the numbers it writes.
    ///
    /// # Errors
    /// [`PlanError::Memory`] if the smallest tiles do not fit.
    pub fn new(problem: &Problem, method: Option<Method>, memory: f64) -> Result<Self, PlanError> {
        Self::in_tiles(problem, method, memory, TileSize::default())
    }

    /// A plan whose tiles have a given size; what is not given is chosen.
    ///
    /// Tiles repeat work: cotangents of a row are pulled back for each tile it is in. So a kernel that fits is one tile, and
    /// of the sizes that fit the fastest is taken.
    ///
    /// # Errors
    /// [`PlanError::Memory`] if the tiles do not fit, [`PlanError::TileSize`].
    pub fn in_tiles(
        problem: &Problem,
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

/// The most of `all` that fit, in parts of nearly equal sizes; none if not even one does. What fits, fewer do too.
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

/// More tiles than this are no plan: each is a file, and repeats the work of others.
const MOST_TILES: usize = 100_000;

impl KernelShape {
    /// How many tiles of a size there are.
    #[must_use]
    pub fn count(&self, size: TileSize<usize>) -> usize {
        let [first, second] = self.samples.map(|n| n.div_ceil(size.samples));
        let outputs = self.outputs.div_ceil(size.outputs);
        // Sizes may come from a file; no plan has so many tiles.
        let (times, half) = (usize::saturating_mul, |n: usize| n.saturating_mul(n.saturating_add(1)) / 2);
        let (pair, diagonal) =
            if self.entries == Entries::Full { (times(outputs, outputs), half(outputs)) } else { (outputs, outputs) };
        if self.symmetric {
            times(half(first.saturating_sub(1)), pair).saturating_add(times(first, diagonal))
        } else {
            times(times(first, second), pair)
        }
    }

    /// Samples and outputs of rows against those of columns; of a symmetric kernel those on and below the diagonal. Those of
    /// equal samples come one after another.
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
