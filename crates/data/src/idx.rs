//! IDX files, the format of MNIST, Fashion-MNIST, KMNIST and EMNIST, plain or gzip.
//!
//! `00 00 08 n`, then n big-endian sizes of 4 bytes, then the bytes.

use std::io::Read as _;
use std::path::Path;

use fintan_config::{Idx, Image};
use image::{DynamicImage, GrayImage};

use crate::error::DataError;
use crate::fit::fit;
use crate::images::Images;

pub(crate) fn load(idx: &Idx, wanted: &Image) -> Result<Images, DataError> {
    let path = &idx.images;
    let (sizes, bytes) = read(path, 3, "images")?;
    let [count, height, width] = sizes[..] else { unreachable!("three sizes were read") };
    if count == 0 || height == 0 || width == 0 {
        return Err(DataError::format(path, format!("holds {count} images of {height}x{width}")));
    }
    let (w, h) = (u32::try_from(width).expect("four bytes"), u32::try_from(height).expect("four bytes"));
    let mut pixels = Vec::with_capacity(count * wanted.size * wanted.size * wanted.channels);
    for image in bytes.chunks_exact(height * width) {
        let image = GrayImage::from_raw(w, h, image.to_vec()).expect("as many bytes as pixels");
        pixels.extend(fit(DynamicImage::ImageLuma8(image), wanted, path)?);
    }
    let labels = match &idx.labels {
        None => None,
        Some(path) => {
            let (sizes, labels) = read(path, 1, "labels")?;
            if sizes[0] != count {
                return Err(DataError::format(path, format!("holds {} labels for {count} images", sizes[0])));
            }
            Some(labels)
        }
    };
    Ok(Images::new(wanted, pixels, labels, format!("IDX file `{}` ({height}x{width} grey)", path.display())))
}

/// Sizes and bytes of an IDX file of unsigned bytes with `axes` sizes.
fn read(path: &Path, axes: usize, what: &str) -> Result<(Vec<usize>, Vec<u8>), DataError> {
    let raw = fs_err::read(path)?;
    let bytes = if raw.starts_with(&[0x1f, 0x8b]) {
        let mut plain = Vec::new();
        flate2::read::MultiGzDecoder::new(&raw[..])
            .read_to_end(&mut plain)
            .map_err(|e| DataError::format(path, format!("is a broken or truncated gzip file: {e}")))?;
        plain
    } else {
        raw
    };
    let header = 4 + 4 * axes;
    match bytes.get(..4) {
        Some([0, 0, 8, n]) if usize::from(*n) == axes => {}
        Some([0, 0, kind, n]) => {
            let message =
                format!("is an IDX file of type {kind:#04x} with {n} axes; {what} have type 0x08 and {axes} axes");
            return Err(DataError::format(path, message));
        }
        _ => return Err(DataError::format(path, "is no IDX file: it does not begin with 00 00")),
    }
    if bytes.len() < header {
        return Err(DataError::format(
            path,
            format!("is truncated: {} bytes, the header alone has {header}", bytes.len()),
        ));
    }
    let (sizes, _) = bytes[4..header].as_chunks::<4>();
    let sizes: Vec<usize> = sizes.iter().map(|s| u32::from_be_bytes(*s) as usize).collect();
    let count = sizes.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
    let expected = count.and_then(|n| n.checked_add(header));
    if expected != Some(bytes.len()) {
        let expected = expected.map_or("more than can be".into(), |n| n.to_string());
        let message =
            format!("is truncated or too long: {} bytes where its header {sizes:?} needs {expected}", bytes.len());
        return Err(DataError::format(path, message));
    }
    Ok((sizes, bytes[header..].to_vec()))
}
