//! Reads arrays from files, one array at a time.

use std::borrow::Cow;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use zip::ZipArchive;
use zip::result::ZipError;

use crate::array::{Array, ArrayValues};
use crate::element::{Element, collect};
use crate::error::ArrayError;
use crate::header::{Header, HeaderError, MAGIC, cut};

/// An `.npy` or `.npz` file whose arrays are read by name.
///
/// ```
/// use fintan_arrays::{Array, ArrayFile, write_npz};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("a.npz");
/// let values = vec![1.0, 2.0];
/// write_npz(fs_err::File::create(&path)?, &[("x", Array::f64(&[2], values)), ("n", Array::integers([7]))])?;
///
/// let mut file = ArrayFile::open(&path)?;
/// assert_eq!(file.names(), ["x", "n"]);
/// assert_eq!(file.read("x")?.to_f64(), [1.0, 2.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ArrayFile {
    path: PathBuf,
    names: Vec<String>,
    content: Content,
}

enum Content {
    /// The single array, and the length of the file in bytes.
    Npy(Box<dyn Input>, u64),
    /// The archive, and the index of each array in it.
    Npz(Box<ZipArchive<Box<dyn Input>>>, Vec<usize>),
}

trait Input: Read + Seek {}
impl<T: Read + Seek> Input for T {}

/// An array whose header has been read; its values have not been read yet.
///
/// ```
/// use fintan_arrays::{Array, ArrayFile, Element, write_npz};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("a.npz");
/// write_npz(fs_err::File::create(&path)?, &[("x", Array::f64(&[2, 1], vec![1.0, 2.0]))])?;
/// let mut file = ArrayFile::open(&path)?;
/// let stored = file.find("x")?;
/// assert_eq!((stored.shape(), stored.element()), (&[2, 1][..], Element::F64));
/// assert_eq!(stored.read()?.to_f64(), [1.0, 2.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct StoredArray<'a> {
    path: &'a Path,
    name: &'a str,
    header: Header,
    values: Box<dyn Read + 'a>,
}

impl ArrayFile {
    /// Opens a file and reads the names of its arrays. The array of an `.npy` file has an empty name.
    ///
    /// # Errors
    /// Errors of the file system; [`ArrayError::NoArrays`].
    pub fn open(path: &Path) -> Result<Self, ArrayError> {
        let file = fs_err::File::open(path)?;
        let metadata = file.metadata()?;
        let (mut input, len): (Box<dyn Input>, u64) = if metadata.is_file() {
            (Box::new(BufReader::new(file)), metadata.len())
        } else {
            // A pipe, in which seeking is impossible. For a folder this read returns the right error.
            let mut bytes = Vec::new();
            { file }.read_to_end(&mut bytes)?;
            let len = bytes.len() as u64;
            (Box::new(Cursor::new(bytes)), len)
        };
        let mut start = Vec::new();
        input.by_ref().take(MAGIC.len() as u64).read_to_end(&mut start)?;
        input.seek(SeekFrom::Start(0))?;
        if start == MAGIC {
            return Ok(Self { path: path.into(), names: vec![String::new()], content: Content::Npy(input, len) });
        }
        let no_arrays = |e: ZipError| {
            if let ZipError::Io(e) = e {
                return ArrayError::Io(e);
            }
            ArrayError::NoArrays { path: path.into(), message: e.to_string() }
        };
        let archive = ZipArchive::new(input).map_err(no_arrays)?;
        let mut all = Vec::new();
        for i in 0..archive.len() {
            let name = archive.name_for_index(i).transpose().map_err(no_arrays)?.unwrap_or_default();
            all.push(name.into_owned());
        }
        // Other members of the archive are ignored, unless there are no arrays at all.
        let is_array = |name: &String| name.strip_suffix(".npy").is_some();
        let any = all.iter().any(is_array);
        let arrays = all.iter().enumerate().filter(|(_, name)| !any || is_array(name));
        let (places, names) = arrays.map(|(i, name)| (i, name.strip_suffix(".npy").unwrap_or(name).to_owned())).unzip();
        Ok(Self { path: path.into(), names, content: Content::Npz(Box::new(archive), places) })
    }

    /// The names of its arrays, in their order in the file.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Reads the header of an array and returns a handle for its values.
    ///
    /// # Errors
    /// No such array, a damaged header, an unsupported type, or more values than the file has bytes for.
    pub fn find(&mut self, name: &str) -> Result<StoredArray<'_>, ArrayError> {
        let Self { path, names, content } = self;
        let Some(at) = names.iter().position(|known| known == name) else {
            return Err(ArrayError::Missing { path: path.clone(), name: name.into(), names: names.clone() });
        };
        let (path, name): (&Path, &str) = (path, &names[at]);
        let (mut values, len): (Box<dyn Read>, u64) = match content {
            Content::Npy(input, len) => {
                input.seek(SeekFrom::Start(0))?;
                (Box::new(input), *len)
            }
            Content::Npz(archive, places) => {
                let member = archive.by_index(places[at]).map_err(|e| of_zip(e, path, name))?;
                let len = member.size();
                (Box::new(BufReader::new(member)), len)
            }
        };
        let header = Header::read(&mut values).map_err(|e| match e {
            HeaderError::Damaged(message) => ArrayError::Damaged { path: path.into(), name: name.into(), message },
            HeaderError::Unsupported(message) => {
                ArrayError::Unsupported { path: path.into(), name: name.into(), message }
            }
        })?;
        let (needed, found) = (header.data_len() as u64, len.saturating_sub(header.len as u64));
        if needed > found {
            let message = format!(
                "it is cut short: shape {:?} of {} needs {needed} bytes, and {found} are there",
                header.shape,
                header.element.name()
            );
            return Err(ArrayError::Damaged { path: path.into(), name: name.into(), message });
        }
        Ok(StoredArray { path, name, header, values })
    }

    /// Reads the array of this name.
    ///
    /// # Errors
    /// The errors of [`Self::find`] and [`StoredArray::read`].
    pub fn read(&mut self, name: &str) -> Result<Array<'static>, ArrayError> {
        self.find(name)?.read()
    }
}

fn of_zip(error: ZipError, path: &Path, name: &str) -> ArrayError {
    let (path, name) = (path.to_owned(), name.to_owned());
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "errors of a library, of which the rest mean that the file is damaged"
    )]
    match error {
        ZipError::Io(e) => ArrayError::Io(e),
        ZipError::UnsupportedArchive(_) | ZipError::CompressionMethodNotSupported(_) | ZipError::InvalidPassword => {
            let message = format!("is packed in a way that is not read: {error}");
            ArrayError::Unsupported { path, name, message }
        }
        _ => ArrayError::Damaged { path, name, message: error.to_string() },
    }
}

/// Largest number of bytes after the values that are skipped to reach the end of a member, where its checksum is compared.
const BEHIND: u64 = 1 << 20;

impl StoredArray<'_> {
    /// Length of each axis.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.header.shape
    }

    /// Type of the values.
    #[must_use]
    pub fn element(&self) -> Element {
        self.header.element
    }

    /// Reads the values; the result is row-major, whatever the order in the file.
    ///
    /// # Errors
    /// Values that are missing or damaged.
    pub fn read(mut self) -> Result<Array<'static>, ArrayError> {
        let Header { count, element, big_endian, .. } = self.header;
        let values = element.read(&mut self.values, count, big_endian).map_err(|e| self.damaged(&e))?;
        self.finish()?;
        let Header { shape, by_columns, .. } = self.header;
        let values = match values {
            ArrayValues::F32(values) => ArrayValues::F32(by_rows(values, &shape, by_columns)),
            ArrayValues::F64(values) => ArrayValues::F64(by_rows(values, &shape, by_columns)),
            ArrayValues::I64(values) => ArrayValues::I64(by_rows(values, &shape, by_columns)),
        };
        Ok(Array { shape, values })
    }

    /// Reads the values of a `uint8` array without conversion, row-major. Arrays of images are large.
    ///
    /// # Errors
    /// Values that are missing or damaged.
    ///
    /// # Panics
    /// If the array has another type.
    pub fn read_bytes(mut self) -> Result<Vec<u8>, ArrayError> {
        assert_eq!(self.header.element, Element::U8, "bytes are asked for");
        let values = collect(&mut self.values, self.header.count, |[byte]| byte).map_err(|e| self.damaged(&e))?;
        self.finish()?;
        let Header { shape, by_columns, .. } = self.header;
        Ok(by_rows(Cow::Owned(values), &shape, by_columns).into_owned())
    }

    /// Reads to the end of the member, where an archive compares the checksum.
    fn finish(&mut self) -> Result<(), ArrayError> {
        let behind = io::copy(&mut self.values.by_ref().take(BEHIND), &mut io::sink());
        behind.map_err(|e| self.damaged(&e)).map(|_| ())
    }

    fn damaged(&self, error: &io::Error) -> ArrayError {
        ArrayError::Damaged { path: self.path.into(), name: self.name.into(), message: cut(error) }
    }
}

/// The values in row-major order (the last index varies fastest).
fn by_rows<'a, T: Copy>(values: Cow<'a, [T]>, shape: &[usize], by_columns: bool) -> Cow<'a, [T]> {
    if !by_columns || shape.len() < 2 || values.is_empty() {
        return values;
    }
    let strides: Vec<usize> = shape
        .iter()
        .scan(1, |stride, &n| {
            let this = *stride;
            *stride *= n;
            Some(this)
        })
        .collect();
    let (mut index, mut at) = (vec![0; shape.len()], 0);
    let mut ordered = Vec::with_capacity(values.len());
    loop {
        ordered.push(values[at]);
        let mut axis = shape.len();
        loop {
            if axis == 0 {
                return Cow::Owned(ordered);
            }
            axis -= 1;
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            at -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn npy(version: u8, header: &str, values: &[u8]) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        file.extend([version, 0]);
        let len = header.len() as u32;
        file.extend(&len.to_le_bytes()[..if version == 1 { 2 } else { 4 }]);
        file.extend(header.as_bytes());
        file.extend(values);
        file
    }

    fn described(kind: &str, by_columns: bool, shape: &str) -> String {
        let order = if by_columns { "True" } else { "False" };
        format!("{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}, }}\n")
    }

    fn zipped(members: &[(&str, &[u8])], method: zip::CompressionMethod) -> Vec<u8> {
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in members {
            archive.start_file(*name, options).expect("in memory");
            archive.write_all(bytes).expect("in memory");
        }
        archive.finish().expect("in memory").into_inner()
    }

    /// The result of reading `name` from a file with these bytes.
    fn read(bytes: &[u8], name: &str) -> Result<Array<'static>, ArrayError> {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(bytes).expect("written");
        ArrayFile::open(file.path())?.read(name)
    }

    fn said(bytes: &[u8], name: &str) -> String {
        let error = read(bytes, name).expect_err("refused").to_string();
        error.split_once("` ").expect("the file comes first").1.to_owned()
    }

    #[test]
    fn every_type_and_byte_order_gives_its_values() {
        let cases: [(&str, Vec<u8>, [f64; 2]); 14] = [
            ("'|b1'", vec![1, 0], [1.0, 0.0]),
            ("'|i1'", vec![0xff, 2], [-1.0, 2.0]),
            ("'>i2'", vec![0xff, 0xfe, 1, 0], [-2.0, 256.0]),
            ("'<i4'", [(-3_i32).to_le_bytes(), 7_i32.to_le_bytes()].concat(), [-3.0, 7.0]),
            ("'<i8'", [(-3_i64).to_le_bytes(), 7_i64.to_le_bytes()].concat(), [-3.0, 7.0]),
            ("'|u1'", vec![0, 255], [0.0, 255.0]),
            ("'<u2'", vec![1, 0, 0, 1], [1.0, 256.0]),
            ("'>u4'", vec![0, 0, 1, 0, 0, 0, 0, 9], [256.0, 9.0]),
            ("'<u8'", [u64::MAX.to_le_bytes(), 7_u64.to_le_bytes()].concat(), [u64::MAX as f64, 7.0]),
            ("'<f2'", vec![0x00, 0x3c, 0x00, 0xc4], [1.0, -4.0]),
            ("'>f2'", vec![0x3c, 0x00, 0xc4, 0x00], [1.0, -4.0]),
            ("'>f4'", [0.5_f32.to_be_bytes(), (-2.0_f32).to_be_bytes()].concat(), [0.5, -2.0]),
            ("'<f8'", [0.1_f64.to_le_bytes(), 1e300_f64.to_le_bytes()].concat(), [0.1, 1e300]),
            ("'>f8'", [0.1_f64.to_be_bytes(), 1e300_f64.to_be_bytes()].concat(), [0.1, 1e300]),
        ];
        for (kind, bytes, want) in cases {
            for version in 1..=3 {
                let file = npy(version, &described(kind, false, "(2,)"), &bytes);
                let array = read(&file, "").expect("sound");
                assert_eq!((array.shape.as_slice(), array.to_f64().as_slice()), (&[2][..], &want[..]), "{kind}");
            }
        }
    }

    #[test]
    fn fortran_order_is_put_in_rows() {
        // x[i, j, k] = 100 i + 10 j + k; the first index varies fastest.
        let (rows, columns, deep) = (2, 3, 4);
        let at = |i: usize, j: usize, k: usize| (100 * i + 10 * j + k) as i32;
        let bytes: Vec<u8> = (0..deep)
            .flat_map(|k| (0..columns).flat_map(move |j| (0..rows).flat_map(move |i| at(i, j, k).to_le_bytes())))
            .collect();
        let array = read(&npy(1, &described("'<i4'", true, "(2, 3, 4)"), &bytes), "").expect("sound");
        let want: Vec<i64> = (0..rows)
            .flat_map(|i| (0..columns).flat_map(move |j| (0..deep).map(move |k| i64::from(at(i, j, k)))))
            .collect();
        assert_eq!(array.values, ArrayValues::I64(want.into()));
    }

    #[test]
    fn only_the_named_array_is_read() {
        let x = npy(1, &described("'<f4'", false, "(1,)"), &2.5_f32.to_le_bytes());
        let objects = npy(1, &described("'|O'", false, "(1,)"), b"\x80\x04N.");
        let cut = npy(1, &described("'<f8'", false, "(3,)"), &[0; 9]);
        for method in [zip::CompressionMethod::Stored, zip::CompressionMethod::Deflated] {
            let bytes = zipped(&[("o.npy", &objects), ("cut.npy", &cut), ("x.npy", &x), ("notes", b"any")], method);
            assert_eq!(read(&bytes, "x").expect("sound").to_f64(), [2.5]);
            assert!(said(&bytes, "o").starts_with("is unsupported: array `o` is of type object (pickled); the types"));
            assert_eq!(
                said(&bytes, "cut"),
                "is damaged: array `cut`: it is cut short: shape [3] of float64 needs 24 bytes, and 9 are there"
            );
            assert_eq!(said(&bytes, "y"), "holds no array `y`; its arrays are o, cut, x");
            assert!(said(&bytes[..bytes.len() / 2], "x").starts_with("is no .npy and no .npz file: "));
        }
    }

    #[test]
    fn a_changed_byte_of_an_archive_is_noticed() {
        let x = npy(1, &described("'<f4'", false, "(2,)"), &[0; 8]);
        let mut bytes = zipped(&[("x.npy", &x)], zip::CompressionMethod::Stored);
        let values = bytes.windows(x.len()).position(|w| w == x).expect("stored") + x.len() - 1;
        bytes[values] ^= 1;
        assert!(said(&bytes, "x").starts_with("is damaged: array `x`: "), "{}", said(&bytes, "x"));
    }

    #[test]
    fn shapes_that_promise_more_than_there_is_are_damaged() {
        for (shape, kind) in
            [("(1000000000000, 6)", "'<f8'"), ("(4611686018427387904, 8, 8)", "'|u1'"), ("(5,)", "'|u1'")]
        {
            let file = npy(1, &described(kind, false, shape), &[0; 4]);
            assert!(said(&file, "").starts_with("is damaged: it"), "{}", said(&file, ""));
            let bytes = zipped(&[("x.npy", &file)], zip::CompressionMethod::Deflated);
            assert!(said(&bytes, "x").starts_with("is damaged: array `x`: it"), "{}", said(&bytes, "x"));
        }
        // Bytes after the values are ignored.
        assert_eq!(
            read(&npy(2, &described("'|u1'", false, "(2,)"), &[1, 2, 3]), "").expect("sound").to_f64(),
            [1.0, 2.0]
        );
        let long = npy(2, &" ".repeat(2 << 20), &[]);
        assert!(said(&long, "").contains("its header of 2097152 bytes is longer than 1048576"));
        assert!(said(b"\x93NUMPY\x09\x00", "").contains("it is of version 9 of the format; versions 1 to 3 are read"));
        assert!(said(b"\x93NUMPY\x01", "").contains("it is cut short"));
    }
}
