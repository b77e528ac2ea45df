//! Batch normalization.

use burn::tensor::Tensor;

use super::{CotangentPair, Rules};
use crate::network::{Mode, PlacedNetwork, Running};
use crate::norm::{BatchStatistics, Normalized, normalize, normalize_by};
use crate::parameter_use::ParameterUse;

/// Batch normalization over batch and positions.
#[derive(Debug)]
pub(crate) struct BatchNorm {
    /// Index of the scales among the parameters; the shifts follow.
    pub(crate) affine: Option<usize>,
    pub(crate) eps: f64,
    /// Index of its statistics among the running statistics of the network.
    pub(crate) running: usize,
}

/// The tape entry of a batch norm.
#[derive(Debug, Clone)]
pub(crate) struct Saved {
    pub(crate) normalized: Normalized,
    /// Statistics of the batch, in training mode.
    pub(crate) statistics: Option<BatchStatistics>,
}

impl Rules for BatchNorm {
    type Saved = Saved;

    /// dx
    type Tangent = Tensor<4>;

    fn forward(&self, network: &PlacedNetwork, x: Tensor<4>, mode: Mode) -> (Tensor<4>, Saved) {
        let dims = x.dims();
        let rows = x.reshape([dims[0] * dims[1] * dims[2], dims[3]]);
        let (normalized, statistics) = match mode {
            Mode::Train => {
                let (normalized, statistics) = normalize(rows, 0, self.eps, network.lowering());
                (normalized, Some(statistics))
            }
            Mode::Eval => {
                let Running { mean, variance, .. } = network.running[self.running].clone();
                (normalize_by(rows, mean, variance, self.eps, network.lowering()), None)
            }
        };
        let y = normalized.scaled_and_shifted(network, self.affine);
        (y.reshape(dims), Saved { normalized, statistics })
    }

    fn pullback(
        &self,
        network: &PlacedNetwork,
        saved: &Saved,
        dy: Tensor<4>,
        visit: &mut dyn FnMut(ParameterUse),
        _: bool,
    ) -> Option<Tensor<4>> {
        Some(saved.normalized.pullback(network, self.affine, dy, visit))
    }

    fn pushforward(
        &self,
        network: &PlacedNetwork,
        saved: &Saved,
        dx: Tensor<4>,
        tangents: Option<&[Tensor<2>]>,
    ) -> Tensor<4> {
        saved.normalized.pushforward(network, self.affine, dx, tangents)
    }

    fn pushforward_saved(
        &self,
        network: &PlacedNetwork,
        saved: &Saved,
        dx: Tensor<4>,
        tangents: Option<&[Tensor<2>]>,
    ) -> (Tensor<4>, Tensor<4>) {
        (saved.normalized.pushforward(network, self.affine, dx.clone(), tangents), dx)
    }

    fn pullback_tangent(
        &self,
        network: &PlacedNetwork,
        (saved, dx): (&Saved, &Tensor<4>),
        dy: CotangentPair,
        tangents: Option<&[Tensor<2>]>,
        add: &mut dyn FnMut(usize, Tensor<2>),
        _: bool,
    ) -> Option<CotangentPair> {
        Some(saved.normalized.pullback_tangent(network, self.affine, dx.clone(), dy, tangents, add))
    }
}
