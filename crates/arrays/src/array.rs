//! An array in memory.

use std::borrow::Cow;

/// An array, row-major.
///
/// ```
/// let matrix = fintan_arrays::Array::f32(&[2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
/// assert_eq!(matrix.shape, [2, 3]);
/// assert_eq!(matrix.to_f64()[3..], [4.0, 5.0, 6.0]); // the second row
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Array<'a> {
    /// Length of each axis; empty for a single number.
    pub shape: Vec<usize>,
    /// The values; their number is the product of the lengths.
    pub values: ArrayValues<'a>,
}

/// The values of an array, owned or borrowed. They may be borrowed because kernels are too large to copy.
///
/// Values of another type in a file are converted to the smallest of these types that holds all of them: half precision to
/// `float32`, Booleans and integers to `int64`. If a `uint64` value is above 2^63 - 1, its array becomes `float64`.
///
/// ```
/// use fintan_arrays::{Array, ArrayValues};
///
/// assert_eq!(Array::integers([3, 5]).values, ArrayValues::I64(vec![3, 5].into()));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum ArrayValues<'a> {
    /// `float32`
    F32(Cow<'a, [f32]>),
    /// `float64`
    F64(Cow<'a, [f64]>),
    /// `int64`
    I64(Cow<'a, [i64]>),
}

impl<'a> Array<'a> {
    /// An array of `float64`.
    #[must_use]
    pub fn f64(shape: &[usize], values: impl Into<Cow<'a, [f64]>>) -> Self {
        Self { shape: shape.to_vec(), values: ArrayValues::F64(values.into()) }
    }

    /// An array of `float32`.
    #[must_use]
    pub fn f32(shape: &[usize], values: impl Into<Cow<'a, [f32]>>) -> Self {
        Self { shape: shape.to_vec(), values: ArrayValues::F32(values.into()) }
    }

    /// A one-dimensional array of `int64`.
    #[must_use]
    pub fn integers(values: impl IntoIterator<Item = usize>) -> Self {
        let values: Vec<i64> = values.into_iter().map(|n| n as i64).collect();
        Self { shape: vec![values.len()], values: ArrayValues::I64(values.into()) }
    }

    /// The values converted to f64.
    #[must_use]
    pub fn to_f64(&self) -> Vec<f64> {
        match &self.values {
            ArrayValues::F32(values) => values.iter().map(|&v| v.into()).collect(),
            ArrayValues::F64(values) => values.to_vec(),
            ArrayValues::I64(values) => values.iter().map(|&v| v as f64).collect(),
        }
    }
}
