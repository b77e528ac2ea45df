//! Arrays that stages leave for others: `.npz` files, whole or not there.

use std::path::Path;

use fintan_arrays::{Array, ArrayError, ArrayFile};

use crate::run_dir::RunError;
use crate::whole::write_whole_with;

/// Writes named arrays as an `.npz` file, whole or not at all; equal arrays give equal bytes.
///
/// # Errors
/// Those of the file system.
pub fn write_npz(path: &Path, arrays: &[(&str, Array)]) -> Result<(), RunError> {
    write_whole_with(path, |file| fintan_arrays::write_npz(file, arrays))
}

/// The arrays of an `.npz` file in the order in which they stand there, or the one of an `.npy` file, which has no name.
///
/// For files of our own, which are wanted whole. Somebody may have added arrays of types that are not read (strings, objects):
/// these are passed over, so that whoever needs one of them finds that it is not there.
///
/// # Errors
/// A file that is neither, or is cut short or damaged.
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
