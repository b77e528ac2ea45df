//! A data set in memory, decoded once to bytes.

use std::path::PathBuf;

use burn::tensor::{Device, Tensor, TensorData};
use fintan_config::{DataSource, Image, Reader};

use crate::bounds::Room;
use crate::error::DataError;
use crate::left_out::LeftOut;
use crate::{arrays, cifar, files, idx, shapes};

/// Images of one size, as bytes in memory.
///
/// ```
/// use fintan_config::{DataSource, Image, Shapes};
/// use fintan_data::Images;
///
/// let source = DataSource::Shapes(Shapes { count: 24, seed: 0 });
/// let wanted = Image { size: 8, channels: 1, ..Image::default() };
/// let images = Images::load(&source, &wanted, None)?;
/// assert_eq!((images.len(), images.bytes(0).len()), (24, 8 * 8));
/// assert_eq!(images.class_name(0), "disc");
/// # Ok::<(), fintan_data::DataError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Images {
    /// Rows and columns.
    pub size: usize,
    /// 1 (grey) or 3 (RGB).
    pub channels: usize,
    /// A description of their source.
    pub source: String,
    /// The label of each image; `None` if the source has no labels.
    pub labels: Option<Vec<u8>>,
    /// Names of the classes in the order of their labels; `None` if the source has no names.
    pub classes: Option<Vec<String>>,
    /// Files that could not be decoded, with the reason.
    pub unreadable: Vec<(PathBuf, String)>,
    /// Files that do not belong to the data set, with the reason.
    pub left_out: LeftOut,
    /// Other remarks about the source, such as the reason for missing labels.
    pub notes: Vec<String>,
    pixels: Vec<u8>,
}

impl Images {
    pub(crate) fn new(wanted: &Image, pixels: Vec<u8>, labels: Option<Vec<u8>>, source: String) -> Self {
        let Image { size, channels, .. } = *wanted;
        let (unreadable, left_out, notes) = (Vec::new(), LeftOut::default(), Vec::new());
        Self { size, channels, source, labels, classes: None, unreadable, left_out, notes, pixels }
    }

    /// Reads a data set and converts every image to the wanted form.
    ///
    /// # Errors
    /// Files that are missing, truncated or of another format; images that do not fit; no image at all; images that need
    /// more than the `free` bytes of memory, if these are known.
    pub fn load(data: &DataSource, wanted: &Image, free: Option<f64>) -> Result<Self, DataError> {
        let room = Room(free);
        match data {
            DataSource::Shapes(shapes) => shapes::load(shapes, wanted, room),
            DataSource::Idx(idx) => idx::load(idx, wanted, room),
            DataSource::Cifar(cifar) => cifar::load(cifar, wanted, room),
            DataSource::Folder(folder) => files::load_folder(&folder.path, wanted, room),
            DataSource::Tar(tar) => files::load_tar(&tar.path, wanted, room),
            DataSource::Zip(zip) => files::load_zip(&zip.path, wanted, room),
            DataSource::Npy(npy) => arrays::load_npy(npy, wanted, room),
            DataSource::Npz(npz) => arrays::load_npz(npz, wanted, room),
            DataSource::Teacher(_) | DataSource::Iid(_) | DataSource::Spectrum(_) => {
                Err(DataError::Refused(Reader::Images.refusal(data.kind())))
            }
        }
    }

    /// Remarks for the user about the files: files that could not be read or are left out, with the reasons.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let failed = self.unreadable.first().map(|(path, why)| {
            let n = self.unreadable.len();
            format!("{n} file(s) could not be read and are left out; the first: `{}`: {why}", path.display())
        });
        let left_out = self.left_out.lines().into_iter().map(|line| format!("left out {line}"));
        failed.into_iter().chain(left_out).chain(self.notes.iter().cloned()).collect()
    }

    /// The name of a class.
    #[must_use]
    pub fn class_name(&self, label: u8) -> String {
        let name = self.classes.as_ref().and_then(|names| names.get(usize::from(label)));
        name.cloned().unwrap_or_else(|| label.to_string())
    }

    /// Number of images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pixels.len() / self.image_len()
    }

    /// Whether the data set is empty; [`Images::load`] never returns an empty data set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pixels.is_empty()
    }

    fn image_len(&self) -> usize {
        self.size * self.size * self.channels
    }

    /// Bytes of image `i`: rows, columns, channels.
    #[must_use]
    pub fn bytes(&self, i: usize) -> &[u8] {
        &self.pixels[i * self.image_len()..(i + 1) * self.image_len()]
    }

    /// A hash of sizes, pixels and labels that identifies the data set; see [`fingerprint`].
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let [size, channels] = [self.size as u64, self.channels as u64].map(u64::to_le_bytes);
        fingerprint(&[&size, &channels, &self.pixels, self.labels.as_deref().unwrap_or_default()])
    }

    /// Images as values in [-1, 1]. Image i is mirrored if `mirrored[i]` is true.
    ///
    /// # Shapes
    /// - returns `[indices, rows, columns, channels]`
    #[must_use]
    pub fn batch(&self, indices: &[usize], mirrored: &[bool], device: &Device) -> Tensor<4> {
        let mut values = Vec::with_capacity(indices.len() * self.image_len());
        let value = |byte: &u8| f32::from(*byte) / 127.5 - 1.0;
        for (k, &i) in indices.iter().enumerate() {
            let bytes = self.bytes(i);
            if mirrored.get(k).copied().unwrap_or(false) {
                for row in bytes.chunks_exact(self.size * self.channels) {
                    values.extend(row.chunks_exact(self.channels).rev().flatten().map(value));
                }
            } else {
                values.extend(bytes.iter().map(value));
            }
        }
        let shape = [indices.len(), self.size, self.size, self.channels];
        Tensor::from_data(TensorData::new(values, shape), device)
    }
}

/// A hash of bytes, the same on every machine: FNV-1a, 64 bits.
///
/// ```
/// use fintan_data::fingerprint;
///
/// assert_eq!(fingerprint(&[b"foobar"]), 0x8594_4171_f739_67e8); // a published value of FNV-1a
/// assert_eq!(fingerprint(&[b"foo", b"bar"]), fingerprint(&[b"foobar"]));
/// ```
#[must_use]
pub fn fingerprint(parts: &[&[u8]]) -> u64 {
    parts.iter().copied().flatten().fold(FNV_BASIS, |hash, &byte| fnv(hash, u64::from(byte)))
}

/// A hash of single-precision values, the same on every machine: FNV-1a with one step for the bits of each value instead of
/// one for each byte.
#[must_use]
pub fn fingerprint_of_values(values: &[f32]) -> u64 {
    values.iter().fold(FNV_BASIS, |hash, value| fnv(hash, u64::from(value.to_bits())))
}

/// The initial value of FNV-1a.
const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;

/// A step of FNV-1a.
fn fnv(hash: u64, word: u64) -> u64 {
    (hash ^ word).wrapping_mul(0x0100_0000_01b3)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values from the draft of the hash (Fowler, Noll, Vo, Eastlake).
    #[test]
    fn fingerprints_are_those_of_fnv() {
        assert_eq!(fingerprint(&[]), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fingerprint(&[b"a"]), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fingerprint(&[b"foo", b"bar"]), 0x8594_4171_f739_67e8);
    }

    /// Folders of `fintan moments` store such hashes, so they must not change. The value was computed with Python's
    /// integers.
    #[test]
    fn fingerprints_of_values_stay_as_they_are_in_files() {
        assert_eq!(fingerprint_of_values(&[1.0, -0.5]), 0x0833_2794_ad6b_6fed);
    }

    #[test]
    fn images_that_memory_does_not_hold_are_refused_before_they_are_made() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let put = |name: &str, bytes: &[u8]| fs_err::write(at(name), bytes).expect("written");
        let mut png = std::io::Cursor::new(Vec::new());
        image::GrayImage::new(2, 2).write_to(&mut png, image::ImageFormat::Png).expect("in memory");
        let png = png.into_inner();
        fs_err::create_dir(at("folder")).expect("made");
        let mut tar = tar::Builder::new(Vec::new());
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for name in ["a.png", "b.png"] {
            put(&format!("folder/{name}"), &png);
            let mut header = tar::Header::new_gnu();
            header.set_size(png.len() as u64);
            tar.append_data(&mut header, name, &png[..]).expect("in memory");
            zip.start_file(name, zip::write::SimpleFileOptions::default()).expect("in memory");
            std::io::Write::write_all(&mut zip, &png).expect("in memory");
        }
        put("tar", &tar.into_inner().expect("in memory"));
        put("zip", &zip.finish().expect("in memory").into_inner());
        put("idx", &[&[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1][..], &[7, 8]].concat());
        put("cifar", &[0; 2 * 3073]);
        let mut npy =
            b"\x93NUMPY\x01\x00\x76\x00{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2, 2, 1)}".to_vec();
        npy.resize(127, b' ');
        npy.extend(b"\n\x01\x02\x03\x04\x05\x06\x07\x08");
        put("npy", &npy);
        let files = |name| fintan_config::Files { path: at(name) };
        let wanted = Image { size: 10, channels: 1, ..Image::default() };
        for data in [
            DataSource::Shapes(fintan_config::Shapes { count: 2, seed: 0 }),
            DataSource::Idx(fintan_config::Idx { images: at("idx"), labels: None }),
            DataSource::Cifar(fintan_config::Cifar { files: vec![at("cifar")], labels: 1 }),
            DataSource::Folder(files("folder")),
            DataSource::Tar(files("tar")),
            DataSource::Zip(files("zip")),
            DataSource::Npy(fintan_config::Npy { path: at("npy"), labels: None, range: None }),
        ] {
            let load = |free| Images::load(&data, &wanted, free);
            assert_eq!(load(Some(200.0)).expect("fits").len(), 2, "{data:?}");
            let refused = load(Some(199.0)).expect_err("too many");
            let DataError::Memory { count, needed, free, .. } = refused else { panic!("{data:?}: {refused}") };
            assert_eq!((count, needed.0, free.0), (2, 200.0, 199.0), "{data:?}");
        }
    }
}
