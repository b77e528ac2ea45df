//! What a training run reports, one line a logged step.

use serde::{Deserialize, Serialize};

/// A line of `log.jsonl`. Numbers that could not be measured are left out.
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
