//! The files that a training writes into its run directory.

use std::path::{Path, PathBuf};

use fintan_artifact::{Array, Draft, Environment, EventKind, LogLine, RunDir, RunError, write_npz, write_whole};
use fintan_config::{ConfigError, Experiment, OnCollapse, Settings, Subject};
use fintan_data::{Examples, Images, TaskData};
use fintan_metrics::Measures;
use fintan_report::grid_png;
use fintan_train::{Gan, Health, Observer, ObserverError, Score, Supervised, real_measures};

use super::events::{TrainingCallbacks, TrainingEvent};
use crate::device::{Device, threads};
use crate::error::Error;
use crate::lowering;

/// Number of samples for `metrics.json`.
const MEASURED: usize = 1024;

/// Makes the paths of a configuration absolute, so that a run can be resumed from any folder.
///
/// # Errors
/// Fails if a path is not Unicode, since a run cannot store it.
pub(crate) fn make_absolute(subject: &mut Subject) -> Result<(), Error> {
    for named in subject.paths_mut() {
        let absolute = std::path::absolute(&*named)?;
        if absolute.to_str().is_none() {
            return Err(Error::NotUnicode(absolute));
        }
        *named = absolute;
    }
    Ok(())
}

/// The properties of program and machine that may influence the numbers of a run.
pub(super) fn machine(device: &Device) -> serde_json::Map<String, serde_json::Value> {
    let system = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
    [
        ("program", concat!("fintan ", env!("CARGO_PKG_VERSION")).into()),
        ("device", device.name.as_str().into()),
        ("threads", threads().into()),
        ("system", system.into()),
    ]
    .into_iter()
    .chain(device.is_gpu().then(|| (lowering::KEY, lowering::name_of(device.placement.lowering).into())))
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

/// Publishes a run directory with the files that every training has from the start. `written` is the configuration file,
/// `resolved` its text with every default.
pub(super) fn publish_run(
    draft: Draft,
    written: &Path,
    resolved: &str,
    device: &Device,
    callbacks: &TrainingCallbacks,
) -> Result<RunDir, Error> {
    let config =
        fs_err::read(written).map_err(|source| ConfigError::Read { path: written.display().to_string(), source })?;
    draft.write("config.toml", &config)?;
    draft.write("config.resolved.toml", resolved.as_bytes())?;
    draft.as_run().write_environment(&Environment {
        machine: machine(device),
        config: String::from_utf8(config).ok(),
        settings: Some(resolved.to_owned()),
        ..Environment::default()
    })?;
    let run = draft.publish_run()?;
    callbacks.warn_of_lock(&run);
    Ok(run)
}

/// The path of `data.npz`, which predictions of a supervised training start from.
pub(crate) fn task_data_file(root: &Path) -> PathBuf {
    root.join("data.npz")
}

/// Writes the data that predictions of a supervised training start from: samples, and the outputs before the first step.
pub(super) fn write_task_data(trainee: &Supervised, data: &TaskData, root: &Path) -> Result<(), RunError> {
    let inputs = |examples: &Examples| {
        let shape = examples.input;
        if shape.is_vector() {
            vec![examples.len(), shape.channels]
        } else {
            vec![examples.len(), shape.channels, shape.height, shape.width]
        }
    };
    let mut arrays = Vec::new();
    for (names, examples) in [
        (["train_inputs", "train_targets", "train_outputs"], &data.train),
        (["test_inputs", "test_targets", "test_outputs"], &data.test),
    ] {
        let wide = [examples.len(), examples.outputs];
        arrays.push((names[0], Array::f32(&inputs(examples), examples.inputs.as_slice())));
        arrays.push((names[1], Array::f32(&wide, examples.targets.as_slice())));
        arrays.push((names[2], Array::f32(&wide, trainee.outputs(examples))));
    }
    write_npz(&task_data_file(root), &arrays)
}

/// The observer that notes signs of failure of a GAN, and stops training if the configuration says so.
pub(super) struct HealthWatch<'s, 'c> {
    run: &'s RunDir,
    callbacks: &'s TrainingCallbacks<'c>,
    health: Health,
    stops: bool,
    /// The reason for stopping, if training is to stop.
    pub(super) because: Option<String>,
}

impl<'s, 'c> HealthWatch<'s, 'c> {
    /// Continues from the lines in the log of the run.
    pub(super) fn new(
        run: &'s RunDir,
        settings: &Settings,
        callbacks: &'s TrainingCallbacks<'c>,
    ) -> Result<Self, RunError> {
        let mut health = Health::new(settings);
        for line in run.read_log::<LogLine>()? {
            // Events of these lines are in the log already.
            health.look(&line);
        }
        Ok(Self { run, callbacks, health, stops: settings.train.on_collapse == OnCollapse::Stop, because: None })
    }
}

impl Observer<Gan> for HealthWatch<'_, '_> {
    fn logged(&mut self, line: &LogLine) -> Result<(), ObserverError> {
        for event in self.health.look(line) {
            self.run.append_log(&event)?;
            self.callbacks.tell(TrainingEvent::Health(&event));
            if self.stops && event.event == EventKind::Collapse && event.begins == Some(true) {
                self.because = Some(event.message);
            }
        }
        Ok(())
    }

    fn stop(&mut self) -> bool {
        self.because.is_some()
    }
}

/// Measures of the samples of a trained generator and of the data.
///
/// ```
/// let measures = |std| fintan::Measures { samples: 4, correlation: 0.0, std, nyquist: 0.1, phase2: 0.0, phase8: 0.0, border: 1.0 };
/// let outcome = fintan::GanOutcome { step: 9, data: measures(0.5), samples: measures(0.25) };
/// assert_eq!(outcome.std_ratio(), 0.5);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct GanOutcome {
    /// Number of steps done.
    pub step: u64,
    /// Measures of images of the data set.
    pub data: Measures,
    /// Measures of samples.
    pub samples: Measures,
}

impl GanOutcome {
    /// Measures a GAN and writes `metrics.json`. If the grid of the last step is missing, it writes that too.
    pub(super) fn write(gan: &Gan, experiment: &Experiment, images: &Images, run: &RunDir) -> Result<Self, Error> {
        // The grid is missing if the checkpoint of the last step was written when it was not the last step.
        let grid = run.grid(gan.step);
        if !grid.is_file() {
            let [rows, columns] = experiment.settings.train.grid;
            let samples = gan.samples(rows * columns);
            write_whole(&grid, &grid_png(&samples.values, samples.size, samples.channels, columns)?)?;
        }
        let (samples, data) = (gan.samples(MEASURED).measure(), real_measures(images, MEASURED));
        let outcome = Self { step: gan.step, data, samples };
        run.write_summary(outcome.summary())?;
        Ok(outcome)
    }

    /// Standard deviation of the samples over that of the data.
    #[must_use]
    pub fn std_ratio(&self) -> f64 {
        self.samples.std / self.data.std.max(1e-12)
    }

    /// Checkerboard energy of the samples over that of the data.
    #[must_use]
    pub fn nyquist_ratio(&self) -> f64 {
        self.samples.nyquist / self.data.nyquist.max(1e-12)
    }

    /// The contents of `metrics.json`.
    #[must_use]
    pub fn summary(&self) -> serde_json::Map<String, serde_json::Value> {
        let summary = serde_json::json!({
            "step": self.step, "data": self.data, "samples": self.samples, "std_ratio": self.std_ratio(),
            "nyquist_ratio": self.nyquist_ratio(),
        });
        summary.as_object().cloned().unwrap_or_default()
    }
}

/// The fit of a network with a task after training.
///
/// ```
/// let score = |loss| fintan::Score { loss, accuracy: None };
/// let outcome = fintan::TaskOutcome { step: 9, train: score(0.5), test: score(0.75) };
/// assert_eq!(outcome.summary()["train"]["loss"], 0.5);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TaskOutcome {
    /// Number of steps done.
    pub step: u64,
    /// Loss and accuracy over the training samples.
    pub train: Score,
    /// Loss and accuracy over the test samples.
    pub test: Score,
}

impl TaskOutcome {
    /// Evaluates a network and writes `metrics.json`.
    pub(super) fn write(trainee: &Supervised, data: &TaskData, run: &RunDir) -> Result<Self, Error> {
        let outcome = Self { step: trainee.step, train: trainee.score(&data.train), test: trainee.score(&data.test) };
        run.write_summary(outcome.summary())?;
        Ok(outcome)
    }

    /// The contents of `metrics.json`.
    #[must_use]
    pub fn summary(&self) -> serde_json::Map<String, serde_json::Value> {
        let summary = serde_json::json!({ "step": self.step, "train": self.train, "test": self.test });
        summary.as_object().cloned().unwrap_or_default()
    }
}
