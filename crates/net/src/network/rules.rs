//! The rules of a whole network.

use burn::tensor::Tensor;

use super::{Cotangents, Mode, PlacedNetwork, Tape};
use crate::layers::{CotangentPair, Entry, Operation, TangentEntry};
use crate::parameter_use::ParameterUse;

impl PlacedNetwork {
    /// y = f(θ, x), with a tape for [`pullback`](Self::pullback) and [`pushforward`](Self::pushforward).
    ///
    /// # Shapes
    /// - `x`: `[batch, rows, columns, channels]`; returns a batch of the output's shape
    #[must_use]
    pub fn forward(&self, x: Tensor<4>, mode: Mode) -> (Tensor<4>, Tape) {
        let (y, entries) = self.forward_through(&self.plan.operations, x, mode);
        (y, Tape(entries))
    }

    /// dx = (∂f/∂x)ᵀ dy.
    ///
    /// # Shapes
    /// - `dy`: `[rows · batch, ..]` for the batch of the tape; returns rows of the input's shape
    ///
    /// # Panics
    /// If the tape belongs to another network.
    #[must_use]
    pub fn pullback(&self, tape: &Tape, dy: Tensor<4>) -> Tensor<4> {
        self.pullback_through(&self.plan.operations, &tape.0, dy, &mut |_| {}, true).expect("dx was asked for")
    }

    /// Pulls `dy` back to the first layer with parameters, and calls `visit` for each layer with parameters, the last layer
    /// first.
    ///
    /// # Shapes
    /// - `dy`: `[rows · batch, ..]` for the batch of the tape
    ///
    /// # Panics
    /// If the tape belongs to another network.
    pub fn visit(&self, tape: &Tape, dy: Tensor<4>, visit: &mut dyn FnMut(ParameterUse)) {
        self.pullback_through(&self.plan.operations, &tape.0, dy, visit, false);
    }

    /// dθ = (∂f/∂θ)ᵀ dy, summed over the batch, for one row of cotangents: the gradient of a loss with ∂loss/∂y = dy.
    ///
    /// # Shapes
    /// - `dy`: `[batch, ..]`; returns one matrix for each parameter
    ///
    /// # Panics
    /// If the tape belongs to another network.
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

    /// dy = ∂f/∂x dx + ∂f/∂θ dθ.
    ///
    /// # Shapes
    /// - `dx`: `[rows · batch, ..]`; `dθ`: one matrix for each parameter, the same tangent for all rows
    #[must_use]
    pub fn pushforward(&self, tape: &Tape, dx: Tensor<4>, d_parameters: Option<&[Tensor<2>]>) -> Tensor<4> {
        self.pushforward_through(&self.plan.operations, &tape.0, dx, d_parameters)
    }

    /// ∂/∂θ ⟨v, (∂f/∂x)ᵀ dy⟩ for fixed v and dy: the derivative in the parameters of a slope of the network.
    ///
    /// The tangent v of the input is pushed forward, and dy is pulled back together with its derivative along v (the tangent of
    /// the pullback). A layer with weights contributes `δ ⊗ dx + δ̇ ⊗ x`, with x and dx its input and tangent, δ and δ̇ the
    /// cotangent of its output and the derivative of it. It costs about two passes forward or back and one or two products for
    /// the weights, and no graph is kept.
    ///
    /// # Shapes
    /// - `dy`: `[batch, ..]` of the output; `v`: `[batch, ..]` of the input; returns one matrix for each parameter
    ///
    /// # Panics
    /// If the tape belongs to another network.
    #[must_use]
    pub fn slope_cotangents(&self, tape: &Tape, dy: Tensor<4>, v: Tensor<4>) -> Cotangents {
        let operations = &self.plan.operations;
        let (_, tangents) = self.pushforward_saved_through(operations, &tape.0, v);
        let mut cotangents: Vec<Option<Tensor<2>>> = vec![None; self.parameters.len()];
        let mut add = |i: usize, gradient: Tensor<2>| {
            cotangents[i] = Some(match cotangents[i].take() {
                Some(sum) => sum + gradient,
                None => gradient,
            });
        };
        let dy = CotangentPair { value: dy, tangent: None };
        self.pullback_tangent_through((operations, &tape.0, &tangents), dy, &mut add, false);
        // A slope does not depend on some parameters, such as the last biases.
        let each = cotangents.into_iter().zip(&self.parameters);
        each.map(|(cotangent, parameter)| cotangent.unwrap_or_else(|| parameter.val().zeros_like())).collect()
    }

    pub(crate) fn pushforward_saved_through(
        &self,
        operations: &[Operation],
        entries: &[Entry],
        mut dx: Tensor<4>,
    ) -> (Tensor<4>, Vec<TangentEntry>) {
        let mut tangents = Vec::with_capacity(operations.len());
        for (operation, entry) in operations.iter().zip(entries) {
            let (dy, tangent) = operation.pushforward_saved(self, entry, dx);
            tangents.push(tangent);
            dx = dy;
        }
        (dx, tangents)
    }

    pub(crate) fn pullback_tangent_through(
        &self,
        (operations, entries, tangents): (&[Operation], &[Entry], &[TangentEntry]),
        dy: CotangentPair,
        add: &mut dyn FnMut(usize, Tensor<2>),
        input_wanted: bool,
    ) -> Option<CotangentPair> {
        let mut dy = Some(dy);
        let saved = entries.iter().zip(tangents);
        for (i, (operation, saved)) in operations.iter().zip(saved).enumerate().rev() {
            dy = operation.pullback_tangent(self, saved, dy?, add, input_wanted || i > 0);
        }
        dy
    }

    pub(crate) fn forward_through(
        &self,
        operations: &[Operation],
        mut x: Tensor<4>,
        mode: Mode,
    ) -> (Tensor<4>, Vec<Entry>) {
        let mut entries = Vec::with_capacity(operations.len());
        for operation in operations {
            let (y, entry) = operation.forward(self, x, mode);
            entries.push(entry);
            x = y;
        }
        (x, entries)
    }

    /// Pulls `dy` back through `operations`; returns dx if it is wanted.
    pub(crate) fn pullback_through(
        &self,
        operations: &[Operation],
        entries: &[Entry],
        dy: Tensor<4>,
        visit: &mut dyn FnMut(ParameterUse),
        input_wanted: bool,
    ) -> Option<Tensor<4>> {
        let mut dy = Some(dy);
        for (i, (operation, entry)) in operations.iter().zip(entries).enumerate().rev() {
            dy = operation.pullback(self, entry, dy?, visit, input_wanted || i > 0);
        }
        dy
    }

    pub(crate) fn pushforward_through(
        &self,
        operations: &[Operation],
        entries: &[Entry],
        dx: Tensor<4>,
        tangents: Option<&[Tensor<2>]>,
    ) -> Tensor<4> {
        let layers = operations.iter().zip(entries);
        layers.fold(dx, |dx, (operation, entry)| operation.pushforward(self, entry, dx, tangents))
    }
}
