//! One network, four rules per layer: forward, pullback, pushforward, and the tangent of the pullback.
//!
//! [`PlacedNetwork`] puts an [`Architecture`](fintan_config::Architecture) on a device. The rules of each layer are written once,
//! in Burn tensor operations. Training takes its gradients from the pullback; kernels use pullback and pushforward. On an
//! autodiff device the pullback can be differentiated again. The rules are tested against Burn's autodiff.

mod activation;
mod arithmetic;
mod conv_tail;
mod correlation;
mod host;
mod layers;
mod network;
mod norm;
mod parameter_use;
mod tensor_sizes;
pub mod weights;
mod windows;

pub use conv_tail::{ConvLayer, ConvTail, TailInput};
pub use correlation::{Lowering, channels_first, channels_last};
pub use host::{HostNumber, HostValues};
pub use network::{Cotangents, LayerProbe, Mode, NoiseRule, PlacedNetwork, Placement, TangentTape, Tape};
pub use parameter_use::{ParameterUse, VjpFactors};
pub use tensor_sizes::{DeviceLimits, LargestTensor};
