//! A lower bound of the memory that a network needs, computed before anything is allocated.

use std::fmt;

use crate::architecture::{Architecture, Node};
use crate::data::{DataSource, Shapes};
use crate::error::Invalid;
use crate::experiment::{Experiment, OptimizerSettings, Sgd};
use crate::subject::{NetworkExperiment, Subject};

/// A number of bytes, displayed with a unit.
///
/// ```
/// assert_eq!(fintan_config::Bytes(1.5e9).to_string(), "1.5 GB");
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bytes(pub f64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bytes) = *self;
        let (unit, name) =
            [(1e9, "GB"), (1e6, "MB"), (1e3, "kB")].into_iter().find(|&(u, _)| bytes >= u).unwrap_or((1.0, "B"));
        write!(f, "{:.1} {name}", bytes / unit)
    }
}

/// The parts of a network that a command keeps in memory.
///
/// ```
/// use fintan_config::{Architecture, Beta, Held, MemoryBound, Layer, Parametrization, Shape};
///
/// let ntk = Parametrization::Ntk(Beta { beta: 0.0 });
/// let network = Architecture::new(Shape::vector(4), &[Layer::Dense(3.into())], ntk)?;
/// // 15 parameters of 4 bytes do not fit into 50 bytes.
/// assert!(MemoryBound { held: Held::Parameters, free: Some(50.0) }.admit(&network).is_err());
/// # Ok::<(), fintan_config::ArchitectureError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// Every parameter in f32, and additionally the largest matrix in f64 while it is drawn.
    Parameters,
    /// Parameters of one layer at a time.
    Layer,
    /// Parameters, gradients, the state of the optimiser, and the feature maps of one batch.
    Training,
}

/// A bound on the memory of a command.
///
/// The count is a lower bound (patches, copies and the allocator need more), so a network that fits is never refused.
///
/// ```
/// use fintan_config::{Architecture, Beta, Held, MemoryBound, Layer, Parametrization, Shape};
///
/// let ntk = Parametrization::Ntk(Beta { beta: 0.0 });
/// let network = Architecture::new(Shape::vector(4), &[Layer::Dense(3.into())], ntk)?;
/// let admits = |free| MemoryBound { held: Held::Parameters, free }.admit(&network).is_ok();
/// assert_eq!([None, Some(1e6), Some(1.0)].map(admits), [true, true, false]);
/// # Ok::<(), fintan_config::ArchitectureError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MemoryBound {
    /// The parts that are counted.
    pub held: Held,
    /// Bytes that may be used; `None` means no bound.
    pub free: Option<f64>,
}

/// Bytes of a number on the device.
const F32: f64 = 4.0;

/// Bytes of a number while it is drawn.
const F64: f64 = 8.0;

impl MemoryBound {
    /// No bound, for callers that do not build the network.
    #[must_use]
    pub const fn none() -> Self {
        Self { held: Held::Parameters, free: None }
    }

    /// Refuses a subject that cannot fit.
    pub(crate) fn check(&self, subject: &Subject) -> Result<(), Invalid> {
        match subject {
            Subject::Gan(gan) => self.check_gan(gan),
            Subject::Network(network) => self.check_network(network),
        }
    }

    /// Refuses a network that does not fit into memory. The network need not come from a configuration file.
    ///
    /// # Errors
    /// Returns the memory it needs and the memory that is free, at its largest layer.
    pub fn admit(&self, network: &Architecture) -> Result<(), Invalid> {
        let part = Part { network, key: "", word: "network", preset: None, copies: 1.0 };
        self.check_parts(&[part], 0.0, "", 0)
    }

    fn check_gan(&self, gan: &Experiment) -> Result<(), Invalid> {
        let (g, d, train) = (&gan.settings.generator, &gan.settings.discriminator, &gan.settings.train);
        let generator = Part {
            network: &gan.generator,
            key: "generator",
            word: "generator",
            preset: preset([(g.dcgan.is_some(), "dcgan.channels"), (g.fc.is_some(), "fc.widths")]),
            copies: copies(&g.optimizer),
        };
        let discriminator = Part {
            network: &gan.discriminator,
            key: "discriminator",
            word: "discriminator",
            preset: preset([(d.dcgan.is_some(), "dcgan.channels"), (d.fc.is_some(), "fc.widths")]),
            copies: copies(&d.optimizer),
        };
        let maps = train.batch as f64 * F32 * (maps(&gan.generator.nodes) + maps(&gan.discriminator.nodes));
        self.check_parts(&[generator, discriminator], maps, "train.batch", train.batch)?;
        let count = match gan.settings.data {
            DataSource::Shapes(Shapes { count, seed: _ }) => count,
            // The size of these is known only after they are opened; the check of a GAN refuses the last three.
            DataSource::Idx(_)
            | DataSource::Cifar(_)
            | DataSource::Folder(_)
            | DataSource::Tar(_)
            | DataSource::Zip(_)
            | DataSource::Npy(_)
            | DataSource::Npz(_)
            | DataSource::Teacher(_)
            | DataSource::Iid(_)
            | DataSource::Spectrum(_) => return Ok(()),
        };
        let image = gan.discriminator.input.len() as f64;
        self.fits(count as f64 * image, || ("data.shapes.count".into(), format!("{count} images of {image} bytes")))
    }

    fn check_network(&self, alone: &NetworkExperiment) -> Result<(), Invalid> {
        let table = &alone.settings.network;
        let deep = table.deep_preset().map(|(_, deep)| deep);
        let named = [
            (table.fc.is_some(), "fc.widths"),
            (table.vanilla.is_some(), "vanilla.width"),
            (table.bn_ff.is_some(), "bn_ff.width"),
            (deep.is_some(), "bn_res.width"),
        ];
        let task = alone.supervised();
        let part = Part {
            network: &alone.network,
            key: "network",
            word: "network",
            preset: preset(named),
            copies: task.map_or(1.0, |task| copies(&task.task.optimizer)),
        };
        let batch = task.map_or(0, |task| task.task.batch());
        let maps = batch as f64 * F32 * maps(&alone.network.nodes);
        self.check_parts(&[part], maps, "task.supervised.batch", batch)?;
        let Some(task) = task else { return Ok(()) };
        let (samples, values) = (task.task.train as f64 + task.task.test as f64, alone.network.input.len() as f64);
        self.fits(samples * values * F32, || {
            ("task.supervised.train".into(), format!("{samples} samples of {values} values"))
        })
    }

    fn check_parts(&self, parts: &[Part], maps: f64, batch_key: &str, batch: usize) -> Result<(), Invalid> {
        let mut sum = 0.0;
        for part in parts {
            let (parameters, largest) = part.parameters();
            let (needed, what) = match self.held {
                Held::Layer => (largest.1 * F32, "parameters of its largest layer"),
                Held::Parameters => (parameters * F32 + largest.1 * F64, "parameters"),
                Held::Training => ((parameters * part.copies * F32).max(largest.1 * F64), "parameters to be trained"),
            };
            sum += needed;
            let count = if self.held == Held::Layer { largest.1 } else { parameters };
            self.fits(needed, || (part.key_of(largest.0), format!("the {}, {count} {what},", part.word)))?;
        }
        if self.held != Held::Training {
            return Ok(());
        }
        // First both networks together, then also the maps of a batch.
        self.fits(sum, || (parts[0].key.into(), "the networks together, parameters to be trained,".into()))?;
        self.fits(sum + maps, || (batch_key.into(), format!("a step on {batch} samples")))
    }

    fn fits(&self, needed: f64, what: impl FnOnce() -> (String, String)) -> Result<(), Invalid> {
        let Some(free) = self.free.filter(|&free| needed > free) else { return Ok(()) };
        let (key, what) = what();
        let message = format!("{what} needs at least {} of memory, but {} is free", Bytes(needed), Bytes(free));
        Err(Invalid::new(key, message))
    }
}

/// A network of a configuration.
struct Part<'a> {
    network: &'a Architecture,
    /// The key under which it is written.
    key: &'static str,
    word: &'static str,
    /// The setting of its preset that determines its width.
    preset: Option<&'static str>,
    /// Numbers per parameter: the parameter, its gradient and its moments.
    copies: f64,
}

impl Part<'_> {
    /// Number of parameters, and the key and size of the largest layer.
    fn parameters(&self) -> (f64, (String, f64)) {
        let mut largest = (String::new(), 0.0);
        let path = if self.key.is_empty() { "layers".to_owned() } else { format!("{}.layers", self.key) };
        let all = count(&self.network.nodes, &path, &mut largest);
        (all, largest)
    }

    /// The key of the setting that determines the size of its largest layer.
    fn key_of(&self, layer: String) -> String {
        self.preset.map_or(layer, |setting| format!("{}.{setting}", self.key))
    }
}

fn count(nodes: &[Node], path: &str, largest: &mut (String, f64)) -> f64 {
    let mut all = 0.0;
    for (i, node) in nodes.iter().enumerate() {
        let at = format!("{path}[{i}].{}", node.layer.name());
        let own = if node.index.is_some() { node.weight_count() as f64 + node.bias_count() as f64 } else { 0.0 };
        all += own + count(&node.branch, &format!("{at}.layers"), largest);
        all += count(&node.shortcut, &format!("{at}.shortcut"), largest);
        if own > largest.1 {
            *largest = (at, own);
        }
    }
    all
}

/// Values of one sample that a forward pass keeps: the inputs of linear layers and nonlinearities.
fn maps(nodes: &[Node]) -> f64 {
    let kept = |node: &Node| {
        let own = if node.layer.properties().keeps_input { node.input.len() as f64 } else { 0.0 };
        // The shortcut may share its input with the branch.
        own + maps(&node.branch)
    };
    nodes.iter().map(kept).sum()
}

/// The setting of the given preset; `None` without a preset.
fn preset<const N: usize>(settings: [(bool, &'static str); N]) -> Option<&'static str> {
    settings.into_iter().find(|(given, _)| *given).map(|(_, setting)| setting)
}

/// Numbers that training holds for each parameter: the parameter, its gradient, and its moments.
fn copies(optimizer: &OptimizerSettings) -> f64 {
    match optimizer {
        OptimizerSettings::Adam(_) => 4.0,
        OptimizerSettings::Sgd(Sgd { momentum: 0.0, .. }) => 2.0,
        OptimizerSettings::Sgd(_) => 3.0,
    }
}
