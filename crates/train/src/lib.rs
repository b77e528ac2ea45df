//! GAN training, layer-dependent learning rates, checkpoints, sample measures.
//!
//! [`Gan::train`] is the loop. It writes no file and prints nothing: an [`Observer`] does, and whatever a program wants to
//! measure beside training is plugged in as one.

mod checkpoint;
mod gan;
mod loss;
pub mod measures;
mod optimizer;
mod seeds;

pub use checkpoint::{CheckpointError, read_discriminator, read_sampler};
pub use gan::{Ending, Gan, Observer, ObserverError, StepOutcome, TrainError, real_measures, sample};
pub use loss::{Loss, binary_cross_entropy};
pub use optimizer::{Optimizer, rates};
pub use seeds::{Purpose, latents, stream};
