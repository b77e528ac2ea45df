//! GAN training: one step, and the loop around it.

use std::time::{Duration, Instant};

use burn::tensor::{Device, Tensor};
use fintan_artifact::LogLine;
use fintan_config::{Experiment, Settings, Train};
use fintan_data::{Images, Order};
use fintan_net::{Mode, Network, Placement};
use rand::RngExt as _;

use crate::loss::binary_cross_entropy;
use crate::measures::{Measures, Samples};
use crate::optimizer::{Optimizer, rates};
use crate::seeds::{Purpose, latents, stream};

/// Samples behind the measures of a log line.
const LOGGED_SAMPLES: usize = 128;

/// Samples generated at a time.
const CHUNK: usize = 256;

/// Two networks at play, with everything that training carries from step to step.
#[derive(Clone)]
pub struct Gan {
    /// The generator.
    pub generator: Network,
    /// The discriminator.
    pub discriminator: Network,
    /// The generator with averaged weights, where the experiment wants one.
    pub average: Option<Network>,
    pub(crate) generator_optimizer: Optimizer,
    pub(crate) discriminator_optimizer: Optimizer,
    pub(crate) order: Order,
    /// Generator steps done.
    pub step: u64,
    pub(crate) settings: Settings,
    device: Device,
}

/// Losses and probabilities of one step, still on the device.
#[derive(Debug, Clone)]
pub struct StepOutcome {
    /// Discriminator loss: real plus generated half.
    pub d_loss: Tensor<1>,
    /// Generator loss.
    pub g_loss: Tensor<1>,
    /// D(x)
    pub d_real: Tensor<1>,
    /// D(G(z)), before the discriminator's step.
    pub d_fake: Tensor<1>,
    /// Time it took to bring the data.
    pub waited: Duration,
}

/// What a loop tells the outside.
///
/// Every method has a default that does nothing: an observer implements what it wants to see.
pub trait Observer {
    /// A step is done.
    fn stepped(&mut self, _gan: &Gan) {}

    /// A line for the log.
    ///
    /// # Errors
    /// Whatever keeps it from being written; training stops.
    fn logged(&mut self, _line: &LogLine) -> Result<(), ObserverError> {
        Ok(())
    }

    /// Samples of the fixed latents.
    ///
    /// # Errors
    /// As [`Observer::logged`].
    fn sampled(&mut self, _step: u64, _samples: &Samples) -> Result<(), ObserverError> {
        Ok(())
    }

    /// Time for a checkpoint; every parameter and moment is finite.
    ///
    /// # Errors
    /// As [`Observer::logged`].
    fn checkpoint(&mut self, _gan: &Gan) -> Result<(), ObserverError> {
        Ok(())
    }

    /// Whether to stop after this step.
    fn stop(&mut self) -> bool {
        false
    }
}

/// Why an observer could not do its part.
pub type ObserverError = Box<dyn std::error::Error + Send + Sync>;

/// Why training stopped early.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A loss or a parameter is not a finite number.
    #[error("step {step}: {what} is not finite; the last checkpoint is from before{}", layer.as_ref().map_or(String::new(), |l| format!(". First at {l}")))]
    NotFinite {
        /// The step.
        step: u64,
        /// The loss, a parameter or a moment.
        what: String,
        /// The first parameter that is not finite.
        layer: Option<String>,
    },
    /// The data set is smaller than a batch.
    #[error(transparent)]
    Data(#[from] fintan_data::DataError),
    /// An observer failed.
    #[error(transparent)]
    Observer(#[from] ObserverError),
}

/// How a loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All steps are done.
    Done,
    /// An observer asked to stop.
    Stopped,
}

impl Gan {
    /// Two networks drawn from the experiment's seed, before the first step.
    #[must_use]
    pub fn new(experiment: &Experiment, images: usize, placement: &Placement) -> Self {
        let settings = &experiment.settings;
        let draw =
            |architecture, purpose| Network::init(architecture, &mut stream(settings.seed, purpose, 0), placement);
        let generator = draw(&experiment.generator, Purpose::Generator);
        let (g, d) = (&settings.generator, &settings.discriminator);
        Self {
            discriminator: draw(&experiment.discriminator, Purpose::Discriminator),
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
            step: 0,
            settings: settings.clone(),
            device: placement.device.clone(),
            generator,
        }
    }

    /// One generator step, after `n_critic` discriminator steps.
    ///
    /// # Panics
    /// If the experiment was not checked (`n_critic` of 0).
    pub fn advance(&mut self, images: &Images) -> StepOutcome {
        let Train { batch, n_critic, label_smoothing, .. } = self.settings.train;
        let mut waited = Duration::ZERO;
        let mut last = None;
        for turn in 0..n_critic as u64 {
            let number = self.step * n_critic as u64 + turn;
            let start = Instant::now();
            let real = self.real_batch(images, batch, number);
            waited += start.elapsed();
            let z = latents(
                &mut stream(self.settings.seed, Purpose::Latents, number),
                batch,
                self.settings.generator.latent,
                &self.device,
            );
            let (fake, tape) = self.generator.forward(z, Mode::Train);
            let outcome = self.discriminator_step(real, fake.clone(), 1.0 - label_smoothing);
            last = Some((fake, tape, outcome));
        }
        // The generator answers on the last batch it showed, as peers do: one forward pass serves both networks.
        let (fake, tape, (d_loss, d_real, d_fake)) = last.expect("n_critic is at least 1");
        let (logits, judged) = self.discriminator.forward(fake, Mode::Train);
        let loss = binary_cross_entropy(logits, 1.0);
        let cotangent = self.discriminator.pullback(&judged, loss.cotangent);
        let gradients = self.generator.pullback_parameters(&tape, cotangent);
        let parameters = self.generator_optimizer.step(self.generator.parameters(), gradients);
        self.generator = self.generator.with_parameters(parameters).absorb_statistics(&tape);
        self.average_generator();
        self.step += 1;
        StepOutcome { d_loss, g_loss: loss.value, d_real, d_fake, waited }
    }

    fn real_batch(&mut self, images: &Images, batch: usize, number: u64) -> Tensor<4> {
        let indices = self.order.take(batch);
        let mut rng = stream(self.settings.seed, Purpose::Flips, number);
        let mirrored: Vec<bool> =
            if self.settings.image.flip { (0..batch).map(|_| rng.random_bool(0.5)).collect() } else { Vec::new() };
        images.batch(&indices, &mirrored, &self.device)
    }

    /// Returns the loss, D(x) and D(G(z)).
    fn discriminator_step(
        &mut self,
        real: Tensor<4>,
        fake: Tensor<4>,
        target: f64,
    ) -> (Tensor<1>, Tensor<1>, Tensor<1>) {
        let network = self.discriminator.clone();
        if network.architecture().is_batch_coupled() {
            // Real and generated images are normalized apart, as everywhere.
            let (logits, real_tape) = network.forward(real, Mode::Train);
            let on_real = binary_cross_entropy(logits, target);
            let (logits, fake_tape) = network.forward(fake, Mode::Train);
            let on_fake = binary_cross_entropy(logits, 0.0);
            let left = network.pullback_parameters(&real_tape, on_real.cotangent);
            let right = network.pullback_parameters(&fake_tape, on_fake.cotangent);
            let gradients = left.into_iter().zip(right).map(|(a, b)| a + b).collect();
            let parameters = self.discriminator_optimizer.step(network.parameters(), gradients);
            let network = network.absorb_statistics(&real_tape).absorb_statistics(&fake_tape);
            self.discriminator = network.with_parameters(parameters);
            return (on_real.value + on_fake.value, on_real.probability, on_fake.probability);
        }
        let n = real.dims()[0];
        let (logits, tape) = network.forward(Tensor::cat(vec![real, fake], 0), Mode::Train);
        let on_real = binary_cross_entropy(logits.clone().narrow(0, 0, n), target);
        let on_fake = binary_cross_entropy(logits.narrow(0, n, n), 0.0);
        let cotangent = Tensor::cat(vec![on_real.cotangent, on_fake.cotangent], 0);
        let gradients = network.pullback_parameters(&tape, cotangent);
        let parameters = self.discriminator_optimizer.step(network.parameters(), gradients);
        self.discriminator = network.with_parameters(parameters);
        (on_real.value + on_fake.value, on_real.probability, on_fake.probability)
    }

    fn average_generator(&mut self) {
        let (Some(average), Some(decay)) = (&self.average, self.settings.train.ema) else { return };
        let parameters = average
            .parameters()
            .into_iter()
            .zip(self.generator.parameters())
            .map(|(old, new)| old.mul_scalar(decay) + new.mul_scalar(1.0 - decay))
            .collect();
        let statistics = self.generator.running_statistics();
        self.average = Some(average.with_parameters(parameters).with_running_statistics(statistics));
    }

    /// The network that samples are drawn from: the average where there is one.
    #[must_use]
    pub fn sampler(&self) -> &Network {
        self.average.as_ref().unwrap_or(&self.generator)
    }

    /// Samples of the experiment's fixed latents, normalized over batches of at most 256.
    #[must_use]
    pub fn samples(&self, count: usize) -> Samples {
        sample(self.sampler(), self.settings.seed, count, Mode::Train, &self.device)
    }

    /// The first parameter that is not finite; the discriminator's come first, because it moves first in a step.
    #[must_use]
    pub fn first_not_finite(&self) -> Option<String> {
        [("discriminator", &self.discriminator), ("generator", &self.generator)].into_iter().find_map(
            |(name, network)| {
                let parameters = network.parameters().into_iter().zip(network.parameter_names());
                let mut bad = parameters.filter(|(parameter, _)| !is_finite(&parameter.clone().abs().sum()));
                bad.next().map(|(_, parameter)| {
                    let index: Option<usize> = parameter.split('.').next().and_then(|i| i.parse().ok());
                    let node = network.architecture().flat().into_iter().find(|node| node.index == index);
                    let layer = node.map_or("layer", |node| node.layer.name());
                    format!("`{parameter}` of the {name} (a {layer})")
                })
            },
        )
    }

    /// Trains to the experiment's last step.
    ///
    /// # Errors
    /// A loss that is not finite, a data set smaller than a batch, an observer that fails.
    pub fn train(&mut self, images: &Images, observer: &mut dyn Observer) -> Result<Ending, TrainError> {
        let train = self.settings.train.clone();
        if images.len() < train.batch {
            return Err(fintan_data::DataError::TooFew { found: images.len(), needed: train.batch }.into());
        }
        let data = real_measures(images, LOGGED_SAMPLES);
        if self.step == 0 {
            observer.sampled(0, &self.samples(train.grid[0] * train.grid[1]))?;
        }
        let (mut since, mut waited, mut steps) = (Instant::now(), Duration::ZERO, 0_u32);
        while self.step < train.steps {
            let outcome = self.advance(images);
            waited += outcome.waited;
            steps += 1;
            let last = self.step == train.steps;
            if last || self.step.is_multiple_of(train.log_every) {
                let line = self.log_line(&outcome, &data)?;
                let seconds = since.elapsed().as_secs_f64().max(1e-9);
                let (steps_per_second, data_wait) = (f64::from(steps) / seconds, waited.as_secs_f64() / seconds);
                observer.logged(&LogLine { steps_per_second, data_wait, ..line })?;
                (since, waited, steps) = (Instant::now(), Duration::ZERO, 0);
            }
            if last || self.step.is_multiple_of(train.grid_every) {
                observer.sampled(self.step, &self.samples(train.grid[0] * train.grid[1]))?;
            }
            observer.stepped(self);
            let stop = !last && observer.stop();
            if last || stop || self.step.is_multiple_of(train.checkpoint_every) {
                self.check_state()?;
                observer.checkpoint(self)?;
            }
            if stop {
                return Ok(Ending::Stopped);
            }
        }
        Ok(Ending::Done)
    }

    fn log_line(&self, outcome: &StepOutcome, data: &Measures) -> Result<LogLine, TrainError> {
        let number = |tensor: &Tensor<1>| f64::from(tensor.clone().into_scalar::<f32>());
        let (d_loss, g_loss) = (number(&outcome.d_loss), number(&outcome.g_loss));
        for (what, loss) in [("the discriminator's loss", d_loss), ("the generator's loss", g_loss)] {
            if !loss.is_finite() {
                return Err(TrainError::NotFinite {
                    step: self.step,
                    what: what.into(),
                    layer: self.first_not_finite(),
                });
            }
        }
        let samples = self.samples(LOGGED_SAMPLES).measure();
        Ok(LogLine {
            step: self.step,
            d_loss,
            g_loss,
            d_real: number(&outcome.d_real),
            d_fake: number(&outcome.d_fake),
            std_ratio: samples.std / data.std.max(1e-12),
            correlation: samples.correlation,
            nyquist_ratio: samples.nyquist / data.nyquist.max(1e-12),
            ..LogLine::default()
        })
    }

    /// Whether a checkpoint would hold finite numbers only.
    fn check_state(&self) -> Result<(), TrainError> {
        let fail = |what: &str, layer| Err(TrainError::NotFinite { step: self.step, what: what.into(), layer });
        if let Some(layer) = self.first_not_finite() {
            return fail("a parameter", Some(layer));
        }
        match [self.discriminator_optimizer.is_finite(), self.generator_optimizer.is_finite()] {
            [true, true] => Ok(()),
            [false, _] => fail("a moment of the discriminator's optimiser", None),
            [true, false] => fail("a moment of the generator's optimiser", None),
        }
    }
}

fn is_finite(sum: &Tensor<1>) -> bool {
    sum.clone().into_scalar::<f32>().is_finite()
}

/// Measures of the first `count` images of a shuffled data set: the row that samples are compared with.
#[must_use]
pub fn real_measures(images: &Images, count: usize) -> Measures {
    let indices = Order::new(0, images.len(), 0).take(count.min(images.len()));
    let values = indices.iter().flat_map(|&i| images.bytes(i)).map(|&b| f32::from(b) / 127.5 - 1.0).collect();
    Samples { values, size: images.size, channels: images.channels }.measure()
}

/// Draws samples from a generator, a chunk at a time; image k depends on the seed and k only, except through the batch
/// statistics of a batch-normalized generator in [`Mode::Train`].
#[must_use]
pub fn sample(generator: &Network, seed: u64, count: usize, mode: Mode, device: &Device) -> Samples {
    let latent = generator.architecture().input.channels;
    let mut rng = stream(seed, Purpose::Samples, 0);
    let shape = generator.architecture().output();
    let mut values = Vec::with_capacity(count * shape.len());
    let mut left = count;
    while left > 0 {
        let n = left.min(CHUNK);
        let (images, _) = generator.forward(latents(&mut rng, n, latent, device), mode);
        values.extend(images.into_data().iter::<f32>());
        left -= n;
    }
    Samples { values, size: shape.height, channels: shape.channels }
}
