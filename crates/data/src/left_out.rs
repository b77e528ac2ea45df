//! Files of a folder or an archive that do not belong to the data set, with the reasons.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The reason why a file is left out.
///
/// ```
/// use fintan_data::Reason;
///
/// assert!(Reason::Hidden < Reason::Test); // the order of messages
/// assert!(!Reason::Hidden.words().is_empty());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Its name starts with a dot, or belongs to a file of the operating system.
    Hidden,
    /// A picture in a format that is not read.
    OtherFormat,
    /// Its name is not that of a picture.
    NoPicture,
    /// A picture beside the class folders.
    BesideClasses,
    /// A link to a file or folder that is already taken, or a path that occurs again in an archive.
    Repeated,
    /// A link to a folder that contains the data set.
    Above,
    /// A link to nothing.
    Dangling,
    /// A pipe, device or socket.
    Special,
    /// A path that leads out of its archive, or is too long.
    Path,
    /// Test images of a data set from which only training images are read.
    Test,
}

impl Reason {
    /// Every reason, in the order of messages.
    const ALL: [Self; 10] = [
        Self::BesideClasses,
        Self::OtherFormat,
        Self::Test,
        Self::Repeated,
        Self::Above,
        Self::Dangling,
        Self::Special,
        Self::Path,
        Self::NoPicture,
        Self::Hidden,
    ];

    /// The reason as words that follow a number of files.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Hidden => "hidden, or left behind by a system",
            Self::OtherFormat => "in a picture format that is not read (PNG and JPEG are)",
            Self::NoPicture => "no PNG or JPEG by name",
            Self::BesideClasses => "beside the folders that are classes",
            Self::Repeated => "there already under another path",
            Self::Above => "linked to a folder that holds the data set",
            Self::Dangling => "linked to nothing",
            Self::Special => "pipe, device or socket",
            Self::Path => "with a path that leads out of the archive or is too long",
            Self::Test => "for tests (name the file itself to read it)",
        }
    }
}

/// Files that are left out.
///
/// ```
/// use fintan_config::{DataSource, Files, Image};
/// use fintan_data::{Images, Reason};
///
/// let folder = tempfile::tempdir()?;
/// image::GrayImage::new(8, 8).save(folder.path().join("black.png"))?;
/// fs_err::write(folder.path().join("notes.txt"), "none")?;
/// let source = DataSource::Folder(Files { path: folder.path().into() });
/// let images = Images::load(&source, &Image { size: 8, channels: 1, ..Image::default() }, None)?;
/// let (reason, files) = images.left_out.groups().next().expect("a file is left out");
/// assert_eq!((images.len(), reason, files.len()), (1, Reason::NoPicture, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    files: BTreeMap<Reason, Vec<PathBuf>>,
}

/// Number of files that a message names for each reason.
const NAMED: usize = 3;

impl LeftOut {
    pub(crate) fn push(&mut self, reason: Reason, path: PathBuf) {
        self.files.entry(reason).or_default().push(path);
    }

    pub(crate) fn extend(&mut self, other: Self) {
        for (reason, paths) in other.files {
            self.files.entry(reason).or_default().extend(paths);
        }
    }

    /// Whether no file is left out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Every reason with its files, in the order of their paths.
    pub fn groups(&self) -> impl Iterator<Item = (Reason, Vec<&Path>)> {
        Reason::ALL.into_iter().filter_map(|reason| {
            let mut paths: Vec<&Path> = self.files.get(&reason)?.iter().map(PathBuf::as_path).collect();
            paths.sort();
            Some((reason, paths))
        })
    }

    /// One line for each reason: the number of files, the reason, and the first names.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let line = |(reason, paths): (Reason, Vec<&Path>)| {
            let names: Vec<String> = paths.iter().take(NAMED).map(|path| format!("`{}`", path.display())).collect();
            let more = if paths.len() > NAMED { ", .." } else { "" };
            format!("{} {}: {}{more}", paths.len(), reason.words(), names.join(", "))
        };
        self.groups().map(line).collect()
    }
}
