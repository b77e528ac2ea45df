//! Layers as a network runs them: where their parameters are and what the parametrization multiplies by.

use burn::tensor::{Tensor, TensorData};
use fintan_config::{Layer, Node, NormAxes, Parametrization, Shape, WeightScale};

use super::Placement;
use crate::activation::Pointwise;
use crate::correlation::Correlation;
use crate::padding::Padding;
use crate::site::Linear;

#[derive(Debug)]
pub(super) enum Operation {
    Linear {
        map: Linear,
        parameter: usize,
        scale: Scale,
        bias_scale: f64,
    },
    Pointwise(Pointwise),
    BatchNorm {
        affine: Option<usize>,
        eps: f64,
        running: usize,
    },
    LayerNorm {
        affine: Option<usize>,
        eps: f64,
        over: NormAxes,
    },
    /// Between an image and a vector in channel, row, column order, or between two images.
    Reshape {
        from: Shape,
        to: Shape,
    },
    GlobalAveragePool {
        from: Shape,
    },
    Pad(Padding),
    Residual {
        branch: Vec<Operation>,
        shortcut: Vec<Operation>,
        scale: f64,
    },
}

/// What the parametrization multiplies `W ∗ x` by.
#[derive(Debug, Clone)]
pub(super) enum Scale {
    One,
    Number(f64),
    /// `[1, rows, columns, 1]`
    Map(Tensor<4>),
}

impl Scale {
    pub(super) fn apply(&self, y: Tensor<4>) -> Tensor<4> {
        match self {
            Self::One => y,
            Self::Number(a) => y.mul_scalar(*a),
            Self::Map(map) => y * map.clone(),
        }
    }

    /// The factor, where it is the same everywhere.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::One => Some(1.0),
            Self::Number(a) => Some(*a),
            Self::Map(_) => None,
        }
    }

    /// The factor at each of `positions`.
    pub(super) fn factors(&self, positions: usize) -> Vec<f64> {
        match self {
            Self::One => vec![1.0; positions],
            Self::Number(a) => vec![*a; positions],
            Self::Map(map) => map.to_data().iter::<f64>().collect(),
        }
    }
}

/// Rows and columns of a layer's weight matrix.
pub(super) fn weight_shape(node: &Node) -> [usize; 2] {
    match &node.layer {
        Layer::Dense(dense) => [node.input.channels, dense.out],
        Layer::Conv(c) => [c.kernel.0[0] * c.kernel.0[1] * node.input.channels, c.out],
        Layer::Deconv(c) => [c.kernel.0[0] * c.kernel.0[1] * c.out, node.input.channels],
        _ => [1, node.weight_count()],
    }
}

/// The operations of some layers; `norms` counts the batch norms so far.
pub(super) fn compile(
    nodes: &[Node],
    parametrization: Parametrization,
    to: &Placement,
    norms: &mut usize,
) -> Vec<Operation> {
    nodes
        .iter()
        .map(|node| {
            let parameter = node.index.map(|i| 2 * i);
            let linear = |map| Operation::Linear {
                map,
                parameter: parameter.expect("a linear layer has parameters"),
                scale: scale(node, parametrization, to),
                bias_scale: parametrization.bias_scale(),
            };
            match &node.layer {
                Layer::Dense(_) => linear(Linear::Dense),
                Layer::Conv(c) => linear(Linear::Conv(Correlation::new(c, node.input, node.output, to.lowering))),
                Layer::Deconv(c) => linear(Linear::Deconv(Correlation::new(c, node.output, node.input, to.lowering))),
                Layer::Activation(activation) => Operation::Pointwise(Pointwise::new(activation)),
                Layer::BatchNorm(norm) => {
                    *norms += 1;
                    Operation::BatchNorm { affine: parameter, eps: norm.eps, running: *norms - 1 }
                }
                Layer::LayerNorm(norm) => Operation::LayerNorm { affine: parameter, eps: norm.eps, over: norm.over },
                Layer::Reshape(_) | Layer::Flatten(_) => Operation::Reshape { from: node.input, to: node.output },
                Layer::Pad(pad) => Operation::Pad(Padding::new(pad, node.input)),
                Layer::Upsample(up) => Operation::Pad(Padding::upsampled(up, node.input)),
                Layer::GlobalAveragePool(_) => Operation::GlobalAveragePool { from: node.input },
                Layer::Residual(block) => Operation::Residual {
                    branch: compile(&node.branch, parametrization, to, norms),
                    shortcut: compile(&node.shortcut, parametrization, to, norms),
                    scale: block.scale,
                },
            }
        })
        .collect()
}

fn scale(node: &Node, parametrization: Parametrization, to: &Placement) -> Scale {
    match node.weight_scale(parametrization) {
        WeightScale::Number(1.0) => Scale::One,
        WeightScale::Number(factor) => Scale::Number(factor),
        WeightScale::Map(values) => {
            let data = TensorData::new(values, [1, node.output.height, node.output.width, 1]);
            Scale::Map(Tensor::from_data(data.convert_dtype(to.dtype), (&to.device, to.dtype)))
        }
    }
}
