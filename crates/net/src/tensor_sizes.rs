//! Sizes of the tensors that the rules of a layer make, counted from shapes.

use fintan_config::{Architecture, Node, Transform};

use crate::correlation::{Correlation, Lowering};

/// Bounds of a device, in bytes; `None` is no bound, as on CPUs, whose bound is the free memory.
///
/// A GPU may refuse one large tensor although its memory is free: wgpu binds at most 2 GiB as one buffer.
///
/// ```
/// use fintan_net::DeviceLimits;
///
/// let gpu = DeviceLimits { largest_tensor: Some(2_f64.powi(31)), memory: None };
/// assert!(gpu.holds(1e9) && !gpu.holds(3e9));
/// assert!(DeviceLimits::default().holds(1e15));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct DeviceLimits {
    /// The largest tensor.
    pub largest_tensor: Option<f64>,
    /// All memory of the device.
    pub memory: Option<f64>,
}

impl DeviceLimits {
    /// Whether one tensor of this number of bytes is allowed.
    #[must_use]
    pub fn holds(&self, bytes: f64) -> bool {
        self.largest_tensor.is_none_or(|most| bytes <= most)
    }
}

/// The largest tensors of a layer or a network.
///
/// ```
/// use fintan_config::{Architecture, Parametrization, Shape};
/// use fintan_net::{LargestTensor, Lowering};
///
/// let layers = [serde_json::from_str(r#"{ "conv": { "out": 2, "kernel": 3, "padding": 1 } }"#)?];
/// let network = Architecture::new(Shape::image(1, 4, 4), &layers, Parametrization::default())?;
/// let largest = LargestTensor::of(&network, Lowering::Views);
/// // The cotangent of an input needs patches of the outputs: 4 · 4 windows of 3 · 3 values in 2 channels.
/// assert_eq!((largest.per_sample, largest.fixed), (4.0 * 4.0 * 9.0 * 2.0, 9.0 * 2.0));
/// assert_eq!(largest.values(10.0), 2880.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LargestTensor {
    /// Number of values for each sample, or for each row of cotangents.
    pub per_sample: f64,
    /// Number of values of the largest tensor that does not depend on the samples: a parameter or a rearranged copy.
    pub fixed: f64,
}

impl LargestTensor {
    /// The largest tensors of any layer of a network: maps, patches, and parameters.
    #[must_use]
    pub fn of(network: &Architecture, lowering: Lowering) -> Self {
        network.flat().into_iter().map(|node| Self::of_layer(node, lowering)).fold(Self::default(), |a, b| Self {
            per_sample: a.per_sample.max(b.per_sample),
            fixed: a.fixed.max(b.fixed),
        })
    }

    /// The largest tensors that the four rules of one layer make. Burn's own convolutions make no patches.
    #[must_use]
    pub fn of_layer(node: &Node, lowering: Lowering) -> Self {
        let Node { input, output, .. } = node;
        let (made, weights) = match node.transform() {
            Transform::Conv(c) => Correlation::new(&c, *input, *output, lowering).largest(),
            Transform::Deconv(c) => Correlation::new(&c, *output, *input, lowering).largest(),
            // One axis after the other.
            Transform::Positions(_) => {
                ((output.height * input.width).max(input.height * output.width) * input.channels, 0)
            }
            Transform::Dense
            | Transform::Pointwise(_)
            | Transform::BatchNorm(_)
            | Transform::LayerNorm(_)
            | Transform::Reshape
            | Transform::Residual { .. } => (0, node.weight_count()),
        };
        let maps = input.len().max(output.len());
        Self { per_sample: maps.max(made) as f64, fixed: weights as f64 }
    }

    /// Number of values of the largest tensor, with this number of samples or rows.
    #[must_use]
    pub fn values(&self, samples: f64) -> f64 {
        self.fixed.max(samples * self.per_sample)
    }
}
