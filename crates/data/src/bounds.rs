//! Upper bounds for sizes that a file declares.
//!
//! | what | at most |
//! | --- | --- |
//! | pixels of an image before it is brought to size | 2^26, as of 8192x8192: four times the largest `image.size` |
//! | bytes of a picture file, unpacked | 2^28 |
//! | bytes that gzip gives | 2^28 and 200 times those it has read |
//! | bytes of a path in an archive | 2^12 |
//!
//! IDX files are read up to the length in their header, members of archives up to their declared size.

use std::fmt;

use fintan_config::{Bytes, Image};

use crate::error::DataError;

/// Largest number of pixels of an image.
const PIXELS: usize = 1 << 26;

/// Images with at least this many pixels are decoded one at a time.
pub(crate) const LARGE: u64 = 1 << 22;

/// Largest size of a picture file in bytes.
pub(crate) const FILE: u64 = 1 << 28;

/// Bytes that unpacking gzip may produce in any case.
pub(crate) const GZIP_FREE: u64 = 1 << 28;

/// Bytes that unpacking gzip may produce for each byte read: ten times what the headers in an archive of tiny pictures need.
pub(crate) const GZIP_RATIO: u64 = 200;

/// Largest length of a path in bytes.
pub(crate) const PATH: usize = 1 << 12;

/// Bytes of memory that images may use; `None` if the system does not report it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room(pub(crate) Option<f64>);

impl Room {
    /// Refuses images that do not fit into memory at the wanted size, before any is allocated.
    pub(crate) fn admit(self, origin: impl fmt::Display, count: usize, wanted: &Image) -> Result<(), DataError> {
        let needed = count as f64 * (wanted.size * wanted.size * wanted.channels) as f64;
        let Some(free) = self.0.filter(|&free| needed > free) else { return Ok(()) };
        let (size, channels, origin) = (wanted.size, wanted.channels, origin.to_string());
        Err(DataError::Memory { origin, count, size, channels, needed: Bytes(needed), free: Bytes(free) })
    }
}

/// Height and width as the decoder counts them; an error if the image is too large.
pub(crate) fn check_pixels(height: usize, width: usize) -> Result<(u32, u32), String> {
    let sizes = [height, width].map(u32::try_from);
    match (height.checked_mul(width), sizes) {
        (Some(..=PIXELS), [Ok(h), Ok(w)]) => Ok((h, w)),
        _ => Err(format!("has {width}x{height} pixels, more than the {PIXELS} (8192x8192) that are read")),
    }
}
