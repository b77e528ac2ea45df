//! Moments of signal and noise through the depth of random networks.
//!
//! A batch of inputs x⁰ and an independent small perturbation dx⁰ of each pass through a random network together;
//! `dx = J dx⁰` is propagated by the linearised layers. The normalized sensitivity χ compares the amplification of the noise
//! with the part of the output that still distinguishes inputs. A well-behaved network keeps χ low and its signal in many
//! directions. In a pathological network χ explodes, or the signal collapses to a line (Labatie, *Characterizing
//! Well-Behaved vs. Pathological Deep Neural Networks*, ICML 2019, arXiv 1811.03087).
//!
//! | | |
//! | --- | --- |
//! | [`MomentsPlan`] | the quantities to measure and the points of the network |
//! | [`MomentsPlan::realise`] | one realisation: draws batch, noise and weights, layer by layer |
//! | [`summary`] | means, spreads, increments and fits over realisations |
//!
//! Random numbers come from a separate stream for each (seed, realisation, purpose, layer). A realisation therefore has the
//! same numbers in any order, on any device and with any number of threads.

mod inputs;
pub mod measure;
mod normals;
mod propagation;
mod realisation;
mod record;
pub mod summary;

pub use inputs::{Batch, InputError, Pool};
pub use normals::{Drawn, Normals};
pub use realisation::{Draw, MomentsPlan};
pub use record::{EarlyStop, PointMoments, Realisation, Record};
