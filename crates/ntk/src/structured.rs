//! Structured derivatives: the part of each layer from its inputs and cotangents, without a Jacobian.

use std::ops::Range;

use fintan_net::{Lowering, ParameterUse};

use crate::contraction::{Operand, contract};
use crate::kernel::Block;
use crate::pixels::{on_cones, tails};
use crate::problem::KernelRequest;
use crate::products::By;

/// The block between outputs of rows and outputs of columns, by structured derivatives (Novak et al., arXiv 2206.08720,
/// section 3.4).
///
/// One pullback carries the cotangents of all rows through the network. At each layer, its inputs and cotangents are
/// contracted in the cheapest order.
#[must_use]
pub fn structured(problem: &KernelRequest, outputs: &[Range<usize>; 2]) -> Block {
    match tails(problem) {
        Some(tails) => on_cones(problem, &tails, outputs),
        None => on_maps(problem, outputs),
    }
}

/// The block with cotangents as whole maps.
fn on_maps(problem: &KernelRequest, outputs: &[Range<usize>; 2]) -> Block {
    let mut block = Block::zeros(problem, outputs);
    let symmetric = problem.is_symmetric() && outputs[0] == outputs[1];
    add_sites(problem, symmetric, &mut block, |side, visit| {
        problem.network.visit(problem.tape(side), problem.seeds(side, &outputs[side]), visit);
    });
    block
}

/// Adds the parts of the parameters that `walk(side, visitor)` visits. A symmetric kernel needs one side only; otherwise the
/// factors of the first side are stored until the second side has been visited.
pub(crate) fn add_sites(
    problem: &KernelRequest,
    symmetric: bool,
    block: &mut Block,
    walk: impl Fn(usize, &mut dyn FnMut(ParameterUse)),
) {
    let entries = problem.entries;
    let by = if problem.network.lowering() == Lowering::Host { By::Host } else { By::Device };
    let operand =
        |side: usize, factors| Operand::new(factors, entries, problem.is_coupled().then(|| problem.side(side).n()), by);
    let mut kept: Vec<Option<Operand>> = problem.network.parameter_names().iter().map(|_| None).collect();
    if !symmetric {
        walk(0, &mut |site| {
            for factors in site.factors() {
                let parameter = factors.parameter;
                kept[parameter] = Some(operand(0, factors));
            }
        });
    }
    walk(usize::from(!symmetric), &mut |site| {
        for factors in site.factors() {
            let here = operand(1, factors);
            let there = kept[here.parameter].take();
            assert!(symmetric || there.is_some(), "both sides have the same parameters");
            let (left, other) = there.as_ref().map_or((&here, None), |there| (there, Some(&here)));
            block.add_all(contract(left, other, entries, problem.is_apart()));
        }
    });
}
