//! What a training run reports, one line a logged step.

use serde::{Deserialize, Serialize};

/// A line of a GAN's `log.jsonl`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LogLine {
    /// Generator steps done.
    pub step: u64,
    /// Loss of the discriminator.
    pub d_loss: f64,
    /// Loss of the generator.
    pub g_loss: f64,
    /// Mean over real images of the probability that the discriminator calls them real: D(x).
    pub d_real: f64,
    /// The same over generated images: D(G(z)).
    pub d_fake: f64,
    /// Standard deviation of a pixel over samples, averaged over pixels, over the data's.
    pub std_ratio: f64,
    /// Mean correlation of two samples' pixels: 1 where every latent gives one image.
    pub correlation: f64,
    /// Share of spectral energy at period 2, over the data's: the checkerboard.
    pub nyquist_ratio: f64,
    /// Steps a second since the last line.
    pub steps_per_second: f64,
    /// Share of that time spent waiting for data.
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

/// A line of the `log.jsonl` of supervised training: losses of the network as it is after `step` steps, over all samples.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SupervisedLine {
    /// Steps done; the first line is that of step 0.
    pub step: u64,
    /// Loss over the training samples.
    pub train_loss: f64,
    /// Loss over the test samples.
    pub test_loss: f64,
    /// Share of training samples in the right class; left out for regression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_accuracy: Option<f64>,
    /// The same over test samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_accuracy: Option<f64>,
    /// Seconds since the line before, the measuring of this one included.
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
