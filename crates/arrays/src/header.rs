//! The header of an `.npy` array: element type, order of values, lengths of axes.

use std::io::Read;

use crate::element::Element;
use crate::literal::{Literal, parse};

/// The first bytes of every `.npy` array.
pub(crate) const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// Largest header that is read, in bytes. NumPy reads 10,000 bytes by default.
const LONGEST: usize = 1 << 20;

/// The header of an array, after the check that its values can be addressed in memory.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Header {
    pub(crate) shape: Vec<usize>,
    /// The product of the lengths.
    pub(crate) count: usize,
    pub(crate) element: Element,
    pub(crate) big_endian: bool,
    /// Whether the first index varies fastest (Fortran order).
    pub(crate) by_columns: bool,
    /// Length of the header in bytes.
    pub(crate) len: usize,
}

/// The error for a header that cannot be used.
#[derive(Debug, PartialEq)]
pub(crate) enum HeaderError {
    Damaged(String),
    Unsupported(String),
}

impl Header {
    /// Length of the values in bytes.
    pub(crate) fn data_len(&self) -> usize {
        self.count * self.element.size()
    }

    /// Reads a header of version 1, 2 or 3, starting with its first byte.
    pub(crate) fn read(from: &mut impl Read) -> Result<Self, HeaderError> {
        let damaged = |message: &str| HeaderError::Damaged(message.into());
        let mut exactly = |bytes: &mut [u8]| from.read_exact(bytes).map_err(|e| HeaderError::Damaged(cut(&e)));
        let mut start = [0; 8];
        exactly(&mut start)?;
        if &start[..6] != MAGIC {
            return Err(damaged("it does not begin as an .npy array does"));
        }
        let (len, before) = match start[6] {
            1 => {
                let mut len = [0; 2];
                exactly(&mut len)?;
                (usize::from(u16::from_le_bytes(len)), 10)
            }
            2 | 3 => {
                let mut len = [0; 4];
                exactly(&mut len)?;
                (u32::from_le_bytes(len) as usize, 12)
            }
            other => {
                let message = format!("it is of version {other} of the format; versions 1 to 3 are read");
                return Err(HeaderError::Unsupported(message));
            }
        };
        if len > LONGEST {
            return Err(HeaderError::Damaged(format!("its header of {len} bytes is longer than {LONGEST}")));
        }
        let mut text = vec![0; len];
        exactly(&mut text)?;
        // Version 3 is UTF-8 (for the names of records). The others are Latin-1, and only their ASCII part is needed here.
        let text = String::from_utf8_lossy(&text);
        Self::of_text(&text, before + len)
    }

    fn of_text(text: &str, len: usize) -> Result<Self, HeaderError> {
        let damaged = |message: String| HeaderError::Damaged(format!("its header cannot be understood: {message}"));
        let Literal::Dictionary(items) = parse(text).map_err(damaged)? else {
            return Err(damaged("it is no dictionary".into()));
        };
        let find = |key: &str| {
            let found = items.iter().find(|(name, _)| *name == Literal::Text(key.into()));
            found.map(|(_, value)| value).ok_or_else(|| damaged(format!("it has no `{key}`")))
        };
        let (element, big_endian) = element_of(find("descr")?)?;
        let &Literal::Bool(by_columns) = find("fortran_order")? else {
            return Err(damaged("`fortran_order` must be True or False".into()));
        };
        let Literal::Sequence(axes) = find("shape")? else {
            return Err(damaged("`shape` must be a tuple of lengths".into()));
        };
        let length = |axis: &Literal| match axis {
            Literal::Integer(n) => usize::try_from(*n).map_err(|_| damaged(format!("an axis of length {n}"))),
            Literal::Text(_) | Literal::Bool(_) | Literal::Sequence(_) | Literal::Dictionary(_) => {
                Err(damaged("`shape` must be a tuple of lengths".into()))
            }
        };
        let shape: Vec<usize> = axes.iter().map(length).collect::<Result<_, _>>()?;
        // Zeros are left out, because the product of the other axes must not overflow either.
        let all = shape.iter().filter(|&&n| n != 0).try_fold(element.size(), |product, &n| product.checked_mul(n));
        if all.is_none_or(|bytes| bytes > isize::MAX as usize) {
            return Err(HeaderError::Damaged(format!("its shape {shape:?} has more values than memory can address")));
        }
        let count = shape.iter().product();
        Ok(Self { shape, count, element, big_endian, by_columns, len })
    }
}

/// The message for a read that ended too early.
pub(crate) fn cut(error: &std::io::Error) -> String {
    if error.kind() == std::io::ErrorKind::UnexpectedEof { "it is cut short".into() } else { error.to_string() }
}

/// The type in a description such as `<f4`, and whether its bytes are swapped.
fn element_of(description: &Literal) -> Result<(Element, bool), HeaderError> {
    let unsupported = |what: &str| {
        HeaderError::Unsupported(format!("is of type {what}; the types that are read are {}", Element::READ))
    };
    let Literal::Text(text) = description else { return Err(unsupported("record (structured)")) };
    let (order, kind) = match text.chars().next() {
        Some(order @ ('<' | '>' | '|' | '=')) => (order, &text[1..]),
        _ => ('=', text.as_str()),
    };
    let element = match kind {
        "b1" | "?" => Element::Bool,
        "i1" => Element::I8,
        "i2" => Element::I16,
        "i4" => Element::I32,
        "i8" => Element::I64,
        "u1" => Element::U8,
        "u2" => Element::U16,
        "u4" => Element::U32,
        "u8" => Element::U64,
        "f2" => Element::F16,
        "f4" => Element::F32,
        "f8" => Element::F64,
        other => {
            let size: Option<u32> = other.get(1..).and_then(|size| size.parse().ok());
            return Err(unsupported(&match (other.chars().next(), size) {
                (Some('c'), Some(size @ ..=16)) => format!("complex{}", 8 * size),
                (Some('f'), Some(size @ ..=16)) => format!("float{}", 8 * size),
                (Some('O'), _) => "object (pickled)".into(),
                (Some('S' | 'a'), _) => format!("byte string (`{text}`)"),
                (Some('U'), _) => format!("string (`{text}`)"),
                (Some('V'), _) => format!("raw bytes (`{text}`)"),
                (Some('M'), _) => "datetime64".into(),
                (Some('m'), _) => "timedelta64".into(),
                _ => format!("`{text}`"),
            }));
        }
    };
    Ok((element, order == '>' || order == '=' && cfg!(target_endian = "big")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Header, HeaderError> {
        Header::of_text(text, 0)
    }

    fn shaped(shape: &str) -> Result<Header, HeaderError> {
        of(&format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"))
    }

    #[test]
    fn shapes_whose_product_wraps_are_damaged() {
        for shape in [
            "(9223372036854775808, 4)",
            "(4611686018427387904, 4)",
            "(2305843009213693952, 8)",
            "(4294967296, 4294967296, 6)",
            "(1152921504606846976,)",
            "(9223372036854775807, 0, 4)",
            "(18446744073709551616,)",
            "(-1, 6)",
            "(1.5, 6)",
            "6",
        ] {
            assert!(matches!(shaped(shape), Err(HeaderError::Damaged(_))), "{shape}");
        }
        assert_eq!(shaped("(4, 0, 6)").expect("sound").count, 0);
        assert_eq!(shaped("()").expect("sound").count, 1);
    }

    #[test]
    fn types_that_are_not_read_are_unsupported_not_damaged() {
        for (kind, said) in [
            ("'<c16'", "complex128"),
            ("'|O'", "object (pickled)"),
            ("'<U5'", "string (`<U5`)"),
            ("'|S3'", "byte string (`|S3`)"),
            ("'<f16'", "float128"),
            ("'|V2'", "raw bytes (`|V2`)"),
            ("'<M8[ns]'", "datetime64"),
            ("[('a', '<f4'), ('b', '<i8', (2,))]", "record (structured)"),
        ] {
            let text = format!("{{'descr': {kind}, 'fortran_order': False, 'shape': (1,), }}");
            let Err(HeaderError::Unsupported(message)) = of(&text) else { panic!("{kind}") };
            assert!(message.starts_with(&format!("is of type {said}; the types that are read are bool")), "{message}");
        }
    }
}
