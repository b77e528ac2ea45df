//! The three methods under one name.

use crate::kernel::{Block, Kernel};
use crate::pixels::{endings, has_place, into_kernel};
use crate::plan::Plan;
use crate::problem::{Problem, Tile};
use crate::{jacobian_contraction, ntk_vector_products, structured};

/// How a kernel is computed.
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

    /// A tile of the kernel.
    #[must_use]
    pub fn block(self, problem: &Problem, tile: &Tile) -> Block {
        match self {
            Self::Structured => structured(problem, tile),
            Self::NtkVectorProducts => ntk_vector_products(problem, tile),
            Self::JacobianContraction => jacobian_contraction(problem, tile),
        }
    }
}

impl Kernel {
    /// The kernel of a problem, tile by tile.
    #[must_use]
    pub fn compute(problem: &Problem, plan: &Plan) -> Self {
        let mut kernel = Self::of(problem);
        let endings = (plan.method == Method::Structured).then(|| endings(problem)).flatten();
        let endings = endings.filter(|endings| has_place(problem, endings));
        for tile in &plan.tiles {
            match &endings {
                Some(endings) => {
                    into_kernel(problem, endings, tile, &mut kernel);
                    if problem.is_symmetric() && tile.rows != tile.columns {
                        kernel.mirror(tile);
                    }
                }
                None => kernel.insert(tile, &plan.method.block(problem, tile), problem.is_symmetric()),
            }
        }
        kernel
    }
}
