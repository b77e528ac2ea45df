//! Residual blocks: `y = scale · (branch(x) + shortcut(x))`.

use burn::tensor::Tensor;

use super::{CotangentPair, Entry, Operation, Rules, TangentEntry};
use crate::network::{Mode, PlacedNetwork};
use crate::parameter_use::ParameterUse;

/// A branch and a shortcut.
#[derive(Debug)]
pub(crate) struct Residual {
    pub(crate) branch: Vec<Operation>,
    /// Empty for the identity.
    pub(crate) shortcut: Vec<Operation>,
    pub(crate) scale: f64,
}

impl Rules for Residual {
    /// Tapes of the branch and of the shortcut.
    type Saved = [Vec<Entry>; 2];

    /// Tangents of the branch and of the shortcut.
    type Tangent = [Vec<TangentEntry>; 2];

    fn forward(&self, network: &PlacedNetwork, x: Tensor<4>, mode: Mode) -> (Tensor<4>, [Vec<Entry>; 2]) {
        let (through, branch) = network.forward_through(&self.branch, x.clone(), mode);
        let (around, shortcut) = network.forward_through(&self.shortcut, x, mode);
        ((through + around).mul_scalar(self.scale), [branch, shortcut])
    }

    fn pullback(
        &self,
        network: &PlacedNetwork,
        [through, around]: &[Vec<Entry>; 2],
        dy: Tensor<4>,
        visit: &mut dyn FnMut(ParameterUse),
        input_wanted: bool,
    ) -> Option<Tensor<4>> {
        let dy = dy.mul_scalar(self.scale);
        // An empty shortcut passes dy on. Branch and shortcut are always visited, because of their parameters.
        let left = network.pullback_through(&self.branch, through, dy.clone(), visit, input_wanted);
        let right = network.pullback_through(&self.shortcut, around, dy, visit, input_wanted);
        left.zip(right).map(|(a, b)| a + b)
    }

    fn pushforward(
        &self,
        network: &PlacedNetwork,
        [through, around]: &[Vec<Entry>; 2],
        dx: Tensor<4>,
        tangents: Option<&[Tensor<2>]>,
    ) -> Tensor<4> {
        let left = network.pushforward_through(&self.branch, through, dx.clone(), tangents);
        let right = network.pushforward_through(&self.shortcut, around, dx, tangents);
        (left + right).mul_scalar(self.scale)
    }

    fn pushforward_saved(
        &self,
        network: &PlacedNetwork,
        [through, around]: &[Vec<Entry>; 2],
        dx: Tensor<4>,
        tangents: Option<&[Tensor<2>]>,
    ) -> (Tensor<4>, [Vec<TangentEntry>; 2]) {
        let (left, branch) = network.pushforward_saved_through(&self.branch, through, dx.clone(), tangents);
        let (right, shortcut) = network.pushforward_saved_through(&self.shortcut, around, dx, tangents);
        ((left + right).mul_scalar(self.scale), [branch, shortcut])
    }

    fn pullback_tangent(
        &self,
        network: &PlacedNetwork,
        ([through, around], [along_branch, along_shortcut]): (&[Vec<Entry>; 2], &[Vec<TangentEntry>; 2]),
        dy: CotangentPair,
        tangents: Option<&[Tensor<2>]>,
        add: &mut dyn FnMut(usize, Tensor<2>),
        input_wanted: bool,
    ) -> Option<CotangentPair> {
        let dy = dy.map(|d| d.mul_scalar(self.scale));
        let branch = (&self.branch[..], &through[..], &along_branch[..]);
        let shortcut = (&self.shortcut[..], &around[..], &along_shortcut[..]);
        let left = network.pullback_tangent_through(branch, dy.clone(), tangents, add, input_wanted);
        let right = network.pullback_tangent_through(shortcut, dy, tangents, add, input_wanted);
        left.zip(right).map(|(a, b)| CotangentPair { value: a.value + b.value, tangent: a.tangent }.plus(b.tangent))
    }
}
