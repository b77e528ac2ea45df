//! Forward values and derivatives of pointwise nonlinearities.

#![expect(clippy::inline_always, reason = "functions that are not inlined are compiled for the oldest processor")]

use burn::tensor::Tensor;
use fintan_config::{Activation, Function, GELU_TANH_CUBE, GELU_TANH_ROOT, SELU};

use crate::arithmetic::Arithmetic;
use crate::correlation::Lowering;
use crate::host;
use crate::layers::rows::times_rows;

/// `σ(x) = (f(g x) - m) / s` with computed constants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pointwise {
    function: Function,
    slope: f64,
    gain: f64,
    centre: f64,
    scale: f64,
    lowering: Lowering,
}

/// Calls `$run` with a closure of one argument, compiled for each nonlinearity separately, so that loops over numbers hold no
/// choice.
macro_rules! for_each_function {
    ($function:expr, $F:ident => $run:expr; $($name:ident),+) => {
        match $function {
            $(Function::$name => {
                const $F: Function = Function::$name;
                $run
            })+
        }
    };
    ($function:expr, $F:ident => $run:expr) => {
        for_each_function!(
            $function, $F => $run;
            Relu, LeakyRelu, Abs, Tanh, Erf, Sigmoid, Gelu, GeluTanh, Silu, Mish, Elu, Selu, Softplus, Sin, Identity
        )
    };
}

impl Pointwise {
    pub(crate) fn new(activation: &Activation, lowering: Lowering) -> Self {
        let (centre, scale) = activation.centre_and_scale();
        let Activation { function, gain, .. } = *activation;
        Self { function, slope: activation.negative_slope().unwrap_or_default(), gain, centre, scale, lowering }
    }

    pub(crate) fn value(&self, x: Tensor<4>) -> Tensor<4> {
        if host::serves(&x, self.lowering) {
            let of = *self;
            return for_each_function!(self.function, F => host::with_type!(x.dtype(), T => {
                host::mapped::<T>(&x, #[inline(always)] |x| of.value_of(F, x))
            }));
        }
        self.value_of(self.function, x)
    }

    #[inline(always)]
    fn value_of<A: Arithmetic>(&self, function: Function, x: A) -> A {
        value(function, self.slope, x.mul_scalar(self.gain)).sub_scalar(self.centre).mul_scalar(1.0 / self.scale)
    }

    /// σ'(x); at a kink, the derivative from the left (0 for `abs`).
    pub(crate) fn derivative(&self, x: Tensor<4>) -> Tensor<4> {
        if host::serves(&x, self.lowering) {
            let of = *self;
            return for_each_function!(self.function, F => host::with_type!(x.dtype(), T => {
                host::mapped::<T>(&x, #[inline(always)] |x| of.derivative_of(F, x))
            }));
        }
        self.derivative_of(self.function, x)
    }

    #[inline(always)]
    fn derivative_of<A: Arithmetic>(&self, function: Function, x: A) -> A {
        derivative(function, self.slope, x.mul_scalar(self.gain)).mul_scalar(self.gain / self.scale)
    }

    /// σ'(x) d, where `d` has rows in front of the batch.
    ///
    /// # Shapes
    /// - `x`: `[batch, ..]`; `d`: `[rows · batch, ..]`
    pub(crate) fn times_derivative(&self, x: &Tensor<4>, d: Tensor<4>) -> Tensor<4> {
        if host::serves(x, self.lowering) {
            let of = *self;
            return for_each_function!(self.function, F => host::with_type!(x.dtype(), T => {
                host::combined::<T>(d, x, #[inline(always)] |d, x| d * of.derivative_of(F, x))
            }));
        }
        times_rows(d, self.derivative(x.clone()))
    }

    /// σ''(x), 0 at a kink; `None` if σ is a line between its kinks.
    pub(crate) fn second_derivative(&self, x: Tensor<4>) -> Option<Tensor<4>> {
        self.function.properties().second_derivative?;
        let second = second_derivative(self.function, self.slope, x.mul_scalar(self.gain))?;
        Some(second.mul_scalar(self.gain * self.gain / self.scale))
    }
}

/// f(x)
#[inline(always)]
fn value<A: Arithmetic>(function: Function, slope: f64, x: A) -> A {
    match function {
        Function::Relu => x.relu(),
        Function::LeakyRelu => x.leaky_relu(slope),
        Function::Abs => x.abs(),
        Function::Tanh => x.tanh(),
        Function::Erf => x.erf(),
        Function::Sigmoid => sigmoid(x),
        Function::Gelu => x.clone() * normal_cdf(x),
        Function::GeluTanh => x.clone() * sigmoid(gelu_tanh_argument(x).mul_scalar(2.0)),
        Function::Silu => x.clone() * sigmoid(x),
        Function::Mish => {
            let [s, c] = sides(&x);
            x * mish_factor(s, c)
        }
        Function::Elu => x.clone().clamp_min(0.0) + expm1_below(x).mul_scalar(slope),
        Function::Selu => (x.clone().clamp_min(0.0) + expm1_below(x).mul_scalar(SELU.0)).mul_scalar(SELU.1),
        Function::Softplus => x.clone().clamp_min(0.0) + x.abs().neg().exp().log1p(),
        Function::Sin => x.sin(),
        Function::Identity => x,
    }
}

/// f'(x)
#[inline(always)]
fn derivative<A: Arithmetic>(function: Function, slope: f64, x: A) -> A {
    match function {
        Function::Relu => x.step(),
        Function::LeakyRelu => x.step().mul_scalar(1.0 - slope).add_scalar(slope),
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
        Function::GeluTanh => {
            // Beyond ±8 the second term is below rounding, and its factors would overflow.
            let near = x.clone().clamp(-8.0, 8.0);
            let s = sigmoid(gelu_tanh_argument(near.clone()).mul_scalar(2.0));
            let slope = near.clone().square().mul_scalar(3.0 * GELU_TANH_CUBE).add_scalar(1.0);
            let second = near * (s.clone() * s.neg().add_scalar(1.0) * slope.mul_scalar(2.0 * GELU_TANH_ROOT));
            sigmoid(gelu_tanh_argument(x).mul_scalar(2.0)) + second
        }
        Function::Silu => {
            let s = sigmoid(x.clone());
            s.clone() * (x * s.neg().add_scalar(1.0)).add_scalar(1.0)
        }
        Function::Mish => {
            let [s, c] = sides(&x);
            let ratio = c.clone().mul_scalar(2.0) / c.clone().square().add_scalar(1.0);
            mish_factor(s.clone(), c) + x * s * ratio.square()
        }
        Function::Elu => smooth_step(x, slope),
        Function::Selu => smooth_step(x, SELU.0).mul_scalar(SELU.1),
        Function::Softplus => sigmoid(x),
        Function::Sin => x.cos(),
        Function::Identity => x.one(),
    }
}

/// f''(x), 0 at a kink; `None` if f is a line between its kinks.
fn second_derivative<A: Arithmetic>(function: Function, slope: f64, x: A) -> Option<A> {
    let second = match function {
        Function::Relu | Function::LeakyRelu | Function::Abs | Function::Identity => return None,
        Function::Tanh => {
            let t = x.tanh();
            t.clone().square().sub_scalar(1.0) * t.mul_scalar(2.0)
        }
        Function::Erf => {
            // Beyond ±40 the first factor is 0, and the second would overflow.
            let x = x.clamp(-40.0, 40.0);
            x.clone().square().neg().exp() * x.mul_scalar(-2.0 * std::f64::consts::FRAC_2_SQRT_PI)
        }
        Function::Sigmoid => sigmoid_second_derivative(&x),
        Function::Gelu => {
            // Beyond ±40 the density is 0, and its factor would overflow.
            let square = x.clamp(-40.0, 40.0).square();
            let density = square.clone().mul_scalar(-0.5).exp().mul_scalar(1.0 / (2.0 * std::f64::consts::PI).sqrt());
            density * square.neg().add_scalar(2.0)
        }
        Function::GeluTanh => {
            let x = x.clamp(-8.0, 8.0);
            let u = gelu_tanh_argument(x.clone()).mul_scalar(2.0);
            let slope =
                x.clone().square().mul_scalar(3.0 * GELU_TANH_CUBE).add_scalar(1.0).mul_scalar(2.0 * GELU_TANH_ROOT);
            let curve = x.clone().mul_scalar(12.0 * GELU_TANH_ROOT * GELU_TANH_CUBE);
            let [s, c] = sides(&u);
            let first = s * c;
            first.clone() * slope.clone().mul_scalar(2.0)
                + x * (sigmoid_second_derivative(&u) * slope.square() + first * curve)
        }
        Function::Silu => {
            let x = x.clamp(-1e3, 1e3);
            let [s, c] = sides(&x);
            s.clone() * c.clone() * (x * (c - s)).add_scalar(2.0)
        }
        Function::Mish => {
            let x = x.clamp(-1e3, 1e3);
            let [s, c] = sides(&x);
            let rest = (c.clone().mul_scalar(2.0) / c.clone().square().add_scalar(1.0)).square();
            let t = mish_factor(s.clone(), c.clone());
            s.clone() * rest * (x * (c - t * s.mul_scalar(2.0))).add_scalar(2.0)
        }
        Function::Elu => exp_below(x).mul_scalar(slope),
        Function::Selu => exp_below(x).mul_scalar(SELU.0 * SELU.1),
        Function::Softplus => {
            let [s, c] = sides(&x);
            s * c
        }
        Function::Sin => x.sin().neg(),
    };
    Some(second)
}

/// `exp(min(x, 0)) - 1`
#[inline(always)]
fn expm1_below<A: Arithmetic>(x: A) -> A {
    x.clamp_max(0.0).exp().sub_scalar(1.0)
}

/// 1 for x > 0, `a exp x` otherwise.
#[inline(always)]
fn smooth_step<A: Arithmetic>(x: A, a: f64) -> A {
    let above = x.clone().step();
    above.clone() + above.neg().add_scalar(1.0) * x.clamp_max(0.0).exp().mul_scalar(a)
}

/// `exp x` below zero, else 0.
#[inline(always)]
fn exp_below<A: Arithmetic>(x: A) -> A {
    x.clone().step().neg().add_scalar(1.0) * x.clamp_max(0.0).exp()
}

/// The second derivative of the sigmoid, s (1 - s) (1 - 2s).
#[inline(always)]
fn sigmoid_second_derivative<A: Arithmetic>(x: &A) -> A {
    let [s, c] = sides(x);
    s.clone() * c.clone() * (c - s)
}

/// Computed with tanh, which is exact at both ends in every precision.
#[inline(always)]
fn sigmoid<A: Arithmetic>(x: A) -> A {
    x.mul_scalar(0.5).tanh().add_scalar(1.0).mul_scalar(0.5)
}

/// √(2/π) (x + 0.044715 x³), which ends at ±2000: there its sigmoid is 0 or 1.
#[inline(always)]
fn gelu_tanh_argument<A: Arithmetic>(x: A) -> A {
    let x = x.clamp(-40.0, 40.0);
    let cube = x.clone() * x.clone().square().mul_scalar(GELU_TANH_CUBE);
    (x + cube).mul_scalar(GELU_TANH_ROOT)
}

/// s = 1/(1 + exp(-x)) and 1 - s, each with full relative precision. Neither exponential exceeds 1.
#[inline(always)]
fn sides<A: Arithmetic>(x: &A) -> [A; 2] {
    let (up, down) = (x.clone().clamp_max(0.0).exp(), x.clone().neg().clamp_max(0.0).exp());
    let sum = (up.clone() * down.clone()).add_scalar(1.0);
    [up / sum.clone(), down / sum]
}

/// tanh(softplus x) = s (1 + c)/(1 + c²), with s and c from [`sides`].
#[inline(always)]
fn mish_factor<A: Arithmetic>(s: A, c: A) -> A {
    s * c.clone().add_scalar(1.0) / c.square().add_scalar(1.0)
}

#[inline(always)]
fn normal_cdf<A: Arithmetic>(x: A) -> A {
    x.mul_scalar(std::f64::consts::FRAC_1_SQRT_2).erf().add_scalar(1.0).mul_scalar(0.5)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{DType, Device, TensorData};

    #[expect(deprecated, reason = "ndarray is a named backend of this program; Burn keeps it until 0.23")]
    fn ndarray() -> Device {
        Device::ndarray()
    }

    fn numbers(t: Tensor<4>) -> Vec<f64> {
        t.into_data().iter::<f64>().collect()
    }

    /// Compares values and derivatives on the CPU devices, in both precisions, with those of the host in f64.
    #[test]
    fn every_function_is_that_of_the_host_and_finite_for_all_numbers() {
        let sizes = [1e-3, 0.3, 1.19, 3.0, 9.5, 17.0, 40.0, 87.0];
        let near: Vec<f64> = sizes.into_iter().flat_map(|x| [x, -x]).collect();
        let on = [(Device::flex(), Lowering::Host), (Device::flex(), Lowering::Views), (ndarray(), Lowering::Host)];
        for (device, lowering) in on {
            for (dtype, largest, eps) in [(DType::F32, f64::from(f32::MAX), 1e-6), (DType::F64, f64::MAX, 1e-14)] {
                for &function in Function::ALL {
                    let activation = Activation::raw(function);
                    let pointwise = Pointwise::new(&activation, lowering);
                    let at = |xs: &[f64]| {
                        let data = TensorData::new(xs.to_vec(), [xs.len(), 1, 1, 1]).convert_dtype(dtype);
                        let x: Tensor<4> = Tensor::from_data(data, (&device, dtype));
                        let exact = numbers(x.clone());
                        let second = pointwise.second_derivative(x.clone()).unwrap_or_else(|| x.zeros_like());
                        (exact, [pointwise.value(x.clone()), pointwise.derivative(x), second].map(numbers))
                    };
                    let curve = |x: f64| {
                        let second = function.properties().second_derivative;
                        second.map_or(0.0, |second| second(x, activation.negative_slope().unwrap_or_default()))
                    };
                    let (exact, found) = at(&near);
                    for (i, &x) in exact.iter().enumerate() {
                        let wanted = [activation.raw_value(x), activation.raw_slope(x), curve(x)];
                        // For functions computed as a difference from 1, rounding is relative to 1; mish avoids such
                        // differences.
                        let rounding = if function == Function::Mish && x < -2.0 { 0.0 } else { eps };
                        for (k, want) in wanted.into_iter().enumerate() {
                            let got = found[k][i];
                            // Second derivatives of mish are products of a few such factors.
                            let eps = if k == 2 { 4.0 * eps } else { eps };
                            let allowed = eps * (4.0 + x.abs()) * want.abs() + rounding * (1.0 + x.abs());
                            let off = (got - want).abs();
                            assert!(
                                off <= allowed,
                                "{function:?}, rule {k}, in {dtype:?} by {lowering:?} at {x}: {got} and {want}"
                            );
                        }
                    }
                    // Half the largest number, because selu has a slope of 1.05.
                    let far = [0.5 * largest, -0.5 * largest, 1e30, -1e30, 1e3, -1e3, 709.0, -745.0, 104.0, -104.0];
                    let (_, found) = at(&far);
                    let finite = found.iter().flatten().all(|v| v.is_finite());
                    assert!(finite, "{function:?} in {dtype:?}: {found:?}");
                }
            }
        }
    }
}
