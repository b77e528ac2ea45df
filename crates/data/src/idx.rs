//! IDX files, the format of MNIST, Fashion-MNIST, KMNIST and EMNIST, plain or gzip.
//!
//! The format: `00 00 08 n`, then n big-endian sizes of 4 bytes, then the values as bytes.

use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;

use fintan_config::{Idx, Image};
use image::{DynamicImage, GrayImage};

use crate::bounds::{Room, check_pixels};
use crate::error::DataError;
use crate::fit::fit;
use crate::gzip;
use crate::images::Images;

pub(crate) fn load(idx: &Idx, wanted: &Image, room: Room) -> Result<Images, DataError> {
    let path = &idx.images;
    let Content { sizes, bytes, garbage } = read(path, 3, "images")?;
    let [count, height, width] = sizes[..] else { unreachable!("three sizes were read") };
    let mut notes = Vec::new();
    let mut note = |path: &Path, garbage: bool| {
        if garbage {
            notes.push(format!("bytes behind the gzip data of `{}` are ignored", path.display()));
        }
    };
    note(path, garbage);
    if count == 0 || height == 0 || width == 0 {
        return Err(DataError::format(path, format!("holds {count} images of {height}x{width}")));
    }
    let (h, w) = check_pixels(height, width).map_err(|message| DataError::format(path, message))?;
    room.admit(format_args!("`{}`", path.display()), count, wanted)?;
    let mut pixels = Vec::new();
    for image in bytes.chunks_exact(height * width) {
        let image = GrayImage::from_raw(w, h, image.to_vec()).expect("as many bytes as pixels");
        pixels.extend(fit(DynamicImage::ImageLuma8(image), wanted, path)?);
    }
    let labels = match &idx.labels {
        None => None,
        Some(path) => {
            let Content { sizes, bytes: labels, garbage } = read(path, 1, "labels")?;
            note(path, garbage);
            if sizes[0] != count {
                return Err(DataError::format(path, format!("holds {} labels for {count} images", sizes[0])));
            }
            Some(labels)
        }
    };
    let source = format!("IDX file `{}` ({height}x{width} grey)", path.display());
    let mut images = Images::new(wanted, pixels, labels, source);
    images.notes = notes;
    Ok(images)
}

/// The content of an IDX file of unsigned bytes.
struct Content {
    sizes: Vec<usize>,
    bytes: Vec<u8>,
    /// Whether bytes that are not gzip data follow the gzip data.
    garbage: bool,
}

/// Reads an IDX file with `axes` sizes, up to the length in its header and one byte more.
fn read(path: &Path, axes: usize, what: &str) -> Result<Content, DataError> {
    let mut file = BufReader::new(fs_err::File::open(path)?);
    if !file.fill_buf()?.starts_with(&gzip::MAGIC) {
        let (sizes, bytes) = content(&mut file, axes, what).map_err(|message| DataError::format(path, message))?;
        return Ok(Content { sizes, bytes, garbage: false });
    }
    let mut unpacked = gzip::Gunzip::new(file);
    let (sizes, bytes) = content(&mut unpacked, axes, what).map_err(|message| DataError::format(path, message))?;
    Ok(Content { sizes, bytes, garbage: unpacked.has_garbage() })
}

fn content(from: &mut impl io::Read, axes: usize, what: &str) -> Result<(Vec<usize>, Vec<u8>), String> {
    let failed = |e: io::Error| format!("is a broken or truncated gzip file: {e}");
    let needed = 4 + 4 * axes;
    let mut header = Vec::new();
    from.take(needed as u64).read_to_end(&mut header).map_err(failed)?;
    match header.get(..4) {
        Some([0, 0, 8, n]) if usize::from(*n) == axes => {}
        Some([0, 0, kind, n]) => {
            return Err(format!(
                "is an IDX file of type {kind:#04x} with {n} axes; {what} have type 0x08 and {axes} axes"
            ));
        }
        _ => return Err("is no IDX file: it does not begin with 00 00".into()),
    }
    if header.len() < needed {
        return Err(format!("is truncated: {} bytes, the header alone has {needed}", header.len()));
    }
    let (sizes, _) = header[4..].as_chunks::<4>();
    let sizes: Vec<usize> = sizes.iter().map(|s| u32::from_be_bytes(*s) as usize).collect();
    let count = sizes.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
    let Some(count) = count.filter(|&n| n < isize::MAX as usize) else {
        return Err(format!("is truncated or damaged: its header {sizes:?} needs more bytes than can be"));
    };
    // The extra byte shows whether the file is too long, and makes gzip compare its checksum.
    let mut bytes = Vec::new();
    from.take(count as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    let (found, expected) = (needed + bytes.len(), needed + count);
    if found > expected {
        return Err(format!("is too long: more than the {expected} bytes that its header {sizes:?} needs"));
    }
    if found < expected {
        return Err(format!("is truncated: {found} bytes where its header {sizes:?} needs {expected}"));
    }
    Ok((sizes, bytes))
}
