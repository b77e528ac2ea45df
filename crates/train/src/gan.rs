//! A GAN during training, with its log lines and samples.

use std::time::{Duration, Instant};

use burn::tensor::Device;
use fintan_artifact::LogLine;
use fintan_config::{Experiment, Settings, Train};
use fintan_data::{DataError, Images, Order};
use fintan_metrics::{Measures, Samples};
use fintan_net::{Mode, PlacedNetwork, Placement};

use crate::checkpoint::DataFingerprint;
use crate::gan_step::StepOutcome;
use crate::gradient_penalty::Penalties;
use crate::optimizer::{Optimizer, rates};
use crate::sampling::sample;
use crate::spectral_norm::SpectralNorm;
use crate::training::{
    Ending, Observer, ObserverError, Schedule, Session, TrainError, TrainedPart, Trainee, check_loss, numbers, run,
};
use fintan_data::{Purpose, stream};

/// Number of samples for the measures of a log line.
const LOGGED_SAMPLES: usize = 128;

/// Generator and discriminator, with all state that training carries from step to step.
///
/// ```
/// use burn::tensor::{DType, Device};
/// use fintan_config::Experiment;
/// use fintan_data::Images;
/// use fintan_net::{Lowering, Placement};
/// use fintan_train::{Ending, Gan, Observers};
///
/// let text = "
///     image = { size = 8, channels = 1 }
///     data.shapes.count = 16
///     generator = { latent = 4, fc.widths = [8], optimizer.adam.rate = 1e-3 }
///     discriminator = { fc.widths = [8], optimizer.adam.rate = 1e-3 }
///     train = { steps = 2, batch = 4 }
/// ";
/// let experiment = Experiment::parse("toy.toml", text, &[])?;
/// let images = Images::load(&experiment.settings.data, &experiment.settings.image, None)?;
/// let cpu = Placement { device: Device::flex(), dtype: DType::F32, lowering: Lowering::Host };
/// let mut gan = Gan::new(&experiment, images.len(), &cpu);
/// assert_eq!(gan.train(&images, &mut Observers(Vec::new()))?, Ending::Done);
/// assert_eq!((gan.step, gan.samples(3).values.len()), (2, 3 * 8 * 8));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Gan {
    /// The generator.
    pub generator: PlacedNetwork,
    /// The discriminator, with its effective weights.
    pub discriminator: PlacedNetwork,
    /// The generator with averaged weights, if the experiment uses an average.
    pub average: Option<PlacedNetwork>,
    pub(crate) generator_optimizer: Optimizer,
    pub(crate) discriminator_optimizer: Optimizer,
    pub(crate) spectral_norm: Option<SpectralNorm>,
    pub(crate) penalties: Option<Penalties>,
    pub(crate) order: Order,
    /// The fingerprint of the training images: from the checkpoint, or, if it has none, from the images given to
    /// [`Gan::train`].
    pub data: Option<DataFingerprint>,
    /// Number of completed generator steps.
    pub step: u64,
    pub(crate) settings: Settings,
    pub(crate) device: Device,
}

impl Trainee for Gan {
    type Line = LogLine;

    fn step(&self) -> u64 {
        self.step
    }

    fn seen(&self) -> u64 {
        self.order.seen()
    }

    fn data(&self) -> Option<&DataFingerprint> {
        self.data.as_ref()
    }

    fn parts(&self) -> Vec<TrainedPart<'_>> {
        let part = |name, network, optimizer| TrainedPart { name, network, optimizer, further: None };
        let mut parts = vec![
            part("discriminator", &self.discriminator, Some(&self.discriminator_optimizer)),
            part("generator", &self.generator, Some(&self.generator_optimizer)),
        ];
        parts[0].further =
            self.spectral_norm.as_ref().map(|norm| ("spectral_norm", norm.to_tensors(&self.discriminator)));
        parts.extend(self.average.as_ref().map(|average| part("average", average, None)));
        parts
    }
}

impl Gan {
    /// Both networks drawn from the experiment's seed, before the first step.
    #[must_use]
    pub fn new(experiment: &Experiment, images: usize, placement: &Placement) -> Self {
        let settings = &experiment.settings;
        let draw = |architecture, purpose| {
            PlacedNetwork::init(architecture, &mut stream(settings.seed, purpose, 0), placement)
        };
        let generator = draw(&experiment.generator, Purpose::Generator);
        let (g, d) = (&settings.generator, &settings.discriminator);
        let mut discriminator = draw(&experiment.discriminator, Purpose::Discriminator);
        let spectral_norm = d.spectral_norm.map(|norm| {
            let mut rng = stream(settings.seed, Purpose::SingularVectors, 0);
            SpectralNorm::new(&discriminator, norm.iterations, &mut rng)
        });
        if let Some(norm) = &spectral_norm {
            discriminator = discriminator.with_parameters(norm.effective());
        }
        Self {
            discriminator,
            spectral_norm,
            penalties: Penalties::new(&settings.loss),
            average: settings.train.ema.map(|_| generator.clone()),
            generator_optimizer: Optimizer::new(
                &g.optimizer,
                rates(&experiment.generator, &g.optimizer, &g.layer_rates),
            ),
            discriminator_optimizer: Optimizer::new(
                &d.optimizer,
                rates(&experiment.discriminator, &d.optimizer, &d.layer_rates),
            ),
            order: Order::new(settings.seed, images, 0),
            data: None,
            step: 0,
            settings: settings.clone(),
            device: placement.device.clone(),
            generator,
        }
    }

    /// The network that generates samples: the average if there is one, else the generator.
    #[must_use]
    pub fn sampler(&self) -> &PlacedNetwork {
        self.average.as_ref().unwrap_or(&self.generator)
    }

    /// Samples of the experiment's fixed latents; batch norms use batches of at most 256.
    #[must_use]
    pub fn samples(&self, count: usize) -> Samples {
        sample(self.sampler(), self.settings.seed, count, Mode::Train, &self.device)
    }

    /// Checks that the data set has enough images for a batch.
    ///
    /// # Errors
    /// A data set with fewer images than a batch.
    pub fn check_batch(&self, images: usize) -> Result<(), DataError> {
        let needed = self.settings.train.batch;
        if images < needed { Err(DataError::TooFew { found: images, needed }) } else { Ok(()) }
    }

    /// Trains to the experiment's last step.
    ///
    /// # Errors
    /// A loss that is not finite, a data set smaller than a batch, or an observer that fails.
    pub fn train(&mut self, images: &Images, observer: &mut dyn Observer<Self>) -> Result<Ending, TrainError> {
        let train = self.settings.train.clone();
        self.check_batch(images.len())?;
        self.data.get_or_insert_with(|| DataFingerprint::of_images(images));
        let data = real_measures(images, LOGGED_SAMPLES);
        if self.step == 0 {
            observer.sampled(0, &self.samples(train.grid[0] * train.grid[1]))?;
        }
        let Train { steps, log_every, checkpoint_every, .. } = train;
        let schedule = Schedule { steps, log_every, checkpoint_every };
        let mut play = Play { gan: self, images, data, outcome: None, waited: Duration::ZERO, steps: 0 };
        run(&mut play, &schedule, observer)
    }
}

/// A GAN and its images during training.
struct Play<'a> {
    gan: &'a mut Gan,
    images: &'a Images,
    /// Measures of the training images.
    data: Measures,
    /// The outcome of the last step.
    outcome: Option<StepOutcome>,
    /// Time spent waiting for data, and number of steps, since the last line.
    waited: Duration,
    steps: u32,
}

impl Session for Play<'_> {
    type Trainee = Gan;

    fn trainee(&self) -> &Gan {
        self.gan
    }

    fn advance(&mut self) {
        let outcome = self.gan.advance(self.images);
        self.waited += outcome.waited;
        self.steps += 1;
        self.outcome = Some(outcome);
    }

    fn line(&mut self, since: Instant) -> Result<LogLine, TrainError> {
        let outcome = self.outcome.as_ref().expect("a step is done");
        let StepOutcome { d_loss, g_loss, d_real, d_fake, d_penalty, slope_ratio, waited: _ } = outcome.clone();
        let (has_penalty, has_ratio) = (d_penalty.is_some(), slope_ratio.is_some());
        let scalars = [d_loss, g_loss, d_real, d_fake].into_iter().chain(d_penalty).chain(slope_ratio);
        let mut values = numbers(scalars.collect()).into_iter();
        let mut next = || values.next().unwrap_or(f64::NAN);
        let [d_loss, g_loss, d_real, d_fake] = std::array::from_fn(|_| next());
        let d_penalty = has_penalty.then(&mut next);
        let slope_ratio = has_ratio.then(&mut next);
        check_loss(self.gan, "the discriminator's loss", d_loss)?;
        check_loss(self.gan, "the generator's loss", g_loss)?;
        let samples = self.gan.samples(LOGGED_SAMPLES).measure();
        let seconds = since.elapsed().as_secs_f64().max(1e-9);
        let line = LogLine {
            step: self.gan.step,
            d_loss,
            g_loss,
            d_real,
            d_fake,
            d_penalty,
            slope_ratio,
            std_ratio: samples.std / self.data.std.max(1e-12),
            correlation: samples.correlation,
            nyquist_ratio: samples.nyquist / self.data.nyquist.max(1e-12),
            steps_per_second: f64::from(self.steps) / seconds,
            data_wait: self.waited.as_secs_f64() / seconds,
        };
        (self.waited, self.steps) = (Duration::ZERO, 0);
        Ok(line)
    }

    fn show(&self, last: bool, observer: &mut dyn Observer<Gan>) -> Result<(), ObserverError> {
        let Train { grid_every, grid, .. } = self.gan.settings.train;
        if last || self.gan.step.is_multiple_of(grid_every) {
            observer.sampled(self.gan.step, &self.gan.samples(grid[0] * grid[1]))?;
        }
        Ok(())
    }
}

/// Measures of the first `count` images of a shuffled data set, with which samples are compared.
#[must_use]
pub fn real_measures(images: &Images, count: usize) -> Measures {
    real_samples(images, &Order::new(0, images.len(), 0).take(count.min(images.len()))).measure()
}

/// Images of a data set in the form of samples.
#[must_use]
pub fn real_samples(images: &Images, indices: &[usize]) -> Samples {
    let values = indices.iter().flat_map(|&i| images.bytes(i)).map(|&b| f32::from(b) / 127.5 - 1.0).collect();
    Samples { values, size: images.size, channels: images.channels }
}
