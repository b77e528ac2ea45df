//! CIFAR binary batches: records of one (CIFAR-10) or two (CIFAR-100) label bytes and 3072 bytes, the red, green and
//! blue planes of a 32x32 image, row by row.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use fintan_config::{Cifar, Image};
use image::{DynamicImage, RgbImage};

use crate::bounds::Room;
use crate::error::DataError;
use crate::fit::fit;
use crate::images::Images;
use crate::left_out::{LeftOut, Reason};

const SIDE: usize = 32;
const PLANE: usize = SIDE * SIDE;

/// Largest number of bytes read from a file of class names.
const NAMES: u64 = 1 << 16;

pub(crate) fn load(cifar: &Cifar, wanted: &Image, room: Room) -> Result<Images, DataError> {
    let (mut files, mut left_out) = (Vec::new(), LeftOut::default());
    for path in &cifar.files {
        if path.is_dir() {
            let Batches { train, test } = Batches::of(path)?;
            files.extend(train);
            for path in test {
                left_out.push(Reason::Test, path);
            }
        } else {
            files.push(path.clone());
        }
    }
    let record = cifar.labels + 3 * PLANE;
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for path in &files {
        let mut batch = std::io::BufReader::new(fs_err::File::open(path)?);
        let mut bytes = vec![0; record];
        let mut read = 0;
        loop {
            let n = fill(&mut batch, &mut bytes)?;
            read += n;
            if n == 0 && read > 0 {
                break;
            }
            if n < record {
                let message = format!(
                    "is no CIFAR batch with {} label byte(s) a record: {read} bytes are not a multiple of {record}",
                    cifar.labels
                );
                return Err(DataError::format(path, message));
            }
            room.admit(format_args!("`{}`", path.display()), labels.len() + 1, wanted)?;
            let (label, planes) = bytes.split_at(cifar.labels);
            labels.push(label[cifar.labels - 1]);
            let image = RgbImage::from_fn(SIDE as u32, SIDE as u32, |x, y| {
                let at = y as usize * SIDE + x as usize;
                image::Rgb([planes[at], planes[PLANE + at], planes[2 * PLANE + at]])
            });
            pixels.extend(fit(DynamicImage::ImageRgb8(image), wanted, path)?);
        }
    }
    let (classes, note) = names(&files, cifar.labels, &labels)?;
    let names: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
    let source = format!("CIFAR batches {} (32x32 RGB)", names.join(", "));
    let mut images = Images::new(wanted, pixels, Some(labels), source);
    images.classes = classes;
    images.left_out = left_out;
    images.notes.extend(note);
    Ok(images)
}

/// Reads until a record is full or the file ends.
fn fill(from: &mut impl std::io::Read, record: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < record.len() {
        match from.read(&mut record[filled..])? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}

/// The batches in a folder.
struct Batches {
    train: Vec<PathBuf>,
    test: Vec<PathBuf>,
}

impl Batches {
    /// The training batches: `data_batch_*.bin` (CIFAR-10) and `train.bin` (CIFAR-100). If there are none, all batches that
    /// are not test batches.
    fn of(folder: &Path) -> Result<Self, DataError> {
        let mut batches = Vec::new();
        for entry in fs_err::read_dir(folder)? {
            let path = entry?.path();
            // Skips pipes, and files that macOS creates beside other files.
            if is_batch(&path) && path.is_file() {
                batches.push(path);
            }
        }
        if batches.is_empty() {
            return Err(DataError::format(folder, "is a folder without a `.bin` file"));
        }
        batches.sort();
        let (test, others): (Vec<_>, Vec<_>) = batches.into_iter().partition(|path| name(path).starts_with("test"));
        let (named, unnamed): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|path| name(path).starts_with("data_batch") || name(path) == "train.bin");
        if named.is_empty() && unnamed.is_empty() {
            let message = "holds test batches alone; name the file itself in `data.cifar.files` to read it";
            return Err(DataError::format(folder, message));
        }
        Ok(Self { train: if named.is_empty() { unnamed } else { named }, test })
    }
}

/// Whether a folder holds CIFAR batches by their names, or other `.bin` files and neither pictures nor folders.
#[must_use]
pub fn holds_batches(folder: &Path) -> bool {
    let Ok(entries) = fs_err::read_dir(folder) else { return false };
    let paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    let known = |path: &PathBuf| {
        is_batch(path)
            && ["data_batch", "test_batch", "train.bin", "test.bin"].iter().any(|start| name(path).starts_with(start))
    };
    let picture = |path: &PathBuf| {
        let extension = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
        matches!(extension.as_deref(), Some("png" | "jpg" | "jpeg")) || path.is_dir()
    };
    paths.iter().any(known) || paths.iter().any(|path| is_batch(path)) && !paths.iter().any(picture)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Whether a file name is that of a batch.
fn is_batch(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "bin") && !name(path).starts_with('.')
}

/// Names of the classes, from the file beside the first batch. An error with the reason if not every label has a name.
fn names(
    files: &[PathBuf],
    labels_a_record: usize,
    labels: &[u8],
) -> Result<(Option<Vec<String>>, Option<String>), DataError> {
    let file = if labels_a_record == 1 { "batches.meta.txt" } else { "fine_label_names.txt" };
    let Some(path) = files.first().map(|path| path.with_file_name(file)).filter(|path| path.is_file()) else {
        return Ok((None, None));
    };
    let mut text = Vec::new();
    fs_err::File::open(&path)?.take(NAMES).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let names: Vec<String> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    let largest = labels.iter().max().copied().unwrap_or(0);
    if names.len() <= usize::from(largest) {
        let note = format!("`{}` has {} names, too few for the label {largest}", path.display(), names.len());
        return Ok((None, Some(note)));
    }
    Ok((Some(names), None))
}
