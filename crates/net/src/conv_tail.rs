//! The convolutions at the end of a network, for kernels that trace single pixels back.

use burn::tensor::Tensor;
use fintan_config::{Convolution, Shape};

/// Convolutions and transposed convolutions at the end of a network, with only pointwise functions between them, after a
/// forward pass. The tail may be limited to the last few of them.
#[derive(Debug, Clone)]
pub struct ConvTail {
    /// The convolutions, in the order of the forward pass; at least one.
    pub layers: Vec<ConvLayer>,
    /// `[batch, rows, columns, channels]`: derivative of the pointwise functions between `below` and the first convolution.
    pub derivative: Option<Tensor<4>>,
    /// The layers below the tail.
    pub below: TailInput,
}

/// One convolution of a [`ConvTail`]: `y = scale[p] · (W ∗ x) + bias_scale · b`.
#[derive(Debug, Clone)]
pub struct ConvLayer {
    /// Index of the weights among the parameters; the biases follow.
    pub parameter: usize,
    /// Kernel, stride, padding.
    pub convolution: Convolution,
    /// Whether it is a transposed convolution.
    pub transposed: bool,
    /// Shape of an input sample.
    pub input: Shape,
    /// Shape of an output sample.
    pub output: Shape,
    /// `[k_h k_w c_big, c_small]`
    pub weights: Tensor<2>,
    /// `[rows · columns]`: the factor of the weight term from the parametrization, at each output position.
    pub scale: Vec<f64>,
    /// The factor of the biases.
    pub bias_scale: f64,
    /// `[batch, rows, columns, channels]`: the input.
    pub x: Tensor<4>,
    /// `[batch, rows, columns, channels]`: derivative of the pointwise functions after this convolution; `None` without any.
    pub derivative: Option<Tensor<4>>,
}

/// The part of a network below a [`ConvTail`].
#[derive(Debug, Clone)]
pub enum TailInput {
    /// The tail starts at the input of the network.
    Nothing,
    /// One dense layer on the network's input, possibly reshaped: `y = scale · W x + bias_scale · b`.
    Dense {
        /// Index of the weights among the parameters.
        parameter: usize,
        /// Factor of the weight term.
        scale: f64,
        /// Factor of the biases.
        bias_scale: f64,
        /// `[batch, 1, 1, features]`: the input.
        x: Tensor<4>,
    },
    /// Other layers; [`PlacedNetwork::visit_below`](crate::Network::visit_below) continues the pullback there.
    Layers,
}
