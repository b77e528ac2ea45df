//! `flatten`: turns an image into a vector.

use super::{Definition, Parameters, Properties, Transform};
use crate::architecture::ArchitectureError;
use crate::citations::Citation;
use crate::place::{Place, Placed};
use crate::shape::{Pair, Shape};

/// The definition of `flatten`.
pub(super) struct Flatten;

impl Definition for Flatten {
    fn properties(&self) -> Properties {
        Properties::MOVES
    }

    fn citations(&self) -> &'static [Citation] {
        &[]
    }

    fn sizes(&self) -> Vec<(&'static str, Pair)> {
        Vec::new()
    }

    fn place(&self, place: &mut Place) -> Result<Placed, ArchitectureError> {
        Ok(Shape::vector(place.input.len()).into())
    }

    fn parameters(&self, _: Shape, _: Shape) -> Parameters {
        Parameters::None
    }

    fn transform(&self, _: Shape) -> Transform {
        Transform::Reshape
    }
}
