//! Finite differences, with which tests compare derivatives.

use burn::tensor::{DType, Device, Tensor, TensorData};
use fintan_net::{Lowering, Placement};
use rand::RngExt as _;
use rand_chacha::ChaCha20Rng;

/// Placement on the CPU in f64.
pub(crate) fn placement() -> Placement {
    Placement { device: Device::flex(), dtype: DType::F64, lowering: Lowering::Host }
}

/// Uniform random numbers with mean 0 and variance near 1.
pub(crate) fn spread<const D: usize>(shape: [usize; D], rng: &mut ChaCha20Rng, to: &Placement) -> Tensor<D> {
    let values: Vec<f64> = (0..shape.iter().product()).map(|_| rng.random_range(-1.7..1.7)).collect();
    Tensor::from_data(TensorData::new(values, shape), (&to.device, to.dtype))
}

pub(crate) fn dot(a: &Tensor<2>, b: &Tensor<2>) -> f64 {
    (a.clone() * b.clone()).sum().into_scalar::<f64>()
}

/// The derivative of `height` when parameter `p` moves in a direction, by differences of fourth order.
pub(crate) fn slope_along(
    parameters: &[Tensor<2>],
    p: usize,
    direction: &Tensor<2>,
    height: impl Fn(Vec<Tensor<2>>) -> f64,
) -> f64 {
    let h = 1e-5;
    let moved = |t: f64| {
        let mut parameters = parameters.to_vec();
        parameters[p] = parameters[p].clone() + direction.clone().mul_scalar(t);
        height(parameters)
    };
    (8.0 * (moved(h) - moved(-h)) - (moved(2.0 * h) - moved(-2.0 * h))) / (12.0 * h)
}
