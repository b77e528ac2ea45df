//! Shapes of layers, and the check that consecutive layers match.

use std::error::Error;
use std::fmt;

/// The two directions of a strided convolution, as in PyTorch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerKind {
    /// Transposed convolution: input `q` reaches the outputs `u = s q + k - p`.
    Deconv,
    /// Convolution: output `u` reads the inputs `q = s u + k - p`.
    Conv,
}

/// Shape of a layer. Output padding is the part of `output` that the windows do not reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Direction of the layer.
    pub kind: LayerKind,
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Strides, vertical and horizontal.
    pub stride: [usize; 2],
    /// Zero padding, vertical and horizontal.
    pub padding: [usize; 2],
    /// Rows, columns and channels of the input.
    pub input: [usize; 3],
    /// Rows, columns and channels of the output.
    pub output: [usize; 3],
}

impl Geometry {
    /// Number of weights: `k_h k_w c_in c_out`.
    pub fn weights(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.input[2] * self.output[2]
    }

    /// Two output positions share weights only if their difference is a multiple of this number, on each axis.
    pub(super) fn modulus(&self) -> [usize; 2] {
        match self.kind {
            LayerKind::Deconv => self.stride,
            LayerKind::Conv => [1, 1],
        }
    }
}

/// The error for shapes that do not form a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GeometryError {
    /// The list of layers is empty.
    Empty,
    /// A size or a stride of this layer is zero.
    Zero(usize),
    /// The output shape of this layer is not the input shape of the next.
    Mismatch(usize),
    /// This selected output is outside the last map.
    Output(usize),
}

impl fmt::Display for GeometryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "a chain needs a layer"),
            Self::Zero(layer) => write!(f, "a size or stride of layer {layer} is zero"),
            Self::Mismatch(layer) => write!(f, "the output of layer {layer} is not the input of the next"),
            Self::Output(index) => write!(f, "selected output {index} is outside the last map"),
        }
    }
}

impl Error for GeometryError {}

/// Checks that the shapes of consecutive layers match.
pub(super) fn check(layers: &[Geometry]) -> Result<(), GeometryError> {
    if layers.is_empty() {
        return Err(GeometryError::Empty);
    }
    for (i, layer) in layers.iter().enumerate() {
        let mut sizes = layer.kernel.iter().chain(&layer.stride).chain(&layer.input).chain(&layer.output);
        if sizes.any(|&size| size == 0) {
            return Err(GeometryError::Zero(i));
        }
    }
    match layers.windows(2).position(|pair| pair[0].output != pair[1].input) {
        Some(layer) => Err(GeometryError::Mismatch(layer)),
        None => Ok(()),
    }
}
