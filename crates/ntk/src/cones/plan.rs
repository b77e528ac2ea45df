//! The cones of a selection of outputs.

use std::ops::Range;

use super::axis::{AxisCones, Interval};
use super::geometry::{self, Geometry, GeometryError};

/// Number of rows (samples times outputs) that are pulled back together: enough for large products, few enough for the
/// cache.
const PIECE_ROWS: usize = 1024;

/// One output of the last map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Output {
    /// Row.
    pub y: usize,
    /// Column.
    pub x: usize,
    /// Channel.
    pub channel: usize,
}

/// The cones of a selection of outputs, computed from shapes alone.
///
/// Internally, outputs are numbered by rank, in the order of their positions. Kernels are in the order of the selection.
#[derive(Debug, Clone)]
pub struct ConePlan {
    layers: Vec<Geometry>,
    /// Outputs in the order of ranks.
    outputs: Vec<Output>,
    /// For each rank, the index in the selection.
    order: Vec<usize>,
    cones: [AxisCones; 2],
    /// Ranks of the outputs, grouped by the shape of their cones.
    classes: Vec<Vec<usize>>,
}

/// Outputs of one class that are pulled back together, as ranks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece<'p> {
    pub(super) plan: &'p ConePlan,
    pub(super) ranks: &'p [usize],
}

impl ConePlan {
    /// Plans the cones of `outputs`, which may be in any order.
    ///
    /// # Errors
    ///
    /// If consecutive layers do not match, or if an output is outside the last map.
    pub fn new(layers: &[Geometry], outputs: &[Output]) -> Result<Self, GeometryError> {
        geometry::check(layers)?;
        let [h, w, c] = layers[layers.len() - 1].output;
        if let Some(index) = outputs.iter().position(|o| o.y >= h || o.x >= w || o.channel >= c) {
            return Err(GeometryError::Output(index));
        }
        let mut order: Vec<usize> = (0..outputs.len()).collect();
        order.sort_by_key(|&index| (outputs[index].y, outputs[index].x, outputs[index].channel));
        let outputs: Vec<_> = order.iter().map(|&index| outputs[index]).collect();
        let cones = [AxisCones::new(layers, 0), AxisCones::new(layers, 1)];
        let columns = cones[1].class.iter().max().map_or(0, |last| last + 1);
        let rows = cones[0].class.iter().max().map_or(0, |last| last + 1);
        let mut classes = vec![Vec::new(); rows * columns];
        for (rank, output) in outputs.iter().enumerate() {
            classes[cones[0].class[output.y] * columns + cones[1].class[output.x]].push(rank);
        }
        classes.retain(|class| !class.is_empty());
        Ok(Self { layers: layers.to_vec(), outputs, order, cones, classes })
    }

    /// Plans the cones of all outputs of the last map, in memory order: `(y, x, channel)`.
    ///
    /// # Errors
    ///
    /// If consecutive layers do not match.
    pub fn whole(layers: &[Geometry]) -> Result<Self, GeometryError> {
        let [h, w, c] = layers.last().ok_or(GeometryError::Empty)?.output;
        let pixel = |i: usize| Output { y: i / (w * c), x: i / c % w, channel: i % c };
        Self::new(layers, &(0..h * w * c).map(pixel).collect::<Vec<_>>())
    }

    /// Number of selected outputs `O`.
    pub fn len(&self) -> usize {
        self.outputs.len()
    }

    /// Whether no output is selected.
    pub fn is_empty(&self) -> bool {
        self.outputs.is_empty()
    }

    /// Shapes of the layers, from the input side.
    pub fn layers(&self) -> &[Geometry] {
        &self.layers
    }

    /// Outputs in the order of ranks.
    pub(super) fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// For each rank, the index in the selection.
    pub(super) fn order(&self) -> &[usize] {
        &self.order
    }

    /// Rows, columns and channels of a level.
    pub(super) fn map(&self, level: usize) -> [usize; 3] {
        self.layers.get(level).map_or_else(|| self.layers[level - 1].output, |layer| layer.input)
    }

    /// The window of an output at a level, on both axes.
    pub(super) fn window(&self, level: usize, rank: usize) -> [Interval; 2] {
        let Output { y, x, .. } = self.outputs[rank];
        [self.cones[0].windows[y][level], self.cones[1].windows[x][level]]
    }

    /// The window of an output at a level, restricted to the map.
    pub(super) fn clipped(&self, level: usize, rank: usize) -> [Range<usize>; 2] {
        let ([y, x], [h, w, _]) = (self.window(level, rank), self.map(level));
        [y.clip(h), x.clip(w)]
    }

    /// Map position of entry `(j, i)` of an output's window at a level; `None` if it is off the map.
    pub(super) fn place(&self, level: usize, rank: usize, j: usize, i: usize) -> Option<[usize; 2]> {
        let ([y, x], [h, w, _]) = (self.window(level, rank), self.map(level));
        let on = |interval: Interval, j: usize, size: usize| {
            usize::try_from(interval.start + j as isize).ok().filter(|&at| at < size)
        };
        Some([on(y, j, h)?, on(x, i, w)?])
    }

    /// The classes, divided into pieces with a bounded number of rows.
    pub(super) fn pieces(&self, samples: usize) -> Vec<Piece<'_>> {
        let outputs = (PIECE_ROWS / samples.max(1)).max(1);
        self.classes.iter().flat_map(|class| class.chunks(outputs)).map(|ranks| Piece { plan: self, ranks }).collect()
    }
}

impl Piece<'_> {
    /// Map position of entry `(j, i)` of an output's window at a level; `None` if it is off the map.
    pub(super) fn place(&self, level: usize, rank: usize, j: usize, i: usize) -> Option<[usize; 2]> {
        self.plan.place(level, rank, j, i)
    }

    /// Rows and columns of the windows at a level.
    pub(super) fn size(&self, level: usize) -> [usize; 2] {
        self.plan.window(level, self.ranks[0]).map(|window| window.len)
    }
}
