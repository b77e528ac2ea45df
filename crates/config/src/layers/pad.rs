//! `pad`: a frame around a map.

use serde::{Deserialize, Serialize};

use super::{AxisMap, FixedMap, PositionMap, Properties, Transform};
use crate::architecture::ArchitectureError;
use crate::place::{Place, Placed};
use crate::shape::{Pair, Shape, zero_pair};

/// A frame of rows and columns around a map.
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
