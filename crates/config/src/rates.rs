//! Learning rates that depend on the layer.

use serde::{Deserialize, Serialize};

use crate::architecture::Node;

/// Layer-dependent learning rates.
///
/// A weight used at S positions has S-fold leverage on the largest eigenvalues of the NTK, which belong to checkerboards.
/// Its rate is divided by a power of S:
///
/// `η_W = η · S_W^-γ_w`, `η_b = η · S_b^-γ_b`
///
/// S_W counts the positions at which the weights are used (input positions of a deconv, output positions of a conv, 1 for
/// dense layers), and S_b counts the positions of the output. For a generator that starts from a 1x1 map this is
/// `(|I_0| / |I_l|)^γ`, the rule of arXiv 1907.05715, whose exact exponents are a setting here.
///
/// ```
/// use fintan_config::{Architecture, LayerRates, Parametrization, Shape};
///
/// // A convolution whose output has 4 x 4 positions.
/// let layers = [toml::from_str("conv = { out = 8, kernel = 1 }")?];
/// let network = Architecture::new(Shape::image(3, 4, 4), &layers, Parametrization::default())?;
/// assert_eq!(LayerRates::Sqrt.factors(&network.nodes[0]), (0.25, 0.25));
/// assert_eq!(LayerRates::Full.factors(&network.nodes[0]), (0.0625, 0.0625));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerRates {
    /// One rate for all: γ = (0, 0).
    #[default]
    Off,
    /// γ = (1/2, 1/2), balance of singular values.
    Sqrt,
    /// γ = (3/4, 1/2).
    #[serde(alias = "three-halves")]
    ThreeHalves,
    /// γ = (1, 1), balance of eigenvalues.
    Full,
    /// Exponents given in the configuration.
    Exponents(Exponents),
}

/// The exponents γ_w and γ_b.
///
/// ```
/// use fintan_config::{Exponents, LayerRates};
///
/// let rates = LayerRates::Exponents(Exponents { weights: 0.75, biases: 0.5 });
/// assert_eq!(rates.exponents(), LayerRates::ThreeHalves.exponents());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exponents {
    /// γ_w
    pub weights: f64,
    /// γ_b
    pub biases: f64,
}

impl LayerRates {
    /// (γ_w, γ_b).
    #[must_use]
    pub fn exponents(&self) -> (f64, f64) {
        match self {
            Self::Off => (0.0, 0.0),
            Self::Sqrt => (0.5, 0.5),
            Self::ThreeHalves => (0.75, 0.5),
            Self::Full => (1.0, 1.0),
            Self::Exponents(Exponents { weights, biases }) => (*weights, *biases),
        }
    }

    /// Factors of the learning rate for the weights and the biases of a layer. Scales and shifts of a norm count as biases.
    #[must_use]
    pub fn factors(&self, node: &Node) -> (f64, f64) {
        let (gamma_w, gamma_b) = self.exponents();
        let biases = (node.output.positions() as f64).powf(-gamma_b);
        match node.fan_in() {
            Some(_) => ((node.weight_sites() as f64).powf(-gamma_w), biases),
            None => (biases, biases),
        }
    }
}
