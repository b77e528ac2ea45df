//! `reshape`: the same values with another shape.

use super::{FixedMap, Properties, Transform};
use crate::architecture::ArchitectureError;
use crate::place::{Place, Placed, check_shape};
use crate::shape::{Pair, Shape};

/// The definition of `reshape` to a shape.
pub(super) struct Reshape(pub(super) Shape);

impl FixedMap for Reshape {
    fn properties(&self) -> Properties {
        Properties::MOVES
    }

    fn sizes(&self) -> Vec<(&'static str, Pair)> {
        Vec::new()
    }

    fn place(&self, place: &mut Place) -> Result<Placed, ArchitectureError> {
        let (to, from) = (self.0, place.input);
        check_shape(to).map_err(|message| place.error("", format!("`reshape` to {message}")))?;
        if to.len() != from.len() {
            let message = format!("`reshape` to {to} needs {} values, but {} arrive", to.len(), from.len());
            return Err(place.error("", message));
        }
        Ok(to.into())
    }

    fn transform(&self, _: Shape) -> Transform {
        Transform::Reshape
    }
}
