//! Rules of batch and layer normalization.

mod host;

use burn::tensor::Tensor;

use crate::correlation::Lowering;
use crate::host::serves;
use crate::layers::CotangentPair;
use crate::network::PlacedNetwork;
use crate::parameter_use::{Kind, ParameterUse};

/// Data that a normalization stores for its other two rules: `x̂ = (x - mean) / √(var + eps)`, in the shape
/// `[outer, inner]`.
#[derive(Debug, Clone)]
pub(crate) struct Normalized {
    /// x̂, `[outer, inner]`
    pub(crate) x_hat: Tensor<2>,
    /// `1 / √(var + eps)`, broadcastable to x̂
    pub(crate) inverse_std: Tensor<2>,
    /// Axis over which mean and variance were computed: 0 for a batch norm, 1 for a layer norm, `None` if they are
    /// constants.
    pub(crate) over: Option<usize>,
    lowering: Lowering,
}

/// For each index of the other axis: mean, (biased) variance, and `1 / √(variance + eps)`.
struct Moments {
    mean: Tensor<2>,
    variance: Tensor<2>,
    inverse_std: Tensor<2>,
}

/// Mean and (biased) variance of a batch, `[1, channels]`, and the number of values in each.
#[derive(Debug, Clone)]
pub(crate) struct BatchStatistics {
    pub(crate) mean: Tensor<2>,
    pub(crate) variance: Tensor<2>,
    pub(crate) count: usize,
}

/// Normalizes `[outer, inner]` over an axis.
pub(crate) fn normalize(x: Tensor<2>, over: usize, eps: f64, lowering: Lowering) -> (Normalized, BatchStatistics) {
    let count = x.dims()[over];
    let (x_hat, moments) = if serves(&x, lowering) {
        host::normalize(x, over, eps)
    } else {
        let mean = x.clone().mean_dim(over);
        let centred = x - mean.clone();
        let variance = centred.clone().square().mean_dim(over);
        let inverse_std = variance.clone().add_scalar(eps).sqrt().recip();
        (centred * inverse_std.clone(), Moments { mean, variance, inverse_std })
    };
    let Moments { mean, variance, inverse_std } = moments;
    (Normalized { x_hat, inverse_std, over: Some(over), lowering }, BatchStatistics { mean, variance, count })
}

/// Normalizes with given statistics, `[1, inner]`.
pub(crate) fn normalize_by(
    x: Tensor<2>,
    mean: Tensor<2>,
    variance: Tensor<2>,
    eps: f64,
    lowering: Lowering,
) -> Normalized {
    let inverse_std = variance.add_scalar(eps).sqrt().recip();
    Normalized { x_hat: (x - mean) * inverse_std.clone(), inverse_std, over: None, lowering }
}

impl Normalized {
    /// The derivative of x ↦ x̂, which is self-adjoint: `dx = (d - mean(d) - x̂ mean(d x̂)) / std`.
    ///
    /// `d` has rows in front of the batch: `[rows, outer, inner]`.
    pub(crate) fn derivative(&self, d: Tensor<3>) -> Tensor<3> {
        self.derivative_of_scaled(d, None)
    }

    /// [`Self::derivative`] of `scales · d`.
    ///
    /// # Shapes
    /// - `d`: `[rows, outer, inner]`; `scales`: `[1, inner]`
    fn derivative_of_scaled(&self, d: Tensor<3>, scales: Option<Tensor<2>>) -> Tensor<3> {
        if let Some(over) = self.over.filter(|_| serves(&d, self.lowering)) {
            return host::derivative(&self.x_hat, &self.inverse_std, over, scales.as_ref(), d);
        }
        let d = match scales {
            Some(scales) => d * scales.unsqueeze::<3>(),
            None => d,
        };
        let inverse_std = self.inverse_std.clone().unsqueeze::<3>();
        let Some(over) = self.over else { return d * inverse_std };
        let x_hat = self.x_hat.clone().unsqueeze::<3>();
        let mean = d.clone().mean_dim(over + 1);
        let along = (d.clone() * x_hat.clone()).mean_dim(over + 1);
        (d - mean - x_hat * along) * inverse_std
    }

    /// `w · x̂ + b` with the scales and shifts of the network, which start at parameter `affine`; x̂ if `affine` is `None`.
    pub(crate) fn scaled_and_shifted(&self, network: &PlacedNetwork, affine: Option<usize>) -> Tensor<2> {
        let Some(i) = affine else { return self.x_hat.clone() };
        let (scales, shifts) = (network.parameter(i), network.parameter(i + 1));
        if serves(&self.x_hat, self.lowering) {
            return host::scaled_and_shifted(&self.x_hat, &scales, &shifts);
        }
        self.x_hat.clone() * scales + shifts
    }

    /// The cotangents of scales and shifts, `[1, inner]`, for one row of cotangents `[outer, inner]`.
    pub(crate) fn gradients(&self, dy: Tensor<2>) -> [Tensor<2>; 2] {
        if serves(&dy, self.lowering) {
            let [shifts, scales] = host::sums(&dy, &self.x_hat);
            return [scales, shifts];
        }
        [(dy.clone() * self.x_hat.clone()).sum_dim(0), dy.sum_dim(0)]
    }

    /// The pullback of a norm with its scales and shifts.
    pub(crate) fn pullback(
        &self,
        network: &PlacedNetwork,
        affine: Option<usize>,
        dy: Tensor<4>,
        visit: &mut dyn FnMut(ParameterUse),
    ) -> Tensor<4> {
        let (dims, [outer, inner]) = (dy.dims(), self.x_hat.dims());
        let rows = dims.iter().product::<usize>() / (outer * inner);
        let d = dy.reshape([rows, outer, inner]);
        let scales = affine.map(|parameter| {
            let kind = Kind::Affine { norm: self, dy: d.clone(), batch: dims[0] / rows };
            visit(ParameterUse { parameter, kind });
            network.parameter(parameter)
        });
        self.derivative_of_scaled(d, scales).reshape(dims)
    }

    /// The pushforward of a norm with its scales and shifts.
    pub(crate) fn pushforward(
        &self,
        network: &PlacedNetwork,
        affine: Option<usize>,
        dx: Tensor<4>,
        tangents: Option<&[Tensor<2>]>,
    ) -> Tensor<4> {
        let (dims, [outer, inner]) = (dx.dims(), self.x_hat.dims());
        let rows = dims.iter().product::<usize>() / (outer * inner);
        let mut d = self.derivative(dx.reshape([rows, outer, inner]));
        if let Some(i) = affine {
            d = d * network.parameter(i).unsqueeze::<3>();
            if let Some(tangents) = tangents {
                let by_parameters = self.x_hat.clone() * tangents[i].clone() + tangents[i + 1].clone();
                d = d + by_parameters.unsqueeze::<3>();
            }
        }
        d.reshape(dims)
    }

    /// The derivative of the pullback along dx and the tangents of scales and shifts. With 1/s the inverse standard deviation,
    /// d the cotangent of x̂ and dx̂ the tangent of x̂,
    ///
    /// `(dx̂ mean(d x̂) + x̂ mean(d dx̂)) / s + mean(x̂ dx) / s · (∂x̂/∂x)ᵀ d`
    ///
    /// is taken from `(∂x̂/∂x)ᵀ ḋ`. With scales w and the cotangent δ of the output, `ḋ = w δ̇ + dw δ`.
    pub(crate) fn pullback_tangent(
        &self,
        network: &PlacedNetwork,
        affine: Option<usize>,
        dx: Tensor<4>,
        dy: CotangentPair,
        tangents: Option<&[Tensor<2>]>,
        add: &mut dyn FnMut(usize, Tensor<2>),
    ) -> CotangentPair {
        let (dims, [outer, inner]) = (dx.dims(), self.x_hat.dims());
        let flat = |t: Tensor<4>| -> Tensor<3> { t.reshape([1, outer, inner]) };
        let summed = |t: Tensor<3>| -> Tensor<2> { t.reshape([outer, inner]).sum_dim(0) };
        let x_hat = self.x_hat.clone().unsqueeze::<3>();
        let dx = flat(dx);
        let dx_hat = self.derivative(dx.clone());
        let (mut d, mut tangent) = (flat(dy.value), dy.tangent.map(flat));
        if let Some(parameter) = affine {
            add(parameter, summed(d.clone() * dx_hat.clone()));
            let scales = network.parameter(parameter).unsqueeze::<3>();
            tangent = tangent.map(|tangent| {
                add(parameter, summed(tangent.clone() * x_hat.clone()));
                add(parameter + 1, summed(tangent.clone()));
                tangent * scales.clone()
            });
            if let Some(tangents) = tangents {
                let by_scales = d.clone() * tangents[parameter].clone().unsqueeze::<3>();
                tangent = Some(match tangent {
                    Some(tangent) => tangent + by_scales,
                    None => by_scales,
                });
            }
            d = d * scales;
        }
        let back = self.derivative(d.clone());
        let mut tangent = tangent.map(|tangent| self.derivative(tangent));
        if let Some(over) = self.over {
            let inverse_std = self.inverse_std.clone().unsqueeze::<3>();
            let mean = |t: Tensor<3>| t.mean_dim(over + 1);
            let turned = dx_hat.clone() * mean(d.clone() * x_hat.clone()) + x_hat.clone() * mean(d * dx_hat);
            let scaled = back.clone() * mean(dx * x_hat);
            let less = (turned + scaled) * inverse_std;
            tangent = Some(match tangent {
                Some(tangent) => tangent - less,
                None => less.neg(),
            });
        }
        CotangentPair { value: back.reshape(dims), tangent: tangent.map(|t| t.reshape(dims)) }
    }
}
