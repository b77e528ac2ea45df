//! How much of what a file says of itself is believed.
//!
//! | what | at most |
//! | --- | --- |
//! | pixels of an image before it is brought to size | 2^26, as of 8192x8192: four times the largest `image.size` |
//! | bytes of a picture file, unpacked | 2^28 |
//! | bytes that gzip gives | 2^28 and 200 times those it has read |
//! | bytes of a path in an archive | 2^12 |
//!
//! IDX files are read as far as their header says, members of archives as far as their declared size.

/// Pixels of an image.
const PIXELS: usize = 1 << 26;

/// Pixels of an image from which on only one is decoded at a time.
pub(crate) const LARGE: u64 = 1 << 22;

/// Bytes of a picture file.
pub(crate) const FILE: u64 = 1 << 28;

/// Bytes that gzip gives whatever it is given.
pub(crate) const GZIP_FREE: u64 = 1 << 28;

/// Bytes that gzip gives for each it is given: ten times what the headers in an archive of tiny pictures need.
pub(crate) const GZIP_RATIO: u64 = 200;

/// Bytes of a path.
pub(crate) const PATH: usize = 1 << 12;

/// The sizes of an image as the decoder counts them, or why it is too large.
pub(crate) fn check_pixels(height: usize, width: usize) -> Result<(u32, u32), String> {
    let sizes = [height, width].map(u32::try_from);
    match (height.checked_mul(width), sizes) {
        (Some(..=PIXELS), [Ok(h), Ok(w)]) => Ok((h, w)),
        _ => Err(format!("has {width}x{height} pixels, more than the {PIXELS} (8192x8192) that are read")),
    }
}
