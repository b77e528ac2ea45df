//! Training into a run directory, and what a run gives afterwards.

use std::path::{Path, PathBuf};

use fintan_artifact::{Array, Draft, LogLine, RunDir, RunError, SupervisedLine, is_free};
use fintan_config::{Experiment, Held, NetworkExperiment, Subject};
use fintan_data::{Images, TaskData};
use fintan_net::Mode;
use fintan_train::{Gan, Observer, ObserverError, Observers, Supervised, draw_latents, generate};

use crate::device::Device;
use crate::error::Error;
use crate::memory::free_memory;
use crate::network::{Network, Role};
use crate::record::{GanOutcome, HealthWatch, RunRecorder, make_absolute, publish_run, write_scores, write_task_data};

/// The losses of one step.
///
/// ```
/// let losses = fintan::Losses::Task { train: 0.5, test: 0.75 };
/// assert_eq!(losses, fintan::Losses::Task { train: 0.5, test: 0.75 });
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Losses {
    /// Of a GAN.
    Gan {
        /// The loss of the discriminator.
        discriminator: f64,
        /// The loss of the generator.
        generator: f64,
    },
    /// Of a network with a task.
    Task {
        /// Over the training samples.
        train: f64,
        /// Over the test samples.
        test: f64,
    },
}

/// A training that is about to begin; [`train`] makes it.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let config = folder.path().join("line.toml");
/// fs_err::write(&config, "
///     network = { input = 4, outputs = 1, fc = { widths = [8] } }
///     data.teacher.degree = 1
///     task.supervised = { goal = 'regression', train = 8, test = 8, steps = 9, optimizer.sgd.rate = 0.1 }
/// ")?;
/// let run = fintan::train(&config).out(folder.path().join("run")).steps(3).run()?;
/// assert_eq!(run.steps()?, 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Training<'a> {
    config: PathBuf,
    overrides: Vec<String>,
    steps: Option<u64>,
    out: Option<PathBuf>,
    device: Option<Device>,
    on_step: Box<dyn FnMut(u64, Losses) + 'a>,
}

/// Trains what a configuration file describes, a GAN or a network with a task, into a new run directory.
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
        device: None,
        on_step: Box::new(|_, _| ()),
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

    /// Makes the run directory here, where nothing may be yet; by default `runs/NAME` after the configuration.
    #[must_use]
    pub fn out(mut self, folder: impl AsRef<Path>) -> Self {
        self.out = Some(folder.as_ref().into());
        self
    }

    /// Trains on this device; by default on [`Device::auto`].
    #[must_use]
    pub fn device(mut self, device: Device) -> Self {
        self.device = Some(device);
        self
    }

    /// Calls `on_step(step, losses)` at every line of the log: every `log_every` steps, and at the last. Losses stay on the device
    /// in between.
    #[must_use]
    pub fn on_step(mut self, on_step: impl FnMut(u64, Losses) + 'a) -> Self {
        self.on_step = Box::new(on_step);
        self
    }

    /// Trains to the last step.
    ///
    /// The run directory is that of `fintan train`: `fintan resume`, `sample`, `ntk` and `report` read it.
    ///
    /// # Errors
    /// A configuration that is wrong, or has `observe` tables, which the program measures; a run directory that is there already;
    /// data that cannot be read; losses that are not finite; a GAN that collapsed and was to stop then.
    pub fn run(mut self) -> Result<Run, Error> {
        if let Some(out) = self.out.as_ref()
            && !is_free(out)?
        {
            return Err(RunError::Exists(out.clone()).into());
        }
        let device = self.device.take().map_or_else(Device::auto, Ok)?;
        let bound = device.bound(Held::Training);
        let mut subject = Subject::load_within(&self.config, &self.overrides, bound)?;
        if let Some(steps) = self.steps {
            let key = match subject {
                Subject::Gan(_) => "train.steps",
                Subject::Network(_) => "task.supervised.steps",
            };
            self.overrides.push(format!("{key}={steps}"));
            subject = Subject::load_within(&self.config, &self.overrides, bound)?;
        }
        make_absolute(&mut subject)?;
        let run = match &subject {
            Subject::Gan(experiment) => self.gan(&subject, experiment, &device)?,
            Subject::Network(network) => self.task(&subject, network, &device)?,
        };
        Ok(Run { run, device })
    }

    fn begin(
        &self,
        subject: &Subject,
        device: &Device,
        fill: impl FnOnce(&Draft) -> Result<(), Error>,
    ) -> Result<RunDir, Error> {
        let draft = match &self.out {
            Some(root) => Draft::at(root)?,
            None => Draft::numbered(Path::new("runs"), &self.config.file_stem().unwrap_or_default().to_string_lossy())?,
        };
        fill(&draft)?;
        publish_run(draft, &self.config, &subject.to_toml(), device)
    }

    fn gan(&mut self, subject: &Subject, experiment: &Experiment, device: &Device) -> Result<RunDir, Error> {
        let settings = &experiment.settings;
        if !settings.observe.is_empty() {
            return Err(Error::Observed);
        }
        let images = Images::load(&settings.data, &settings.image, free_memory())?;
        let mut gan = Gan::new(experiment, images.len(), &device.placement);
        gan.check_batch(images.len())?;
        let run = self.begin(subject, device, |_| Ok(()))?;
        let mut recorder = RunRecorder::new(&run, 0, settings.train.keep, settings.train.grid[1]);
        let mut watch = HealthWatch::new(&run, settings, |_| ())?;
        let mut told = Told(&mut *self.on_step);
        gan.train(&images, &mut Observers(vec![&mut recorder, &mut watch, &mut told]))?;
        let step = recorder.step();
        if let Some(message) = watch.because() {
            return Err(Error::Collapsed { step, message });
        }
        GanOutcome::write(&gan, experiment, &images, &run)?;
        Ok(run)
    }

    fn task(&mut self, subject: &Subject, network: &NetworkExperiment, device: &Device) -> Result<RunDir, Error> {
        let experiment = network.supervised().ok_or(Error::Untrainable)?;
        if !network.settings.observe.is_empty() {
            return Err(Error::Observed);
        }
        let data = TaskData::load(&experiment, free_memory())?;
        let mut trainee = Supervised::new(&experiment, &device.placement);
        let run = self.begin(subject, device, |draft| Ok(write_task_data(&trainee, &data, draft.path())?))?;
        let mut recorder = RunRecorder::new(&run, 0, experiment.task.keep, 1);
        let mut told = Told(&mut *self.on_step);
        trainee.train(&data, &mut Observers(vec![&mut recorder, &mut told]))?;
        write_scores(&trainee, &data, &run)?;
        Ok(run)
    }
}

/// The observer that tells the caller.
struct Told<'a>(&'a mut dyn FnMut(u64, Losses));

impl Observer<Gan> for Told<'_> {
    fn logged(&mut self, line: &LogLine) -> Result<(), ObserverError> {
        (self.0)(line.step, Losses::Gan { discriminator: line.d_loss, generator: line.g_loss });
        Ok(())
    }
}

impl Observer<Supervised> for Told<'_> {
    fn logged(&mut self, line: &SupervisedLine) -> Result<(), ObserverError> {
        (self.0)(line.step, Losses::Task { train: line.train_loss, test: line.test_loss });
        Ok(())
    }
}

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
    /// Opens a run directory to read it, on the CPU.
    ///
    /// # Errors
    /// A folder that is no run.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, Error> {
        Ok(Self { run: RunDir::open(root.as_ref())?, device: Device::cpu() })
    }

    /// Computes on this device.
    #[must_use]
    pub fn on(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.run.root()
    }

    /// The steps of its checkpoints.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn checkpoints(&self) -> Result<Vec<u64>, Error> {
        Ok(self.run.checkpoints()?)
    }

    /// The step of its newest checkpoint.
    ///
    /// # Errors
    /// A run without checkpoints.
    pub fn steps(&self) -> Result<u64, Error> {
        Ok(self.run.find_checkpoint(None)?)
    }

    /// The network of its newest checkpoint: of a GAN, the generator.
    ///
    /// # Errors
    /// A run without checkpoints.
    pub fn network(&self) -> Result<Network, Error> {
        Ok(Network::load(self.root())?.on(self.device.clone()))
    }

    /// So many images from the generator of the newest checkpoint, `[N, channels, rows, columns]` in [-1, 1], as
    /// [`Network::samples`] draws them.
    ///
    /// # Errors
    /// A run of a network with a task; a checkpoint that cannot be read.
    pub fn samples(&self, n: usize) -> Result<Array<'static>, Error> {
        self.network()?.samples(n)
    }
}

impl Network {
    /// So many images from a generator, `[N, channels, rows, columns]` in [-1, 1], with latents drawn from the seed of the
    /// configuration and the running statistics of batch norms.
    ///
    /// # Errors
    /// A network that is no generator; weights that cannot be read.
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

/// Channels-last images as planes, channel by channel.
///
/// ```
/// assert_eq!(fintan::parts::channels_first(&[1.0, 10.0, 2.0, 20.0], 2, 2), [1.0, 2.0, 10.0, 20.0]);
/// ```
#[must_use]
pub fn channels_first(values: &[f32], channels: usize, pixels: usize) -> Vec<f32> {
    let mut planes = vec![0.0_f32; values.len()];
    let len = channels * pixels;
    for (image, planes) in values.chunks_exact(len).zip(planes.chunks_exact_mut(len)) {
        for (i, &v) in image.iter().enumerate() {
            planes[i % channels * pixels + i / channels] = v;
        }
    }
    planes
}
