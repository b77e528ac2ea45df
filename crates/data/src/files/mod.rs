//! PNG and JPEG files from a folder or an archive.
//!
//! Files are taken in the order of their paths. Files that are left out ([`walk`]) and files that cannot be read are listed
//! with the reason. The folder of a file is its class: `cats/1.png`, or `train/cats/1.png` and `test/cats/2.png`.

mod archive;
mod folder;
mod tar;
mod walk;
mod zip;

use std::io::Read;
use std::path::{Component, Path, PathBuf};

use fintan_config::Image;

use crate::bounds;
use crate::error::DataError;
use crate::fit::fit;
use crate::images::Images;
use crate::left_out::{LeftOut, Reason};
use crate::parallel;
use crate::picture::Decoder;

pub(crate) use folder::load as load_folder;
pub(crate) use tar::load as load_tar;
pub use tar::looks_like_tar;
pub(crate) use zip::load as load_zip;

/// Longest chain of links that is followed; the limit of Linux.
const LINKS: usize = 40;

/// A path with the bytes of its file, or the reason why they cannot be read.
type File = (PathBuf, Result<Vec<u8>, String>);

/// Number of files that are read before they are decoded together.
const CHUNK: usize = 256;
const CHUNK_BYTES: usize = 1 << 26;

/// Decodes pictures as they arrive and collects them into a data set.
struct Collector<'a> {
    source: &'a Path,
    kind: &'static str,
    wanted: &'a Image,
    decoder: Decoder,
    waiting: Vec<File>,
    waiting_bytes: usize,
    /// Decoded images with their paths.
    images: Vec<(PathBuf, Vec<u8>)>,
    unreadable: Vec<(PathBuf, String)>,
    left_out: LeftOut,
    notes: Vec<String>,
}

impl<'a> Collector<'a> {
    fn new(
        source: &'a Path,
        kind: &'static str,
        wanted: &'a Image,
        left_out: LeftOut,
        unreadable: Vec<(PathBuf, String)>,
    ) -> Self {
        Self {
            source,
            kind,
            wanted,
            decoder: Decoder::default(),
            waiting: Vec::new(),
            waiting_bytes: 0,
            images: Vec::new(),
            unreadable,
            left_out,
            notes: Vec::new(),
        }
    }

    fn note(&mut self, note: &str) {
        self.notes.push(note.into());
    }

    fn push(&mut self, path: PathBuf, bytes: Result<Vec<u8>, String>) -> Result<(), DataError> {
        self.waiting_bytes += bytes.as_ref().map_or(0, Vec::len);
        self.waiting.push((path, bytes));
        if self.waiting.len() >= CHUNK || self.waiting_bytes >= CHUNK_BYTES { self.decode() } else { Ok(()) }
    }

    fn decode(&mut self) -> Result<(), DataError> {
        self.waiting_bytes = 0;
        let (decoder, wanted) = (&self.decoder, self.wanted);
        for (path, image) in parallel::map(std::mem::take(&mut self.waiting), |file| decoded(file, decoder, wanted)) {
            match image {
                Ok(image) => self.images.push((path, image?)),
                Err(why) => self.unreadable.push((path, why)),
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Images, DataError> {
        self.decode()?;
        self.images.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.unreadable.sort();
        if self.images.is_empty() {
            let first = self.unreadable.into_iter().next().map(Box::new);
            return Err(DataError::NoImage { path: self.source.into(), first, left_out: self.left_out.lines() });
        }
        let classes = Classes::of(&self.images.iter().map(|(path, _)| path.as_path()).collect::<Vec<_>>());
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for ((path, image), class) in self.images.into_iter().zip(classes.of_file) {
            match class {
                FileClass::Label(label) => labels.push(label),
                FileClass::None => {}
                FileClass::Beside => {
                    self.left_out.push(Reason::BesideClasses, path);
                    continue;
                }
            }
            pixels.extend(image);
        }
        self.notes.extend(classes.note);
        let labels = (!labels.is_empty()).then_some(labels);
        let source = format!("{} `{}`", self.kind, self.source.display());
        let mut images = Images::new(self.wanted, pixels, labels, source);
        images.classes = (!classes.names.is_empty()).then_some(classes.names);
        images.unreadable = self.unreadable;
        images.left_out = self.left_out;
        images.notes = self.notes;
        Ok(images)
    }
}

/// Decodes the image of a file; an error with the reason if this fails.
fn decoded(
    (path, bytes): File,
    decoder: &Decoder,
    wanted: &Image,
) -> (PathBuf, Result<Result<Vec<u8>, DataError>, String>) {
    let image = bytes.and_then(|bytes| decoder.decode(&bytes, |image| fit(image, wanted, &path)));
    (path, image)
}

/// Reads a picture file with the `declared` number of bytes.
fn bounded(mut from: impl Read, declared: u64) -> Result<Vec<u8>, String> {
    if declared > bounds::FILE {
        return Err(format!("has {declared} bytes, more than the {} that a picture may have", bounds::FILE));
    }
    let mut bytes = Vec::new();
    from.by_ref().take(declared + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() as u64 == declared { Ok(bytes) } else { Err(format!("has not the {declared} bytes that it says")) }
}

/// The class of a file, if it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileClass {
    Label(u8),
    /// The data set has no classes.
    None,
    /// The file is beside the folders of the classes, and has no class.
    Beside,
}

/// The classes of a list of files: the names of their folders, sorted.
#[derive(Debug, PartialEq)]
struct Classes {
    of_file: Vec<FileClass>,
    names: Vec<String>,
    /// The reason why the folders are not used as classes.
    note: Option<String>,
}

/// Number of labels that a byte can hold.
const LABELS: usize = 256;

impl Classes {
    fn of(paths: &[&Path]) -> Self {
        let folders: Vec<Vec<Component>> =
            paths.iter().map(|path| path.parent().map_or(vec![], |folder| folder.components().collect())).collect();
        let none = |note| Self { of_file: vec![FileClass::None; paths.len()], names: Vec::new(), note };
        let all: Vec<&Vec<Component>> = folders.iter().collect();
        let depth = shared(&all);
        // A file that lies beside the class folders belongs to no class, and must not prevent the others from having one.
        let (inside, beside): (Vec<usize>, Vec<usize>) = (0..folders.len()).partition(|&i| folders[i].len() > depth);
        let inner: Vec<&Vec<Component>> = inside.iter().map(|&i| &folders[i]).collect();
        let inner_depth = shared(&inner);
        let name =
            |folder: &Vec<Component>| Some(folder[inner_depth..].last()?.as_os_str().to_string_lossy().into_owned());
        let Some(of) = inner.iter().map(|folder| name(folder)).collect::<Option<Vec<String>>>() else {
            let several = inner.iter().any(|folder| folder.len() > inner_depth);
            let loose = inner.iter().position(|folder| folder.len() == inner_depth);
            let note = loose
                .filter(|_| several)
                .map(|at| format!("no labels: `{}` lies beside folders of pictures", paths[inside[at]].display()));
            return none(note);
        };
        let mut names = of.clone();
        names.sort();
        names.dedup();
        if names.len() > LABELS {
            return none(Some(format!("no labels: {} folders are more than {LABELS} classes", names.len())));
        }
        if names.len() < 2 {
            return none(None);
        }
        let mut of_file = vec![FileClass::None; paths.len()];
        for i in beside {
            of_file[i] = FileClass::Beside;
        }
        for (i, name) in inside.into_iter().zip(of) {
            of_file[i] = FileClass::Label(names.binary_search(&name).expect("is among them") as u8);
        }
        Self { of_file, names, note: None }
    }
}

/// The number of leading folders that all of these paths share.
fn shared(folders: &[&Vec<Component>]) -> usize {
    let Some(first) = folders.first() else { return 0 };
    let with_first = |folder: &&Vec<Component>| folder.iter().zip(*first).take_while(|(a, b)| a == b).count();
    folders.iter().map(with_first).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_classes_where_there_are_several() {
        let of = |paths: &[&str]| {
            let Classes { of_file, names, .. } = Classes::of(&paths.iter().map(Path::new).collect::<Vec<_>>());
            let label = |class: &FileClass| match class {
                FileClass::Label(label) => Some(*label),
                FileClass::None => None,
                FileClass::Beside => Some(255),
            };
            let labels: Option<Vec<u8>> = of_file.iter().map(label).collect();
            labels.filter(|labels| !labels.is_empty()).map(|labels| (labels, names))
        };
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(of(&["b/1.png", "a/2.png"]), Some((vec![1, 0], names(&["a", "b"]))));
        assert_eq!(
            of(&["/x/train/b/1.png", "/x/train/a/1.png", "/x/test/a/2.png"]),
            Some((vec![1, 0, 0], names(&["a", "b"])))
        );
        // A file beside the class folders has no class.
        assert_eq!(of(&["x/1.png", "x/a/2.png", "x/b/3.png"]), Some((vec![255, 0, 1], names(&["a", "b"]))));
        assert_eq!(of(&["x/1.png", "x/y/a/2.png", "x/y/b/3.png"]), Some((vec![255, 0, 1], names(&["a", "b"]))));
        // No classes: all files in one folder, folders that are not classes, one name twice, too many names.
        assert_eq!(of(&["x/1.png", "x/2.png"]), None);
        assert_eq!(of(&["x/1.png", "x/a/2.png", "x/a/3.png"]), None);
        assert_eq!(of(&["x/1.png", "x/a/2.png", "x/a/b/3.png"]), None);
        assert_eq!(of(&["x/a/1.png", "y/a/2.png"]), None);
        assert_eq!(
            of(&(0..257)
                .map(|i| format!("{i}/1.png"))
                .collect::<Vec<_>>()
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>()),
            None
        );
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn why_there_are_no_labels_is_said() {
        let note = |paths: &[&str]| Classes::of(&paths.iter().map(Path::new).collect::<Vec<_>>()).note;
        assert_eq!(note(&["x/1.png", "x/2.png"]), None);
        assert_eq!(
            note(&["x/1.png", "x/a/2.png", "x/a/b/3.png"]),
            Some("no labels: `x/a/2.png` lies beside folders of pictures".into())
        );
    }
}
