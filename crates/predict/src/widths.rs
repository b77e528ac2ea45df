//! Measures how fast the kernels of finite networks converge to their limit with width.

use burn::tensor::{Tensor, TensorData};
use fintan_config::{Architecture, ArchitectureError, Layer, Shape};
use fintan_net::{Mode, PlacedNetwork, Placement, channels_last};
use fintan_ntk::{Entries, KernelParts, KernelPlan, KernelRequest};
use fintan_theory::{NetworkLimit, Request};
use rand_chacha::ChaCha20Rng;
use rand_distr::{Distribution as _, StandardNormal};

use crate::PredictError;
use crate::comparison::entries;

/// Number of inputs, and of positions of an image, at which the kernels are compared.
const INPUTS: usize = 4;
const POSITIONS: usize = 16;

/// Bytes that the kernels of a study may use; they are small, because there are few inputs.
const MEMORY: f64 = 8e9;

/// The error for a network whose width cannot be changed.
///
/// ```
/// use fintan_config::{Architecture, Layer, Parametrization, Residual, Shape};
/// use fintan_predict::{WidthError, with_hidden_width};
///
/// let block = Residual { layers: vec![Layer::Dense(2.into())], shortcut: Vec::new(), scale: 1.0 };
/// let layers = [Layer::Residual(block), Layer::Dense(1.into())];
/// let network = Architecture::new(Shape::vector(2), &layers, Parametrization::default())?;
/// assert!(matches!(with_hidden_width(&network, 8), Err(WidthError::Residual)));
/// # Ok::<(), fintan_config::ArchitectureError>(())
/// ```
#[derive(Debug, thiserror::Error)]
pub enum WidthError {
    /// The terms of a residual block must have the same width.
    #[error("residual blocks cannot be widened")]
    Residual,
    /// The wider layers do not fit each other.
    #[error(transparent)]
    Architecture(#[from] ArchitectureError),
}

/// The network with `width` features or channels in all hidden layers.
///
/// # Errors
/// Networks with residual blocks.
///
/// # Example
///
/// ```
/// use fintan_config::{Architecture, Layer, Parametrization, Shape};
///
/// let layers = [Layer::Dense(8.into()), Layer::Dense(2.into())];
/// let network = Architecture::new(Shape::vector(3), &layers, Parametrization::default())?;
/// let wide = fintan_predict::with_hidden_width(&network, 100)?;
/// assert_eq!(wide.parameter_count(), 3 * 100 + 100 + 100 * 2 + 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn with_hidden_width(network: &Architecture, width: usize) -> Result<Architecture, WidthError> {
    let nodes = &network.nodes;
    let last = nodes.iter().rposition(|node| node.layer.properties().is_linear);
    let mut layers = Vec::with_capacity(nodes.len());
    for (i, node) in nodes.iter().enumerate() {
        // Finds the layer that uses the output; layers that keep its shape are skipped.
        let of_each = |layer: &&Layer| layer.properties().is_pointwise || layer.properties().is_norm;
        let next = nodes[i + 1..].iter().map(|node| &node.layer).find(|layer| !of_each(layer));
        if node.layer.residual().is_some() {
            return Err(WidthError::Residual);
        }
        let mut layer = node.layer.clone();
        if last.is_some_and(|last| i < last) {
            match (&mut layer, next) {
                (Layer::Reshape(to), _) if i > 0 => *to = Shape { channels: width, ..*to },
                // A dense layer whose output becomes an image: `width` is its number of channels.
                (Layer::Dense(dense), Some(Layer::Reshape(to))) => dense.out = width * to.positions(),
                (linear, _) => linear.set_outputs(width),
            }
        }
        layers.push(layer);
    }
    Ok(Architecture::new(network.input, &layers, network.parametrization)?)
}

/// Errors of random networks of growing width relative to their limit, at a few random inputs on the sphere `|x|² = length`.
///
/// The error is `√(mean over networks of ‖Θ - Θ∞‖² / ‖Θ∞‖²)` in Frobenius norms. It falls as `1 / √width`.
///
/// ```
/// use burn::tensor::{DType, Device};
/// use fintan_config::{Activation, Architecture, Beta, Function, Layer, Parametrization, Scaling, Shape};
/// use fintan_net::{Lowering, PlacedNetwork, Placement};
/// use rand::SeedableRng as _;
///
/// let relu = Layer::Activation(Activation::raw(Function::Relu).with_scaling(Scaling::Standardized));
/// let layers = [Layer::Dense(8.into()), relu, Layer::Dense(1.into())];
/// let network = Architecture::new(Shape::vector(4), &layers, Parametrization::Ntk(Beta { beta: 0.0 }))?;
/// let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(0);
/// let mut study = fintan_predict::WidthStudy::new(&network, &mut rng);
/// let cpu = Placement { device: Device::flex(), dtype: DType::F32, lowering: Lowering::Host };
/// for width in [8, 512] {
///     let wide = study.network(width)?;
///     let networks: Vec<_> = (0..4).map(|_| PlacedNetwork::init(&wide, &mut rng, &cpu)).collect();
///     study.add(width, &wide, networks)?;
/// }
/// assert!(study.points()[1].relative_error < study.points()[0].relative_error);
/// assert!(study.power_law().0 < 0.0); // near -1/2 for many networks
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct WidthStudy {
    architecture: Architecture,
    inputs: Vec<f64>,
    outputs: Vec<usize>,
    points: Vec<WidthPoint>,
}

/// The error at one width.
///
/// ```
/// use burn::tensor::{DType, Device};
/// use fintan_config::{Architecture, Beta, Layer, Parametrization, Shape};
/// use fintan_net::{Lowering, PlacedNetwork, Placement};
/// use rand::SeedableRng as _;
///
/// let ntk = Parametrization::Ntk(Beta { beta: 0.0 });
/// let network = Architecture::new(Shape::vector(4), &[Layer::Dense(1.into())], ntk)?;
/// let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(0);
/// let mut study = fintan_predict::WidthStudy::new(&network, &mut rng);
/// let cpu = Placement { device: Device::flex(), dtype: DType::F64, lowering: Lowering::Host };
/// let point = study.add(64, &network, [PlacedNetwork::init(&network, &mut rng, &cpu)])?;
/// assert!(point.relative_error < 1e-12); // a network without hidden layers equals its limit
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WidthPoint {
    /// Features or channels of the hidden layers.
    pub width: usize,
    /// The error.
    pub relative_error: f64,
    /// Standard error over the networks.
    pub standard_error: f64,
}

impl WidthStudy {
    /// A study of a network without its output nonlinearity, which would keep the kernel random at any width. `rng` draws
    /// the inputs.
    #[must_use]
    pub fn new(architecture: &Architecture, rng: &mut ChaCha20Rng) -> Self {
        let architecture = architecture.before_output();
        let len = architecture.input.len();
        let mut inputs: Vec<f64> = (0..INPUTS * len).map(|_| StandardNormal.sample(&mut *rng)).collect();
        for x in inputs.chunks_mut(len) {
            let size = (x.iter().map(|v| v * v).sum::<f64>() / len as f64).sqrt();
            for v in x {
                *v /= size;
            }
        }
        // For a vector, the first output; for an image, spread positions of its first channel.
        let positions = architecture.output().positions();
        let count = positions.min(POSITIONS);
        let outputs = (0..count).map(|i| i * positions / count).collect();
        Self { architecture, inputs, outputs, points: Vec::new() }
    }

    /// The network with this width.
    ///
    /// # Errors
    /// The errors of [`with_hidden_width`].
    pub fn network(&self, width: usize) -> Result<Architecture, WidthError> {
        with_hidden_width(&self.architecture, width)
    }

    /// Adds the error of the given random networks, which must all have the same width.
    ///
    /// # Errors
    /// A network without a limit, or kernels that cannot be computed.
    pub fn add(
        &mut self,
        width: usize,
        network: &Architecture,
        networks: impl IntoIterator<Item = PlacedNetwork>,
    ) -> Result<WidthPoint, PredictError> {
        let Shape { channels, height, width: columns } = self.architecture.input;
        let request = Request { all_positions: self.outputs.len() > 1, ..Request::default() };
        let inputs: Vec<&[f64]> = self.inputs.chunks(self.architecture.input.len()).collect();
        let of = |kernel: fintan_theory::PositionKernel| entries(&kernel.ntk, &kernel, 4, &self.outputs, false);
        let limit = NetworkLimit::new(network)?.gram_map(&inputs, None, &request, of)?.concat();
        let size: f64 = limit.iter().map(|v| v * v).sum();
        let mut errors = Vec::new();
        for drawn in networks {
            let Placement { device, dtype, .. } = drawn.placement();
            let data = TensorData::new(self.inputs.clone(), [INPUTS, channels, height, columns]).convert_dtype(dtype);
            let x = channels_last(Tensor::from_data(data, (&device, dtype)));
            let problem =
                KernelRequest::new(drawn, x, None, Mode::Train, Entries::Full, self.outputs.clone())?.without_parts();
            let kernel = KernelParts::compute(&problem, &KernelPlan::new(&problem, None, MEMORY)?);
            let off: f64 = kernel.total().iter().zip(&limit).map(|(a, b)| (a - b).powi(2)).sum();
            errors.push(off / size);
        }
        let mean = errors.iter().sum::<f64>() / errors.len() as f64;
        let spread = errors.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / (errors.len() as f64 - 1.0).max(1.0);
        // The standard error of the square root of a mean, to first order.
        let standard_error = (spread / errors.len() as f64).sqrt() / (2.0 * mean.sqrt());
        let point = WidthPoint { width, relative_error: mean.sqrt(), standard_error };
        self.points.push(point);
        Ok(point)
    }

    /// The errors, in the order in which they were added.
    #[must_use]
    pub fn points(&self) -> &[WidthPoint] {
        &self.points
    }

    /// Exponent and factor of `error = factor · width^exponent`, by least squares of logarithms; -1/2 is expected.
    #[must_use]
    pub fn power_law(&self) -> (f64, f64) {
        let n = self.points.len() as f64;
        let logs: Vec<(f64, f64)> =
            self.points.iter().map(|p| ((p.width as f64).ln(), p.relative_error.ln())).collect();
        let mean = logs.iter().fold((0.0, 0.0), |sum, at| (sum.0 + at.0 / n, sum.1 + at.1 / n));
        let (top, bottom) = logs
            .iter()
            .fold((0.0, 0.0), |sum, at| (sum.0 + (at.0 - mean.0) * (at.1 - mean.1), sum.1 + (at.0 - mean.0).powi(2)));
        let exponent = top / bottom;
        (exponent, (mean.1 - exponent * mean.0).exp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fintan_config::{Dense, Empty, Init, Parametrization, Standard};

    #[test]
    fn wider_networks_keep_everything_but_their_widths() {
        let dense = |out| Layer::Dense(Dense { out, init: Some(Init::Variance(0.3)) });
        let parametrization = Parametrization::Standard(Standard { init: Init::He, bias_std: 0.1 });
        let of = |width: usize| {
            let layers = [dense(4 * width), Layer::Reshape(Shape::image(width, 2, 2)), Layer::Flatten(Empty {})];
            let layers = [&layers[..], &[dense(width), dense(3)]].concat();
            Architecture::new(Shape::vector(5), &layers, parametrization).expect("sound")
        };
        assert_eq!(with_hidden_width(&of(2), 7).expect("no residual blocks"), of(7));
    }
}
