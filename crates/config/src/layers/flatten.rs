//! `flatten`: turns an image into a vector.

use super::{FixedMap, Properties, Transform};
use crate::architecture::ArchitectureError;
use crate::place::{Place, Placed};
use crate::shape::{Pair, Shape};

/// The definition of `flatten`.
pub(super) struct Flatten;

impl FixedMap for Flatten {
    fn properties(&self) -> Properties {
        Properties::MOVES
    }

    fn sizes(&self) -> Vec<(&'static str, Pair)> {
        Vec::new()
    }

    fn place(&self, place: &mut Place) -> Result<Placed, ArchitectureError> {
        Ok(Shape::vector(place.input.len()).into())
    }

    fn transform(&self, _: Shape) -> Transform {
        Transform::Reshape
    }
}
