//! Moments of signal and noise through the depth of random networks.
//!
//! A batch of inputs x⁰ and an independent small change dx⁰ of each pass a random network together, `dx = J dx⁰` by its
//! linearised layers. How much of the output still tells inputs apart, compared to how much it amplifies the noise, is the
//! normalized sensitivity χ: a well-behaved network keeps it low and its signal in many directions; a pathological one
//! lets χ explode, or squeezes the signal into a line (Labatie, *Characterizing Well-Behaved vs. Pathological Deep Neural
//! Networks*, ICML 2019, arXiv 1811.03087).
//!
//! | | |
//! | --- | --- |
//! | [`Plan`] | what is measured at which points of a network |
//! | [`Plan::realise`] | one realisation: batch, noise and weights drawn anew, layer by layer |
//! | [`summary`] | means, spreads, increments and fits over realisations |
//!
//! Numbers are drawn from a stream for each (seed, realisation, purpose, layer), so that the same realisation has the same
//! numbers in any order, on any device and with any number of threads.

mod inputs;
pub mod measure;
mod normals;
mod propagation;
mod realisation;
mod record;
pub mod summary;

pub use inputs::{Batch, InputError, Pool};
pub use normals::{Drawn, Normals};
pub use realisation::{Draw, Plan};
pub use record::{Death, Realisation, Record, Values};
