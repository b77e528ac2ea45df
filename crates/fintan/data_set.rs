//! A data set without a network: which images a path holds, their classes, and a preview.

use std::path::{Path, PathBuf};

use fintan_artifact::RunDir;
use fintan_config::{Cifar, DataSource, Files, Fit, Idx, Image, Npy, Npz, Reader, Subject};
use fintan_data::{Images, Order, holds_batches, looks_like_tar};
use fintan_report::grid_png;

use crate::error::Error;

/// Why no images were found at a path.
///
/// ```
/// let error = fintan::parts::find_images("nowhere".as_ref(), 32, 3).unwrap_err();
/// assert!(matches!(error, fintan::Error::DataSet(fintan::DataSetError::Missing(_))));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataSetError {
    /// The path does not exist.
    #[error("`{}` does not exist", .0.display())]
    Missing(PathBuf),
    /// The configuration describes a network without data.
    #[error("`{}` has no images as data", .0.display())]
    NoImages(PathBuf),
    /// The data of the configuration are not images.
    #[error("`{}`: {reason}", path.display())]
    OtherData {
        /// The configuration.
        path: PathBuf,
        /// What the data are.
        reason: String,
    },
    /// Images cannot be brought to the requested form.
    #[error("images have 1 or 3 channels, and 1 to 4096 rows")]
    Form,
}

/// The source of images at a path, and their form after loading. The form is `size` rows and columns and `channels` channels,
/// unless the path is a configuration (`.toml`) or a run directory, which has its own form.
///
/// # Errors
/// Fails if nothing is at the path, if the configuration is wrong or has no images as data, or if images cannot have this form.
pub fn find_images(path: &Path, size: usize, channels: usize) -> Result<(DataSource, Image), Error> {
    if !path.exists() {
        return Err(DataSetError::Missing(path.into()).into());
    }
    // A run directory holds pictures too, but the data set of a run is the one that it was trained on.
    let path = RunDir::open(path).map_or_else(|_| path.to_owned(), |run| run.resolved_config());
    if path.extension().is_some_and(|e| e == "toml") {
        return match Subject::load(&path, &[])? {
            Subject::Gan(experiment) => Ok((experiment.settings.data, experiment.settings.image)),
            Subject::Network(network) => {
                let data = network.settings.data.ok_or_else(|| DataSetError::NoImages(path.clone()))?;
                let refused = || DataSetError::OtherData { path, reason: Reader::Images.refusal(data.kind()) };
                let image = data.image(network.network.input).ok_or_else(refused)?;
                Ok((data, image))
            }
        };
    }
    if ![1, 3].contains(&channels) || !(1..=4096).contains(&size) {
        return Err(DataSetError::Form.into());
    }
    let image = Image { size, channels, fit: Fit::Resize, background: 255, flip: false };
    let is = |extension: &str| path.extension().is_some_and(|e| e.eq_ignore_ascii_case(extension));
    let data = if path.is_dir() && holds_batches(&path) || is("bin") {
        // The names of CIFAR-100's fine labels show whether its records are those of CIFAR-10.
        let labels = if path.join("fine_label_names.txt").is_file() { 2 } else { 1 };
        DataSource::Cifar(Cifar { files: vec![path], labels })
    } else if path.is_dir() {
        DataSource::Folder(Files { path })
    } else if is("tar") || is("tgz") || is_packed_tar(&path) || looks_like_tar(&path)? {
        DataSource::Tar(Files { path })
    } else if is("zip") {
        DataSource::Zip(Files { path })
    } else if is("npy") {
        DataSource::Npy(Npy { path, labels: None, range: None })
    } else if is("npz") {
        DataSource::Npz(Npz { path, name: None, labels: None, range: None })
    } else {
        DataSource::Idx(Idx { images: path, labels: None })
    };
    Ok((data, image))
}

/// Whether a file name ends in `.tar` and one more ending, such as `.tar.gz`.
fn is_packed_tar(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| Path::new(stem).extension().is_some_and(|e| e.eq_ignore_ascii_case("tar")))
}

/// The number of images of each class, from label 0 to the largest label; empty for data without labels.
#[must_use]
pub fn class_counts(images: &Images) -> Option<Vec<usize>> {
    let labels = images.labels.as_ref()?;
    let mut counts = vec![0; labels.iter().max().map_or(0, |&most| usize::from(most) + 1)];
    for &label in labels {
        counts[usize::from(label)] += 1;
    }
    Some(counts)
}

/// A PNG of at most `n` images as training sees them, chosen by a fixed shuffle.
///
/// # Errors
/// A picture that cannot be encoded.
pub fn preview_png(images: &Images, n: usize) -> Result<Vec<u8>, Error> {
    let shown = Order::new(0, images.len(), 0).take(n.clamp(1, images.len()));
    let values: Vec<f32> = shown.iter().flat_map(|&i| images.bytes(i)).map(|&b| f32::from(b) / 127.5 - 1.0).collect();
    let columns = (shown.len() as f64).sqrt().ceil() as usize;
    Ok(grid_png(&values, images.size, images.channels, columns)?)
}
