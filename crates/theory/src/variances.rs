//! Variances of weights and biases.

use fintan_config::{Node, Parametrization, Standard};

/// Variances of one linear layer: if x has second moment 1, the output has variance `weights + biases`.
pub(crate) struct Variances {
    /// Variance of the weights times the fan-in.
    pub(crate) weights: f64,
    pub(crate) biases: f64,
    /// Whether parameters are from N(0, 1) and scaled in the forward pass.
    pub(crate) scaled: bool,
}

impl Variances {
    pub(crate) fn of(node: &Node, parametrization: Parametrization) -> Self {
        match parametrization {
            Parametrization::Standard(Standard { init, bias_std }) => {
                let fan_in = node.fan_in().unwrap_or(1.0);
                let std = node.init(init).std(fan_in);
                let weights = node.init(init).variance().unwrap_or(std * std * fan_in);
                Self { weights, biases: bias_std * bias_std, scaled: false }
            }
            Parametrization::Ntk(b) | Parametrization::Graph(b) => {
                let share = b.beta * b.beta;
                Self { weights: 1.0 - share, biases: share, scaled: true }
            }
        }
    }
}
