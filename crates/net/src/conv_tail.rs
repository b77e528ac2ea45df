//! The convolutions a network ends with, for kernels that follow single pixels back.

use burn::tensor::Tensor;
use fintan_config::{Convolution, Shape};

/// The run of convolutions and transposed convolutions at the end of a network, or the last of them, with nothing but
/// pointwise functions between them, as a forward pass left it.
#[derive(Debug, Clone)]
pub struct ConvTail {
    /// The convolutions, in the order of the forward pass; at least one.
    pub layers: Vec<ConvLayer>,
    /// `[batch, rows, columns, channels]`: derivative of the pointwise functions between what lies below and the first
    /// convolution.
    pub derivative: Option<Tensor<4>>,
    /// What lies below.
    pub below: TailInput,
}

/// One convolution of an [`ConvTail`]: `y = scale[p] · (W ∗ x) + bias_scale · b`.
#[derive(Debug, Clone)]
pub struct ConvLayer {
    /// Index of the weights among the parameters; the biases follow.
    pub parameter: usize,
    /// Kernel, stride, padding.
    pub convolution: Convolution,
    /// Whether it is a transposed convolution.
    pub transposed: bool,
    /// Shape of a sample that enters.
    pub input: Shape,
    /// Shape of a sample that leaves.
    pub output: Shape,
    /// `[k_h k_w c_big, c_small]`
    pub weights: Tensor<2>,
    /// `[rows · columns]`: what the parametrization multiplies the weights' part by, at each output position.
    pub scale: Vec<f64>,
    /// What it multiplies the biases by.
    pub bias_scale: f64,
    /// `[batch, rows, columns, channels]`: what entered.
    pub x: Tensor<4>,
    /// `[batch, rows, columns, channels]`: derivative of the pointwise functions that follow.
    pub derivative: Option<Tensor<4>>,
}

/// What lies below an [`ConvTail`].
#[derive(Debug, Clone)]
pub enum TailInput {
    /// The input of the network.
    Nothing,
    /// One dense layer on the network's input: `y = scale · W x + bias_scale · b`, perhaps reshaped.
    Dense {
        /// Index of the weights among the parameters.
        parameter: usize,
        /// Factor of the weights' part.
        scale: f64,
        /// Factor of the biases.
        bias_scale: f64,
        /// `[batch, 1, 1, features]`: what entered.
        x: Tensor<4>,
    },
    /// Anything else; [`Network::visit_below`](crate::Network::visit_below) goes on there.
    Layers,
}
