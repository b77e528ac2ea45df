//! Cones: the empirical tangent kernel of a network whose outputs are pixels.
//!
//! A pixel of a chain of (transposed) convolutions depends on a small window of every map before it, its cone. The
//! cotangent of that pixel lives on the cone alone, so cotangents are pulled back window by window, in batches of
//! pixels whose cones have the same shape. The kernel of a layer is then a sum over the two windows of a pair of
//! outputs,
//!
//! ```text
//! Theta[r, r'] = sum_{u in W(r), u' in W(r')} (Gamma[u, u'] + beta^2) <delta_r[u], delta_r'[u']>,
//! ```
//!
//! where `Gamma` is the Gram matrix of the patches that the layer reads: weight gradients are never formed.
//!
//! * [`Plan`]: the cones of a selection of outputs, from shapes alone.
//! * [`Chain`]: weights, activations and derivatives of a batch.
//! * [`traced`], [`diagonal`]: kernels of samples, summed over outputs or per output.
//! * [`full`](fn@full): the kernel of all pairs of sample and output.
//! * [`Cotangents`]: cotangents of all cones, kept for [`full`](fn@full) and for the layers before the chain.
//!
//! Level 0 is the input of the chain and level `l` the output of its layer `l - 1`; `delta` at a level is the
//! gradient by the map of that level. Maps are channels-last.

#![allow(
    clippy::inline_always,
    reason = "what `gemm::simd` calls is compiled for its vectors only where it is inlined"
)]

mod active;
mod axis;
mod band;
mod chain;
mod cost;
mod cotangents;
mod full;
mod gemm;
mod geometry;
mod panel;
mod patches;
mod plan;
mod pull;
mod real;
mod sums;
mod tiles;
mod weights;

pub use chain::{Chain, ChainError, Layer};
pub use cost::{Cost, full_cost, sums_cost};
pub use cotangents::Cotangents;
pub use full::{InputTerm, Layout, PartBuffers, Target, full, full_at};
pub use geometry::{Geometry, GeometryError, LayerKind};
pub use plan::{Output, Plan};
pub use real::Real;
pub use sums::{Sums, diagonal, traced};
