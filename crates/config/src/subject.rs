//! What a configuration describes: a GAN or a single network.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::architecture::Architecture;
use crate::data::DataSource;
use crate::deep::{Deep, Unit};
use crate::error::Invalid;
use crate::experiment::{Experiment, check_parametrization};
use crate::layers::Layer;
use crate::moments::{MomentsSettings, Point, check_moments, points};
use crate::observe::Observe;
use crate::parametrization::Parametrization;
use crate::presets::Fc;
use crate::shape::Shape;
use crate::task::{SupervisedExperiment, Task, check_task};

/// What a configuration file describes.
///
/// ```
/// use fintan_config::Subject;
///
/// let text = "network = { input = 4, outputs = 1, fc = { widths = [8] } }";
/// let subject = Subject::parse("toy.toml", text, &["network.outputs=2".into()])?;
/// let Subject::Network(toy) = subject else { panic!("not a network") };
/// assert_eq!(toy.network.parameter_count(), (4 * 8 + 8) + (8 * 2 + 2));
/// # Ok::<(), fintan_config::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Subject {
    /// A GAN: generator, discriminator, data and training.
    Gan(Box<Experiment>),
    /// A `[network]`, trained for its task, or studied with random weights or with weights from a file.
    Network(NetworkExperiment),
}

/// A configuration file with a `[network]` and defaults filled in.
///
/// ```
/// use fintan_config::NetworkSettings;
///
/// let text = "network = { input = [1, 4, 4], outputs = 2, fc = { widths = [8] } }";
/// let settings: NetworkSettings = toml::from_str(text)?;
/// assert_eq!(settings.check().expect("in range").network.parameter_count(), (16 * 8 + 8) + (8 * 2 + 2));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSettings {
    /// Seed of weights and inputs.
    #[serde(default)]
    pub seed: u64,
    /// The network.
    pub network: NetworkTable,
    /// Inputs and targets of the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<DataSource>,
    /// The training task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// What is measured of signal and noise in the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moments: Option<MomentsSettings>,
    /// What is measured during training.
    #[serde(default, skip_serializing_if = "Observe::is_empty")]
    pub observe: Observe,
}

/// A network: exactly one of `fc`, `vanilla`, `bn_ff`, `bn_res` and `layers`.
///
/// ```
/// use fintan_config::{InputShape, NetworkTable, Shape};
///
/// let table: NetworkTable = toml::from_str("input = 4\nlayers = [{ dense = { out = 2 } }]")?;
/// assert_eq!((table.input, table.layers.expect("explicit").len()), (InputShape(Shape::vector(4)), 1));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkTable {
    /// Shape of an input: a number of features, or `[channels, rows, columns]`.
    pub input: InputShape,
    /// How weights enter and are drawn.
    #[serde(default)]
    pub parametrization: Parametrization,
    /// Fully connected preset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fc: Option<Fc>,
    /// Deep preset: weights, nonlinearity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vanilla: Option<Deep>,
    /// Deep preset: weights, batch norm, nonlinearity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bn_ff: Option<Deep>,
    /// Deep preset: residual blocks of batch norm, nonlinearity, weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bn_res: Option<Deep>,
    /// Number of output features of the `fc` preset; explicit layers determine their own output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<usize>,
    /// Explicit layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<Vec<Layer>>,
}

/// Shape of an input, written `784` or `[1, 28, 28]`.
///
/// ```
/// use fintan_config::{NetworkTable, Shape};
///
/// let table: NetworkTable = toml::from_str("input = [1, 28, 28]\nlayers = []")?;
/// assert_eq!(table.input.0, Shape::image(1, 28, 28));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputShape(pub Shape);

impl<'de> Deserialize<'de> for InputShape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = InputShape;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number of features, or an image as [channels, rows, columns]")
            }
            fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<InputShape, E> {
                let n = usize::try_from(n).map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(n), &self))?;
                Ok(InputShape(Shape::vector(n)))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<InputShape, A::Error> {
                let mut axes = Vec::new();
                while let Some(n) = seq.next_element::<usize>()? {
                    axes.push(n);
                }
                match axes[..] {
                    [channels, height, width] => Ok(InputShape(Shape::image(channels, height, width))),
                    _ => Err(serde::de::Error::invalid_length(axes.len(), &self)),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl Serialize for InputShape {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Shape { channels, height, width } = self.0;
        if self.0.is_vector() {
            channels.serialize(serializer)
        } else {
            [channels, height, width].serialize(serializer)
        }
    }
}

/// A checked `[network]`.
///
/// ```
/// use fintan_config::Subject;
///
/// let text = "network = { input = [1, 4, 4], outputs = 2, fc = { widths = [8] } }";
/// let Subject::Network(toy) = Subject::parse("toy.toml", text, &[])? else { panic!("not a network") };
/// assert_eq!((toy.settings.seed, toy.network.input.len(), toy.network.output().len()), (0, 16, 2));
/// assert!(toy.supervised().is_none()); // without a task
/// # Ok::<(), fintan_config::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkExperiment {
    /// Every setting, defaults included.
    pub settings: NetworkSettings,
    /// The network.
    pub network: Architecture,
}

impl Subject {
    /// Every path of a file or folder in the configuration.
    pub fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        match self {
            Self::Gan(experiment) => experiment.settings.data.paths_mut(),
            Self::Network(network) => {
                let NetworkSettings { data, moments, .. } = &mut network.settings;
                let data = data.iter_mut().flat_map(DataSource::paths_mut);
                data.chain(moments.iter_mut().flat_map(|moments| moments.inputs.paths_mut())).collect()
            }
        }
    }

    /// The step at which training ends; `None` without a task.
    pub fn steps_mut(&mut self) -> Option<&mut u64> {
        match self {
            Self::Gan(experiment) => Some(&mut experiment.settings.train.steps),
            Self::Network(network) => network.settings.task.as_mut().map(|Task::Supervised(task)| &mut task.steps),
        }
    }

    /// Every setting as TOML, including defaults; reading it gives the same subject.
    #[must_use]
    pub fn to_toml(&self) -> String {
        match self {
            Self::Gan(experiment) => experiment.settings.to_toml(),
            Self::Network(network) => network.settings.to_toml(),
        }
    }
}

impl NetworkTable {
    /// The deep presets that are given, with the names of their tables.
    fn deep(&self) -> Vec<(&'static str, Unit, &Deep)> {
        let all = [
            ("vanilla", Unit::Vanilla, &self.vanilla),
            ("bn_ff", Unit::BnFf, &self.bn_ff),
            ("bn_res", Unit::BnRes, &self.bn_res),
        ];
        all.into_iter().filter_map(|(name, unit, preset)| preset.as_ref().map(|preset| (name, unit, preset))).collect()
    }

    /// The deep preset that is given; `None` without one.
    #[must_use]
    pub fn deep_preset(&self) -> Option<(Unit, &Deep)> {
        self.deep().first().map(|&(_, unit, preset)| (unit, preset))
    }
}

impl NetworkExperiment {
    /// The points at which moments are measured.
    #[must_use]
    pub fn points(&self) -> Vec<Point> {
        points(&self.network, self.settings.network.deep_preset().map(|(unit, _)| unit))
    }

    /// The network with its task; `None` without a task.
    #[must_use]
    pub fn supervised(&self) -> Option<SupervisedExperiment<'_>> {
        let NetworkSettings { seed, task, data, .. } = &self.settings;
        let (Some(Task::Supervised(task)), Some(data)) = (task, data) else { return None };
        Some(SupervisedExperiment { seed: *seed, network: &self.network, task, data })
    }
}

impl NetworkSettings {
    /// Checks the rules that types cannot express, and works out the network.
    ///
    /// # Errors
    /// The first key that is out of range.
    pub fn check(mut self) -> Result<NetworkExperiment, Invalid> {
        let NetworkTable {
            input: InputShape(input),
            parametrization,
            fc,
            vanilla: _,
            bn_ff: _,
            bn_res: _,
            outputs,
            layers,
        } = &self.network;
        if [input.channels, input.height, input.width].iter().any(|&n| n > 1 << 24) {
            let message = format!("`network.input` must have at most {} values along an axis, got {input}", 1 << 24);
            return Err(Invalid::new("network.input", message));
        }
        if input.is_empty() {
            return Err(Invalid::new("network.input", "`network.input` must have at least one value, got 0"));
        }
        check_parametrization("network", *parametrization)?;
        let deep = self.network.deep();
        let given = [fc.is_some(), layers.is_some()].into_iter().filter(|&given| given).count() + deep.len();
        if given != 1 {
            return Err(Invalid::new(
                "network",
                "`network` needs exactly one of `fc`, `vanilla`, `bn_ff`, `bn_res` and `layers`",
            )
            .with_help("for instance [[network.layers]] with dense = { out = 512 }"));
        }
        if let (None, Some(_)) = (fc, outputs) {
            return Err(Invalid::new("network.outputs", "`network.outputs` belongs to `network.fc`")
                .with_help("other networks end with what the last of their layers gives"));
        }
        let layers = match (fc, layers, outputs) {
            (Some(preset), None, Some(outputs)) => preset.layers(*input, Shape::vector(*outputs), None),
            (Some(_), None, None) => {
                return Err(Invalid::new("network", "`network.fc` needs `network.outputs`, the features it ends with"));
            }
            (_, Some(layers), _) => layers.clone(),
            (None, None, _) => {
                let (name, unit, preset) = deep[0];
                preset.layers(unit, *input, *parametrization).map_err(|e| Invalid {
                    key: format!("network.{name}.{}", e.key),
                    message: e.message,
                    help: e.help,
                })?
            }
        };
        let preset = if fc.is_some() { Some("fc") } else { deep.first().map(|(name, ..)| *name) };
        let network = Architecture::new(*input, &layers, *parametrization).map_err(|e| {
            let key = preset.map_or_else(|| format!("network.layers{}", e.key), |name| format!("network.{name}"));
            Invalid { key, message: e.message, help: e.help }
        })?;
        if let Some(moments) = &self.moments {
            let points = points(&network, deep.first().map(|&(_, unit, _)| unit));
            let mut locs: Vec<String> = Vec::new();
            for point in points.iter().filter(|point| point.depth > 0) {
                if !locs.contains(&point.loc) {
                    locs.push(point.loc.clone());
                }
            }
            check_moments(moments, &network, points.iter().map(|p| p.depth).max().unwrap_or(0), &locs)?;
        }
        match &mut self.task {
            Some(task) => {
                check_task(task, self.data.as_ref(), &network)?;
                let Task::Supervised(task) = task;
                task.batch = Some(task.batch());
                task.schedule.settle("task.supervised.schedule", task.steps)?;
                self.observe.check(task.train)?;
            }
            None if !self.observe.is_empty() => {
                return Err(Invalid::new("observe", "`observe` belongs to training; this network has no task"));
            }
            None if self.data.is_some() => {
                return Err(Invalid::new("data", "`data` of a network belongs to a task").with_help(
                    "for instance task.supervised = { goal = \"classification\", optimizer.sgd.rate = 1.0 }",
                ));
            }
            None => {}
        }
        Ok(NetworkExperiment { network, settings: self })
    }

    /// Every setting as TOML, including defaults.
    ///
    /// # Panics
    /// Never: the settings are plain tables, numbers and strings.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("settings are plain TOML")
    }
}
