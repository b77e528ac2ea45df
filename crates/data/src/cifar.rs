//! CIFAR binary batches: records of one (CIFAR-10) or two (CIFAR-100) label bytes and 3072 bytes, the red, green and
//! blue planes of a 32x32 image, row by row.

use std::path::PathBuf;

use fintan_config::{Cifar, Image};
use image::{DynamicImage, RgbImage};

use crate::error::DataError;
use crate::fit::fit;
use crate::images::Images;

const SIDE: usize = 32;
const PLANE: usize = SIDE * SIDE;

pub(crate) fn load(cifar: &Cifar, wanted: &Image) -> Result<Images, DataError> {
    let mut files = Vec::new();
    for path in &cifar.files {
        if path.is_dir() {
            let mut inside: Vec<PathBuf> =
                fs_err::read_dir(path)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
            inside.retain(|p| p.extension().is_some_and(|e| e == "bin"));
            if inside.is_empty() {
                return Err(DataError::format(path, "is a folder without a `.bin` file"));
            }
            inside.sort();
            files.extend(inside);
        } else {
            files.push(path.clone());
        }
    }
    let record = cifar.labels + 3 * PLANE;
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for path in &files {
        let bytes = fs_err::read(path)?;
        if bytes.is_empty() || !bytes.len().is_multiple_of(record) {
            let message = format!(
                "is no CIFAR batch with {} label byte(s) a record: {} bytes are not a multiple of {record}",
                cifar.labels,
                bytes.len()
            );
            return Err(DataError::format(path, message));
        }
        for bytes in bytes.chunks_exact(record) {
            let (label, planes) = bytes.split_at(cifar.labels);
            labels.push(label[cifar.labels - 1]);
            let image = RgbImage::from_fn(SIDE as u32, SIDE as u32, |x, y| {
                let at = y as usize * SIDE + x as usize;
                image::Rgb([planes[at], planes[PLANE + at], planes[2 * PLANE + at]])
            });
            pixels.extend(fit(DynamicImage::ImageRgb8(image), wanted, path)?);
        }
    }
    let names: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
    Ok(Images::new(wanted, pixels, Some(labels), format!("CIFAR batches {} (32x32 RGB)", names.join(", "))))
}
