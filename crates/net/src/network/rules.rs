//! The rules of a whole network.

use burn::tensor::Tensor;

use super::{Cotangents, Mode, PlacedNetwork, TangentTape, Tape};
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
        let (_, tangents) = self.pushforward_taped(tape, v, None);
        self.pullback_parameters_tangent(tape, &tangents, dy, None)
    }

    /// dy = ∂f/∂x dx + ∂f/∂θ dθ, with a tape for [`pullback_parameters_tangent`](Self::pullback_parameters_tangent).
    ///
    /// # Shapes
    /// - `dx`: `[batch, ..]` of the input; `d_parameters`: dθ, one matrix for each parameter, or `None` for zeros; returns a
    ///   batch of the output's shape
    ///
    /// # Panics
    /// If the tape belongs to another network.
    #[must_use]
    pub fn pushforward_taped(
        &self,
        tape: &Tape,
        dx: Tensor<4>,
        d_parameters: Option<&[Tensor<2>]>,
    ) -> (Tensor<4>, TangentTape) {
        let (dy, entries) = self.pushforward_saved_through(&self.plan.operations, &tape.0, dx, d_parameters);
        (dy, TangentTape { entries, d_parameters: d_parameters.map(<[_]>::to_vec) })
    }

    /// The derivative of `(∂f/∂θ)ᵀ dy` along the tangents (dx, dθ) of `tangents`, where `dy` itself has the derivative
    /// `dy_tangent`. `None` stands for zeros.
    ///
    /// With dy = ∂C/∂y and dy_tangent = ∂²C/∂y² ẏ, where ẏ = ∂f/∂θ dθ is the output of
    /// [`pushforward_taped`](Self::pushforward_taped), this is the product of dθ with the Hessian of a loss C. With dy_tangent =
    /// `None` it is the product with the second derivatives of the network alone, `Σ_k dy_k ∂²y_k/∂θ² dθ`.
    ///
    /// With δ and δ̇ the cotangent of a layer's output and its derivative, x and ẋ the layer's input and its tangent:
    ///
    /// | layer | derivatives of cotangents of parameters | δ̇ of the input |
    /// | --- | --- | --- |
    /// | weights W | `δ ⊗ ẋ + δ̇ ⊗ x` | `Wᵀ δ̇ + dWᵀ δ` |
    /// | biases | `δ̇` | |
    /// | pointwise σ | | `σ''(x) ẋ δ + σ'(x) δ̇` |
    ///
    /// Norms have their own, with the statistics of a batch too. After the pushforward it costs about two pullbacks of inputs,
    /// three with dθ, and two products for weights. No graph is kept.
    ///
    /// # Shapes
    /// - `dy`, `dy_tangent`: `[batch, ..]` of the output; returns one matrix for each parameter
    ///
    /// # Panics
    /// If a tape belongs to another network.
    ///
    /// ```
    /// # use burn::tensor::{DType, Device, Tensor, TensorData};
    /// # use fintan_config::{Architecture, Layer, Parametrization, Shape};
    /// # use fintan_net::{Lowering, Mode, PlacedNetwork, Placement};
    /// # let layers = [Layer::Dense(1.into()), Layer::Dense(1.into())];
    /// # let architecture = Architecture::new(Shape::vector(1), &layers, Parametrization::default())?;
    /// # let cpu = Placement { device: Device::flex(), dtype: DType::F64, lowering: Lowering::Host };
    /// # let mut ones = |[rows, columns]: [usize; 2], _: f64| TensorData::new(vec![1.0; rows * columns], [rows, columns]);
    /// # let network = PlacedNetwork::drawn(&architecture, &cpu, &mut ones);
    /// # let x = Tensor::<4>::from_data([[[[2.0]]]], (&cpu.device, cpu.dtype));
    /// // `network` is y = v (w x + b) + c, all parameters are 1, and x is 2.
    /// let (y, tape) = network.forward(x.clone(), Mode::Eval);
    /// let mut d_parameters: Vec<Tensor<2>> = network.parameters().iter().map(Tensor::zeros_like).collect();
    /// d_parameters[0] = d_parameters[0].ones_like(); // along w
    /// let (dy, tangents) = network.pushforward_taped(&tape, x.zeros_like(), Some(&d_parameters));
    /// assert_eq!(dy.into_scalar::<f64>(), 2.0); // ∂y/∂w = v x
    /// let found = network.pullback_parameters_tangent(&tape, &tangents, y.ones_like(), None);
    /// let found: Vec<f64> = found.into_iter().map(|column| column.into_scalar()).collect();
    /// assert_eq!(found, [0.0, 0.0, 2.0, 0.0]); // ∂²y/∂w∂v = x, and no other
    /// # Ok::<(), fintan_config::ArchitectureError>(())
    /// ```
    #[must_use]
    pub fn pullback_parameters_tangent(
        &self,
        tape: &Tape,
        tangents: &TangentTape,
        dy: Tensor<4>,
        dy_tangent: Option<Tensor<4>>,
    ) -> Cotangents {
        let TangentTape { entries, d_parameters } = tangents;
        let mut cotangents: Vec<Option<Tensor<2>>> = vec![None; self.parameters.len()];
        let mut add = |i: usize, gradient: Tensor<2>| {
            cotangents[i] = Some(match cotangents[i].take() {
                Some(sum) => sum + gradient,
                None => gradient,
            });
        };
        let dy = CotangentPair { value: dy, tangent: dy_tangent };
        let saved = (&self.plan.operations[..], &tape.0[..], &entries[..]);
        self.pullback_tangent_through(saved, dy, d_parameters.as_deref(), &mut add, false);
        // Some parameters, such as the last biases, have no second derivatives.
        let each = cotangents.into_iter().zip(&self.parameters);
        each.map(|(cotangent, parameter)| cotangent.unwrap_or_else(|| parameter.val().zeros_like())).collect()
    }

    pub(crate) fn pushforward_saved_through(
        &self,
        operations: &[Operation],
        entries: &[Entry],
        mut dx: Tensor<4>,
        d_parameters: Option<&[Tensor<2>]>,
    ) -> (Tensor<4>, Vec<TangentEntry>) {
        let mut tangents = Vec::with_capacity(operations.len());
        for (operation, entry) in operations.iter().zip(entries) {
            let (dy, tangent) = operation.pushforward_saved(self, entry, dx, d_parameters);
            tangents.push(tangent);
            dx = dy;
        }
        (dx, tangents)
    }

    pub(crate) fn pullback_tangent_through(
        &self,
        (operations, entries, tangents): (&[Operation], &[Entry], &[TangentEntry]),
        dy: CotangentPair,
        d_parameters: Option<&[Tensor<2>]>,
        add: &mut dyn FnMut(usize, Tensor<2>),
        input_wanted: bool,
    ) -> Option<CotangentPair> {
        let mut dy = Some(dy);
        let saved = entries.iter().zip(tangents);
        for (i, (operation, saved)) in operations.iter().zip(saved).enumerate().rev() {
            dy = operation.pullback_tangent(self, saved, dy?, d_parameters, add, input_wanted || i > 0);
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
