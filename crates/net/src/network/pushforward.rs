//! The third rule: dy = ∂f/∂θ dθ + ∂f/∂x dx.

use burn::tensor::Tensor;

use super::operation::Operation;
use super::views::{global_average_pool, plus_rows, reshape, times_rows};
use super::{Entry, Network, Tape};

impl Network {
    /// dy = ∂f/∂x dx + ∂f/∂θ dθ.
    ///
    /// # Shapes
    /// - `dx`: `[rows · batch, ..]`; `dθ`, one tangent for all rows: one matrix a parameter
    #[must_use]
    pub fn pushforward(&self, tape: &Tape, dx: Tensor<4>, d_parameters: Option<&[Tensor<2>]>) -> Tensor<4> {
        self.pushforward_through(&self.plan.operations, &tape.0, dx, d_parameters)
    }

    fn pushforward_through(
        &self,
        operations: &[Operation],
        entries: &[Entry],
        mut dx: Tensor<4>,
        d_parameters: Option<&[Tensor<2>]>,
    ) -> Tensor<4> {
        for (operation, entry) in operations.iter().zip(entries) {
            dx = self.pushforward_one(operation, entry, dx, d_parameters);
        }
        dx
    }

    pub(super) fn pushforward_one(
        &self,
        operation: &Operation,
        entry: &Entry,
        dx: Tensor<4>,
        d_parameters: Option<&[Tensor<2>]>,
    ) -> Tensor<4> {
        let dims = dx.dims();
        match (operation, entry) {
            (Operation::Linear { map, parameter, scale, bias_scale }, Entry::Input(x)) => {
                let mut dy = scale.apply(map.apply(dx, self.parameter(*parameter)));
                if let Some(d) = d_parameters {
                    let by_weights = scale.apply(map.apply(x.clone(), d[*parameter].clone()));
                    let by_biases = d[parameter + 1].clone().mul_scalar(*bias_scale).unsqueeze();
                    dy = plus_rows(dy, by_weights + by_biases);
                }
                dy
            }
            (Operation::Pointwise(pointwise), Entry::Input(x)) => times_rows(dx, pointwise.derivative(x.clone())),
            (Operation::BatchNorm { affine, .. }, Entry::BatchNorm(normalized, _))
            | (Operation::LayerNorm { affine, .. }, Entry::LayerNorm(normalized)) => {
                let [outer, inner] = normalized.x_hat.dims();
                let rows = dims.iter().product::<usize>() / (outer * inner);
                let mut d = normalized.derivative(dx.reshape([rows, outer, inner]));
                if let Some(i) = affine {
                    d = d * self.parameter(*i).unsqueeze::<3>();
                    if let Some(tangents) = d_parameters {
                        let by_parameters = normalized.x_hat.clone() * tangents[*i].clone() + tangents[i + 1].clone();
                        d = d + by_parameters.unsqueeze::<3>();
                    }
                }
                d.reshape(dims)
            }
            (Operation::Reshape { from, to }, Entry::Nothing) => reshape(dx, *from, *to),
            (Operation::GlobalAveragePool { from }, Entry::Nothing) => global_average_pool(dx, *from),
            (Operation::Pad(padding), Entry::Nothing) => padding.apply(dx),
            (Operation::Residual { branch, shortcut, scale }, Entry::Residual(through, around)) => {
                let left = self.pushforward_through(branch, through, dx.clone(), d_parameters);
                let right = self.pushforward_through(shortcut, around, dx, d_parameters);
                (left + right).mul_scalar(*scale)
            }
            _ => unreachable!("a tape belongs to the network that wrote it"),
        }
    }
}
