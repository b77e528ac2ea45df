//! What can be wrong with a file of arrays.

use std::path::PathBuf;

/// Why an array cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArrayError {
    /// The file system said no.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Another kind of file, or one whose end is missing.
    #[error("`{}` is no .npy and no .npz file: {message}", path.display())]
    NoArrays {
        /// The file.
        path: PathBuf,
        /// What was found.
        message: String,
    },
    /// A file that is cut short or contradicts itself.
    #[error("`{}` is damaged: {}{message}", path.display(), array(name, ": "))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The array; empty for the only one of an `.npy` file.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// A sound file of a kind that is not read.
    #[error("`{}` is unsupported: {}{message}", path.display(), subject(name))]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The array; empty for the only one of an `.npy` file.
        name: String,
        /// What it is, and what is read.
        message: String,
    },
    /// No array of this name.
    #[error("`{}` holds no array `{name}`; {}", path.display(), present(names))]
    Missing {
        /// The file.
        path: PathBuf,
        /// The array that was asked for.
        name: String,
        /// The arrays there are.
        names: Vec<String>,
    },
}

fn array(name: &str, after: &str) -> String {
    if name.is_empty() { String::new() } else { format!("array `{name}`{after}") }
}

/// What a message says something of.
fn subject(name: &str) -> String {
    if name.is_empty() { "it ".into() } else { array(name, " ") }
}

/// The names of a file's arrays as a half sentence.
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
