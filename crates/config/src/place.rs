//! Works out the shapes of a list of layers and checks their settings.

use crate::architecture::{ArchitectureError, Node};
use crate::layers::{Layer, Parameters};
use crate::parametrization::{Init, Parametrization};
use crate::shape::{Pair, Shape};

/// Largest number of values of a sample, and of weights of a layer. Numbers computed from them fit into 64 bits.
const LARGEST: u128 = 1 << 44;

/// Largest number of rows or columns, and the largest value of a setting that counts them.
const LONGEST: usize = 1 << 24;

/// Works out the shapes of `layers`, starting from `shape`; `path` is the key under which they are written.
pub(crate) fn place(
    mut shape: Shape,
    layers: &[Layer],
    path: &str,
    parametrization: Parametrization,
    next_index: &mut usize,
) -> Result<Vec<Node>, ArchitectureError> {
    let mut nodes = Vec::with_capacity(layers.len());
    for (i, layer) in layers.iter().enumerate() {
        let path = format!("{path}[{i}].{}", layer.name());
        let mut place = Place { path, input: shape, parametrization, next_index };
        layer.define(|definition| place.bound(&definition.sizes()))?;
        let Placed { output, branch, shortcut } = layer.define(|definition| definition.place(&mut place))?;
        check_shape(output).map_err(|message| place.error("", format!("`{}` gives {message}", layer.name())))?;
        let parameters = layer.define(|definition| definition.parameters(shape, output));
        let index = (parameters != Parameters::None).then(|| {
            *next_index += 1;
            *next_index - 1
        });
        nodes.push(Node { layer: layer.clone(), input: shape, output, parameters, index, branch, shortcut });
        shape = output;
    }
    Ok(nodes)
}

/// The position of a layer in the network, while its settings are checked.
pub(crate) struct Place<'a> {
    /// The key of the layer.
    path: String,
    /// The shape of an input sample.
    pub(crate) input: Shape,
    parametrization: Parametrization,
    next_index: &'a mut usize,
}

/// The shapes that result from placing a layer.
pub(crate) struct Placed {
    /// The shape of an output sample.
    pub(crate) output: Shape,
    /// The layers inside.
    pub(crate) branch: Vec<Node>,
    pub(crate) shortcut: Vec<Node>,
}

impl From<Shape> for Placed {
    fn from(output: Shape) -> Self {
        Self { output, branch: Vec::new(), shortcut: Vec::new() }
    }
}

impl Place<'_> {
    /// An error of the setting `key`, or of the layer as a whole if `key` is empty.
    pub(crate) fn error(&self, key: &str, message: String) -> ArchitectureError {
        let path = &self.path;
        let key = if key.is_empty() { path.clone() } else { format!("{path}.{key}") };
        ArchitectureError { key, message, help: None }
    }

    /// Refuses a count of 0.
    pub(crate) fn at_least_one(&self, key: &str, n: usize) -> Result<(), ArchitectureError> {
        if n == 0 { Err(self.error(key, format!("`{key}` must be at least 1, got 0"))) } else { Ok(()) }
    }

    /// Refuses a number that is not positive.
    pub(crate) fn positive(&self, key: &str, x: f64) -> Result<(), ArchitectureError> {
        if x > 0.0 && x.is_finite() {
            Ok(())
        } else {
            Err(self.error(key, format!("`{key}` must be greater than 0, got {x}")))
        }
    }

    /// Refuses the layer's own `init` if the parametrization does not use it.
    pub(crate) fn check_init(&self, init: Option<Init>) -> Result<(), ArchitectureError> {
        let Some(init) = init else { return Ok(()) };
        if !matches!(self.parametrization, Parametrization::Standard(_)) {
            let message = "`init` of a layer belongs to the `standard` parametrization";
            let help = "under `ntk` and `graph` every weight is drawn from N(0, 1)";
            return Err(self.error("init", message.into()).with_help(help));
        }
        init.check().map_err(|(name, message)| self.error(&format!("init.{name}"), message))
    }

    /// Refuses a layer with too many weights to count: the input's channels times `factors`.
    pub(crate) fn count_weights(&self, factors: [usize; 3]) -> Result<(), ArchitectureError> {
        let weights = product(factors).saturating_mul(self.input.channels as u128);
        if weights > LARGEST {
            let name = self.path.rsplit('.').next().unwrap_or(&self.path);
            let message = format!("`{name}` has {weights} weights; at most {LARGEST} can be counted");
            return Err(self.error("", message));
        }
        Ok(())
    }

    /// Works out the layers inside this layer, which are written under `key`.
    pub(crate) fn inside(&mut self, key: &str, layers: &[Layer]) -> Result<Vec<Node>, ArchitectureError> {
        place(self.input, layers, &format!("{}.{key}", self.path), self.parametrization, self.next_index)
    }

    /// Refuses settings that are too large to compute the size of a map from them.
    fn bound(&self, sizes: &[(&str, Pair)]) -> Result<(), ArchitectureError> {
        for (key, Pair(sides)) in sizes {
            if let Some(n) = sides.iter().find(|&&n| n > LONGEST) {
                return Err(self.error(key, format!("`{key}` must be at most {LONGEST}, got {n}")));
            }
        }
        Ok(())
    }
}

/// Refuses a shape with too many values to count.
pub(crate) fn check_shape(shape: Shape) -> Result<(), String> {
    let values = product([shape.channels, shape.height, shape.width]);
    let side = shape.height.max(shape.width);
    if values == 0 {
        return Err(format!("a map of {}x{}x{}: it holds no value", shape.channels, shape.height, shape.width));
    }
    if values > LARGEST {
        return Err(format!("{shape} = {values} values a sample; at most {LARGEST} can be counted"));
    }
    if side > LONGEST {
        return Err(format!("a map of {shape}; at most {LONGEST} rows and columns are allowed"));
    }
    Ok(())
}

fn product(factors: [usize; 3]) -> u128 {
    factors.iter().fold(1, |all: u128, &n| all.saturating_mul(n as u128))
}
