//! The second rule: (dθ, dx) = (∂f/∂θ)ᵀ dy, (∂f/∂x)ᵀ dy.

use burn::tensor::Tensor;

use super::operation::Operation;
use super::views::{reshape, times_rows};
use super::{Cotangents, Entry, Network, Tape};
use crate::site::{Kind, Site};

impl Network {
    /// dx = (∂f/∂x)ᵀ dy.
    ///
    /// # Shapes
    /// - `dy`: `[rows · batch, ..]` for the batch of the tape; returns the same with the input's shape
    ///
    /// # Panics
    /// If the tape is another network's.
    #[must_use]
    pub fn pullback(&self, tape: &Tape, dy: Tensor<4>) -> Tensor<4> {
        self.pullback_through(&self.plan.operations, &tape.0, dy, &mut |_| {}, true).expect("dx was asked for")
    }

    /// Carries `dy` back to the first layer with parameters and shows `visit` each of those layers, the last one first.
    ///
    /// # Shapes
    /// - `dy`: `[rows · batch, ..]` for the batch of the tape
    ///
    /// # Panics
    /// If the tape is another network's.
    pub fn visit(&self, tape: &Tape, dy: Tensor<4>, visit: &mut dyn FnMut(Site)) {
        self.pullback_through(&self.plan.operations, &tape.0, dy, visit, false);
    }

    /// dθ = (∂f/∂θ)ᵀ dy, summed over the batch, for one row of cotangents: the gradient of a loss with ∂loss/∂y = dy.
    ///
    /// # Shapes
    /// - `dy`: `[batch, ..]`; returns one matrix a parameter
    ///
    /// # Panics
    /// If the tape is another network's.
    #[must_use]
    pub fn pullback_parameters(&self, tape: &Tape, dy: Tensor<4>) -> Cotangents {
        let mut cotangents = vec![None; self.parameters.len()];
        self.visit(tape, dy, &mut |site| {
            let i = site.parameter();
            let [weights, biases] = site.gradients();
            cotangents[i] = Some(weights);
            cotangents[i + 1] = Some(biases);
        });
        cotangents.into_iter().map(|c| c.expect("every parameter has a cotangent")).collect()
    }

    /// Returns dx if it is wanted.
    pub(super) fn pullback_through(
        &self,
        operations: &[Operation],
        entries: &[Entry],
        dy: Tensor<4>,
        visit: &mut dyn FnMut(Site),
        input_wanted: bool,
    ) -> Option<Tensor<4>> {
        let mut dy = Some(dy);
        for (i, (operation, entry)) in operations.iter().zip(entries).enumerate().rev() {
            let wanted = input_wanted || i > 0;
            dy = self.pullback_one(operation, entry, dy?, visit, wanted);
        }
        dy
    }

    pub(super) fn pullback_one(
        &self,
        operation: &Operation,
        entry: &Entry,
        dy: Tensor<4>,
        visit: &mut dyn FnMut(Site),
        input_wanted: bool,
    ) -> Option<Tensor<4>> {
        let dims = dy.dims();
        match (operation, entry) {
            (Operation::Linear { map, parameter, scale, bias_scale }, Entry::Input(x)) => {
                let scaled = scale.apply(dy.clone());
                let (number, bias_scale) = (scale.number(), *bias_scale);
                let kind = Kind::Linear { map: *map, x, dy, scaled: scaled.clone(), scale: number, bias_scale };
                visit(Site { parameter: *parameter, kind });
                input_wanted.then(|| map.inputs(scaled, self.parameter(*parameter)))
            }
            (Operation::Pointwise(pointwise), Entry::Input(x)) => Some(times_rows(dy, pointwise.derivative(x.clone()))),
            (Operation::BatchNorm { affine, .. }, Entry::BatchNorm(normalized, _))
            | (Operation::LayerNorm { affine, .. }, Entry::LayerNorm(normalized)) => {
                let [outer, inner] = normalized.x_hat.dims();
                let rows = dims.iter().product::<usize>() / (outer * inner);
                let mut d = dy.reshape([rows, outer, inner]);
                if let Some(i) = affine {
                    let kind = Kind::Affine { x_hat: &normalized.x_hat, dy: d.clone(), batch: dims[0] / rows };
                    visit(Site { parameter: *i, kind });
                    d = d * self.parameter(*i).unsqueeze::<3>();
                }
                Some(normalized.derivative(d).reshape(dims))
            }
            (Operation::Reshape { from, to }, Entry::Nothing) => Some(reshape(dy, *to, *from)),
            (Operation::GlobalAveragePool { from }, Entry::Nothing) => {
                let spread = dy.div_scalar(from.positions() as f64);
                Some(spread.expand([dims[0], from.height, from.width, from.channels]))
            }
            (Operation::Pad(padding), Entry::Nothing) => Some(padding.adjoint(dy)),
            (Operation::Residual { branch, shortcut, scale }, Entry::Residual(through, around)) => {
                let dy = dy.mul_scalar(*scale);
                // An empty shortcut passes dy on; both ways are always walked, for the parameters in them.
                let left = self.pullback_through(branch, through, dy.clone(), visit, input_wanted);
                let right = self.pullback_through(shortcut, around, dy, visit, input_wanted);
                left.zip(right).map(|(a, b)| a + b)
            }
            _ => unreachable!("a tape belongs to the network that wrote it"),
        }
    }
}
