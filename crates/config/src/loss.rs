//! The losses that the two networks of a GAN minimise.

use serde::{Deserialize, Serialize};

use crate::architecture::Architecture;
use crate::citations::Citation;
use crate::error::Invalid;
use crate::experiment::{Discriminator, Train, at_least_one, positive, within};
use crate::parametrization::Parametrization;

/// The loss of a GAN and an optional penalty.
///
/// ```
/// use fintan_config::{Adversarial, GanLoss};
///
/// let loss: GanLoss = toml::from_str("function = 'hinge'\nr1.gamma = 0.1")?;
/// assert_eq!(loss.function, Adversarial::Hinge);
/// assert_eq!(loss.r1.expect("it is set").every, 1);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GanLoss {
    /// The adversarial loss.
    pub function: Adversarial,
    /// Penalty on the discriminator's slope at real images, added to any loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r1: Option<R1>,
}

/// The adversarial losses. l is the output of the discriminator; all terms are means over the batch:
///
/// | | discriminator | generator |
/// | --- | --- | --- |
/// | bce | `softplus(l(x)) - t l(x) + softplus(l(G(z)))`, t = 1 - `train.label_smoothing` | `softplus(-l(G(z)))` |
/// | hinge | `max(0, 1 - l(x)) + max(0, 1 + l(G(z)))` | `-l(G(z))` |
/// | lsgan | `(l(x) - t)² / 2 + l(G(z))² / 2` | `(l(G(z)) - 1)² / 2` |
/// | wgan_gp, wgan_clip | `l(G(z)) - l(x)` | `-l(G(z))` |
/// | relativistic | `softplus(l(G(z)) - l(x))` | `softplus(l(x) - l(G(z)))` |
///
/// In `relativistic`, the i-th real image of a batch is paired with the i-th generated image.
///
/// ```
/// use fintan_config::Adversarial;
///
/// assert_eq!(Adversarial::Lsgan.properties().name, "lsgan");
/// assert!(Adversarial::Bce.properties().has_labels && !Adversarial::Hinge.properties().has_labels);
/// ```
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
    /// Relativistic pairing. The discriminator learns to rate each real image as more real than a generated one, and the
    /// generator learns the opposite (Jolicoeur-Martineau, arXiv 1807.00734; paired as in Huang et al., arXiv 2501.05441).
    Relativistic,
}

/// `penalty · mean (|∇l(x̂)| - 1)²`, with x̂ uniform on the segment between a real and a generated image.
///
/// ```
/// assert_eq!(fintan_config::GradientPenalty::default().penalty, 10.0); // the weight in the paper
/// ```
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

/// Clips the parameters of the discriminator to `[-clip, clip]`.
///
/// ```
/// assert_eq!(fintan_config::Clip::default().clip, 0.01); // the bound in the paper
/// ```
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
///
/// ```
/// let r1: fintan_config::R1 = toml::from_str("gamma = 0.1\nevery = 16")?;
/// assert_eq!((r1.gamma, r1.every), (0.1, 16)); // a penalty of 16 times its size in every 16th step
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct R1 {
    /// Weight of the penalty.
    pub gamma: f64,
    /// Discriminator steps from one penalty to the next. Each penalty is multiplied by this number (lazy regularization).
    #[serde(default = "one")]
    pub every: u64,
}

fn one() -> u64 {
    1
}

/// Spectral normalization: the weight matrix W of each linear layer is replaced by W / σ(W), where σ is the largest singular
/// value (Miyato et al., arXiv 1802.05957).
///
/// ```
/// assert_eq!(fintan_config::SpectralNorm::default().iterations, 1);
/// ```
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

/// What training does after samples have collapsed.
///
/// ```
/// use fintan_config::{OnCollapse, Train};
///
/// let train: Train = toml::from_str("steps = 10\non_collapse = 'stop'")?;
/// assert_eq!((train.on_collapse, Train::default().on_collapse), (OnCollapse::Stop, OnCollapse::Warn));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnCollapse {
    /// Reports the collapse and continues.
    #[default]
    Warn,
    /// Saves a checkpoint and stops.
    Stop,
}

/// The properties of a loss that the checks, the penalties and the observers of a run need. Its arithmetic is in
/// `fintan_train`.
///
/// ```
/// use fintan_config::{Adversarial, Clip};
///
/// let properties = Adversarial::WganClip(Clip { clip: 0.05 }).properties();
/// assert_eq!((properties.name, properties.clip), ("wgan_clip", Some(Clip { clip: 0.05 })));
/// assert_eq!(properties.slope_penalty, None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossProperties {
    /// Its name in a configuration.
    pub name: &'static str,
    /// Whether real and generated images have labels, which `train.label_smoothing` moves.
    pub has_labels: bool,
    /// A penalty on slopes between real and generated images that is part of the loss.
    pub slope_penalty: Option<GradientPenalty>,
    /// A bound on the discriminator's parameters that is part of the loss.
    pub clip: Option<Clip>,
    /// Publications.
    pub citations: &'static [Citation],
}

impl Adversarial {
    /// The properties of the loss.
    #[must_use]
    pub fn properties(&self) -> LossProperties {
        match *self {
            Self::Bce => {
                LossProperties { name: "bce", has_labels: true, slope_penalty: None, clip: None, citations: &[GAN] }
            }
            Self::Hinge => LossProperties {
                name: "hinge",
                has_labels: false,
                slope_penalty: None,
                clip: None,
                citations: &[GEOMETRIC_GAN],
            },
            Self::Lsgan => LossProperties {
                name: "lsgan",
                has_labels: true,
                slope_penalty: None,
                clip: None,
                citations: &[LEAST_SQUARES_GAN],
            },
            Self::WganGp(penalty) => LossProperties {
                name: "wgan_gp",
                has_labels: false,
                slope_penalty: Some(penalty),
                clip: None,
                citations: &[WASSERSTEIN_GAN, SLOPE_PENALTY],
            },
            Self::WganClip(clip) => LossProperties {
                name: "wgan_clip",
                has_labels: false,
                slope_penalty: None,
                clip: Some(clip),
                citations: &[WASSERSTEIN_GAN],
            },
            Self::Relativistic => LossProperties {
                name: "relativistic",
                has_labels: false,
                slope_penalty: None,
                clip: None,
                citations: &[RELATIVISTIC_GAN, R3GAN],
            },
        }
    }

    /// Every loss, with default settings.
    #[must_use]
    pub fn all() -> Vec<Self> {
        // The first is the default. Each arm names the next loss, so a loss that is missing here does not compile.
        let next = |loss: &Self| match loss {
            Self::Bce => Some(Self::Hinge),
            Self::Hinge => Some(Self::Lsgan),
            Self::Lsgan => Some(Self::WganGp(GradientPenalty::default())),
            Self::WganGp(_) => Some(Self::WganClip(Clip::default())),
            Self::WganClip(_) => Some(Self::Relativistic),
            Self::Relativistic => None,
        };
        std::iter::successors(Some(Self::default()), next).collect()
    }

    /// Its name in a configuration.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.properties().name
    }
}

/// Checks a loss against its discriminator.
pub(crate) fn check_loss(
    loss: &GanLoss,
    train: &Train,
    settings: &Discriminator,
    discriminator: &Architecture,
) -> Result<(), Invalid> {
    let GanLoss { function, r1 } = *loss;
    let LossProperties { name, has_labels, slope_penalty, clip, .. } = function.properties();
    if let Some(GradientPenalty { penalty }) = slope_penalty {
        positive(&format!("loss.function.{name}.penalty"), penalty)?;
    }
    if let Some(Clip { clip }) = clip {
        positive(&format!("loss.function.{name}.clip"), clip)?;
    }
    if let Some(R1 { gamma, every }) = r1 {
        positive("loss.r1.gamma", gamma)?;
        at_least_one("loss.r1.every", every)?;
    }
    if train.label_smoothing > 0.0 && !has_labels {
        let labelled: Vec<String> = Adversarial::all()
            .iter()
            .map(Adversarial::properties)
            .filter(|loss| loss.has_labels)
            .map(|loss| format!("`{}`", loss.name))
            .collect();
        let message = format!("`train.label_smoothing` belongs to {}; `{name}` has no labels", labelled.join(" and "));
        return Err(Invalid::new("train.label_smoothing", message));
    }
    let penalty = slope_penalty.map(|_| format!("loss.function.{name}")).or(r1.map(|_| "loss.r1".into()));
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
    if clip.is_some() {
        return Err(Invalid::new(key, format!("`{key}` and `{name}` both bound the weights; choose one")));
    }
    if !discriminator.flat().iter().any(|node| node.layer.properties().is_linear) {
        return Err(Invalid::new(key, format!("`{key}` needs a dense or convolutional layer")));
    }
    Ok(())
}

/// Generative adversarial networks.
pub(crate) const GAN: Citation = Citation::new(
    "@inproceedings{goodfellow2014gan,
  author = {Goodfellow, Ian J. and Pouget-Abadie, Jean and Mirza, Mehdi and Xu, Bing and Warde-Farley, David and Ozair, Sherjil and Courville, Aaron and Bengio, Yoshua},
  title = {Generative Adversarial Nets},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2014},
  eprint = {1406.2661},
  archiveprefix = {arXiv},
}",
);

const GEOMETRIC_GAN: Citation = Citation::new(
    "@misc{lim2017geometric,
  author = {Lim, Jae Hyun and Ye, Jong Chul},
  title = {Geometric {GAN}},
  year = {2017},
  eprint = {1705.02894},
  archiveprefix = {arXiv},
}",
);

const LEAST_SQUARES_GAN: Citation = Citation::new(
    "@inproceedings{mao2017lsgan,
  author = {Mao, Xudong and Li, Qing and Xie, Haoran and Lau, Raymond Y. K. and Wang, Zhen and Smolley, Stephen Paul},
  title = {Least Squares Generative Adversarial Networks},
  booktitle = {International Conference on Computer Vision},
  year = {2017},
  eprint = {1611.04076},
  archiveprefix = {arXiv},
}",
);

const WASSERSTEIN_GAN: Citation = Citation::new(
    r"@inproceedings{arjovsky2017wgan,
  author = {Arjovsky, Martin and Chintala, Soumith and Bottou, L{\'e}on},
  title = {Wasserstein Generative Adversarial Networks},
  booktitle = {International Conference on Machine Learning},
  year = {2017},
  eprint = {1701.07875},
  archiveprefix = {arXiv},
}",
);

const SLOPE_PENALTY: Citation = Citation::new(
    "@inproceedings{gulrajani2017wgangp,
  author = {Gulrajani, Ishaan and Ahmed, Faruk and Arjovsky, Martin and Dumoulin, Vincent and Courville, Aaron},
  title = {Improved Training of {Wasserstein} {GANs}},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2017},
  eprint = {1704.00028},
  archiveprefix = {arXiv},
}",
);

const RELATIVISTIC_GAN: Citation = Citation::new(
    "@inproceedings{jolicoeurmartineau2019relativistic,
  author = {Jolicoeur-Martineau, Alexia},
  title = {The Relativistic Discriminator: a Key Element Missing from Standard {GAN}},
  booktitle = {International Conference on Learning Representations},
  year = {2019},
  eprint = {1807.00734},
  archiveprefix = {arXiv},
}",
);

/// Relativistic losses on pairs of a real and a generated image.
const R3GAN: Citation = Citation::new(
    "@inproceedings{huang2024r3gan,
  author = {Huang, Yiwen and Gokaslan, Aaron and Kuleshov, Volodymyr and Tompkin, James},
  title = {The {GAN} is dead; long live the {GAN}! A Modern {GAN} Baseline},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2024},
  eprint = {2501.05441},
  archiveprefix = {arXiv},
}",
);

/// The R1 penalty.
pub(crate) const PENALTY_AT_REAL_IMAGES: Citation = Citation::new(
    "@inproceedings{mescheder2018r1,
  author = {Mescheder, Lars and Geiger, Andreas and Nowozin, Sebastian},
  title = {Which Training Methods for {GANs} do actually Converge?},
  booktitle = {International Conference on Machine Learning},
  year = {2018},
  eprint = {1801.04406},
  archiveprefix = {arXiv},
}",
);

/// Spectral normalization.
pub(crate) const SPECTRAL_NORM: Citation = Citation::new(
    "@inproceedings{miyato2018spectral,
  author = {Miyato, Takeru and Kataoka, Toshiki and Koyama, Masanori and Yoshida, Yuichi},
  title = {Spectral Normalization for Generative Adversarial Networks},
  booktitle = {International Conference on Learning Representations},
  year = {2018},
  eprint = {1802.05957},
  archiveprefix = {arXiv},
}",
);

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares the list with the names that the parser knows.
    #[test]
    fn the_list_of_losses_is_whole_and_its_names_are_those_of_the_parser() {
        let names: Vec<&str> = Adversarial::all().iter().map(Adversarial::name).collect();
        let said = serde_json::from_str::<Adversarial>("\"?\"").expect_err("no loss").to_string();
        let known: Vec<&str> = said.split('`').skip(3).step_by(2).collect();
        assert_eq!(names, known, "{said}");
        for loss in Adversarial::all() {
            let written = serde_json::to_value(loss).expect("JSON");
            let key = written.as_object().and_then(|table| table.keys().next()).map(String::as_str);
            assert_eq!(key.or(written.as_str()), Some(loss.name()));
        }
    }
}
