//! A network as plain data: the one description that training, kernels, theory and reports read.

use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::nonlinearity::Activation;

/// Shape of one sample. Vectors are `channels` x 1 x 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Features of a vector, channels of an image.
    pub channels: usize,
    /// Rows of an image, 1 for a vector.
    pub height: usize,
    /// Columns of an image, 1 for a vector.
    pub width: usize,
}

impl Shape {
    /// A vector of `channels` features.
    #[must_use]
    pub const fn vector(channels: usize) -> Self {
        Self { channels, height: 1, width: 1 }
    }

    /// An image.
    #[must_use]
    pub const fn image(channels: usize, height: usize, width: usize) -> Self {
        Self { channels, height, width }
    }

    /// Number of values in a sample.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Whether there is no value at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of positions of a feature map.
    #[must_use]
    pub const fn positions(&self) -> usize {
        self.height * self.width
    }

    /// Whether it is a vector.
    #[must_use]
    pub const fn is_vector(&self) -> bool {
        self.height == 1 && self.width == 1
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_vector() {
            write!(f, "{}", self.channels)
        } else {
            write!(f, "{}x{}x{}", self.channels, self.height, self.width)
        }
    }
}

/// A number for rows and one for columns; written `4` or `[3, 5]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Pair(pub [usize; 2]);

impl From<usize> for Pair {
    fn from(n: usize) -> Self {
        Self([n, n])
    }
}

impl<'de> Deserialize<'de> for Pair {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairVisitor;
        impl<'de> Visitor<'de> for PairVisitor {
            type Value = Pair;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number of at least 0, or two of them as [rows, columns]")
            }
            fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<Pair, E> {
                let n = usize::try_from(n).map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(n), &self))?;
                Ok(n.into())
            }
            fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<Pair, E> {
                let n = usize::try_from(n).map_err(|_| E::invalid_value(serde::de::Unexpected::Unsigned(n), &self))?;
                Ok(n.into())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Pair, A::Error> {
                let mut pair = [0; 2];
                for (i, n) in pair.iter_mut().enumerate() {
                    *n = seq.next_element()?.ok_or_else(|| serde::de::Error::invalid_length(i, &self))?;
                }
                match seq.next_element::<serde::de::IgnoredAny>()? {
                    None => Ok(Pair(pair)),
                    Some(_) => Err(serde::de::Error::invalid_length(3, &self)),
                }
            }
        }
        deserializer.deserialize_any(PairVisitor)
    }
}

/// A convolution or transposed convolution.
///
/// Output size a dimension: convolution `⌊(h + 2 padding - kernel) / stride⌋ + 1`, transposed convolution
/// `(h - 1) stride - 2 padding + kernel + output_padding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Convolution {
    /// Channels out.
    pub out: usize,
    /// Kernel size.
    pub kernel: Pair,
    /// Stride; of a transposed convolution, the up-sampling factor.
    #[serde(default = "stride_one")]
    pub stride: Pair,
    /// Zero padding; of a transposed convolution, the frame that is cut off.
    #[serde(default = "zero_pair")]
    pub padding: Pair,
    /// Rows and columns added at the far end of a transposed convolution's output.
    #[serde(default = "zero_pair")]
    pub output_padding: Pair,
}

fn stride_one() -> Pair {
    1.into()
}

fn zero_pair() -> Pair {
    0.into()
}

/// Batch normalization over batch and positions, per channel.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchNorm {
    /// Learnable scale and shift.
    #[serde(default = "yes")]
    pub affine: bool,
    /// Added to the variance.
    #[serde(default = "norm_eps")]
    pub eps: f64,
    /// Weight of the newest batch in the running statistics.
    #[serde(default = "norm_momentum")]
    pub momentum: f64,
}

/// Layer normalization of each sample by itself.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerNorm {
    /// The axes that share a mean and a variance.
    #[serde(default)]
    pub over: NormAxes,
    /// Learnable scale and shift, one for each normalized value.
    #[serde(default = "yes")]
    pub affine: bool,
    /// Added to the variance.
    #[serde(default = "norm_eps")]
    pub eps: f64,
}

/// Axes of a layer normalization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormAxes {
    /// Channels and positions together.
    #[default]
    Chw,
    /// Channels, at each position apart.
    Features,
}

pub(crate) fn yes() -> bool {
    true
}

pub(crate) fn norm_eps() -> f64 {
    1e-5
}

pub(crate) fn norm_momentum() -> f64 {
    0.1
}

/// One layer, as written in `[[network.layers]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// Fully connected.
    Dense(Dense),
    /// Convolution (cross-correlation, as everywhere in the field).
    Conv(Convolution),
    /// Transposed convolution.
    Deconv(Convolution),
    /// Pointwise nonlinearity.
    Activation(Activation),
    /// Batch normalization.
    BatchNorm(BatchNorm),
    /// Layer normalization.
    LayerNorm(LayerNorm),
    /// A vector as an image, in channel, row, column order.
    Reshape(Shape),
    /// An image as a vector, in channel, row, column order.
    Flatten(Empty),
    /// Mean over positions.
    GlobalAveragePool(Empty),
    /// `y = scale · (branch(x) + shortcut(x))`.
    Residual(Residual),
}

/// A layer without settings: `{}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// A fully connected layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dense {
    /// Features out.
    pub out: usize,
}

/// A residual block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Residual {
    /// The branch.
    pub layers: Vec<Layer>,
    /// The other way round; empty is the identity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shortcut: Vec<Layer>,
    /// Factor of the sum; 1/√2 keeps unit variance.
    #[serde(default = "one")]
    pub scale: f64,
}

fn one() -> f64 {
    1.0
}

impl Layer {
    /// Its name in a configuration.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Dense(_) => "dense",
            Self::Conv(_) => "conv",
            Self::Deconv(_) => "deconv",
            Self::Activation(_) => "activation",
            Self::BatchNorm(_) => "batch_norm",
            Self::LayerNorm(_) => "layer_norm",
            Self::Reshape(_) => "reshape",
            Self::Flatten(_) => "flatten",
            Self::GlobalAveragePool(_) => "global_average_pool",
            Self::Residual(_) => "residual",
        }
    }
}

/// How weights enter the network and how they are drawn.
///
/// With W and b the parameters, a layer computes `y = a · (W ∗ x) + c · b`:
///
/// | | a | c | W drawn from | b drawn from |
/// | --- | --- | --- | --- | --- |
/// | `standard` | 1 | 1 | N(0, σ²) by `init` | N(0, bias_std²) |
/// | `ntk` | √(1 - β²) / √fan_in | β | N(0, 1) | N(0, 1) |
/// | `graph` | √(1 - β²) / √fan_in(p) | β | N(0, 1) | N(0, 1) |
///
/// `fan_in` counts the weights that reach an output value away from the border: inputs for dense, taps x channels for
/// conv, taps x channels / strides for deconv. `graph` counts them at each position p of a deconv's output, so that
/// borders have the variance of the interior. Source: arXiv 1907.05715.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parametrization {
    /// Weights of size 1/√fan_in, as most programs have it.
    Standard(Standard),
    /// Weights of size 1, scaled in the forward pass.
    Ntk(Beta),
    /// As `ntk`, with the fan-in counted per position.
    Graph(Beta),
}

impl Default for Parametrization {
    fn default() -> Self {
        Self::Standard(Standard::default())
    }
}

/// Settings of the standard parametrization.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standard {
    /// Spread of the weights.
    #[serde(default)]
    pub init: Init,
    /// Standard deviation of the biases.
    #[serde(default)]
    pub bias_std: f64,
}

/// Standard deviation of standard-parametrized weights.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Init {
    /// √(2 / fan_in)
    #[default]
    He,
    /// √(1 / fan_in)
    Lecun,
    /// This standard deviation, whatever the fan-in (0.02 in the DCGAN paper).
    Normal(f64),
}

impl Init {
    /// Variance of the weights, times the fan-in; none where it depends on the fan-in.
    #[must_use]
    pub fn variance(&self) -> Option<f64> {
        match self {
            Self::He => Some(2.0),
            Self::Lecun => Some(1.0),
            Self::Normal(_) => None,
        }
    }
}

/// The bias share of the `ntk` and `graph` parametrizations.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beta {
    /// β in [0, 1]: standard deviation of the bias term; the weight term has variance 1 - β².
    #[serde(default = "default_beta")]
    pub beta: f64,
}

fn default_beta() -> f64 {
    0.1
}

impl Parametrization {
    /// β of `ntk` and `graph`; none for `standard`.
    #[must_use]
    pub fn beta(&self) -> Option<f64> {
        match self {
            Self::Standard(_) => None,
            Self::Ntk(Beta { beta }) | Self::Graph(Beta { beta }) => Some(*beta),
        }
    }
}

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
        let mut next_index = 0;
        let nodes = place(input, layers, "", &mut next_index)?;
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
            (0..len_out)
                .map(|p| (0..len_in).filter(|q| (p + pad).checked_sub(q * s).is_some_and(|tap| tap < k)).count())
                .collect()
        }))
    }
}

fn place(
    mut shape: Shape,
    layers: &[Layer],
    path: &str,
    next_index: &mut usize,
) -> Result<Vec<Node>, ArchitectureError> {
    let mut nodes = Vec::with_capacity(layers.len());
    for (i, layer) in layers.iter().enumerate() {
        let at = format!("{path}[{i}].{}", layer.name());
        let fail = |key: &str, message: String, help: Option<&str>| ArchitectureError {
            key: if key.is_empty() { at.clone() } else { format!("{at}.{key}") },
            message,
            help: help.map(Into::into),
        };
        let holds_parameters = match layer {
            Layer::Dense(_) | Layer::Conv(_) | Layer::Deconv(_) => true,
            Layer::BatchNorm(norm) => norm.affine,
            Layer::LayerNorm(norm) => norm.affine,
            _ => false,
        };
        let index = holds_parameters.then(|| {
            *next_index += 1;
            *next_index - 1
        });
        let (mut branch, mut shortcut) = (Vec::new(), Vec::new());
        let output = match layer {
            Layer::Dense(dense) => {
                positive(dense.out, "out", &fail)?;
                if !shape.is_vector() {
                    let message = format!("`dense` needs a vector, but an image of {shape} arrives");
                    return Err(fail("", message, Some("put `flatten = {}` or `global_average_pool = {}` before it")));
                }
                Shape::vector(dense.out)
            }
            Layer::Conv(c) | Layer::Deconv(c) => {
                let transposed = matches!(layer, Layer::Deconv(_));
                positive(c.out, "out", &fail)?;
                let [height, width] = [0, 1].map(|axis| {
                    let len = if axis == 0 { shape.height } else { shape.width };
                    window(c, axis, len, transposed, &fail)
                });
                Shape::image(c.out, height?, width?)
            }
            Layer::Activation(activation) => {
                check_activation(activation, &fail)?;
                shape
            }
            Layer::BatchNorm(BatchNorm { eps, momentum, .. }) => {
                positive_number(*eps, "eps", &fail)?;
                if !(*momentum > 0.0 && *momentum <= 1.0) {
                    return Err(fail("momentum", format!("`momentum` must be in (0, 1], got {momentum}"), None));
                }
                shape
            }
            Layer::LayerNorm(norm) => {
                positive_number(norm.eps, "eps", &fail)?;
                shape
            }
            Layer::Reshape(to) => {
                if to.len() != shape.len() || to.is_empty() {
                    let message = format!("`reshape` to {to} needs {} values, but {} arrive", to.len(), shape.len());
                    return Err(fail("", message, None));
                }
                *to
            }
            Layer::Flatten(_) => Shape::vector(shape.len()),
            Layer::GlobalAveragePool(_) => Shape::vector(shape.channels),
            Layer::Residual(block) => {
                positive_number(block.scale, "scale", &fail)?;
                branch = place(shape, &block.layers, &format!("{at}.layers"), next_index)?;
                shortcut = place(shape, &block.shortcut, &format!("{at}.shortcut"), next_index)?;
                let [through, around] =
                    [&branch, &shortcut].map(|nodes| nodes.last().map_or(shape, |n: &Node| n.output));
                if through != around {
                    let message = format!("the branch ends with {through}, the shortcut with {around}: they are added");
                    return Err(fail(
                        "",
                        message,
                        Some("make the shapes equal, for instance with a `conv` of kernel 1 in `shortcut`"),
                    ));
                }
                through
            }
        };
        nodes.push(Node { layer: layer.clone(), input: shape, output, index, branch, shortcut });
        shape = output;
    }
    Ok(nodes)
}

type Fail<'a> = &'a dyn Fn(&str, String, Option<&str>) -> ArchitectureError;

fn positive(n: usize, key: &str, fail: Fail) -> Result<(), ArchitectureError> {
    if n == 0 { Err(fail(key, format!("`{key}` must be at least 1, got 0"), None)) } else { Ok(()) }
}

fn positive_number(x: f64, key: &str, fail: Fail) -> Result<(), ArchitectureError> {
    if x > 0.0 && x.is_finite() {
        Ok(())
    } else {
        Err(fail(key, format!("`{key}` must be greater than 0, got {x}"), None))
    }
}

/// Output length of a convolution along one axis.
fn window(c: &Convolution, axis: usize, len: usize, transposed: bool, fail: Fail) -> Result<usize, ArchitectureError> {
    let [kernel, stride, padding, extra] = [c.kernel, c.stride, c.padding, c.output_padding].map(|pair| pair.0[axis]);
    let side = ["rows", "columns"][axis];
    positive(kernel, "kernel", fail)?;
    positive(stride, "stride", fail)?;
    if padding >= kernel {
        return Err(fail(
            "padding",
            format!("`padding` must be smaller than the kernel ({kernel}), got {padding}"),
            None,
        ));
    }
    if transposed {
        if extra >= stride {
            let message = format!("`output_padding` must be smaller than the stride ({stride}), got {extra}");
            return Err(fail("output_padding", message, None));
        }
        let grown = (len - 1) * stride + kernel + extra;
        return grown.checked_sub(2 * padding).filter(|&n| n > 0).ok_or_else(|| {
            fail("padding", format!("`padding` {padding} cuts all {grown} {side} of the output away"), None)
        });
    }
    if extra > 0 {
        return Err(fail("output_padding", "`output_padding` belongs to `deconv`".into(), None));
    }
    let padded = len + 2 * padding;
    if kernel > padded {
        let message = format!("the kernel ({kernel}) is larger than its map ({len} {side}, {padded} with padding)");
        return Err(fail("kernel", message, None));
    }
    Ok((padded - kernel) / stride + 1)
}

fn check_activation(activation: &Activation, fail: Fail) -> Result<(), ArchitectureError> {
    use crate::nonlinearity::{Function, Scaling};
    let Activation { function, scaling, gain, slope, mu } = *activation;
    positive_number(gain, "gain", fail)?;
    if slope.is_some() && !matches!(function, Function::LeakyRelu | Function::Elu) {
        return Err(fail("slope", "`slope` belongs to `leaky_relu` and `elu`".into(), None));
    }
    if let Some(slope) = slope.filter(|s| !s.is_finite()) {
        return Err(fail("slope", format!("`slope` must be a number, got {slope}"), None));
    }
    match (scaling, mu) {
        (Scaling::Partial, None) => Err(fail(
            "scaling",
            "`partial` scaling needs `mu`, the value it subtracts".into(),
            Some("for instance mu = 0.2"),
        )),
        (Scaling::Partial, Some(mu)) if !mu.is_finite() => {
            Err(fail("mu", format!("`mu` must be a number, got {mu}"), None))
        }
        (Scaling::Partial, Some(_)) | (_, None) => Ok(()),
        (_, Some(_)) => Err(fail("mu", "`mu` belongs to `scaling = \"partial\"`".into(), None)),
    }
}
