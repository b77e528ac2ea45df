//! Independent streams of random numbers on the host.
//!
//! A stream is identified by the experiment's seed, a purpose and a number (for example a step). A stream keeps no state
//! between draws, so a resumed run draws the numbers of an uninterrupted one.

use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;

/// The purpose of a stream of random numbers. If two purposes shared a stream, the directions of a teacher would equal its
/// first inputs.
///
/// The numbers of the variants define what a seed means, so they never change.
///
/// ```
/// use fintan_data::Purpose;
///
/// // The numbers are part of what a seed means.
/// assert_eq!([Purpose::Generator as u64, Purpose::TrainInputs as u64], [1, 129]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Purpose {
    /// Weights of the generator, or of a network that is not part of a GAN.
    Generator = 1,
    /// Weights of the discriminator.
    Discriminator = 2,
    /// Latents of training batches.
    Latents = 3,
    /// Mirroring of training images.
    Flips = 4,
    /// The fixed latents of grids and of measures.
    Samples = 5,
    /// Latents that are redrawn under truncation.
    Redraws = 6,
    /// Weights of a classifier of samples.
    Classifier = 7,
    /// Points between real and generated images, at which a gradient penalty is computed.
    Interpolation = 8,
    /// Initial singular vectors of a spectral norm.
    SingularVectors = 9,
    /// The latents of measurements during training.
    Probe = 10,
    /// The choice of the images of a task, and of its test images.
    TaskSubset = 128,
    /// Inputs of a teacher's training samples. Test samples have a separate stream, so that neither set depends on the size of
    /// the other.
    TrainInputs = 129,
    /// Inputs of a teacher's test samples.
    TestInputs = 130,
    /// Noise on a teacher's targets.
    TargetNoise = 131,
    /// Directions of a teacher's function.
    TeacherFunction = 132,
}

/// The stream of a purpose and a number.
///
/// ```
/// use fintan_data::{Purpose, stream};
/// use rand::Rng as _;
///
/// let draw = |purpose, number| stream(7, purpose, number).next_u64();
/// assert_eq!(draw(Purpose::Latents, 3), draw(Purpose::Latents, 3));
/// assert_ne!(draw(Purpose::Latents, 3), draw(Purpose::Latents, 4));
/// assert_ne!(draw(Purpose::Latents, 3), draw(Purpose::Flips, 3));
/// ```
#[must_use]
pub fn stream(seed: u64, purpose: Purpose, number: u64) -> ChaCha20Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8] = purpose as u8;
    let mut rng = ChaCha20Rng::from_seed(key);
    rng.set_stream(number);
    rng
}
