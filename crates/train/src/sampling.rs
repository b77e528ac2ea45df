//! Generates images: latents are drawn, truncated and interpolated on the host.

use burn::tensor::{Device, Tensor, TensorData};
use fintan_metrics::{Samples, Tick};
use fintan_net::{Mode, PlacedNetwork};
use rand_distr::{Distribution, StandardNormal};

use fintan_data::{Purpose, stream};

/// Number of samples generated at a time.
const CHUNK: usize = 256;

/// Latents for samples, `[count, latent]` row-major, each from N(0, 1).
///
/// With a truncation ψ, values with |z| > ψ are drawn again until they are within (Brock et al., arXiv 1809.11096): images
/// are more typical and less varied. Values within ψ are the same as without truncation. Latent k depends only on the seed,
/// ψ and k.
///
/// ```
/// use fintan_train::draw_latents;
///
/// let latents = draw_latents(7, 3, 4, None);
/// assert_eq!(latents.len(), 3 * 4);
/// assert_eq!(latents[..8], draw_latents(7, 2, 4, None)); // a latent does not depend on their number
/// assert!(draw_latents(7, 100, 4, Some(0.5)).iter().all(|z| z.abs() <= 0.5));
/// ```
///
/// # Panics
/// If ψ is not positive.
#[must_use]
pub fn draw_latents(seed: u64, count: usize, latent: usize, truncation: Option<f64>) -> Vec<f32> {
    let mut rng = stream(seed, Purpose::Samples, 0);
    let mut values: Vec<f32> = (0..count * latent).map(|_| StandardNormal.sample(&mut rng)).collect();
    if let Some(bound) = truncation {
        assert!(bound > 0.0, "nothing lies within {bound}");
        let mut again = stream(seed, Purpose::Redraws, 0);
        for value in &mut values {
            while f64::from(value.abs()) > bound {
                *value = StandardNormal.sample(&mut again);
            }
        }
    }
    values
}

/// Generates the images of latents, a chunk at a time. An image depends only on its latent, unless the generator has batch
/// norms and is in [`Mode::Train`].
#[must_use]
pub fn generate(generator: &PlacedNetwork, latents: &[f32], mode: Mode, device: &Device, tick: Tick) -> Samples {
    let (latent, shape) = (generator.architecture().input.len(), generator.architecture().output());
    let mut values = Vec::with_capacity(latents.len() / latent * shape.len());
    for chunk in latents.chunks(CHUNK * latent) {
        let n = chunk.len() / latent;
        let z = Tensor::<4>::from_data(TensorData::new(chunk.to_vec(), [n, 1, 1, latent]), device);
        let (images, _) = generator.forward(z, mode);
        values.extend(images.into_data().iter::<f32>());
        tick(n);
    }
    Samples { values, size: shape.height, channels: shape.channels }
}

/// Draws samples from a generator: [`draw_latents`], then [`generate`].
#[must_use]
pub fn sample(generator: &PlacedNetwork, seed: u64, count: usize, mode: Mode, device: &Device) -> Samples {
    let latents = draw_latents(seed, count, generator.architecture().input.len(), None);
    generate(generator, &latents, mode, device, &|_| ())
}

/// Spherical interpolation (Shoemake 1985; White, arXiv 1609.04468): with ω the angle between a and b,
///
/// `(sin((1 - t) ω) a + sin(t ω) b) / sin ω`
///
/// It preserves the length of latents, which lie near a sphere. If a and b are parallel, it is linear interpolation.
///
/// ```
/// let middle = fintan_train::slerp(&[1.0, 0.0], &[0.0, 1.0], 0.5);
/// assert!(middle.iter().all(|z| (z - 0.5_f32.sqrt()).abs() < 1e-6)); // still of length 1
/// ```
///
/// # Panics
/// If a and b have different lengths.
#[must_use]
pub fn slerp(a: &[f32], b: &[f32], t: f64) -> Vec<f32> {
    assert_eq!(a.len(), b.len(), "two latents of one generator");
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(&p, &q)| f64::from(p) * f64::from(q)).sum::<f64>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    let angle = if lengths > 0.0 { (dot(a, b) / lengths).clamp(-1.0, 1.0).acos() } else { 0.0 };
    let [from, to] = if angle.sin() > 1e-6 {
        [((1.0 - t) * angle).sin() / angle.sin(), (t * angle).sin() / angle.sin()]
    } else {
        [1.0 - t, t]
    };
    a.iter().zip(b).map(|(&p, &q)| (from * f64::from(p) + to * f64::from(q)) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncation_redraws_what_lies_beyond_and_nothing_else() {
        let (free, bound) = (draw_latents(3, 50, 8, None), draw_latents(3, 50, 8, Some(0.7)));
        for (f, b) in free.iter().zip(&bound) {
            assert!(b.abs() <= 0.7);
            assert!(f.abs() > 0.7 || f == b);
        }
        assert!(free != bound && bound != draw_latents(4, 50, 8, Some(0.7)));
        assert_eq!(draw_latents(3, 20, 8, Some(0.7)), bound[..160]);
        // A truncated normal at ψ = 0.7 has variance 1 - 2 ψ φ(ψ) / (2 Φ(ψ) - 1) = 0.1519; the standard error of 10,000
        // values is 0.0014.
        let many = draw_latents(0, 10_000, 1, Some(0.7));
        let variance = many.iter().map(|v| f64::from(v * v)).sum::<f64>() / 1e4;
        assert!((variance - 0.1519).abs() < 0.006, "{variance}");
    }

    #[test]
    fn spherical_interpolation_keeps_angles_and_lengths() {
        let (a, b) = ([3.0, 0.0, 0.0], [0.0, 0.0, 3.0]);
        assert_eq!(slerp(&a, &b, 0.0), a);
        assert_eq!(slerp(&a, &b, 1.0).iter().map(|v| v.round()).collect::<Vec<_>>(), b);
        let third = slerp(&a, &b, 1.0 / 3.0);
        let length = third.iter().map(|v| v * v).sum::<f32>().sqrt();
        assert!((length - 3.0).abs() < 1e-5 && (third[0] - 3.0 * 30.0_f32.to_radians().cos()).abs() < 1e-5);
        // Parallel latents are interpolated linearly.
        assert_eq!(slerp(&[1.0, 2.0], &[2.0, 4.0], 0.5), [1.5, 3.0]);
        assert_eq!(slerp(&[0.0, 0.0], &[2.0, 4.0], 0.25), [0.5, 1.0]);
    }
}
