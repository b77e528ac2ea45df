//! Converts parameters between matrices and PyTorch's layouts.

use burn::tensor::{Tensor, TensorData};
use fintan_config::{LayerNorm, Node, NormAxes, Transform};

pub(super) fn weight_torch_shape(node: &Node) -> Vec<usize> {
    match node.transform() {
        Transform::Dense => vec![node.output.channels, node.input.channels],
        Transform::Conv(c) => vec![c.out, node.input.channels, c.kernel.0[0], c.kernel.0[1]],
        Transform::Deconv(c) => vec![node.input.channels, c.out, c.kernel.0[0], c.kernel.0[1]],
        Transform::Pointwise(_)
        | Transform::BatchNorm(_)
        | Transform::LayerNorm(_)
        | Transform::Reshape
        | Transform::Positions(_)
        | Transform::Residual { .. } => bias_torch_shape(node),
    }
}

pub(super) fn bias_torch_shape(node: &Node) -> Vec<usize> {
    if matches!(node.transform(), Transform::LayerNorm(LayerNorm { over: NormAxes::Chw, .. }))
        && !node.input.is_vector()
    {
        return vec![node.input.channels, node.input.height, node.input.width];
    }
    vec![node.bias_count()]
}

/// The shape [c_small, c_big, k_h, k_w] of the weights of a convolution or transposed convolution.
fn convolution_shape(node: &Node) -> Option<[usize; 4]> {
    matches!(node.transform(), Transform::Conv(_) | Transform::Deconv(_))
        .then(|| weight_torch_shape(node).try_into().expect("four axes"))
}

pub(super) fn weight_to_torch(node: &Node, w: Tensor<2>) -> TensorData {
    if let Some([small, big, kh, kw]) = convolution_shape(node) {
        return w.reshape([kh, kw, big, small]).permute([3, 2, 0, 1]).into_data();
    }
    if node.transform() == Transform::Dense { w.transpose().into_data() } else { bias_to_torch(node, w) }
}

pub(super) fn weight_from_torch(node: &Node, w: Tensor<1>) -> Tensor<2> {
    if let Some([small, big, kh, kw]) = convolution_shape(node) {
        return w.reshape([small, big, kh, kw]).permute([2, 3, 1, 0]).reshape([kh * kw * big, small]);
    }
    if node.transform() != Transform::Dense {
        return bias_from_torch(node, w);
    }
    // The copy makes the memory order of the parameter that of its own layout.
    let (features, out) = (node.input.channels, node.output.channels);
    w.reshape([out, features]).transpose().reshape([features * out]).reshape([features, out])
}

pub(super) fn bias_to_torch(node: &Node, b: Tensor<2>) -> TensorData {
    let shape = bias_torch_shape(node);
    if let [c, h, w] = shape[..] {
        return b.reshape([h, w, c]).permute([2, 0, 1]).into_data();
    }
    b.reshape([shape[0]]).into_data()
}

pub(super) fn bias_from_torch(node: &Node, b: Tensor<1>) -> Tensor<2> {
    let shape = bias_torch_shape(node);
    let count = shape.iter().product::<usize>();
    if let [c, h, w] = shape[..] {
        return b.reshape([c, h, w]).permute([1, 2, 0]).reshape([1, count]);
    }
    b.reshape([1, count])
}
