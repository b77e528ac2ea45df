//! `global_average_pool`: the mean over all positions.

use super::{AxisMap, FixedMap, PositionMap, Properties, Transform, Window};
use crate::architecture::ArchitectureError;
use crate::place::{Place, Placed};
use crate::shape::{Pair, Shape};

/// The definition of `global_average_pool`.
pub(super) struct GlobalAveragePool;

impl FixedMap for GlobalAveragePool {
    fn properties(&self) -> Properties {
        Properties::AVERAGES
    }

    fn sizes(&self) -> Vec<(&'static str, Pair)> {
        Vec::new()
    }

    fn place(&self, place: &mut Place) -> Result<Placed, ArchitectureError> {
        Ok(Shape::vector(place.input.channels).into())
    }

    fn transform(&self, input: Shape) -> Transform {
        let everything =
            |_, len: usize| AxisMap { input: len, windows: vec![Window { sources: (0..len).collect(), divisor: len }] };
        Transform::Positions(PositionMap::along(input, everything))
    }
}
