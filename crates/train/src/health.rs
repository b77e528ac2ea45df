//! Detects failures in the training of a GAN, and describes them.

use std::collections::VecDeque;

use fintan_artifact::{Event, EventKind, LogLine};
use fintan_config::{LossProperties, Scaling, Settings};

use crate::losses::{Victory, adversarial};

/// Number of steps over which the median is taken, because every start is rough and batches are noisy.
const WINDOW: u64 = 200;

/// Samples have collapsed if their standard deviation is below this fraction of the data's.
const COLLAPSE: f64 = 0.2;

/// There is a checkerboard if spectral energy at period 2 is above this multiple of the data's.
const CHECKERBOARD: f64 = 5.0;

/// The discriminator has won once its loss falls below this fraction of chance level: 0.05 under cross-entropy.
const WON: f64 = 0.05 / (2.0 * std::f64::consts::LN_2);

/// A critic has left the generator on a plateau if its slope at generated images is below this fraction of its mean slope to
/// real images.
const PLATEAU: f64 = 0.05;

/// Detects states in the log of a GAN that training does not leave on its own.
///
/// Its state depends only on the log lines, in their order. In a resumed run it reads the existing lines and is then in the
/// same state as before. Lines of other programs may come in any order: only lines of the last 200 steps count, and lines of
/// later steps do not. A state begins or ends when the median over 200 steps crosses its threshold.
///
/// | state | criterion |
/// | --- | --- |
/// | the discriminator has won | bce, hinge, lsgan, relativistic: the loss, minus the minimum that label smoothing allows, is below 3.6 % of the loss at chance level (2 ln 2, 2, 1/4, ln 2). Wasserstein losses have no such scale: the slope at generated images is below 5 % of the mean slope from there to real images |
/// | collapse | the standard deviation of samples is below 0.2 of the data's |
/// | checkerboard | spectral energy at period 2 is above 5 times the data's |
///
/// ```
/// use fintan_artifact::{EventKind, LogLine};
/// use fintan_config::Experiment;
/// use fintan_train::Health;
///
/// let text = "
///     data.shapes = {}
///     generator = { fc.widths = [4], optimizer.adam.rate = 1e-3 }
///     discriminator = { fc.widths = [4], optimizer.adam.rate = 1e-3 }
/// ";
/// let mut health = Health::new(&Experiment::parse("toy.toml", text, &[])?.settings);
/// // Samples whose standard deviation is a tenth of the data's.
/// let line = |step| LogLine { step, d_loss: 1.3, std_ratio: 0.1, nyquist_ratio: 1.0, ..LogLine::default() };
/// let events: Vec<_> = (1..=40).flat_map(|i| health.look(&line(10 * i))).collect();
/// assert_eq!((events.len(), events[0].event, events[0].begins), (1, EventKind::Collapse, Some(true)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Health {
    settings: Settings,
    /// The states: discriminator has won, collapse, checkerboard.
    states: [State; 3],
}

/// A state, and the recent values on which it depends.
#[derive(Debug, Clone, Default)]
struct State {
    lasts: bool,
    /// The first step whose value counts.
    since: Option<u64>,
    /// The values of the last steps.
    window: VecDeque<(u64, f64)>,
}

impl State {
    /// Whether the state begins or ends with this step. Values that caused one change are not used for the next.
    fn look(&mut self, step: u64, number: f64, here: impl Fn(f64) -> bool) -> Option<bool> {
        let since = *self.since.get_or_insert(step);
        self.window.push_back((step, number));
        self.window.retain(|(at, _)| step.checked_sub(*at).is_some_and(|age| age <= WINDOW));
        let mut numbers: Vec<f64> = self.window.iter().map(|(_, number)| *number).collect();
        numbers.sort_unstable_by(f64::total_cmp);
        let here = here(numbers[numbers.len() / 2]);
        (step.saturating_sub(since) >= WINDOW && here != self.lasts).then(|| {
            *self = Self { lasts: here, ..Self::default() };
            here
        })
    }
}

impl Health {
    /// The health of a run before its first line.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self { settings: settings.clone(), states: Default::default() }
    }

    /// Reads a line of the log, and returns the events that it causes.
    pub fn look(&mut self, line: &LogLine) -> Vec<Event> {
        let resistance = self.resistance(line);
        let [won, collapse, checkerboard] = &mut self.states;
        let changes = [
            (EventKind::DiscriminatorWon, won.look(line.step, resistance, |share| share < 1.0)),
            (EventKind::Collapse, collapse.look(line.step, line.std_ratio, |ratio| ratio < COLLAPSE)),
            (EventKind::Checkerboard, checkerboard.look(line.step, line.nyquist_ratio, |ratio| ratio > CHECKERBOARD)),
        ];
        let told = changes.into_iter().filter_map(|(event, begins)| Some((event, begins?)));
        told.map(|(event, begins)| {
            let message = self.words(event, begins, line);
            Event { step: line.step, event, begins: Some(begins), message, seconds: None }
        })
        .collect()
    }

    /// Distance of the discriminator from winning, relative to the threshold: it has won below 1.
    fn resistance(&self, line: &LogLine) -> f64 {
        match adversarial(&self.settings).victory() {
            Victory::Loss { least, undecided } => (line.d_loss - least) / (undecided - least) / WON,
            Victory::Slope => line.slope_ratio.unwrap_or(1.0) / PLATEAU,
        }
    }

    /// Whether the generator's nonlinearity is already centred, so that centring cannot move it further into chaos.
    fn is_centred(&self) -> bool {
        let generator = &self.settings.generator;
        let activation = generator.dcgan.as_ref().map(|preset| preset.activation);
        let activation = activation.or_else(|| generator.fc.as_ref().map(|preset| preset.activation));
        activation.is_some_and(|activation| activation.scaling == Scaling::Normalized)
    }

    fn words(&self, event: EventKind, begins: bool, line: &LogLine) -> String {
        let LogLine { d_loss, std_ratio, correlation, nyquist_ratio, .. } = line;
        let LossProperties { has_labels, clip, .. } = self.settings.loss.function.properties();
        match (event, begins) {
            (EventKind::DiscriminatorWon, true) if adversarial(&self.settings).victory() == Victory::Slope => {
                let other = clip.map_or("", |_| "function = { wgan_gp = {} } in place of clipping, ");
                format!(
                    "the discriminator has won: its slope at generated images is {:.3} of the mean slope to real ones, and the \
                     generator learns nothing there; try {other}a smaller discriminator.optimizer rate, or a smaller \
                     train.n_critic",
                    line.slope_ratio.unwrap_or_default()
                )
            }
            (EventKind::DiscriminatorWon, true) => {
                let smoothing = if has_labels { ", or train.label_smoothing = 0.1" } else { "" };
                format!(
                    "the discriminator has won: its loss is {d_loss:.3}, and the generator's gradient says little; try a \
                     smaller discriminator.optimizer rate or fewer channels, loss.r1 = {{ gamma = 1.0 }}, \
                     discriminator.spectral_norm{smoothing}"
                )
            }
            (EventKind::DiscriminatorWon, false) => "the discriminator no longer wins".into(),
            (EventKind::Collapse, true) => {
                let order = if self.is_centred() {
                    ""
                } else {
                    "a generator in order does (`fintan check` says how far it is): try activation.scaling = \"normalized\"; or "
                };
                format!(
                    "samples have collapsed: their spread is {std_ratio:.2} of the data's, their correlation {correlation:.2}; \
                     {order}try a smaller beta, batch norm, or a smaller generator.optimizer rate"
                )
            }
            (EventKind::Collapse, false) => format!("samples vary again: {std_ratio:.2} of the data's spread"),
            (EventKind::Checkerboard, true) => {
                let order = if self.is_centred() { "" } else { "activation.scaling = \"normalized\", " };
                format!(
                    "samples have {nyquist_ratio:.1} times the data's energy at period 2: checkerboards, or grain that is not \
                     trained away; try {order}layer_rates = \"three_halves\", a kernel that the stride divides, or \
                     more steps"
                )
            }
            (EventKind::Checkerboard, false) => {
                format!(
                    "the checkerboards are gone: samples have {nyquist_ratio:.1} times the data's energy at period 2"
                )
            }
            (EventKind::NotFinite | EventKind::Ntk, _) => unreachable!("these do not last"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fintan_config::Experiment;

    const SETTINGS: &str = "[data.shapes]\n[generator]\noptimizer.adam.rate = 1e-3\nfc.widths = [4]\n\
                            [discriminator]\noptimizer.adam.rate = 1e-3\nfc.widths = [4]\n";

    fn health(more: &str) -> Health {
        Health::new(&Experiment::parse("test", &format!("{SETTINGS}{more}"), &[]).expect("sound").settings)
    }

    fn sound(step: u64) -> LogLine {
        LogLine { step, d_loss: 1.3, std_ratio: 0.9, nyquist_ratio: 1.5, slope_ratio: Some(1.0), ..LogLine::default() }
    }

    /// Steps and kinds of the events for lines ten steps apart.
    fn said(health: &mut Health, line: impl Fn(u64) -> LogLine) -> Vec<(u64, EventKind, bool)> {
        let events = (1..=200).map(|i| 10 * i).flat_map(|step| health.look(&line(step)));
        events.map(|event| (event.step, event.event, event.begins.expect("a state"))).collect()
    }

    #[test]
    fn a_state_is_said_once_when_it_has_lasted_and_once_when_it_is_over() {
        let line = |step| LogLine { std_ratio: if (500..1500).contains(&step) { 0.1 } else { 0.9 }, ..sound(step) };
        let want = [(600, EventKind::Collapse, true), (1600, EventKind::Collapse, false)];
        assert_eq!(said(&mut health(""), line), want);
        // Occasional values beyond the threshold are not a state.
        let line = |step: u64| LogLine { std_ratio: if step.is_multiple_of(30) { 0.1 } else { 0.9 }, ..sound(step) };
        assert_eq!(said(&mut health(""), line), []);
        let line = |step| LogLine { nyquist_ratio: 7.0, ..sound(step) };
        assert_eq!(said(&mut health(""), line), [(210, EventKind::Checkerboard, true)]);
        assert_eq!(said(&mut health(""), sound), []);
    }

    /// Such lines come from other programs, wrong merges or edits.
    #[test]
    fn lines_in_any_order_are_taken() {
        let orders: [&[u64]; 5] = [
            &[600, 500, 400, 300, 200, 100, 0],
            &[100, 100, 100],
            &[0, u64::MAX, 0, u64::MAX - 1],
            &[u64::MAX; 3],
            &[5, 10_000_000_000, 6, 7],
        ];
        for steps in orders {
            let mut health = health("");
            for &step in steps {
                let numbers = [0.0, f64::NAN, f64::INFINITY, f64::MAX];
                for std_ratio in numbers {
                    health.look(&LogLine { std_ratio, ..sound(step) });
                }
            }
        }
    }

    #[test]
    fn a_discriminator_has_won_by_the_measure_of_its_loss() {
        for (more, lost, won) in [
            ("", 0.06, 0.04),
            ("[train]\nlabel_smoothing = 0.1\n", 0.40, 0.34),
            ("[loss]\nfunction = \"hinge\"\n", 0.08, 0.06),
            ("[loss]\nfunction = \"lsgan\"\n", 0.01, 0.008),
            ("[loss]\nfunction = \"relativistic\"\n", 0.03, 0.02),
        ] {
            let at = |d_loss| said(&mut health(more), |step| LogLine { d_loss, ..sound(step) });
            assert_eq!(at(lost), [], "{more}");
            assert_eq!(at(won), [(210, EventKind::DiscriminatorWon, true)], "{more}");
        }
        let wasserstein = "[loss]\nfunction = { wgan_clip = {} }\n";
        let line = |step| LogLine { d_loss: -50.0, ..sound(step) };
        assert_eq!(said(&mut health(wasserstein), line), [], "its loss has no scale");
        let line = |step| LogLine { d_loss: -50.0, slope_ratio: Some(0.02), ..sound(step) };
        assert_eq!(said(&mut health(wasserstein), line), [(210, EventKind::DiscriminatorWon, true)]);
    }
}
