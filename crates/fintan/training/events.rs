//! Events of a training, its result, and its errors.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use fintan_artifact::{Event, LockWarning, LogLine, RunDir, SupervisedLine};

use super::observe::ObservedKernel;
use super::record::{GanOutcome, TaskOutcome};
use super::resume::StepTarget;
use super::run::SettingsEdit;
use super::{Losses, OnEvent, StopWhen};

/// An event of a training.
///
/// ```
/// let line = fintan::SupervisedLine { step: 9, train_loss: 0.5, test_loss: 0.75, ..Default::default() };
/// let event = fintan::TrainingEvent::TaskLine(&line);
/// assert_eq!(event.losses(), Some((9, fintan::Losses::Task { train: 0.5, test: 0.75 })));
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum TrainingEvent<'a> {
    /// Another process may write into the run directory too, because the lock of the directory is not reliable.
    LockWarning(&'a LockWarning),
    /// A configuration in the run directory was edited by hand; the run keeps the settings that it was trained with.
    Edited(&'a SettingsEdit),
    /// The images of a GAN were read.
    Images {
        /// A description of the source.
        source: &'a str,
        /// The number of images.
        count: usize,
        /// Rows and columns.
        size: usize,
        /// 1 (grey) or 3 (RGB).
        channels: usize,
        /// Notes for the user about the files, such as which were left out and why.
        remarks: &'a [String],
    },
    /// The samples of a task were read.
    Samples {
        /// A description of the source.
        source: &'a str,
        /// Training samples.
        train: usize,
        /// Test samples.
        test: usize,
        /// The label of each class; empty for regression.
        classes: &'a [u8],
        /// Notes for the user about the files, such as which were left out and why.
        remarks: &'a [String],
    },
    /// A remark about the device.
    DeviceNote(&'a str),
    /// The checkpoint of this step has no fingerprint of its data, so that a change of the data cannot be noticed.
    NoFingerprint(u64),
    /// The run is complete: it has reached its last step, given here, and no file is missing.
    AlreadyDone(u64),
    /// The training starts or continues.
    Begun {
        /// The run directory.
        run: &'a Path,
        /// The name of the device.
        device: &'a str,
        /// The names of the networks and their numbers of parameters.
        parameters: &'a [(&'static str, usize)],
        /// The steps of earlier training.
        from: u64,
        /// The last step.
        to: u64,
    },
    /// This number of steps is done.
    Step(u64),
    /// A line of the log of a GAN.
    GanLine(&'a LogLine),
    /// A line of the log of a network with a task.
    TaskLine(&'a SupervisedLine),
    /// A GAN shows a sign of failure, or has recovered from it.
    Health(&'a Event),
    /// The tangent kernel was measured. The second value is the line of the log about it.
    Kernel(&'a ObservedKernel, &'a Event),
    /// Training was stopped by the caller after this step, and its state was saved.
    Stopped {
        /// The run directory.
        run: &'a Path,
        /// Steps done.
        step: u64,
    },
    /// The last step is done, and everything is written.
    Finished(&'a TrainingOutcome),
}

impl TrainingEvent<'_> {
    /// The step and the losses, if the event is a line of the log.
    #[must_use]
    pub fn losses(&self) -> Option<(u64, Losses)> {
        match *self {
            Self::GanLine(line) => {
                Some((line.step, Losses::Gan { discriminator: line.d_loss, generator: line.g_loss }))
            }
            Self::TaskLine(line) => Some((line.step, Losses::Task { train: line.train_loss, test: line.test_loss })),
            Self::LockWarning(_)
            | Self::Edited(_)
            | Self::Images { .. }
            | Self::Samples { .. }
            | Self::DeviceNote(_)
            | Self::NoFingerprint(_)
            | Self::AlreadyDone(_)
            | Self::Begun { .. }
            | Self::Step(_)
            | Self::Health(_)
            | Self::Kernel(..)
            | Self::Stopped { .. }
            | Self::Finished(_) => None,
        }
    }
}

/// The result of a training.
///
/// ```
/// let score = |loss| fintan::Score { loss, accuracy: None };
/// let outcome = fintan::TaskOutcome { step: 9, train: score(0.5), test: score(0.75) };
/// assert_eq!(fintan::TrainingOutcome::Task(outcome).summary()["test"]["loss"], 0.75);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum TrainingOutcome {
    /// The result of a GAN.
    Gan(GanOutcome),
    /// The result of a network with a task.
    Task(TaskOutcome),
}

impl TrainingOutcome {
    /// The contents of `metrics.json`.
    #[must_use]
    pub fn summary(&self) -> serde_json::Map<String, serde_json::Value> {
        match self {
            Self::Gan(outcome) => outcome.summary(),
            Self::Task(outcome) => outcome.summary(),
        }
    }
}

/// Why a training stopped before its last step, or could not be resumed.
///
/// ```
/// let error = fintan::TrainingError::EndsBefore { asked: None, last: 5, step: 9 };
/// assert_eq!(error.to_string(), "the run is to end at step 5, before the checkpoint of step 9");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainingError {
    /// The configuration describes a network without a task.
    #[error("`{0}` describes a network without a task")]
    NoTask(String),
    /// The caller stopped the training; its state is saved.
    #[error("stopped after step {step}")]
    Stopped {
        /// The run directory.
        run: PathBuf,
        /// Steps done.
        step: u64,
    },
    /// A GAN collapsed, and its configuration stops training then; its state is saved.
    #[error("stopped after step {step}: {message}")]
    Collapsed {
        /// The run directory.
        run: PathBuf,
        /// Steps done.
        step: u64,
        /// Which signs of collapse were seen.
        message: String,
    },
    /// The checkpoints of the run have been removed.
    #[error("`{}` holds no complete checkpoint; there were some: training went on to step {logged}", run.display())]
    CheckpointsGone {
        /// The run directory.
        run: PathBuf,
        /// The last step in its log.
        logged: u64,
    },
    /// The setting cannot change after a run has begun.
    #[error("`{key}` cannot change in a run that has begun: it was trained {}", was.as_ref().map_or_else(|| "without it".into(), |was| format!("with {was}")))]
    FixedSetting {
        /// The key of the setting.
        key: String,
        /// The value that the run was trained with, if it had this setting.
        was: Option<String>,
        /// The keys that may change; a key stands for all keys below it.
        changeable: Vec<&'static str>,
    },
    /// The last step lies before the checkpoint.
    #[error("the run is to end at step {last}, before the checkpoint of step {step}")]
    EndsBefore {
        /// The requested last step, or `None` if a setting of the configuration gives it.
        asked: Option<StepTarget>,
        /// The last step.
        last: u64,
        /// The step of the checkpoint.
        step: u64,
    },
    /// The data differ from those that the checkpoint was trained on.
    #[error("the data are not those that `{}` was trained on: then {then}, now {now}", run.display())]
    DataChanged {
        /// The run directory.
        run: PathBuf,
        /// The count and the fingerprint of the data that the checkpoint was trained on.
        then: String,
        /// The count and the fingerprint of the present data.
        now: String,
    },
    /// The step of a checkpoint differs from the step in the name of its folder.
    #[error("`{}` holds step {found}, but its folder is named after step {step}", state.display())]
    Misplaced {
        /// The file that holds the step of the checkpoint.
        state: PathBuf,
        /// The step in the file.
        found: u64,
        /// The step in the name of the folder.
        step: u64,
    },
    /// The file of the first kernel measured during training cannot be used.
    #[error("`{}`: {message}", file.display())]
    Probe {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        message: String,
    },
}

/// The callbacks of a training: one receives events, the other can stop the training.
///
/// ```
/// let mut told = 0;
/// drop(fintan::parts::TrainingCallbacks::new(|_event| told += 1, || false));
/// assert_eq!(told, 0);
/// ```
pub struct TrainingCallbacks<'a> {
    on_event: RefCell<OnEvent<'a>>,
    stop_when: RefCell<StopWhen<'a>>,
}

impl<'a> TrainingCallbacks<'a> {
    /// Calls `on_event` with each event, and `stop_when` after each step.
    #[must_use]
    pub fn new(on_event: impl FnMut(TrainingEvent) + 'a, stop_when: impl FnMut() -> bool + 'a) -> Self {
        Self { on_event: RefCell::new(Box::new(on_event)), stop_when: RefCell::new(Box::new(stop_when)) }
    }

    pub(super) fn tell(&self, event: TrainingEvent) {
        (self.on_event.borrow_mut())(event);
    }

    pub(super) fn stops(&self) -> bool {
        (self.stop_when.borrow_mut())()
    }

    pub(super) fn warn_of_lock(&self, run: &RunDir) {
        if let Some(warning) = run.lock_warning() {
            self.tell(TrainingEvent::LockWarning(warning));
        }
    }
}
