//! Finds the convolutions at the end of a network, and pulls cotangents back through the layers below them.

use burn::tensor::Tensor;
use fintan_config::Transform;

use super::{PlacedNetwork, Tape};
use crate::conv_tail::{ConvLayer, ConvTail, TailInput};
use crate::layers::{Entry, LinearLayer, Operation};
use crate::parameter_use::{Linear, ParameterUse};

impl PlacedNetwork {
    /// The convolutions at the end of the network, at most the last `most` of them; `None` if the network does not end with
    /// any.
    ///
    /// # Panics
    /// If the tape belongs to another network.
    #[must_use]
    pub fn conv_tail(&self, tape: &Tape, most: usize) -> Option<ConvTail> {
        let (layers, derivative, below) = self.split_conv_tail(tape, most);
        if layers.is_empty() {
            return None;
        }
        let architecture = self.architecture();
        let below = match (&self.plan.operations[..below], &tape.0[..below]) {
            ([], _) => TailInput::Nothing,
            (
                [
                    Operation::LinearLayer(LinearLayer { map: Linear::Dense(_), parameter, scale, bias_scale }),
                    rest @ ..,
                ],
                [Entry::LinearLayer(x), ..],
            ) if rest.iter().all(|operation| matches!(operation, Operation::Reshape(_))) => {
                let scale = scale.factors(1)[0];
                TailInput::Dense { parameter: *parameter, scale, bias_scale: *bias_scale, x: x.clone() }
            }
            _ => TailInput::Layers,
        };
        let layer = |(at, derivative): (usize, Option<Tensor<4>>)| {
            let node = &architecture.nodes[at];
            let (Operation::LinearLayer(LinearLayer { parameter, scale, bias_scale, .. }), Entry::LinearLayer(x)) =
                (&self.plan.operations[at], &tape.0[at])
            else {
                unreachable!("a tape belongs to the network that wrote it")
            };
            let (transposed, convolution) = if let Transform::Conv(c) = node.transform() {
                (false, c)
            } else if let Transform::Deconv(c) = node.transform() {
                (true, c)
            } else {
                unreachable!("only convolutions are linked, not {:?}", node.layer)
            };
            ConvLayer {
                parameter: *parameter,
                convolution,
                transposed,
                input: node.input,
                output: node.output,
                weights: self.parameter(*parameter),
                scale: scale.factors(node.output.positions()),
                bias_scale: *bias_scale,
                x: x.clone(),
                derivative,
            }
        };
        Some(ConvTail { layers: layers.into_iter().map(layer).collect(), derivative, below })
    }

    /// Whether the network ends with convolutions, apart from pointwise functions and reshapes. If not, [`Self::conv_tail`]
    /// returns `None` for every tape.
    #[must_use]
    pub fn has_conv_tail(&self) -> bool {
        let pointwise = |operation: &&Operation| matches!(operation, Operation::Pointwise(_) | Operation::Reshape(_));
        let last = self.plan.operations.iter().rev().find(|operation| !pointwise(operation));
        last.is_some_and(is_convolution)
    }

    /// Continues [`Self::visit`] below a [`ConvTail`] of `layers` convolutions. `dy` is the cotangent of the output of the
    /// layers below, before any pointwise function of the tail.
    ///
    /// # Panics
    /// If the tape belongs to another network.
    pub fn visit_below(&self, tape: &Tape, layers: usize, dy: Tensor<4>, visit: &mut dyn FnMut(ParameterUse)) {
        let (_, _, below) = self.split_conv_tail(tape, layers);
        self.pullback_through(&self.plan.operations[..below], &tape.0[..below], dy, visit, false);
    }

    /// Indices of the last convolutions with the derivative after each, the derivative before the first, and the number of
    /// layers below.
    #[expect(clippy::type_complexity, reason = "taken apart at once by its two callers")]
    fn split_conv_tail(&self, tape: &Tape, most: usize) -> (Vec<(usize, Option<Tensor<4>>)>, Option<Tensor<4>>, usize) {
        let (mut layers, mut derivative): (Vec<_>, Option<Tensor<4>>) = (Vec::new(), None);
        let operations = &self.plan.operations;
        let last = operations.len() - usize::from(matches!(operations.last(), Some(Operation::Reshape(_))));
        let mut below = last;
        for (at, (operation, entry)) in operations[..last].iter().zip(&tape.0).enumerate().rev() {
            match (operation, entry) {
                (Operation::Pointwise(pointwise), Entry::Pointwise(x)) => {
                    let slope = pointwise.derivative(x.clone());
                    derivative = Some(match derivative {
                        Some(after) => after * slope,
                        None => slope,
                    });
                }
                (operation, _) if is_convolution(operation) && layers.len() < most => {
                    layers.push((at, derivative.take()));
                }
                _ => break,
            }
            below = at;
        }
        layers.reverse();
        (layers, derivative, below)
    }
}

fn is_convolution(operation: &Operation) -> bool {
    matches!(operation, Operation::LinearLayer(LinearLayer { map: Linear::Conv(_) | Linear::Deconv(_), .. }))
}
