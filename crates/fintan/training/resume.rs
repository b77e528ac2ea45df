//! Resumes a run.
//!
//! A single write of `env.json` ([`Environment`]) commits a resume. The following work (removals, `config.resolved.toml`,
//! training, final files) can be killed at any point; the next resume finishes it.

use std::fmt;
use std::path::{Path, PathBuf};

use fintan_artifact::{Change, Draft, Environment, Rewind, RunDir, RunError, differing_keys, settings_of};
use fintan_config::{Experiment, Held, MemoryBound, Subject};
use fintan_data::Images;
use fintan_train::{DataFingerprint, read_data};

use super::events::{TrainingCallbacks, TrainingError, TrainingEvent};
use super::record::{make_absolute, publish_run};
use super::run::{Run, edits_in, subject_of_settings};
use super::session::{TrainingSession, load_images, load_samples, task_of};
use super::trained::{Trained, TrainedGan, TrainedNetwork};
use super::{OnEvent, Place, StopWhen, steps_key};
use crate::device::{Device, DeviceChoice};
use crate::error::Error;

/// The last step of a training.
///
/// ```
/// assert_eq!(fintan::StepTarget::from(9), fintan::StepTarget::At(9));
/// assert_eq!(fintan::StepTarget::More(9).to_string(), "+9");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepTarget {
    /// This step.
    At(u64),
    /// This number of steps after the previous last step of the run.
    More(u64),
}

impl From<u64> for StepTarget {
    fn from(step: u64) -> Self {
        Self::At(step)
    }
}

impl fmt::Display for StepTarget {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::At(step) => write!(f, "{step}"),
            Self::More(steps) => write!(f, "+{steps}"),
        }
    }
}

/// Options for resuming a run; [`Run::resume`] makes them.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let config = folder.path().join("line.toml");
/// fs_err::write(&config, "
///     network = { input = 4, outputs = 1, fc = { widths = [8] } }
///     data.teacher.degree = 1
///     task.supervised = { goal = 'regression', train = 8, test = 8, steps = 4, optimizer.sgd.rate = 0.1 }
/// ")?;
/// let run = fintan::train(&config).out(folder.path().join("run")).device(fintan::Device::cpu()).run()?;
/// let run = run.resume().steps(fintan::StepTarget::More(2)).set("task.supervised.optimizer.sgd.rate=0.05").run()?;
/// assert_eq!(run.steps()?, 6);
/// let error = run.resume().set("seed=1").run().unwrap_err();
/// assert_eq!(error.to_string(), "`seed` cannot change in a run that has begun: it was trained with 0");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ResumeBuilder<'a> {
    root: PathBuf,
    overrides: Vec<String>,
    steps: Option<StepTarget>,
    from: Option<u64>,
    accept_changed_data: bool,
    place: Place,
    on_event: OnEvent<'a>,
    stop_when: StopWhen<'a>,
}

impl<'a> ResumeBuilder<'a> {
    pub(super) fn new(root: &Path, device: Device) -> Self {
        Self {
            root: root.into(),
            overrides: Vec::new(),
            steps: None,
            from: None,
            accept_changed_data: false,
            place: Place::Device(device),
            on_event: Box::new(|_| ()),
            stop_when: Box::new(|| false),
        }
    }

    /// Trains to this step, or this number of steps beyond the previous last step of the run.
    #[must_use]
    pub fn steps(mut self, steps: impl Into<StepTarget>) -> Self {
        self.steps = Some(steps.into());
        self
    }

    /// Goes back to the checkpoint of this step and removes later ones. By default training continues from the newest.
    #[must_use]
    pub fn from(mut self, step: u64) -> Self {
        self.from = Some(step);
        self
    }

    /// Changes a setting of the run from here on, `key=value`. Allowed are rates, schedules, steps, intervals of logging,
    /// drawing and keeping, and the place of the data. `env.json` records the change.
    #[must_use]
    pub fn set(mut self, key_and_value: &str) -> Self {
        self.overrides.push(key_and_value.into());
        self
    }

    /// Continues even if the data differ from those that the run was trained on. `env.json` records the change.
    #[must_use]
    pub fn accept_changed_data(mut self) -> Self {
        self.accept_changed_data = true;
        self
    }

    /// Trains on this device; by default on the device of the [`Run`].
    #[must_use]
    pub fn device(mut self, device: Device) -> Self {
        self.place = Place::Device(device);
        self
    }

    /// Opens this device after the settings have been checked, and trains on it.
    #[must_use]
    pub fn choose_device(mut self, choice: DeviceChoice) -> Self {
        self.place = Place::Choice(choice);
        self
    }

    /// Calls `on_event` with each event.
    #[must_use]
    pub fn on_event(mut self, on_event: impl FnMut(TrainingEvent) + 'a) -> Self {
        self.on_event = Box::new(on_event);
        self
    }

    /// Calls `stop_when` after each step and stops if it returns true.
    #[must_use]
    pub fn stop_when(mut self, stop_when: impl FnMut() -> bool + 'a) -> Self {
        self.stop_when = Box::new(stop_when);
        self
    }

    /// Trains to the last step. The files are byte for byte those of a run that was never stopped.
    ///
    /// # Errors
    /// [`TrainingError`] if a setting cannot change, the data differ, the last step is before the checkpoint, or the caller
    /// stops the run. Also fails if another process writes to the run, if files are damaged, and with the errors of
    /// [`train`](crate::train).
    pub fn run(self) -> Result<Run, Error> {
        let Self { root, overrides, steps, from, accept_changed_data, place, on_event, stop_when } = self;
        let callbacks = TrainingCallbacks::new(on_event, stop_when);
        let run = RunDir::open_locked(&root)?;
        callbacks.warn_of_lock(&run);
        let mut record = Record::read(&run, place.bound(Held::Training))?;
        let trained = record.subject(&[])?;
        let from = record.start(&trained, from)?;
        let subject = record.changed(&trained, from, &overrides, steps)?;
        record.tell_edits(&callbacks);
        let (opened, resolved) = (place.open()?, subject.to_toml());
        let device = opened.as_recorded(&record.was.machine).map_or_else(|| opened.for_training(&subject), Ok)?;
        device.check_step(&subject)?;
        match &subject {
            Subject::Gan(experiment) => {
                let images = &load_images(experiment, &callbacks)?;
                TrainingSession { trained: TrainedGan { experiment, images }, device: &device, callbacks: &callbacks }
                    .resume(record, from, &resolved, accept_changed_data)?;
            }
            Subject::Network(network) => {
                let experiment = task_of(network, &root.display().to_string())?;
                let data = &load_samples(&experiment, &callbacks)?;
                let trained = TrainedNetwork { experiment, observed: network.settings.observe.ntk, data };
                TrainingSession { trained, device: &device, callbacks: &callbacks }.resume(
                    record,
                    from,
                    &resolved,
                    accept_changed_data,
                )?;
            }
        }
        Run::of(&run, device)
    }
}

/// Checks the settings and data of a GAN before anything is written.
///
/// # Errors
/// Fails if the data are smaller than a batch, or a kernel measured during training does not fit into memory.
pub fn check_gan(experiment: &Experiment, images: &Images, device: &Device) -> Result<(), Error> {
    let callbacks = TrainingCallbacks::new(|_| (), || false);
    let session = TrainingSession { trained: TrainedGan { experiment, images }, device, callbacks: &callbacks };
    session.check(&session.trained.drawn(&device.placement))
}

/// Trains the GAN of `root` to its last step: from its newest checkpoint, or from the start if there is no run. A run that is
/// done is not changed. An existing run, `found`, must have this configuration and be locked by this process; the returned run
/// is locked. `written` is the configuration file.
///
/// # Errors
/// The errors of [`ResumeBuilder::run`].
pub fn complete_gan(
    root: &Path,
    found: Option<RunDir>,
    written: &Path,
    experiment: &Experiment,
    images: &Images,
    device: &Device,
    callbacks: &TrainingCallbacks,
) -> Result<RunDir, Error> {
    let resolved = experiment.settings.to_toml();
    let recorded = found.as_ref().map(RunDir::environment).transpose()?;
    let recorded = recorded.and_then(|environment| device.as_recorded(&environment.machine));
    let device = &recorded.map_or_else(|| device.for_training(&Subject::Gan(Box::new(experiment.clone()))), Ok)?;
    let run = match found {
        Some(run) => run,
        None => publish_run(Draft::at(root)?, written, &resolved, device, callbacks)?,
    };
    let record = Record::read(&run, device.bound(Held::Training))?;
    record.tell_edits(callbacks);
    TrainingSession { trained: TrainedGan { experiment, images }, device, callbacks }.complete(record, &resolved)?;
    Ok(run)
}

/// The last step of the training.
fn steps_of(subject: &Subject) -> u64 {
    match subject {
        Subject::Gan(experiment) => experiment.settings.train.steps,
        Subject::Network(network) => network.supervised().map_or(0, |experiment| experiment.task.steps),
    }
}

/// The settings and `env.json` of a run.
pub(super) struct Record<'a> {
    pub(super) run: &'a RunDir,
    /// `env.json` as it was read.
    was: Environment,
    /// `env.json` as it is to be written.
    is: Environment,
    /// The settings that the run was last trained with.
    settings: String,
    memory: MemoryBound,
}

impl<'a> Record<'a> {
    fn read(run: &'a RunDir, memory: MemoryBound) -> Result<Self, Error> {
        let was = run.environment()?;
        let mut is = was.clone();
        let settings = run.configuration()?;
        if is.config.is_none() {
            is.config = fs_err::read_to_string(run.root().join("config.toml")).ok();
        }
        is.settings = Some(settings.clone());
        Ok(Self { run, was, is, settings, memory })
    }

    /// The subject of the run, with overrides.
    fn subject(&self, overrides: &[String]) -> Result<Subject, Error> {
        subject_of_settings(self.run, &self.settings, overrides, self.memory)
    }

    /// Whether an earlier resume is complete.
    pub(super) fn is_settled(&self) -> bool {
        self.was.rewind.is_none()
    }

    /// The checkpoint to continue from, or `None` if the run starts from the beginning.
    fn start(&self, trained: &Subject, wanted: Option<u64>) -> Result<Option<u64>, Error> {
        let run = self.run;
        if wanted.is_some() {
            return Ok(Some(run.find_checkpoint(wanted)?));
        }
        if let Some(&newest) = run.checkpoints()?.last() {
            return Ok(Some(newest));
        }
        if self.was.rewind == Some(Rewind { to: None }) {
            return Ok(None);
        }
        // Without checkpoints, the run was killed or failed before its first one. A longer log means that checkpoints were
        // removed.
        let first = match trained {
            Subject::Gan(experiment) => experiment.settings.train.checkpoint_every.min(experiment.settings.train.steps),
            Subject::Network(_) => 0,
        };
        let logged = run.logged_to()?.unwrap_or(0);
        if run.had_checkpoints()? || logged > first {
            return Err(TrainingError::CheckpointsGone { run: run.root().into(), logged }.into());
        }
        Ok(None)
    }

    /// Reports settings that were edited by hand.
    fn tell_edits(&self, callbacks: &TrainingCallbacks) {
        for edit in &edits_in(self.run, &self.was, true) {
            callbacks.tell(TrainingEvent::Edited(edit));
        }
    }

    /// Applies the overrides to the subject and records the changes.
    fn changed(
        &mut self,
        trained: &Subject,
        from: Option<u64>,
        overrides: &[String],
        asked: Option<StepTarget>,
    ) -> Result<Subject, Error> {
        let step = from.unwrap_or(0);
        let mut overrides = overrides.to_vec();
        if let Some(asked) = asked {
            let last = match asked {
                StepTarget::At(last) => last,
                StepTarget::More(more) => steps_of(trained).saturating_add(more),
            };
            if last < step {
                return Err(TrainingError::EndsBefore { asked: Some(asked), last, step }.into());
            }
            overrides.push(format!("{}={last}", steps_key(trained)));
        }
        let mut subject = if overrides.is_empty() { trained.clone() } else { self.subject(&overrides)? };
        make_absolute(&mut subject)?;
        let damaged = |message| RunError::Damaged { path: self.run.resolved_config(), message };
        let [old, new] = [trained, &subject].map(|subject| settings_of(&subject.to_toml()).map_err(damaged));
        let (old, new) = (old?, new?);
        for key in differing_keys(&[&old, &new]) {
            let (was, is) = (old.get(&key), new.get(&key));
            if !subject.may_change(&key, was.is_some()) {
                let (was, changeable) = (was.cloned(), subject.changeable().collect());
                return Err(TrainingError::FixedSetting { key, was, changeable }.into());
            }
            self.is.changes.push(Change::of_setting(step, key, was, is));
        }
        let last = steps_of(&subject);
        if last < step { Err(TrainingError::EndsBefore { asked: None, last, step }.into()) } else { Ok(subject) }
    }

    /// Fails if the data differ from those of the checkpoint and the difference is not accepted. `of` names what is counted.
    pub(super) fn check_data(
        &mut self,
        from: Option<u64>,
        (now, of): (&DataFingerprint, &str),
        accept: bool,
        callbacks: &TrainingCallbacks,
    ) -> Result<(), Error> {
        let Some(step) = from else { return Ok(()) };
        let Some(known) = read_data(&self.run.checkpoint(step))? else {
            callbacks.tell(TrainingEvent::NoFingerprint(step));
            return Ok(());
        };
        let words = |data: &DataFingerprint| format!("{} {of}, fingerprint {}", data.count, data.fingerprint);
        let (known, now) = (words(&known), words(now));
        // An accepted change of the data may have been recorded since.
        let last = self.is.changes.iter().rfind(|change| change.key == DATA && change.step >= step);
        let last = last.map_or_else(|| known.clone(), |change| change.new.as_str().unwrap_or_default().to_owned());
        if last == now {
            return Ok(());
        }
        if known != now && !accept {
            return Err(TrainingError::DataChanged { run: self.run.root().into(), then: last, now }.into());
        }
        self.is.changes.push(Change { step, key: DATA.into(), old: last.into(), new: now.into() });
        Ok(())
    }

    /// Commits the resume from a checkpoint with these settings. Then it removes later steps, and checkpoints beyond the newest
    /// `keep`.
    pub(super) fn settle(&mut self, from: Option<u64>, resolved: &str, keep: usize) -> Result<(), Error> {
        let run = self.run;
        self.is.settings = Some(resolved.to_owned());
        // A damaged log is detected before anything is changed.
        let undoing = run.undoing(from)?;
        let written = fs_err::read_to_string(run.resolved_config()).ok();
        self.is.rewind = None;
        if !undoing.is_empty() || self.is != self.was || written.as_deref() != Some(resolved) {
            self.is.rewind = Some(Rewind { to: from });
            run.write_environment(&self.is)?;
            undoing.iter().try_for_each(|undo| run.undo(undo))?;
            run.write("config.resolved.toml", resolved.as_bytes())?;
            self.is.rewind = None;
            run.write_environment(&self.is)?;
        }
        Ok(run.prune(keep)?)
    }
}

/// The key under which a change of the data is recorded.
const DATA: &str = "data";
