//! The action of each layer on a pair of inputs, one file for each kind of layer.

mod activation;
mod layer_norm;
mod linear;
mod positions;
mod residual;
mod spread;

use super::signal::Signal;
use super::{LimitError, Step, Walk};
pub(super) use linear::Linear;

impl Walk<'_> {
    /// `all`: whether pairs of different positions are needed after the step.
    pub(super) fn step(&mut self, step: &Step, signal: Signal, all: bool) -> Result<Signal, LimitError> {
        match step {
            Step::Linear(linear) => Ok(self.linear(linear, &signal, all)),
            Step::Activation(dual, known) => activation::activation(dual, known, self.many, signal),
            Step::LayerNorm { over, eps, affine } => self.layer_norm(*over, *eps, *affine, signal),
            Step::Spread { positions } => Ok(spread::spread(&signal, *positions, all)),
            Step::Copies(sources) => Ok(positions::copies(&signal, sources, all)),
            Step::Means(windows) => Ok(self.means(&signal, windows, all)),
            Step::Residual { branch, shortcut, scale } => {
                let mut signal = signal;
                signal.fresh = false;
                let (own, other) = (signal.clone(), signal);
                let parts = own.tangent.len();
                let mut through = self.through(branch, own, all)?;
                let mut around = self.through(shortcut, other, all)?;
                // One side may hold all pairs, because its input had them, and the other only the pairs that are needed.
                if !all {
                    (through, around) = (through.diagonal(), around.diagonal());
                }
                residual::sum(through, around, *scale, parts, self.request.parts)
            }
        }
    }
}
