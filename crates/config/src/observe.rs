//! What is measured during training.

use serde::{Deserialize, Serialize};

use crate::error::Invalid;
use crate::experiment::{at_least_one, within};

/// What is measured during training.
///
/// ```
/// let observe: fintan_config::Observe = toml::from_str("ntk.every = 100")?;
/// assert_eq!(observe.ntk.expect("it is set").every, 100);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Observe {
    /// The tangent kernel of the network, or of the generator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ntk: Option<ObserveNtk>,
}

/// The tangent kernel on a fixed probe set, every `every` steps.
///
/// ```
/// let ntk: fintan_config::ObserveNtk = toml::from_str("every = 100\nsamples = 4")?;
/// assert_eq!((ntk.every, ntk.samples), (100, 4));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObserveNtk {
    /// Steps between two kernels; the first kernel is measured at step 0.
    pub every: u64,
    /// Size of the probe set: latents from a separate random stream, or the first training samples of a task.
    #[serde(default = "samples")]
    pub samples: usize,
    /// Whether to measure also the kernel of the generator over its pixels, at the first probe (checkerboards and borders).
    #[serde(default = "yes")]
    pub pixels: bool,
    /// Whether the kernels are kept as files.
    #[serde(default)]
    pub keep: bool,
}

fn samples() -> usize {
    16
}
fn yes() -> bool {
    true
}

impl Observe {
    /// Whether nothing is measured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Checks the settings for a task with `most` training samples, or for a GAN.
    pub(crate) fn check(&self, most: usize) -> Result<(), Invalid> {
        let Some(ObserveNtk { every, samples, pixels: _, keep: _ }) = self.ntk else { return Ok(()) };
        at_least_one("observe.ntk.every", every)?;
        within("observe.ntk.samples", samples, 2, most.clamp(2, 4096))
    }
}
