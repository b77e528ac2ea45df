//! Arrays to files.

use std::io::{self, Seek, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::array::{Array, Values};
use crate::header::written;

/// Writes named arrays as an `.npz` file; equal arrays give equal bytes.
///
/// # Errors
/// Those of the writer; values that are not as many as the shape says.
pub fn write_npz(to: impl Write + Seek, arrays: &[(&str, Array)]) -> io::Result<()> {
    let mut archive = ZipWriter::new(to);
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
}

fn write_npy(to: &mut impl Write, array: &Array) -> io::Result<()> {
    match &array.values {
        Values::F32(values) => write_values(to, "<f4", &array.shape, values, f32::to_le_bytes),
        Values::F64(values) => write_values(to, "<f8", &array.shape, values, f64::to_le_bytes),
        Values::I64(values) => write_values(to, "<i8", &array.shape, values, i64::to_le_bytes),
    }
}

/// Values that are turned into bytes and passed on at a time.
const RUN: usize = 1 << 14;

fn write_values<T: Copy, const B: usize>(
    to: &mut impl Write,
    kind: &str,
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
    to.write_all(&written(kind, shape))?;
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
