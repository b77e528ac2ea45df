//! PNG and JPEG files in a folder or a tar archive.
//!
//! Files are taken in the order of their paths. One that cannot be decoded is listed and left out.

use std::io::{Cursor, Read as _};
use std::path::{Path, PathBuf};

use fintan_config::Image;
use image::{DynamicImage, ImageReader};

use crate::error::DataError;
use crate::fit::fit;
use crate::images::Images;

pub(crate) fn load_folder(folder: &Path, wanted: &Image) -> Result<Images, DataError> {
    let mut paths = Vec::new();
    walk(folder, &mut paths)?;
    paths.sort();
    let files = paths.into_iter().map(|path| {
        let bytes = fs_err::read(&path)?;
        Ok((path, bytes))
    });
    collect(folder, files, wanted, "folder")
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
    collect(archive, files.into_iter().map(Ok), wanted, "archive")
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

fn collect(
    source: &Path,
    files: impl Iterator<Item = Result<(PathBuf, Vec<u8>), DataError>>,
    wanted: &Image,
    kind: &str,
) -> Result<Images, DataError> {
    let (mut pixels, mut unreadable, mut count) = (Vec::new(), Vec::new(), 0);
    for file in files {
        let (path, bytes) = file?;
        match decode(bytes) {
            Ok(image) => {
                pixels.extend(fit(image, wanted, &path)?);
                count += 1;
            }
            Err(why) => unreadable.push((path, why)),
        }
    }
    if count == 0 {
        let first = unreadable.into_iter().next().map(Box::new);
        return Err(DataError::NoImage { path: source.into(), first });
    }
    let mut images = Images::new(wanted, pixels, None, format!("{kind} `{}`", source.display()));
    images.unreadable = unreadable;
    Ok(images)
}

fn decode(bytes: Vec<u8>) -> Result<DynamicImage, String> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| e.to_string())?;
    reader.decode().map_err(|e| e.to_string())
}
