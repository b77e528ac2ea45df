//! Images side by side, on a fixed scale.

use std::io::Cursor;

use image::{ImageFormat, RgbImage};

/// Why a grid cannot be drawn.
#[derive(Debug, thiserror::Error)]
pub enum GridError {
    /// The values are no images of this shape.
    #[error("{found} values are no whole number of {size}x{size} images with {channels} channels")]
    Shape {
        /// Values given.
        found: usize,
        /// Rows and columns.
        size: usize,
        /// Channels.
        channels: usize,
    },
    /// The picture could not be encoded.
    #[error(transparent)]
    Encode(#[from] image::ImageError),
}

/// A PNG of images in rows of `columns`, one pixel apart, each value in [-1, 1] on the same scale.
///
/// The scale is never fitted to the values: a grey or collapsed generator must look grey or collapsed. Small
/// images are enlarged by whole factors so that a pixel can be seen.
///
/// # Shapes
/// - `values`: `[images, rows, columns, channels]`, flat, with 1 or 3 channels
///
/// # Errors
/// Values that are no images, and a failed encoding.
pub fn grid_png(values: &[f32], size: usize, channels: usize, columns: usize) -> Result<Vec<u8>, GridError> {
    let len = size * size * channels;
    if len == 0 || columns == 0 || values.is_empty() || !values.len().is_multiple_of(len) || ![1, 3].contains(&channels)
    {
        return Err(GridError::Shape { found: values.len(), size, channels });
    }
    let count = values.len() / len;
    let rows = count.div_ceil(columns);
    let zoom = (64 / size).clamp(1, 4);
    let pitch = size * zoom + 1;
    let mut picture =
        RgbImage::from_pixel((columns * pitch + 1) as u32, (rows * pitch + 1) as u32, image::Rgb([48; 3]));
    for (i, image) in values.chunks_exact(len).enumerate() {
        let (left, top) = (i % columns * pitch + 1, i / columns * pitch + 1);
        for y in 0..size * zoom {
            for x in 0..size * zoom {
                let at = ((y / zoom) * size + x / zoom) * channels;
                let byte = |c: usize| ((image[at + c.min(channels - 1)].clamp(-1.0, 1.0) + 1.0) * 127.5).round() as u8;
                picture.put_pixel((left + x) as u32, (top + y) as u32, image::Rgb([byte(0), byte(1), byte(2)]));
            }
        }
    }
    let mut png = Cursor::new(Vec::new());
    picture.write_to(&mut png, ImageFormat::Png)?;
    Ok(png.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_keep_their_place_and_their_scale() {
        // Three 64x64 images in rows of two: the third one starts the second row.
        let values: Vec<f32> = [-1.0, 0.0, 1.0].iter().flat_map(|&v| vec![v; 64 * 64]).collect();
        let png = grid_png(&values, 64, 1, 2).expect("drawn");
        let picture = image::load_from_memory(&png).expect("a PNG").into_rgb8();
        assert_eq!(picture.dimensions(), (131, 131));
        assert_eq!(picture.get_pixel(1, 1).0, [0; 3]);
        assert_eq!(picture.get_pixel(100, 10).0, [128; 3]);
        assert_eq!(picture.get_pixel(10, 100).0, [255; 3]);
        assert_eq!(picture.get_pixel(100, 100).0, [48; 3]);
    }

    #[test]
    fn what_is_no_image_is_refused() {
        assert!(grid_png(&[0.0; 10], 2, 1, 2).is_err());
        assert!(grid_png(&[], 2, 1, 2).is_err());
    }
}
