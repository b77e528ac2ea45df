//! What the two networks of a GAN minimise.

use serde::{Deserialize, Serialize};

use crate::architecture::Architecture;
use crate::error::Invalid;
use crate::experiment::{Discriminator, Train, at_least_one, positive, within};
use crate::parametrization::Parametrization;

/// The loss of a GAN, and what may be added to it.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GanLoss {
    /// What is minimised.
    pub function: Adversarial,
    /// Penalty on the discriminator's slope at real images, added to any loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r1: Option<R1>,
}

/// What is minimised, l the outputs of the discriminator, means over the batch:
///
/// | | discriminator | generator |
/// | --- | --- | --- |
/// | bce | `softplus(l(x)) - t l(x) + softplus(l(G(z)))`, t = 1 - `train.label_smoothing` | `softplus(-l(G(z)))` |
/// | hinge | `max(0, 1 - l(x)) + max(0, 1 + l(G(z)))` | `-l(G(z))` |
/// | lsgan | `(l(x) - t)² / 2 + l(G(z))² / 2` | `(l(G(z)) - 1)² / 2` |
/// | wgan_gp, wgan_clip | `l(G(z)) - l(x)` | `-l(G(z))` |
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Adversarial {
    /// Cross-entropy, non-saturating (Goodfellow et al., arXiv 1406.2661).
    #[default]
    Bce,
    /// Hinge (Lim and Ye, arXiv 1705.02894).
    Hinge,
    /// Least squares with labels 1 and 0 (Mao et al., arXiv 1611.04076).
    Lsgan,
    /// Wasserstein with a gradient penalty (Gulrajani et al., arXiv 1704.00028).
    WganGp(GradientPenalty),
    /// Wasserstein with clipped weights (Arjovsky et al., arXiv 1701.07875).
    WganClip(Clip),
}

/// `penalty · mean (|∇l(x̂)| - 1)²`, x̂ uniform between a real and a generated image.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GradientPenalty {
    /// Weight of the penalty.
    pub penalty: f64,
}

impl Default for GradientPenalty {
    fn default() -> Self {
        Self { penalty: 10.0 }
    }
}

/// Parameters of the discriminator are kept in `[-clip, clip]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Clip {
    /// The bound.
    pub clip: f64,
}

impl Default for Clip {
    fn default() -> Self {
        Self { clip: 0.01 }
    }
}

/// `gamma / 2 · mean |∇l(x)|²` over real images (Mescheder et al., arXiv 1801.04406).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct R1 {
    /// Weight of the penalty.
    pub gamma: f64,
    /// Discriminator steps from one penalty to the next, which is multiplied by as many (lazy regularization).
    #[serde(default = "one")]
    pub every: u64,
}

fn one() -> u64 {
    1
}

/// Spectral normalization: the weight matrix W of each linear layer enters as W / σ(W), σ the largest singular value
/// (Miyato et al., arXiv 1802.05957).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpectralNorm {
    /// Power iterations after each step.
    pub iterations: usize,
}

impl Default for SpectralNorm {
    fn default() -> Self {
        Self { iterations: 1 }
    }
}

/// What training does once samples have collapsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnCollapse {
    /// Say so and go on.
    #[default]
    Warn,
    /// Save and stop.
    Stop,
}

impl Adversarial {
    /// Its name in a configuration.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bce => "bce",
            Self::Hinge => "hinge",
            Self::Lsgan => "lsgan",
            Self::WganGp(_) => "wgan_gp",
            Self::WganClip(_) => "wgan_clip",
        }
    }

    /// Whether the outputs of the discriminator are no logits but heights, of which only differences count.
    #[must_use]
    pub fn is_wasserstein(&self) -> bool {
        matches!(self, Self::WganGp(_) | Self::WganClip(_))
    }
}

/// Checks a loss against the discriminator it is for.
pub(crate) fn check_loss(
    loss: &GanLoss,
    train: &Train,
    settings: &Discriminator,
    discriminator: &Architecture,
) -> Result<(), Invalid> {
    let GanLoss { function, r1 } = *loss;
    match function {
        Adversarial::Bce | Adversarial::Hinge | Adversarial::Lsgan => {}
        Adversarial::WganGp(GradientPenalty { penalty }) => positive("loss.function.wgan_gp.penalty", penalty)?,
        Adversarial::WganClip(Clip { clip }) => positive("loss.function.wgan_clip.clip", clip)?,
    }
    if let Some(R1 { gamma, every }) = r1 {
        positive("loss.r1.gamma", gamma)?;
        at_least_one("loss.r1.every", every)?;
    }
    let name = function.name();
    if train.label_smoothing > 0.0 && !matches!(function, Adversarial::Bce | Adversarial::Lsgan) {
        let message = format!("`train.label_smoothing` belongs to `bce` and `lsgan`; `{name}` has no labels");
        return Err(Invalid::new("train.label_smoothing", message));
    }
    let penalty = match (function, r1) {
        (Adversarial::WganGp(_), _) => Some("loss.function.wgan_gp"),
        (_, Some(_)) => Some("loss.r1"),
        _ => None,
    };
    if let Some(key) = penalty.filter(|_| discriminator.is_batch_coupled()) {
        let message = format!(
            "`{key}` looks at the slope at each image by itself, but batch norm in the discriminator mixes the images of a batch"
        );
        return Err(Invalid::new(key, message).with_help("use norm = { layer = {} } or \"none\" in the discriminator"));
    }
    let Some(SpectralNorm { iterations }) = settings.spectral_norm else { return Ok(()) };
    let key = "discriminator.spectral_norm";
    within(&format!("{key}.iterations"), iterations, 1, 1000)?;
    if !matches!(settings.parametrization, Parametrization::Standard(_)) {
        let message = format!("`{key}` takes the place of the factors of `ntk` and `graph`; it needs `standard`");
        return Err(Invalid::new(key, message).with_help("parametrization = { standard = { init = \"he\" } }"));
    }
    if matches!(function, Adversarial::WganClip(_)) {
        return Err(Invalid::new(key, format!("`{key}` and `wgan_clip` both bound the weights; choose one")));
    }
    if !discriminator.flat().iter().any(|node| node.layer.properties().is_linear) {
        return Err(Invalid::new(key, format!("`{key}` needs a dense or convolutional layer")));
    }
    Ok(())
}
