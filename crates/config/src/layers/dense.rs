//! `dense`: `y = W x + b`.

use serde::{Deserialize, Serialize};

use super::{Definition, Parameters, Properties, Transform};
use crate::architecture::ArchitectureError;
use crate::citations::Citation;
use crate::parametrization::Init;
use crate::place::{Place, Placed};
use crate::shape::{Pair, Shape};

/// A fully connected layer.
///
/// ```
/// use fintan_config::{Architecture, Layer, Parametrization, Shape};
///
/// let network = Architecture::new(Shape::vector(4), &[Layer::Dense(3.into())], Parametrization::default())?;
/// assert_eq!((network.parameter_count(), network.nodes[0].fan_in()), (4 * 3 + 3, Some(4.0)));
/// # Ok::<(), fintan_config::ArchitectureError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dense {
    /// Number of output features.
    pub out: usize,
    /// How its weights are drawn, if not by the network's `parametrization.standard.init`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<Init>,
}

impl From<usize> for Dense {
    fn from(out: usize) -> Self {
        Self { out, init: None }
    }
}

impl Definition for Dense {
    fn properties(&self) -> Properties {
        Properties::LINEAR
    }

    fn citations(&self) -> &'static [Citation] {
        &[]
    }

    fn sizes(&self) -> Vec<(&'static str, Pair)> {
        Vec::new()
    }

    fn place(&self, place: &mut Place) -> Result<Placed, ArchitectureError> {
        place.at_least_one("out", self.out)?;
        place.check_init(self.init)?;
        let shape = place.input;
        if !shape.is_vector() {
            let message = format!("`dense` needs a vector, but an image of {shape} arrives");
            let help = "put `flatten = {}` or `global_average_pool = {}` before it";
            return Err(place.error("", message).with_help(help));
        }
        place.count_weights([self.out, 1, 1])?;
        Ok(Shape::vector(self.out).into())
    }

    fn parameters(&self, input: Shape, _: Shape) -> Parameters {
        let fan_in = input.channels;
        Parameters::Linear {
            weights: fan_in * self.out,
            biases: self.out,
            fan_in: fan_in as f64,
            sites: 1,
            init: self.init,
        }
    }

    fn transform(&self, _: Shape) -> Transform {
        Transform::Dense
    }
}
