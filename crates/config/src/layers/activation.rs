//! `activation`: a nonlinearity applied to each value separately.

use super::{Definition, Parameters, Properties, Transform};
use crate::architecture::ArchitectureError;
use crate::citations::Citation;
use crate::function::Function;
use crate::nonlinearity::{Activation, Scaling};
use crate::place::{Place, Placed};
use crate::shape::{Pair, Shape};

impl Definition for Activation {
    fn properties(&self) -> Properties {
        let is_homogeneous = self.is_homogeneous();
        Properties { is_pointwise: true, is_homogeneous, keeps_input: true, ..Properties::NONE }
    }

    fn citations(&self) -> &'static [Citation] {
        self.function.properties().citations
    }

    fn sizes(&self) -> Vec<(&'static str, Pair)> {
        Vec::new()
    }

    fn place(&self, place: &mut Place) -> Result<Placed, ArchitectureError> {
        let Self { function, scaling, gain, slope, mu } = *self;
        place.positive("gain", gain)?;
        if slope.is_some() && !function.takes_slope() {
            let takers = Function::ALL.iter().filter(|f| f.takes_slope()).map(|f| format!("`{}`", f.name()));
            return Err(
                place.error("slope", format!("`slope` belongs to {}", takers.collect::<Vec<_>>().join(" and ")))
            );
        }
        if let Some(slope) = slope.filter(|s| !s.is_finite()) {
            return Err(place.error("slope", format!("`slope` must be a number, got {slope}")));
        }
        match (scaling, mu) {
            (Scaling::Partial, None) => {
                let message = "`partial` scaling needs `mu`, the value it subtracts".into();
                Err(place.error("scaling", message).with_help("for instance mu = 0.2"))
            }
            (Scaling::Partial, Some(mu)) if !mu.is_finite() => {
                Err(place.error("mu", format!("`mu` must be a number, got {mu}")))
            }
            (Scaling::Partial, Some(_)) | (_, None) => Ok(place.input.into()),
            (_, Some(_)) => Err(place.error("mu", "`mu` belongs to `scaling = \"partial\"`".into())),
        }
    }

    fn parameters(&self, _: Shape, _: Shape) -> Parameters {
        Parameters::None
    }

    fn transform(&self, _: Shape) -> Transform {
        Transform::Pointwise(*self)
    }
}
