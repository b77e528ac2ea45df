//! One step of a GAN.

use std::time::{Duration, Instant};

use burn::tensor::Tensor;
use fintan_config::{Clip, Train};
use fintan_data::Images;
use fintan_net::Mode;
use rand::RngExt as _;

use crate::gan::Gan;
use crate::gradient_penalty::Penalty;
use crate::latents::latents;
use crate::losses::{DiscriminatorLoss, Judged, Victory, adversarial};
use fintan_data::{Purpose, stream};

/// Losses and mean outputs of one step, still on the device.
///
/// ```
/// # use burn::tensor::{DType, Device};
/// # use fintan_config::Experiment;
/// # use fintan_data::Images;
/// # use fintan_net::{Lowering, Placement};
/// # let text = "
/// #     image = { size = 8, channels = 1 }
/// #     data.shapes.count = 16
/// #     generator = { latent = 4, fc.widths = [8], optimizer.adam.rate = 1e-3 }
/// #     discriminator = { fc.widths = [8], optimizer.adam.rate = 1e-3 }
/// #     train = { steps = 2, batch = 4 }
/// # ";
/// # let experiment = Experiment::parse("toy.toml", text, &[])?;
/// # let images = Images::load(&experiment.settings.data, &experiment.settings.image, None)?;
/// # let cpu = Placement { device: Device::flex(), dtype: DType::F32, lowering: Lowering::Host };
/// # let mut gan = fintan_train::Gan::new(&experiment, images.len(), &cpu);
/// // `gan` is a toy that has not been trained.
/// let outcome = gan.advance(&images);
/// let chance = 2.0 * 2.0_f32.ln();
/// assert!((outcome.d_loss.into_scalar::<f32>() - chance).abs() < 1.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct StepOutcome {
    /// Discriminator loss: sum of the parts for real and generated images.
    pub d_loss: Tensor<1>,
    /// Generator loss.
    pub g_loss: Tensor<1>,
    /// D(x): a probability under cross-entropy, the discriminator's output under other losses.
    pub d_real: Tensor<1>,
    /// D(G(z)), before the discriminator's step.
    pub d_fake: Tensor<1>,
    /// Penalty on the discriminator's slope, if the step had one.
    pub d_penalty: Option<Tensor<1>>,
    /// Only for Wasserstein losses: see [`LogLine`](fintan_artifact::LogLine).
    pub slope_ratio: Option<Tensor<1>>,
    /// Time spent waiting for data.
    pub waited: Duration,
}

/// The result of a discriminator step.
struct Verdict {
    loss: Tensor<1>,
    real: Tensor<1>,
    generated: Tensor<1>,
    penalty: Option<Tensor<1>>,
    /// Mean distance between a real and a generated image; only for Wasserstein losses.
    distance: Option<Tensor<1>>,
}

impl Gan {
    /// One generator step after `n_critic` discriminator steps.
    ///
    /// # Panics
    /// If the experiment was not checked (`n_critic` of 0).
    pub fn advance(&mut self, images: &Images) -> StepOutcome {
        let Train { batch, n_critic, .. } = self.settings.train;
        let loss = adversarial(&self.settings);
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
            let verdict = self.discriminator_step(real.clone(), fake.clone(), number);
            last = Some((real, fake, tape, verdict));
        }
        // The generator step uses the last batch of generated images, as is common: one forward pass serves both networks.
        let (real, fake, tape, verdict) = last.expect("n_critic is at least 1");
        let (outputs, judged) = self.discriminator.forward(fake, Mode::Train);
        // l(x) does not depend on the generator, so its tape is not kept.
        let own = loss.generator(outputs, &|| self.discriminator.forward(real.clone(), Mode::Train).0);
        let cotangent = self.discriminator.pullback(&judged, own.cotangent);
        let slope_ratio = verdict.distance.map(|distance| {
            // The cotangent of an image is the slope divided by the batch size.
            let slope = lengths(cotangent.clone()).mul_scalar(batch as f64).mean();
            slope * distance / (verdict.real.clone() - verdict.generated.clone()).abs().add_scalar(1e-12)
        });
        let gradients = self.generator.pullback_parameters(&tape, cotangent);
        let factor = self.settings.generator.schedule.factor(self.step);
        let parameters = self.generator_optimizer.step(self.generator.parameters(), gradients, factor);
        self.generator = self.generator.with_parameters(parameters).absorb_statistics(&tape);
        self.average_generator();
        self.step += 1;
        StepOutcome {
            d_loss: verdict.loss,
            g_loss: own.value,
            d_real: verdict.real,
            d_fake: verdict.generated,
            d_penalty: verdict.penalty,
            slope_ratio,
            waited,
        }
    }

    fn real_batch(&mut self, images: &Images, batch: usize, number: u64) -> Tensor<4> {
        let indices = self.order.take(batch);
        let mut rng = stream(self.settings.seed, Purpose::Flips, number);
        let mirrored: Vec<bool> =
            if self.settings.image.flip { (0..batch).map(|_| rng.random_bool(0.5)).collect() } else { Vec::new() };
        images.batch(&indices, &mirrored, &self.device)
    }

    fn discriminator_step(&mut self, real: Tensor<4>, fake: Tensor<4>, number: u64) -> Verdict {
        let loss = adversarial(&self.settings);
        let network = self.discriminator.clone();
        let penalty = self
            .penalties
            .as_ref()
            .and_then(|penalties| penalties.of(&network, &real, &fake, self.settings.seed, number));
        let distance = (loss.victory() == Victory::Slope).then(|| lengths(real.clone() - fake.clone()).mean());
        let (judgement, gradients, network) = if network.architecture().is_batch_coupled() {
            // Batch norms see real and generated images in separate batches, as is common.
            let (on_real, real_tape) = network.forward(real, Mode::Train);
            let (on_fake, fake_tape) = network.forward(fake, Mode::Train);
            let judgement = loss.discriminator(on_real, on_fake);
            let left = network.pullback_parameters(&real_tape, judgement.real.cotangent.clone());
            let right = network.pullback_parameters(&fake_tape, judgement.generated.cotangent.clone());
            let gradients = sum(left, right);
            (judgement, gradients, network.absorb_statistics(&real_tape).absorb_statistics(&fake_tape))
        } else {
            let n = real.dims()[0];
            let (outputs, tape) = network.forward(Tensor::cat(vec![real, fake], 0), Mode::Train);
            let judgement = loss.discriminator(outputs.clone().narrow(0, 0, n), outputs.narrow(0, n, n));
            let DiscriminatorLoss { real, generated, .. } = &judgement;
            let cotangent = Tensor::cat(vec![real.cotangent.clone(), generated.cotangent.clone()], 0);
            let gradients = network.pullback_parameters(&tape, cotangent);
            (judgement, gradients, network)
        };
        let (penalty, gradients) = match penalty {
            Some(Penalty { value, gradients: more }) => (Some(value), sum(gradients, more)),
            None => (None, gradients),
        };
        let parameters = self.moved(network.parameters(), gradients);
        self.discriminator = network.with_parameters(parameters);
        let DiscriminatorLoss {
            value,
            real: Judged { verdict: real, .. },
            generated: Judged { verdict: generated, .. },
        } = judgement;
        Verdict { loss: value, real, generated, penalty, distance }
    }

    /// The discriminator's parameters after one optimiser step with these gradients.
    fn moved(&mut self, parameters: Vec<Tensor<2>>, gradients: Vec<Tensor<2>>) -> Vec<Tensor<2>> {
        let factor = self.settings.discriminator.schedule.factor(self.step);
        let optimizer = &mut self.discriminator_optimizer;
        if let Some(norm) = &mut self.spectral_norm {
            norm.renew(optimizer.step(norm.raw(), norm.pullback(gradients), factor));
            return norm.effective();
        }
        let parameters = optimizer.step(parameters, gradients, factor);
        match self.settings.loss.function.properties().clip {
            Some(Clip { clip }) => parameters.into_iter().map(|p| p.clamp(-clip, clip)).collect(),
            None => parameters,
        }
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
}

fn sum(left: Vec<Tensor<2>>, right: Vec<Tensor<2>>) -> Vec<Tensor<2>> {
    left.into_iter().zip(right).map(|(a, b)| a + b).collect()
}

/// Euclidean length of each image.
fn lengths(images: Tensor<4>) -> Tensor<2> {
    let n = images.dims()[0];
    images.reshape([n as i32, -1]).square().sum_dim(1).sqrt()
}
