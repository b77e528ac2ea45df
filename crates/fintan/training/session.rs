//! One training of a GAN or of a network with a task, from its data to its last step.

use std::path::Path;

use fintan_artifact::{Draft, Event, EventKind, RunDir, RunError, write_whole};
use fintan_config::{Experiment, NetworkExperiment, SupervisedExperiment};
use fintan_data::{Images, TaskData};
use fintan_metrics::Samples;
use fintan_report::grid_png;
use fintan_train::{
    DataFingerprint, Ending, Observer, ObserverError, Observers, TrainError, Trainee, checkpoint_files,
};

use super::events::{TrainingCallbacks, TrainingError, TrainingEvent};
use super::observe::{KernelObserver, check_probe, kept};
use super::record::{machine, publish_run};
use super::resume::Record;
use super::trained::{Extent, Left, Logged, Trained};
use crate::device::Device;
use crate::error::Error;
use crate::memory::free_memory;

/// Reads the training images of a GAN.
///
/// # Errors
/// Fails if the data cannot be read.
pub fn load_images(experiment: &Experiment, callbacks: &TrainingCallbacks) -> Result<Images, Error> {
    let images = Images::load(&experiment.settings.data, &experiment.settings.image, free_memory())?;
    callbacks.tell(TrainingEvent::Images {
        source: &images.source,
        count: images.len(),
        size: images.size,
        channels: images.channels,
        remarks: &images.remarks(),
    });
    Ok(images)
}

/// Reads the samples of a task.
pub(super) fn load_samples(
    experiment: &SupervisedExperiment,
    callbacks: &TrainingCallbacks,
) -> Result<TaskData, Error> {
    let data = TaskData::load(experiment, free_memory())?;
    callbacks.tell(TrainingEvent::Samples {
        source: &data.source,
        train: data.train.len(),
        test: data.test.len(),
        classes: &data.classes,
        remarks: &data.remarks,
    });
    Ok(data)
}

/// The task of a network. `name` is the name of the configuration in the error.
///
/// # Errors
/// [`TrainingError::NoTask`]
pub(crate) fn task_of<'a>(network: &'a NetworkExperiment, name: &str) -> Result<SupervisedExperiment<'a>, Error> {
    network.supervised().ok_or_else(|| TrainingError::NoTask(name.into()).into())
}

/// A training on a device.
pub(super) struct TrainingSession<'s, 'c, T> {
    pub(super) trained: T,
    pub(super) device: &'s Device,
    pub(super) callbacks: &'s TrainingCallbacks<'c>,
}

impl<T: Trained> TrainingSession<'_, '_, T> {
    /// Checks everything that can be checked before files are written.
    pub(super) fn check(&self, trainee: &T::Trainee) -> Result<(), Error> {
        self.trained.check(trainee)?;
        match self.trained.probe(&self.device.placement) {
            Some((_, probe)) => check_probe(T::observed(trainee), &probe, self.device.limits),
            None => Ok(()),
        }
    }

    /// Trains from the first step into a new run directory. `written` is the configuration file, `resolved` its text with every
    /// default.
    pub(super) fn begin(
        &self,
        draft: impl FnOnce() -> Result<Draft, RunError>,
        written: &Path,
        resolved: &str,
    ) -> Result<RunDir, Error> {
        let trainee = self.trained.drawn(&self.device.placement);
        self.check(&trainee)?;
        let draft = draft()?;
        self.trained.write_start(&trainee, draft.path())?;
        let run = publish_run(draft, written, resolved, self.device, self.callbacks)?;
        self.play(trainee, &run)?;
        Ok(run)
    }

    /// Continues from a checkpoint, or starts anew if `from` is `None`. `resolved` is the configuration with every default.
    pub(super) fn resume(
        &self,
        mut record: Record,
        from: Option<u64>,
        resolved: &str,
        accept_changed_data: bool,
    ) -> Result<(), Error> {
        let run = record.run;
        let print = self.trained.fingerprint();
        record.check_data(from, (&print, T::COUNTED), accept_changed_data, self.callbacks)?;
        let trainee = self.at(run, from, print)?;
        self.check_kept(run)?;
        let Extent { steps: last, keep, .. } = self.trained.extent();
        record.settle(from, resolved, keep)?;
        if from == Some(last) && self.is_finished(run)? {
            self.callbacks.tell(TrainingEvent::AlreadyDone(last));
            return Ok(());
        }
        self.play(trainee, run)
    }

    /// Continues from the newest checkpoint to the last step. A run that is complete is not changed.
    pub(super) fn complete(&self, mut record: Record, resolved: &str) -> Result<(), Error> {
        let run = record.run;
        let from = run.checkpoints()?.last().copied();
        let print = self.trained.fingerprint();
        record.check_data(from, (&print, T::COUNTED), false, self.callbacks)?;
        let Extent { steps, keep, .. } = self.trained.extent();
        if from.is_some_and(|step| step >= steps) && self.is_finished(run)? && record.is_settled() {
            return Ok(());
        }
        let trainee = self.at(run, from, print)?;
        self.check_kept(run)?;
        record.settle(from, resolved, keep)?;
        self.play(trainee, run)
    }

    /// The trainee at a checkpoint, or before the first step.
    fn at(&self, run: &RunDir, from: Option<u64>, data: DataFingerprint) -> Result<T::Trainee, Error> {
        let placement = &self.device.placement;
        let Some(step) = from else { return Ok(self.trained.drawn(placement)) };
        let checkpoint = run.checkpoint(step);
        let trainee = self.trained.restored(&checkpoint, data, placement)?;
        match trainee.step() {
            found if found == step => Ok(trainee),
            found => Err(TrainingError::Misplaced { state: checkpoint.join("state.json"), found, step }.into()),
        }
    }

    /// Checks that the files beside the checkpoints can be read, before the run is changed.
    fn check_kept(&self, run: &RunDir) -> Result<(), Error> {
        self.trained.check_kept(run)?;
        match self.trained.probe(&self.device.placement) {
            Some((wanted, probe)) => kept(run, wanted, &probe).map(drop),
            None => Ok(()),
        }
    }

    /// Whether all files of a finished training exist.
    fn is_finished(&self, run: &RunDir) -> Result<bool, Error> {
        let last = self.trained.extent().steps;
        Ok(run.summary_step()? == Some(last) && self.trained.has_end(run, last))
    }

    /// Trains to the last step and writes the final files. If the last step is reached already, it writes the missing ones.
    fn play(&self, mut trainee: T::Trainee, run: &RunDir) -> Result<(), Error> {
        let Self { trained, device, callbacks } = self;
        let Extent { steps, keep, columns } = trained.extent();
        if !trained.has_start(run.root()) {
            trained.write_start(&trained.drawn(&device.placement), run.root())?;
        }
        if let Some(note) = device.note() {
            callbacks.tell(TrainingEvent::DeviceNote(note));
        }
        callbacks.tell(TrainingEvent::Begun {
            run: run.root(),
            device: &device.name,
            parameters: &trained.parameters(),
            from: trainee.step(),
            to: steps,
        });
        let mut environment = run.environment()?;
        environment.machine = machine(device);
        run.write_environment(&environment)?;
        let mut recorder = RunRecorder { run, callbacks, keep, columns, step: trainee.step() };
        let kernels = trained.probe(&device.placement);
        let observed = |probe| KernelObserver::new(run, probe, T::observed, &trainee, device.limits, callbacks);
        let kernels = kernels.map(observed);
        let mut kernels = kernels.transpose()?;
        let mut observers = Observers(vec![&mut recorder as &mut dyn Observer<T::Trainee>]);
        if let Some(kernels) = &mut kernels {
            observers.0.push(kernels);
        }
        let left = trained.train(&mut trainee, run, callbacks, &mut observers).inspect_err(|e| note_failure(run, e))?;
        let (root, step) = (run.root(), recorder.step);
        match left {
            Left::By(Ending::Done) => {
                callbacks.tell(TrainingEvent::Finished(&trained.write_end(&trainee, run)?));
                Ok(())
            }
            Left::By(Ending::Stopped) => {
                callbacks.tell(TrainingEvent::Stopped { run: root, step });
                Err(TrainingError::Stopped { run: root.into(), step }.into())
            }
            Left::Because(message) => Err(TrainingError::Collapsed { run: root.into(), step, message }.into()),
        }
    }
}

/// Writes the reason for a failure into the log if the reason is a value that is not finite.
fn note_failure(run: &RunDir, e: &Error) {
    if let Error::Train(e @ TrainError::NotFinite { step, .. }) = e {
        let event =
            Event { step: *step, event: EventKind::NotFinite, begins: None, message: e.to_string(), seconds: None };
        // The caller reports the error itself, so a failure to log it is ignored.
        let _ = run.append_log(&event);
    }
}

/// The observer that writes the log, the grids and the checkpoints of a run. It reports steps and lines, and stops when the
/// caller wants it.
struct RunRecorder<'s, 'c> {
    run: &'s RunDir,
    callbacks: &'s TrainingCallbacks<'c>,
    keep: usize,
    columns: usize,
    /// Number of steps done.
    step: u64,
}

impl<T: Trainee<Line: Logged>> Observer<T> for RunRecorder<'_, '_> {
    fn stepped(&mut self, trainee: &T) -> Result<(), ObserverError> {
        self.step = trainee.step();
        self.callbacks.tell(TrainingEvent::Step(self.step));
        Ok(())
    }

    fn logged(&mut self, line: &T::Line) -> Result<(), ObserverError> {
        self.callbacks.tell(line.event());
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

    fn stop(&mut self) -> bool {
        self.callbacks.stops()
    }
}
