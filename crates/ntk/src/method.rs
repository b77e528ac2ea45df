//! The three methods behind one type, and the computation of a plan's tiles.

use std::ops::Range;

use crate::kernel::{Block, KernelParts};
use crate::pixels::{has_place, into_kernel, tails};
use crate::plan::KernelPlan;
use crate::problem::{KernelRequest, Tile};
use crate::{jacobian_contraction, ntk_vector_products, structured};

/// The method by which a kernel is computed.
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
/// use fintan_ntk::{Entries, KernelParts, KernelPlan, KernelRequest, Method};
///
/// // `network` is y = w · x + b, so that Θ = x · x' + 1, and `x` holds (1, 0) and (0, 2).
/// let request = KernelRequest::new(network, x, None, Mode::Eval, Entries::Full, Vec::new())?;
/// for method in [Method::Structured, Method::NtkVectorProducts, Method::JacobianContraction] {
///     let plan = KernelPlan::new(&request, Some(method), f64::INFINITY)?;
///     let kernel = KernelParts::compute(&request, &plan);
///     assert_eq!(kernel.total().iter().collect::<Vec<_>>(), [2.0, 1.0, 1.0, 5.0], "{}", method.name());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// [`structured()`]
    Structured,
    /// [`ntk_vector_products()`]
    NtkVectorProducts,
    /// [`jacobian_contraction()`]
    JacobianContraction,
}

impl Method {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Structured => "structured",
            Self::NtkVectorProducts => "ntk_vector_products",
            Self::JacobianContraction => "jacobian_contraction",
        }
    }

    /// The block of a kernel between outputs of rows and outputs of columns.
    #[must_use]
    pub fn block(self, problem: &KernelRequest, outputs: &[Range<usize>; 2]) -> Block {
        match self {
            Self::Structured => structured(problem, outputs),
            Self::NtkVectorProducts => ntk_vector_products(problem, outputs),
            Self::JacobianContraction => jacobian_contraction(problem, outputs),
        }
    }
}

/// Computes the tiles of a plan, in any order. Consecutive tiles with the same samples share a forward pass.
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
/// use fintan_ntk::{Entries, KernelParts, KernelPlan, KernelRequest, TileSize, Tiles};
///
/// // `network` is y = w · x + b, so that Θ = x · x' + 1, and `x` holds (1, 0) and (0, 2).
/// let request = KernelRequest::new(network, x, None, Mode::Eval, Entries::Full, Vec::new())?;
/// let size = TileSize { samples: Some(1), outputs: None };
/// let plan = KernelPlan::in_tiles(&request, None, f64::INFINITY, size)?;
/// let (mut tiles, mut kernel) = (Tiles::new(&request, &plan), KernelParts::of(&request));
/// for (i, tile) in plan.tiles.iter().enumerate() {
///     kernel.insert(tile, &tiles.block(i), request.is_symmetric());
/// }
/// assert_eq!(kernel.total().iter().collect::<Vec<_>>(), [2.0, 1.0, 1.0, 5.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Tiles<'p> {
    problem: &'p KernelRequest,
    plan: &'p KernelPlan,
    at_hand: Option<([Range<usize>; 2], KernelRequest)>,
}

impl<'p> Tiles<'p> {
    /// Prepares the tiles of a problem and its plan.
    #[must_use]
    pub fn new(problem: &'p KernelRequest, plan: &'p KernelPlan) -> Self {
        Self { problem, plan, at_hand: None }
    }

    /// Computes tile `i` as a separate block.
    ///
    /// # Panics
    /// If the plan has no such tile.
    pub fn block(&mut self, i: usize) -> Block {
        let (method, tile) = (self.plan.method, &self.plan.tiles[i]);
        method.block(self.restricted_to(tile), &tile.outputs)
    }

    /// Adds tile `i` to the kernel.
    fn add(&mut self, i: usize, kernel: &mut KernelParts) {
        let (method, tile) = (self.plan.method, &self.plan.tiles[i]);
        let symmetric = self.problem.is_symmetric();
        let whole = tile.samples.iter().zip(self.problem.samples()).all(|(range, n)| range.len() == n);
        let part = self.restricted_to(tile);
        let tails = (whole && method == Method::Structured).then(|| tails(part)).flatten();
        let Some(tails) = tails.filter(|tails| has_place(part, &tails[0])) else {
            let block = method.block(part, &tile.outputs);
            return kernel.insert(tile, &block, symmetric);
        };
        into_kernel(part, &tails, &tile.outputs, kernel);
        if symmetric && !tile.is_diagonal() {
            kernel.mirror(&tile.outputs);
        }
    }

    fn restricted_to(&mut self, tile: &Tile) -> &KernelRequest {
        if self.at_hand.as_ref().is_some_and(|(samples, _)| *samples != tile.samples) {
            // Dropped before the next is made, so that only one forward pass is in memory.
            self.at_hand = None;
        }
        let samples = || (tile.samples.clone(), self.problem.restricted_to(&tile.samples));
        &self.at_hand.get_or_insert_with(samples).1
    }
}

impl KernelParts {
    /// Computes the kernel of a problem, tile by tile.
    #[must_use]
    pub fn compute(problem: &KernelRequest, plan: &KernelPlan) -> Self {
        Self::compute_watched(problem, plan, &mut |_, _| ())
    }

    /// Computes the kernel of a problem, and calls `on_tile(done, all)` after each tile.
    #[must_use]
    pub fn compute_watched(problem: &KernelRequest, plan: &KernelPlan, on_tile: &mut dyn FnMut(usize, usize)) -> Self {
        let (mut kernel, mut tiles, all) = (Self::of(problem), Tiles::new(problem, plan), plan.tiles.len());
        for i in 0..all {
            tiles.add(i, &mut kernel);
            on_tile(i + 1, all);
        }
        kernel
    }
}
