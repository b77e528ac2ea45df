//! A network as plain data: the one description that training, kernels, theory and reports read.

use std::ops::Range;

use crate::layer::{BatchNorm, Convolution, Dense, Layer, LayerNorm, NormAxes, Pair, Shape};
use crate::parametrization::{Init, Parametrization};
use crate::place::{check_shape, place};

/// A network with every shape worked out.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    /// Shape of an input sample.
    pub input: Shape,
    /// How weights enter.
    pub parametrization: Parametrization,
    /// The layers, in order.
    pub nodes: Vec<Node>,
}

/// A layer in its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The layer as written.
    pub layer: Layer,
    /// Shape of a sample that enters.
    pub input: Shape,
    /// Shape of a sample that leaves.
    pub output: Shape,
    /// Index i of the parameters `{i}.weight`, `{i}.bias`, counting layers that hold any, depth first.
    pub index: Option<usize>,
    /// Of a residual block: the branch.
    pub branch: Vec<Node>,
    /// Of a residual block: the shortcut.
    pub shortcut: Vec<Node>,
}

/// Why a list of layers is no network.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ArchitectureError {
    /// Path below the list of layers: `[3].conv.kernel`.
    pub key: String,
    /// What is wrong: found and allowed.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl Architecture {
    /// Works out the shapes of `layers` from the `input` on.
    ///
    /// # Errors
    /// The first layer that does not fit, with the key to blame.
    pub fn new(input: Shape, layers: &[Layer], parametrization: Parametrization) -> Result<Self, ArchitectureError> {
        check_shape(input).map_err(|message| ArchitectureError {
            key: String::new(),
            message: format!("the input is {message}"),
            help: None,
        })?;
        let mut next_index = 0;
        let nodes = place(input, layers, "", parametrization, &mut next_index)?;
        if next_index == 0 {
            return Err(ArchitectureError {
                key: String::new(),
                message: "a network needs at least one layer with parameters".into(),
                help: Some("add a `dense`, `conv` or `deconv` layer".into()),
            });
        }
        Ok(Self { input, parametrization, nodes })
    }

    /// Shape of an output sample.
    #[must_use]
    pub fn output(&self) -> Shape {
        self.nodes.last().map_or(self.input, |node| node.output)
    }

    /// The network without its output nonlinearity, where it has one.
    #[must_use]
    pub fn before_output(&self) -> Self {
        let mut before = self.clone();
        while before.nodes.last().is_some_and(|node| matches!(node.layer, Layer::Activation(_))) {
            before.nodes.pop();
        }
        before
    }

    /// Every node, residual branches before their shortcuts, in the order of the parameter indices.
    #[must_use]
    pub fn flat(&self) -> Vec<&Node> {
        fn walk<'a>(nodes: &'a [Node], all: &mut Vec<&'a Node>) {
            for node in nodes {
                all.push(node);
                walk(&node.branch, all);
                walk(&node.shortcut, all);
            }
        }
        let mut all = Vec::new();
        walk(&self.nodes, &mut all);
        all
    }

    /// Some of its layers as a network of their own, parameters counted from 0.
    ///
    /// # Panics
    /// If there are no such layers.
    #[must_use]
    pub fn piece(&self, nodes: Range<usize>) -> Self {
        fn renumber(nodes: &mut [Node], next: &mut usize) {
            for node in nodes {
                if let Some(index) = &mut node.index {
                    *index = *next;
                    *next += 1;
                }
                renumber(&mut node.branch, next);
                renumber(&mut node.shortcut, next);
            }
        }
        let mut nodes = self.nodes[nodes].to_vec();
        renumber(&mut nodes, &mut 0);
        Self { input: nodes[0].input, parametrization: self.parametrization, nodes }
    }

    /// Whether samples of a batch influence one another (batch normalization).
    #[must_use]
    pub fn is_batch_coupled(&self) -> bool {
        self.flat().iter().any(|node| matches!(node.layer, Layer::BatchNorm(_)))
    }

    /// Number of parameters.
    #[must_use]
    pub fn parameter_count(&self) -> usize {
        self.flat().iter().map(|node| node.weight_count() + node.bias_count()).sum()
    }
}

impl Node {
    /// Number of weights (scales of a norm).
    #[must_use]
    pub fn weight_count(&self) -> usize {
        match &self.layer {
            Layer::Dense(dense) => self.input.channels * dense.out,
            Layer::Conv(c) | Layer::Deconv(c) => self.input.channels * c.out * c.kernel.0[0] * c.kernel.0[1],
            Layer::BatchNorm(BatchNorm { affine: true, .. }) => self.input.channels,
            Layer::LayerNorm(LayerNorm { affine: true, over, .. }) => match over {
                NormAxes::Chw => self.input.len(),
                NormAxes::Features => self.input.channels,
            },
            _ => 0,
        }
    }

    /// Number of biases (shifts of a norm).
    #[must_use]
    pub fn bias_count(&self) -> usize {
        match &self.layer {
            Layer::Dense(dense) => dense.out,
            Layer::Conv(c) | Layer::Deconv(c) => c.out,
            _ => self.weight_count(),
        }
    }

    /// How the standard parametrization draws the layer's weights: as the layer says, else as the network does.
    #[must_use]
    pub fn init(&self, network: Init) -> Init {
        match &self.layer {
            Layer::Dense(Dense { init, .. })
            | Layer::Conv(Convolution { init, .. })
            | Layer::Deconv(Convolution { init, .. }) => init.unwrap_or(network),
            _ => network,
        }
    }

    /// Weights that reach one output value away from the border.
    ///
    /// Of a deconv, channels times kernel / stride along each axis (a mean where the stride does not divide the
    /// kernel), or fewer where the map is so small that no position has that many parents.
    #[must_use]
    pub fn fan_in(&self) -> Option<f64> {
        let channels = self.input.channels as f64;
        match &self.layer {
            Layer::Dense(_) => Some(channels),
            Layer::Conv(Convolution { kernel: Pair([h, w]), .. }) => Some(channels * (h * w) as f64),
            Layer::Deconv(c) => {
                let most = self.parents()?.map(|axis| axis.into_iter().max().unwrap_or(0) as f64);
                let taps = [0, 1].map(|axis| (c.kernel.0[axis] as f64 / c.stride.0[axis] as f64).min(most[axis]));
                Some(channels * taps[0] * taps[1])
            }
            _ => None,
        }
    }

    /// Positions at which the layer's weights are used: how many outputs share them.
    #[must_use]
    pub fn weight_sites(&self) -> usize {
        match &self.layer {
            Layer::Deconv(_) => self.input.positions(),
            _ => self.output.positions(),
        }
    }

    /// Number of input positions that reach each output row and column of a deconv: the parents of the position graph.
    ///
    /// An output position (p, q) has `rows[p] · columns[q]` parents.
    #[must_use]
    pub fn parents(&self) -> Option<[Vec<usize>; 2]> {
        let Layer::Deconv(c) = &self.layer else { return None };
        let sizes = [(self.input.height, self.output.height), (self.input.width, self.output.width)];
        Some([0, 1].map(|axis| {
            let (len_in, len_out) = sizes[axis];
            let (k, s, pad) = (c.kernel.0[axis], c.stride.0[axis], c.padding.0[axis]);
            // Row q reaches rows q s - pad to q s - pad + k - 1.
            (0..len_out)
                .map(|p| {
                    let first = (p + pad + 1).saturating_sub(k).div_ceil(s);
                    ((p + pad) / s + 1).min(len_in).saturating_sub(first)
                })
                .collect()
        }))
    }
}
