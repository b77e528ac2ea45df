//! The layers of a network, as written in a configuration.

use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::nonlinearity::Activation;
use crate::parametrization::Init;

/// Shape of one sample. Vectors are `channels` x 1 x 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Features of a vector, channels of an image.
    pub channels: usize,
    /// Rows of an image, 1 for a vector.
    pub height: usize,
    /// Columns of an image, 1 for a vector.
    pub width: usize,
}

impl Shape {
    /// A vector of `channels` features.
    #[must_use]
    pub const fn vector(channels: usize) -> Self {
        Self { channels, height: 1, width: 1 }
    }

    /// An image.
    #[must_use]
    pub const fn image(channels: usize, height: usize, width: usize) -> Self {
        Self { channels, height, width }
    }

    /// Number of values in a sample.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Whether there is no value at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of positions of a feature map.
    #[must_use]
    pub const fn positions(&self) -> usize {
        self.height * self.width
    }

    /// Whether it is a vector.
    #[must_use]
    pub const fn is_vector(&self) -> bool {
        self.height == 1 && self.width == 1
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_vector() {
            write!(f, "{}", self.channels)
        } else {
            write!(f, "{}x{}x{}", self.channels, self.height, self.width)
        }
    }
}

/// A number for rows and one for columns; written `4` or `[3, 5]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Pair(pub [usize; 2]);

impl From<usize> for Pair {
    fn from(n: usize) -> Self {
        Self([n, n])
    }
}

impl<'de> Deserialize<'de> for Pair {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairVisitor;
        impl<'de> Visitor<'de> for PairVisitor {
            type Value = Pair;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number of at least 0, or two of them as [rows, columns]")
            }
            fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<Pair, E> {
                let n = usize::try_from(n).map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(n), &self))?;
                Ok(n.into())
            }
            fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<Pair, E> {
                let n = usize::try_from(n).map_err(|_| E::invalid_value(serde::de::Unexpected::Unsigned(n), &self))?;
                Ok(n.into())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Pair, A::Error> {
                let mut pair = [0; 2];
                for (i, n) in pair.iter_mut().enumerate() {
                    *n = seq.next_element()?.ok_or_else(|| serde::de::Error::invalid_length(i, &self))?;
                }
                match seq.next_element::<serde::de::IgnoredAny>()? {
                    None => Ok(Pair(pair)),
                    Some(_) => Err(serde::de::Error::invalid_length(3, &self)),
                }
            }
        }
        deserializer.deserialize_any(PairVisitor)
    }
}

/// A convolution or transposed convolution.
///
/// Output size a dimension: convolution `⌊(h + 2 padding - kernel) / stride⌋ + 1`, transposed convolution
/// `(h - 1) stride - 2 padding + kernel + output_padding`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Convolution {
    /// Channels out.
    pub out: usize,
    /// Kernel size.
    pub kernel: Pair,
    /// Stride; of a transposed convolution, the up-sampling factor.
    #[serde(default = "stride_one")]
    pub stride: Pair,
    /// Zero padding; of a transposed convolution, the frame that is cut off.
    #[serde(default = "zero_pair")]
    pub padding: Pair,
    /// Rows and columns added at the far end of a transposed convolution's output.
    #[serde(default = "zero_pair")]
    pub output_padding: Pair,
    /// How its weights are drawn, where it differs from the network's `parametrization.standard.init`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<Init>,
}

fn stride_one() -> Pair {
    1.into()
}

fn zero_pair() -> Pair {
    0.into()
}

/// Batch normalization over batch and positions, per channel.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchNorm {
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

/// Layer normalization of each sample by itself.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerNorm {
    /// The axes that share a mean and a variance.
    #[serde(default)]
    pub over: NormAxes,
    /// Learnable scale and shift, one for each normalized value.
    #[serde(default = "yes")]
    pub affine: bool,
    /// Added to the variance.
    #[serde(default = "norm_eps")]
    pub eps: f64,
}

/// Axes of a layer normalization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormAxes {
    /// Channels and positions together.
    #[default]
    Chw,
    /// Channels, at each position apart.
    Features,
}

pub(crate) fn yes() -> bool {
    true
}

pub(crate) fn norm_eps() -> f64 {
    1e-5
}

pub(crate) fn norm_momentum() -> f64 {
    0.1
}

/// One layer, as written in `[[network.layers]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// Fully connected.
    Dense(Dense),
    /// Convolution (cross-correlation, as everywhere in the field).
    Conv(Convolution),
    /// Transposed convolution.
    Deconv(Convolution),
    /// A frame around a map.
    Pad(Pad),
    /// Nearest-neighbour up-sampling: every position becomes a block of equal ones.
    Upsample(Upsample),
    /// Pointwise nonlinearity.
    Activation(Activation),
    /// Batch normalization.
    BatchNorm(BatchNorm),
    /// Layer normalization.
    LayerNorm(LayerNorm),
    /// A vector as an image, in channel, row, column order.
    Reshape(Shape),
    /// An image as a vector, in channel, row, column order.
    Flatten(Empty),
    /// Mean over positions.
    GlobalAveragePool(Empty),
    /// `y = scale · (branch(x) + shortcut(x))`.
    Residual(Residual),
}

/// A layer without settings: `{}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// A fully connected layer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dense {
    /// Features out.
    pub out: usize,
    /// How its weights are drawn, where it differs from the network's `parametrization.standard.init`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<Init>,
}

impl From<usize> for Dense {
    fn from(out: usize) -> Self {
        Self { out, init: None }
    }
}

/// A frame of rows and columns around a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pad {
    /// Rows above and columns to the left.
    #[serde(default = "zero_pair")]
    pub before: Pair,
    /// Rows below and columns to the right.
    #[serde(default = "zero_pair")]
    pub after: Pair,
    /// What stands in it.
    pub mode: PadMode,
}

/// Up-sampling by copies. With a stride-1 convolution behind it, it is what generators without checkerboards of overlap use
/// in place of a transposed convolution (Odena, Dumoulin, Olah 2016).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upsample {
    /// Copies along rows and columns.
    pub factor: Pair,
}

impl Upsample {
    /// Of each new row (axis 0) or column (axis 1), the row or column of a map of `len` that stands there.
    #[must_use]
    pub fn sources(&self, axis: usize, len: usize) -> Vec<Option<usize>> {
        (0..len * self.factor.0[axis]).map(|at| Some(at / self.factor.0[axis])).collect()
    }
}

/// What stands in the frame around a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PadMode {
    /// Zeros.
    Zero,
    /// The map again: a torus.
    Periodic,
    /// The map mirrored, its edge included.
    Symmetric,
}

impl Pad {
    /// Of each padded row (axis 0) or column (axis 1), the row or column of a map of `len` that stands there; none for zeros.
    #[must_use]
    pub fn sources(&self, axis: usize, len: usize) -> Vec<Option<usize>> {
        let (before, after, n) = (self.before.0[axis] as isize, self.after.0[axis] as isize, len as isize);
        (-before..n + after)
            .map(|at| match self.mode {
                PadMode::Zero => (0..n).contains(&at).then_some(at as usize),
                PadMode::Periodic => Some(at.rem_euclid(n) as usize),
                PadMode::Symmetric => {
                    let at = at.rem_euclid(2 * n);
                    Some(at.min(2 * n - 1 - at) as usize)
                }
            })
            .collect()
    }
}

/// A residual block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Residual {
    /// The branch.
    pub layers: Vec<Layer>,
    /// The other way round; empty is the identity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shortcut: Vec<Layer>,
    /// Factor of the sum; 1/√2 keeps unit variance.
    #[serde(default = "one")]
    pub scale: f64,
}

fn one() -> f64 {
    1.0
}

impl Layer {
    /// Its name in a configuration.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Dense(_) => "dense",
            Self::Conv(_) => "conv",
            Self::Deconv(_) => "deconv",
            Self::Pad(_) => "pad",
            Self::Upsample(_) => "upsample",
            Self::Activation(_) => "activation",
            Self::BatchNorm(_) => "batch_norm",
            Self::LayerNorm(_) => "layer_norm",
            Self::Reshape(_) => "reshape",
            Self::Flatten(_) => "flatten",
            Self::GlobalAveragePool(_) => "global_average_pool",
            Self::Residual(_) => "residual",
        }
    }
}
