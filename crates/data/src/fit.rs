//! Converts a decoded image to `size` x `size` bytes with 1 or 3 channels.

use std::path::Path;

use fintan_config::{Fit, Image};
use image::imageops::{self, FilterType};
use image::{DynamicImage, RgbImage};

use crate::error::DataError;

/// Converts an image to the size and channels of the experiment, in the order rows, columns, channels.
///
/// Transparent pixels are blended with the background; grey is the luma of the colours.
pub(crate) fn fit(decoded: DynamicImage, wanted: &Image, path: &Path) -> Result<Vec<u8>, DataError> {
    let size = u32::try_from(wanted.size).expect("checked to be at most 4096");
    let opaque = over_background(decoded, wanted.background);
    let (width, height) = opaque.dimensions();
    let refuse = |fit| DataError::Fit { path: path.into(), width, height, fit, size: wanted.size };
    let fitted = if (width, height) == (size, size) {
        opaque
    } else {
        match wanted.fit {
            Fit::Resize => {
                let side = width.min(height);
                let square =
                    imageops::crop_imm(&opaque, (width - side) / 2, (height - side) / 2, side, side).to_image();
                imageops::resize(&square, size, size, FilterType::Lanczos3)
            }
            Fit::Crop if width >= size && height >= size => {
                imageops::crop_imm(&opaque, (width - size) / 2, (height - size) / 2, size, size).to_image()
            }
            Fit::Crop => return Err(refuse("crop")),
            Fit::Pad if width <= size && height <= size => {
                let mut frame = RgbImage::from_pixel(size, size, image::Rgb([wanted.background; 3]));
                imageops::replace(&mut frame, &opaque, i64::from((size - width) / 2), i64::from((size - height) / 2));
                frame
            }
            Fit::Pad => return Err(refuse("pad")),
        }
    };
    Ok(if wanted.channels == 1 { DynamicImage::ImageRgb8(fitted).into_luma8().into_raw() } else { fitted.into_raw() })
}

fn over_background(decoded: DynamicImage, background: u8) -> RgbImage {
    if !decoded.color().has_alpha() {
        return decoded.into_rgb8();
    }
    let rgba = decoded.into_rgba8();
    RgbImage::from_fn(rgba.width(), rgba.height(), |x, y| {
        let [r, g, b, a] = rgba.get_pixel(x, y).0.map(u32::from);
        let mix = |c: u32| ((c * a + u32::from(background) * (255 - a) + 127) / 255) as u8;
        image::Rgb([mix(r), mix(g), mix(b)])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Luma, Rgba, RgbaImage};

    fn wanted(size: usize, channels: usize, fit: Fit) -> Image {
        Image { size, channels, fit, background: 100, flip: false }
    }

    #[test]
    fn transparency_shows_the_background() {
        let image = RgbaImage::from_fn(2, 1, |x, _| Rgba([200, 0, 0, if x == 0 { 0 } else { 128 }]));
        let bytes = fit(DynamicImage::ImageRgba8(image), &wanted(2, 3, Fit::Pad), Path::new("a")).expect("fits");
        assert_eq!(&bytes[..6], &[100, 100, 100, 150, 50, 50]);
        assert_eq!(&bytes[6..], &[100; 6]);
    }

    #[test]
    fn crop_and_pad_keep_the_centre() {
        let image = image::GrayImage::from_fn(4, 4, |x, y| Luma([(10 * y + x) as u8]));
        let cropped =
            fit(DynamicImage::ImageLuma8(image.clone()), &wanted(2, 1, Fit::Crop), Path::new("a")).expect("fits");
        assert_eq!(cropped, [11, 12, 21, 22]);
        let padded = fit(DynamicImage::ImageLuma8(image), &wanted(6, 1, Fit::Pad), Path::new("a")).expect("fits");
        assert_eq!((padded[0], padded[7], padded[8], padded[13]), (100, 0, 1, 10));
    }

    #[test]
    fn what_cannot_fit_is_refused() {
        let image = || DynamicImage::ImageLuma8(image::GrayImage::new(4, 3));
        let pad = fit(image(), &wanted(2, 1, Fit::Pad), Path::new("big.png")).expect_err("too large").to_string();
        assert_eq!(pad, "`big.png` is 4x3, which `image.fit = \"pad\"` cannot bring to 2x2");
        let crop = fit(image(), &wanted(8, 1, Fit::Crop), Path::new("small.png")).expect_err("too small").to_string();
        assert_eq!(crop, "`small.png` is 4x3, which `image.fit = \"crop\"` cannot bring to 8x8");
        assert_eq!(fit(image(), &wanted(8, 1, Fit::Resize), Path::new("any")).expect("fits").len(), 64);
    }
}
