//! Finds the layer at which numbers leave the range of the network's precision.

use burn::tensor::Tensor;

use super::{Mode, PlacedNetwork, Tape};

impl PlacedNetwork {
    /// Index of the first layer whose output contains a value that is not finite.
    ///
    /// # Shapes
    /// - `x`: `[batch, rows, columns, channels]`
    #[must_use]
    pub fn first_infinite_output(&self, mut x: Tensor<4>, mode: Mode) -> Option<usize> {
        for (i, operation) in self.plan.operations.iter().enumerate() {
            x = operation.forward(self, x, mode).0;
            if !is_finite(&x) {
                return Some(i);
            }
        }
        None
    }

    /// Index of the first layer in backward order whose input cotangent is not finite.
    ///
    /// # Shapes
    /// - `dy`: `[rows · batch, ..]` for the batch of the tape
    ///
    /// # Panics
    /// If the tape belongs to another network.
    #[must_use]
    pub fn first_infinite_cotangent(&self, tape: &Tape, mut dy: Tensor<4>) -> Option<usize> {
        for (i, (operation, entry)) in self.plan.operations.iter().zip(&tape.0).enumerate().rev() {
            dy = operation.pullback(self, entry, dy, &mut |_| {}, true)?;
            if !is_finite(&dy) {
                return Some(i);
            }
        }
        None
    }
}

fn is_finite(x: &Tensor<4>) -> bool {
    x.to_data().iter::<f64>().all(f64::is_finite)
}
