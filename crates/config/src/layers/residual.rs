//! `residual`: `y = scale · (branch(x) + shortcut(x))`.

use serde::{Deserialize, Serialize};

use super::{Definition, Layer, Parameters, Properties, Transform};
use crate::architecture::{ArchitectureError, Node};
use crate::citations::Citation;
use crate::place::{Place, Placed};
use crate::shape::{Pair, Shape};

/// A residual block.
///
/// ```
/// use fintan_config::{Architecture, Parametrization, Shape};
///
/// let block = "residual = { layers = [{ dense = { out = 4 } }], scale = 0.5 }";
/// let network = Architecture::new(Shape::vector(4), &[toml::from_str(block)?], Parametrization::default())?;
/// assert_eq!((network.nodes[0].branch.len(), network.nodes[0].shortcut.len()), (1, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Residual {
    /// The branch.
    pub layers: Vec<Layer>,
    /// The shortcut; empty means the identity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shortcut: Vec<Layer>,
    /// Factor of the sum; 1/√2 keeps unit variance.
    #[serde(default = "one")]
    pub scale: f64,
}

fn one() -> f64 {
    1.0
}

/// The definition of `residual`.
pub(super) struct Block<'a>(pub(super) &'a Residual);

impl Definition for Block<'_> {
    /// The properties of the sum alone. The layers inside have their own properties.
    fn properties(&self) -> Properties {
        Properties { is_homogeneous: true, ..Properties::NONE }
    }

    fn citations(&self) -> &'static [Citation] {
        &[]
    }

    fn sizes(&self) -> Vec<(&'static str, Pair)> {
        Vec::new()
    }

    fn place(&self, place: &mut Place) -> Result<Placed, ArchitectureError> {
        place.positive("scale", self.0.scale)?;
        let branch = place.inside("layers", &self.0.layers)?;
        let shortcut = place.inside("shortcut", &self.0.shortcut)?;
        let [through, around] =
            [&branch, &shortcut].map(|nodes| nodes.last().map_or(place.input, |node: &Node| node.output));
        if through != around {
            let message = format!("the branch ends with {through}, the shortcut with {around}: they are added");
            let help = "make the shapes equal, for instance with a `conv` of kernel 1 in `shortcut`";
            return Err(place.error("", message).with_help(help));
        }
        Ok(Placed { output: through, branch, shortcut })
    }

    fn parameters(&self, _: Shape, _: Shape) -> Parameters {
        Parameters::None
    }

    fn transform(&self, _: Shape) -> Transform {
        Transform::Residual { scale: self.0.scale }
    }
}
