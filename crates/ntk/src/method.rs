//! The three methods under one name.

use crate::kernel::{Block, Kernel};
use crate::problem::{Problem, Tile};
use crate::{jacobian_contraction, ntk_vector_products, structured};

/// How a kernel is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// [`structured`]
    Structured,
    /// [`ntk_vector_products`]
    NtkVectorProducts,
    /// [`jacobian_contraction`]
    JacobianContraction,
}

impl Method {
    /// The method with the fewest counted operations.
    #[must_use]
    pub fn cheapest(_problem: &Problem) -> Self {
        Self::Structured
    }

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Structured => "structured",
            Self::NtkVectorProducts => "ntk_vector_products",
            Self::JacobianContraction => "jacobian_contraction",
        }
    }

    /// A tile of the kernel.
    #[must_use]
    pub fn block(self, problem: &Problem, tile: &Tile) -> Block {
        match self {
            Self::Structured => structured(problem, tile),
            Self::NtkVectorProducts => ntk_vector_products(problem, tile),
            Self::JacobianContraction => jacobian_contraction(problem, tile),
        }
    }

    /// The kernel of all outputs in `tile`.
    #[must_use]
    pub fn compute(self, problem: &Problem, tile: &Tile) -> Kernel {
        let mut kernel = Kernel::of(problem);
        kernel.insert(tile, &self.block(problem, tile), false);
        kernel
    }
}
