//! An experiment as written in TOML, and the same experiment after checks.

use serde::{Deserialize, Serialize};

use crate::architecture::{Architecture, ArchitectureError};
use crate::citations::Citation;
use crate::data::{DataSource, Image, Reader};
use crate::error::Invalid;
use crate::function::Function;
use crate::layers::Layer;
use crate::loss::{GanLoss, OnCollapse, SpectralNorm, check_loss};
use crate::nonlinearity::Activation;
use crate::observe::Observe;
use crate::parametrization::{Beta, Parametrization, Standard};
use crate::presets::{DcganDiscriminator, DcganGenerator, Fc};
use crate::rates::LayerRates;
use crate::schedule::Schedule;
use crate::shape::Shape;

/// A configuration file with defaults filled in.
///
/// ```
/// use fintan_config::Settings;
///
/// let text = "
///     image = { size = 8, channels = 1 }
///     data.shapes.count = 16
///     generator = { latent = 4, fc.widths = [8], optimizer.adam.rate = 1e-3 }
///     discriminator = { fc.widths = [8], optimizer.adam.rate = 1e-3 }
/// ";
/// let settings: Settings = toml::from_str(text)?;
/// assert_eq!((settings.seed, settings.generator.latent), (0, 4));
/// assert_eq!(settings.check().expect("in range").generator.nodes[0].input.channels, 4);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Seed of everything that is drawn at random: weights, order of the data, latents.
    #[serde(default)]
    pub seed: u64,
    /// The form of the images: size, channels and how they are fitted.
    #[serde(default)]
    pub image: Image,
    /// Where images come from.
    pub data: DataSource,
    /// The generator.
    pub generator: Generator,
    /// The discriminator.
    pub discriminator: Discriminator,
    /// The functions that the networks minimise.
    #[serde(default)]
    pub loss: GanLoss,
    /// The loop.
    #[serde(default)]
    pub train: Train,
    /// What is measured during training.
    #[serde(default, skip_serializing_if = "Observe::is_empty")]
    pub observe: Observe,
}

/// A generator: exactly one of `dcgan`, `fc` and `layers`.
///
/// ```
/// let text = "latent = 4\nfc.widths = [8]\noptimizer.sgd.rate = 0.5";
/// let generator: fintan_config::Generator = toml::from_str(text)?;
/// assert_eq!((generator.latent, generator.optimizer.rate()), (4, 0.5));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generator {
    /// Number of latent variables, each N(0, 1).
    #[serde(default = "sixty_four")]
    pub latent: usize,
    /// How weights enter and are drawn.
    #[serde(default)]
    pub parametrization: Parametrization,
    /// Its optimiser.
    pub optimizer: OptimizerSettings,
    /// How its learning rate changes, by generator steps.
    #[serde(default)]
    pub schedule: Schedule,
    /// Learning rates that depend on the layer.
    #[serde(default)]
    pub layer_rates: LayerRates,
    /// Deconvolutional preset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dcgan: Option<DcganGenerator>,
    /// Fully connected preset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fc: Option<Fc>,
    /// Explicit layers, from a vector of latents to the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<Vec<Layer>>,
}

/// A discriminator: exactly one of `dcgan`, `fc` and `layers`.
///
/// ```
/// let text = "fc.widths = [8]\noptimizer.sgd.rate = 0.5\nspectral_norm = {}";
/// let discriminator: fintan_config::Discriminator = toml::from_str(text)?;
/// assert_eq!(discriminator.spectral_norm.expect("it is set").iterations, 1);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Discriminator {
    /// How weights enter and are drawn.
    #[serde(default)]
    pub parametrization: Parametrization,
    /// Its optimiser.
    pub optimizer: OptimizerSettings,
    /// How its learning rate changes, by generator steps.
    #[serde(default)]
    pub schedule: Schedule,
    /// Learning rates that depend on the layer.
    #[serde(default)]
    pub layer_rates: LayerRates,
    /// Spectral normalization of its linear layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spectral_norm: Option<SpectralNorm>,
    /// Convolutional preset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dcgan: Option<DcganDiscriminator>,
    /// Fully connected preset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fc: Option<Fc>,
    /// Explicit layers, from the image to one logit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<Vec<Layer>>,
}

const ADAM: Citation = Citation::new(
    "@inproceedings{kingma2015adam,
  author = {Kingma, Diederik P. and Ba, Jimmy},
  title = {Adam: A Method for Stochastic Optimization},
  booktitle = {International Conference on Learning Representations},
  year = {2015},
  eprint = {1412.6980},
  archiveprefix = {arXiv},
}",
);

/// An optimiser.
///
/// ```
/// let adam: fintan_config::OptimizerSettings = toml::from_str("adam.rate = 1e-3")?;
/// assert_eq!(adam.rate(), 1e-3);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptimizerSettings {
    /// Stochastic gradient descent.
    Sgd(Sgd),
    /// Adam (Kingma and Ba, arXiv 1412.6980).
    Adam(Adam),
}

impl OptimizerSettings {
    /// Publications.
    #[must_use]
    pub fn citations(&self) -> &'static [Citation] {
        match self {
            Self::Sgd(_) => &[],
            Self::Adam(_) => &[ADAM],
        }
    }

    /// The learning rate.
    #[must_use]
    pub fn rate(&self) -> f64 {
        match self {
            Self::Sgd(sgd) => sgd.rate,
            Self::Adam(adam) => adam.rate,
        }
    }
}

/// Settings of SGD.
///
/// ```
/// let sgd: fintan_config::Sgd = toml::from_str("rate = 0.5")?;
/// assert_eq!((sgd.rate, sgd.momentum), (0.5, 0.0));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sgd {
    /// Learning rate.
    pub rate: f64,
    /// Momentum in [0, 1).
    #[serde(default)]
    pub momentum: f64,
}

/// Settings of Adam.
///
/// ```
/// let adam: fintan_config::Adam = toml::from_str("rate = 1e-3")?;
/// assert_eq!((adam.beta1, adam.beta2), (0.5, 0.999));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adam {
    /// Learning rate.
    pub rate: f64,
    /// Decay of the first moment; 0.5 is usual for GANs.
    #[serde(default = "half")]
    pub beta1: f64,
    /// Decay of the second moment.
    #[serde(default = "beta2")]
    pub beta2: f64,
    /// Added to the root of the second moment.
    #[serde(default = "adam_eps")]
    pub eps: f64,
}

/// The training loop.
///
/// ```
/// let train: fintan_config::Train = toml::from_str("steps = 10")?;
/// assert_eq!((train.steps, train.n_critic, train.ema), (10, 1, None));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Train {
    /// Generator steps.
    pub steps: u64,
    /// Images a batch.
    pub batch: usize,
    /// Discriminator steps for each generator step.
    pub n_critic: usize,
    /// One-sided label smoothing: real images are labelled 1 - `label_smoothing`, if the loss has labels.
    pub label_smoothing: f64,
    /// Decay of the exponential moving average of the generator's weights, in (0, 1); by default there is no average.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema: Option<f64>,
    /// Steps between two lines of `log.jsonl`.
    pub log_every: u64,
    /// Steps between two sample grids.
    pub grid_every: u64,
    /// Rows and columns of a grid.
    pub grid: [usize; 2],
    /// Steps between two checkpoints.
    pub checkpoint_every: u64,
    /// Number of checkpoints that are kept.
    pub keep: usize,
    /// What training does after samples have collapsed.
    pub on_collapse: OnCollapse,
}

impl Default for Train {
    fn default() -> Self {
        Self {
            steps: 1000,
            batch: 64,
            n_critic: 1,
            label_smoothing: 0.0,
            ema: None,
            log_every: 10,
            grid_every: 100,
            grid: [8, 8],
            checkpoint_every: 200,
            keep: 2,
            on_collapse: OnCollapse::Warn,
        }
    }
}

fn sixty_four() -> usize {
    64
}
fn half() -> f64 {
    0.5
}
fn beta2() -> f64 {
    0.999
}
fn adam_eps() -> f64 {
    1e-8
}

/// A checked configuration with its networks worked out.
///
/// ```
/// use fintan_config::Experiment;
///
/// let text = "
///     image = { size = 8, channels = 1 }
///     data.shapes.count = 16
///     generator = { latent = 4, fc.widths = [8], optimizer.adam.rate = 1e-3 }
///     discriminator = { fc.widths = [8], optimizer.adam.rate = 1e-3 }
/// ";
/// let experiment = Experiment::parse("toy.toml", text, &[])?;
/// assert_eq!(experiment.generator.parameter_count(), (4 * 8 + 8) + (8 * 64 + 64));
/// assert_eq!(experiment.discriminator.output().len(), 1);
/// # Ok::<(), fintan_config::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Experiment {
    /// Every setting, defaults included.
    pub settings: Settings,
    /// The generator.
    pub generator: Architecture,
    /// The discriminator.
    pub discriminator: Architecture,
}

impl Settings {
    /// Checks the rules that types cannot express, and works out both networks.
    ///
    /// # Errors
    /// The first key that is out of range.
    pub fn check(mut self) -> Result<Experiment, Invalid> {
        let steps = self.train.steps;
        self.generator.schedule.settle("generator.schedule", steps)?;
        self.discriminator.schedule.settle("discriminator.schedule", steps)?;
        // Every field is named here, so a new setting does not compile until someone decides how to check it.
        let Self { seed: _, image, data, generator, discriminator, loss, train, observe } = &self;
        let Image { size, channels, fit: _, background: _, flip: _ } = *image;
        within("image.size", size, 1, 4096)?;
        if ![1, 3].contains(&channels) {
            return Err(Invalid::new("image.channels", format!("`image.channels` must be 1 or 3, got {channels}")));
        }
        Reader::Images.check(data)?;
        check_train(train)?;
        observe.check(usize::MAX)?;
        within("generator.latent", generator.latent, 1, 1 << 20)?;
        for (key, optimizer) in [("generator", &generator.optimizer), ("discriminator", &discriminator.optimizer)] {
            check_optimizer(&format!("{key}.optimizer"), optimizer)?;
        }
        for (key, rates) in [("generator", &generator.layer_rates), ("discriminator", &discriminator.layer_rates)] {
            check_layer_rates(&format!("{key}.layer_rates"), rates)?;
        }
        for (key, parametrization) in
            [("generator", generator.parametrization), ("discriminator", discriminator.parametrization)]
        {
            check_parametrization(key, parametrization)?;
        }

        let shape = Shape::image(channels, size, size);
        let latent = Shape::vector(generator.latent);
        let tanh = Activation::raw(Function::Tanh);
        let layers = match (&generator.dcgan, &generator.fc, &generator.layers) {
            (Some(preset), None, None) => preset.layers(shape).map_err(|e| below("generator.dcgan", e))?,
            (None, Some(preset), None) => preset.layers(latent, shape, Some(tanh)),
            (None, None, Some(layers)) => layers.clone(),
            _ => return Err(one_network("generator")),
        };
        let preset = given(generator.dcgan.is_some(), generator.fc.is_some());
        let made = work_out("generator", latent, &layers, generator.parametrization, shape, preset, train)?;

        let layers = match (&discriminator.dcgan, &discriminator.fc, &discriminator.layers) {
            (Some(preset), None, None) => preset.layers(shape).map_err(|e| below("discriminator.dcgan", e))?,
            (None, Some(preset), None) => preset.layers(shape, Shape::vector(1), None),
            (None, None, Some(layers)) => layers.clone(),
            _ => return Err(one_network("discriminator")),
        };
        let (preset, logit) = (given(discriminator.dcgan.is_some(), discriminator.fc.is_some()), Shape::vector(1));
        let judge = work_out("discriminator", shape, &layers, discriminator.parametrization, logit, preset, train)?;
        check_loss(loss, train, discriminator, &judge)?;
        Ok(Experiment { generator: made, discriminator: judge, settings: self })
    }
}

/// The key under which a network is written.
fn given(dcgan: bool, fc: bool) -> &'static str {
    match (dcgan, fc) {
        (true, _) => "dcgan",
        (_, true) => "fc",
        _ => "layers",
    }
}

/// The architecture of `layers`; an error if it does not lead from `input` to `output`.
fn work_out(
    key: &str,
    input: Shape,
    layers: &[Layer],
    parametrization: Parametrization,
    output: Shape,
    preset: &str,
    train: &Train,
) -> Result<Architecture, Invalid> {
    let explicit = preset == "layers";
    let network = Architecture::new(input, layers, parametrization).map_err(|e| {
        // The layers of a preset have no keys in the file, but their settings have the same names as the preset's.
        let setting = e.key.split_once("].").map_or("", |(_, setting)| setting);
        let at = if explicit { format!("{key}.layers{}", e.key) } else { format!("{key}.{preset}.{setting}") };
        Invalid { key: at, message: e.message, help: e.help }
    })?;
    if network.output() != output {
        let message = format!("the {key} must end with {output}, but its last layer gives {}", network.output());
        let at = if explicit { format!("{key}.layers") } else { key.to_owned() };
        return Err(Invalid::new(at, message));
    }
    if network.is_batch_coupled() && train.batch == 1 {
        return Err(Invalid::new("train.batch", "`train.batch` must be at least 2 under batch normalization, got 1"));
    }
    Ok(network)
}

fn below(preset: &str, e: ArchitectureError) -> Invalid {
    Invalid { key: format!("{preset}.{}", e.key), message: e.message, help: e.help }
}

fn one_network(key: &str) -> Invalid {
    Invalid::new(key, format!("`{key}` needs exactly one of `dcgan`, `fc` and `layers`"))
        .with_help(format!("for instance [{key}.dcgan], or [[{key}.layers]] for an explicit list"))
}

pub(crate) fn within(key: &str, value: usize, least: usize, most: usize) -> Result<(), Invalid> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(Invalid::new(key, format!("`{key}` must be in {least} to {most}, got {value}")))
    }
}

pub(crate) fn at_least_one(key: &str, value: u64) -> Result<(), Invalid> {
    if value > 0 { Ok(()) } else { Err(Invalid::new(key, format!("`{key}` must be at least 1, got 0"))) }
}

fn finite(key: &str, value: f64) -> Result<(), Invalid> {
    if value.is_finite() { Ok(()) } else { Err(Invalid::new(key, format!("`{key}` must be a number, got {value}"))) }
}

pub(crate) fn positive(key: &str, value: f64) -> Result<(), Invalid> {
    if value > 0.0 && value.is_finite() {
        Ok(())
    } else {
        Err(Invalid::new(key, format!("`{key}` must be greater than 0, got {value}")))
    }
}

fn fraction(key: &str, value: f64) -> Result<(), Invalid> {
    if (0.0..1.0).contains(&value) {
        Ok(())
    } else {
        Err(Invalid::new(key, format!("`{key}` must be in [0, 1), got {value}")))
    }
}

fn check_train(train: &Train) -> Result<(), Invalid> {
    let Train {
        steps,
        batch,
        n_critic,
        label_smoothing,
        ema,
        log_every,
        grid_every,
        grid,
        checkpoint_every,
        keep,
        on_collapse: _,
    } = *train;
    for (key, value) in [
        ("train.steps", steps),
        ("train.log_every", log_every),
        ("train.grid_every", grid_every),
        ("train.checkpoint_every", checkpoint_every),
    ] {
        at_least_one(key, value)?;
    }
    within("train.batch", batch, 1, 1 << 16)?;
    within("train.n_critic", n_critic, 1, 1000)?;
    within("train.keep", keep, 1, 1_000_000)?;
    for side in grid {
        within("train.grid", side, 1, 64)?;
    }
    fraction("train.label_smoothing", label_smoothing)?;
    match ema {
        Some(0.0) => {
            Err(Invalid::new("train.ema", "`train.ema` must be in (0, 1), got 0")
                .with_help("leave it out for no average"))
        }
        Some(decay) => fraction("train.ema", decay),
        None => Ok(()),
    }
}

pub(crate) fn check_layer_rates(key: &str, rates: &LayerRates) -> Result<(), Invalid> {
    if let LayerRates::Exponents(exponents) = rates {
        for (name, value) in [("weights", exponents.weights), ("biases", exponents.biases)] {
            finite(&format!("{key}.exponents.{name}"), value)?;
        }
    }
    Ok(())
}

pub(crate) fn check_optimizer(key: &str, optimizer: &OptimizerSettings) -> Result<(), Invalid> {
    match *optimizer {
        OptimizerSettings::Sgd(Sgd { rate, momentum }) => {
            positive(&format!("{key}.sgd.rate"), rate)?;
            fraction(&format!("{key}.sgd.momentum"), momentum)
        }
        OptimizerSettings::Adam(Adam { rate, beta1, beta2, eps }) => {
            positive(&format!("{key}.adam.rate"), rate)?;
            fraction(&format!("{key}.adam.beta1"), beta1)?;
            fraction(&format!("{key}.adam.beta2"), beta2)?;
            positive(&format!("{key}.adam.eps"), eps)
        }
    }
}

pub(crate) fn check_parametrization(key: &str, parametrization: Parametrization) -> Result<(), Invalid> {
    match parametrization {
        Parametrization::Standard(Standard { init, bias_std }) => {
            init.check().map_err(|(name, message)| {
                Invalid::new(format!("{key}.parametrization.standard.init.{name}"), message)
            })?;
            if bias_std >= 0.0 && bias_std.is_finite() {
                return Ok(());
            }
            let key = format!("{key}.parametrization.standard.bias_std");
            Err(Invalid::new(&key, format!("`{key}` must be at least 0, got {bias_std}")))
        }
        Parametrization::Ntk(Beta { beta }) | Parametrization::Graph(Beta { beta }) => {
            if (0.0..=1.0).contains(&beta) {
                return Ok(());
            }
            let name = if matches!(parametrization, Parametrization::Ntk(_)) { "ntk" } else { "graph" };
            let key = format!("{key}.parametrization.{name}.beta");
            Err(Invalid::new(&key, format!("`{key}` must be in [0, 1], got {beta}")))
        }
    }
}
