//! Layer normalization.

use burn::tensor::Tensor;
use fintan_config::NormAxes;

use super::{CotangentPair, Rules};
use crate::network::{Mode, PlacedNetwork};
use crate::norm::{Normalized, normalize};
use crate::parameter_use::ParameterUse;

/// Normalization of each sample separately.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    /// Index of the scales among the parameters; the shifts follow.
    pub(crate) affine: Option<usize>,
    pub(crate) eps: f64,
    pub(crate) over: NormAxes,
}

impl Rules for LayerNorm {
    type Saved = Normalized;

    /// dx
    type Tangent = Tensor<4>;

    fn forward(&self, network: &PlacedNetwork, x: Tensor<4>, _: Mode) -> (Tensor<4>, Normalized) {
        let dims = x.dims();
        let [n, h, w, c] = dims;
        let rows = match self.over {
            NormAxes::Chw => [n, h * w * c],
            NormAxes::Features => [n * h * w, c],
        };
        let (normalized, _) = normalize(x.reshape(rows), 1, self.eps, network.lowering());
        let y = normalized.scaled_and_shifted(network, self.affine);
        (y.reshape(dims), normalized)
    }

    fn pullback(
        &self,
        network: &PlacedNetwork,
        normalized: &Normalized,
        dy: Tensor<4>,
        visit: &mut dyn FnMut(ParameterUse),
        _: bool,
    ) -> Option<Tensor<4>> {
        Some(normalized.pullback(network, self.affine, dy, visit))
    }

    fn pushforward(
        &self,
        network: &PlacedNetwork,
        normalized: &Normalized,
        dx: Tensor<4>,
        tangents: Option<&[Tensor<2>]>,
    ) -> Tensor<4> {
        normalized.pushforward(network, self.affine, dx, tangents)
    }

    fn pushforward_saved(
        &self,
        network: &PlacedNetwork,
        normalized: &Normalized,
        dx: Tensor<4>,
        tangents: Option<&[Tensor<2>]>,
    ) -> (Tensor<4>, Tensor<4>) {
        (normalized.pushforward(network, self.affine, dx.clone(), tangents), dx)
    }

    fn pullback_tangent(
        &self,
        network: &PlacedNetwork,
        (normalized, dx): (&Normalized, &Tensor<4>),
        dy: CotangentPair,
        tangents: Option<&[Tensor<2>]>,
        add: &mut dyn FnMut(usize, Tensor<2>),
        _: bool,
    ) -> Option<CotangentPair> {
        Some(normalized.pullback_tangent(network, self.affine, dx.clone(), dy, tangents, add))
    }
}
