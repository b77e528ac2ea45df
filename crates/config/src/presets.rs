//! Presets: a few numbers that expand to an explicit list of layers.

use serde::{Deserialize, Serialize};

use crate::architecture::ArchitectureError;
use crate::citations::Citation;
use crate::function::Function;
use crate::layers::batch_norm::norm_momentum;
use crate::layers::{BatchNorm, Convolution, Empty, Layer, LayerNorm, NormAxes, Pad, PadMode, Upsample, norm_eps, yes};
use crate::nonlinearity::Activation;
use crate::shape::{Pair, Shape};

/// Normalization between the layers of a preset.
///
/// ```
/// use fintan_config::{DcganGenerator, Norm, NormPosition};
///
/// let preset: DcganGenerator = toml::from_str("norm.batch.position = 'after'")?;
/// assert!(matches!(preset.norm, Norm::Batch(batch) if batch.position == NormPosition::After && batch.affine));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// No normalization.
    #[default]
    None,
    /// Batch normalization.
    Batch(BatchNormChoice),
    /// Layer normalization.
    Layer(LayerNormChoice),
}

/// Position of the norm: before or after the nonlinearity.
///
/// ```
/// use fintan_config::{BatchNormChoice, NormPosition};
///
/// let norm: BatchNormChoice = toml::from_str("position = 'after'")?;
/// assert_eq!((norm.position, NormPosition::default()), (NormPosition::After, NormPosition::Before));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormPosition {
    /// Layer, norm, nonlinearity: the order of the usual DCGAN.
    #[default]
    Before,
    /// Layer, nonlinearity, norm: the order that the theory treats.
    After,
}

/// Batch normalization of a preset.
///
/// ```
/// let norm: fintan_config::BatchNormChoice = toml::from_str("affine = false")?;
/// assert_eq!((norm.affine, norm.eps, norm.momentum), (false, 1e-5, 0.1));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchNormChoice {
    /// Before or after the nonlinearity.
    #[serde(default)]
    pub position: NormPosition,
    /// Learnable scale and shift.
    #[serde(default = "yes")]
    pub affine: bool,
    /// Added to the variance.
    #[serde(default = "norm_eps")]
    pub eps: f64,
    /// Weight of the newest batch in the running statistics.
    #[serde(default = "norm_momentum")]
    pub momentum: f64,
}

/// Layer normalization of a preset.
///
/// ```
/// let norm: fintan_config::LayerNormChoice = toml::from_str("over = 'features'")?;
/// assert_eq!((norm.over, norm.eps), (fintan_config::NormAxes::Features, 1e-5));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerNormChoice {
    /// Before or after the nonlinearity.
    #[serde(default)]
    pub position: NormPosition,
    /// Axes that share a mean and a variance.
    #[serde(default)]
    pub over: NormAxes,
    /// Learnable scale and shift.
    #[serde(default = "yes")]
    pub affine: bool,
    /// Added to the variance.
    #[serde(default = "norm_eps")]
    pub eps: f64,
}

/// The publication of both `dcgan` presets.
pub(crate) const DCGAN: Citation = Citation::new(
    "@inproceedings{radford2016dcgan,
  author = {Radford, Alec and Metz, Luke and Chintala, Soumith},
  title = {Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks},
  booktitle = {International Conference on Learning Representations},
  year = {2016},
  eprint = {1511.06434},
  archiveprefix = {arXiv},
}",
);

/// Deconvolutional generator: latent -> `start` x `start` map -> ... -> image.
///
/// Channels halve at each up-sampling. `extra` stride-1 layers follow each map except the image.
///
/// ```
/// use fintan_config::{Architecture, DcganGenerator, Parametrization, Shape};
///
/// let preset: DcganGenerator = toml::from_str("channels = 16")?;
/// let image = Shape::image(1, 16, 16);
/// let network = Architecture::new(Shape::vector(8), &preset.layers(image)?, Parametrization::default())?;
/// assert_eq!(network.output(), image);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DcganGenerator {
    /// Channels of the first map.
    #[serde(default = "sixty_four")]
    pub channels: usize,
    /// Size of the first map.
    #[serde(default = "four")]
    pub start: usize,
    /// Kernel of the up-sampling layers.
    #[serde(default = "four")]
    pub kernel: usize,
    /// Up-sampling factor.
    #[serde(default = "two")]
    pub stride: usize,
    /// How maps are enlarged.
    #[serde(default)]
    pub upsampling: Upsampling,
    /// Stride-1 layers after each map.
    #[serde(default)]
    pub extra: usize,
    /// Kernel of the stride-1 layers, odd.
    #[serde(default = "three")]
    pub extra_kernel: usize,
    /// Nonlinearity between layers.
    #[serde(default = "relu")]
    pub activation: Activation,
    /// Normalization between layers.
    #[serde(default)]
    pub norm: Norm,
    /// Nonlinearity of the output image.
    #[serde(default = "tanh")]
    pub output: Activation,
}

/// How a generator enlarges its maps.
///
/// ```
/// use fintan_config::{DcganGenerator, Upsampling};
///
/// let preset: DcganGenerator = toml::from_str("upsampling = 'resize'")?;
/// assert_eq!(preset.upsampling, Upsampling::Resize);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Upsampling {
    /// Transposed convolution.
    #[default]
    Deconv,
    /// Repeats every pixel, then applies a stride-1 convolution with the same kernel and zero padding.
    Resize,
}

/// Convolutional discriminator, the mirror image of the generator: image -> ... -> `end` x `end` map -> one logit.
///
/// ```
/// use fintan_config::{Architecture, DcganDiscriminator, Parametrization, Shape};
///
/// let preset: DcganDiscriminator = toml::from_str("channels = 16")?;
/// let image = Shape::image(1, 16, 16);
/// let network = Architecture::new(image, &preset.layers(image)?, Parametrization::default())?;
/// assert_eq!(network.output().len(), 1); // one logit
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DcganDiscriminator {
    /// Channels of the last map.
    #[serde(default = "sixty_four")]
    pub channels: usize,
    /// Size of the last map.
    #[serde(default = "four")]
    pub end: usize,
    /// Kernel of the down-sampling layers.
    #[serde(default = "four")]
    pub kernel: usize,
    /// Down-sampling factor.
    #[serde(default = "two")]
    pub stride: usize,
    /// Stride-1 layers after each map.
    #[serde(default)]
    pub extra: usize,
    /// Kernel of the stride-1 layers, odd.
    #[serde(default = "three")]
    pub extra_kernel: usize,
    /// Nonlinearity between layers.
    #[serde(default = "leaky")]
    pub activation: Activation,
    /// Normalization between layers; none after the first convolution, as in the DCGAN paper.
    #[serde(default)]
    pub norm: Norm,
}

/// Fully connected network.
///
/// ```
/// use fintan_config::{Architecture, Fc, Parametrization, Shape};
///
/// let preset: Fc = toml::from_str("widths = [8, 8]")?;
/// let (input, output) = (Shape::image(1, 4, 4), Shape::vector(2));
/// let network = Architecture::new(input, &preset.layers(input, output, None), Parametrization::default())?;
/// assert_eq!(network.parameter_count(), (16 * 8 + 8) + (8 * 8 + 8) + (8 * 2 + 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fc {
    /// Features of the hidden layers, in order.
    pub widths: Vec<usize>,
    /// Nonlinearity between layers.
    #[serde(default = "relu")]
    pub activation: Activation,
    /// Normalization between layers.
    #[serde(default)]
    pub norm: Norm,
    /// Nonlinearity of the output; the default for a generator is `tanh`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Activation>,
}

fn two() -> usize {
    2
}
fn three() -> usize {
    3
}
fn four() -> usize {
    4
}
fn sixty_four() -> usize {
    64
}
fn relu() -> Activation {
    Activation::raw(Function::Relu)
}
fn tanh() -> Activation {
    Activation::raw(Function::Tanh)
}
fn leaky() -> Activation {
    Activation { slope: Some(0.2), ..Activation::raw(Function::LeakyRelu) }
}

/// Adds the nonlinearity and the norm, in the order set in the norm.
fn after_layer(layers: &mut Vec<Layer>, activation: Activation, norm: Norm) {
    let activation = Layer::Activation(activation);
    let (norm, position) = match norm {
        Norm::None => {
            layers.push(activation);
            return;
        }
        Norm::Batch(BatchNormChoice { position, affine, eps, momentum }) => {
            (Layer::BatchNorm(BatchNorm { affine, eps, momentum }), position)
        }
        Norm::Layer(LayerNormChoice { position, over, affine, eps }) => {
            (Layer::LayerNorm(LayerNorm { over, affine, eps }), position)
        }
    };
    match position {
        NormPosition::Before => layers.extend([norm, activation]),
        NormPosition::After => layers.extend([activation, norm]),
    }
}

fn error(key: &str, message: String, help: impl Into<Option<&'static str>>) -> ArchitectureError {
    ArchitectureError { key: key.into(), message, help: help.into().map(Into::into) }
}

/// The number n > 0 with `small · stride^n = large`.
fn levels(small: usize, large: usize, stride: usize, key: &str) -> Result<u32, ArchitectureError> {
    if small == 0 {
        return Err(error(key, format!("`{key}` must be at least 1, got 0"), None));
    }
    if stride < 2 {
        return Err(error("stride", format!("`stride` must be at least 2, got {stride}"), None));
    }
    (0..usize::BITS)
        .take_while(|&n| stride.checked_pow(n).and_then(|p| p.checked_mul(small)).is_some_and(|size| size <= large))
        .find(|&n| small * stride.pow(n) == large)
        .filter(|&n| n > 0)
        .ok_or_else(|| {
            let size = |n| stride.checked_pow(n).and_then(|power| power.checked_mul(small));
            let sizes: Vec<String> = (1..6).map_while(size).map(|size| size.to_string()).collect();
            let message = format!(
                "an image of {large} cannot be reached from a {small}x{small} map by factors of {stride}: allowed are {}, ...",
                sizes.join(", ")
            );
            error(key, message, "change `image.size`, or `start` / `end` and `stride` of the networks")
        })
}

/// Padding and output padding for which a transposed convolution enlarges maps by exactly the stride.
fn exact_padding(kernel: usize, stride: usize) -> Result<(usize, usize), ArchitectureError> {
    if kernel < stride {
        let message = format!("`kernel` must be at least the stride ({stride}), got {kernel}");
        return Err(error("kernel", message, "a smaller kernel leaves pixels that no weight reaches"));
    }
    let output_padding = (kernel - stride) % 2;
    Ok((usize::midpoint(kernel - stride, output_padding), output_padding))
}

/// Bounds the number of layers between two maps.
fn check_extra(extra: usize) -> Result<(), ArchitectureError> {
    const MOST: usize = 1000;
    if extra <= MOST {
        Ok(())
    } else {
        Err(error("extra", format!("`extra` must be at most {MOST}, got {extra}"), None))
    }
}

fn stride_one(channels: usize, kernel: usize) -> Result<Convolution, ArchitectureError> {
    if kernel.is_multiple_of(2) {
        let message = format!("`extra_kernel` must be odd, got {kernel}");
        return Err(error("extra_kernel", message, "only an odd kernel keeps the size of the map"));
    }
    let [stride, padding, none] = [1, kernel / 2, 0].map(Pair::from);
    Ok(Convolution { out: channels, kernel: kernel.into(), stride, padding, output_padding: none, init: None })
}

/// Channels of a map after halving the largest number of channels `level` times.
fn narrowed(channels: usize, level: u32) -> Result<usize, ArchitectureError> {
    match channels >> level {
        0 => {
            let halved = if level == 0 { String::new() } else { format!(": it is halved {level} times") };
            let message = format!("`channels` must be at least {}, got {channels}{halved}", 1_usize << level);
            Err(error("channels", message, None))
        }
        n => Ok(n),
    }
}

impl DcganGenerator {
    /// The explicit list of layers from a latent vector to `image`.
    ///
    /// # Errors
    /// Sizes that do not fit; the key is relative to the preset.
    pub fn layers(&self, image: Shape) -> Result<Vec<Layer>, ArchitectureError> {
        let &Self { channels, start, kernel, stride, upsampling, extra, extra_kernel, activation, norm, output } = self;
        check_extra(extra)?;
        let levels = levels(start, image.height, stride, "start")?;
        let (padding, output_padding) = exact_padding(kernel, stride)?;
        let mut layers = vec![Layer::Deconv(Convolution {
            out: narrowed(channels, 0)?,
            kernel: start.into(),
            stride: 1.into(),
            padding: 0.into(),
            output_padding: 0.into(),
            init: None,
        })];
        after_layer(&mut layers, activation, norm);
        for level in 0..levels {
            for _ in 0..extra {
                layers.push(Layer::Deconv(stride_one(narrowed(channels, level)?, extra_kernel)?));
                after_layer(&mut layers, activation, norm);
            }
            let last = level + 1 == levels;
            let out = if last { image.channels } else { narrowed(channels, level + 1)? };
            let convolution = |stride: usize, padding: usize, output_padding: usize| Convolution {
                out,
                kernel: kernel.into(),
                stride: stride.into(),
                padding: padding.into(),
                output_padding: output_padding.into(),
                init: None,
            };
            match upsampling {
                Upsampling::Deconv => layers.push(Layer::Deconv(convolution(stride, padding, output_padding))),
                Upsampling::Resize => {
                    layers.push(Layer::Upsample(Upsample { factor: stride.into() }));
                    // An even kernel has no centre: one more row and column of zeros at the far end.
                    if kernel.is_multiple_of(2) {
                        let (before, after) = ((kernel / 2 - 1).into(), (kernel / 2).into());
                        layers.push(Layer::Pad(Pad { before, after, mode: PadMode::Zero }));
                        layers.push(Layer::Conv(convolution(1, 0, 0)));
                    } else {
                        layers.push(Layer::Conv(convolution(1, kernel / 2, 0)));
                    }
                }
            }
            if !last {
                after_layer(&mut layers, activation, norm);
            }
        }
        layers.push(Layer::Activation(output));
        Ok(layers)
    }
}

impl DcganDiscriminator {
    /// The explicit list of layers from `image` to one logit.
    ///
    /// # Errors
    /// Sizes that do not fit; the key is relative to the preset.
    pub fn layers(&self, image: Shape) -> Result<Vec<Layer>, ArchitectureError> {
        let &Self { channels, end, kernel, stride, extra, extra_kernel, activation, norm } = self;
        check_extra(extra)?;
        let levels = levels(end, image.height, stride, "end")?;
        let (padding, _) = exact_padding(kernel, stride)?;
        let mut layers = Vec::new();
        for level in (0..levels).rev() {
            let width = narrowed(channels, level)?;
            layers.push(Layer::Conv(Convolution {
                out: width,
                kernel: kernel.into(),
                stride: stride.into(),
                padding: padding.into(),
                output_padding: 0.into(),
                init: None,
            }));
            let first = level + 1 == levels;
            after_layer(&mut layers, activation, if first { Norm::None } else { norm });
            for _ in 0..extra {
                layers.push(Layer::Conv(stride_one(width, extra_kernel)?));
                after_layer(&mut layers, activation, norm);
            }
        }
        layers.push(Layer::Conv(Convolution {
            out: 1,
            kernel: end.into(),
            stride: 1.into(),
            padding: 0.into(),
            output_padding: 0.into(),
            init: None,
        }));
        layers.push(Layer::Flatten(Empty {}));
        Ok(layers)
    }
}

impl Fc {
    /// The explicit list of layers from `input` (flattened) to `output` (reshaped).
    #[must_use]
    pub fn layers(&self, input: Shape, output: Shape, default_output: Option<Activation>) -> Vec<Layer> {
        let mut layers = Vec::new();
        if !input.is_vector() {
            layers.push(Layer::Flatten(Empty {}));
        }
        for &out in &self.widths {
            layers.push(Layer::Dense(out.into()));
            after_layer(&mut layers, self.activation, self.norm);
        }
        layers.push(Layer::Dense(output.len().into()));
        if !output.is_vector() {
            layers.push(Layer::Reshape(output));
        }
        layers.extend(self.output.or(default_output).map(Layer::Activation));
        layers
    }
}
