//! `upsample`: every position becomes a block of equal positions.

use serde::{Deserialize, Serialize};

use super::{AxisMap, FixedMap, PositionMap, Properties, Transform};
use crate::architecture::ArchitectureError;
use crate::place::{Place, Placed};
use crate::shape::{Pair, Shape};

/// Up-sampling by copies.
///
/// With a stride-1 convolution after it, up-sampling replaces a transposed convolution in generators that avoid
/// checkerboards from overlap (Odena, Dumoulin, Olah 2016).
///
/// ```
/// use fintan_config::{Architecture, Parametrization, Shape};
///
/// let layers = [toml::from_str("conv = { out = 1, kernel = 1 }")?, toml::from_str("upsample = { factor = 2 }")?];
/// let network = Architecture::new(Shape::image(1, 4, 4), &layers, Parametrization::default())?;
/// assert_eq!(network.output(), Shape::image(1, 8, 8));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upsample {
    /// Copies along rows and columns.
    pub factor: Pair,
}

impl FixedMap for Upsample {
    fn properties(&self) -> Properties {
        Properties::MOVES
    }

    fn sizes(&self) -> Vec<(&'static str, Pair)> {
        vec![("factor", self.factor)]
    }

    fn place(&self, place: &mut Place) -> Result<Placed, ArchitectureError> {
        let Pair([rows, columns]) = self.factor;
        place.at_least_one("factor", rows.min(columns))?;
        let Shape { channels, height, width } = place.input;
        Ok(Shape::image(channels, height * rows, width * columns).into())
    }

    fn transform(&self, input: Shape) -> Transform {
        let copied = |axis: usize, len: usize| {
            let factor = self.factor.0[axis];
            AxisMap::moved(len, (0..len * factor).map(|at| Some(at / factor)).collect())
        };
        Transform::Positions(PositionMap::along(input, copied))
    }
}
