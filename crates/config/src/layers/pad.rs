//! `pad`: a frame around a map.

use serde::{Deserialize, Serialize};

use super::{AxisMap, FixedMap, PositionMap, Properties, Transform};
use crate::architecture::ArchitectureError;
use crate::place::{Place, Placed};
use crate::shape::{Pair, Shape, zero_pair};

/// A frame of rows and columns around a map.
///
/// ```
/// use fintan_config::{Architecture, Parametrization, Shape};
///
/// let pad = "pad = { before = 1, after = [0, 2], mode = 'periodic' }";
/// let layers = [toml::from_str("conv = { out = 1, kernel = 1 }")?, toml::from_str(pad)?];
/// let network = Architecture::new(Shape::image(1, 4, 4), &layers, Parametrization::default())?;
/// assert_eq!(network.output(), Shape::image(1, 5, 7));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pad {
    /// Rows above and columns to the left.
    #[serde(default = "zero_pair")]
    pub before: Pair,
    /// Rows below and columns to the right.
    #[serde(default = "zero_pair")]
    pub after: Pair,
    /// The values in the frame.
    pub mode: PadMode,
}

/// The values in the frame around a map.
///
/// ```
/// use fintan_config::{Layer, Shape, Transform};
///
/// // A frame of one column on the left of a row of two.
/// let source = |mode| {
///     let pad: Layer = toml::from_str(&format!("pad = {{ before = [0, 1], mode = '{mode}' }}")).expect("a layer");
///     let Transform::Positions(map) = pad.transform(Shape::image(1, 1, 2)) else { panic!("a map of positions") };
///     map.sources().expect("copies")[0]
/// };
/// assert_eq!(["zero", "periodic", "symmetric"].map(source), [None, Some(1), Some(0)]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PadMode {
    /// Zeros.
    Zero,
    /// The map repeated: a torus.
    Periodic,
    /// The map mirrored, including its edge.
    Symmetric,
}

impl FixedMap for Pad {
    fn properties(&self) -> Properties {
        Properties::MOVES
    }

    fn sizes(&self) -> Vec<(&'static str, Pair)> {
        vec![("before", self.before), ("after", self.after)]
    }

    fn place(&self, place: &mut Place) -> Result<Placed, ArchitectureError> {
        let shape = place.input;
        if self.mode != PadMode::Zero {
            for (key, Pair(frame)) in self.sizes() {
                for (axis, len) in [shape.height, shape.width].into_iter().enumerate() {
                    if frame[axis] > len {
                        let side = ["rows", "columns"][axis];
                        let message = format!("`{key}` must be at most the map ({len} {side}), got {}", frame[axis]);
                        let help = "only `mode = \"zero\"` pads further than the map is large";
                        return Err(place.error(key, message).with_help(help));
                    }
                }
            }
        }
        let [height, width] = [0, 1].map(|axis| self.before.0[axis] + self.after.0[axis]);
        Ok(Shape::image(shape.channels, shape.height + height, shape.width + width).into())
    }

    fn transform(&self, input: Shape) -> Transform {
        Transform::Positions(PositionMap::along(input, |axis, len| AxisMap::moved(len, self.sources(axis, len))))
    }
}

impl Pad {
    /// For each padded row (axis 0) or column (axis 1), the row or column of a map of `len` that it copies; `None` for
    /// zeros.
    fn sources(&self, axis: usize, len: usize) -> Vec<Option<usize>> {
        let (before, after, n) = (self.before.0[axis] as isize, self.after.0[axis] as isize, len as isize);
        (-before..n + after)
            .map(|at| match self.mode {
                PadMode::Zero => (0..n).contains(&at).then_some(at as usize),
                PadMode::Periodic => Some(at.rem_euclid(n) as usize),
                PadMode::Symmetric => {
                    let at = at.rem_euclid(2 * n);
                    Some(at.min(2 * n - 1 - at) as usize)
                }
            })
            .collect()
    }
}
