//! What a network should be like.

use std::fmt;

use fintan_config::Architecture;

use super::standing::{blocks, relation};
use super::{Knob, TuneError};
use crate::regime::{Regime, mean_r, regimes};

/// What a network should be like at infinite width, at its depth, as it is initialised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// The geometric mean of r over layers and residual blocks, greater than 0.
    R(f64),
    /// A regime that shows at this depth.
    ///
    /// Chaos: r at least 1.005, and |ϑ| between two orthogonal inputs at most `margin`. Order: r at most 0.995, and ϑ at
    /// least 1 - `margin`. Edge: |r - 1| below 0.005 and as small as the knob can make it; no margin.
    Regime {
        /// The regime.
        regime: Regime,
        /// In (0, 1).
        margin: f64,
    },
    /// ϑ = `value` between two inputs of correlation `between`, both in (-1, 1).
    Scaled {
        /// ϑ
        value: f64,
        /// C
        between: f64,
    },
    /// At most this share of the trace, in (0, 1), in eigenspaces over positions of periods s, s², ...: all but the constant
    /// image and the space of the smallest eigenvalues, which any two positions tell apart.
    Checkerboard(f64),
    /// The condition number, above 1, of the kernel of a number of orthogonal inputs, at least 2.
    Condition {
        /// λ_max / λ_min
        value: f64,
        /// N
        inputs: usize,
    },
}

/// Relative error of an equation that counts as solved, and how near the best of a list must come.
const SOLVED: f64 = 1e-6;
const NEAR: f64 = 0.05;
/// |r - 1| of the edge, as [`Regime::of`] has it, and a rounding more.
const EDGE: f64 = 0.005 + 1e-12;

impl fmt::Display for Goal {
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

impl Goal {
    /// That it lies where networks can be.
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

    /// How far a network is from it: 0 where an equation is solved; at most 0 where a bound is kept.
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
                // In logarithms: it grows without bound in order.
                let found = relation(architecture, 0.0)?.condition_number(inputs).min(f64::MAX);
                Ok(found.ln() - value.ln())
            }
        }
    }

    /// Whether it is an equation rather than a bound.
    pub(super) fn is_equation(&self) -> bool {
        !matches!(self, Self::Regime { regime: Regime::Chaos | Regime::Order, .. } | Self::Checkerboard(_))
    }

    /// Whether a miss is none: an equation holds to six digits (roots are solved to more; an end of a range counts too), and to 5 % where a nonlinearity is chosen from a list.
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

    /// Whether a network reaches it: an equation to six digits, or to 5 % by the best `nonlinearity` of the list.
    ///
    /// # Errors
    /// A network without a limit, of one layer, with a single input value, or whose spectrum has no closed form.
    pub fn is_reached(&self, architecture: &Architecture, knob: Knob) -> Result<bool, TuneError> {
        self.check()?;
        Ok(self.holds(self.miss(architecture)?, Some(knob)))
    }

    /// What it is about, of a network, in words.
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

/// Share of the trace in the eigenspaces between the constant image and the smallest eigenvalues.
fn checkerboard(architecture: &Architecture) -> Result<f64, TuneError> {
    let blocks = blocks(architecture)?;
    Ok(blocks.get(1..blocks.len().saturating_sub(1)).map_or(0.0, |middle| middle.iter().map(|b| b.share).sum()))
}
