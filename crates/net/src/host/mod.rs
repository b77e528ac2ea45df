//! Loops over host memory, for CPU backends.
//!
//! A backend's tensor operation is one pass over memory on one processor, into memory that it first clears. These loops take
//! one pass for what needs several operations, on all processors, and read tensors where they are (`benches/RESULTS.md` has the
//! gains). Every result is the same for any number of threads.

#![expect(clippy::inline_always, reason = "functions that are not inlined are compiled for the oldest processor")]

mod chunks;
mod dense;
pub(crate) mod elementary;
mod matrix;
mod ndarray;
mod pointwise;

use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

use burn::tensor::{DType, Device, Element, Tensor, TensorData};
use burn_flex::{Flex, FlexTensor};
use bytemuck::Pod;
use faer_traits::RealField;

use self::ndarray::Array;
use crate::correlation::Lowering;

pub(crate) use chunks::written_in_chunks;
pub(crate) use dense::{columns_summed, dense, dense_inputs, dense_weights};
pub(crate) use matrix::{Matrix, Threads, add_product, set_product};
pub(crate) use pointwise::{combined, mapped, scaled};

/// Number of values up to which a loop stays on its thread: handing parts to other threads takes as long.
pub(crate) const SMALL: usize = 1 << 15;

/// The floating-point types `f32` and `f64`, for loops over host memory.
pub trait HostNumber:
    Element
    + Pod
    + RealField
    + Copy
    + Default
    + AddAssign
    + SubAssign
    + MulAssign
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// Rounds an `f64` to this type.
    fn of(value: f64) -> Self;

    /// Converts to `f64` exactly.
    fn double(self) -> f64;

    /// √x
    #[must_use]
    fn square_root(self) -> Self;
}

impl HostNumber for f32 {
    #[inline(always)]
    fn of(value: f64) -> Self {
        value as f32
    }

    #[inline(always)]
    fn double(self) -> f64 {
        f64::from(self)
    }

    #[inline(always)]
    fn square_root(self) -> Self {
        self.sqrt()
    }
}

impl HostNumber for f64 {
    #[inline(always)]
    fn of(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn double(self) -> f64 {
        self
    }

    #[inline(always)]
    fn square_root(self) -> Self {
        self.sqrt()
    }
}

/// Evaluates an expression with `$T` as `f32` or `f64`.
macro_rules! with_type {
    ($dtype:expr, $T:ident => $body:expr) => {
        if $dtype == burn::tensor::DType::F64 {
            type $T = f64;
            $body
        } else {
            type $T = f32;
            $body
        }
    };
}
pub(crate) use with_type;

/// Runs loops that are compiled for the widest vectors of the processor.
#[inline(always)]
pub(crate) fn with_widest_vectors<R>(run: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(run)
}

/// Whether loops over host memory can be used for a tensor; on an autodiff device they cannot.
pub(crate) fn serves<const D: usize>(x: &Tensor<D>, lowering: Lowering) -> bool {
    lowering == Lowering::Host && !x.device().is_autodiff() && matches!(x.dtype(), DType::F32 | DType::F64)
}

/// The values of a tensor in host memory. On flex and ndarray they are not copied, on other devices they are.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use fintan_net::HostValues;
///
/// let x = Tensor::<2>::from_data([[1.0_f32, 2.0], [3.0, 4.0]], &Device::flex());
/// assert_eq!(HostValues::of(&x.transpose()).slice::<f32>(), [1.0, 3.0, 2.0, 4.0]);
/// ```
#[derive(Debug)]
pub struct HostValues(Memory);

#[derive(Debug)]
enum Memory {
    Flex(FlexTensor),
    NdArray(Array),
    Own(TensorData),
}

impl HostValues {
    /// The values of a tensor of any shape.
    #[must_use]
    pub fn of<const D: usize>(x: &Tensor<D>) -> Self {
        if x.device() == Device::flex()
            && let Ok(tensor) = x.clone().try_into_primitive::<Flex>()
        {
            return Self(Memory::Flex(tensor.to_contiguous()));
        }
        if let Some(array) = Array::of(x) {
            return Self(Memory::NdArray(array));
        }
        Self(Memory::Own(x.to_data()))
    }

    /// The values in row-major order.
    ///
    /// # Panics
    /// If the tensor has another type.
    #[must_use]
    pub fn slice<T: HostNumber>(&self) -> &[T] {
        match &self.0 {
            Memory::NdArray(array) => bytemuck::cast_slice(array.bytes()),
            Memory::Flex(tensor) => tensor.as_slice().expect("the type was just asked for"),
            Memory::Own(data) => data.as_slice().expect("the type was just asked for"),
        }
    }
}

/// A tensor with these values, on the device of `like`.
pub(crate) fn tensor<T: HostNumber, const D: usize, const E: usize>(
    values: Vec<T>,
    shape: [usize; D],
    like: &Tensor<E>,
) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), (&like.device(), T::dtype()))
}
