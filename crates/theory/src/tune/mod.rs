//! Changes one knob of a network until it reaches a goal.
//!
//! m(t) is the number that the goal concerns, for the network with the knob at t. An equation m(t) = v is solved by the root
//! nearest to the present value; roots are found by changes of sign on a grid over the range of the knob. A bound m(t) ≤ v
//! is satisfied by the smallest change of the knob. m is computed by [`NetworkLimit`](crate::NetworkLimit), [`regimes`](crate::regimes) or
//! [`Ultrametric`](crate::Ultrametric) for the changed [`Architecture`].
//!
//! Source of the knobs: Jacot, Gabriel, Ged, Hongler, arXiv 1907.05715 (normalized nonlinearities, β).

mod goal;
mod knob;
mod search;
mod standing;

use fintan_config::Architecture;

pub use self::goal::TuneGoal;
pub use self::knob::{Knob, Setting};
use self::search::{Found, Grid};
pub use self::standing::{PatternSpace, Standing, border_ratio};
use crate::limit::LimitError;

/// The error for a network that cannot be tuned.
///
/// ```
/// # use fintan_config::{Activation, Architecture, Beta, Function, Layer, Parametrization, Scaling, Shape};
/// # let relu = Layer::Activation(Activation::raw(Function::Relu).with_scaling(Scaling::Standardized));
/// # let layers = [Layer::Dense(8.into()), relu, Layer::Dense(1.into())];
/// # let network = Architecture::new(Shape::vector(4), &layers, Parametrization::Ntk(Beta { beta: 0.0 }))?;
/// use fintan_theory::{Knob, TuneError, TuneGoal, tune};
///
/// let error = tune(&network, &TuneGoal::R(-1.0), Knob::Mu).unwrap_err();
/// assert!(matches!(error, TuneError::Goal { goal, .. } if goal == "r=-1"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TuneError {
    /// A network without a limit.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// A network whose eigenspaces over positions have no closed form.
    #[error("the spectrum over positions has no closed form here: layer `{layer}`: {reason}")]
    Spectrum {
        /// The layer's name.
        layer: &'static str,
        /// The reason.
        reason: &'static str,
    },
    /// A network without a characteristic value.
    #[error("a network of one layer is linear in its parameters: it has no r")]
    OneLayer,
    /// A network whose inputs are single numbers.
    #[error("inputs of a single value are all parallel: there are no orthogonal ones")]
    OneInput,
    /// A goal out of range.
    #[error("the goal `{goal}` is out of range: {reason}")]
    Goal {
        /// The goal as written by the user.
        goal: String,
        /// The allowed range.
        reason: String,
    },
    /// A knob that the network does not have.
    #[error("the knob `{knob}` does not fit this network: {reason}")]
    Knob {
        /// The name of the knob.
        knob: &'static str,
        /// The reason.
        reason: String,
    },
    /// A goal that the knob cannot reach.
    #[error("`{goal}` cannot be reached with the knob `{knob}`: {nearest}")]
    Unreachable {
        /// The goal as written by the user.
        goal: String,
        /// The knob's name.
        knob: &'static str,
        /// The nearest value that can be reached, and its setting.
        nearest: String,
    },
}

/// A network that reaches its goal.
///
/// ```
/// use fintan_config::{Activation, Architecture, Beta, Function, Layer, Parametrization, Scaling, Shape};
/// use fintan_theory::{Knob, TuneGoal, mean_r, regimes, tune};
///
/// let relu = Layer::Activation(Activation::raw(Function::Relu).with_scaling(Scaling::Standardized));
/// let layers = [Layer::Dense(8.into()), relu, Layer::Dense(1.into())];
/// let network = Architecture::new(Shape::vector(4), &layers, Parametrization::Ntk(Beta { beta: 0.0 }))?;
/// // From the edge of chaos, where r = 1, into chaos.
/// let tuned = tune(&network, &TuneGoal::R(1.2), Knob::Mu)?;
/// assert!((mean_r(&regimes(&tuned.network)).expect("one r") - 1.2).abs() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Tuned {
    /// The new setting of the knob; `None` if the network already reached the goal.
    pub setting: Option<Setting>,
    /// The network with this setting.
    pub network: Architecture,
}

/// Changes a knob until the network reaches a goal.
///
/// # Errors
/// A network without a limit (batch norms), a knob that the network does not have, or a goal that the knob cannot reach.
pub fn tune(architecture: &Architecture, goal: &TuneGoal, knob: Knob) -> Result<Tuned, TuneError> {
    goal.check()?;
    // Checked even if the goal concerns only r, which is not known for a network with batch norms.
    crate::NetworkLimit::new(architecture)?;
    let present = knob.of(architecture)?;
    if goal.holds(goal.miss(architecture)?, None) {
        return Ok(Tuned { setting: None, network: architecture.clone() });
    }
    let miss_of = |setting: Setting| match goal.miss(&setting.apply(architecture)) {
        // A quadrature may fail in a part of the range.
        Err(TuneError::Limit(LimitError::Dual(_))) => Ok(f64::NAN),
        other => other,
    };
    let range = knob.range(architecture);
    let (setting, flat) = match present.number() {
        Some(number) => {
            let miss = |x: f64| miss_of(present.at(x));
            let points = range.iter().filter_map(Setting::number).collect();
            let grid = Grid::new(points, number, knob == Knob::Gain, &miss)?;
            let found = if goal.is_equation() { grid.equal(&miss)? } else { grid.at_most(&miss)? };
            let (Found::At(x) | Found::Nearest(x)) = found;
            (present.at(x), grid.is_flat())
        }
        None => (choose(&range, goal, &miss_of)?.unwrap_or(present), false),
    };
    let network = setting.apply(architecture);
    if goal.holds(goal.miss(&network)?, Some(knob)) {
        return Ok(Tuned { setting: Some(setting), network });
    }
    let words = goal.words(&network)?;
    let nearest = if flat {
        format!("it does not move it, {words} at every value")
    } else {
        format!("the nearest is {words}, at {} = {setting}", knob.name())
    };
    Err(TuneError::Unreachable { goal: goal.to_string(), knob: knob.name(), nearest })
}

/// The setting of a list that comes nearest to the goal. Among settings that satisfy a bound, it is the one nearest to the
/// bound; among equal ones, the first.
fn choose(
    range: &[Setting],
    goal: &TuneGoal,
    miss: &dyn Fn(Setting) -> Result<f64, TuneError>,
) -> Result<Option<Setting>, TuneError> {
    let mut best: Option<((bool, f64), Setting)> = None;
    for &setting in range {
        let miss = miss(setting)?;
        if miss.is_nan() {
            continue;
        }
        let (holds, far) = (goal.holds(miss, Some(Knob::Nonlinearity)), miss.abs());
        // Settings that are equal up to rounding count as equal, and the first is taken.
        let better = best.is_none_or(|((held, least), _)| if holds == held { far < least - 1e-12 } else { holds });
        if better {
            best = Some(((holds, far), setting));
        }
    }
    Ok(best.map(|(_, setting)| setting))
}
