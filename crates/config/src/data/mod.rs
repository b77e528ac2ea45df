//! Where samples come from: one list of sources, and what each part of a configuration takes of it.

use std::path::PathBuf;

mod image;
mod settings;

use serde::{Deserialize, Serialize};

pub use self::image::{Fit, Image, image_of};
pub use self::settings::{Cifar, Files, Idx, Npy, Npz, PowerSpectrum, Shapes, Teacher};
use crate::error::Invalid;
use crate::experiment::within;
use crate::layers::Empty;
use crate::shape::Shape;

/// Where samples come from. Each [`Reader`] takes some of these sources and refuses the others by name.
///
/// ```
/// use fintan_config::{DataSource, SourceKind};
///
/// let source: DataSource = toml::from_str("shapes.count = 100")?;
/// assert_eq!(source.kind(), SourceKind::Shapes);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataSource {
    /// The built-in set of images: drawn, not read; twelve classes.
    Shapes(Shapes),
    /// IDX files (MNIST and its kin), gzip or plain.
    Idx(Idx),
    /// CIFAR-10 or CIFAR-100 binary batches.
    Cifar(Cifar),
    /// A folder of PNG and JPEG files, with all below it.
    Folder(Files),
    /// A tar archive of PNG and JPEG files.
    Tar(Files),
    /// A zip archive of PNG and JPEG files.
    Zip(Files),
    /// An array of images, as NumPy saves one. Moments take an array of values `[samples, features]` or
    /// `[samples, channels, rows, columns]` instead.
    Npy(Npy),
    /// An array of images, or of values for moments, among several, as NumPy saves them.
    Npz(Npz),
    /// A function of inputs on the sphere: drawn, not read.
    Teacher(Teacher),
    /// Inputs whose values are independent and N(0, 1): drawn, not read.
    Iid(Empty),
    /// Gaussian inputs with a power-law spectrum, as images have: drawn, not read.
    Spectrum(PowerSpectrum),
}

/// A [`DataSource`] without its settings.
///
/// ```
/// use fintan_config::{Content, SourceKind};
///
/// assert_eq!(SourceKind::Teacher.content(), Content::Targets);
/// assert_eq!(SourceKind::Cifar.name(), "cifar");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// [`DataSource::Shapes`]
    Shapes,
    /// [`DataSource::Idx`]
    Idx,
    /// [`DataSource::Cifar`]
    Cifar,
    /// [`DataSource::Folder`]
    Folder,
    /// [`DataSource::Tar`]
    Tar,
    /// [`DataSource::Zip`]
    Zip,
    /// [`DataSource::Npy`]
    Npy,
    /// [`DataSource::Npz`]
    Npz,
    /// [`DataSource::Teacher`]
    Teacher,
    /// [`DataSource::Iid`]
    Iid,
    /// [`DataSource::Spectrum`]
    Spectrum,
}

/// What a source holds.
///
/// ```
/// use fintan_config::{Content, SourceKind};
///
/// let of_noise = SourceKind::ALL.into_iter().filter(|kind| kind.content() == Content::Noise);
/// assert_eq!(of_noise.collect::<Vec<_>>(), [SourceKind::Iid, SourceKind::Spectrum]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Images, with labels in most sources.
    Images,
    /// Inputs with real targets.
    Targets,
    /// Inputs without targets or labels.
    Noise,
}

/// A part of a configuration that reads a source.
///
/// ```
/// use fintan_config::{Reader, SourceKind};
///
/// assert!(Reader::Task.takes(SourceKind::Teacher) && !Reader::Images.takes(SourceKind::Teacher));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// Training of a GAN, and every command that reads images.
    Images,
    /// A task of a network, and every command that reads its samples.
    Task,
    /// `[moments]`
    Moments,
}

impl SourceKind {
    /// Every kind, in the order of [`DataSource`].
    pub const ALL: [Self; 11] = [
        Self::Shapes,
        Self::Idx,
        Self::Cifar,
        Self::Folder,
        Self::Tar,
        Self::Zip,
        Self::Npy,
        Self::Npz,
        Self::Teacher,
        Self::Iid,
        Self::Spectrum,
    ];

    /// Its key in TOML.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Shapes => "shapes",
            Self::Idx => "idx",
            Self::Cifar => "cifar",
            Self::Folder => "folder",
            Self::Tar => "tar",
            Self::Zip => "zip",
            Self::Npy => "npy",
            Self::Npz => "npz",
            Self::Teacher => "teacher",
            Self::Iid => "iid",
            Self::Spectrum => "spectrum",
        }
    }

    /// What such a source holds.
    #[must_use]
    pub fn content(self) -> Content {
        match self {
            Self::Shapes | Self::Idx | Self::Cifar | Self::Folder | Self::Tar | Self::Zip | Self::Npy | Self::Npz => {
                Content::Images
            }
            Self::Teacher => Content::Targets,
            Self::Iid | Self::Spectrum => Content::Noise,
        }
    }
}

impl DataSource {
    /// Which source it is.
    #[must_use]
    pub fn kind(&self) -> SourceKind {
        match self {
            Self::Shapes(_) => SourceKind::Shapes,
            Self::Idx(_) => SourceKind::Idx,
            Self::Cifar(_) => SourceKind::Cifar,
            Self::Folder(_) => SourceKind::Folder,
            Self::Tar(_) => SourceKind::Tar,
            Self::Zip(_) => SourceKind::Zip,
            Self::Npy(_) => SourceKind::Npy,
            Self::Npz(_) => SourceKind::Npz,
            Self::Teacher(_) => SourceKind::Teacher,
            Self::Iid(_) => SourceKind::Iid,
            Self::Spectrum(_) => SourceKind::Spectrum,
        }
    }

    /// What it holds.
    #[must_use]
    pub fn content(&self) -> Content {
        self.kind().content()
    }

    /// Every file and folder it names.
    pub fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        match self {
            Self::Shapes(_) | Self::Teacher(_) | Self::Iid(_) | Self::Spectrum(_) => Vec::new(),
            Self::Idx(Idx { images, labels }) => std::iter::once(images).chain(labels).collect(),
            Self::Cifar(Cifar { files, labels: _ }) => files.iter_mut().collect(),
            Self::Folder(Files { path })
            | Self::Tar(Files { path })
            | Self::Zip(Files { path })
            | Self::Npz(Npz { path, name: _, labels: _, range: _ }) => vec![path],
            Self::Npy(Npy { path, labels, range: _ }) => std::iter::once(path).chain(labels).collect(),
        }
    }

    /// What an image of this source is to a network with this input. `None` where the source holds no images, and where the
    /// input holds no square image of 1 or 3 channels.
    #[must_use]
    pub fn image(&self, input: Shape) -> Option<Image> {
        match self.content() {
            Content::Images => image_of(input),
            Content::Targets | Content::Noise => None,
        }
    }

    /// What gives its images labels where they have none.
    #[must_use]
    pub fn how_to_label(&self) -> &'static str {
        match self {
            Self::Shapes(_) | Self::Cifar(_) => "each image has one",
            Self::Idx(_) => "name the file as `data.idx.labels`",
            Self::Folder(_) | Self::Tar(_) | Self::Zip(_) => "put the images of each class into a folder of its own",
            Self::Npy(_) => "name the file as `data.npy.labels`",
            Self::Npz(_) => "name the array as `data.npz.labels`",
            Self::Teacher(_) | Self::Iid(_) | Self::Spectrum(_) => "it holds no images",
        }
    }

    /// The source in words: what it is and where it lies.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Shapes(shapes) => format!("{} built-in shapes", shapes.count),
            Self::Idx(idx) => format!("IDX file `{}`", idx.images.display()),
            Self::Cifar(cifar) => {
                let names: Vec<String> = cifar.files.iter().map(|file| format!("`{}`", file.display())).collect();
                format!("CIFAR batches {}", names.join(", "))
            }
            Self::Folder(files) => format!("folder `{}`", files.path.display()),
            Self::Tar(files) | Self::Zip(files) => format!("archive `{}`", files.path.display()),
            Self::Npy(Npy { path, .. }) | Self::Npz(Npz { path, .. }) => format!("NumPy file `{}`", path.display()),
            Self::Teacher(teacher) => format!("built-in teacher, a polynomial of degree {}", teacher.degree),
            Self::Iid(Empty {}) => "independent normal values".into(),
            Self::Spectrum(PowerSpectrum { exponent }) => format!("Gaussian inputs of spectrum k^-{exponent}"),
        }
    }
}

impl Reader {
    /// Whether it takes such a source.
    #[must_use]
    pub fn takes(self, kind: SourceKind) -> bool {
        use SourceKind::{Cifar, Folder, Idx, Iid, Npy, Npz, Shapes, Spectrum, Tar, Teacher, Zip};
        match self {
            Self::Images => match kind {
                Shapes | Idx | Cifar | Folder | Tar | Zip | Npy | Npz => true,
                Teacher | Iid | Spectrum => false,
            },
            Self::Task => match kind {
                Shapes | Idx | Cifar | Folder | Tar | Zip | Npy | Npz | Teacher => true,
                Iid | Spectrum => false,
            },
            Self::Moments => match kind {
                Shapes | Idx | Cifar | Folder | Tar | Zip | Npy | Npz | Iid | Spectrum => true,
                Teacher => false,
            },
        }
    }

    /// The key under which its source stands.
    fn key(self) -> &'static str {
        match self {
            Self::Images | Self::Task => "data",
            Self::Moments => "moments.inputs",
        }
    }

    /// Why it does not take such a source, and which ones it takes.
    ///
    /// # Panics
    /// Never: every reader takes some source.
    #[must_use]
    pub fn refusal(self, kind: SourceKind) -> String {
        let holds = match kind.content() {
            Content::Images => "holds images",
            Content::Targets => "draws inputs with targets",
            Content::Noise => "draws inputs without targets",
        };
        let reader = match self {
            Self::Images => "images come from",
            Self::Task => "a task takes",
            Self::Moments => "moments take",
        };
        let taken = SourceKind::ALL.into_iter().filter(|&kind| self.takes(kind));
        let taken: Vec<String> = taken.map(|kind| format!("`{}`", kind.name())).collect();
        let (last, others) = taken.split_last().expect("every reader takes some source");
        format!("`{}.{}` {holds}; {reader} {} and {last}", self.key(), kind.name(), others.join(", "))
    }

    /// Checks that it takes the source, and what the types of settings cannot say.
    pub(crate) fn check(self, source: &DataSource) -> Result<(), Invalid> {
        let (kind, key) = (source.kind(), self.key());
        if !self.takes(kind) {
            return Err(Invalid::new(format!("{key}.{}", kind.name()), self.refusal(kind)));
        }
        // Taken apart field by field: a new setting does not compile until someone decides how to check it.
        match source {
            DataSource::Shapes(Shapes { count, seed: _ }) => within(&format!("{key}.shapes.count"), *count, 1, 1 << 22),
            DataSource::Cifar(Cifar { files, labels }) => {
                if files.is_empty() {
                    let key = format!("{key}.cifar.files");
                    let message = format!("`{key}` must name at least one file");
                    return Err(Invalid::new(key, message));
                }
                within(&format!("{key}.cifar.labels"), *labels, 1, 2)
            }
            DataSource::Idx(Idx { images: _, labels: _ })
            | DataSource::Folder(Files { path: _ })
            | DataSource::Tar(Files { path: _ })
            | DataSource::Zip(Files { path: _ })
            | DataSource::Iid(Empty {}) => Ok(()),
            DataSource::Npy(Npy { path: _, labels: _, range }) => check_range(&format!("{key}.npy.range"), *range),
            DataSource::Npz(Npz { path: _, name: _, labels: _, range }) => {
                check_range(&format!("{key}.npz.range"), *range)
            }
            DataSource::Teacher(Teacher { degree, noise, seed: _ }) => {
                within(&format!("{key}.teacher.degree"), *degree as usize, 1, 8)?;
                not_negative(format!("{key}.teacher.noise"), *noise)
            }
            DataSource::Spectrum(PowerSpectrum { exponent }) => {
                not_negative(format!("{key}.spectrum.exponent"), *exponent)
            }
        }
    }
}

fn not_negative(key: String, value: f64) -> Result<(), Invalid> {
    if value >= 0.0 && value.is_finite() {
        return Ok(());
    }
    let message = format!("`{key}` must be at least 0, got {value}");
    Err(Invalid::new(key, message))
}

fn check_range(key: &str, range: Option<[f64; 2]>) -> Result<(), Invalid> {
    let Some([black, white]) = range else { return Ok(()) };
    if black < white && (white - black).is_finite() {
        return Ok(());
    }
    Err(Invalid::new(key, format!("`{key}` must be two numbers, the lower first, got [{black}, {white}]"))
        .with_help("for instance [0, 1] or [-1, 1]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(kind: SourceKind) -> &'static str {
        match kind {
            SourceKind::Shapes => "shapes.count = 8",
            SourceKind::Idx => "idx.images = 'i'",
            SourceKind::Cifar => "cifar.files = ['c']",
            SourceKind::Folder => "folder.path = 'f'",
            SourceKind::Tar => "tar.path = 't'",
            SourceKind::Zip => "zip.path = 'z'",
            SourceKind::Npy => "npy.path = 'n'",
            SourceKind::Npz => "npz.path = 'n'",
            SourceKind::Teacher => "teacher.degree = 2",
            SourceKind::Iid => "iid = {}",
            SourceKind::Spectrum => "spectrum.exponent = 1.0",
        }
    }

    fn read(text: &str) -> DataSource {
        toml::from_str(text).unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    /// The list of all kinds is checked by no compiler, but serde makes one of its own.
    #[test]
    fn every_source_is_listed_under_its_key() {
        let refused = toml::from_str::<DataSource>("nothing = {}").expect_err("no source");
        let all: Vec<String> = SourceKind::ALL.iter().map(|kind| format!("`{}`", kind.name())).collect();
        assert!(refused.message().ends_with(&format!("expected one of {}", all.join(", "))), "{refused}");
        for kind in SourceKind::ALL {
            assert_eq!(read(written(kind)).kind(), kind);
        }
    }

    #[test]
    fn every_reader_takes_a_source_or_refuses_it_by_its_key() {
        for reader in [Reader::Images, Reader::Task, Reader::Moments] {
            for kind in SourceKind::ALL {
                let checked = reader.check(&read(written(kind)));
                if reader.takes(kind) {
                    assert!(checked.is_ok(), "{reader:?}, {kind:?}: {checked:?}");
                    continue;
                }
                let refused = checked.expect_err("refused");
                assert_eq!(refused.key, format!("{}.{}", reader.key(), kind.name()));
                for other in SourceKind::ALL.into_iter().filter(|&other| reader.takes(other)) {
                    assert!(refused.message.contains(&format!("`{}`", other.name())), "{}", refused.message);
                }
            }
        }
    }

    /// Keys of moments named `data` once, which has no such table there.
    #[test]
    fn settings_out_of_range_are_named_where_they_stand() {
        for (reader, key) in [(Reader::Images, "data.shapes.count"), (Reader::Moments, "moments.inputs.shapes.count")] {
            let refused = reader.check(&read("shapes.count = 0")).expect_err("no image");
            assert_eq!(refused.key, key);
            assert!(refused.message.contains(key), "{}", refused.message);
        }
    }
}
