//! Images in NumPy array files: `.npy`, or `.npz` with several named arrays.

use std::path::Path;

use fintan_arrays::{Array, ArrayError, ArrayFile, ArrayValues, Element, StoredArray};
use fintan_config::{Image, Npy, Npz};
use image::{DynamicImage, GrayImage, RgbImage, RgbaImage};

use crate::bounds::{Room, check_pixels};
use crate::error::DataError;
use crate::fit::fit;
use crate::images::Images;

pub(crate) fn load_npy(npy: &Npy, wanted: &Image, room: Room) -> Result<Images, DataError> {
    let mut file = ArrayFile::open(&npy.path)?;
    let images = Source { path: &npy.path, name: only(&file, &npy.path, "data.npy")?, key: "data.npy.range" };
    let mut images = images.load(&mut file, npy.range, wanted, room)?;
    if let Some(path) = &npy.labels {
        let mut file = ArrayFile::open(path)?;
        let labels = Source { path, name: only(&file, path, "data.npy.labels")?, key: "" };
        images.labels = Some(labels.labels(&file.read(&labels.name)?, images.len())?);
    }
    Ok(images)
}

pub(crate) fn load_npz(npz: &Npz, wanted: &Image, room: Room) -> Result<Images, DataError> {
    let path = &npz.path;
    let mut file = ArrayFile::open(path)?;
    // The array of an `.npy` file has no name.
    if file.names() == [""] {
        return Err(DataError::format(
            path,
            "is an .npy array, which `data.npy.path` takes; `data.npz` takes an archive",
        ));
    }
    let others: Vec<&String> = file.names().iter().filter(|&name| Some(name) != npz.labels.as_ref()).collect();
    let name = match (&npz.name, &others[..]) {
        (Some(name), _) | (None, &[name]) => name.clone(),
        (None, []) => return Err(DataError::format(path, "holds no array of images")),
        (None, _) => {
            let names = file.names().join(", ");
            let message = format!("holds several arrays; say which as `data.npz.name`. They are {names}");
            return Err(DataError::format(path, message));
        }
    };
    let mut images = Source { path, name, key: "data.npz.range" }.load(&mut file, npz.range, wanted, room)?;
    if let Some(name) = &npz.labels {
        let labels = Source { path, name: name.clone(), key: "" };
        images.labels = Some(labels.labels(&file.read(name)?, images.len())?);
    }
    Ok(images)
}

/// The name of the only array in a file; an error if there are several.
fn only(file: &ArrayFile, path: &Path, key: &str) -> Result<String, DataError> {
    match file.names() {
        [name] => Ok(name.clone()),
        names => {
            let message = format!("holds {} arrays, and `{key}` takes a file of one; `data.npz` chooses", names.len());
            Err(DataError::format(path, message))
        }
    }
}

/// An array in a file, for messages.
struct Source<'a> {
    path: &'a Path,
    /// Its name, empty in an `.npy` file.
    name: String,
    /// The key of the setting that gives the values of black and white.
    key: &'static str,
}

/// The axis of an array of images that holds the channels.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Layout {
    Grey,
    ChannelsLast,
    ChannelsFirst,
}

/// The lengths of the axes of an array of images.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Axes {
    layout: Layout,
    count: usize,
    height: usize,
    width: usize,
    /// 1 grey, 3 RGB, 4 RGBA.
    channels: usize,
}

impl Axes {
    /// Infers the meaning of the axes; an error if it is not unique.
    fn of(shape: &[usize]) -> Result<Self, String> {
        let axes =
            |layout, [count, height, width, channels]: [usize; 4]| Ok(Self { layout, count, height, width, channels });
        let [n, a, b, c] = match *shape {
            [n, h, w] => {
                // With one image, three axes may also be those of a single image.
                let one = match (n, w) {
                    (3, _) => format!("one image of {h}x{w}, save it as [1, 3, {h}, {w}]"),
                    (_, 3 | 4) if h != w => format!("one image of {n}x{h}, save it as [1, {n}, {h}, {w}]"),
                    _ => return axes(Layout::Grey, [n, h, w, 1]),
                };
                return Err(format!(
                    "has shape {shape:?}: if it is {one}; if it is {n} grey images of {h}x{w}, as [{n}, {h}, {w}, 1]"
                ));
            }
            [n, a, b, c] => [n, a, b, c],
            _ => return Err(unknown(shape)),
        };
        // Alpha channels are tried second, because 4 may also be the size of an image.
        for colours in [&[1, 3][..], &[4]] {
            match (colours.contains(&a), colours.contains(&c)) {
                (true, false) => return axes(Layout::ChannelsFirst, [n, b, c, a]),
                (false, true) => return axes(Layout::ChannelsLast, [n, a, b, c]),
                (true, true) => {
                    let message = format!("has shape {shape:?}, in which the second and the last axis can both be");
                    return Err(format!("{message} channels; save grey images as [N, H, W, 1]"));
                }
                (false, false) => {}
            }
        }
        Err(unknown(shape))
    }
}

fn unknown(shape: &[usize]) -> String {
    format!("has shape {shape:?}; images are [N, H, W], [N, H, W, C] or [N, C, H, W], C = 1, 3 or 4")
}

impl Source<'_> {
    fn wrong(&self, message: impl std::fmt::Display) -> DataError {
        let array = if self.name.is_empty() { String::new() } else { format!("array `{}` ", self.name) };
        DataError::format(self.path, format!("{array}{message}"))
    }

    fn load(
        &self,
        file: &mut ArrayFile,
        range: Option<[f64; 2]>,
        wanted: &Image,
        room: Room,
    ) -> Result<Images, DataError> {
        let stored = file.find(&self.name)?;
        let element = stored.element();
        let Axes { layout, count, height, width, channels } =
            Axes::of(stored.shape()).map_err(|message| self.wrong(message))?;
        if count == 0 || height == 0 || width == 0 {
            return Err(self.wrong(format!("holds {count} images of {height}x{width}")));
        }
        let (h, w) = check_pixels(height, width).map_err(|message| self.wrong(message))?;
        room.admit(format_args!("`{}`", self.path.display()), count, wanted)?;
        let bytes = self.pixels(stored, range)?;
        let mut pixels = Vec::new();
        let plane = height * width;
        for image in bytes.chunks_exact(plane * channels) {
            let interleaved = match layout {
                Layout::ChannelsFirst => {
                    (0..plane).flat_map(|p| (0..channels).map(move |c| image[c * plane + p])).collect()
                }
                Layout::Grey | Layout::ChannelsLast => image.to_vec(),
            };
            let decoded = match channels {
                1 => GrayImage::from_raw(w, h, interleaved).map(DynamicImage::ImageLuma8),
                3 => RgbImage::from_raw(w, h, interleaved).map(DynamicImage::ImageRgb8),
                _ => RgbaImage::from_raw(w, h, interleaved).map(DynamicImage::ImageRgba8),
            };
            pixels.extend(fit(decoded.expect("as many bytes as pixels"), wanted, self.path)?);
        }
        let name = if self.name.is_empty() { String::new() } else { format!(", array `{}`", self.name) };
        let kind = match channels {
            1 => "grey",
            3 => "RGB",
            _ => "RGBA",
        };
        let said = element.name();
        let source = format!("NumPy file `{}`{name} ({height}x{width} {kind}, {said})", self.path.display());
        Ok(Images::new(wanted, pixels, None, source))
    }

    /// Converts every value to a byte.
    fn pixels(&self, stored: StoredArray, range: Option<[f64; 2]>) -> Result<Vec<u8>, DataError> {
        let (element, key) = (stored.element(), self.key);
        if element == Element::U8 {
            if range.is_some() {
                return Err(self.wrong(format!("holds bytes, 0 to 255; `{key}` is for floats and other integers")));
            }
            return Ok(stored.read_bytes()?);
        }
        let [black, white] = match range {
            Some(range) => range,
            None if element == Element::Bool => [0.0, 1.0],
            None if element.is_whole() => [0.0, 255.0],
            None => {
                return Err(self.wrong(format!(
                    "holds floats; say which of them are black and white, such as `{key} = [0, 1]` or `[-1, 1]`"
                )));
            }
        };
        let byte = |value: f64| {
            if (black..=white).contains(&value) {
                Ok(((value - black) / (white - black) * 255.0).round() as u8)
            } else if range.is_some() {
                Err(self.wrong(format!("holds {value}, which is not in `{key} = [{black}, {white}]`")))
            } else {
                let said = element.name();
                Err(self.wrong(format!(
                    "holds {value}; of {said}, 0 to 255 are black to white, or what is said as `{key}`, such as \
                     `[0, 65535]`"
                )))
            }
        };
        match stored.read()?.values {
            ArrayValues::F32(values) => values.iter().map(|&value| byte(value.into())).collect(),
            ArrayValues::F64(values) => values.iter().map(|&value| byte(value)).collect(),
            ArrayValues::I64(values) => values.iter().map(|&value| byte(value as f64)).collect(),
        }
    }

    /// Labels: whole numbers from 0 to 255, one for each image.
    fn labels(&self, array: &Array, count: usize) -> Result<Vec<u8>, DataError> {
        let shape = &array.shape;
        if *shape != [count] && *shape != [count, 1] {
            return Err(self.wrong(format!("has shape {shape:?}; {count} images need labels of shape [{count}]")));
        }
        let label = |value: f64| {
            if value.fract() == 0.0 && (0.0..=255.0).contains(&value) {
                return Ok(value as u8);
            }
            Err(self.wrong(format!("holds {value}; labels are whole numbers from 0 to 255")))
        };
        array.to_f64().into_iter().map(label).collect()
    }
}

impl From<ArrayError> for DataError {
    fn from(error: ArrayError) -> Self {
        if let ArrayError::Io(error) = error { Self::Io(error) } else { Self::Arrays(error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_told_apart_or_the_way_to_say_them_is_named() {
        let axes = |shape: &[usize]| Axes::of(shape).map(|a| (a.layout, [a.count, a.height, a.width, a.channels]));
        assert_eq!(axes(&[6, 4, 5]), Ok((Layout::Grey, [6, 4, 5, 1])));
        assert_eq!(axes(&[1, 28, 28]), Ok((Layout::Grey, [1, 28, 28, 1])));
        assert_eq!(axes(&[100, 4, 4]), Ok((Layout::Grey, [100, 4, 4, 1])));
        assert_eq!(axes(&[5, 8, 3, 3]), Ok((Layout::ChannelsLast, [5, 8, 3, 3])));
        assert_eq!(axes(&[5, 1, 8, 4]), Ok((Layout::ChannelsFirst, [5, 8, 4, 1])));
        assert_eq!(axes(&[5, 4, 8, 3]), Ok((Layout::ChannelsLast, [5, 4, 8, 3])));
        assert_eq!(axes(&[5, 8, 8, 4]), Ok((Layout::ChannelsLast, [5, 8, 8, 4])));
        assert_eq!(axes(&[5, 4, 8, 8]), Ok((Layout::ChannelsFirst, [5, 8, 8, 4])));
        for unclear in [&[5, 4, 8, 4][..], &[5, 3, 8, 1]] {
            assert!(axes(unclear).expect_err("unclear").contains("can both be channels"));
        }
        assert_eq!(
            axes(&[8, 9, 3]).expect_err("unclear"),
            "has shape [8, 9, 3]: if it is one image of 8x9, save it as [1, 8, 9, 3]; if it is 8 grey images of 9x3, as \
             [8, 9, 3, 1]"
        );
        assert!(axes(&[3, 8, 9]).expect_err("unclear").contains("if it is one image of 8x9, save it as [1, 3, 8, 9]"));
        // The layouts that the message suggests are not ambiguous.
        for named in [&[1, 8, 9, 3][..], &[8, 9, 3, 1], &[1, 3, 8, 9], &[3, 8, 9, 1]] {
            assert!(axes(named).is_ok(), "{named:?}");
        }
    }
}
