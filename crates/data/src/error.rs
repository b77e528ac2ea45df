//! What can be wrong with a data set.

use std::path::PathBuf;

use fintan_config::Bytes;

/// Why a data set cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The file system said no.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The file is not of its format.
    #[error("`{}` {message}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What was found and what is needed.
        message: String,
    },
    /// No image at all.
    #[error("`{}` holds no readable PNG or JPEG image{}", path.display(), because(first.as_deref(), left_out))]
    NoImage {
        /// The folder or archive.
        path: PathBuf,
        /// The first file that could not be read, and why.
        first: Option<Box<(PathBuf, String)>>,
        /// What is left out, in words.
        left_out: Vec<String>,
    },
    /// An array cannot be read.
    #[error(transparent)]
    Arrays(fintan_arrays::ArrayError),
    /// An image does not fit the wanted size.
    #[error("`{}` is {width}x{height}, which `image.fit = \"{fit}\"` cannot bring to {size}x{size}", path.display())]
    Fit {
        /// The file.
        path: PathBuf,
        /// Its columns.
        width: u32,
        /// Its rows.
        height: u32,
        /// The setting.
        fit: &'static str,
        /// Wanted rows and columns.
        size: usize,
    },
    /// The images do not fit into memory at the wanted size.
    #[error(
        "{origin} holds {count} images; as {size}x{size} of {channels} channel(s) (`image.size`) they need {needed} of memory, \
         but {free} is free"
    )]
    Memory {
        /// The data set, in words.
        origin: String,
        /// Images found.
        count: usize,
        /// Wanted rows and columns.
        size: usize,
        /// Wanted channels.
        channels: usize,
        /// What they take.
        needed: Bytes,
        /// What there is.
        free: Bytes,
    },
    /// Labels do not fit the task.
    #[error("{origin} {message}")]
    Labels {
        /// The data set, in words.
        origin: String,
        /// What was found and what is needed.
        message: String,
    },
    /// The source does not hold what it is asked for.
    #[error("{0}")]
    Refused(String),
    /// Fewer images than a batch.
    #[error("the data set holds {found} images, fewer than one batch of {needed}")]
    TooFew {
        /// Images found.
        found: usize,
        /// Images of a batch.
        needed: usize,
    },
}

fn because(first: Option<&(PathBuf, String)>, left_out: &[String]) -> String {
    let failed = first.map(|f| format!(" (the first of those that failed: `{}`: {})", f.0.display(), f.1));
    let left_out = (!left_out.is_empty()).then(|| format!("; left out are {}", left_out.join("; ")));
    failed.into_iter().chain(left_out).collect()
}

impl DataError {
    pub(crate) fn format(path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self::Format { path: path.into(), message: message.into() }
    }
}
