//! Grids of images on a fixed grey or colour scale.

use std::io::Cursor;

use image::{ImageFormat, RgbImage};

/// The error for a grid that cannot be drawn.
///
/// ```
/// use fintan_report::{GridError, grid_png};
///
/// assert!(matches!(grid_png(&[0.0; 63], 8, 1, 2), Err(GridError::Shape { found: 63, .. })));
/// ```
#[derive(Debug, thiserror::Error)]
pub enum GridError {
    /// The values do not form images of this shape.
    #[error("{found} values do not form a whole number of {size}x{size} images with {channels} channels")]
    Shape {
        /// Number of values given.
        found: usize,
        /// Rows and columns.
        size: usize,
        /// Number of channels.
        channels: usize,
    },
    /// More pixels than a GIF can have.
    #[error("a GIF has at most 65535 pixels a side, this one would have {width}x{height}; take fewer images")]
    TooLarge {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// The picture could not be encoded.
    #[error(transparent)]
    Encode(#[from] image::ImageError),
    /// The animation could not be encoded.
    #[error(transparent)]
    Animate(#[from] gif::EncodingError),
}

/// A PNG of images in rows of `columns`, one pixel apart. Values in [-1, 1] have the same scale in all images.
/// The scale is never adapted to the values: a grey or collapsed generator must look grey or collapsed. Small images are
/// enlarged by whole factors so that single pixels are visible.
///
/// # Shapes
/// - `values`: `[images, rows, columns, channels]`, flat, with 1 or 3 channels
///
/// ```
/// use fintan_report::grid_png;
///
/// // Three grey images of 8 x 8 pixels in rows of two. Each pixel is shown as 4 x 4 pixels.
/// let png = grid_png(&[0.0; 3 * 64], 8, 1, 2)?;
/// let picture = image::load_from_memory(&png)?;
/// assert_eq!((picture.width(), picture.height()), (2 * 33 + 1, 2 * 33 + 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Values that do not form images, or a failed encoding.
pub fn grid_png(values: &[f32], size: usize, channels: usize, columns: usize) -> Result<Vec<u8>, GridError> {
    encode(&grid(values, size, channels, columns)?)
}

/// A PNG of one image, `[rows, columns, channels]`, one pixel for each position, on the same scale.
///
/// ```
/// let png = fintan_report::image_png(&[-1.0, 1.0, 1.0, -1.0], 2, 1)?;
/// let picture = image::load_from_memory(&png)?.into_luma8();
/// assert_eq!(picture.into_raw(), [0, 255, 255, 0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The errors of [`grid_png`].
pub fn image_png(values: &[f32], size: usize, channels: usize) -> Result<Vec<u8>, GridError> {
    check(values, size, channels, 1)?;
    if values.len() != size * size * channels {
        return Err(GridError::Shape { found: values.len(), size, channels });
    }
    encode(&RgbImage::from_fn(size as u32, size as u32, |x, y| {
        pixel(values, (y as usize * size + x as usize) * channels, channels)
    }))
}

/// A GIF whose frames are grids as in [`grid_png`], played forwards and backwards; each frame lasts `centiseconds`.
///
/// Grey images keep all their shades; the colours of other images are reduced to 256 for each frame.
///
/// # Shapes
/// - `frames`: each `[images, rows, columns, channels]`, flat, all of one length
///
/// ```
/// let (dark, light) = (vec![-1.0; 64], vec![1.0; 64]);
/// let gif = fintan_report::grid_gif(&[dark, light], 8, 1, 1, 10)?;
/// assert!(gif.starts_with(b"GIF89a"));
/// # Ok::<(), fintan_report::GridError>(())
/// ```
///
/// # Errors
/// No frames, frames that are not images or differ in length, or more than 65,535 pixels on a side.
pub fn grid_gif(
    frames: &[Vec<f32>],
    size: usize,
    channels: usize,
    columns: usize,
    centiseconds: u16,
) -> Result<Vec<u8>, GridError> {
    let first = frames.first().map_or(0, Vec::len);
    if let Some(other) = frames.iter().find(|frame| frame.len() != first) {
        return Err(GridError::Shape { found: other.len(), size, channels });
    }
    let drawn = frames.iter().map(|frame| grid(frame, size, channels, columns)).collect::<Result<Vec<_>, _>>()?;
    let (width, height) = drawn.first().ok_or(GridError::Shape { found: 0, size, channels })?.dimensions();
    let (Ok(w), Ok(h)) = (u16::try_from(width), u16::try_from(height)) else {
        return Err(GridError::TooLarge { width, height });
    };
    let greys: Vec<u8> = (0..=u8::MAX).flat_map(|v| [v; 3]).collect();
    let palette = if channels == 1 { greys.as_slice() } else { &[] };
    let mut gif = Vec::new();
    let mut encoder = gif::Encoder::new(&mut gif, w, h, palette)?;
    encoder.set_repeat(gif::Repeat::Infinite)?;
    let back = (1..drawn.len().saturating_sub(1)).rev();
    for i in (0..drawn.len()).chain(back) {
        let mut frame = if channels == 1 {
            let shades: Vec<u8> = drawn[i].pixels().map(|pixel| pixel.0[0]).collect();
            gif::Frame { width: w, height: h, buffer: shades.into(), ..gif::Frame::default() }
        } else {
            gif::Frame::from_rgb_speed(w, h, drawn[i].as_raw(), 10)
        };
        frame.delay = centiseconds;
        encoder.write_frame(&frame)?;
    }
    drop(encoder);
    Ok(gif)
}

fn check(values: &[f32], size: usize, channels: usize, columns: usize) -> Result<usize, GridError> {
    let len = size * size * channels;
    if len == 0 || columns == 0 || values.is_empty() || !values.len().is_multiple_of(len) || ![1, 3].contains(&channels)
    {
        return Err(GridError::Shape { found: values.len(), size, channels });
    }
    Ok(len)
}

fn grid(values: &[f32], size: usize, channels: usize, columns: usize) -> Result<RgbImage, GridError> {
    let len = check(values, size, channels, columns)?;
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
                picture.put_pixel((left + x) as u32, (top + y) as u32, pixel(image, at, channels));
            }
        }
    }
    Ok(picture)
}

/// The pixel whose channels start at index `at`.
fn pixel(image: &[f32], at: usize, channels: usize) -> image::Rgb<u8> {
    let byte = |c: usize| ((image[at + c.min(channels - 1)].clamp(-1.0, 1.0) + 1.0) * 127.5).round() as u8;
    image::Rgb([byte(0), byte(1), byte(2)])
}

fn encode(picture: &RgbImage) -> Result<Vec<u8>, GridError> {
    let mut png = Cursor::new(Vec::new());
    picture.write_to(&mut png, ImageFormat::Png)?;
    Ok(png.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_keep_their_place_and_their_scale() {
        // Three 64x64 images in rows of two: the third starts the second row.
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
        assert!(image_png(&[0.0; 8], 2, 1).is_err());
        assert!(grid_gif(&[], 2, 1, 2, 5).is_err());
        assert!(grid_gif(&[vec![0.0; 4], vec![0.0; 8]], 2, 1, 2, 5).is_err());
        let wide = grid_gif(&[vec![0.0; 2000 * 64 * 64]], 64, 1, 2000, 5).expect_err("too wide").to_string();
        assert!(wide.contains("130001x66"), "{wide}");
    }

    #[test]
    fn an_image_by_itself_has_neither_frame_nor_zoom() {
        let png = image_png(&[-1.0, 0.0, 1.0, 0.5], 2, 1).expect("drawn");
        let picture = image::load_from_memory(&png).expect("a PNG").into_rgb8();
        assert_eq!(picture.as_raw(), &[0, 0, 0, 128, 128, 128, 255, 255, 255, 191, 191, 191]);
    }

    /// Decoded with the same library that encoded it: frames are played forwards and backwards, and greys are exact.
    #[test]
    fn an_animation_goes_forth_and_back() {
        let frames: Vec<Vec<f32>> = [-1.0_f32, -0.2, 0.6].iter().map(|&v| vec![v; 2 * 64 * 64]).collect();
        let bytes = grid_gif(&frames, 64, 1, 2, 7).expect("drawn");
        let mut options = gif::DecodeOptions::new();
        options.set_color_output(gif::ColorOutput::RGBA);
        let mut decoder = options.clone().read_info(Cursor::new(bytes)).expect("a GIF");
        assert_eq!((decoder.width(), decoder.height(), decoder.repeat()), (131, 66, gif::Repeat::Infinite));
        let mut shades = Vec::new();
        while let Some(frame) = decoder.read_next_frame().expect("a frame") {
            assert_eq!(frame.delay, 7);
            shades.push(frame.buffer[4 * (131 * 5 + 5)]);
        }
        assert_eq!(shades, [0, 102, 204, 102]);
        let colours = grid_gif(&[[1.0, -1.0, 0.0].repeat(64 * 64)], 64, 3, 1, 7).expect("drawn");
        let mut decoder = options.read_info(Cursor::new(colours)).expect("a GIF");
        let frame = decoder.read_next_frame().expect("read").expect("a frame");
        assert_eq!(frame.buffer[4 * (66 * 30 + 30)..][..3], [255, 0, 128]);
    }
}
