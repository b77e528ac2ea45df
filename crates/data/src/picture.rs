//! Decodes a PNG or JPEG file to the image that a viewer shows.

use std::io::Cursor;
use std::sync::{Mutex, PoisonError};

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder as _, ImageFormat, ImageReader, Limits};

use crate::bounds::{LARGE, check_pixels};
use crate::jpeg;

/// Decodes pictures; large ones are decoded one at a time.
#[derive(Default)]
pub(crate) struct Decoder {
    large: Mutex<()>,
}

impl Decoder {
    /// Decodes the image in `bytes`, applies the orientation in the file, and returns the result of `then` on the image.
    ///
    /// # Errors
    /// A description of why there is no image.
    pub(crate) fn decode<R>(&self, bytes: &[u8], then: impl FnOnce(DynamicImage) -> R) -> Result<R, String> {
        let format = match image::guess_format(bytes) {
            Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg)) => format,
            Ok(other) => return Err(format!("holds a {other:?} picture; PNG and JPEG are read")),
            Err(_) if bytes.is_empty() => return Err("is empty".into()),
            Err(_) => return Err("is no PNG and no JPEG file".into()),
        };
        let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
        // Sizes are checked before the decoder allocates memory for pixels; this limit is for comments and profiles.
        let mut limits = Limits::default();
        limits.max_alloc = Some(1 << 30);
        reader.limits(limits);
        let mut decoder = reader.into_decoder().map_err(|e| e.to_string())?;
        let (width, height) = decoder.dimensions();
        check_pixels(height as usize, width as usize)?;
        let orientation = if format == ImageFormat::Jpeg {
            jpeg::check(bytes)?;
            decoder.orientation().ok()
        } else {
            png_exif(bytes).and_then(Orientation::from_exif_chunk)
        };
        let large = u64::from(width) * u64::from(height) >= LARGE;
        let _one_at_a_time = large.then(|| self.large.lock().unwrap_or_else(PoisonError::into_inner));
        let mut image = DynamicImage::from_decoder(decoder).map_err(|e| e.to_string())?;
        image.apply_orientation(orientation.unwrap_or(Orientation::NoTransforms));
        Ok(then(image))
    }
}

/// The chunk `eXIf` of a PNG, which may come before or after the pixels.
fn png_exif(bytes: &[u8]) -> Option<&[u8]> {
    const SIGNATURE: usize = 8;
    let mut rest = bytes.get(SIGNATURE..)?;
    loop {
        let (len, after) = rest.split_first_chunk::<4>()?;
        let (kind, after) = after.split_first_chunk::<4>()?;
        let (body, after) = after.split_at_checked(u32::from_be_bytes(*len) as usize)?;
        if kind == b"eXIf" {
            return Some(body);
        }
        let (_checksum, after) = after.split_first_chunk::<4>()?;
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use image::codecs::jpeg::JpegEncoder;
    use image::codecs::png::PngEncoder;
    use image::{ExtendedColorType, ImageEncoder, Rgb, RgbImage};

    use super::*;

    fn decode(bytes: &[u8]) -> Result<DynamicImage, String> {
        Decoder::default().decode(bytes, |image| image)
    }

    /// A picture with one dark corner, made of 8x8 blocks that JPEG preserves.
    fn upright() -> RgbImage {
        RgbImage::from_fn(24, 16, |x, y| Rgb([if x < 8 && y < 8 { 10 } else { 200 }, (x * 5) as u8, (y * 5) as u8]))
    }

    /// The stored image for which a viewer that applies `orientation` shows `shown`.
    fn stored(shown: &RgbImage, orientation: Orientation) -> RgbImage {
        let inverse = if orientation == Orientation::Rotate90 {
            Orientation::Rotate270
        } else if orientation == Orientation::Rotate270 {
            Orientation::Rotate90
        } else {
            orientation
        };
        let mut image = DynamicImage::ImageRgb8(shown.clone());
        image.apply_orientation(inverse);
        image.into_rgb8()
    }

    /// An Exif chunk that contains only an orientation.
    fn exif(orientation: u8, big_endian: bool) -> Vec<u8> {
        if big_endian {
            [&b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0"[..], &[orientation], &[0; 6]].concat()
        } else {
            [&b"II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0"[..], &[orientation], &[0; 7]].concat()
        }
    }

    fn png(image: &RgbImage) -> Vec<u8> {
        let mut bytes = Vec::new();
        let (w, h) = image.dimensions();
        PngEncoder::new(&mut bytes).write_image(image, w, h, ExtendedColorType::Rgb8).expect("in memory");
        bytes
    }

    fn jpeg(image: &RgbImage, exif: Option<Vec<u8>>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let (w, h) = image.dimensions();
        let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 95);
        if let Some(exif) = exif {
            encoder.set_exif_metadata(exif).expect("taken");
        }
        encoder.write_image(image, w, h, ExtendedColorType::Rgb8).expect("in memory");
        bytes
    }

    fn chunk(kind: &[u8], body: &[u8]) -> Vec<u8> {
        let mut chunk = (body.len() as u32).to_be_bytes().to_vec();
        chunk.extend(kind);
        chunk.extend(body);
        let mut checksum = flate2::Crc::new();
        checksum.update(&chunk[4..]);
        chunk.extend(checksum.sum().to_be_bytes());
        chunk
    }

    #[test]
    fn all_eight_orientations_give_one_image() {
        let shown = upright();
        for number in 1..=8 {
            let orientation = Orientation::from_exif(number).expect("one of eight");
            let image = stored(&shown, orientation);
            for big_endian in [false, true] {
                let exif = exif(number, big_endian);
                let plain = png(&image);
                let (front, back) = plain.split_at(8 + 25);
                let end = back.len() - 12;
                for placed in [
                    [front, &chunk(b"eXIf", &exif), back].concat(),
                    [front, &back[..end], &chunk(b"eXIf", &exif), &back[end..]].concat(),
                ] {
                    assert_eq!(decode(&placed).expect("sound").into_rgb8(), shown, "{number}");
                }
                let found = decode(&jpeg(&image, Some(exif))).expect("sound").into_rgb8();
                assert_eq!(found.dimensions(), shown.dimensions(), "{number}");
                let difference = found.iter().zip(shown.iter()).map(|(a, b)| a.abs_diff(*b)).max();
                assert!(difference.is_some_and(|d| d < 40), "{number}: {difference:?}");
            }
        }
        // An invalid orientation turns nothing.
        assert_eq!(decode(&jpeg(&shown, Some(exif(9, true)))).expect("sound").into_rgb8().dimensions(), (24, 16));
    }

    #[test]
    fn a_cut_jpeg_is_refused_and_trailing_bytes_are_not() {
        let noise = RgbImage::from_fn(64, 48, |x, y| Rgb([(x * y * 37) as u8, (x * 91 + y * 13) as u8, (x ^ y) as u8]));
        let whole = jpeg(&noise, None);
        let image = decode(&whole).expect("sound");
        // Only the end marker may be missing: every pixel is there.
        for behind in [0, 1, 2] {
            assert_eq!(decode(&whole[..whole.len() - behind]).expect("complete"), image);
        }
        for behind in [&b"\0"[..], &[0; 4096], b"trailing", &whole] {
            assert_eq!(decode(&[&whole, behind].concat()).expect("sound"), image);
        }
        for len in [whole.len() / 2, whole.len() - 10, whole.len() * 9 / 10] {
            let cut = &whole[..len];
            // The check also works if the truncated file has an end marker or was filled up with zeros.
            for bytes in [cut.to_vec(), [cut, &[0xff, 0xd9]].concat(), [cut, &[0; 9000]].concat()] {
                let error = decode(&bytes).expect_err("cut");
                assert!(error.starts_with("is cut short") || error.starts_with("is damaged"), "{len}: {error}");
            }
        }
        for len in 0..whole.len() - 20 {
            assert!(decode(&whole[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn other_formats_are_named() {
        assert_eq!(decode(b"GIF89a").expect_err("other"), "holds a Gif picture; PNG and JPEG are read");
        assert_eq!(decode(b"RIFF\0\0\0\0WEBPVP8 ").expect_err("other"), "holds a WebP picture; PNG and JPEG are read");
        assert_eq!(decode(b"").expect_err("empty"), "is empty");
        assert_eq!(decode(b"text").expect_err("text"), "is no PNG and no JPEG file");
    }

    #[test]
    fn pictures_of_too_many_pixels_are_refused_before_they_are_unpacked() {
        let header = |w: u32, h: u32| [&w.to_be_bytes()[..], &h.to_be_bytes(), &[8, 0, 0, 0, 0]].concat();
        for (w, h) in [(20_000, 20_000), (1 << 30, 1 << 30), (8193, 8192)] {
            let bytes = [&png(&upright())[..8], &chunk(b"IHDR", &header(w, h)), &chunk(b"IDAT", &[])].concat();
            let error = decode(&bytes).expect_err("too large");
            assert!(error.starts_with(&format!("has {w}x{h} pixels, more than the 67108864")), "{error}");
        }
    }
}
