//! The form in which networks take images.

use serde::{Deserialize, Serialize};

use crate::shape::Shape;

/// The form in which networks take images. Every data set is converted to it.
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
