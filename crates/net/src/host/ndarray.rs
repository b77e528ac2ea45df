//! Tensors of the backend ndarray, read where they are.

#![expect(deprecated, reason = "ndarray is a named backend of this program; Burn keeps it until 0.23")]

use burn::tensor::Tensor;
use burn_ndarray::{NdArray, NdArrayTensor};

/// A tensor of ndarray whose values are in row-major order.
#[derive(Debug)]
pub(super) struct Array(NdArrayTensor);

impl Array {
    /// `None` if the tensor is of another backend, or in another order.
    pub(super) fn of<const D: usize>(x: &Tensor<D>) -> Option<Self> {
        let array = Self(x.clone().try_into_primitive::<NdArray>().ok()?);
        array.in_order().is_some().then_some(array)
    }

    /// The values in row-major order.
    ///
    /// # Panics
    /// Never, because the order was checked.
    pub(super) fn bytes(&self) -> &[u8] {
        self.in_order().expect("row-major order, as was checked")
    }

    fn in_order(&self) -> Option<&[u8]> {
        match &self.0 {
            NdArrayTensor::F32(values) => values.view().to_slice().map(bytemuck::cast_slice),
            NdArrayTensor::F64(values) => values.view().to_slice().map(bytemuck::cast_slice),
            NdArrayTensor::I64(_)
            | NdArrayTensor::I32(_)
            | NdArrayTensor::I16(_)
            | NdArrayTensor::I8(_)
            | NdArrayTensor::U64(_)
            | NdArrayTensor::U32(_)
            | NdArrayTensor::U16(_)
            | NdArrayTensor::U8(_)
            | NdArrayTensor::Bool(_) => None,
        }
    }
}
