//! Propagates two inputs through the networks of a family, each of which continues the previous one.

use fintan_config::Architecture;
use rayon::prelude::*;

use super::relation::{Relation, Trio};
use super::{LimitError, NetworkLimit, Step, compile, needs_all, skip_reshapes};
use crate::family::correlated_inputs;

/// Networks in which each is the previous one with more layers in the middle, and the positions where they differ.
pub(crate) struct Growing<'a> {
    /// The networks, shortest first.
    pub(crate) members: &'a [Architecture],
    /// Number of nodes before the repeated block.
    pub(crate) head: usize,
    /// Number of nodes in the block.
    pub(crate) block: usize,
    /// Number of nodes in all blocks of the first member.
    pub(crate) first: usize,
}

/// The steps of a family: the common start, the block that each member adds, and the end of each member.
struct Compiled {
    head: Vec<Step>,
    blocks: Vec<Vec<Step>>,
    tails: Vec<Vec<Step>>,
}

impl NetworkLimit {
    /// The kernels of two inputs at the output of the network: each with itself, and one with the other.
    ///
    /// # Errors
    /// The errors of [`Self::kernel`]; kernels that are 0 or not a number, or whose ratio is not defined.
    pub fn relation(&self, x: &[f64], y: &[f64]) -> Result<Relation, LimitError> {
        let trio = Trio::enter(self.input, [x, y], needs_all(&self.steps, false))?;
        trio.through(&self.steps, false, false)?.relation()
    }
}

impl NetworkLimit {
    /// The relation of two inputs with |x|² = |y|² = n and x·y = c n; `None` if inputs of the network are single numbers.
    ///
    /// # Errors
    /// The errors of [`Self::relation`].
    pub fn relation_at(&self, c: f64) -> Result<Option<Relation>, LimitError> {
        let Some([x, y]) = correlated_inputs(self.input, c) else { return Ok(None) };
        self.relation(&x, &y).map(Some)
    }

    /// The network with every weight and bias drawn from N(0, 1) and scaled in the forward pass, as in the `ntk`
    /// parametrization. All layers then contribute equally, whatever their widths.
    #[must_use]
    pub fn with_scaled_parameters(mut self) -> Self {
        scale_parameters(&mut self.steps);
        self
    }
}

fn scale_parameters(steps: &mut [Step]) {
    for step in steps {
        match step {
            Step::Linear(linear) => linear.scale_parameters(),
            Step::Residual { branch, shortcut, .. } => {
                scale_parameters(branch);
                scale_parameters(shortcut);
            }
            Step::Activation(..) | Step::LayerNorm { .. } | Step::Spread { .. } | Step::Copies(_) | Step::Means(_) => {}
        }
    }
}

impl Growing<'_> {
    fn compile(&self) -> Result<(Compiled, bool), LimitError> {
        let mut pools = false;
        let Some(first) = self.members.first() else {
            return Ok((Compiled { head: Vec::new(), blocks: Vec::new(), tails: Vec::new() }, false));
        };
        let (skipped, input) = skip_reshapes(first);
        let parametrization = first.parametrization;
        let begun = self.head + self.first;
        let (head, mut positions) =
            compile(&first.nodes[skipped..begun.max(skipped)], parametrization, input.positions(), &mut pools)?;
        let (mut blocks, mut tails) = (Vec::new(), Vec::new());
        for (i, member) in self.members.iter().enumerate() {
            let end = begun + i * self.block;
            if i > 0 {
                let (block, behind) =
                    compile(&member.nodes[end - self.block..end], parametrization, positions, &mut pools)?;
                positions = behind;
                blocks.push(block);
            }
            tails.push(compile(&member.nodes[end..], parametrization, positions, &mut pools)?.0);
        }
        Ok((Compiled { head, blocks, tails }, pools))
    }

    /// For each angle and each member, the relation of two inputs; `None` if inputs are single numbers.
    pub(crate) fn relations(&self, angles: &[f64]) -> Result<Option<Vec<Vec<Relation>>>, LimitError> {
        let (Compiled { head, blocks, tails }, pools) = self.compile()?;
        let Some(first) = self.members.first() else { return Ok(Some(vec![Vec::new(); angles.len()])) };
        let (_, input) = skip_reshapes(first);
        // If any member pools, all pairs of positions are propagated.
        let all = pools;
        let many = angles.len() > 8;
        let of = |angle: &f64| {
            // The inputs are created here and not earlier, because they may be long.
            let Some([x, y]) = correlated_inputs(input, angle.cos()) else { return Ok(None) };
            let mut trio = Trio::enter(input, [&x, &y], all)?.through(&head, all, many)?;
            let mut found = Vec::with_capacity(tails.len());
            for (i, tail) in tails.iter().enumerate() {
                if i > 0 {
                    trio = trio.through(&blocks[i - 1], all, many)?;
                }
                found.push(trio.clone().through(tail, false, many)?.relation()?);
            }
            Ok(Some(found))
        };
        angles.par_iter().map(of).collect()
    }
}
