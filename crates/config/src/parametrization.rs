//! How weights enter a network and how they are drawn.

use serde::{Deserialize, Serialize};

use crate::citations::Citation;

/// How weights enter the network and how they are drawn.
///
/// With W and b the parameters, a layer computes `y = a · (W ∗ x) + c · b`:
///
/// | | a | c | W drawn from | b drawn from |
/// | --- | --- | --- | --- | --- |
/// | `standard` | 1 | 1 | N(0, σ²) by `init` | N(0, bias_std²) |
/// | `ntk` | √(1 - β²) / √fan_in | β | N(0, 1) | N(0, 1) |
/// | `graph` | √(1 - β²) / √fan_in(p) | β | N(0, 1) | N(0, 1) |
///
/// `fan_in` counts the weights that reach an output value away from the border: inputs for dense, taps x channels for conv,
/// taps x channels / strides for deconv. `graph` counts them at each position p of a deconv's output, so that outputs at the
/// border have the variance of the interior. Source: arXiv 1907.05715.
///
/// ```
/// use fintan_config::Parametrization;
///
/// let ntk: Parametrization = toml::from_str("ntk = { beta = 0.5 }")?;
/// assert_eq!(ntk.beta(), Some(0.5));
/// assert_eq!(Parametrization::default().beta(), None);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parametrization {
    /// Weights of size 1/√fan_in, the usual parametrization.
    Standard(Standard),
    /// Weights of size 1, scaled in the forward pass.
    Ntk(Beta),
    /// `ntk` with the fan-in counted at each position.
    Graph(Beta),
}

impl Default for Parametrization {
    fn default() -> Self {
        Self::Standard(Standard::default())
    }
}

/// Settings of the standard parametrization.
///
/// ```
/// use fintan_config::{Init, Standard};
///
/// let standard: Standard = toml::from_str("init = 'lecun'\nbias_std = 0.5")?;
/// assert_eq!((standard.init, standard.bias_std), (Init::Lecun, 0.5));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standard {
    /// Distribution of the weights.
    #[serde(default)]
    pub init: Init,
    /// Standard deviation of the biases.
    #[serde(default)]
    pub bias_std: f64,
}

/// Standard deviation of standard-parametrized weights.
///
/// ```
/// use fintan_config::Init;
///
/// assert_eq!(Init::Lecun.std(100.0), 0.1);
/// assert_eq!((Init::He.variance(), Init::Normal(0.02).variance()), (Some(2.0), None));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Init {
    /// √(2 / fan_in)
    #[default]
    He,
    /// √(1 / fan_in)
    Lecun,
    /// √(variance / fan_in): σ_w² of the mean-field literature.
    Variance(f64),
    /// A fixed standard deviation, independent of the fan-in (0.02 in the DCGAN paper).
    Normal(f64),
}

impl Init {
    /// Variance of a weight times the fan-in; `None` if this product depends on the fan-in.
    #[must_use]
    pub fn variance(&self) -> Option<f64> {
        match self {
            Self::He => Some(2.0),
            Self::Lecun => Some(1.0),
            Self::Variance(variance) => Some(*variance),
            Self::Normal(_) => None,
        }
    }

    /// Standard deviation of one weight.
    #[must_use]
    pub fn std(&self, fan_in: f64) -> f64 {
        match *self {
            Self::Normal(std) => std,
            Self::He | Self::Lecun | Self::Variance(_) => (self.variance().unwrap_or(0.0) / fan_in).sqrt(),
        }
    }

    /// Checks the number of the setting; the error is its key and the fault.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        let (name, value) = match *self {
            Self::He | Self::Lecun => return Ok(()),
            Self::Variance(variance) => ("variance", variance),
            Self::Normal(std) => ("normal", std),
        };
        if value > 0.0 && value.is_finite() {
            Ok(())
        } else {
            Err((name, format!("`{name}` must be greater than 0, got {value}")))
        }
    }
}

/// The bias share of the `ntk` and `graph` parametrizations.
///
/// ```
/// use fintan_config::{Beta, Parametrization};
///
/// let ntk = Parametrization::Ntk(Beta { beta: 0.25 });
/// assert_eq!((ntk.beta(), ntk.bias_scale()), (Some(0.25), 0.25));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beta {
    /// β in [0, 1]: standard deviation of the bias term; the weight term has variance 1 - β².
    #[serde(default = "default_beta")]
    pub beta: f64,
}

fn default_beta() -> f64 {
    0.1
}

impl Parametrization {
    /// Publications.
    #[must_use]
    pub fn citations(&self) -> &'static [Citation] {
        match self {
            Self::Standard(_) => &[DEEP_INFORMATION],
            // The publications of these are those of the program as a whole.
            Self::Ntk(_) | Self::Graph(_) => &[],
        }
    }

    /// β of `ntk` and `graph`; `None` for `standard`.
    #[must_use]
    pub fn beta(&self) -> Option<f64> {
        match self {
            Self::Standard(_) => None,
            Self::Ntk(Beta { beta }) | Self::Graph(Beta { beta }) => Some(*beta),
        }
    }
}

/// Signals and their gradients in networks at initialisation.
const DEEP_INFORMATION: Citation = Citation::new(
    "@inproceedings{schoenholz2017deep,
  author = {Schoenholz, Samuel S. and Gilmer, Justin and Ganguli, Surya and Sohl-Dickstein, Jascha},
  title = {Deep Information Propagation},
  booktitle = {International Conference on Learning Representations},
  year = {2017},
  eprint = {1611.01232},
  archiveprefix = {arXiv},
}",
);
