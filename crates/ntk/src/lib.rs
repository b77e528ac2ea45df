//! The empirical neural tangent kernel of a finite network.
//!
//! With f the outputs and θ the parameters of a network,
//!
//! ```text
//! Θ[(n, o), (n', o')] = Σ_p ∂f_o(x_n)/∂θ_p · ∂f_o'(x_n')/∂θ_p
//! ```
//!
//! exactly, by one of three independent methods:
//!
//! | method | is | cost |
//! | --- | --- | --- |
//! | [`jacobian_contraction()`] | Burn's autodiff, one backward pass for each row: the reference | N O backward passes, N O Jacobian rows in memory |
//! | [`ntk_vector_products()`] | Jᵀ v by pullback, J of the result by pushforward | N O passes back and N O forward over the batch |
//! | [`structured()`] | one pullback of all rows; layers from inputs and cotangents, no Jacobian | O pullbacks of the batch, and one contraction for each layer |
//!
//! A [`KernelRequest`] defines which kernel to compute. A [`KernelPlan`] determines how: method, tiles, memory and operations, counted
//! in advance. Tiles are computed as [`Block`]s and added to a [`KernelParts`], whose parts belong to the parameters of the
//! network. [`cones`] makes the kernels of generators cheap: the cotangent of a pixel is traced through small windows
//! instead of whole maps.
//!
//! Sources: Jacot et al., arXiv 1806.07572 (the kernel); Novak et al., arXiv 2206.08720 (the methods).

mod checkerboard;
pub mod cones;
mod contraction;
mod jacobian_contraction;
mod kernel;
mod method;
mod ntk_vector_products;
mod operator;
mod overflow;
mod pixels;
mod plan;
mod problem;
mod products;
mod spectrum;
mod structured;

pub use checkerboard::Checkerboard;
pub use jacobian_contraction::jacobian_contraction;
pub use kernel::{Block, Entries, KernelPart, KernelParts, KernelShape, KernelValues};
pub use method::{Method, Tiles};
pub use ntk_vector_products::ntk_vector_products;
pub use operator::Operator;
pub use overflow::Overflow;
pub use plan::{KernelPlan, LayerPlan, PlanError, TileSize, passes_of_curvature};
pub use problem::{KernelRequest, RequestError, Tile};
pub use spectrum::{Spectrum, SpectrumError, SymmetricOperator, Trace, extreme_eigenpairs, largest_eigenpairs};
pub use structured::structured;
