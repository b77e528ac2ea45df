//! A network as plain data: the one description that training, kernels, theory and reports read.

use std::ops::Range;

use crate::layers::{Layer, Parameters, Transform};
use crate::parametrization::{Init, Parametrization};
use crate::place::{check_shape, place};
use crate::shape::Shape;

/// A network with every shape worked out.
///
/// ```
/// use fintan_config::{Architecture, Layer, Parametrization, Shape};
///
/// let layers = [Layer::Dense(8.into()), Layer::Dense(2.into())];
/// let network = Architecture::new(Shape::vector(3), &layers, Parametrization::default())?;
/// assert_eq!(network.output(), Shape::vector(2));
/// assert_eq!(network.parameter_count(), (3 * 8 + 8) + (8 * 2 + 2));
/// # Ok::<(), fintan_config::ArchitectureError>(())
/// ```
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
///
/// ```
/// use fintan_config::{Architecture, Layer, Parametrization, Shape};
///
/// let layers = [Layer::Dense(8.into()), Layer::Dense(2.into())];
/// let network = Architecture::new(Shape::vector(3), &layers, Parametrization::default())?;
/// let node = &network.nodes[1];
/// assert_eq!((node.input, node.index, node.fan_in()), (Shape::vector(8), Some(1), Some(8.0)));
/// # Ok::<(), fintan_config::ArchitectureError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The layer as written.
    pub layer: Layer,
    /// Shape of a sample that enters.
    pub input: Shape,
    /// Shape of a sample that leaves.
    pub output: Shape,
    /// The layer's parameters.
    pub parameters: Parameters,
    /// Index i in the parameter names `{i}.weight` and `{i}.bias`; counts the layers with parameters, depth first.
    pub index: Option<usize>,
    /// The branch of a residual block; empty for other layers.
    pub branch: Vec<Node>,
    /// The shortcut of a residual block; empty means the identity.
    pub shortcut: Vec<Node>,
}

/// The error for a list of layers that does not form a network.
///
/// ```
/// use fintan_config::{Architecture, Parametrization, Shape};
///
/// let layers = [toml::from_str("conv = { out = 1, kernel = 5 }")?];
/// let error = Architecture::new(Shape::image(1, 4, 4), &layers, Parametrization::default()).unwrap_err();
/// assert_eq!(error.key, "[0].conv.kernel");
/// # Ok::<(), toml::de::Error>(())
/// ```
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

impl ArchitectureError {
    /// Adds a hint to the error.
    pub(crate) fn with_help(self, help: &str) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

impl Architecture {
    /// Works out the shapes of `layers`, starting from the shape `input`.
    ///
    /// # Errors
    /// Returns the first layer that does not fit, with its key.
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

    /// The network without its final nonlinearity; unchanged if it has none.
    #[must_use]
    pub fn before_output(&self) -> Self {
        let mut before = self.clone();
        while before.nodes.last().is_some_and(|node| node.layer.properties().is_pointwise) {
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

    /// The layers in the range `nodes` as a separate network, with parameters counted from 0.
    ///
    /// # Panics
    /// If the range is out of bounds.
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
        self.flat().iter().any(|node| node.layer.properties().couples_batch)
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
        match self.parameters {
            Parameters::None => 0,
            Parameters::Linear { weights, .. } => weights,
            Parameters::Affine { count } => count,
        }
    }

    /// Number of biases (shifts of a norm).
    #[must_use]
    pub fn bias_count(&self) -> usize {
        match self.parameters {
            Parameters::None => 0,
            Parameters::Linear { biases, .. } => biases,
            Parameters::Affine { count } => count,
        }
    }

    /// How the standard parametrization draws the layer's weights: the layer's own setting, or else the network's.
    #[must_use]
    pub fn init(&self, network: Init) -> Init {
        match self.parameters {
            Parameters::Linear { init, .. } => init.unwrap_or(network),
            Parameters::None | Parameters::Affine { .. } => network,
        }
    }

    /// Number of weights that reach one output value away from the border; `None` for a layer without weights.
    #[must_use]
    pub fn fan_in(&self) -> Option<f64> {
        match self.parameters {
            Parameters::Linear { fan_in, .. } => Some(fan_in),
            Parameters::None | Parameters::Affine { .. } => None,
        }
    }

    /// Number of positions that share the layer's parameters.
    #[must_use]
    pub fn weight_sites(&self) -> usize {
        match self.parameters {
            Parameters::Linear { sites, .. } => sites,
            Parameters::None | Parameters::Affine { .. } => self.output.positions(),
        }
    }

    /// What the layer computes.
    #[must_use]
    pub fn transform(&self) -> Transform {
        self.layer.transform(self.input)
    }

    /// Number of input positions that reach each output row and column of a deconv: the parents of the position graph.
    ///
    /// An output position (p, q) has `rows[p] · columns[q]` parents.
    #[must_use]
    pub fn parents(&self) -> Option<[Vec<usize>; 2]> {
        let Layer::Deconv(c) = &self.layer else { return None };
        Some(c.parents(self.input, self.output))
    }
}
