//! The form in which networks take images.

use serde::{Deserialize, Serialize};

use crate::shape::Shape;

/// The form in which networks take images. Every data set is converted to it.
///
/// ```
/// let image: fintan_config::Image = toml::from_str("size = 64\nchannels = 3\nfit = 'pad'")?;
/// assert_eq!((image.size, image.channels, image.fit), (64, 3, fintan_config::Fit::Pad));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Image {
    /// Rows and columns.
    pub size: usize,
    /// 1 (grey) or 3 (RGB).
    pub channels: usize,
    /// How an image of another size is converted to `size`.
    pub fit: Fit,
    /// Grey value under transparent pixels and in padding, 0 to 255.
    pub background: u8,
    /// Whether images are mirrored at random.
    pub flip: bool,
}

impl Default for Image {
    fn default() -> Self {
        Self { size: 32, channels: 1, fit: Fit::Resize, background: 0, flip: false }
    }
}

/// How an image of another size is converted.
///
/// ```
/// use fintan_config::{Fit, Image};
///
/// let image: Image = toml::from_str("fit = 'crop'")?;
/// assert_eq!((image.fit, Image::default().fit), (Fit::Crop, Fit::Resize));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// Crop to the largest centred square, then scale (Lanczos).
    Resize,
    /// Crop to the centre; images must not be smaller.
    Crop,
    /// Place in the centre of a background; images must not be larger.
    Pad,
}

/// The form of images for a network with this input. A vector holds a square image, which is grey if its length allows it, and
/// otherwise coloured.
///
/// ```
/// use fintan_config::{Shape, image_of};
///
/// let image = image_of(Shape::vector(784)).expect("28 x 28 pixels");
/// assert_eq!((image.size, image.channels), (28, 1));
/// assert_eq!(image_of(Shape::vector(785)), None);
/// ```
#[must_use]
pub fn image_of(input: Shape) -> Option<Image> {
    let image = |channels, size| Image { size, channels, fit: Fit::Resize, background: 0, flip: false };
    if !input.is_vector() {
        let square = [1, 3].contains(&input.channels) && input.height == input.width;
        return (square && input.height <= 4096).then(|| image(input.channels, input.height));
    }
    [1, 3]
        .into_iter()
        .map(|channels| image(channels, (input.len() / channels).isqrt()))
        .find(|image| image.size <= 4096 && image.channels * image.size * image.size == input.len())
}
