//! The empirical tangent kernel of networks whose outputs are pixels, computed on cones.
//!
//! A pixel at the end of a chain of (transposed) convolutions depends on a small window of every earlier map: its cone. The
//! cotangent of the pixel is zero outside the cone, so cotangents are pulled back window by window, in batches of pixels
//! whose cones have the same shape. The kernel of a layer is then a sum over the two windows of a pair of outputs,
//!
//! ```text
//! Theta[r, r'] = sum_{u in W(r), u' in W(r')} (Gamma[u, u'] + beta^2) <delta_r[u], delta_r'[u']>,
//! ```
//!
//! where `Gamma` is the Gram matrix of the patches that the layer reads. Weight gradients are never formed.
//!
//! * [`ConePlan`]: the cones of a selection of outputs, computed from shapes alone.
//! * [`Chain`]: weights, activations and derivatives of a batch.
//! * [`traced`], [`diagonal`]: kernels between samples, summed over outputs or for each output.
//! * [`full`](fn@full): the kernel of all pairs (sample, output).
//! * [`ConeCotangents`]: cotangents on all cones, stored for [`full`](fn@full) and for the layers below the chain.
//!
//! Level 0 is the input of the chain, and level `l` is the output of its layer `l - 1`. `delta` at a level is the gradient
//! in the map of that level. Maps are channels last.

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

pub use chain::{Chain, ChainError, ConeLayer};
pub use cost::{Cost, full_cost, sums_cost};
pub use cotangents::ConeCotangents;
pub use full::{InputTerm, Layout, PartBuffers, Target, full, full_at};
pub use geometry::{Geometry, GeometryError, LayerKind};
pub use plan::{ConePlan, Output};
pub use real::Real;
pub use sums::{ConeSums, diagonal, traced};
