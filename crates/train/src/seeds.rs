//! Independent streams of random numbers, drawn on the host.
//!
//! A stream is named by the experiment's seed, a purpose and a number (a step, say). It carries no state from one draw to
//! the next, so a resumed run draws what an uninterrupted one would have.

use burn::tensor::{Device, Tensor, TensorData};
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;
use rand_distr::{Distribution, StandardNormal};

/// What random numbers are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Weights of the generator, or of a network by itself.
    Generator,
    /// Weights of the discriminator.
    Discriminator,
    /// Latents of training batches.
    Latents,
    /// Mirroring of training images.
    Flips,
    /// The fixed latents of grids and measures.
    Samples,
    /// Latents drawn again under truncation.
    Redraws,
    /// Weights of a classifier of samples.
    Classifier,
    /// Places between real and generated images at which a gradient penalty looks.
    Interpolation,
    /// First singular vectors of a spectral norm.
    SingularVectors,
    /// Latents on which something is measured beside training.
    Probe,
}

/// The stream of a purpose and a number.
#[must_use]
pub fn stream(seed: u64, purpose: Purpose, number: u64) -> ChaCha20Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8] = 1 + purpose as u8;
    let mut rng = ChaCha20Rng::from_seed(key);
    rng.set_stream(number);
    rng
}

/// Latents `[count, 1, 1, latent]`, each N(0, 1).
#[must_use]
pub fn latents(rng: &mut ChaCha20Rng, count: usize, latent: usize, device: &Device) -> Tensor<4> {
    let values: Vec<f32> = (0..count * latent).map(|_| StandardNormal.sample(rng)).collect();
    Tensor::from_data(TensorData::new(values, [count, 1, 1, latent]), device)
}
