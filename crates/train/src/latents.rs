//! Latents of generators, drawn on the host.

use burn::tensor::{Device, Tensor, TensorData};
use rand_chacha::ChaCha20Rng;
use rand_distr::{Distribution, StandardNormal};

/// Latents `[count, 1, 1, latent]`, each N(0, 1).
///
/// ```
/// use burn::tensor::Device;
/// use fintan_data::{Purpose, stream};
///
/// let z = fintan_train::latents(&mut stream(0, Purpose::Latents, 1), 5, 4, &Device::flex());
/// assert_eq!(z.dims(), [5, 1, 1, 4]);
/// ```
#[must_use]
pub fn latents(rng: &mut ChaCha20Rng, count: usize, latent: usize, device: &Device) -> Tensor<4> {
    let values: Vec<f32> = (0..count * latent).map(|_| StandardNormal.sample(rng)).collect();
    Tensor::from_data(TensorData::new(values, [count, 1, 1, latent]), device)
}
