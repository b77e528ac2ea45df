//! The layers on a device, one file for each, with its rules.

mod batch_norm;
mod layer_norm;
mod linear;
mod pointwise;
mod positions;
mod reshape;
mod residual;
pub(crate) mod rows;

use burn::tensor::Tensor;
use fintan_config::{Node, Parametrization, Transform};

use crate::network::{Mode, PlacedNetwork, Placement};
use crate::parameter_use::{Linear, ParameterUse};
pub(crate) use batch_norm::{BatchNorm, Saved as BatchNormSaved};
pub(crate) use layer_norm::LayerNorm;
pub(crate) use linear::{LinearLayer, weight_shape};
pub(crate) use pointwise::Pointwise;
pub(crate) use positions::Positions;
pub(crate) use reshape::Reshape;
pub(crate) use residual::Residual;

/// A cotangent δ of a layer's output or input, and its derivative δ̇ along tangents of the network's input and parameters.
#[derive(Debug, Clone)]
pub(crate) struct CotangentPair {
    /// δ, `[batch, ..]`
    pub(crate) value: Tensor<4>,
    /// δ̇, `[batch, ..]`; `None` stands for zeros.
    pub(crate) tangent: Option<Tensor<4>>,
}

impl CotangentPair {
    /// The pair after a linear map of both.
    pub(crate) fn map(self, map: impl Fn(Tensor<4>) -> Tensor<4>) -> Self {
        Self { value: map(self.value), tangent: self.tangent.map(map) }
    }

    /// The pair with a further term of δ̇.
    pub(crate) fn plus(mut self, term: Option<Tensor<4>>) -> Self {
        self.tangent = match (self.tangent, term) {
            (Some(a), Some(b)) => Some(a + b),
            (one, other) => one.or(other),
        };
        self
    }
}

/// The rules of a layer.
pub(crate) trait Rules {
    /// Data that the forward pass stores for the other rules.
    type Saved;

    /// Data that the pushforward of a tangent stores for [`Rules::pullback_tangent`].
    type Tangent;

    /// y = f(θ, x).
    fn forward(&self, network: &PlacedNetwork, x: Tensor<4>, mode: Mode) -> (Tensor<4>, Self::Saved);

    /// dx = (∂f/∂x)ᵀ dy. It may be `None` if `input_wanted` is false and computing dx is costly. `visit` receives the
    /// parameters of the layer with their inputs and cotangents.
    ///
    /// # Shapes
    /// - `dy`: `[rows · batch, ..]`; returns rows of the input's shape
    fn pullback(
        &self,
        network: &PlacedNetwork,
        saved: &Self::Saved,
        dy: Tensor<4>,
        visit: &mut dyn FnMut(ParameterUse),
        input_wanted: bool,
    ) -> Option<Tensor<4>>;

    /// dy = ∂f/∂x dx + ∂f/∂θ dθ.
    ///
    /// # Shapes
    /// - `dx`: `[rows · batch, ..]`; `tangents`: dθ of the whole network, one tangent for all rows
    fn pushforward(
        &self,
        network: &PlacedNetwork,
        saved: &Self::Saved,
        dx: Tensor<4>,
        tangents: Option<&[Tensor<2>]>,
    ) -> Tensor<4>;

    /// dy = ∂f/∂x dx + ∂f/∂θ dθ, and what [`Rules::pullback_tangent`] needs of dx.
    fn pushforward_saved(
        &self,
        network: &PlacedNetwork,
        saved: &Self::Saved,
        dx: Tensor<4>,
        tangents: Option<&[Tensor<2>]>,
    ) -> (Tensor<4>, Self::Tangent);

    /// The derivative of the pullback along dx and dθ (`tangents`): from (δ, δ̇) of the output to (δ, δ̇) of the input. `add`
    /// receives the index of a parameter and a term of the derivative of its cotangent. For a layer with weights W these
    /// terms are `δ ⊗ dx + δ̇ ⊗ x`, and δ̇ of the input is `Wᵀ δ̇ + dWᵀ δ`.
    ///
    /// It may be `None` if `input_wanted` is false and the maps back are costly.
    fn pullback_tangent(
        &self,
        network: &PlacedNetwork,
        saved: (&Self::Saved, &Self::Tangent),
        dy: CotangentPair,
        tangents: Option<&[Tensor<2>]>,
        add: &mut dyn FnMut(usize, Tensor<2>),
        input_wanted: bool,
    ) -> Option<CotangentPair>;
}

/// The rules of a layer without parameters.
///
/// [`Rules`] has no default methods, so a layer with parameters has to say what it does with them.
pub(crate) trait WithoutParameters {
    /// Data that the forward pass stores for the other rules.
    type Saved;

    /// y = f(x).
    fn forward(&self, x: Tensor<4>) -> (Tensor<4>, Self::Saved);

    /// dx = (∂f/∂x)ᵀ dy.
    fn pullback(&self, saved: &Self::Saved, dy: Tensor<4>) -> Tensor<4>;

    /// dy = ∂f/∂x dx.
    fn pushforward(&self, saved: &Self::Saved, dx: Tensor<4>) -> Tensor<4>;

    /// The derivative of the pullback along dx. For a linear map it is the pullback of both cotangents.
    fn pullback_tangent(&self, saved: &Self::Saved, dx: &Tensor<4>, dy: CotangentPair) -> CotangentPair;
}

impl<L: WithoutParameters> Rules for L {
    type Saved = L::Saved;

    /// dx
    type Tangent = Tensor<4>;

    fn forward(&self, _: &PlacedNetwork, x: Tensor<4>, _: Mode) -> (Tensor<4>, Self::Saved) {
        WithoutParameters::forward(self, x)
    }

    fn pullback(
        &self,
        _: &PlacedNetwork,
        saved: &Self::Saved,
        dy: Tensor<4>,
        _: &mut dyn FnMut(ParameterUse),
        _: bool,
    ) -> Option<Tensor<4>> {
        Some(WithoutParameters::pullback(self, saved, dy))
    }

    fn pushforward(&self, _: &PlacedNetwork, saved: &Self::Saved, dx: Tensor<4>, _: Option<&[Tensor<2>]>) -> Tensor<4> {
        WithoutParameters::pushforward(self, saved, dx)
    }

    fn pushforward_saved(
        &self,
        _: &PlacedNetwork,
        saved: &Self::Saved,
        dx: Tensor<4>,
        _: Option<&[Tensor<2>]>,
    ) -> (Tensor<4>, Tensor<4>) {
        (WithoutParameters::pushforward(self, saved, dx.clone()), dx)
    }

    fn pullback_tangent(
        &self,
        _: &PlacedNetwork,
        (saved, dx): (&Self::Saved, &Tensor<4>),
        dy: CotangentPair,
        _: Option<&[Tensor<2>]>,
        _: &mut dyn FnMut(usize, Tensor<2>),
        _: bool,
    ) -> Option<CotangentPair> {
        Some(WithoutParameters::pullback_tangent(self, saved, dx, dy))
    }
}

/// Declares the operations and the tape entries: one of each for every kind of computation.
macro_rules! operations {
    ($($Operation:ident),+ $(,)?) => {
        /// A layer as the network executes it.
        #[derive(Debug)]
        pub(crate) enum Operation {
            $($Operation($Operation),)+
        }

        /// The tape entry of an operation.
        #[derive(Debug, Clone)]
        pub(crate) enum Entry {
            $($Operation(<$Operation as Rules>::Saved),)+
        }

        /// The entry of an operation for the tangent of the pullback.
        #[derive(Debug, Clone)]
        pub(crate) enum TangentEntry {
            $($Operation(<$Operation as Rules>::Tangent),)+
        }

        impl Operation {
            pub(crate) fn forward(&self, network: &PlacedNetwork, x: Tensor<4>, mode: Mode) -> (Tensor<4>, Entry) {
                match self {
                    $(Self::$Operation(layer) => {
                        let (y, saved) = Rules::forward(layer, network, x, mode);
                        (y, Entry::$Operation(saved))
                    })+
                }
            }

            /// # Panics
            /// If the entry belongs to another network.
            pub(crate) fn pullback(
                &self,
                network: &PlacedNetwork,
                entry: &Entry,
                dy: Tensor<4>,
                visit: &mut dyn FnMut(ParameterUse),
                input_wanted: bool,
            ) -> Option<Tensor<4>> {
                match (self, entry) {
                    $((Self::$Operation(layer), Entry::$Operation(saved)) => {
                        Rules::pullback(layer, network, saved, dy, visit, input_wanted)
                    })+
                    _ => unreachable!("a tape belongs to the network that wrote it"),
                }
            }

            /// # Panics
            /// If the entry belongs to another network.
            pub(crate) fn pushforward(
                &self,
                network: &PlacedNetwork,
                entry: &Entry,
                dx: Tensor<4>,
                tangents: Option<&[Tensor<2>]>,
            ) -> Tensor<4> {
                match (self, entry) {
                    $((Self::$Operation(layer), Entry::$Operation(saved)) => {
                        Rules::pushforward(layer, network, saved, dx, tangents)
                    })+
                    _ => unreachable!("a tape belongs to the network that wrote it"),
                }
            }

            /// # Panics
            /// If the entry belongs to another network.
            pub(crate) fn pushforward_saved(
                &self,
                network: &PlacedNetwork,
                entry: &Entry,
                dx: Tensor<4>,
                tangents: Option<&[Tensor<2>]>,
            ) -> (Tensor<4>, TangentEntry) {
                match (self, entry) {
                    $((Self::$Operation(layer), Entry::$Operation(saved)) => {
                        let (dy, tangent) = Rules::pushforward_saved(layer, network, saved, dx, tangents);
                        (dy, TangentEntry::$Operation(tangent))
                    })+
                    _ => unreachable!("a tape belongs to the network that wrote it"),
                }
            }

            /// # Panics
            /// If an entry belongs to another network.
            pub(crate) fn pullback_tangent(
                &self,
                network: &PlacedNetwork,
                (entry, tangent): (&Entry, &TangentEntry),
                dy: CotangentPair,
                tangents: Option<&[Tensor<2>]>,
                add: &mut dyn FnMut(usize, Tensor<2>),
                input_wanted: bool,
            ) -> Option<CotangentPair> {
                match (self, entry, tangent) {
                    $((Self::$Operation(layer), Entry::$Operation(saved), TangentEntry::$Operation(tangent)) => {
                        Rules::pullback_tangent(layer, network, (saved, tangent), dy, tangents, add, input_wanted)
                    })+
                    _ => unreachable!("a tape belongs to the network that wrote it"),
                }
            }
        }
    };
}

operations!(LinearLayer, Pointwise, BatchNorm, LayerNorm, Reshape, Positions, Residual);

/// Compiles layers to operations; `norms` counts the batch norms so far.
pub(crate) fn compile(
    nodes: &[Node],
    parametrization: Parametrization,
    to: &Placement,
    norms: &mut usize,
) -> Vec<Operation> {
    let operation = |node: &Node| {
        let affine = node.index.map(|i| 2 * i);
        let linear = |map: Linear| Operation::LinearLayer(LinearLayer::new(map, node, parametrization, to));
        match node.transform() {
            Transform::Dense => linear(Linear::Dense(to.lowering)),
            Transform::Conv(c) => linear(Linear::conv(&c, node, to.lowering)),
            Transform::Deconv(c) => linear(Linear::deconv(&c, node, to.lowering)),
            Transform::Pointwise(activation) => Operation::Pointwise(Pointwise::new(&activation, to.lowering)),
            Transform::BatchNorm(norm) => {
                *norms += 1;
                Operation::BatchNorm(BatchNorm { affine, eps: norm.eps, running: *norms - 1 })
            }
            Transform::LayerNorm(norm) => Operation::LayerNorm(LayerNorm { affine, eps: norm.eps, over: norm.over }),
            Transform::Reshape => Operation::Reshape(Reshape { from: node.input, to: node.output }),
            Transform::Positions(map) => Operation::Positions(Positions::new(&map, to)),
            Transform::Residual { scale } => Operation::Residual(Residual {
                branch: compile(&node.branch, parametrization, to, norms),
                shortcut: compile(&node.shortcut, parametrization, to, norms),
                scale,
            }),
        }
    };
    nodes.iter().map(operation).collect()
}
