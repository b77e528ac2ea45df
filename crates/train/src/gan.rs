//! GAN training: one step, and what the loop around it logs and shows.

use std::time::{Duration, Instant};

use burn::tensor::{Device, Tensor};
use fintan_artifact::LogLine;
use fintan_config::{Experiment, Settings, Train};
use fintan_data::{Images, Order};
use fintan_metrics::{Measures, Samples};
use fintan_net::{Mode, Network, Placement};
use rand::RngExt as _;

use crate::loss::binary_cross_entropy;
use crate::optimizer::{Optimizer, rates};
use crate::sampling::sample;
use crate::seeds::{Purpose, latents, stream};
use crate::training::{Ending, Observer, ObserverError, Part, Schedule, Session, TrainError, Trainee, check_loss, run};

/// Samples behind the measures of a log line.
const LOGGED_SAMPLES: usize = 128;

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

impl Trainee for Gan {
    type Line = LogLine;

    fn step(&self) -> u64 {
        self.step
    }

    fn seen(&self) -> u64 {
        self.order.seen()
    }

    fn parts(&self) -> Vec<Part<'_>> {
        let part = |name, network, optimizer| Part { name, network, optimizer };
        let mut parts = vec![
            part("discriminator", &self.discriminator, Some(&self.discriminator_optimizer)),
            part("generator", &self.generator, Some(&self.generator_optimizer)),
        ];
        parts.extend(self.average.as_ref().map(|average| part("average", average, None)));
        parts
    }
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

    /// Trains to the experiment's last step.
    ///
    /// # Errors
    /// A loss that is not finite, a data set smaller than a batch, an observer that fails.
    pub fn train(&mut self, images: &Images, observer: &mut dyn Observer<Self>) -> Result<Ending, TrainError> {
        let train = self.settings.train.clone();
        if images.len() < train.batch {
            return Err(fintan_data::DataError::TooFew { found: images.len(), needed: train.batch }.into());
        }
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

/// A GAN with its images, while a loop lasts.
struct Play<'a> {
    gan: &'a mut Gan,
    images: &'a Images,
    /// Measures of the data.
    data: Measures,
    /// Of the last step.
    outcome: Option<StepOutcome>,
    /// Time spent waiting for data, and steps done, since the last line.
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
        let number = |tensor: &Tensor<1>| f64::from(tensor.clone().into_scalar::<f32>());
        let (d_loss, g_loss) = (number(&outcome.d_loss), number(&outcome.g_loss));
        check_loss(self.gan, "the discriminator's loss", d_loss)?;
        check_loss(self.gan, "the generator's loss", g_loss)?;
        let samples = self.gan.samples(LOGGED_SAMPLES).measure();
        let seconds = since.elapsed().as_secs_f64().max(1e-9);
        let line = LogLine {
            step: self.gan.step,
            d_loss,
            g_loss,
            d_real: number(&outcome.d_real),
            d_fake: number(&outcome.d_fake),
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

/// Measures of the first `count` images of a shuffled data set: the row that samples are compared with.
#[must_use]
pub fn real_measures(images: &Images, count: usize) -> Measures {
    real_samples(images, &Order::new(0, images.len(), 0).take(count.min(images.len()))).measure()
}

/// Images of a data set, as samples are.
#[must_use]
pub fn real_samples(images: &Images, indices: &[usize]) -> Samples {
    let values = indices.iter().flat_map(|&i| images.bytes(i)).map(|&b| f32::from(b) / 127.5 - 1.0).collect();
    Samples { values, size: images.size, channels: images.channels }
}
