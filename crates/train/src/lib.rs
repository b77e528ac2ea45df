//! Training of GANs and of networks with a task: layer-dependent learning rates, checkpoints, samples, a classifier.
//!
//! [`Gan::train`] and [`Supervised::train`] use the same loop. The loop writes no files and prints nothing; an [`Observer`]
//! does. A program that measures something during training implements an observer.

mod adam;
mod checkpoint;
mod classifier;
#[cfg(test)]
mod differences;
mod gan;
mod gan_step;
mod gradient_penalty;
mod health;
mod latents;
mod losses;
mod optimizer;
mod sampling;
mod spectral_norm;
mod supervised;
mod task_curvature;
mod task_loss;
mod training;

pub use checkpoint::{
    CheckpointError, DataFingerprint, checkpoint_files, read_data, read_discriminator, read_network, read_sampler,
};
pub use classifier::{Classifier, ClassifierSettings, Halves, features};
pub use fintan_data::{Purpose, stream};
pub use gan::{Gan, real_measures, real_samples};
pub use gan_step::StepOutcome;
pub use health::Health;
pub use latents::latents;
pub use optimizer::{Optimizer, rates};
pub use sampling::{draw_latents, generate, sample, slerp};
pub use supervised::Supervised;
pub use task_curvature::{Curvature, TaskCurvature};
pub use task_loss::Score;
pub use training::{Ending, Observer, ObserverError, Observers, TrainError, TrainedPart, Trainee};
