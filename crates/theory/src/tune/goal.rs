//! Goals of tuning.

use std::fmt;

use fintan_config::Architecture;

use super::standing::{blocks, relation};
use super::{Knob, TuneError};
use crate::regime::{Regime, mean_r, regimes};

/// A property that a network should have at infinite width, at its own depth and at initialisation.
///
/// ```
/// use fintan_config::{Activation, Architecture, Beta, Function, Layer, Parametrization, Scaling, Shape};
/// use fintan_theory::{Knob, TuneGoal};
///
/// let relu = Layer::Activation(Activation::raw(Function::Relu).with_scaling(Scaling::Standardized));
/// let layers = [Layer::Dense(8.into()), relu, Layer::Dense(1.into())];
/// let network = Architecture::new(Shape::vector(4), &layers, Parametrization::Ntk(Beta { beta: 0.0 }))?;
/// assert!(TuneGoal::R(1.0).is_reached(&network, Knob::Mu)?);
/// assert_eq!(TuneGoal::R(1.2).to_string(), "r=1.2");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TuneGoal {
    /// The geometric mean of r over layers and residual blocks; it must be positive.
    R(f64),
    /// A regime that is visible at the depth of the network.
    ///
    /// Chaos: r is at least 1.005, and |ϑ| between two orthogonal inputs is at most `margin`. Order: r is at most 0.995, and
    /// ϑ is at least 1 - `margin`. Edge: |r - 1| is below 0.005 and as small as the knob allows; the margin is not used.
    Regime {
        /// The regime.
        regime: Regime,
        /// A number in (0, 1).
        margin: f64,
    },
    /// ϑ = `value` between two inputs of correlation `between`, both in (-1, 1).
    Scaled {
        /// ϑ
        value: f64,
        /// The correlation c of the two inputs.
        between: f64,
    },
    /// At most this fraction of the trace, in (0, 1), in eigenspaces over positions of periods s, s², ... These are all
    /// eigenspaces except the constant image and the space of the smallest eigenvalues, which separates any two positions.
    Checkerboard(f64),
    /// The condition number of the kernel of `inputs` orthogonal inputs; it must be above 1, with at least 2 inputs.
    Condition {
        /// λ_max / λ_min
        value: f64,
        /// N
        inputs: usize,
    },
}

/// Relative error up to which an equation counts as solved, and the larger one for the best setting of a list.
const SOLVED: f64 = 1e-6;
const NEAR: f64 = 0.05;
/// Largest |r - 1| of the edge, as in [`Regime::of`], plus rounding.
const EDGE: f64 = 0.005 + 1e-12;

impl fmt::Display for TuneGoal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::R(value) => write!(f, "r={value}"),
            Self::Regime { regime, .. } => write!(f, "regime={}", regime.word()),
            Self::Scaled { value, .. } => write!(f, "scaled={value}"),
            Self::Checkerboard(share) => write!(f, "checkerboard={share}"),
            Self::Condition { value, .. } => write!(f, "condition={value}"),
        }
    }
}

impl TuneGoal {
    /// Checks that the goal is in the range of possible values.
    pub(super) fn check(&self) -> Result<(), TuneError> {
        let within = |name: &str, x: f64, low: f64, high: f64| {
            if x > low && x < high {
                return Ok(());
            }
            let end = |x: f64| if x.is_infinite() { "∞".into() } else { x.to_string() };
            let reason = format!("{name} must be in ({}, {}), got {x}", end(low), end(high));
            Err(TuneError::Goal { goal: self.to_string(), reason })
        };
        match *self {
            Self::R(r) => within("r", r, 0.0, f64::INFINITY),
            Self::Regime { regime: Regime::Edge, .. } => Ok(()),
            Self::Regime { margin, .. } => within("the margin", margin, 0.0, 1.0),
            Self::Scaled { value, between } => {
                within("ϑ", value, -1.0, 1.0)?;
                within("the correlation", between, -1.0, 1.0)
            }
            Self::Checkerboard(share) => within("the share", share, 0.0, 1.0),
            Self::Condition { value, inputs } => {
                within("the condition number", value, 1.0, f64::INFINITY)?;
                within("the number of inputs", inputs as f64, 1.0, f64::INFINITY)
            }
        }
    }

    /// Distance of a network from the goal: 0 if an equation is solved, at most 0 if a bound is satisfied.
    ///
    /// # Errors
    /// A network without a limit, of one layer, or whose spectrum has no closed form.
    pub(super) fn miss(&self, architecture: &Architecture) -> Result<f64, TuneError> {
        let r = || mean_r(&regimes(architecture)).ok_or(TuneError::OneLayer);
        match *self {
            Self::R(wanted) => Ok(r()? - wanted),
            Self::Regime { regime: Regime::Edge, .. } => Ok(r()? - 1.0),
            Self::Regime { regime: Regime::Chaos, margin } => {
                Ok((relation(architecture, 0.0)?.scaled().abs() - margin).max(1.0 + EDGE - r()?))
            }
            Self::Regime { regime: Regime::Order, margin } => {
                Ok((1.0 - margin - relation(architecture, 0.0)?.scaled()).max(r()? - 1.0 + EDGE))
            }
            Self::Scaled { value, between } => Ok(relation(architecture, between)?.scaled() - value),
            Self::Checkerboard(most) => Ok(checkerboard(architecture)? - most),
            Self::Condition { value, inputs } => {
                // In logarithms, because the condition number grows without bound in the order regime.
                let found = relation(architecture, 0.0)?.condition_number(inputs).min(f64::MAX);
                Ok(found.ln() - value.ln())
            }
        }
    }

    /// Whether the goal is an equation, and not a bound.
    pub(super) fn is_equation(&self) -> bool {
        !matches!(self, Self::Regime { regime: Regime::Chaos | Regime::Order, .. } | Self::Checkerboard(_))
    }

    /// Whether a distance counts as zero. An equation must hold to six digits (roots are solved to more, but an end of a
    /// range counts too), or to 5 % if a nonlinearity is chosen from a list.
    pub(super) fn holds(&self, miss: f64, knob: Option<Knob>) -> bool {
        let tolerance = if knob == Some(Knob::Nonlinearity) { NEAR } else { SOLVED };
        match *self {
            Self::R(wanted) => miss.abs() <= tolerance * wanted,
            Self::Scaled { value, .. } => miss.abs() <= (tolerance * value.abs()).max(SOLVED),
            Self::Condition { .. } => miss.abs() <= tolerance,
            Self::Regime { regime: Regime::Edge, .. } => miss.abs() < 0.005,
            Self::Regime { .. } | Self::Checkerboard(_) => miss <= 0.0,
        }
    }

    /// Whether a network reaches the goal: an equation to six digits, or to 5 % with the best `nonlinearity` of the list.
    ///
    /// # Errors
    /// A network without a limit, of one layer, with a single input value, or whose spectrum has no closed form.
    pub fn is_reached(&self, architecture: &Architecture, knob: Knob) -> Result<bool, TuneError> {
        self.check()?;
        Ok(self.holds(self.miss(architecture)?, Some(knob)))
    }

    /// A description of what the goal measures in a network.
    pub(super) fn words(&self, architecture: &Architecture) -> Result<String, TuneError> {
        let r = mean_r(&regimes(architecture)).ok_or(TuneError::OneLayer);
        Ok(match *self {
            Self::R(_) | Self::Regime { regime: Regime::Edge, .. } => format!("r = {:.6}", r?),
            Self::Regime { .. } => format!("ϑ = {:.4} with r = {:.4}", relation(architecture, 0.0)?.scaled(), r?),
            Self::Scaled { between, .. } => format!("ϑ = {:.6}", relation(architecture, between)?.scaled()),
            Self::Checkerboard(_) => format!("a share of {:.4}", checkerboard(architecture)?),
            Self::Condition { inputs, .. } => {
                format!("a condition number of {:.4}", relation(architecture, 0.0)?.condition_number(inputs))
            }
        })
    }
}

/// Fraction of the trace in the eigenspaces between the constant image and the smallest eigenvalues.
fn checkerboard(architecture: &Architecture) -> Result<f64, TuneError> {
    let blocks = blocks(architecture)?;
    Ok(blocks.get(1..blocks.len().saturating_sub(1)).map_or(0.0, |middle| middle.iter().map(|b| b.share).sum()))
}
