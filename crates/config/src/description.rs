//! A network as one JSON file, for other programs and for reading back.

use serde::{Deserialize, Serialize};

use crate::architecture::{Architecture, ArchitectureError, Node};
use crate::layers::{Layer, Transform};
use crate::parametrization::Parametrization;
use crate::shape::Shape;

/// The value of `format`.
const FORMAT: &str = "fintan.architecture";

/// Version of the fields below.
const VERSION: u32 = 1;

/// An [`Architecture`] with every number that its forward pass needs, so that a reader of the file has nothing to compute.
///
/// ```json
/// {
///   "format": "fintan.architecture", "version": 1,
///   "input": { "channels": 64, "height": 1, "width": 1 },
///   "output": { "channels": 1, "height": 32, "width": 32 },
///   "parametrization": { "ntk": { "beta": 0.1 } },
///   "layers": [
///     { "layer": { "deconv": { "out": 64, "kernel": [4, 4], "stride": [1, 1], .. } },
///       "input": {..}, "output": {..}, "parameters": 0, "weight_scale": 0.1243, "bias_scale": 0.1 },
///     { "layer": { "activation": { "function": "relu", "scaling": "normalized", "gain": 1.0 } },
///       "input": {..}, "output": {..}, "centre": 0.3989, "scale": 0.5838 }
///   ]
/// }
/// ```
///
/// A reader needs only `format`, `version`, `input`, `parametrization` and each `layer`. Any other number in the file must
/// agree with the value computed from these.
///
/// ```
/// use fintan_config::{Architecture, Beta, Description, Layer, Parametrization, Shape};
///
/// let ntk = Parametrization::Ntk(Beta { beta: 0.0 });
/// let network = Architecture::new(Shape::vector(4), &[Layer::Dense(3.into())], ntk)?;
/// let description = Description::of(&network);
/// assert_eq!(description.layers[0].weight_scale, Some(0.5)); // 1 / √fan-in
/// assert_eq!(description.architecture()?, network);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    format: String,
    version: u32,
    /// Shape of an input sample.
    pub input: Shape,
    /// Shape of an output sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Shape>,
    /// How weights enter.
    pub parametrization: Parametrization,
    /// The layers, in order.
    pub layers: Vec<DescribedLayer>,
}

/// A layer and its numbers. W and b are the parameters `{parameters}.weight` and `{parameters}.bias`. A linear layer
/// computes `weight_scale · (W ∗ x) + bias_scale · b`; a nonlinearity computes `(f(gain · x) - centre) / scale`.
///
/// ```
/// use fintan_config::{Architecture, Beta, Description, Layer, Parametrization, Shape};
///
/// let ntk = Parametrization::Ntk(Beta { beta: 0.0 });
/// let network = Architecture::new(Shape::vector(4), &[Layer::Dense(3.into())], ntk)?;
/// let layer = &Description::of(&network).layers[0];
/// assert_eq!((layer.output, layer.parameters), (Some(Shape::vector(3)), Some(0)));
/// assert_eq!((layer.weight_scale, layer.bias_scale), (Some(0.5), Some(0.0)));
/// # Ok::<(), fintan_config::ArchitectureError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescribedLayer {
    /// The layer as a configuration writes it.
    pub layer: Layer,
    /// Shape of a sample that enters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Shape>,
    /// Shape of a sample that leaves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Shape>,
    /// Index in the names of its parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<usize>,
    /// Factor of `W ∗ x`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_scale: Option<f64>,
    /// The factor at each row and column of the output, if it depends on the position (graph-based parametrization).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_scale_map: Option<Vec<Vec<f64>>>,
    /// Factor of b.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bias_scale: Option<f64>,
    /// The constant that a nonlinearity subtracts from its function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub centre: Option<f64>,
    /// The constant by which a nonlinearity then divides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// Slope or scale below zero of the function: for `leaky_relu` and `elu`, and α of `selu`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub negative_slope: Option<f64>,
    /// Index k of a batch norm's `running.{k}.mean` and `running.{k}.variance`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<usize>,
    /// The branch of a residual block.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub branch: Vec<DescribedLayer>,
    /// The shortcut of a residual block; empty means the identity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shortcut: Vec<DescribedLayer>,
}

/// The error for a description that does not form a network.
///
/// ```
/// use fintan_config::{Architecture, Beta, Description, DescriptionError, Layer, Parametrization, Shape};
///
/// let ntk = Parametrization::Ntk(Beta { beta: 0.0 });
/// let network = Architecture::new(Shape::vector(4), &[Layer::Dense(3.into())], ntk)?;
/// let mut description = Description::of(&network);
/// description.layers[0].weight_scale = Some(0.7);
/// assert!(matches!(description.architecture(), Err(DescriptionError::Derived(path)) if path.contains("weight_scale")));
/// # Ok::<(), fintan_config::ArchitectureError>(())
/// ```
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DescriptionError {
    /// `format` has another value.
    #[error("`format` must be \"{FORMAT}\", got {0:?}")]
    Format(String),
    /// Written by a newer program.
    #[error("`version` is {0}; this program reads up to {VERSION}")]
    Newer(u32),
    /// A layer that does not fit.
    #[error("`layers{}`: {}", .0.key, .0.message)]
    Layer(ArchitectureError),
    /// A number that disagrees with the value computed from the layers.
    #[error("`{0}` is not what follows from `input`, `parametrization` and the layers")]
    Derived(String),
}

impl Description {
    /// Describes a network.
    #[must_use]
    pub fn of(architecture: &Architecture) -> Self {
        let mut norms = 0;
        Self {
            format: FORMAT.into(),
            version: VERSION,
            input: architecture.input,
            output: Some(architecture.output()),
            parametrization: architecture.parametrization,
            layers: describe(&architecture.nodes, architecture.parametrization, &mut norms),
        }
    }

    /// The network that is described.
    ///
    /// # Errors
    /// Another format, a newer version, layers that do not fit, or a number that disagrees with them.
    pub fn architecture(&self) -> Result<Architecture, DescriptionError> {
        if self.format != FORMAT {
            return Err(DescriptionError::Format(self.format.clone()));
        }
        if self.version > VERSION {
            return Err(DescriptionError::Newer(self.version));
        }
        let layers: Vec<Layer> = self.layers.iter().map(|described| described.layer.clone()).collect();
        let architecture =
            Architecture::new(self.input, &layers, self.parametrization).map_err(DescriptionError::Layer)?;
        let derived = Self::of(&architecture);
        if self.output.is_some_and(|output| Some(output) != derived.output) {
            return Err(DescriptionError::Derived("output".into()));
        }
        agree(&self.layers, &derived.layers, "layers").map_err(DescriptionError::Derived)?;
        Ok(architecture)
    }
}

fn describe(nodes: &[Node], parametrization: Parametrization, norms: &mut usize) -> Vec<DescribedLayer> {
    nodes.iter().map(|node| describe_one(node, parametrization, norms)).collect()
}

fn describe_one(node: &Node, parametrization: Parametrization, norms: &mut usize) -> DescribedLayer {
    let mut described = DescribedLayer {
        layer: node.layer.clone(),
        input: Some(node.input),
        output: Some(node.output),
        parameters: node.index,
        weight_scale: None,
        weight_scale_map: None,
        bias_scale: None,
        centre: None,
        scale: None,
        negative_slope: None,
        running: None,
        branch: Vec::new(),
        shortcut: Vec::new(),
    };
    match node.transform() {
        Transform::Dense | Transform::Conv(_) | Transform::Deconv(_) => {
            described.bias_scale = Some(parametrization.bias_scale());
            match node.weight_scale(parametrization) {
                WeightScale::Number(scale) => described.weight_scale = Some(scale),
                WeightScale::Map(map) => {
                    described.weight_scale_map = Some(map.chunks(node.output.width).map(<[f64]>::to_vec).collect());
                }
            }
        }
        Transform::Pointwise(activation) => {
            let (centre, scale) = activation.centre_and_scale();
            (described.centre, described.scale) = (Some(centre), Some(scale));
            described.negative_slope = activation.negative_slope();
        }
        Transform::BatchNorm(_) => {
            described.running = Some(*norms);
            *norms += 1;
        }
        Transform::Residual { .. } => {
            described.branch = describe(&node.branch, parametrization, norms);
            described.shortcut = describe(&node.shortcut, parametrization, norms);
        }
        Transform::LayerNorm(_) | Transform::Reshape | Transform::Positions(_) => {}
    }
    described
}

/// The factor of `W ∗ x`.
///
/// ```
/// use fintan_config::{Architecture, Beta, WeightScale, Layer, Parametrization, Shape};
///
/// let ntk = Parametrization::Ntk(Beta { beta: 0.0 });
/// let network = Architecture::new(Shape::vector(4), &[Layer::Dense(3.into())], ntk)?;
/// assert_eq!(network.nodes[0].weight_scale(ntk), WeightScale::Number(0.5));
/// # Ok::<(), fintan_config::ArchitectureError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum WeightScale {
    /// One factor.
    Number(f64),
    /// A factor for each position of the output, row by row.
    Map(Vec<f64>),
}

impl Parametrization {
    /// The factor of the biases.
    #[must_use]
    pub fn bias_scale(&self) -> f64 {
        self.beta().unwrap_or(1.0)
    }
}

impl Node {
    /// The factor of `W ∗ x` in a linear layer, see [`Parametrization`].
    ///
    /// # Panics
    /// If the layer is not linear.
    #[must_use]
    pub fn weight_scale(&self, parametrization: Parametrization) -> WeightScale {
        let fan_in = self.fan_in().expect("a linear layer has a fan-in");
        let beta = parametrization.beta().unwrap_or(0.0);
        let weight = (1.0 - beta * beta).sqrt();
        match (parametrization, self.parents()) {
            (Parametrization::Standard(_), _) => WeightScale::Number(1.0),
            (Parametrization::Graph(_), Some([rows, columns])) => {
                // A position that no input reaches gets no signal; any finite factor is correct there.
                let at = |p: usize, q: usize| ((p * q).max(1) * self.input.channels) as f64;
                let places = rows.iter().flat_map(|&p| columns.iter().map(move |&q| (p, q)));
                WeightScale::Map(places.map(|(p, q)| weight / at(p, q).sqrt()).collect())
            }
            (Parametrization::Ntk(_) | Parametrization::Graph(_), _) => WeightScale::Number(weight / fan_in.sqrt()),
        }
    }
}

/// Compares the given numbers with the computed ones; the error is the path of the first difference.
fn agree(given: &[DescribedLayer], derived: &[DescribedLayer], path: &str) -> Result<(), String> {
    let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * b.abs().max(1e-9);
    let number = |a: Option<f64>, b: Option<f64>| a.is_none_or(|a| b.is_some_and(|b| close(a, b)));
    let map = |a: &Option<Vec<Vec<f64>>>, b: &Option<Vec<Vec<f64>>>| match (a, b) {
        (None, _) => true,
        (Some(a), Some(b)) => {
            a.iter().map(Vec::len).eq(b.iter().map(Vec::len))
                && a.iter().flatten().zip(b.iter().flatten()).all(|(&a, &b)| close(a, b))
        }
        (Some(_), None) => false,
    };
    for (i, (a, b)) in given.iter().zip(derived).enumerate() {
        let each = [
            ("input", a.input.is_none() || a.input == b.input),
            ("output", a.output.is_none() || a.output == b.output),
            ("parameters", a.parameters.is_none() || a.parameters == b.parameters),
            ("weight_scale", number(a.weight_scale, b.weight_scale)),
            ("weight_scale_map", map(&a.weight_scale_map, &b.weight_scale_map)),
            ("bias_scale", number(a.bias_scale, b.bias_scale)),
            ("centre", number(a.centre, b.centre)),
            ("scale", number(a.scale, b.scale)),
            ("negative_slope", number(a.negative_slope, b.negative_slope)),
            ("running", a.running.is_none() || a.running == b.running),
            ("branch", a.branch.is_empty() || a.branch.len() == b.branch.len()),
            ("shortcut", a.shortcut.is_empty() || a.shortcut.len() == b.shortcut.len()),
        ];
        let path = format!("{path}[{i}]");
        if let Some((key, _)) = each.iter().find(|(_, fits)| !fits) {
            return Err(format!("{path}.{key}"));
        }
        agree(&a.branch, &b.branch, &format!("{path}.branch"))?;
        agree(&a.shortcut, &b.shortcut, &format!("{path}.shortcut"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::function::Function;
    use crate::layers::{BatchNorm, Convolution, Empty, Residual};
    use crate::nonlinearity::{Activation, Scaling};
    use crate::parametrization::Beta;

    fn network(parametrization: Parametrization) -> Architecture {
        let deconv = |out, stride: usize| {
            Layer::Deconv(Convolution {
                out,
                kernel: 4.into(),
                stride: stride.into(),
                padding: (stride / 2).into(),
                output_padding: 0.into(),
                init: None,
            })
        };
        let norm = || Layer::BatchNorm(BatchNorm { affine: true, eps: 1e-5, momentum: 0.1 });
        let relu = Layer::Activation(Activation::raw(Function::Relu).with_scaling(Scaling::Normalized));
        let block = Residual { layers: vec![norm(), relu.clone()], shortcut: vec![], scale: 0.5 };
        let layers = [deconv(3, 1), norm(), relu, Layer::Residual(block), deconv(2, 2)];
        Architecture::new(Shape::vector(5), &layers, parametrization).expect("sound")
    }

    #[test]
    fn a_description_has_every_number_and_reads_back() {
        for parametrization in [
            Parametrization::default(),
            Parametrization::Ntk(Beta { beta: 0.6 }),
            Parametrization::Graph(Beta { beta: 0.6 }),
        ] {
            let network = network(parametrization);
            let described = Description::of(&network);
            assert_eq!(described.architecture().expect("reads back"), network);
            assert_eq!((described.layers[1].running, described.layers[3].branch[0].running), (Some(0), Some(1)));
            let relu = &described.layers[2];
            let tau = 2.0 * std::f64::consts::PI;
            assert!((relu.centre.expect("a number") - 1.0 / tau.sqrt()).abs() < 1e-12);
            assert!((relu.scale.expect("a number") - (0.5 - 1.0 / tau).sqrt()).abs() < 1e-12);
        }
    }

    #[test]
    fn factors_are_those_of_the_parametrization() {
        let described = |parametrization| Description::of(&network(parametrization)).layers;
        let first = |layers: &[DescribedLayer]| (layers[0].weight_scale, layers[0].bias_scale);
        assert_eq!(first(&described(Parametrization::default())), (Some(1.0), Some(1.0)));
        let ntk = described(Parametrization::Ntk(Beta { beta: 0.6 }));
        assert_eq!(ntk[0].bias_scale, Some(0.6));
        // One of 16 taps reaches each output of a deconv from a single pixel.
        assert!((ntk[0].weight_scale.expect("a number") - 0.8 / 5.0_f64.sqrt()).abs() < 1e-12);
        let graph = described(Parametrization::Graph(Beta { beta: 0.6 }));
        let map = graph[4].weight_scale_map.as_ref().expect("a map");
        // Corners of a deconv with kernel 4, stride 2 and padding 1 have one parent, the interior has four.
        assert!((map[0][0] - 0.8 / 3.0_f64.sqrt()).abs() < 1e-12);
        assert!((map[3][3] - 0.8 / 12.0_f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let whole = Description::of(&network(Parametrization::Ntk(Beta { beta: 0.1 })));
        let said = |change: &dyn Fn(&mut Description)| {
            let mut changed = whole.clone();
            change(&mut changed);
            changed.architecture().expect_err("refused").to_string()
        };
        assert!(said(&|d| d.format = "onnx".into()).contains("must be \"fintan.architecture\", got \"onnx\""));
        assert!(said(&|d| d.version = 9).contains("is 9; this program reads up to 1"));
        assert!(said(&|d| d.layers[2].scale = Some(1.0)).starts_with("`layers[2].scale` is not what follows"));
        assert!(said(&|d| d.layers[3].branch[0].running = Some(0)).starts_with("`layers[3].branch[0].running`"));
        assert!(said(&|d| d.output = Some(Shape::vector(3))).starts_with("`output`"));
        let dense = Layer::Dense(2.into());
        assert!(said(&|d| d.layers[1].layer = dense.clone()).starts_with("`layers[1].dense`: `dense` needs a vector"));
        // Numbers that are left out are computed.
        let mut bare = whole.clone();
        bare.output = None;
        for layer in &mut bare.layers {
            let Layer::Residual(_) = layer.layer else {
                *layer = DescribedLayer { layer: layer.layer.clone(), ..DescribedLayer::bare() };
                continue;
            };
            layer.branch.clear();
        }
        assert_eq!(bare.architecture().expect("reads"), whole.architecture().expect("reads"));
    }

    impl DescribedLayer {
        fn bare() -> Self {
            let flatten = Description::of(
                &Architecture::new(
                    Shape::vector(1),
                    &[Layer::Flatten(Empty {}), Layer::Dense(1.into())],
                    Parametrization::default(),
                )
                .expect("sound"),
            );
            Self { input: None, output: None, ..flatten.layers[0].clone() }
        }
    }
}
