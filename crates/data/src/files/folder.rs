//! Pictures in a folder.

use std::fs::FileType;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use fintan_config::Image;

use super::walk::{Kind, Named, Target, Tree, walk};
use super::{Collector, LINKS, bounded};
use crate::bounds::Room;
use crate::error::DataError;
use crate::images::Images;

/// Reads the pictures of a folder.
pub(crate) fn load(folder: &Path, wanted: &Image, room: Room) -> Result<Images, DataError> {
    let root = fs_err::canonicalize(folder)?;
    if !root.is_dir() {
        return Err(DataError::format(folder, "is no folder; archives are `data.tar` and `data.zip`"));
    }
    let found = walk(&Disk, &root, folder);
    room.admit(format_args!("`{}`", folder.display()), found.pictures.len(), wanted)?;
    let mut collector = Collector::new(folder, "folder", wanted, found.left_out, found.unreadable);
    for (shown, path) in found.pictures {
        let bytes = read(&path);
        collector.push(shown, bytes)?;
    }
    collector.finish()
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    // The file may have become a pipe since the folder was listed, and reading a pipe could wait for ever.
    let file = fs_err::metadata(path).map_err(|e| e.to_string())?;
    if !file.is_file() {
        return Err("is no file any more".into());
    }
    bounded(fs_err::File::open(path).map_err(|e| e.to_string())?, file.len())
}

/// The file system; its true paths are canonical paths.
struct Disk;

impl Tree for Disk {
    fn list(&self, folder: &Path) -> Result<Vec<Named>, String> {
        let named = |entry: std::io::Result<fs_err::DirEntry>| {
            let entry = entry?;
            Ok(Named { name: PathBuf::from(entry.file_name()), kind: kind(entry.file_type()?) })
        };
        let list = || fs_err::read_dir(folder)?.map(named).collect::<std::io::Result<_>>();
        list().map_err(|e| e.to_string())
    }

    fn follow(&self, link: &Path) -> Target {
        let resolve = || {
            let path = fs_err::canonicalize(link)?;
            let kind = kind(fs_err::metadata(&path)?.file_type());
            Ok((path, kind))
        };
        match resolve() {
            Ok((path, Kind::Folder)) => Target::Folder(path),
            Ok((path, Kind::File)) => Target::File(path),
            Ok((_, Kind::Special)) => Target::Special,
            Ok((_, Kind::Link)) => Target::Nothing,
            Err(e) if leads_nowhere(link, &e) => Target::Nothing,
            Err(e) => Target::Unreadable(e.to_string()),
        }
    }
}

/// Whether a link that cannot be resolved points to nothing or is part of an endless chain of links.
fn leads_nowhere(link: &Path, error: &std::io::Error) -> bool {
    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) {
        return true;
    }
    let mut at = link.to_owned();
    for _ in 0..LINKS {
        let Ok(to) = fs_err::read_link(&at) else { return false };
        at = at.parent().unwrap_or(Path::new("")).join(to);
    }
    true
}

fn kind(found: FileType) -> Kind {
    if found.is_dir() {
        Kind::Folder
    } else if found.is_symlink() {
        Kind::Link
    } else if found.is_file() {
        Kind::File
    } else {
        Kind::Special
    }
}
