//! Array files between stages: `.npz` files, written completely or not at all.

use std::path::Path;

use fintan_arrays::{Array, ArrayError, ArrayFile};

use crate::run_dir::RunError;
use crate::whole::write_whole_with;

/// Writes named arrays as an `.npz` file, completely or not at all; equal arrays give equal bytes.
///
/// ```
/// use fintan_artifact::{Array, read_arrays, write_npz};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("a.npz");
/// write_npz(&path, &[("x", Array::f64(&[2], vec![1.0, 2.0]))])?;
/// assert_eq!(read_arrays(&path)?, [("x".to_owned(), Array::f64(&[2], vec![1.0, 2.0]))]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Errors of the file system.
pub fn write_npz(path: &Path, arrays: &[(&str, Array)]) -> Result<(), RunError> {
    write_whole_with(path, |file| fintan_arrays::write_npz(file, arrays))
}

/// The arrays of an `.npz` file in their order in the file, or the unnamed array of an `.npy` file.
///
/// This function is for files of this program, which are read as a whole. Arrays of unsupported types (strings, objects)
/// that others have added are skipped; a reader that needs such an array finds that it is missing.
///
/// # Errors
/// A file that is neither `.npz` nor `.npy`, or is truncated or damaged.
pub fn read_arrays(path: &Path) -> Result<Vec<(String, Array<'static>)>, RunError> {
    let mut file = ArrayFile::open(path)?;
    let alone = matches!(file.names(), [_]);
    let mut arrays = Vec::new();
    for name in file.names().to_vec() {
        match file.read(&name) {
            Ok(array) => arrays.push((name, array)),
            Err(ArrayError::Unsupported { .. }) if !alone => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(arrays)
}
