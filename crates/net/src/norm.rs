//! Rules of batch and layer normalization.

use burn::tensor::Tensor;

/// What a normalization leaves for its other two rules: `x̂ = (x - mean) / √(var + eps)`, seen as `[outer, inner]`.
#[derive(Debug, Clone)]
pub(crate) struct Normalized {
    /// x̂, `[outer, inner]`
    pub(crate) x_hat: Tensor<2>,
    /// `1 / √(var + eps)`, broadcastable to x̂
    pub(crate) inverse_std: Tensor<2>,
    /// Axis over which mean and variance were taken: 0 for a batch norm, 1 for a layer norm; none: constants.
    pub(crate) over: Option<usize>,
}

/// Mean and (biased) variance of a batch, `[1, channels]`, and the number of values behind them.
#[derive(Debug, Clone)]
pub(crate) struct BatchStatistics {
    pub(crate) mean: Tensor<2>,
    pub(crate) variance: Tensor<2>,
    pub(crate) count: usize,
}

/// Normalizes `[outer, inner]` over an axis.
pub(crate) fn normalize(x: Tensor<2>, over: usize, eps: f64) -> (Normalized, BatchStatistics) {
    let count = x.dims()[over];
    let mean = x.clone().mean_dim(over);
    let centred = x - mean.clone();
    let variance = centred.clone().square().mean_dim(over);
    let inverse_std = variance.clone().add_scalar(eps).sqrt().recip();
    let x_hat = centred * inverse_std.clone();
    (Normalized { x_hat, inverse_std, over: Some(over) }, BatchStatistics { mean, variance, count })
}

/// Normalizes with statistics that are given, `[1, inner]`.
pub(crate) fn normalize_by(x: Tensor<2>, mean: Tensor<2>, variance: Tensor<2>, eps: f64) -> Normalized {
    let inverse_std = variance.add_scalar(eps).sqrt().recip();
    Normalized { x_hat: (x - mean) * inverse_std.clone(), inverse_std, over: None }
}

impl Normalized {
    /// The derivative of x ↦ x̂, which is its own adjoint: `dx = (d - mean(d) - x̂ mean(d x̂)) / std`.
    ///
    /// `d` has rows in front of the batch: `[rows, outer, inner]`.
    pub(crate) fn derivative(&self, d: Tensor<3>) -> Tensor<3> {
        let inverse_std = self.inverse_std.clone().unsqueeze::<3>();
        let Some(over) = self.over else { return d * inverse_std };
        let x_hat = self.x_hat.clone().unsqueeze::<3>();
        let mean = d.clone().mean_dim(over + 1);
        let along = (d.clone() * x_hat.clone()).mean_dim(over + 1);
        (d - mean - x_hat * along) * inverse_std
    }
}
