//! `avg_pool`: the mean over windows.

use serde::{Deserialize, Serialize};

use super::{AxisMap, FixedMap, PositionMap, Properties, Transform, Window};
use crate::architecture::ArchitectureError;
use crate::place::{Place, Placed};
use crate::shape::{Pair, Shape, zero_pair};

/// The mean over windows of a map, for each channel.
///
/// Size of the output in each dimension: `⌊(h + 2 padding - window) / stride⌋ + 1`.
///
/// ```
/// use fintan_config::{Architecture, Parametrization, Shape};
///
/// let layers = [toml::from_str("conv = { out = 1, kernel = 1 }")?, toml::from_str("avg_pool = { window = 2 }")?];
/// let network = Architecture::new(Shape::image(1, 4, 4), &layers, Parametrization::default())?;
/// assert_eq!(network.output(), Shape::image(1, 2, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AvgPool {
    /// Rows and columns of a window.
    pub window: Pair,
    /// Rows and columns from one window to the next; by default the size of the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stride: Option<Pair>,
    /// Rows and columns of zeros on every side.
    #[serde(default = "zero_pair")]
    pub padding: Pair,
    /// Whether the zeros of the padding count. If true, the sum over a window is divided by the size of the window
    /// (PyTorch's default). If false, it is divided by the number of positions of the map in the window.
    #[serde(default = "super::yes")]
    pub count_padding: bool,
}

impl FixedMap for AvgPool {
    fn properties(&self) -> Properties {
        Properties::AVERAGES
    }

    fn sizes(&self) -> Vec<(&'static str, Pair)> {
        vec![("window", self.window), ("stride", self.stride()), ("padding", self.padding)]
    }

    fn place(&self, place: &mut Place) -> Result<Placed, ArchitectureError> {
        let Shape { channels, height, width } = place.input;
        let [height, width] = [("rows", height, 0), ("columns", width, 1)].map(|(side, len, axis)| {
            let [window, stride, padding] = [self.window, self.stride(), self.padding].map(|pair| pair.0[axis]);
            place.at_least_one("window", window)?;
            place.at_least_one("stride", stride)?;
            if padding >= window {
                let message = format!("`padding` must be smaller than the window ({window}), got {padding}");
                return Err(place.error("padding", message));
            }
            let padded = len + 2 * padding;
            if window > padded {
                let message =
                    format!("the window ({window}) is larger than its map ({len} {side}, {padded} with padding)");
                return Err(place.error("window", message));
            }
            Ok((padded - window) / stride + 1)
        });
        Ok(Shape::image(channels, height?, width?).into())
    }

    fn transform(&self, input: Shape) -> Transform {
        let windows = |axis: usize, len: usize| {
            let [window, stride, padding] = [self.window, self.stride(), self.padding].map(|pair| pair.0[axis]);
            let count = (len + 2 * padding - window) / stride + 1;
            let of = |i: usize| {
                let start = i * stride;
                let sources: Vec<usize> =
                    (start.max(padding)..(start + window).min(len + padding)).map(|at| at - padding).collect();
                Window { divisor: if self.count_padding { window } else { sources.len() }, sources }
            };
            AxisMap { input: len, windows: (0..count).map(of).collect() }
        };
        Transform::Positions(PositionMap::along(input, windows))
    }
}

impl AvgPool {
    fn stride(&self) -> Pair {
        self.stride.unwrap_or(self.window)
    }
}
