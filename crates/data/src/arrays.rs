//! Images as arrays, as NumPy saves them: `.npy`, and `.npz` with a name for each.

use std::io::Read as _;
use std::path::Path;

use fintan_config::{Image, Npy, Npz};
use image::{DynamicImage, GrayImage, RgbImage};
use npyz::{DType, NpyFile, Order, TypeChar};

use crate::error::DataError;
use crate::fit::fit;
use crate::images::Images;

pub(crate) fn load_npy(npy: &Npy, wanted: &Image) -> Result<Images, DataError> {
    let images = Array { path: &npy.path, name: None, bytes: fs_err::read(&npy.path)? };
    let labels = match &npy.labels {
        Some(path) => Some(Array { path, name: None, bytes: fs_err::read(path)? }),
        None => None,
    };
    load(&images, labels.as_ref(), npy.range, "data.npy.range", wanted)
}

pub(crate) fn load_npz(npz: &Npz, wanted: &Image) -> Result<Images, DataError> {
    let path = &npz.path;
    let broken = |e: String| DataError::format(path, format!("is no complete .npz file: {e}"));
    let file = std::io::BufReader::new(fs_err::File::open(path)?);
    let mut archive = zip::ZipArchive::new(file).map_err(|e| broken(e.to_string()))?;
    let mut names = Vec::new();
    for i in 0..archive.len() {
        let name = archive.name_for_index(i).transpose().map_err(|e| broken(e.to_string()))?.unwrap_or_default();
        names.push(name.strip_suffix(".npy").unwrap_or(&name).to_owned());
    }
    let mut read = |name: &str| {
        let Some(i) = names.iter().position(|known| known == name) else {
            let names = names.join(", ");
            return Err(DataError::format(path, format!("holds no array `{name}`; its arrays are {names}")));
        };
        let mut bytes = Vec::new();
        let member = archive.by_index(i).map_err(|e| e.to_string());
        let read = member.and_then(|mut member| member.read_to_end(&mut bytes).map_err(|e| e.to_string()));
        read.map_err(|e| broken(format!("array `{name}`: {e}")))?;
        Ok(Array { path, name: Some(name.to_owned()), bytes })
    };
    let others: Vec<&String> = names.iter().filter(|&name| Some(name) != npz.labels.as_ref()).collect();
    let images = match (&npz.name, &others[..]) {
        (Some(name), _) | (None, &[name]) => name,
        (None, []) => return Err(DataError::format(path, "holds no array of images")),
        (None, _) => {
            let names = names.join(", ");
            let message = format!("holds several arrays; say which as `data.npz.name`. They are {names}");
            return Err(DataError::format(path, message));
        }
    };
    let images = read(images)?;
    let labels = npz.labels.as_deref().map(read).transpose()?;
    load(&images, labels.as_ref(), npz.range, "data.npz.range", wanted)
}

/// An array as it lies in a file.
struct Array<'a> {
    path: &'a Path,
    /// Its name among several.
    name: Option<String>,
    bytes: Vec<u8>,
}

/// The header of an array, and what follows.
struct Opened<'a> {
    file: NpyFile<&'a [u8]>,
    shape: Vec<usize>,
    kind: Option<(TypeChar, u64)>,
    /// The type as NumPy writes it.
    said: String,
}

impl Array<'_> {
    fn wrong(&self, message: impl std::fmt::Display) -> DataError {
        let array = self.name.as_ref().map_or(String::new(), |name| format!("array `{name}` "));
        DataError::format(self.path, format!("{array}{message}"))
    }

    fn open(&self) -> Result<Opened<'_>, DataError> {
        let file = NpyFile::new(self.bytes.as_slice()).map_err(|e| self.wrong(format!("is no .npy array: {e}")))?;
        let shape: Vec<usize> = file.shape().iter().map(|&n| n as usize).collect();
        let dtype = file.dtype();
        let kind = match &dtype {
            DType::Plain(text) => Some((text.type_char(), text.size_field())),
            _ => None,
        };
        let said = match kind {
            Some((TypeChar::Uint, size)) => format!("uint{}", 8 * size),
            Some((TypeChar::Int, size)) => format!("int{}", 8 * size),
            Some((TypeChar::Float, size)) => format!("float{}", 8 * size),
            _ => dtype.descr(),
        };
        if file.order() == Order::Fortran && shape.len() > 1 {
            return Err(self.wrong("is stored by columns (Fortran order); save numpy.ascontiguousarray(x)"));
        }
        let each = kind.map_or(1, |(_, size)| size as usize);
        let needed = shape.iter().try_fold(each, |product, &n| product.checked_mul(n));
        if needed.is_none_or(|needed| needed > self.bytes.len()) {
            return Err(self.wrong(format!("is truncated: {} bytes for shape {shape:?}", self.bytes.len())));
        }
        Ok(Opened { file, shape, kind, said })
    }

    fn values<T: npyz::Deserialize>(&self, file: NpyFile<&[u8]>) -> Result<Vec<T>, DataError> {
        file.into_vec().map_err(|e| self.wrong(format!("is truncated or damaged: {e}")))
    }

    /// Every value as a byte.
    fn pixels(&self, opened: Opened, range: Option<[f64; 2]>, key: &str) -> Result<Vec<u8>, DataError> {
        let Opened { file, kind, said, .. } = opened;
        if kind == Some((TypeChar::Uint, 1)) {
            if range.is_some() {
                return Err(self.wrong(format!("holds bytes, 0 to 255; `{key}` is for floats")));
            }
            return self.values(file);
        }
        let values = match kind {
            Some((TypeChar::Float, 4)) => self.values::<f32>(file)?.into_iter().map(f64::from).collect(),
            Some((TypeChar::Float, 8)) => self.values::<f64>(file)?,
            _ => return Err(self.wrong(format!("is of type {said}; images are uint8, float32 or float64"))),
        };
        let Some([black, white]) = range else {
            return Err(self.wrong(format!(
                "holds floats; say which of them are black and white, such as `{key} = [0, 1]` or `[-1, 1]`"
            )));
        };
        if let Some(value) = values.iter().find(|value| !(black..=white).contains(*value)) {
            return Err(self.wrong(format!("holds {value}, which is not in `{key} = [{black}, {white}]`")));
        }
        Ok(values.into_iter().map(|v| ((v - black) / (white - black) * 255.0).round() as u8).collect())
    }

    fn labels(&self, count: usize) -> Result<Vec<u8>, DataError> {
        let Opened { file, shape, kind, said } = self.open()?;
        if shape != [count] {
            return Err(self.wrong(format!("has shape {shape:?}; {count} images need labels of shape [{count}]")));
        }
        let values: Vec<i128> = match kind {
            Some((TypeChar::Uint, 1)) => self.values::<u8>(file)?.into_iter().map(i128::from).collect(),
            Some((TypeChar::Uint, 2)) => self.values::<u16>(file)?.into_iter().map(i128::from).collect(),
            Some((TypeChar::Uint, 4)) => self.values::<u32>(file)?.into_iter().map(i128::from).collect(),
            Some((TypeChar::Uint, 8)) => self.values::<u64>(file)?.into_iter().map(i128::from).collect(),
            Some((TypeChar::Int, 1)) => self.values::<i8>(file)?.into_iter().map(i128::from).collect(),
            Some((TypeChar::Int, 2)) => self.values::<i16>(file)?.into_iter().map(i128::from).collect(),
            Some((TypeChar::Int, 4)) => self.values::<i32>(file)?.into_iter().map(i128::from).collect(),
            Some((TypeChar::Int, 8)) => self.values::<i64>(file)?.into_iter().map(i128::from).collect(),
            _ => return Err(self.wrong(format!("is of type {said}; labels are integers"))),
        };
        let label = |value| u8::try_from(value).map_err(|_| self.wrong(format!("holds {value}; labels are 0 to 255")));
        values.into_iter().map(label).collect()
    }
}

/// Which axis of an array of images holds the colours.
#[derive(Clone, Copy)]
enum Layout {
    Grey,
    ChannelsLast,
    ChannelsFirst,
}

fn load(
    images: &Array,
    labels: Option<&Array>,
    range: Option<[f64; 2]>,
    key: &str,
    wanted: &Image,
) -> Result<Images, DataError> {
    let opened = images.open()?;
    let shape = opened.shape.clone();
    let colour = |n: usize| n == 1 || n == 3;
    let (layout, count, height, width, channels) = match shape[..] {
        [n, h, w] => (Layout::Grey, n, h, w, 1),
        [n, c, h, w] if colour(c) && !colour(w) => (Layout::ChannelsFirst, n, h, w, c),
        [n, h, w, c] if colour(c) && !colour(h) => (Layout::ChannelsLast, n, h, w, c),
        [_, a, _, b] if colour(a) && colour(b) => {
            let message = format!("has shape {shape:?}, in which the second and the last axis can both be channels");
            return Err(images.wrong(format!("{message}; save grey images as [N, H, W]")));
        }
        _ => {
            let message =
                format!("has shape {shape:?}; images are [N, H, W], [N, H, W, C] or [N, C, H, W], C = 1 or 3");
            return Err(images.wrong(message));
        }
    };
    let [Ok(w), Ok(h)] = [width, height].map(u32::try_from) else {
        return Err(images.wrong(format!("holds images of {height}x{width}")));
    };
    if count == 0 || height == 0 || width == 0 {
        return Err(images.wrong(format!("holds {count} images of {height}x{width}")));
    }
    let said = opened.said.clone();
    let bytes = images.pixels(opened, range, key)?;
    let mut pixels = Vec::with_capacity(count * wanted.size * wanted.size * wanted.channels);
    let plane = height * width;
    for image in bytes.chunks_exact(plane * channels) {
        let interleaved = match layout {
            Layout::ChannelsFirst => {
                (0..plane).flat_map(|p| (0..channels).map(move |c| image[c * plane + p])).collect()
            }
            Layout::Grey | Layout::ChannelsLast => image.to_vec(),
        };
        let decoded = if channels == 1 {
            DynamicImage::ImageLuma8(GrayImage::from_raw(w, h, interleaved).expect("as many bytes as pixels"))
        } else {
            DynamicImage::ImageRgb8(RgbImage::from_raw(w, h, interleaved).expect("as many bytes as pixels"))
        };
        pixels.extend(fit(decoded, wanted, images.path)?);
    }
    let labels = labels.map(|labels| labels.labels(count)).transpose()?;
    let name = images.name.as_ref().map_or(String::new(), |name| format!(", array `{name}`"));
    let kind = if channels == 1 { "grey" } else { "RGB" };
    let source = format!("NumPy file `{}`{name} ({height}x{width} {kind}, {said})", images.path.display());
    Ok(Images::new(wanted, pixels, labels, source))
}
