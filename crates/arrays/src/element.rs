//! Element types of arrays in files.

use std::borrow::Cow;
use std::io::{self, Read};

use half::{bf16, f16};

use crate::array::ArrayValues;

/// An element type that can be read.
///
/// ```
/// use fintan_arrays::Element;
///
/// assert_eq!((Element::F16.name(), Element::F16.size()), ("float16", 2));
/// assert!(Element::U8.is_whole() && !Element::F32.is_whole());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// One byte, 0 or 1.
    Bool,
    /// Signed, 8 bits.
    I8,
    /// Signed, 16 bits.
    I16,
    /// Signed, 32 bits.
    I32,
    /// Signed, 64 bits.
    I64,
    /// Unsigned, 8 bits.
    U8,
    /// Unsigned, 16 bits.
    U16,
    /// Unsigned, 32 bits.
    U32,
    /// Unsigned, 64 bits.
    U64,
    /// Half precision.
    F16,
    /// The upper 16 bits of single precision (bfloat16).
    Bf16,
    /// Single precision.
    F32,
    /// Double precision.
    F64,
}

impl Element {
    /// The types that can be read, as text for messages.
    pub const READ: &'static str = "bool, integers of 8 to 64 bits, float16, float32 and float64";

    /// The name of the type in NumPy.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::I8 => "int8",
            Self::I16 => "int16",
            Self::I32 => "int32",
            Self::I64 => "int64",
            Self::U8 => "uint8",
            Self::U16 => "uint16",
            Self::U32 => "uint32",
            Self::U64 => "uint64",
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
            Self::F32 => "float32",
            Self::F64 => "float64",
        }
    }

    /// Bytes in one value.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::Bool | Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 | Self::F16 | Self::Bf16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
        }
    }

    /// Whether the type has only whole numbers; Booleans count as 0 and 1.
    #[must_use]
    pub fn is_whole(self) -> bool {
        match self {
            Self::Bool
            | Self::I8
            | Self::I16
            | Self::I32
            | Self::I64
            | Self::U8
            | Self::U16
            | Self::U32
            | Self::U64 => true,
            Self::F16 | Self::Bf16 | Self::F32 | Self::F64 => false,
        }
    }

    /// Reads the next `count` values of a stream.
    pub(crate) fn read(self, from: &mut impl Read, count: usize, big_endian: bool) -> io::Result<ArrayValues<'static>> {
        macro_rules! numbers {
            ($number:ty as $to:ty) => {
                if big_endian {
                    collect(from, count, |bytes| <$to>::from(<$number>::from_be_bytes(bytes)))?
                } else {
                    collect(from, count, |bytes| <$to>::from(<$number>::from_le_bytes(bytes)))?
                }
            };
        }
        let whole = |values: Vec<i64>| ArrayValues::I64(Cow::Owned(values));
        let single = |values: Vec<f32>| ArrayValues::F32(Cow::Owned(values));
        Ok(match self {
            Self::Bool => whole(collect(from, count, |[byte]| i64::from(byte != 0))?),
            Self::I8 => whole(numbers!(i8 as i64)),
            Self::I16 => whole(numbers!(i16 as i64)),
            Self::I32 => whole(numbers!(i32 as i64)),
            Self::I64 => whole(numbers!(i64 as i64)),
            Self::U8 => whole(numbers!(u8 as i64)),
            Self::U16 => whole(numbers!(u16 as i64)),
            Self::U32 => whole(numbers!(u32 as i64)),
            Self::U64 => {
                let values: Vec<u64> = numbers!(u64 as u64);
                let fitting: Option<Vec<i64>> = values.iter().map(|&v| i64::try_from(v).ok()).collect();
                fitting.map_or_else(|| ArrayValues::F64(values.iter().map(|&v| v as f64).collect()), whole)
            }
            Self::F16 => single(numbers!(f16 as f32)),
            Self::Bf16 => single(numbers!(bf16 as f32)),
            Self::F32 => single(numbers!(f32 as f32)),
            Self::F64 => ArrayValues::F64(Cow::Owned(numbers!(f64 as f64))),
        })
    }
}

/// Number of values that are converted at a time.
const RUN: usize = 1 << 14;

/// Reads and converts values in runs of `RUN`. Memory is allocated as bytes arrive, so a false count allocates nothing.
pub(crate) fn collect<T, const B: usize>(
    from: &mut impl Read,
    count: usize,
    one: impl Fn([u8; B]) -> T,
) -> io::Result<Vec<T>> {
    let mut values = Vec::new();
    let mut buffer = vec![0; count.min(RUN) * B];
    while values.len() < count {
        let run = (count - values.len()).min(RUN);
        let buffer = &mut buffer[..run * B];
        from.read_exact(buffer)?;
        let (chunks, _) = buffer.as_chunks::<B>();
        values.extend(chunks.iter().map(|&bytes| one(bytes)));
    }
    Ok(values)
}
