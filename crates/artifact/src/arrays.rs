//! Arrays as NumPy writes them: `.npy`, and `.npz` with a name for each.

use std::borrow::Cow;
use std::io::{self, Cursor, Read, Seek, Write};
use std::path::Path;

use npyz::{DType, NpyFile, TypeChar, TypeStr, WriterBuilder as _};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::run_dir::RunError;
use crate::whole::write_whole_with;

/// An array, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Array<'a> {
    /// Lengths of its axes; none for a single number.
    pub shape: Vec<usize>,
    /// Its values.
    pub values: Values<'a>,
}

/// Values of an array, perhaps borrowed: kernels are too large to copy.
#[derive(Debug, Clone, PartialEq)]
pub enum Values<'a> {
    /// `float32`
    F32(Cow<'a, [f32]>),
    /// `float64`
    F64(Cow<'a, [f64]>),
    /// `int64`
    I64(Cow<'a, [i64]>),
}

impl<'a> Array<'a> {
    /// An array of `float64`.
    #[must_use]
    pub fn f64(shape: &[usize], values: impl Into<Cow<'a, [f64]>>) -> Self {
        Self { shape: shape.to_vec(), values: Values::F64(values.into()) }
    }

    /// An array of `float32`.
    #[must_use]
    pub fn f32(shape: &[usize], values: impl Into<Cow<'a, [f32]>>) -> Self {
        Self { shape: shape.to_vec(), values: Values::F32(values.into()) }
    }

    /// A list of `int64`.
    #[must_use]
    pub fn integers(values: impl IntoIterator<Item = usize>) -> Self {
        let values: Vec<i64> = values.into_iter().map(|n| n as i64).collect();
        Self { shape: vec![values.len()], values: Values::I64(values.into()) }
    }

    /// Its values as f64.
    #[must_use]
    pub fn to_f64(&self) -> Vec<f64> {
        match &self.values {
            Values::F32(values) => values.iter().map(|&v| v.into()).collect(),
            Values::F64(values) => values.to_vec(),
            Values::I64(values) => values.iter().map(|&v| v as f64).collect(),
        }
    }
}

/// Writes named arrays as an `.npz` file, whole or not at all; equal arrays give equal bytes.
///
/// # Errors
/// Those of the file system.
pub fn write_npz(path: &Path, arrays: &[(&str, Array)]) -> Result<(), RunError> {
    write_whole_with(path, |file| {
        let mut archive = ZipWriter::new(file);
        // Stored, with zip's own oldest date: nothing in the file depends on when it was written.
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(zip::DateTime::default())
            .large_file(true);
        for (name, array) in arrays {
            archive.start_file(format!("{name}.npy"), options)?;
            write_npy(&mut archive, array)?;
        }
        archive.finish()?;
        Ok(())
    })
}

fn write_npy(to: &mut impl Write, array: &Array) -> io::Result<()> {
    match &array.values {
        Values::F32(values) => write_values(to, &array.shape, values, f32::to_le_bytes),
        Values::F64(values) => write_values(to, &array.shape, values, f64::to_le_bytes),
        Values::I64(values) => write_values(to, &array.shape, values, i64::to_le_bytes),
    }
}

/// Values that are turned into bytes and passed on at a time.
const RUN: usize = 1 << 14;

fn write_values<T: npyz::AutoSerialize + Copy, const B: usize>(
    to: &mut impl Write,
    shape: &[usize],
    values: &[T],
    bytes: impl Fn(T) -> [u8; B],
) -> io::Result<()> {
    if shape.iter().product::<usize>() != values.len() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{} values for shape {shape:?}", values.len()),
        ));
    }
    let shape: Vec<u64> = shape.iter().map(|&n| n as u64).collect();
    npyz::WriteOptions::<T>::new().default_dtype().shape(&shape).writer(&mut *to).write_header_only()?;
    // In runs: a call a value takes longer than computing a large kernel's entry does.
    let mut buffer = vec![0; values.len().min(RUN) * B];
    for run in values.chunks(RUN) {
        let buffer = &mut buffer[..run.len() * B];
        for (to, &value) in buffer.as_chunks_mut().0.iter_mut().zip(run) {
            *to = bytes(value);
        }
        to.write_all(buffer)?;
    }
    Ok(())
}

/// The arrays of an `.npz` file in the order in which they stand there, or the one of an `.npy` file, which has no name.
///
/// # Errors
/// A file that is neither, is cut short, or holds other things than numbers.
pub fn read_arrays(path: &Path) -> Result<Vec<(String, Array<'static>)>, RunError> {
    let damaged = |message: String| RunError::Damaged { path: path.into(), message };
    let bytes = fs_err::read(path)?;
    if bytes.starts_with(b"\x93NUMPY") {
        return Ok(vec![(String::new(), read_npy(bytes.as_slice()).map_err(damaged)?)]);
    }
    read_npz(Cursor::new(bytes)).map_err(damaged)
}

fn read_npz(file: impl Read + Seek) -> Result<Vec<(String, Array<'static>)>, String> {
    let mut archive = ZipArchive::new(file).map_err(|e| format!("it is no .npy and no .npz file: {e}"))?;
    let mut arrays = Vec::with_capacity(archive.len());
    for i in 0..archive.len() {
        let member = archive.by_index(i).map_err(|e| e.to_string())?;
        let name = member.name().map_err(|e| e.to_string())?.trim_end_matches(".npy").to_owned();
        let array = read_npy(member).map_err(|e| format!("array `{name}`: {e}"))?;
        arrays.push((name, array));
    }
    Ok(arrays)
}

fn read_npy(from: impl Read) -> Result<Array<'static>, String> {
    let file = NpyFile::new(from).map_err(|e| e.to_string())?;
    let shape: Vec<usize> = file.shape().iter().map(|&n| n as usize).collect();
    let by_columns = file.order() == npyz::Order::Fortran;
    let dtype = file.dtype();
    let values = match plain(&dtype) {
        Some((TypeChar::Float, 4)) => Values::F32(file.into_vec().map_err(|e| e.to_string())?.into()),
        Some((TypeChar::Float, 8)) => Values::F64(file.into_vec().map_err(|e| e.to_string())?.into()),
        Some((TypeChar::Int, 8)) => Values::I64(file.into_vec().map_err(|e| e.to_string())?.into()),
        _ => return Err(format!("its type must be float32, float64 or int64, got {}", dtype.descr())),
    };
    if by_columns && shape.len() > 1 {
        return Err("it is stored by columns (Fortran order); save numpy.ascontiguousarray(x)".into());
    }
    Ok(Array { shape, values })
}

fn plain(dtype: &DType) -> Option<(TypeChar, u64)> {
    let DType::Plain(text) = dtype else { return None };
    let text: &TypeStr = text;
    Some((text.type_char(), text.size_field()))
}
