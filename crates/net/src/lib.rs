//! One network, three rules per layer: forward, pullback, pushforward.
//!
//! [`Network`] puts an [`Architecture`](fintan_config::Architecture) on a device. Its rules are written once, in Burn tensor
//! operations, for every layer: training takes its gradients from the pullback, kernels take theirs from both, and on an
//! autodiff device the pullback can be differentiated once more. Burn's autodiff is the oracle they are tested against.

mod activation;
mod correlation;
mod ending;
mod layers;
mod network;
mod norm;
mod site;
pub mod weights;
mod windows;

pub use correlation::{Lowering, channels_first, channels_last};
pub use ending::{Below, Ending, Link};
pub use network::{Cotangents, Mode, Network, NoiseRule, Placement, Tape, Watch};
pub use site::{Factors, Site};
