//! The lines of a training log, one for each logged step.

use serde::{Deserialize, Deserializer, Serialize};

/// Reads a number from JSON: NaN and infinities are written as null, and null is read as NaN.
///
/// # Errors
/// A value that is neither a number nor null.
pub fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// A line of a GAN's `log.jsonl`.
///
/// ```
/// use fintan_artifact::LogLine;
///
/// // A number that is not finite becomes null in JSON.
/// let line = LogLine { step: 3, d_loss: f64::NAN, steps_per_second: 9.5, ..LogLine::default() };
/// assert!(serde_json::to_string(&line)?.starts_with(r#"{"step":3,"d_loss":null,"g_loss":0.0,"#));
/// assert_eq!(line.without_timings().steps_per_second, 0.0);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LogLine {
    /// Number of completed generator steps.
    pub step: u64,
    /// Loss of the discriminator, without penalties.
    #[serde(deserialize_with = "number")]
    pub d_loss: f64,
    /// Loss of the generator.
    #[serde(deserialize_with = "number")]
    pub g_loss: f64,
    /// D(x), mean over real images. Under cross-entropy it is the probability that the discriminator assigns to "real",
    /// under other losses the output of the discriminator.
    #[serde(deserialize_with = "number")]
    pub d_real: f64,
    /// D(G(z)), mean over generated images, defined like `d_real`.
    #[serde(deserialize_with = "number")]
    pub d_fake: f64,
    /// Penalties on the discriminator's slope; missing if the step had no penalty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub d_penalty: Option<f64>,
    /// Only for Wasserstein losses: the mean slope of the discriminator at generated images, divided by its mean slope from
    /// there to real images, `|∇D(G(z))| |x - G(z)| / |D(x) - D(G(z))|`. If it is near 0, the generator is on a plateau and
    /// learns nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slope_ratio: Option<f64>,
    /// Standard deviation of a pixel over samples, averaged over pixels and divided by that of the data.
    #[serde(deserialize_with = "number")]
    pub std_ratio: f64,
    /// Mean correlation of the pixels of two samples: 1 if every latent gives the same image.
    #[serde(deserialize_with = "number")]
    pub correlation: f64,
    /// Fraction of spectral energy at period 2, divided by that of the data: a measure of checkerboards.
    #[serde(deserialize_with = "number")]
    pub nyquist_ratio: f64,
    /// Steps per second since the last line.
    #[serde(deserialize_with = "number")]
    pub steps_per_second: f64,
    /// Fraction of that time spent waiting for data.
    #[serde(deserialize_with = "number")]
    pub data_wait: f64,
}

impl LogLine {
    /// The line without its timings: the part that is reproducible from the seed on one device.
    #[must_use]
    pub fn without_timings(mut self) -> Self {
        self.steps_per_second = 0.0;
        self.data_wait = 0.0;
        self
    }
}

/// A line of `log.jsonl` about something other than a step, in any kind of training. [`RunDir::read_log`] leaves such lines
/// out; [`RunDir::read_events`] reads them.
///
/// [`RunDir::read_log`]: crate::RunDir::read_log
/// [`RunDir::read_events`]: crate::RunDir::read_events
///
/// ```
/// use fintan_artifact::{Event, EventKind};
///
/// let line = r#"{"step":40,"event":"collapse","begins":true,"message":"samples are almost the same"}"#;
/// let event: Event = serde_json::from_str(line)?;
/// assert_eq!((event.step, event.event, event.begins), (40, EventKind::Collapse, Some(true)));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Number of completed steps.
    pub step: u64,
    /// The kind of event.
    pub event: EventKind,
    /// Whether a state begins or ends; missing for events without a duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begins: Option<bool>,
    /// A description, with advice.
    pub message: String,
    /// Computing time in seconds, if it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

/// The kind of an [`Event`].
///
/// ```
/// use fintan_artifact::EventKind;
///
/// assert_eq!(serde_json::to_string(&EventKind::DiscriminatorWon)?, r#""discriminator_won""#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A loss or a parameter is not a finite number; training stopped.
    NotFinite,
    /// The generator can no longer learn from the discriminator.
    DiscriminatorWon,
    /// Samples are almost the same.
    Collapse,
    /// Samples have strong patterns of period 2.
    Checkerboard,
    /// A kernel was measured.
    Ntk,
}

/// A line of the `log.jsonl` of supervised training: losses over all samples, for the network after `step` steps.
///
/// ```
/// use fintan_artifact::SupervisedLine;
///
/// let text = r#"{"step":0,"train_loss":0.5,"test_loss":0.75,"seconds":2.0}"#;
/// let line: SupervisedLine = serde_json::from_str(text)?;
/// assert_eq!((line.test_loss, line.test_accuracy), (0.75, None)); // a regression
/// assert_eq!(line.without_timings().seconds, 0.0);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SupervisedLine {
    /// Number of completed steps; the first line has step 0.
    pub step: u64,
    /// Loss over the training samples.
    #[serde(deserialize_with = "number")]
    pub train_loss: f64,
    /// Loss over the test samples.
    #[serde(deserialize_with = "number")]
    pub test_loss: f64,
    /// Fraction of training samples classified correctly; missing for regression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_accuracy: Option<f64>,
    /// Fraction of test samples classified correctly; missing for regression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_accuracy: Option<f64>,
    /// Seconds since the previous line, including the measurement of this line.
    #[serde(deserialize_with = "number")]
    pub seconds: f64,
}

impl SupervisedLine {
    /// The line without its timing: the part that is reproducible from the seed on one device.
    #[must_use]
    pub fn without_timings(mut self) -> Self {
        self.seconds = 0.0;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_whose_numbers_are_not_finite_is_read_again() {
        let written =
            LogLine { step: 3, std_ratio: f64::NAN, d_real: f64::INFINITY, d_loss: 0.1, ..LogLine::default() };
        let text = serde_json::to_string(&written).expect("JSON");
        let read: LogLine = serde_json::from_str(&text).expect("a line");
        assert!(read.std_ratio.is_nan() && read.d_real.is_nan(), "{text}");
        assert_eq!((read.step, read.d_loss), (3, 0.1));
        assert!(serde_json::from_str::<LogLine>(&text.replace("\"d_loss\":0.1,", "")).is_err(), "a loss is missing");
    }
}
