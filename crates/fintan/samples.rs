//! Samples of a trained generator: from independent latents, or along paths between latents.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use fintan_artifact::{Array, RunDir, write_npz, write_whole};
use fintan_config::{Architecture, Experiment, Held, Subject};
use fintan_metrics::{Measures, Samples};
use fintan_net::{Mode, PlacedNetwork};
use fintan_report::{grid_gif, grid_png, image_png};
use fintan_train::{draw_latents, generate, read_sampler, slerp};

use crate::device::Device;
use crate::error::Error;
use crate::export::{is_export, read_exported};
use crate::training::{channels_first, subject_of_run};

/// Display time of a frame of a GIF, in hundredths of a second.
const FRAME: u16 = 5;

/// The smallest truncation of latents. Below it nearly every draw would be rejected.
const LEAST_TRUNCATION: f64 = 0.001;

/// Why a generator cannot be used, or cannot draw samples.
///
/// ```
/// let error = fintan::GeneratorError::NotAGan("runs/fc".into());
/// assert!(error.to_string().ends_with("only GANs draw samples"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GeneratorError {
    /// The run is of a network with a task, not of a GAN.
    #[error("`{}` is a run of a network with a task; only GANs draw samples", .0.display())]
    NotAGan(PathBuf),
    /// A step is requested of an exported folder, which has none.
    #[error("`{}` is an exported folder; it holds one generator without a step", .0.display())]
    StepOfExport(PathBuf),
    /// An exported folder cannot be exported again.
    #[error("`{}` is an exported folder already; copy it", .0.display())]
    AlreadyExported(PathBuf),
    /// The folder of an export exists already.
    #[error("`{}` exists already; an export never overwrites anything", .0.display())]
    Exists(PathBuf),
    /// The description of the layers is missing beside the weights. The path is that of the description.
    #[error("`{}` is missing; it describes the layers that the weights belong to", .0.display())]
    NoDescription(PathBuf),
    /// A file of an export cannot be read.
    #[error("`{}`: {message}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The truncation is so small that it leaves no latents.
    #[error("the truncation of latents must be at least {LEAST_TRUNCATION}, got {0}")]
    Truncation(f64),
    /// A walk has fewer than 2 frames.
    #[error("a walk between two latents has at least 2 frames, got {0}")]
    Frames(usize),
}

/// The statistics that batch norms of a generator use while it draws samples.
///
/// ```
/// assert_eq!(fintan::BatchNormStatistics::default(), fintan::BatchNormStatistics::Running);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BatchNormStatistics {
    /// Running averages of training: a sample depends on its latent only.
    #[default]
    Running,
    /// The statistics of the current batch, as in training.
    Batch,
}

impl BatchNormStatistics {
    fn mode(self) -> Mode {
        match self {
            Self::Running => Mode::Eval,
            Self::Batch => Mode::Train,
        }
    }
}

/// A generator with its weights, from a checkpoint of a GAN or from a folder that [`export`](crate::export()) wrote.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let config = folder.path().join("tiny.toml");
/// # fs_err::write(&config, "
/// #     image = { size = 16, channels = 1 }
/// #     data.shapes.count = 16
/// #     generator = { latent = 4, dcgan.channels = 4, optimizer.adam.rate = 1e-3 }
/// #     discriminator = { dcgan.channels = 4, optimizer.adam.rate = 1e-3 }
/// #     train = { steps = 1, batch = 4, grid = [2, 2] }
/// # ")?;
/// use fintan::{Device, TrainedGenerator};
///
/// let run = fintan::train(&config).out(folder.path().join("run")).device(Device::cpu()).run()?;
/// let generator = TrainedGenerator::open(run.root(), None, &Device::cpu())?;
/// assert_eq!((generator.step(), generator.architecture().input.len()), (Some(1), 4));
/// // The images are those of `Run::samples`, with latents of the seed of the run.
/// let drawn = generator.samples(3).draw()?;
/// assert_eq!(drawn.images(), run.samples(3)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct TrainedGenerator {
    pub(crate) network: PlacedNetwork,
    pub(crate) device: Device,
    step: Option<u64>,
    seed: u64,
}

impl TrainedGenerator {
    /// Reads the generator of a run directory at a step (by default its newest checkpoint), or of an exported folder. If
    /// training averages weights, the generator is the average.
    ///
    /// # Errors
    /// Fails if the folder is neither a run nor an export, if the run has no GAN or no such checkpoint, if files are damaged,
    /// or if a step is requested of an exported folder.
    pub fn open(path: impl AsRef<Path>, step: Option<u64>, device: &Device) -> Result<Self, Error> {
        let path = path.as_ref();
        if is_export(path) {
            if step.is_some() {
                return Err(GeneratorError::StepOfExport(path.into()).into());
            }
            let network = read_exported(&path.join("generator.safetensors"), device)?;
            return Ok(Self { network, device: device.clone(), step: None, seed: 0 });
        }
        let run = RunDir::open(path)?;
        let Subject::Gan(experiment) = subject_of_run(&run, &[], device.bound(Held::Parameters))? else {
            return Err(GeneratorError::NotAGan(path.into()).into());
        };
        Self::of_run(&run, &experiment, step, device)
    }

    /// Reads the generator of a checkpoint, by default of the newest one.
    pub(crate) fn of_run(
        run: &RunDir,
        experiment: &Experiment,
        step: Option<u64>,
        device: &Device,
    ) -> Result<Self, Error> {
        let step = run.find_checkpoint(step)?;
        let network = read_sampler(&run.checkpoint(step), experiment, &device.placement)?;
        Ok(Self { network, device: device.clone(), step: Some(step), seed: experiment.settings.seed })
    }

    /// The step of the checkpoint, or `None` for an exported folder.
    #[must_use]
    pub fn step(&self) -> Option<u64> {
        self.step
    }

    /// The default seed for latents: that of the run, or 0 for an exported folder.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The layers with their shapes.
    #[must_use]
    pub fn architecture(&self) -> &Architecture {
        self.network.architecture()
    }

    /// The name of the statistics that batch norms use: `none`, `running` or `batch`.
    #[must_use]
    pub fn batch_norm(&self, statistics: BatchNormStatistics) -> &'static str {
        match (self.architecture().is_batch_coupled(), statistics) {
            (false, _) => "none",
            (true, BatchNormStatistics::Running) => "running",
            (true, BatchNormStatistics::Batch) => "batch",
        }
    }

    /// Begins to draw this number of samples, or of walks between two latents; [`SampleBuilder::draw`] draws them.
    #[must_use]
    pub fn samples(&self, count: usize) -> SampleBuilder<'_> {
        SampleBuilder {
            generator: self,
            count,
            seed: self.seed,
            truncation: None,
            statistics: BatchNormStatistics::Running,
            frames: None,
            on_images: Box::new(|_, _| ()),
        }
    }
}

/// Options for drawing samples; [`TrainedGenerator::samples`] makes them.
///
/// By default latents are drawn from the seed of the run, each value from N(0, 1), and batch norms use their running
/// statistics.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let config = folder.path().join("tiny.toml");
/// # fs_err::write(&config, "
/// #     image = { size = 16, channels = 1 }
/// #     data.shapes.count = 16
/// #     generator = { latent = 4, dcgan.channels = 4, optimizer.adam.rate = 1e-3 }
/// #     discriminator = { dcgan.channels = 4, optimizer.adam.rate = 1e-3 }
/// #     train = { steps = 1, batch = 4, grid = [2, 2] }
/// # ")?;
/// # let cpu = fintan::Device::cpu();
/// # let run = fintan::train(&config).out(folder.path().join("run")).device(cpu.clone()).run()?;
/// let generator = fintan::TrainedGenerator::open(run.root(), None, &cpu)?;
/// let mut done = Vec::new();
/// let walks = generator.samples(2).seed(7).walk(3).on_images(|images, of| done.push((images, of))).draw()?;
/// assert_eq!((walks.images().shape, walks.latents().shape), (vec![2, 3, 1, 16, 16], vec![2, 3, 4]));
/// drop(walks);
/// assert_eq!(done, [(6, 6)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SampleBuilder<'a> {
    generator: &'a TrainedGenerator,
    count: usize,
    seed: u64,
    truncation: Option<f64>,
    statistics: BatchNormStatistics,
    frames: Option<usize>,
    on_images: Box<dyn FnMut(usize, usize) + Send + 'a>,
}

impl<'a> SampleBuilder<'a> {
    /// Draws latents from this seed.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Redraws latent values outside ±ψ until they are inside. The images are more typical and less varied.
    #[must_use]
    pub fn truncation(mut self, psi: f64) -> Self {
        self.truncation = Some(psi);
        self
    }

    /// Uses these statistics in batch norms.
    #[must_use]
    pub fn batch_norm(mut self, statistics: BatchNormStatistics) -> Self {
        self.statistics = statistics;
        self
    }

    /// Interpolates spherically between two latents, in this number of frames including both ends. Each requested sample
    /// becomes one such walk.
    #[must_use]
    pub fn walk(mut self, frames: usize) -> Self {
        self.frames = Some(frames);
        self
    }

    /// Calls `on_images(done, total)` after each batch of images.
    #[must_use]
    pub fn on_images(mut self, on_images: impl FnMut(usize, usize) + Send + 'a) -> Self {
        self.on_images = Box::new(on_images);
        self
    }

    /// Draws latents and computes their images.
    ///
    /// # Errors
    /// Fails if the truncation is below 0.001, or a walk has fewer than 2 frames.
    pub fn draw(self) -> Result<DrawnSamples, Error> {
        let Self { generator, count, seed, truncation, statistics, frames, on_images } = self;
        if let Some(psi) = truncation.filter(|psi| !(psi.is_finite() && *psi >= LEAST_TRUNCATION)) {
            return Err(GeneratorError::Truncation(psi).into());
        }
        let latent = generator.architecture().input.len();
        let latents = match frames {
            None => draw_latents(seed, count, latent, truncation),
            Some(frames) if frames < 2 => return Err(GeneratorError::Frames(frames).into()),
            Some(frames) => walks(&draw_latents(seed, 2 * count, latent, truncation), latent, frames),
        };
        let all = count * frames.unwrap_or(1);
        let told = Mutex::new((0, on_images));
        let tick = |more| {
            let (done, on_images) = &mut *told.lock().unwrap_or_else(PoisonError::into_inner);
            *done += more;
            on_images(*done, all);
        };
        let device = &generator.device.placement.device;
        let images = generate(&generator.network, &latents, statistics.mode(), device, &tick);
        Ok(DrawnSamples { images, latents, count, frames })
    }
}

/// Interpolates from each latent of even index to the next one, in `frames` steps.
fn walks(ends: &[f32], latent: usize, frames: usize) -> Vec<f32> {
    let pairs = ends.chunks_exact(2 * latent).map(|pair| pair.split_at(latent));
    pairs.flat_map(|(a, b)| (0..frames).flat_map(|i| slerp(a, b, i as f64 / (frames - 1) as f64))).collect()
}

/// Images of a generator with their latents, or walks between latents; [`SampleBuilder::draw`] draws them.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let config = folder.path().join("tiny.toml");
/// # fs_err::write(&config, "
/// #     image = { size = 16, channels = 1 }
/// #     data.shapes.count = 16
/// #     generator = { latent = 4, dcgan.channels = 4, optimizer.adam.rate = 1e-3 }
/// #     discriminator = { dcgan.channels = 4, optimizer.adam.rate = 1e-3 }
/// #     train = { steps = 1, batch = 4, grid = [2, 2] }
/// # ")?;
/// # let cpu = fintan::Device::cpu();
/// # let run = fintan::train(&config).out(folder.path().join("run")).device(cpu.clone()).run()?;
/// let drawn = fintan::TrainedGenerator::open(run.root(), None, &cpu)?.samples(6).draw()?;
/// assert_eq!((drawn.len(), drawn.measures().samples), (6, 6));
/// drawn.write_png(&folder.path().join("grid.png"), 3)?;
/// assert!(folder.path().join("grid.png").is_file());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct DrawnSamples {
    pub(crate) images: Samples,
    latents: Vec<f32>,
    count: usize,
    frames: Option<usize>,
}

impl DrawnSamples {
    /// Number of images, in all walks together.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count * self.frames.unwrap_or(1)
    }

    /// Whether there is no image.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `[N]`, or `[N, frames]` for walks, followed by `rest`.
    fn shape(&self, rest: &[usize]) -> Vec<usize> {
        [self.count].into_iter().chain(self.frames).chain(rest.iter().copied()).collect()
    }

    /// The images in [-1, 1]: `[N, channels, rows, columns]`, or `[N, frames, channels, rows, columns]` for walks.
    #[must_use]
    pub fn images(&self) -> Array<'static> {
        let Samples { values, size, channels } = &self.images;
        Array::f32(&self.shape(&[*channels, *size, *size]), channels_first(values, *channels, size * size))
    }

    /// The latents: `[N, latent]`, or `[N, frames, latent]` for walks.
    #[must_use]
    pub fn latents(&self) -> Array<'static> {
        Array::f32(&self.shape(&[self.latents.len() / self.len().max(1)]), self.latents.clone())
    }

    /// Measures that distinguish collapse and checkerboards from varied samples.
    #[must_use]
    pub fn measures(&self) -> Measures {
        self.images.measure()
    }

    /// The values of image `i`, channels last.
    fn image(&self, i: usize) -> &[f32] {
        let len = self.images.size * self.images.size * self.images.channels;
        &self.images.values[i * len..(i + 1) * len]
    }

    /// Writes the images as a PNG with `columns` images a row. Of walks each row shows one walk, as `columns` of its frames
    /// that include both ends.
    ///
    /// # Errors
    /// Fails if there are no images, or with errors of the file system.
    pub fn write_png(&self, path: &Path, columns: usize) -> Result<(), Error> {
        let Samples { values, size, channels } = &self.images;
        let png = match self.frames {
            None => grid_png(values, *size, *channels, columns.min(self.count))?,
            Some(frames) => {
                let shown = columns.min(frames);
                let place = |column: usize| (column * (frames - 1) + (shown - 1) / 2) / (shown - 1).max(1);
                let all = (0..self.count).flat_map(|row| (0..shown).map(move |column| row * frames + place(column)));
                let strips: Vec<f32> = all.flat_map(|i| self.image(i)).copied().collect();
                grid_png(&strips, *size, *channels, shown)?
            }
        };
        Ok(write_whole(path, &png)?)
    }

    /// Writes all walks side by side as an animated GIF, forward and back. Samples that are not walks make one frame.
    ///
    /// # Errors
    /// Fails if there are more images than a GIF can hold, or with errors of the file system.
    pub fn write_gif(&self, path: &Path) -> Result<(), Error> {
        let frames = self.frames.unwrap_or(1);
        let frame = |i| (0..self.count).flat_map(|row| self.image(row * frames + i)).copied().collect();
        let all: Vec<Vec<f32>> = (0..frames).map(frame).collect();
        let side = (self.count as f64).sqrt().ceil() as usize;
        Ok(write_whole(path, &grid_gif(&all, self.images.size, self.images.channels, side, FRAME)?)?)
    }

    /// Writes [`Self::images`] and [`Self::latents`] as an `.npz` file with these names.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn write_npz(&self, path: &Path) -> Result<(), Error> {
        Ok(write_npz(path, &[("images", self.images()), ("latents", self.latents())])?)
    }

    /// Writes each image as a PNG into a folder. Names are the number of the image (`000012.png`), or of walk and frame
    /// (`000003_0012.png`).
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn write_each(&self, folder: &Path) -> Result<(), Error> {
        for i in 0..self.len() {
            let name = match self.frames {
                Some(frames) => format!("{:06}_{:04}.png", i / frames, i % frames),
                None => format!("{i:06}.png"),
            };
            let png = image_png(self.image(i), self.images.size, self.images.channels)?;
            write_whole(&folder.join(name), &png)?;
        }
        Ok(())
    }
}
