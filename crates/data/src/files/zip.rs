//! Pictures in a zip archive.

use std::io::{BufReader, Read as _};
use std::path::Path;

use fintan_config::Image;
use zip::ZipArchive;
use zip::result::ZipError;

use super::archive::{Contents, Member};
use super::walk::walk;
use super::{Collector, bounded};
use crate::bounds::{self, Room};
use crate::error::DataError;
use crate::images::Images;
use crate::left_out::LeftOut;

/// Reads the pictures of a zip archive.
pub(crate) fn load(path: &Path, wanted: &Image, room: Room) -> Result<Images, DataError> {
    let broken = |e: ZipError| {
        if let ZipError::Io(e) = e {
            return DataError::Io(e);
        }
        DataError::format(path, format!("is no complete zip archive: {e}"))
    };
    let mut archive = ZipArchive::new(BufReader::new(fs_err::File::open(path)?)).map_err(broken)?;
    let (mut contents, mut left_out) = (Contents::default(), LeftOut::default());
    for i in 0..archive.len() {
        // Windows programs write backslashes in names.
        let name = archive.name_for_index(i).transpose().map_err(broken)?.unwrap_or_default().replace('\\', "/");
        let (is_dir, is_link, kind) = {
            let entry = archive.by_index_data(i).map_err(broken)?;
            (entry.is_dir(), entry.is_symlink(), entry.unix_mode().unwrap_or(0) >> 12)
        };
        let member = if is_dir || name.ends_with('/') {
            Member::Folder
        } else if is_link {
            let mut target = Vec::new();
            let member = archive.by_index(i).map_err(|e| e.to_string());
            let member = member.map(|member| member.take(bounds::PATH as u64).read_to_end(&mut target));
            // A link that cannot be read is a link to nothing.
            if matches!(member, Ok(Ok(_))) {
                Member::Link(String::from_utf8_lossy(&target).as_ref().into())
            } else {
                Member::Link("".into())
            }
        } else if matches!(kind, 0o1 | 0o2 | 0o6 | 0o14) {
            Member::Special
        } else {
            Member::File(i)
        };
        contents.insert(&name, member, &mut left_out);
    }
    let found = walk(&contents, Path::new(""), Path::new(""));
    left_out.extend(found.left_out);
    room.admit(format_args!("`{}`", path.display()), found.pictures.len(), wanted)?;
    let mut collector = Collector::new(path, "archive", wanted, left_out, found.unreadable);
    for (shown, path) in found.pictures {
        let place = contents.place(&path).expect("the walk found a file");
        // A member that is damaged, encrypted or packed with an unknown method counts as one unreadable file.
        let member = archive.by_index(place).map_err(|e| e.to_string());
        let bytes = member.and_then(|member| {
            let size = member.size();
            bounded(member, size)
        });
        collector.push(shown, bytes)?;
    }
    collector.finish()
}
