//! What a training leaves in a run directory.

use std::path::{Path, PathBuf};

use fintan_artifact::{Array, Draft, Environment, Event, EventKind, LogLine, RunDir, RunError, write_npz, write_whole};
use fintan_config::{ConfigError, Experiment, OnCollapse, Settings, Subject};
use fintan_data::{Examples, Images, TaskData};
use fintan_metrics::{Measures, Samples};
use fintan_report::grid_png;
use fintan_train::{Gan, Health, Observer, ObserverError, Score, Supervised, Trainee, checkpoint_files, real_measures};
use serde::Serialize;

use crate::device::{Device, threads};
use crate::error::Error;

/// Samples behind `metrics.json`.
const MEASURED: usize = 1024;

/// Makes the paths of a configuration absolute, so that a run can be resumed from any folder.
///
/// # Errors
/// A path that is not Unicode, which a run cannot keep.
pub fn make_absolute(subject: &mut Subject) -> Result<(), Error> {
    for named in subject.paths_mut() {
        let absolute = std::path::absolute(&*named)?;
        if absolute.to_str().is_none() {
            return Err(Error::NotUnicode(absolute));
        }
        *named = absolute;
    }
    Ok(())
}

/// What the numbers of a run may depend on beside its configuration.
#[must_use]
pub fn machine(device: &Device) -> serde_json::Map<String, serde_json::Value> {
    let system = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
    [
        ("program", concat!("fintan ", env!("CARGO_PKG_VERSION")).into()),
        ("device", device.name.as_str().into()),
        ("threads", threads().into()),
        ("system", system.into()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

/// A run directory with what every training has from its beginning. `written`: the configuration file; `resolved`: its text with
/// every default.
///
/// # Errors
/// Those of the file system; a folder that is there already.
pub fn publish_run(draft: Draft, written: &Path, resolved: &str, device: &Device) -> Result<RunDir, Error> {
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
    Ok(draft.publish_run()?)
}

/// The file in a run directory of what predictions of a supervised training start from.
#[must_use]
pub fn task_data_file(root: &Path) -> PathBuf {
    root.join("data.npz")
}

/// Writes what predictions of a supervised training start from: samples, and what the network gives before the first step.
///
/// # Errors
/// Those of the file system.
pub fn write_task_data(trainee: &Supervised, data: &TaskData, root: &Path) -> Result<(), RunError> {
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

/// The observer that writes the log, the grids and the checkpoints of a run.
pub struct RunRecorder<'a> {
    run: &'a RunDir,
    keep: usize,
    columns: usize,
    step: u64,
}

impl<'a> RunRecorder<'a> {
    /// Of a run that has done `step` steps. `keep`: checkpoints to keep; `columns`: images in a row of a grid.
    #[must_use]
    pub fn new(run: &'a RunDir, step: u64, keep: usize, columns: usize) -> Self {
        Self { run, keep, columns, step }
    }

    /// Steps done.
    #[must_use]
    pub fn step(&self) -> u64 {
        self.step
    }
}

impl<T: Trainee<Line: Serialize>> Observer<T> for RunRecorder<'_> {
    fn stepped(&mut self, trainee: &T) -> Result<(), ObserverError> {
        self.step = trainee.step();
        Ok(())
    }

    fn logged(&mut self, line: &T::Line) -> Result<(), ObserverError> {
        Ok(self.run.append_log(line)?)
    }

    fn sampled(&mut self, step: u64, samples: &Samples) -> Result<(), ObserverError> {
        let png = grid_png(&samples.values, samples.size, samples.channels, self.columns)?;
        Ok(write_whole(&self.run.grid(step), &png)?)
    }

    fn checkpoint(&mut self, trainee: &T) -> Result<(), ObserverError> {
        self.run.sync_logs()?;
        Ok(self.run.write_checkpoint(trainee.step(), &checkpoint_files(trainee), self.keep)?)
    }
}

/// The observer that notes when a GAN goes wrong, and stops it where its configuration says so.
pub struct HealthWatch<'a> {
    run: &'a RunDir,
    on_event: Box<dyn FnMut(&Event) + 'a>,
    health: Health,
    stops: bool,
    because: Option<String>,
}

impl<'a> HealthWatch<'a> {
    /// Goes on from the lines that are in the log of the run. `on_event` is called with each event.
    ///
    /// # Errors
    /// A log that is damaged.
    pub fn new(run: &'a RunDir, settings: &Settings, on_event: impl FnMut(&Event) + 'a) -> Result<Self, RunError> {
        let mut health = Health::new(settings);
        for line in run.read_log::<LogLine>()? {
            // What begins with these has been said.
            health.look(&line);
        }
        let stops = settings.train.on_collapse == OnCollapse::Stop;
        Ok(Self { run, on_event: Box::new(on_event), health, stops, because: None })
    }

    /// Why training was to stop, if it was.
    #[must_use]
    pub fn because(self) -> Option<String> {
        self.because
    }
}

impl Observer<Gan> for HealthWatch<'_> {
    fn logged(&mut self, line: &LogLine) -> Result<(), ObserverError> {
        for event in self.health.look(line) {
            self.run.append_log(&event)?;
            (self.on_event)(&event);
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

/// What a trained generator shows, beside the data.
#[derive(Debug, Clone, PartialEq)]
pub struct GanOutcome {
    /// Steps done.
    pub step: u64,
    /// Measures of images of the data set.
    pub data: Measures,
    /// Measures of samples.
    pub samples: Measures,
}

impl GanOutcome {
    /// Measures a GAN and writes `metrics.json`, and the grid of its last step where it is missing.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(gan: &Gan, experiment: &Experiment, images: &Images, run: &RunDir) -> Result<Self, Error> {
        // Where the checkpoint of the last step was there already, and was not meant to be the last.
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

    /// Standard deviation of samples over that of the data.
    #[must_use]
    pub fn std_ratio(&self) -> f64 {
        self.samples.std / self.data.std.max(1e-12)
    }

    /// Checkerboards of samples over those of the data.
    #[must_use]
    pub fn nyquist_ratio(&self) -> f64 {
        self.samples.nyquist / self.data.nyquist.max(1e-12)
    }

    /// The numbers of `metrics.json`.
    #[must_use]
    pub fn summary(&self) -> serde_json::Map<String, serde_json::Value> {
        let summary = serde_json::json!({
            "step": self.step, "data": self.data, "samples": self.samples, "std_ratio": self.std_ratio(),
            "nyquist_ratio": self.nyquist_ratio(),
        });
        summary.as_object().cloned().unwrap_or_default()
    }
}

/// Writes `metrics.json` of a supervised training; returns it with the scores over training and test samples.
///
/// # Errors
/// Those of the file system.
pub fn write_scores(
    trainee: &Supervised,
    data: &TaskData,
    run: &RunDir,
) -> Result<(serde_json::Value, [Score; 2]), Error> {
    let (train, test) = (trainee.score(&data.train), trainee.score(&data.test));
    let metrics = serde_json::json!({ "step": trainee.step, "train": train, "test": test });
    run.write_summary(metrics.as_object().cloned().unwrap_or_default())?;
    Ok((metrics, [train, test]))
}
