//! Layers with weights and biases: `y = scale · (W ∗ x) + bias_scale · b`.

use burn::tensor::{Tensor, TensorData};
use fintan_config::{Node, Parametrization, Transform, WeightScale};

use super::rows::plus_rows;
use super::{CotangentPair, Rules};
use crate::correlation::Lowering;
use crate::host;
use crate::network::{Mode, PlacedNetwork, Placement};
use crate::parameter_use::{Kind, Linear, ParameterUse, Scaled};

/// A dense layer, a convolution or a transposed convolution.
#[derive(Debug)]
pub(crate) struct LinearLayer {
    /// W ∗ x.
    pub(crate) map: Linear,
    /// Index of the weights among the parameters; the biases follow.
    pub(crate) parameter: usize,
    pub(crate) scale: Scale,
    pub(crate) bias_scale: f64,
}

/// The factor of `W ∗ x` from the parametrization.
#[derive(Debug, Clone)]
pub(crate) enum Scale {
    One,
    Number(f64),
    /// `[1, rows, columns, 1]`
    Map(Tensor<4>),
}

impl LinearLayer {
    pub(super) fn new(map: Linear, node: &Node, parametrization: Parametrization, to: &Placement) -> Self {
        let parameter = 2 * node.index.expect("a linear layer has parameters");
        let scale = match node.weight_scale(parametrization) {
            WeightScale::Number(1.0) => Scale::One,
            WeightScale::Number(factor) => Scale::Number(factor),
            WeightScale::Map(values) => {
                let data = TensorData::new(values, [1, node.output.height, node.output.width, 1]);
                Scale::Map(Tensor::from_data(data.convert_dtype(to.dtype), (&to.device, to.dtype)))
            }
        };
        Self { map, parameter, scale, bias_scale: parametrization.bias_scale() }
    }
}

impl Scale {
    fn apply(&self, y: Tensor<4>, lowering: Lowering) -> Tensor<4> {
        match self {
            Self::One => y,
            Self::Number(a) => y.mul_scalar(*a),
            Self::Map(map) if host::serves(&y, lowering) => host::scaled(y, map, None),
            Self::Map(map) => y * map.clone(),
        }
    }

    /// The factor, if it is the same at all positions.
    fn number(&self) -> Option<f64> {
        match self {
            Self::One => Some(1.0),
            Self::Number(a) => Some(*a),
            Self::Map(_) => None,
        }
    }

    /// The factor at each position.
    pub(crate) fn factors(&self, positions: usize) -> Vec<f64> {
        match self {
            Self::One => vec![1.0; positions],
            Self::Number(a) => vec![*a; positions],
            Self::Map(map) => map.to_data().iter::<f64>().collect(),
        }
    }
}

impl Rules for LinearLayer {
    /// The layer's input.
    type Saved = Tensor<4>;

    /// dx
    type Tangent = Tensor<4>;

    fn forward(&self, network: &PlacedNetwork, x: Tensor<4>, _: Mode) -> (Tensor<4>, Tensor<4>) {
        let weights = network.parameter(self.parameter);
        let bias = network.parameter(self.parameter + 1).mul_scalar(self.bias_scale);
        if host::serves(&x, self.map.lowering()) {
            let y = match &self.scale {
                Scale::One => self.map.on_host(&x, &weights, 1.0, Some(&bias)),
                Scale::Number(factor) => self.map.on_host(&x, &weights, *factor, Some(&bias)),
                Scale::Map(map) => host::scaled(self.map.on_host(&x, &weights, 1.0, None), map, Some(&bias)),
            };
            return (y, x);
        }
        let y = self.scale.apply(self.map.apply(x.clone(), weights), self.map.lowering());
        (plus_rows(y, bias.unsqueeze()), x)
    }

    fn pullback(
        &self,
        network: &PlacedNetwork,
        x: &Tensor<4>,
        dy: Tensor<4>,
        visit: &mut dyn FnMut(ParameterUse),
        input_wanted: bool,
    ) -> Option<Tensor<4>> {
        let Self { map, parameter, ref scale, bias_scale } = *self;
        let weights = network.parameter(parameter);
        if let Some(factor) = scale.number() {
            let kind = Kind::Linear { map, x, dy: dy.clone(), scale: Scaled::By(factor), bias_scale };
            visit(ParameterUse { parameter, kind });
            return input_wanted.then(|| map.inputs_times(dy, weights, factor));
        }
        let scaled = scale.apply(dy.clone(), map.lowering());
        let kind = Kind::Linear { map, x, dy, scale: Scaled::Is(scaled.clone()), bias_scale };
        visit(ParameterUse { parameter, kind });
        input_wanted.then(|| map.inputs(scaled, weights))
    }

    fn pushforward(
        &self,
        network: &PlacedNetwork,
        x: &Tensor<4>,
        dx: Tensor<4>,
        tangents: Option<&[Tensor<2>]>,
    ) -> Tensor<4> {
        let mut dy = self.scale.apply(self.map.apply(dx, network.parameter(self.parameter)), self.map.lowering());
        if let Some(d) = tangents {
            let by_weights =
                self.scale.apply(self.map.apply(x.clone(), d[self.parameter].clone()), self.map.lowering());
            let by_biases = d[self.parameter + 1].clone().mul_scalar(self.bias_scale).unsqueeze();
            dy = plus_rows(dy, by_weights + by_biases);
        }
        dy
    }

    fn pushforward_saved(
        &self,
        network: &PlacedNetwork,
        x: &Tensor<4>,
        dx: Tensor<4>,
        tangents: Option<&[Tensor<2>]>,
    ) -> (Tensor<4>, Tensor<4>) {
        (self.pushforward(network, x, dx.clone(), tangents), dx)
    }

    fn pullback_tangent(
        &self,
        network: &PlacedNetwork,
        (x, dx): (&Tensor<4>, &Tensor<4>),
        CotangentPair { value, tangent }: CotangentPair,
        tangents: Option<&[Tensor<2>]>,
        add: &mut dyn FnMut(usize, Tensor<2>),
        input_wanted: bool,
    ) -> Option<CotangentPair> {
        let Self { map, parameter, ref scale, bias_scale } = *self;
        let value = scale.apply(value, map.lowering());
        add(parameter, map.weights(dx.clone(), value.clone()));
        let tangent = tangent.map(|tangent| {
            let [n, h, w, c] = tangent.dims();
            add(parameter + 1, tangent.clone().reshape([n * h * w, c]).sum_dim(0).mul_scalar(bias_scale));
            let scaled = scale.apply(tangent, map.lowering());
            add(parameter, map.weights(x.clone(), scaled.clone()));
            scaled
        });
        input_wanted.then(|| {
            let by_weights = tangents.map(|d| map.inputs(value.clone(), d[parameter].clone()));
            CotangentPair { value, tangent }.map(|d| map.inputs(d, network.parameter(parameter))).plus(by_weights)
        })
    }
}

/// Rows and columns of a layer's weight matrix.
pub(crate) fn weight_shape(node: &Node) -> [usize; 2] {
    match node.transform() {
        Transform::Dense => [node.input.channels, node.bias_count()],
        Transform::Conv(c) => [c.kernel.0[0] * c.kernel.0[1] * node.input.channels, c.out],
        Transform::Deconv(c) => [c.kernel.0[0] * c.kernel.0[1] * c.out, node.input.channels],
        // Scales of a norm, or no weights.
        Transform::Pointwise(_)
        | Transform::BatchNorm(_)
        | Transform::LayerNorm(_)
        | Transform::Reshape
        | Transform::Positions(_)
        | Transform::Residual { .. } => [1, node.weight_count()],
    }
}
