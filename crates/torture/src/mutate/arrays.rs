//! Mutants of arrays and tensors. Most of them have a valid outer structure: lengths and checksums are right.

use std::io::{Cursor, Read as _, Write as _};

use rand::RngExt as _;
use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha8Rng;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::{Mutant, bytes, number, text};

/// Element types of NumPy.
const TYPES: [&str; 18] = [
    "<f4", "<f8", "<f2", ">f4", ">f8", "<i8", "<i4", "|i1", "|u1", "<u2", "<u8", "|b1", "<c8", "<c16", "|O", "<U8",
    "|S3", "<M8[s]",
];

/// An array file: its header as text, and its values as bytes.
pub(crate) struct Npy {
    /// The element type, such as `<f8`.
    pub descr: String,
    /// Whether the array is in Fortran order.
    pub fortran: bool,
    /// The shape as the header writes it.
    pub shape: String,
    /// The bytes of the values.
    pub data: Vec<u8>,
}

impl Npy {
    /// Reads version 1 of the format in the usual layout.
    pub(crate) fn read(whole: &[u8]) -> Option<Self> {
        let rest = whole.strip_prefix(b"\x93NUMPY")?;
        let header = usize::from(u16::from_le_bytes([*rest.get(2)?, *rest.get(3)?]));
        let text = std::str::from_utf8(rest.get(4..4 + header)?).ok()?;
        let between = |from: &str, to: &str| -> Option<String> {
            let rest = &text[text.find(from)? + from.len()..];
            Some(rest[..rest.find(to)?].to_owned())
        };
        let descr = between("'descr': '", "'")?;
        let fortran = between("'fortran_order': ", ",")? == "True";
        let shape = between("'shape': (", ")")?;
        Some(Self { descr, fortran, shape, data: rest.get(4 + header..)?.to_vec() })
    }

    /// The complete bytes of the file.
    pub(crate) fn write(&self) -> Vec<u8> {
        let fortran = if self.fortran { "True" } else { "False" };
        let mut header =
            format!("{{'descr': '{}', 'fortran_order': {fortran}, 'shape': ({}), }}", self.descr, self.shape);
        while (10 + header.len() + 1) % 64 != 0 {
            header.push(' ');
        }
        header.push('\n');
        let mut whole = b"\x93NUMPY\x01\x00".to_vec();
        whole.extend((header.len() as u16).to_le_bytes());
        whole.extend(header.bytes());
        whole.extend(&self.data);
        whole
    }

    fn axes(&self) -> Vec<usize> {
        self.shape.split(',').filter_map(|n| n.trim().parse().ok()).collect()
    }

    fn with_axes(mut self, axes: &[usize]) -> Self {
        let names: Vec<String> = axes.iter().map(usize::to_string).collect();
        self.shape = if let [one] = &names[..] { format!("{one},") } else { names.join(", ") };
        self
    }

    /// The values, if their type is a float.
    pub(crate) fn floats(&self) -> Option<Vec<f64>> {
        match self.descr.as_str() {
            "<f4" => Some(self.data.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b).into()).collect()),
            "<f8" => Some(self.data.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect()),
            _ => None,
        }
    }

    /// The number of bytes of a value.
    fn width(&self) -> usize {
        self.descr.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(1).max(1)
    }
}

/// Damages an array.
pub(super) fn npy(whole: &[u8], rng: &mut ChaCha8Rng) -> Option<Mutant> {
    let mut array = Npy::read(whole)?;
    let mut shaped = false;
    let what = match rng.random_range(0..12) {
        0 | 1 => {
            array.descr = TYPES.choose(rng)?.to_string();
            format!("called {}", array.descr)
        }
        2 => {
            array.fortran = !array.fortran;
            "called the other order".into()
        }
        3..=5 => {
            let count = array.axes().len().max(1);
            let mut axes: Vec<String> = array.axes().iter().map(usize::to_string).collect();
            axes.resize(count, "1".into());
            let at = rng.random_range(0..count);
            axes[at] = number(rng).into();
            if rng.random_bool(0.3) {
                axes.push(number(rng).into());
            }
            array.shape = axes.join(", ") + ",";
            format!("shape called ({})", array.shape)
        }
        6 | 7 => {
            // One more or one less row, in the shape and in the values.
            let mut axes = array.axes();
            let at = rng.random_range(0..axes.len().max(1));
            let axis = axes.get_mut(at)?;
            *axis = match rng.random_range(0..4) {
                0 => 0,
                1 => *axis + 1,
                2 => *axis * 2,
                _ => axis.saturating_sub(1),
            };
            // The shape may come from an earlier mutation.
            let width = array.width();
            let bytes = axes.iter().try_fold(width, |n, &axis| n.checked_mul(axis)).filter(|&n| n < 1 << 22)?;
            array.data.resize(bytes, 0);
            shaped = true;
            array = array.with_axes(&axes);
            format!("({}) with as many values", array.shape)
        }
        8 | 9 => {
            // A special value in place of a value.
            let floats = array.floats()?;
            if floats.is_empty() {
                return None;
            }
            let at = rng.random_range(0..floats.len());
            let special =
                [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e308, -1e300, 1e38, 1e-310][rng.random_range(0..7)];
            let width = array.width();
            let written =
                if width == 4 { (special as f32).to_le_bytes().to_vec() } else { special.to_le_bytes().to_vec() };
            array.data[at * width..(at + 1) * width].copy_from_slice(&written);
            format!("value {at} is {special:e}")
        }
        10 => {
            // Unchanged values in the other precision.
            let floats = array.floats()?;
            if array.width() == 8 {
                array.descr = "<f4".into();
                array.data = floats.iter().flat_map(|&v| (v as f32).to_le_bytes()).collect();
            } else {
                array.descr = "<f8".into();
                array.data = floats.iter().flat_map(|v| v.to_le_bytes()).collect();
            }
            shaped = true;
            format!("as {}", array.descr)
        }
        _ => {
            let mut axes = array.axes();
            axes.reverse();
            array = array.with_axes(&axes);
            shaped = true;
            format!("shape turned to ({})", array.shape)
        }
    };
    Some(Mutant { bytes: array.write(), what, shaped })
}

/// The members of a zip archive.
pub(crate) fn unzip(whole: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let mut archive = ZipArchive::new(Cursor::new(whole)).ok()?;
    let mut members = Vec::new();
    for i in 0..archive.len() {
        let mut member = archive.by_index(i).ok()?;
        let name = member.name().ok()?.into_owned();
        let mut bytes = Vec::new();
        // The header of an earlier mutant may announce an endless member.
        member.by_ref().take(16 << 20).read_to_end(&mut bytes).ok()?;
        members.push((name, bytes));
    }
    Some(members)
}

/// Writes a zip archive. Repeated names are left out, since the writer refuses them.
pub(crate) fn zipped(members: &[(String, Vec<u8>)], method: CompressionMethod) -> Option<Vec<u8>> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method).last_modified_time(zip::DateTime::default());
    for (name, bytes) in members {
        if writer.start_file(name.as_str(), options).is_ok() {
            writer.write_all(bytes).ok()?;
        }
    }
    writer.finish().ok().map(Cursor::into_inner)
}

/// Damages one of the arrays, or their names. Checksums are right.
pub(super) fn npz(whole: &[u8], rng: &mut ChaCha8Rng) -> Option<Mutant> {
    let mut members = unzip(whole)?;
    if members.is_empty() {
        return None;
    }
    let at = rng.random_range(0..members.len());
    let name = members[at].0.clone();
    let mut shaped = false;
    let what = match rng.random_range(0..10) {
        0 => {
            members.remove(at);
            format!("without `{name}`")
        }
        1 => {
            let again = members[at].1.clone();
            members.push(("another.npy".into(), again));
            "with another array".into()
        }
        2 => {
            let odd = ["\u{1b}[31m.npy", "../../x.npy", "", "x", "/etc/x.npy", "a\u{202e}.npy"];
            members[at].0 = (*odd.choose(rng)?).into();
            format!("`{name}` called {:?}", members[at].0)
        }
        3 => {
            let to = rng.random_range(0..members.len());
            let moved = members[at].1.clone();
            members[to].1 = moved;
            format!("`{name}` in the place of `{}`", members[to].0)
        }
        4 => {
            members.reverse();
            "arrays the other way round".into()
        }
        5 => {
            let damaged = bytes::mutate(&members[at].1, rng);
            members[at].1 = damaged.bytes;
            format!("`{name}`: {}", damaged.what)
        }
        _ => {
            let damaged = npy(&members[at].1, rng)?;
            members[at].1 = damaged.bytes;
            shaped = damaged.shaped;
            format!("`{name}`: {}", damaged.what)
        }
    };
    let method = if rng.random_bool(0.8) { CompressionMethod::Stored } else { CompressionMethod::Deflated };
    Some(Mutant { bytes: zipped(&members, method)?, what, shaped })
}

/// Damages the header of named tensors, or a value. In most cases the length of the header is right.
pub(super) fn safetensors(whole: &[u8], rng: &mut ChaCha8Rng) -> Option<Mutant> {
    let length = u64::from_le_bytes(*whole.first_chunk()?) as usize;
    let header = whole.get(8..8_usize.checked_add(length)?)?;
    let mut data = whole[8 + length..].to_vec();
    let mut lies = None;
    let (header, what) = match rng.random_range(0..10) {
        0..=3 => {
            let damaged = text::json(header, rng)?;
            (damaged.bytes, format!("header: {}", damaged.what))
        }
        4 => {
            let value: serde_json::Value = serde_json::from_slice(header).ok()?;
            let text = value.to_string();
            let types = ["F64", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "X"];
            let to = format!("\"{}\"", types.choose(rng)?);
            (text.replacen("\"F32\"", &to, 1).into_bytes(), format!("a tensor called {to}"))
        }
        5 | 6 if data.len() >= 4 => {
            let at = rng.random_range(0..data.len() / 4) * 4;
            let special = [f32::NAN, f32::INFINITY, 1e38, -1e30, 1e-40][rng.random_range(0..5)];
            data[at..at + 4].copy_from_slice(&special.to_le_bytes());
            (header.to_vec(), format!("value at byte {at} is {special:e}"))
        }
        7 => {
            let size = [0, 1, length as u64 + 1, 1 << 31, 1 << 40, u64::MAX][rng.random_range(0..6)];
            lies = Some(size);
            (header.to_vec(), format!("header called {size} bytes long"))
        }
        8 => {
            let at = rng.random_range(0..=data.len());
            data.truncate(at);
            (header.to_vec(), format!("{at} bytes of values"))
        }
        _ => {
            let deep = "[".repeat(200_000);
            (deep.into_bytes(), "a deep header".into())
        }
    };
    let mut bytes = lies.unwrap_or(header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.extend(data);
    Some(Mutant::new(bytes, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_written_as_they_are_read() {
        let array = Npy { descr: "<f8".into(), fortran: false, shape: "2, 3".into(), data: vec![1; 48] };
        let again = Npy::read(&array.write()).expect("an array");
        assert_eq!((again.axes(), again.width(), again.data.len()), (vec![2, 3], 8, 48));
        assert_eq!(again.write(), array.write());
        let one = again.with_axes(&[6]);
        assert_eq!((one.shape.as_str(), one.axes()), ("6,", vec![6]));
    }
}
