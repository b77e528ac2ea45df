//! Learning rates that change with the step.

use serde::{Deserialize, Serialize};

use crate::error::Invalid;
use crate::experiment::{at_least_one, positive};

/// How a learning rate changes: a rise, then a decay. The rate of a step is the optimiser's rate times [`Schedule::factor`].
/// The factor depends on the step alone, so a resumed run has the same rates as a run that was never stopped.
///
/// ```
/// use fintan_config::Schedule;
///
/// let schedule: Schedule = toml::from_str("warmup = 10\ndecay.linear = { to = 0.0, over = 100 }")?;
/// assert_eq!([4, 10, 60, 200].map(|step| schedule.factor(step)), [0.5, 1.0, 0.5, 0.0]);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Schedule {
    /// Steps over which the factor rises linearly to 1.
    pub warmup: u64,
    /// The decay after the rise.
    pub decay: Decay,
}

/// How a learning rate decays; p is the completed fraction of the decay.
///
/// ```
/// use fintan_config::{Decay, DecayTo, Schedule};
///
/// let cosine = Decay::Cosine(DecayTo { to: 0.0, over: Some(100) });
/// let factor = |step| Schedule { warmup: 0, decay: cosine }.factor(step);
/// assert!((factor(50) - 0.5).abs() < 1e-12 && factor(100).abs() < 1e-12);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// No decay.
    #[default]
    Constant,
    /// `1 - p (1 - to)`
    Linear(DecayTo),
    /// `to + (1 - to) (1 + cos πp) / 2`
    Cosine(DecayTo),
    /// `to^p`
    Exponential(DecayTo),
    /// `factor^k` after k times `every` steps.
    Step(StepDecay),
}

/// A fall from 1 to a fraction.
///
/// ```
/// use fintan_config::{Decay, DecayTo, Schedule};
///
/// let decay = Decay::Exponential(DecayTo { to: 0.25, over: Some(100) });
/// assert_eq!([50, 100, 300].map(|step| Schedule { warmup: 0, decay }.factor(step)), [0.5, 0.25, 0.25]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecayTo {
    /// The fraction at the end.
    pub to: f64,
    /// Length of the decay in steps; the rate is constant afterwards. By default all steps of training after the rise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<u64>,
}

/// A decay in discrete steps.
///
/// ```
/// use fintan_config::{Decay, Schedule, StepDecay};
///
/// let decay = Decay::Step(StepDecay { every: 100, factor: 0.5 });
/// assert_eq!([99, 100, 250].map(|step| Schedule { warmup: 0, decay }.factor(step)), [1.0, 0.5, 0.25]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepDecay {
    /// Steps between two drops of the rate.
    pub every: u64,
    /// Factor of the rate at each drop.
    pub factor: f64,
}

impl Schedule {
    /// Factor of the learning rate in the step that follows `step` completed steps; 1 without a schedule.
    #[must_use]
    pub fn factor(&self, step: u64) -> f64 {
        if step < self.warmup {
            return (step + 1) as f64 / self.warmup as f64;
        }
        let done = step - self.warmup;
        let part = |fall: &DecayTo| (done as f64 / fall.over.unwrap_or(u64::MAX).max(1) as f64).min(1.0);
        match &self.decay {
            Decay::Constant => 1.0,
            Decay::Linear(fall) => 1.0 - part(fall) * (1.0 - fall.to),
            Decay::Cosine(fall) => fall.to + (1.0 - fall.to) * 0.5 * (1.0 + (std::f64::consts::PI * part(fall)).cos()),
            Decay::Exponential(fall) => fall.to.powf(part(fall)),
            Decay::Step(StepDecay { every, factor }) => factor.powf((done / every) as f64),
        }
    }

    /// Whether the rate never changes.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        *self == Self::default()
    }

    /// Checks the schedule and fills in the length of its decay: if a run is prolonged, the rates of its completed steps
    /// must not change.
    pub(crate) fn settle(&mut self, key: &str, steps: u64) -> Result<(), Invalid> {
        let Self { warmup, decay } = self;
        let (name, fall, lowest) = match decay {
            Decay::Constant => return Ok(()),
            Decay::Step(StepDecay { every, factor }) => {
                at_least_one(&format!("{key}.decay.step.every"), *every)?;
                return positive(&format!("{key}.decay.step.factor"), *factor);
            }
            Decay::Linear(fall) => ("linear", fall, "[0, 1]"),
            Decay::Cosine(fall) => ("cosine", fall, "[0, 1]"),
            Decay::Exponential(fall) => ("exponential", fall, "(0, 1]"),
        };
        let key = format!("{key}.decay.{name}");
        let allowed = (0.0..=1.0).contains(&fall.to) && (fall.to > 0.0 || name != "exponential");
        if !allowed {
            let at = format!("{key}.to");
            return Err(Invalid::new(&at, format!("`{at}` must be in {lowest}, got {}", fall.to)));
        }
        let over = *fall.over.get_or_insert(steps.saturating_sub(*warmup).max(1));
        at_least_one(&format!("{key}.over"), over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(warmup: u64, decay: Decay) -> Vec<f64> {
        let mut schedule = Schedule { warmup, decay };
        schedule.settle("s", 12).expect("sound");
        [0, 1, 2, 3, 4, 8, 12, 40].map(|step| schedule.factor(step)).into()
    }

    fn close(got: &[f64], want: &[f64]) {
        assert!(got.len() == want.len() && got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-12), "{got:?}");
    }

    /// Computed by hand: 4 steps of rise, 8 of decay to a quarter, then no change.
    #[test]
    fn rates_rise_then_fall_then_stay() {
        let fall = DecayTo { to: 0.25, over: None };
        let rise = [0.25, 0.5, 0.75, 1.0];
        let with = |rest: [f64; 4]| [rise, rest].concat();
        close(&factors(4, Decay::Constant), &with([1.0; 4]));
        close(&factors(4, Decay::Linear(fall)), &with([1.0, 0.625, 0.25, 0.25]));
        close(&factors(4, Decay::Cosine(fall)), &with([1.0, 0.625, 0.25, 0.25]));
        close(&factors(4, Decay::Exponential(fall)), &with([1.0, 0.5, 0.25, 0.25]));
        close(&factors(4, Decay::Step(StepDecay { every: 4, factor: 0.5 })), &with([1.0, 0.5, 0.25, 0.5_f64.powi(9)]));
        // The cosine schedule after a quarter of its decay.
        let quarter = Schedule { warmup: 0, decay: Decay::Cosine(DecayTo { to: 0.0, over: Some(8) }) }.factor(2);
        assert!((quarter - (2.0 + 2.0_f64.sqrt()) / 4.0).abs() < 1e-12);
    }

    #[test]
    fn no_schedule_multiplies_by_exactly_one() {
        assert!((0..100).all(|step| Schedule::default().factor(step) == 1.0) && Schedule::default().is_constant());
    }
}
