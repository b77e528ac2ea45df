//! Rules of pointwise nonlinearities.

use burn::tensor::{Tensor, activation as burn_activation};
use fintan_config::{Activation, Function, SELU};

/// `σ(x) = (f(g x) - m) / s` with the constants worked out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pointwise {
    function: Function,
    slope: f64,
    gain: f64,
    centre: f64,
    scale: f64,
}

impl Pointwise {
    pub(crate) fn new(activation: &Activation) -> Self {
        let (centre, scale) = activation.centre_and_scale();
        let Activation { function, gain, .. } = *activation;
        Self { function, slope: activation.negative_slope().unwrap_or_default(), gain, centre, scale }
    }

    pub(crate) fn value(&self, x: Tensor<4>) -> Tensor<4> {
        let x = times(x, self.gain);
        let y = match self.function {
            Function::Relu => burn_activation::relu(x),
            Function::LeakyRelu => burn_activation::leaky_relu(x, self.slope),
            Function::Abs => x.abs(),
            Function::Tanh => x.tanh(),
            Function::Erf => x.erf(),
            Function::Sigmoid => sigmoid(x),
            Function::Gelu => x.clone() * normal_cdf(x),
            Function::Silu => x.clone() * sigmoid(x),
            Function::Elu => x.clone().clamp_min(0.0) + expm1_below(x).mul_scalar(self.slope),
            Function::Selu => (x.clone().clamp_min(0.0) + expm1_below(x).mul_scalar(SELU.0)).mul_scalar(SELU.1),
            Function::Softplus => x.clone().clamp_min(0.0) + x.abs().neg().exp().log1p(),
            Function::Sin => x.sin(),
            Function::Identity => x,
        };
        let y = if self.centre == 0.0 { y } else { y.sub_scalar(self.centre) };
        times(y, 1.0 / self.scale)
    }

    /// σ'(x); at a kink the slope from the left (0 for `abs`).
    pub(crate) fn derivative(&self, x: Tensor<4>) -> Tensor<4> {
        let x = times(x, self.gain);
        let slope = match self.function {
            Function::Relu => step(x),
            Function::LeakyRelu => step(x).mul_scalar(1.0 - self.slope).add_scalar(self.slope),
            Function::Abs => x.sign(),
            Function::Tanh => x.tanh().square().neg().add_scalar(1.0),
            Function::Erf => x.square().neg().exp().mul_scalar(std::f64::consts::FRAC_2_SQRT_PI),
            Function::Sigmoid => {
                let s = sigmoid(x);
                s.clone() * s.neg().add_scalar(1.0)
            }
            Function::Gelu => {
                let density =
                    x.clone().square().mul_scalar(-0.5).exp().mul_scalar(1.0 / (2.0 * std::f64::consts::PI).sqrt());
                normal_cdf(x.clone()) + x * density
            }
            Function::Silu => {
                let s = sigmoid(x.clone());
                s.clone() * (x * s.neg().add_scalar(1.0)).add_scalar(1.0)
            }
            Function::Elu => smooth_step(x, self.slope),
            Function::Selu => smooth_step(x, SELU.0).mul_scalar(SELU.1),
            Function::Softplus => sigmoid(x),
            Function::Sin => x.cos(),
            Function::Identity => x.ones_like(),
        };
        times(slope, self.gain / self.scale)
    }
}

fn times(x: Tensor<4>, factor: f64) -> Tensor<4> {
    if factor == 1.0 { x } else { x.mul_scalar(factor) }
}

/// 1 above zero, else 0, in the type of x.
fn step(x: Tensor<4>) -> Tensor<4> {
    let dtype = x.dtype();
    x.greater_elem(0.0).float().cast(dtype)
}

/// `exp(min(x, 0)) - 1`
fn expm1_below(x: Tensor<4>) -> Tensor<4> {
    x.clamp_max(0.0).exp().sub_scalar(1.0)
}

/// 1 above zero, `a exp x` below.
fn smooth_step(x: Tensor<4>, a: f64) -> Tensor<4> {
    let above = step(x.clone());
    above.clone() + above.neg().add_scalar(1.0) * x.clamp_max(0.0).exp().mul_scalar(a)
}

/// Through tanh: exact at both ends, in every precision.
fn sigmoid(x: Tensor<4>) -> Tensor<4> {
    x.mul_scalar(0.5).tanh().add_scalar(1.0).mul_scalar(0.5)
}

fn normal_cdf(x: Tensor<4>) -> Tensor<4> {
    x.mul_scalar(std::f64::consts::FRAC_1_SQRT_2).erf().add_scalar(1.0).mul_scalar(0.5)
}
