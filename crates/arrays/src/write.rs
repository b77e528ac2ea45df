//! Writes arrays to files.

use std::io::{self, Seek, Write};

use npyz::WriterBuilder as _;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::array::{Array, ArrayValues};

/// Writes named arrays as an `.npz` file; equal arrays give equal bytes.
///
/// # Errors
/// Errors of the writer, or a number of values that disagrees with the shape.
pub fn write_npz(to: impl Write + Seek, arrays: &[(&str, Array)]) -> io::Result<()> {
    let mut archive = ZipWriter::new(to);
    // Uncompressed, with the oldest date that zip allows: the file does not depend on the time of writing.
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
        ArrayValues::F32(values) => write_values(to, &array.shape, values, f32::to_le_bytes),
        ArrayValues::F64(values) => write_values(to, &array.shape, values, f64::to_le_bytes),
        ArrayValues::I64(values) => write_values(to, &array.shape, values, i64::to_le_bytes),
    }
}

/// Number of values that are converted to bytes and written at a time.
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
    // In runs, because one call per value would take longer than computing an entry of a large kernel.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::ArrayFile;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.npz");
        let arrays = [
            ("single", Array::f32(&[2, 0, 3], vec![])),
            ("cube", Array::f32(&[1, 2, 3], vec![1.0, -2.0, 3.5, 4.0, 5.0, f32::MAX])),
            ("number", Array::f64(&[], vec![0.1])),
            ("list", Array::integers([7, 8])),
        ];
        let mut files = Vec::new();
        for _ in 0..2 {
            write_npz(fs_err::File::create(&path).expect("made"), &arrays).expect("written");
            files.push(fs_err::read(&path).expect("read"));
            let mut file = ArrayFile::open(&path).expect("opened");
            for (name, array) in &arrays {
                assert_eq!(file.read(name).expect("read"), *array, "{name}");
            }
        }
        assert_eq!(files[0], files[1]);
        let wrong = write_npz(io::Cursor::new(Vec::new()), &[("x", Array::f64(&[2], vec![0.0]))]);
        assert!(wrong.is_err_and(|e| e.to_string().contains("1 values for shape [2]")));
    }
}
