//! Order or chaos, layer by layer.

use fintan_config::{Architecture, Layer, Node, Parametrization};

use crate::dual::{Dual, Moments};
use crate::variances::Variances;

/// What becomes of small differences between inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Regime {
    /// r < 1: inputs become alike; the kernel tends to a constant.
    Order,
    /// r = 1 within half a percent.
    Edge,
    /// r > 1: inputs become unlike; the kernel tends to a Kronecker delta.
    Chaos,
}

impl Regime {
    /// The regime of a characteristic value.
    #[must_use]
    pub fn of(r: f64) -> Self {
        if (r - 1.0).abs() < 0.005 {
            Self::Edge
        } else if r < 1.0 {
            Self::Order
        } else {
            Self::Chaos
        }
    }

    /// Its name.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Edge => "edge",
            Self::Chaos => "chaos",
        }
    }
}

/// The regime of one layer that draws weights.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerRegime {
    /// Index of the layer's parameters.
    pub index: usize,
    /// Variance of its output at infinite width, away from borders, for inputs of unit variance.
    pub variance: f64,
    /// Slope of the correlation map at 1 from the previous pre-activation to this one; none for the first layer, which
    /// is linear in the input.
    pub r: Option<f64>,
    /// Whether a batch norm stands between: it recentres over the batch, which r does not see.
    pub behind_batch_norm: bool,
}

/// Characteristic values of a network at its initialisation, in the limit of infinite width.
///
/// With q the variance of a pre-activation, W of variance σ_w² / fan-in and b of variance σ_b²,
///
/// `q' = σ_w² E[σ(√q Z)²] + σ_b²`, `r = σ_w² E[σ'(√q Z)²] q / q'`
///
/// which for a standardized σ and σ_w² = 1 - β², σ_b² = β² is `r = (1 - β²) E[σ'(Z)²]`. A norm before the nonlinearity
/// sets q to 1; a norm after it replaces σ by its centred and standardized version (arXiv 1907.05715: exact for layer
/// norms). Residual blocks are passed over. Layers are returned in the order of their parameters.
#[must_use]
pub fn regimes(architecture: &Architecture) -> Vec<LayerRegime> {
    let mut found = Vec::new();
    let mut flow = Flow { variance: 1.0, activated: None, behind_batch_norm: false };
    for node in &architecture.nodes {
        flow.pass(node, architecture.parametrization, &mut found);
    }
    found
}

/// The signal on its way from one linear layer to the next.
struct Flow {
    /// q of the last pre-activation (1 for the input).
    variance: f64,
    /// What the nonlinearity made of it.
    activated: Option<Moments>,
    behind_batch_norm: bool,
}

/// What a normalization makes of them: mean 0 and second moment 1.
fn normalized(m: Moments) -> Moments {
    let variance = m.second - m.mean * m.mean;
    Moments { mean: 0.0, second: 1.0, slope: m.slope / variance }
}

impl Flow {
    fn pass(&mut self, node: &Node, parametrization: Parametrization, found: &mut Vec<LayerRegime>) {
        match &node.layer {
            Layer::Activation(activation) => self.activated = Some(Dual::new(*activation).moments(self.variance)),
            Layer::BatchNorm(_) | Layer::LayerNorm(_) => {
                self.behind_batch_norm |= matches!(node.layer, Layer::BatchNorm(_));
                match &mut self.activated {
                    None => self.variance = 1.0,
                    Some(moments) => *moments = normalized(*moments),
                }
            }
            _ => {}
        }
        let (Some(_), Some(index)) = (node.fan_in(), node.index) else { return };
        let Variances { weights, biases, .. } = Variances::of(node, parametrization);
        let linear = Moments { mean: 0.0, second: self.variance, slope: 1.0 };
        let Moments { second, slope, .. } = self.activated.take().unwrap_or(linear);
        let variance = weights * second + biases;
        let r = (!found.is_empty() && variance > 0.0).then(|| weights * slope * self.variance / variance);
        found.push(LayerRegime { index, variance, r, behind_batch_norm: self.behind_batch_norm });
        (self.variance, self.behind_batch_norm) = (variance, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fintan_config::{Activation, BatchNorm, Beta, Function, Init, LayerNorm, NormAxes, Scaling, Shape, Standard};

    fn net(activation: Activation, norm: Option<&(bool, Layer)>, parametrization: Parametrization) -> Vec<LayerRegime> {
        let mut layers = Vec::new();
        for _ in 0..3 {
            layers.push(Layer::Dense(8.into()));
            match norm {
                None => layers.push(Layer::Activation(activation)),
                Some((true, norm)) => layers.extend([norm.clone(), Layer::Activation(activation)]),
                Some((false, norm)) => layers.extend([Layer::Activation(activation), norm.clone()]),
            }
        }
        layers.push(Layer::Dense(1.into()));
        regimes(&Architecture::new(Shape::vector(8), &layers, parametrization).expect("sound"))
    }

    fn near(got: Option<f64>, want: f64) {
        assert!(got.is_some_and(|r| (r - want).abs() < 1e-12), "{got:?} and {want}");
    }

    #[test]
    fn standardized_nets_have_the_characteristic_value_of_the_paper() {
        for function in [Function::Relu, Function::Tanh, Function::Gelu] {
            for scaling in [Scaling::Standardized, Scaling::Normalized] {
                let activation = Activation::raw(function).with_scaling(scaling);
                let found = net(activation, None, Parametrization::Ntk(Beta { beta: 0.3 }));
                assert_eq!(found[0].r, None);
                for layer in &found[1..] {
                    assert!((layer.variance - 1.0).abs() < 1e-12);
                    near(layer.r, activation.characteristic_value(0.3));
                }
            }
        }
    }

    #[test]
    fn he_relu_is_at_the_edge_whatever_the_scale_of_the_weights() {
        let relu = Activation::raw(Function::Relu);
        for init in [Init::He, Init::Lecun, Init::Normal(0.02)] {
            let found = net(relu, None, Parametrization::Standard(Standard { init, bias_std: 0.0 }));
            near(found[2].r, 1.0);
            assert_eq!(Regime::of(found[2].r.expect("not the first")), Regime::Edge);
        }
    }

    #[test]
    fn a_norm_after_the_nonlinearity_normalizes_it_and_one_before_does_not() {
        let relu = Activation::raw(Function::Relu);
        let ntk = Parametrization::Ntk(Beta { beta: 0.1 });
        let layer_norm = Layer::LayerNorm(LayerNorm { over: NormAxes::Chw, affine: false, eps: 1e-5 });
        let batch_norm = Layer::BatchNorm(BatchNorm { affine: false, eps: 1e-5, momentum: 0.1 });
        let normalized = relu.with_scaling(Scaling::Normalized).characteristic_value(0.1);
        for norm in [layer_norm, batch_norm.clone()] {
            near(net(relu, Some(&(false, norm)), ntk)[2].r, normalized);
        }
        let before = net(relu, Some(&(true, batch_norm)), ntk);
        assert!(before[2].behind_batch_norm);
        // q = 1 before the raw ReLU: r = 0.99 · 0.5 / (0.99 · 0.5 + 0.01).
        near(before[2].r, 0.495 / 0.505);
    }
}
