//! One network, three rules per layer: forward, pullback, pushforward.
//!
//! [`Network`] puts an [`Architecture`](fintan_config::Architecture) on a device. Its rules are written once, in Burn tensor
//! operations, for every layer: training takes its gradients from the pullback, kernels take theirs from both, and on an
//! autodiff device the pullback can be differentiated once more. Burn's autodiff is the oracle they are tested against.

mod activation;
mod conv_tail;
mod correlation;
mod layers;
mod network;
mod norm;
mod parameter_use;
pub mod weights;
mod windows;

pub use conv_tail::{ConvLayer, ConvTail, TailInput};
pub use correlation::{Lowering, channels_first, channels_last};
pub use network::{Cotangents, LayerProbe, Mode, Network, NoiseRule, Placement, Tape};
pub use parameter_use::{ParameterUse, VjpFactors};
