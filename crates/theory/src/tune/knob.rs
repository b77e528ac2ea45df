//! The knobs of tuning: their range, and their effect on a network.

use std::fmt;

use fintan_config::{Activation, Architecture, Beta, Function, Layer, Parametrization, Scaling};

use super::TuneError;

/// A property of a network that is changed until a goal is reached.
///
/// ```
/// use fintan_config::{Architecture, Beta, Layer, Parametrization, Shape};
/// use fintan_theory::{Knob, Setting};
///
/// let layers = [Layer::Dense(1.into())];
/// let network = Architecture::new(Shape::vector(4), &layers, Parametrization::Ntk(Beta { beta: 0.5 }))?;
/// assert_eq!(Knob::Beta.of(&network)?, Setting::Beta(0.5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knob {
    /// The constant that `partial` scaling subtracts in every hidden nonlinearity, from 0 (`standardized`) to E\[f(Z)\]
    /// (`normalized`).
    Mu,
    /// The inner gain of every hidden nonlinearity, from 1/16 to 16; the scaling is kept.
    ///
    /// With a scaling, variances stay 1 and the gain changes only the shape. With `raw`, it also changes the variance, like
    /// a factor of all weights would; goals take this into account.
    Gain,
    /// The slope below 0 of leaky ReLUs, from -1 (|x|) to 1 (x); a ReLU becomes a leaky ReLU.
    Leak,
    /// β of the `ntk` and `graph` parametrizations, from 0 to 0.999.
    Beta,
    /// The function of every hidden nonlinearity: one of [`Function::ALL`], standardized or normalized, with gain 1 and the
    /// default slope.
    Nonlinearity,
}

impl Knob {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mu => "mu",
            Self::Gain => "gain",
            Self::Leak => "leak",
            Self::Beta => "beta",
            Self::Nonlinearity => "nonlinearity",
        }
    }

    /// The present setting of the knob in a network; if nonlinearities differ, that of the first.
    ///
    /// # Errors
    /// A network without this knob.
    pub fn of(self, architecture: &Architecture) -> Result<Setting, TuneError> {
        let refuse = |reason: String| Err(TuneError::Knob { knob: self.name(), reason });
        if self == Self::Beta {
            return match architecture.parametrization.beta() {
                Some(beta) => Ok(Setting::Beta(beta)),
                None => refuse("the `standard` parametrization has none; `ntk` and `graph` do".into()),
            };
        }
        let hidden = hidden(architecture);
        let Some(first) = hidden.first() else { return refuse("the network has no hidden nonlinearity".into()) };
        let mean = |activation: &Activation| activation.raw_moments().0;
        match self {
            Self::Mu if hidden.iter().all(|activation| mean(activation).abs() < 1e-12) => refuse(format!(
                "`{}` is centred as it is, E[f(Z)] = 0, and has its largest r there",
                first.function.name()
            )),
            Self::Mu => Ok(Setting::Mu(match first.scaling {
                Scaling::Raw | Scaling::Standardized => 0.0,
                Scaling::Normalized => mean(first),
                Scaling::Partial => first.mu.unwrap_or(0.0),
            })),
            Self::Leak => match hidden.iter().find(|a| ![Function::Relu, Function::LeakyRelu].contains(&a.function)) {
                Some(other) => {
                    refuse(format!("it belongs to `relu` and `leaky_relu`, got `{}`", other.function.name()))
                }
                // A ReLU has no such setting: its slope below zero is 0.
                None => Ok(Setting::Leak(first.negative_slope().unwrap_or_default())),
            },
            Self::Nonlinearity => Ok(Setting::Nonlinearity(first.function, first.scaling)),
            Self::Gain | Self::Beta => Ok(Setting::Gain(first.gain)),
        }
    }

    /// Settings over the range of the knob, in order: all settings of a list, or ends and steps of an interval.
    pub(super) fn range(self, architecture: &Architecture) -> Vec<Setting> {
        const STEPS: u32 = 48;
        let steps = |low: f64, high: f64, make: fn(f64) -> Setting| {
            // The ends are exact.
            let at = move |i: u32| {
                if i == STEPS { high } else { low + (high - low) * f64::from(i) / f64::from(STEPS) }
            };
            (0..=STEPS).map(|i| make(at(i))).collect()
        };
        match self {
            Self::Mu => {
                let means: Vec<f64> = hidden(architecture).iter().map(|a| a.raw_moments().0).collect();
                let low = means.iter().copied().fold(0.0, f64::min);
                let high = means.iter().copied().fold(0.0, f64::max);
                steps(low, high, Setting::Mu)
            }
            // 2^-4 to 2^4
            Self::Gain => (0..=STEPS).map(|i| Setting::Gain((f64::from(i) / 6.0 - 4.0).exp2())).collect(),
            Self::Leak => steps(-1.0, 1.0, Setting::Leak),
            Self::Beta => steps(0.0, 0.999, Setting::Beta),
            Self::Nonlinearity => Function::ALL
                .iter()
                .flat_map(|&f| [Scaling::Standardized, Scaling::Normalized].map(|s| Setting::Nonlinearity(f, s)))
                .collect(),
        }
    }
}

/// The setting of a knob.
///
/// ```
/// use fintan_config::{Activation, Function};
/// use fintan_theory::{Knob, Setting};
///
/// let setting = Setting::Gain(2.0);
/// assert_eq!((setting.knob(), setting.number()), (Knob::Gain, Some(2.0)));
/// assert_eq!(setting.on(Activation::raw(Function::Tanh)).gain, 2.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Setting {
    /// [`Knob::Mu`]
    Mu(f64),
    /// [`Knob::Gain`]
    Gain(f64),
    /// [`Knob::Leak`]
    Leak(f64),
    /// [`Knob::Beta`]
    Beta(f64),
    /// [`Knob::Nonlinearity`]
    Nonlinearity(Function, Scaling),
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |scaling: Scaling| match scaling {
            Scaling::Raw => "raw",
            Scaling::Standardized => "standardized",
            Scaling::Normalized => "normalized",
            Scaling::Partial => "partial",
        };
        match self {
            Self::Nonlinearity(function, scaling) => write!(f, "{} {}", word(*scaling), function.name()),
            Self::Mu(_) | Self::Gain(_) | Self::Leak(_) | Self::Beta(_) => {
                write!(f, "{:.6}", self.number().unwrap_or(f64::NAN))
            }
        }
    }
}

impl Setting {
    /// The knob to which the setting belongs.
    #[must_use]
    pub fn knob(&self) -> Knob {
        match self {
            Self::Mu(_) => Knob::Mu,
            Self::Gain(_) => Knob::Gain,
            Self::Leak(_) => Knob::Leak,
            Self::Beta(_) => Knob::Beta,
            Self::Nonlinearity(..) => Knob::Nonlinearity,
        }
    }

    /// The value; `None` for a nonlinearity.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        match *self {
            Self::Mu(x) | Self::Gain(x) | Self::Leak(x) | Self::Beta(x) => Some(x),
            Self::Nonlinearity(..) => None,
        }
    }

    /// This knob with another value; a nonlinearity is unchanged.
    pub(super) fn at(&self, x: f64) -> Self {
        match self {
            Self::Mu(_) => Self::Mu(x),
            Self::Gain(_) => Self::Gain(x),
            Self::Leak(_) => Self::Leak(x),
            Self::Beta(_) => Self::Beta(x),
            Self::Nonlinearity(..) => *self,
        }
    }

    /// Applies the setting to a hidden nonlinearity; β does not change nonlinearities.
    #[must_use]
    pub fn on(&self, activation: Activation) -> Activation {
        match *self {
            Self::Mu(mu) => Activation { scaling: Scaling::Partial, mu: Some(mu), ..activation },
            Self::Gain(gain) => Activation { gain, ..activation },
            Self::Leak(slope) => Activation { function: Function::LeakyRelu, slope: Some(slope), ..activation },
            Self::Beta(_) => activation,
            Self::Nonlinearity(function, scaling) => Activation::raw(function).with_scaling(scaling),
        }
    }

    /// Applies the setting to a network: to every hidden nonlinearity, including those in residual blocks, or to β.
    ///
    /// # Panics
    /// Never, because shapes do not depend on knobs.
    #[must_use]
    pub fn apply(&self, architecture: &Architecture) -> Architecture {
        let mut layers: Vec<Layer> = architecture.nodes.iter().map(|node| node.layer.clone()).collect();
        let hidden = hidden_layers(&layers);
        self.turn(&mut layers[..hidden]);
        let parametrization = match (*self, architecture.parametrization) {
            (Self::Beta(beta), Parametrization::Ntk(_)) => Parametrization::Ntk(Beta { beta }),
            (Self::Beta(beta), Parametrization::Graph(_)) => Parametrization::Graph(Beta { beta }),
            (_, same) => same,
        };
        Architecture::new(architecture.input, &layers, parametrization).expect("shapes do not depend on knobs")
    }

    fn turn(&self, layers: &mut [Layer]) {
        for layer in layers {
            if let Layer::Activation(activation) = layer {
                *activation = self.on(*activation);
            } else if let Layer::Residual(block) = layer {
                self.turn(&mut block.layers);
                self.turn(&mut block.shortcut);
            }
        }
    }
}

/// Number of layers before the output nonlinearity.
fn hidden_layers(layers: &[Layer]) -> usize {
    layers.iter().rposition(|layer| !layer.properties().is_pointwise).map_or(0, |last| last + 1)
}

/// Every nonlinearity except that of the output.
fn hidden(architecture: &Architecture) -> Vec<Activation> {
    let output = architecture.nodes.iter().rev().take_while(|node| node.layer.properties().is_pointwise).count();
    let all: Vec<Activation> =
        architecture.flat().into_iter().filter_map(|node| node.layer.activation().copied()).collect();
    all[..all.len() - output].to_vec()
}
