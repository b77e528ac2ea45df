//! Training into a run directory, and the results of a run.

mod events;
mod observe;
mod record;
mod resume;
mod run;
mod session;
mod trained;

use std::path::{Path, PathBuf};

use fintan_artifact::{Draft, RunError, is_free};
use fintan_config::{Held, MemoryBound, Subject};

pub use self::events::{TrainingCallbacks, TrainingError, TrainingEvent, TrainingOutcome};
pub use self::observe::ObservedKernel;
pub use self::record::{GanOutcome, TaskOutcome};
pub(crate) use self::record::{make_absolute, task_data_file};
pub use self::resume::{ResumeBuilder, StepTarget, check_gan, complete_gan};
pub use self::run::{Run, SettingsEdit, edit_of_resolved};
pub(crate) use self::run::{channels_first, is_of_data, subject_of_run};
pub use self::session::load_images;
pub(crate) use self::session::task_of;
use self::session::{TrainingSession, load_samples};
use self::trained::{TrainedGan, TrainedNetwork};
use crate::device::{Device, DeviceChoice};
use crate::error::Error;

/// The losses of one step.
///
/// ```
/// let losses = fintan::Losses::Task { train: 0.5, test: 0.75 };
/// assert_eq!(losses, fintan::Losses::Task { train: 0.5, test: 0.75 });
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Losses {
    /// The losses of a GAN.
    Gan {
        /// The loss of the discriminator.
        discriminator: f64,
        /// The loss of the generator.
        generator: f64,
    },
    /// The losses of a network with a task.
    Task {
        /// The loss over the training samples.
        train: f64,
        /// The loss over the test samples.
        test: f64,
    },
}

/// Options of a training; [`train`] makes them.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let config = folder.path().join("line.toml");
/// fs_err::write(&config, "
///     network = { input = 4, outputs = 1, fc = { widths = [8] } }
///     data.teacher.degree = 1
///     task.supervised = { goal = 'regression', train = 8, test = 8, steps = 9, optimizer.sgd.rate = 0.1 }
/// ")?;
/// let training = fintan::train(&config).out(folder.path().join("run")).steps(3);
/// let mut last = 0;
/// let run = training.on_event(|event| if let fintan::TrainingEvent::Step(step) = event { last = step }).run()?;
/// assert_eq!((run.steps()?, last), (3, 3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Training<'a> {
    config: PathBuf,
    overrides: Vec<String>,
    steps: Option<u64>,
    out: Option<PathBuf>,
    place: Place,
    on_step: Box<dyn FnMut(u64, Losses) + 'a>,
    on_event: OnEvent<'a>,
    stop_when: StopWhen<'a>,
}

/// Trains the GAN or the network with a task of a configuration file, into a new run directory.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let config = folder.path().join("tiny.toml");
/// fs_err::write(&config, "
///     image = { size = 16, channels = 1 }
///     data.shapes.count = 16
///     generator = { latent = 4, dcgan.channels = 4, optimizer.adam.rate = 1e-3 }
///     discriminator = { dcgan.channels = 4, optimizer.adam.rate = 1e-3 }
///     train = { steps = 2, batch = 4, log_every = 1, grid = [2, 2] }
/// ")?;
/// let mut steps = Vec::new();
/// let run = fintan::train(&config)
///     .out(folder.path().join("run"))
///     .device(fintan::Device::cpu())
///     .on_step(|step, _losses| steps.push(step))
///     .run()?;
/// assert_eq!(steps, [1, 2]);
/// assert_eq!(run.samples(3)?.shape, [3, 1, 16, 16]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn train<'a>(config: impl AsRef<Path>) -> Training<'a> {
    Training {
        config: config.as_ref().into(),
        overrides: Vec::new(),
        steps: None,
        out: None,
        place: Place::Choice(DeviceChoice::Auto),
        on_step: Box::new(|_, _| ()),
        on_event: Box::new(|_| ()),
        stop_when: Box::new(|| false),
    }
}

impl<'a> Training<'a> {
    /// Changes a setting of the configuration: `key=value`, such as `train.batch=64`.
    #[must_use]
    pub fn set(mut self, key_and_value: &str) -> Self {
        self.overrides.push(key_and_value.into());
        self
    }

    /// Trains this number of steps.
    #[must_use]
    pub fn steps(mut self, steps: u64) -> Self {
        self.steps = Some(steps);
        self
    }

    /// Writes the run to this directory, which must be absent or empty. The default is `runs/NAME`, named after the
    /// configuration.
    #[must_use]
    pub fn out(mut self, folder: impl AsRef<Path>) -> Self {
        self.out = Some(folder.as_ref().into());
        self
    }

    /// Trains on this device; by default on [`Device::auto`].
    #[must_use]
    pub fn device(mut self, device: Device) -> Self {
        self.place = Place::Device(device);
        self
    }

    /// Opens this device after the configuration has been checked, and trains on it.
    #[must_use]
    pub fn choose_device(mut self, choice: DeviceChoice) -> Self {
        self.place = Place::Choice(choice);
        self
    }

    /// Calls `on_step(step, losses)` at each line of the log: every `log_every` steps, and at the last step. Between lines,
    /// losses stay on the device.
    #[must_use]
    pub fn on_step(mut self, on_step: impl FnMut(u64, Losses) + 'a) -> Self {
        self.on_step = Box::new(on_step);
        self
    }

    /// Calls `on_event` with each event: data that were read, steps, lines of the log, signs of failure, kernels measured
    /// during training.
    #[must_use]
    pub fn on_event(mut self, on_event: impl FnMut(TrainingEvent) + 'a) -> Self {
        self.on_event = Box::new(on_event);
        self
    }

    /// Calls `stop_when` after each step and stops if it returns true. Then the state is saved, [`Self::run`] returns
    /// [`TrainingError::Stopped`], and [`Run::resume`] can continue.
    ///
    /// ```
    /// use fintan::{Error, TrainingError};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let config = folder.path().join("line.toml");
    /// fs_err::write(&config, "
    ///     network = { input = 4, outputs = 1, fc = { widths = [8] } }
    ///     data.teacher.degree = 1
    ///     task.supervised = { goal = 'regression', train = 8, test = 8, steps = 4, optimizer.sgd.rate = 0.1 }
    /// ")?;
    /// let out = folder.path().join("run");
    /// let mut asked = 0;
    /// let stopped = fintan::train(&config).out(&out).stop_when(|| { asked += 1; asked == 2 }).run();
    /// assert!(matches!(stopped, Err(Error::Training(TrainingError::Stopped { step: 2, .. }))));
    /// assert_eq!(fintan::Run::open(&out)?.resume().run()?.steps()?, 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn stop_when(mut self, stop_when: impl FnMut() -> bool + 'a) -> Self {
        self.stop_when = Box::new(stop_when);
        self
    }

    /// Trains to the last step.
    ///
    /// The run directory is the one that `fintan train` would write; `fintan resume`, `sample`, `ntk` and `report` can read it.
    ///
    /// # Errors
    /// Fails if the configuration is wrong, the run directory exists, or the data cannot be read. Also if a kernel measured
    /// during training does not fit into memory, losses are not finite, a GAN collapses and its configuration stops training
    /// then, or the caller stops the training.
    pub fn run(self) -> Result<Run, Error> {
        let Self { config, mut overrides, steps, out, place, mut on_step, mut on_event, stop_when } = self;
        if let Some(out) = &out
            && !is_free(out)?
        {
            return Err(RunError::Exists(out.clone()).into());
        }
        let bound = place.bound(Held::Training);
        let mut subject = Subject::load_within(&config, &overrides, bound)?;
        if let Some(steps) = steps {
            overrides.push(format!("{}={steps}", steps_key(&subject)));
            subject = Subject::load_within(&config, &overrides, bound)?;
        }
        make_absolute(&mut subject)?;
        let device = place.open()?.for_training(&subject)?;
        let on_event = |event: TrainingEvent| {
            if let Some((step, losses)) = event.losses() {
                on_step(step, losses);
            }
            on_event(event);
        };
        let callbacks = TrainingCallbacks::new(on_event, stop_when);
        let resolved = subject.to_toml();
        let draft = || match &out {
            Some(root) => Draft::at(root),
            None => Draft::numbered(Path::new("runs"), &config.file_stem().unwrap_or_default().to_string_lossy()),
        };
        let run = match &subject {
            Subject::Gan(experiment) => {
                let images = &load_images(experiment, &callbacks)?;
                TrainingSession { trained: TrainedGan { experiment, images }, device: &device, callbacks: &callbacks }
                    .begin(draft, &config, &resolved)?
            }
            Subject::Network(network) => {
                let experiment = task_of(network, &config.display().to_string())?;
                let data = &load_samples(&experiment, &callbacks)?;
                let trained = TrainedNetwork { experiment, observed: network.settings.observe.ntk, data };
                TrainingSession { trained, device: &device, callbacks: &callbacks }.begin(draft, &config, &resolved)?
            }
        };
        Run::of(&run, device)
    }
}

/// The callback for events.
type OnEvent<'a> = Box<dyn FnMut(TrainingEvent) + 'a>;

/// The callback that decides after each step whether to stop.
type StopWhen<'a> = Box<dyn FnMut() -> bool + 'a>;

/// The device of a training: open already, or opened after the settings have been checked.
enum Place {
    Device(Device),
    Choice(DeviceChoice),
}

impl Place {
    fn bound(&self, held: Held) -> MemoryBound {
        match self {
            Self::Device(device) => device.bound(held),
            Self::Choice(choice) => choice.bound(held),
        }
    }

    fn open(self) -> Result<Device, Error> {
        match self {
            Self::Device(device) => Ok(device),
            Self::Choice(choice) => Ok(Device::open(choice)?),
        }
    }
}

/// The key of the setting with the number of steps.
fn steps_key(subject: &Subject) -> &'static str {
    match subject {
        Subject::Gan(_) => "train.steps",
        Subject::Network(_) => "task.supervised.steps",
    }
}
