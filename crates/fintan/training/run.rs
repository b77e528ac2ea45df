//! A run directory: the results of a training, and its settings.

use std::path::{Path, PathBuf};

use fintan_artifact::{Array, Environment, RunDir, RunError, differing_keys, settings_of};
use fintan_config::{MemoryBound, Subject};
use fintan_net::Mode;
use fintan_train::{draw_latents, generate};

use super::observe::ObservedKernel;
use super::resume::ResumeBuilder;
use crate::device::Device;
use crate::error::Error;
use crate::evaluation::{EvaluationBuilder, evaluate};
use crate::network::{Network, Role};

/// A run directory: a training with its checkpoints.
///
/// ```
/// assert!(matches!(fintan::Run::open("nowhere"), Err(fintan::Error::Run(_))));
/// ```
#[derive(Debug, Clone)]
pub struct Run {
    run: RunDir,
    device: Device,
}

impl Run {
    /// Opens a run directory for reading, with the CPU as its device.
    ///
    /// # Errors
    /// Fails if the folder is not a run.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, Error> {
        Ok(Self { run: RunDir::open(root.as_ref())?, device: Device::cpu() })
    }

    /// A finished training, whose lock is released.
    pub(super) fn of(run: &RunDir, device: Device) -> Result<Self, Error> {
        Ok(Self { run: RunDir::open(run.root())?, device })
    }

    /// Uses this device for computations.
    #[must_use]
    pub fn on(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// Begins to resume the training.
    #[must_use]
    pub fn resume<'a>(&self) -> ResumeBuilder<'a> {
        ResumeBuilder::new(self.root(), self.device.clone())
    }

    /// The directory of the run.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.run.root()
    }

    /// The steps of its checkpoints.
    ///
    /// # Errors
    /// Fails if the folder cannot be read.
    pub fn checkpoints(&self) -> Result<Vec<u64>, Error> {
        Ok(self.run.checkpoints()?)
    }

    /// The step of its newest checkpoint.
    ///
    /// # Errors
    /// Fails if the run has no checkpoint.
    pub fn steps(&self) -> Result<u64, Error> {
        Ok(self.run.find_checkpoint(None)?)
    }

    /// The path of the picture of samples at a step of a GAN.
    #[must_use]
    pub fn grid(&self, step: u64) -> PathBuf {
        self.run.grid(step)
    }

    /// The tangent kernels measured during training, in the order of their steps.
    ///
    /// # Errors
    /// Fails if the file is damaged.
    pub fn observed_kernels(&self) -> Result<Vec<ObservedKernel>, Error> {
        Ok(self.run.read_kernels()?)
    }

    /// Settings that were edited by hand in `config.resolved.toml` and `config.toml`. The run ignores the edits and keeps its
    /// settings; [`ResumeBuilder::set`] changes them.
    ///
    /// # Errors
    /// Fails if `env.json` is damaged.
    pub fn edits(&self) -> Result<Vec<SettingsEdit>, Error> {
        Ok(edits_in(&self.run, &self.run.environment()?, true))
    }

    /// The network of the newest checkpoint; for a GAN, the generator.
    ///
    /// # Errors
    /// Fails if the run has no checkpoint.
    pub fn network(&self) -> Result<Network, Error> {
        Ok(Network::load(self.root())?.on(self.device.clone()))
    }

    /// Begins an evaluation of its samples on the device of this run: metrics, compared with those of the data.
    #[must_use]
    pub fn evaluate<'a>(&self) -> EvaluationBuilder<'a> {
        evaluate(self.root()).device(self.device.clone())
    }

    /// Draws this number of images from the generator of the newest checkpoint, `[N, channels, rows, columns]` in [-1, 1], like
    /// [`Network::samples`].
    ///
    /// # Errors
    /// Fails if the run is of a network with a task, or the checkpoint cannot be read.
    pub fn samples(&self, n: usize) -> Result<Array<'static>, Error> {
        self.network()?.samples(n)
    }
}

impl Network {
    /// Draws this number of images from a generator, `[N, channels, rows, columns]` in [-1, 1]. Latents come from the seed of
    /// the configuration, and batch norms use their running statistics.
    ///
    /// # Errors
    /// Fails if the network is not a generator, or the weights cannot be read.
    pub fn samples(&self, n: usize) -> Result<Array<'static>, Error> {
        if self.role() != Role::Generator {
            return Err(Error::NoSamples(self.role().name()));
        }
        let placement = &self.device().placement;
        let (generator, _) = self.placed(placement, Mode::Eval)?;
        let latents = draw_latents(self.seed(), n, self.architecture().input.len(), None);
        let images = generate(&generator, &latents, Mode::Eval, &placement.device, &|_| ());
        let shape = self.architecture().output();
        let values = channels_first(&images.values, shape.channels, shape.positions());
        Ok(Array::f32(&[n, shape.channels, shape.height, shape.width], values))
    }
}

/// Reorders channels-last images so that the values of each channel are contiguous.
pub(crate) fn channels_first(values: &[f32], channels: usize, pixels: usize) -> Vec<f32> {
    let mut planes = vec![0.0_f32; values.len()];
    let len = channels * pixels;
    for (image, planes) in values.chunks_exact(len).zip(planes.chunks_exact_mut(len)) {
        for (i, &v) in image.iter().enumerate() {
            planes[i % channels * pixels + i / channels] = v;
        }
    }
    planes
}

/// A configuration file of a run that was edited by hand.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let config = folder.path().join("line.toml");
/// fs_err::write(&config, "
///     network = { input = 4, outputs = 1, fc = { widths = [8] } }
///     data.teacher.degree = 1
///     task.supervised = { goal = 'regression', train = 8, test = 8, steps = 1, optimizer.sgd.rate = 0.1 }
/// ")?;
/// let run = fintan::train(&config).out(folder.path().join("run")).device(fintan::Device::cpu()).run()?;
/// assert_eq!(run.edits()?, []);
/// let resolved = run.root().join("config.resolved.toml");
/// fs_err::write(&resolved, fs_err::read_to_string(&resolved)?.replace("rate = 0.1", "rate = 0.2"))?;
/// assert_eq!(run.edits()?[0].changes, "task.supervised.optimizer.sgd.rate = 0.2 (it was 0.1)");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsEdit {
    /// The file.
    pub file: PathBuf,
    /// The keys that changed, with the values before and after.
    pub changes: String,
}

/// Whether `key=value` is a setting of the data, the only ones of a run that other commands than `resume` change.
pub(crate) fn is_of_data(key_and_value: &str) -> bool {
    key_and_value.trim_start().starts_with("data.")
}

/// The subject of a run with the settings of its training and with overrides.
///
/// # Errors
/// Fails if the configuration cannot be read.
pub(crate) fn subject_of_run(run: &RunDir, overrides: &[String], memory: MemoryBound) -> Result<Subject, Error> {
    subject_of_settings(run, &run.configuration()?, overrides, memory)
}

/// What the settings of a run describe, with overrides.
pub(super) fn subject_of_settings(
    run: &RunDir,
    settings: &str,
    overrides: &[String],
    memory: MemoryBound,
) -> Result<Subject, Error> {
    let name = run.resolved_config().display().to_string();
    Ok(Subject::parse_within(&name, settings, overrides, memory)?)
}

/// Settings of the resolved configuration of a run that were edited by hand.
///
/// # Errors
/// An `env.json` that is damaged.
pub fn edit_of_resolved(run: &RunDir) -> Result<Option<SettingsEdit>, RunError> {
    Ok(edits_in(run, &run.environment()?, false).pop())
}

/// Settings of a run that were edited by hand: in the resolved configuration, and, where `of_both` wants it, in the one that the
/// run was begun with.
pub(super) fn edits_in(run: &RunDir, environment: &Environment, of_both: bool) -> Vec<SettingsEdit> {
    // During a resume, the resolved configuration may differ from `env.json` for a moment.
    let resolved = environment.settings.as_ref().filter(|_| environment.rewind.is_none());
    let begun = environment.config.as_ref().filter(|_| of_both);
    let files = [("config.resolved.toml", resolved), ("config.toml", begun)];
    let edits = files.into_iter().filter_map(|(name, written)| {
        let file = run.root().join(name);
        let changes = changed_keys(written?, &fs_err::read_to_string(&file).ok()?)?;
        Some(SettingsEdit { file, changes })
    });
    edits.collect()
}

/// The keys whose values were edited, as text; `None` if there are none.
fn changed_keys(written: &str, found: &str) -> Option<String> {
    let was = settings_of(written).ok()?;
    let is = match settings_of(found) {
        Ok(is) => is,
        Err(message) => return Some(format!("it can no longer be read ({message})")),
    };
    let value = |found: Option<&String>| found.cloned().unwrap_or_else(|| "nothing".into());
    let keys = differing_keys(&[&was, &is]);
    let said: Vec<String> =
        keys.iter().map(|key| format!("{key} = {} (it was {})", value(is.get(key)), value(was.get(key)))).collect();
    (!said.is_empty()).then(|| said.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_hold_one_channel_each() {
        assert_eq!(channels_first(&[1.0, 10.0, 2.0, 20.0], 2, 2), [1.0, 2.0, 10.0, 20.0]);
    }

    #[test]
    fn edits_are_keys_with_both_values() {
        let written = "seed = 1\n[train]\nsteps = 5\n";
        assert_eq!(changed_keys(written, "# mine\nseed = 1\ntrain = { steps = 5 }\n"), None);
        assert_eq!(
            changed_keys(written, "seed = 2\n[train]\n").as_deref(),
            Some("seed = 2 (it was 1), train = {} (it was nothing), train.steps = nothing (it was 5)")
        );
        assert!(changed_keys(written, "seed = ").is_some_and(|said| said.starts_with("it can no longer be read")));
    }
}
