//! Structured derivatives: each layer's part from its inputs and cotangents, never a Jacobian.

use std::ops::Range;

use fintan_net::Factors;

use crate::contraction::{Operand, contract};
use crate::kernel::Block;
use crate::pixels::{endings, on_cones};
use crate::problem::{Problem, Tile};

/// A tile of the kernel by structured derivatives (Novak et al., arXiv 2206.08720, section 3.4).
///
/// One pullback carries the cotangents of all rows of the tile through the network; on their way each layer's inputs and
/// cotangents are contracted in the cheapest order.
#[must_use]
pub fn structured(problem: &Problem, tile: &Tile) -> Block {
    match endings(problem) {
        Some(endings) => on_cones(problem, &endings, tile),
        None => on_maps(problem, tile),
    }
}

/// With cotangents as whole maps.
fn on_maps(problem: &Problem, tile: &Tile) -> Block {
    let mut block = Block::zeros(problem, tile);
    let (entries, coupled) = (problem.entries, problem.is_coupled());
    let operand = |factors| Operand::new(factors, entries, coupled);
    if problem.is_symmetric() && tile.rows == tile.columns {
        walk(problem, 0, &tile.rows, &mut |factors| {
            let both = operand(factors);
            block.add_all(contract(&both, &both, entries, problem.is_apart()));
        });
    } else {
        let mut left: Vec<Option<Operand>> = problem.network.parameter_names().iter().map(|_| None).collect();
        walk(problem, 0, &tile.rows, &mut |factors| {
            let index = factors.parameter;
            left[index] = Some(operand(factors));
        });
        walk(problem, 1, &tile.columns, &mut |factors| {
            let one = left[factors.parameter].take().expect("both sides have the same parameters");
            block.add_all(contract(&one, &operand(factors), entries, problem.is_apart()));
        });
    }
    block
}

/// Shows `visit` the factors of every parameter for the outputs in `range`.
fn walk(problem: &Problem, side: usize, range: &Range<usize>, visit: &mut dyn FnMut(Factors)) {
    problem.network.visit(&problem.side(side).tape, problem.seeds(side, range), &mut |site| {
        for factors in site.factors() {
            visit(factors);
        }
    });
}
