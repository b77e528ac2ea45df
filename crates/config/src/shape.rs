//! Shapes of samples, and pairs of numbers for rows and columns.

use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// Shape of one sample. A vector has the shape `channels` x 1 x 1.
///
/// ```
/// let image = fintan_config::Shape::image(3, 8, 8);
/// assert_eq!((image.len(), image.positions()), (192, 64));
/// assert_eq!(image.to_string(), "3x8x8");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Number of features of a vector, or of channels of an image.
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

    /// Whether a sample has no values.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of positions of a feature map.
    #[must_use]
    pub const fn positions(&self) -> usize {
        self.height * self.width
    }

    /// Whether the shape is that of a vector.
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

/// A number for rows and a number for columns; written `4` or `[3, 5]`.
///
/// ```
/// assert_eq!(fintan_config::Pair::from(4).0, [4, 4]);
/// ```
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

pub(crate) fn one_pair() -> Pair {
    1.into()
}

pub(crate) fn zero_pair() -> Pair {
    0.into()
}
