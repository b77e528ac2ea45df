//! The empirical neural tangent kernel of a finite network.
//!
//! With f the outputs and θ the parameters of a network,
//!
//! ```text
//! Θ[(n, o), (n', o')] = Σ_p ∂f_o(x_n)/∂θ_p · ∂f_o'(x_n')/∂θ_p
//! ```
//!
//! exactly, by one of three methods that share nothing but the network:
//!
//! | method | is | cost |
//! | --- | --- | --- |
//! | [`jacobian_contraction()`] | Burn's autodiff, one backward pass a row: the oracle | N O backward passes, N O Jacobian rows in memory |
//! | [`ntk_vector_products()`] | Jᵀ v by pullback, J of it by pushforward | N O passes back and N O forward over the batch |
//! | [`structured()`] | one pullback of all rows; each layer from inputs and cotangents, no Jacobian | O pullbacks of the batch, and a contraction a layer |
//!
//! A [`Problem`] says which kernel, a [`Plan`] how: method, tiles, memory, operations, counted beforehand. Tiles become
//! [`Block`]s and blocks a [`Kernel`], whose parts belong to the network's parameters one by one. [`cones`] is what makes
//! generators cheap: a pixel's cotangent is followed through small windows instead of whole maps.
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
pub use kernel::{Block, Entries, Kernel, KernelShape, Part, Values};
pub use method::{Method, Tiles};
pub use ntk_vector_products::ntk_vector_products;
pub use operator::Operator;
pub use overflow::Overflow;
pub use plan::{LayerPlan, Plan, PlanError, TileSize};
pub use problem::{Problem, ProblemError, Tile};
pub use spectrum::{Spectrum, SpectrumError, Trace, largest_eigenpairs};
pub use structured::structured;
