//! `layer_norm`: `(x - mean) / √(variance + eps)` for each sample separately.

use serde::{Deserialize, Serialize};

use super::{Definition, Parameters, Properties, Transform};
use crate::architecture::ArchitectureError;
use crate::citations::Citation;
use crate::place::{Place, Placed};
use crate::shape::{Pair, Shape};

pub(crate) const LAYER_NORM: Citation = Citation::new(
    "@misc{ba2016layernorm,
  author = {Ba, Jimmy Lei and Kiros, Jamie Ryan and Hinton, Geoffrey E.},
  title = {Layer Normalization},
  year = {2016},
  eprint = {1607.06450},
  archiveprefix = {arXiv},
}",
);

/// Layer normalization of each sample separately.
///
/// ```
/// use fintan_config::{Layer, LayerNorm};
///
/// let norm: LayerNorm = toml::from_str("over = 'features'")?;
/// assert_eq!(norm.eps, 1e-5);
/// assert!(!Layer::LayerNorm(norm).properties().couples_batch);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerNorm {
    /// The axes that share a mean and a variance.
    #[serde(default)]
    pub over: NormAxes,
    /// Learnable scale and shift for each normalized value.
    #[serde(default = "super::yes")]
    pub affine: bool,
    /// Added to the variance.
    #[serde(default = "super::norm_eps")]
    pub eps: f64,
}

/// The axes that share a mean and a variance.
///
/// ```
/// use fintan_config::{LayerNorm, NormAxes};
///
/// let norm: LayerNorm = toml::from_str("over = 'features'")?;
/// assert_eq!(norm.over, NormAxes::Features);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormAxes {
    /// Channels and positions together.
    #[default]
    Chw,
    /// The channels, separately at each position.
    Features,
}

impl Definition for LayerNorm {
    fn properties(&self) -> Properties {
        Properties { is_norm: true, ..Properties::NONE }
    }

    fn citations(&self) -> &'static [Citation] {
        &[LAYER_NORM]
    }

    fn sizes(&self) -> Vec<(&'static str, Pair)> {
        Vec::new()
    }

    fn place(&self, place: &mut Place) -> Result<Placed, ArchitectureError> {
        place.positive("eps", self.eps)?;
        Ok(place.input.into())
    }

    fn parameters(&self, input: Shape, _: Shape) -> Parameters {
        let count = match self.over {
            NormAxes::Chw => input.len(),
            NormAxes::Features => input.channels,
        };
        if self.affine { Parameters::Affine { count } } else { Parameters::None }
    }

    fn transform(&self, _: Shape) -> Transform {
        Transform::LayerNorm(*self)
    }
}
