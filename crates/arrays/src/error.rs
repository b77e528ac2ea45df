//! Errors of array files.

use std::path::PathBuf;

/// The error for an array that cannot be read.
///
/// ```
/// use fintan_arrays::{Array, ArrayError, ArrayFile, write_npz};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("a.npz");
/// write_npz(fs_err::File::create(&path)?, &[("x", Array::integers([7]))])?;
/// let error = ArrayFile::open(&path)?.read("y").unwrap_err();
/// assert!(matches!(error, ArrayError::Missing { names, .. } if names == ["x"]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
pub enum ArrayError {
    /// An error of the file system.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A file of another format, or a file whose end is missing.
    #[error("`{}` is no .npy and no .npz file: {message}", path.display())]
    NoArrays {
        /// The file.
        path: PathBuf,
        /// What was found.
        message: String,
    },
    /// A file that is truncated or contradicts itself.
    #[error("`{}` is damaged: {}{message}", path.display(), array(name, ": "))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The array; empty for the only one of an `.npy` file.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// A valid file with content that this crate does not read.
    #[error("`{}` is unsupported: {}{message}", path.display(), subject(name))]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The array; empty for the only one of an `.npy` file.
        name: String,
        /// What the array contains, and what can be read.
        message: String,
    },
    /// The file has no array of this name.
    #[error("`{}` holds no array `{name}`; {}", path.display(), present(names))]
    Missing {
        /// The file.
        path: PathBuf,
        /// The array that was asked for.
        name: String,
        /// The names of its arrays.
        names: Vec<String>,
    },
}

fn array(name: &str, after: &str) -> String {
    if name.is_empty() { String::new() } else { format!("array `{name}`{after}") }
}

/// The subject of a message: the array, or the file for an array without a name.
fn subject(name: &str) -> String {
    if name.is_empty() { "it ".into() } else { array(name, " ") }
}

/// The names of a file's arrays, as the second half of a sentence.
fn present(names: &[String]) -> String {
    const SHOWN: usize = 12;
    match names {
        [] => "it holds none".into(),
        [only] if only.is_empty() => "its one array has no name".into(),
        names => {
            let more = if names.len() > SHOWN { ", .." } else { "" };
            format!("its arrays are {}{more}", names[..names.len().min(SHOWN)].join(", "))
        }
    }
}
