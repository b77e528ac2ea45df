//! The first rule: y = f(θ, x).

use burn::tensor::Tensor;

use super::operation::Operation;
use super::running::Running;
use super::views::{global_average_pool, layer_norm_view, plus_rows, reshape};
use super::{Entry, Mode, Network, Tape};
use crate::norm::{normalize, normalize_by};

impl Network {
    /// y = f(θ, x), with a tape for [`pullback`](Self::pullback) and [`pushforward`](Self::pushforward).
    ///
    /// # Shapes
    /// - `x`: `[batch, rows, columns, channels]`; returns the same with the output's shape
    #[must_use]
    pub fn forward(&self, x: Tensor<4>, mode: Mode) -> (Tensor<4>, Tape) {
        let (y, entries) = self.forward_through(&self.plan.operations, x, mode);
        (y, Tape(entries))
    }

    fn forward_through(&self, operations: &[Operation], mut x: Tensor<4>, mode: Mode) -> (Tensor<4>, Vec<Entry>) {
        let mut entries = Vec::with_capacity(operations.len());
        for operation in operations {
            let (y, entry) = self.forward_one(operation, x, mode);
            entries.push(entry);
            x = y;
        }
        (x, entries)
    }

    pub(super) fn forward_one(&self, operation: &Operation, x: Tensor<4>, mode: Mode) -> (Tensor<4>, Entry) {
        let dims = x.dims();
        match operation {
            Operation::Linear { map, parameter, scale, bias_scale } => {
                let y = scale.apply(map.apply(x.clone(), self.parameter(*parameter)));
                let bias = self.parameter(parameter + 1).mul_scalar(*bias_scale).unsqueeze();
                (plus_rows(y, bias), Entry::Input(x))
            }
            Operation::Pointwise(pointwise) => (pointwise.value(x.clone()), Entry::Input(x)),
            Operation::BatchNorm { affine, eps, running } => {
                let rows = x.reshape([dims[0] * dims[1] * dims[2], dims[3]]);
                let (normalized, statistics) = match mode {
                    Mode::Train => {
                        let (normalized, statistics) = normalize(rows, 0, *eps, self.plan.lowering);
                        (normalized, Some(statistics))
                    }
                    Mode::Eval => {
                        let Running { mean, variance, .. } = self.running[*running].clone();
                        (normalize_by(rows, mean, variance, *eps, self.plan.lowering), None)
                    }
                };
                let y = self.affine(normalized.x_hat.clone(), *affine);
                (y.reshape(dims), Entry::BatchNorm(normalized, statistics))
            }
            Operation::LayerNorm { affine, eps, over } => {
                let (normalized, _) = normalize(x.reshape(layer_norm_view(dims, *over)), 1, *eps, self.plan.lowering);
                let y = self.affine(normalized.x_hat.clone(), *affine);
                (y.reshape(dims), Entry::LayerNorm(normalized))
            }
            Operation::Reshape { from, to } => (reshape(x, *from, *to), Entry::Nothing),
            Operation::GlobalAveragePool { from } => (global_average_pool(x, *from), Entry::Nothing),
            Operation::Pad(padding) => (padding.apply(x), Entry::Nothing),
            Operation::Residual { branch, shortcut, scale } => {
                let (through, branch) = self.forward_through(branch, x.clone(), mode);
                let (around, shortcut) = self.forward_through(shortcut, x, mode);
                ((through + around).mul_scalar(*scale), Entry::Residual(branch, shortcut))
            }
        }
    }

    /// Scale and shift of a norm.
    fn affine(&self, x_hat: Tensor<2>, parameter: Option<usize>) -> Tensor<2> {
        match parameter {
            Some(i) => x_hat * self.parameter(i) + self.parameter(i + 1),
            None => x_hat,
        }
    }
}
