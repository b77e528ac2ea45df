//! Arithmetic in which formulas of nonlinearities are written once: on tensors, and on single numbers for host loops.

#![expect(clippy::inline_always, reason = "functions that are not inlined are compiled for the oldest processor")]

use std::ops::{Add, Div, Mul, Neg, Sub};

use burn::tensor::Tensor;

use crate::host::elementary;

/// The operations of Burn's tensors that the formulas use, under their names there; numbers of a formula are `f64`.
pub(crate) trait Arithmetic:
    Clone + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + Neg<Output = Self>
{
    fn mul_scalar(self, factor: f64) -> Self;
    fn add_scalar(self, term: f64) -> Self;
    fn sub_scalar(self, term: f64) -> Self;
    fn clamp_min(self, bound: f64) -> Self;
    fn clamp_max(self, bound: f64) -> Self;
    fn square(self) -> Self;
    fn abs(self) -> Self;
    fn exp(self) -> Self;
    /// ln(1 + x)
    fn log1p(self) -> Self;
    fn tanh(self) -> Self;
    fn erf(self) -> Self;
    fn sin(self) -> Self;
    fn cos(self) -> Self;
    /// -1, 0 or 1.
    fn sign(self) -> Self;
    /// max(x, 0)
    fn relu(self) -> Self;
    /// x for x > 0, else `slope · x`.
    fn leaky_relu(self, slope: f64) -> Self;
    /// 1 for x > 0, else 0.
    fn step(self) -> Self;
    /// 1 for every x.
    fn one(&self) -> Self;

    /// x between two bounds.
    #[inline(always)]
    fn clamp(self, least: f64, most: f64) -> Self {
        self.clamp_min(least).clamp_max(most)
    }
}

/// A formula on tensors: one operation of the backend after the other.
macro_rules! as_burn {
    ($($name:ident($($term:ident)?)),+) => { $(
        fn $name(self $(, $term: f64)?) -> Self {
            // The method of the tensor, which goes before that of a trait.
            self.$name($($term)?)
        }
    )+ };
}

impl Arithmetic for Tensor<4> {
    as_burn!(clamp_min(bound), clamp_max(bound), square(), abs(), exp(), log1p(), tanh(), erf(), sin(), cos(), sign());

    fn mul_scalar(self, factor: f64) -> Self {
        if factor == 1.0 { self } else { Tensor::mul_scalar(self, factor) }
    }

    fn add_scalar(self, term: f64) -> Self {
        Tensor::add_scalar(self, term)
    }

    fn sub_scalar(self, term: f64) -> Self {
        if term == 0.0 { self } else { Tensor::sub_scalar(self, term) }
    }

    fn relu(self) -> Self {
        burn::tensor::activation::relu(self)
    }

    fn leaky_relu(self, slope: f64) -> Self {
        burn::tensor::activation::leaky_relu(self, slope)
    }

    fn step(self) -> Self {
        let dtype = self.dtype();
        self.greater_elem(0.0).float().cast(dtype)
    }

    fn one(&self) -> Self {
        self.ones_like()
    }
}

/// Elementary functions are computed in `f64` and rounded.
macro_rules! on_numbers {
    ($($T:ident),+) => { $(
        impl Arithmetic for $T {
            #[inline(always)]
            fn mul_scalar(self, factor: f64) -> Self {
                self * factor as $T
            }

            #[inline(always)]
            fn add_scalar(self, term: f64) -> Self {
                self + term as $T
            }

            #[inline(always)]
            fn sub_scalar(self, term: f64) -> Self {
                self - term as $T
            }

            #[inline(always)]
            fn clamp_min(self, bound: f64) -> Self {
                if self < bound as $T { bound as $T } else { self }
            }

            #[inline(always)]
            fn clamp_max(self, bound: f64) -> Self {
                if self > bound as $T { bound as $T } else { self }
            }

            #[inline(always)]
            fn square(self) -> Self {
                self * self
            }

            #[inline(always)]
            fn abs(self) -> Self {
                $T::abs(self)
            }

            #[inline(always)]
            fn exp(self) -> Self {
                elementary::exp(f64::from(self)) as $T
            }

            #[inline(always)]
            fn log1p(self) -> Self {
                f64::from(self).ln_1p() as $T
            }

            #[inline(always)]
            fn tanh(self) -> Self {
                elementary::tanh(f64::from(self)) as $T
            }

            #[inline(always)]
            fn erf(self) -> Self {
                libm::erf(f64::from(self)) as $T
            }

            #[inline(always)]
            fn sin(self) -> Self {
                f64::sin(f64::from(self)) as $T
            }

            #[inline(always)]
            fn cos(self) -> Self {
                f64::cos(f64::from(self)) as $T
            }

            #[inline(always)]
            fn sign(self) -> Self {
                if self > 0.0 {
                    1.0
                } else if self < 0.0 {
                    -1.0
                } else {
                    0.0
                }
            }

            #[inline(always)]
            fn relu(self) -> Self {
                // A number that is not one stays as it is, so that it is noticed.
                if self < 0.0 { 0.0 } else { self }
            }

            #[inline(always)]
            fn leaky_relu(self, slope: f64) -> Self {
                if self > 0.0 { self } else { self * slope as $T }
            }

            #[inline(always)]
            fn step(self) -> Self {
                if self > 0.0 { 1.0 } else { 0.0 }
            }

            #[inline(always)]
            fn one(&self) -> Self {
                1.0
            }
        }
    )+ };
}

on_numbers!(f32, f64);
