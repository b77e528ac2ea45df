//! PNG and JPEG files in a folder or an archive.
//!
//! Files are taken in the order of their paths. One that cannot be decoded is listed and left out. The folder that a file
//! lies in is its class: `cats/1.png`, or `train/cats/1.png` and `test/cats/2.png`.

use std::io::{Cursor, Read as _};
use std::path::{Component, Path, PathBuf};

use fintan_config::Image;
use image::{DynamicImage, ImageReader};

use crate::error::DataError;
use crate::fit::fit;
use crate::images::Images;
use crate::parallel;

pub(crate) fn load_folder(folder: &Path, wanted: &Image) -> Result<Images, DataError> {
    let mut paths = Vec::new();
    walk(folder, &mut paths)?;
    paths.sort();
    let files = paths.into_iter().map(|path| {
        let bytes = fs_err::read(&path)?;
        Ok((path, Ok(bytes)))
    });
    collect(folder, files, wanted, "folder")
}

pub(crate) fn load_zip(archive: &Path, wanted: &Image) -> Result<Images, DataError> {
    let broken = |e: zip::result::ZipError| DataError::format(archive, format!("is no complete zip archive: {e}"));
    let mut zip = zip::ZipArchive::new(std::io::BufReader::new(fs_err::File::open(archive)?)).map_err(broken)?;
    let mut members = Vec::new();
    for i in 0..zip.len() {
        let name = zip.name_for_index(i).transpose().map_err(broken)?.unwrap_or_default().into_owned();
        if !name.ends_with('/') && is_image(Path::new(&name)) {
            members.push((PathBuf::from(name), i));
        }
    }
    members.sort();
    let files = members.into_iter().map(|(path, i)| {
        let mut bytes = Vec::new();
        // A member that is damaged, encrypted or packed in a way unknown here is one unreadable file.
        let read = zip.by_index(i).map_err(|e| e.to_string());
        let read = read.and_then(|mut member| member.read_to_end(&mut bytes).map_err(|e| e.to_string()));
        Ok((path, read.map(|_| bytes)))
    });
    collect(archive, files, wanted, "archive")
}

pub(crate) fn load_tar(archive: &Path, wanted: &Image) -> Result<Images, DataError> {
    let broken = |e: std::io::Error| DataError::format(archive, format!("is no complete tar archive: {e}"));
    let mut tar = tar::Archive::new(std::io::BufReader::new(fs_err::File::open(archive)?));
    let mut files = Vec::new();
    for entry in tar.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let path = entry.path().map_err(broken)?.into_owned();
        if entry.header().entry_type().is_file() && is_image(&path) {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(broken)?;
            files.push((path, bytes));
        }
    }
    files.sort();
    collect(archive, files.into_iter().map(|(path, bytes)| Ok((path, Ok(bytes)))), wanted, "archive")
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<(), DataError> {
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, paths)?;
        } else if is_image(&path) {
            paths.push(path);
        }
    }
    Ok(())
}

fn is_image(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    let extension = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    !hidden && matches!(extension.as_deref(), Some("png" | "jpg" | "jpeg"))
}

/// A path, and the bytes there or why they cannot be read.
type File = (PathBuf, Result<Vec<u8>, String>);

fn collect(
    source: &Path,
    mut files: impl Iterator<Item = Result<File, DataError>>,
    wanted: &Image,
    kind: &str,
) -> Result<Images, DataError> {
    let (mut pixels, mut unreadable, mut paths) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let some: Vec<File> = files.by_ref().take(CHUNK).collect::<Result<_, _>>()?;
        if some.is_empty() {
            break;
        }
        for (path, image) in parallel::map(some, |file| decoded(file, wanted)) {
            match image? {
                Ok(image) => {
                    pixels.extend(image);
                    paths.push(path);
                }
                Err(why) => unreadable.push((path, why)),
            }
        }
    }
    if paths.is_empty() {
        let first = unreadable.into_iter().next().map(Box::new);
        return Err(DataError::NoImage { path: source.into(), first });
    }
    let (labels, classes) = classes(&paths).unzip();
    let mut images = Images::new(wanted, pixels, labels, format!("{kind} `{}`", source.display()));
    images.classes = classes;
    images.unreadable = unreadable;
    Ok(images)
}

/// Files that are read before they are decoded.
const CHUNK: usize = 256;

/// The image of a file, or why it is none.
fn decoded((path, bytes): File, wanted: &Image) -> (PathBuf, Result<Result<Vec<u8>, String>, DataError>) {
    let image = match bytes.and_then(decode) {
        Ok(image) => fit(image, wanted, &path).map(Ok),
        Err(why) => Ok(Err(why)),
    };
    (path, image)
}

/// Labels and names of the classes: the names of the folders that files lie in, in their order. None where a file lies beside
/// those folders, and where there are none or more than a label can count.
fn classes(paths: &[PathBuf]) -> Option<(Vec<u8>, Vec<String>)> {
    let folders: Vec<Vec<Component>> =
        paths.iter().map(|path| path.parent().map_or(vec![], |folder| folder.components().collect())).collect();
    let first = folders.first()?;
    let shared = |folder: &Vec<Component>| folder.iter().zip(first).take_while(|(a, b)| a == b).count();
    let shared = folders.iter().map(shared).min()?;
    let name = |folder: &Vec<Component>| Some(folder[shared..].last()?.as_os_str().to_string_lossy().into_owned());
    let of: Vec<String> = folders.iter().map(name).collect::<Option<_>>()?;
    let mut names = of.clone();
    names.sort();
    names.dedup();
    if !(2..=256).contains(&names.len()) {
        return None;
    }
    let label = |name: &String| names.binary_search(name).expect("is among them") as u8;
    Some((of.iter().map(label).collect(), names))
}

fn decode(bytes: Vec<u8>) -> Result<DynamicImage, String> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| e.to_string())?;
    reader.decode().map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_classes_where_there_are_several() {
        let of = |paths: &[&str]| classes(&paths.iter().map(PathBuf::from).collect::<Vec<_>>());
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(of(&["b/1.png", "a/2.png"]), Some((vec![1, 0], names(&["a", "b"]))));
        assert_eq!(
            of(&["/x/train/b/1.png", "/x/train/a/1.png", "/x/test/a/2.png"]),
            Some((vec![1, 0, 0], names(&["a", "b"])))
        );
        // All in one folder, some beside the folders, the same name twice, too many.
        assert_eq!(of(&["x/1.png", "x/2.png"]), None);
        assert_eq!(of(&["x/1.png", "x/a/2.png", "x/b/3.png"]), None);
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
}
