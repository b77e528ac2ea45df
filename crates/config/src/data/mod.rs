//! The sources of samples, and which part of a configuration accepts which source.

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

/// A source of samples. Each [`Reader`] accepts some of the sources, and refuses the others with a message.
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
    /// A generated set of drawings in twelve classes.
    Shapes(Shapes),
    /// IDX files (MNIST and similar sets), gzip or plain.
    Idx(Idx),
    /// CIFAR-10 or CIFAR-100 binary batches.
    Cifar(Cifar),
    /// A folder of PNG and JPEG files, including its subfolders.
    Folder(Files),
    /// A tar archive of PNG and JPEG files.
    Tar(Files),
    /// A zip archive of PNG and JPEG files.
    Zip(Files),
    /// An image array in a NumPy file. Moments accept an array of values `[samples, features]` or `[samples, channels, rows,
    /// columns]` instead.
    Npy(Npy),
    /// An image array (for moments, an array of values) in a NumPy archive of several arrays.
    Npz(Npz),
    /// Generated inputs on the sphere, with the targets of a random function.
    Teacher(Teacher),
    /// Generated inputs whose values are independent and N(0, 1).
    Iid(Empty),
    /// Generated Gaussian inputs with a power-law spectrum, like that of natural images.
    Spectrum(PowerSpectrum),
}

/// The kind of a [`DataSource`], without its settings.
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

/// The contents of a source.
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

/// A part of a configuration that reads samples from a source.
///
/// ```
/// use fintan_config::{Reader, SourceKind};
///
/// assert!(Reader::Task.takes(SourceKind::Teacher) && !Reader::Images.takes(SourceKind::Teacher));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// The training of a GAN, and all commands that read images.
    Images,
    /// The task of a network, and all commands that read its samples.
    Task,
    /// The table `[moments]`.
    Moments,
}

impl SourceKind {
    /// All kinds, in the order of [`DataSource`].
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

    /// The key of the kind in TOML.
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

    /// The contents of sources of this kind.
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
    /// The kind of the source.
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

    /// The contents of the source.
    #[must_use]
    pub fn content(&self) -> Content {
        self.kind().content()
    }

    /// All files and folders that the source names.
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

    /// The form of this source's images for a network with this input. `None` if the source holds no images, or if the input is
    /// not a square image of 1 or 3 channels.
    #[must_use]
    pub fn image(&self, input: Shape) -> Option<Image> {
        match self.content() {
            Content::Images => image_of(input),
            Content::Targets | Content::Noise => None,
        }
    }

    /// Tells the user how images without labels can get labels.
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

    /// A description of the source: what it is, and its path.
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
    /// Whether the reader accepts sources of this kind.
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

    /// The key of the source in the configuration.
    fn key(self) -> &'static str {
        match self {
            Self::Images | Self::Task => "data",
            Self::Moments => "moments.inputs",
        }
    }

    /// Why the reader refuses sources of this kind, and which kinds it accepts.
    ///
    /// # Panics
    /// Never panics, because every reader accepts some source.
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

    /// Checks that the reader accepts the source, and that its settings are in range.
    pub(crate) fn check(self, source: &DataSource) -> Result<(), Invalid> {
        let (kind, key) = (source.kind(), self.key());
        if !self.takes(kind) {
            return Err(Invalid::new(format!("{key}.{}", kind.name()), self.refusal(kind)));
        }
        // All fields are listed, so that a new setting does not compile until its check is decided.
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

    /// The compiler does not check the list of all kinds, but serde generates its own list.
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

    /// Errors of moments once named the table `data`, which moments do not have.
    #[test]
    fn settings_out_of_range_are_named_where_they_stand() {
        for (reader, key) in [(Reader::Images, "data.shapes.count"), (Reader::Moments, "moments.inputs.shapes.count")] {
            let refused = reader.check(&read("shapes.count = 0")).expect_err("no image");
            assert_eq!(refused.key, key);
            assert!(refused.message.contains(key), "{}", refused.message);
        }
    }
}
