//! `batch_norm`: `(x - mean) / √(variance + eps)` over the batch.

use serde::{Deserialize, Serialize};

use super::{Definition, Parameters, Properties, Transform};
use crate::architecture::ArchitectureError;
use crate::citations::Citation;
use crate::place::{Place, Placed};
use crate::shape::{Pair, Shape};

pub(crate) const BATCH_NORM: Citation = Citation::new(
    "@inproceedings{ioffe2015batchnorm,
  author = {Ioffe, Sergey and Szegedy, Christian},
  title = {Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift},
  booktitle = {International Conference on Machine Learning},
  year = {2015},
  eprint = {1502.03167},
  archiveprefix = {arXiv},
}",
);

/// Batch normalization over batch and positions, per channel.
///
/// ```
/// use fintan_config::{BatchNorm, Layer};
///
/// let norm: BatchNorm = toml::from_str("affine = false")?;
/// assert_eq!((norm.eps, norm.momentum), (1e-5, 0.1));
/// assert!(Layer::BatchNorm(norm).properties().couples_batch);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchNorm {
    /// Learnable scale and shift.
    #[serde(default = "super::yes")]
    pub affine: bool,
    /// Added to the variance.
    #[serde(default = "super::norm_eps")]
    pub eps: f64,
    /// Weight of the newest batch in the running statistics.
    #[serde(default = "norm_momentum")]
    pub momentum: f64,
}

pub(crate) fn norm_momentum() -> f64 {
    0.1
}

impl Definition for BatchNorm {
    fn properties(&self) -> Properties {
        Properties { is_norm: true, couples_batch: true, ..Properties::NONE }
    }

    fn citations(&self) -> &'static [Citation] {
        &[BATCH_NORM]
    }

    fn sizes(&self) -> Vec<(&'static str, Pair)> {
        Vec::new()
    }

    fn place(&self, place: &mut Place) -> Result<Placed, ArchitectureError> {
        let Self { eps, momentum, .. } = *self;
        if !(eps >= 0.0 && eps.is_finite()) {
            return Err(place.error("eps", format!("`eps` must be at least 0, got {eps}")));
        }
        if !(momentum > 0.0 && momentum <= 1.0) {
            return Err(place.error("momentum", format!("`momentum` must be in (0, 1], got {momentum}")));
        }
        Ok(place.input.into())
    }

    fn parameters(&self, input: Shape, _: Shape) -> Parameters {
        if self.affine { Parameters::Affine { count: input.channels } } else { Parameters::None }
    }

    fn transform(&self, _: Shape) -> Transform {
        Transform::BatchNorm(*self)
    }
}
