//! What a training run reports, one line a logged step.

use serde::{Deserialize, Deserializer, Serialize};

/// Reads a number as JSON has it: NaN and infinities are written as null, and null is read as NaN.
///
/// # Errors
/// What is neither a number nor null.
pub fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// A line of a GAN's `log.jsonl`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LogLine {
    /// Generator steps done.
    pub step: u64,
    /// Loss of the discriminator, without penalties.
    #[serde(deserialize_with = "number")]
    pub d_loss: f64,
    /// Loss of the generator.
    #[serde(deserialize_with = "number")]
    pub g_loss: f64,
    /// D(x), mean over real images: the probability that the discriminator calls them real under cross-entropy, its output
    /// under other losses.
    #[serde(deserialize_with = "number")]
    pub d_real: f64,
    /// D(G(z)), mean over generated images, as `d_real`.
    #[serde(deserialize_with = "number")]
    pub d_fake: f64,
    /// Penalties on the discriminator's slope; left out where the step had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub d_penalty: Option<f64>,
    /// Of Wasserstein losses: the mean slope of the discriminator at generated images over the mean slope from there to real
    /// ones, `|∇D(G(z))| |x - G(z)| / |D(x) - D(G(z))|`. Near 0 the generator stands on a plateau and learns nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slope_ratio: Option<f64>,
    /// Standard deviation of a pixel over samples, averaged over pixels, over the data's.
    #[serde(deserialize_with = "number")]
    pub std_ratio: f64,
    /// Mean correlation of two samples' pixels: 1 where every latent gives one image.
    #[serde(deserialize_with = "number")]
    pub correlation: f64,
    /// Share of spectral energy at period 2, over the data's: the checkerboard.
    #[serde(deserialize_with = "number")]
    pub nyquist_ratio: f64,
    /// Steps a second since the last line.
    #[serde(deserialize_with = "number")]
    pub steps_per_second: f64,
    /// Share of that time spent waiting for data.
    #[serde(deserialize_with = "number")]
    pub data_wait: f64,
}

impl LogLine {
    /// The line without its timings: what one seed reproduces on one device.
    #[must_use]
    pub fn without_timings(mut self) -> Self {
        self.steps_per_second = 0.0;
        self.data_wait = 0.0;
        self
    }
}

/// A line of `log.jsonl`, of any training, that tells of something other than the step: [`RunDir::read_log`] leaves these
/// out, [`RunDir::read_events`] reads them.
///
/// [`RunDir::read_log`]: crate::RunDir::read_log
/// [`RunDir::read_events`]: crate::RunDir::read_events
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Steps done.
    pub step: u64,
    /// What it is about.
    pub event: EventKind,
    /// Whether a state begins or ends; left out for what does not last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begins: Option<bool>,
    /// In words, with what to try.
    pub message: String,
    /// What it cost, where it cost anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

/// What an [`Event`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A loss or a parameter is not a finite number; training stopped.
    NotFinite,
    /// The generator can no longer learn from the discriminator.
    DiscriminatorWon,
    /// Samples hardly differ.
    Collapse,
    /// Samples are full of patterns of period 2.
    Checkerboard,
    /// A kernel was measured.
    Ntk,
}

/// A line of the `log.jsonl` of supervised training: losses of the network as it is after `step` steps, over all samples.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SupervisedLine {
    /// Steps done; the first line is that of step 0.
    pub step: u64,
    /// Loss over the training samples.
    #[serde(deserialize_with = "number")]
    pub train_loss: f64,
    /// Loss over the test samples.
    #[serde(deserialize_with = "number")]
    pub test_loss: f64,
    /// Share of training samples in the right class; left out for regression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_accuracy: Option<f64>,
    /// Share of test samples in the right class; left out for regression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_accuracy: Option<f64>,
    /// Seconds since the line before, the measuring of this one included.
    #[serde(deserialize_with = "number")]
    pub seconds: f64,
}

impl SupervisedLine {
    /// The line without its timing: what one seed reproduces on one device.
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
