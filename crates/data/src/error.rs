//! Errors of data sets.

use std::path::PathBuf;

use fintan_config::Bytes;

/// The error for a data set that cannot be used.
///
/// ```
/// use fintan_config::{DataSource, Image, Idx};
/// use fintan_data::{DataError, Images};
///
/// let source = DataSource::Idx(Idx { images: "nowhere.gz".into(), labels: None });
/// let error = Images::load(&source, &Image::default(), None).unwrap_err();
/// assert!(matches!(error, DataError::Io(_)), "{error}");
/// ```
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// An error of the file system.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The file violates its format.
    #[error("`{}` {message}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What was found and what is needed.
        message: String,
    },
    /// The folder or archive holds no readable image.
    #[error("`{}` holds no readable PNG or JPEG image{}", path.display(), because(first.as_deref(), left_out))]
    NoImage {
        /// The folder or archive.
        path: PathBuf,
        /// The first file that could not be read, and why.
        first: Option<Box<(PathBuf, String)>>,
        /// Messages about the files that are left out.
        left_out: Vec<String>,
    },
    /// An array cannot be read.
    #[error(transparent)]
    Arrays(fintan_arrays::ArrayError),
    /// An image cannot be brought to the wanted size.
    #[error("`{}` is {width}x{height}, which `image.fit = \"{fit}\"` cannot bring to {size}x{size}", path.display())]
    Fit {
        /// The file.
        path: PathBuf,
        /// Its columns.
        width: u32,
        /// Its rows.
        height: u32,
        /// The value of `image.fit`.
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
        /// A description of the data set.
        origin: String,
        /// Number of images found.
        count: usize,
        /// Wanted rows and columns.
        size: usize,
        /// Wanted channels.
        channels: usize,
        /// Bytes that the images need.
        needed: Bytes,
        /// Bytes that are free.
        free: Bytes,
    },
    /// Labels do not fit the task.
    #[error("{origin} {message}")]
    Labels {
        /// A description of the data set.
        origin: String,
        /// What was found and what is needed.
        message: String,
    },
    /// The source cannot provide what the configuration asks for.
    #[error("{0}")]
    Refused(String),
    /// The data set has fewer images than one batch.
    #[error("the data set holds {found} images, fewer than one batch of {needed}")]
    TooFew {
        /// Number of images found.
        found: usize,
        /// Number of images in a batch.
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
