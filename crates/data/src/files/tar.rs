//! Pictures in a tar archive, uncompressed or packed with gzip.
//!
//! The archive is read twice: first its names, because links may point backwards, then its pictures.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use fintan_config::Image;
use tar::{Archive, Entries, EntryType};

use super::archive::{Contents, Member};
use super::walk::walk;
use super::{Collector, bounded};
use crate::bounds::Room;
use crate::error::DataError;
use crate::gzip::{Gunzip, MAGIC};
use crate::images::Images;
use crate::left_out::LeftOut;

/// Largest size in bytes of the headers of one member: long names and other extensions in front of it.
const HEADERS: u64 = 1 << 20;

/// Reads the pictures of a tar archive.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "kinds of members in a library that grows; the rest hold no picture"
)]
pub(crate) fn load(path: &Path, wanted: &Image, room: Room) -> Result<Images, DataError> {
    let broken = |e: io::Error| DataError::format(path, format!("is no complete tar archive: {e}"));
    let (mut contents, mut left_out) = (Contents::default(), LeftOut::default());
    // Hard links name a member that comes before them.
    let mut hard_links: Vec<(String, String)> = Vec::new();
    members(path, |place, Entered { name, kind, target, .. }| {
        let member = match kind {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse if name.ends_with('/') => Member::Folder,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Member::File(place),
            EntryType::Directory => Member::Folder,
            EntryType::Symlink => Member::Link(target.into()),
            EntryType::Link => {
                hard_links.push((name, target));
                return Ok(());
            }
            EntryType::Char | EntryType::Block | EntryType::Fifo => Member::Special,
            // Headers for all members, and types that only a single program defines.
            _ => return Ok(()),
        };
        contents.insert(&name, member, &mut left_out);
        Ok(())
    })
    .map_err(broken)?;
    for (name, target) in hard_links {
        contents.link(&name, &target, &mut left_out);
    }
    let found = walk(&contents, Path::new(""), Path::new(""));
    left_out.extend(found.left_out);
    room.admit(format_args!("`{}`", path.display()), found.pictures.len(), wanted)?;
    let mut wanted_at: BTreeMap<usize, Vec<PathBuf>> = BTreeMap::new();
    for (shown, path) in found.pictures {
        wanted_at.entry(contents.place(&path).expect("the walk found a file")).or_default().push(shown);
    }
    let mut collector = Collector::new(path, "archive", wanted, left_out, found.unreadable);
    let mut failed = None;
    let read = members(path, |place, Entered { size, body, .. }| {
        let Some(paths) = wanted_at.remove(&place) else { return Ok(()) };
        let bytes = bounded(body, size);
        for shown in paths {
            if let Err(error) = collector.push(shown, bytes.clone()) {
                failed.get_or_insert(error);
                return Err(io::Error::other("stopped"));
            }
        }
        Ok(())
    });
    if let Some(error) = failed {
        return Err(error);
    }
    let End { garbage, marked } = read.map_err(broken)?;
    if garbage {
        collector.note("bytes behind the gzip data are ignored");
    }
    if !marked {
        collector.note("the archive ends without the blocks of zeros that mark its end; members may be missing");
    }
    collector.finish()
}

/// Whether a file starts like a tar archive, uncompressed or packed with gzip.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("notes.tar");
/// fs_err::write(&path, "not an archive")?;
/// assert!(!fintan_data::looks_like_tar(&path)?);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// Errors of the file system.
pub fn looks_like_tar(path: &Path) -> io::Result<bool> {
    // Opening a pipe would consume its data.
    if !fs_err::metadata(path)?.is_file() {
        return Ok(false);
    }
    let mut file = BufReader::new(fs_err::File::open(path)?);
    let packed = file.fill_buf()?.starts_with(&MAGIC);
    let mut start = Vec::new();
    let read = if packed {
        Gunzip::new(file).take(START).read_to_end(&mut start)
    } else {
        file.take(START).read_to_end(&mut start)
    };
    // If reading failed, the part that could be read is used.
    let _ = read;
    Ok(start.get(257..262) == Some(b"ustar"))
}

/// Bytes of a tar archive's first header.
const START: u64 = 512;

/// The first bytes of files from other packers.
const OTHERS: [(&[u8], &str); 3] = [(b"\xfd7zXZ\0", "xz"), (b"BZh", "bzip2"), (b"\x28\xb5\x2f\xfd", "zstd")];

/// A member during a pass over the archive.
struct Entered<'a> {
    name: String,
    kind: EntryType,
    /// The target of a link.
    target: String,
    size: u64,
    body: &'a mut dyn Read,
}

/// How an archive ends.
struct End {
    /// Whether bytes that are not gzip data follow the gzip data.
    garbage: bool,
    /// Whether a block of zeros marks the end of the archive.
    marked: bool,
}

/// Calls `each` with the index and the entry of every member.
fn members(path: &Path, each: impl FnMut(usize, Entered) -> io::Result<()>) -> io::Result<End> {
    let file = fs_err::File::open(path)?;
    let len = file.metadata()?.len();
    let mut file = BufReader::new(file);
    file.fill_buf()?;
    let (left, over) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
    if let Some((_, packer)) = OTHERS.iter().find(|(start, _)| file.buffer().starts_with(start)) {
        let message = format!("it is packed with {packer}, and only gzip is unpacked here");
        return Err(io::Error::new(io::ErrorKind::Unsupported, message));
    }
    if file.fill_buf()?.starts_with(&MAGIC) {
        let mut archive = Archive::new(Budget { inner: Gunzip::new(file), left: left.clone(), over: over.clone() });
        for_each(archive.entries()?, &left, u64::MAX, each)?;
        let mut rest = archive.into_inner().inner;
        // The gzip data go on after the end of the archive; their checksum is at their end.
        io::copy(&mut rest, &mut io::sink())?;
        return Ok(End { garbage: rest.has_garbage(), marked: !over.get() });
    }
    let mut archive = Archive::new(Budget { inner: file, left: left.clone(), over: over.clone() });
    for_each(archive.entries_with_seek()?, &left, len, each)?;
    Ok(End { garbage: false, marked: !over.get() })
}

fn for_each<R: Read>(
    mut entries: Entries<R>,
    left: &Cell<u64>,
    len: u64,
    mut each: impl FnMut(usize, Entered) -> io::Result<()>,
) -> io::Result<()> {
    let mut unread = 0_u64;
    for place in 0.. {
        left.set(unread.saturating_add(HEADERS));
        let Some(entry) = entries.next() else { break };
        let mut entry = entry?;
        let (kind, size) = (entry.header().entry_type(), entry.size());
        // A sparse file occupies fewer bytes in the archive than its full size.
        unread = if kind.is_gnu_sparse() { entry.header().entry_size()? } else { size };
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        // Seeking beyond the end of the file is not an error, so the position is checked.
        if entry.raw_file_position().checked_add(unread).is_none_or(|end| end > len) {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("it ends within `{name}`")));
        }
        let target = entry.link_name_bytes().map(|name| String::from_utf8_lossy(&name).into_owned());
        left.set(u64::MAX);
        each(place, Entered { name, kind, target: target.unwrap_or_default(), size, body: &mut entry })?;
    }
    Ok(())
}

/// A reader that returns at most `left` bytes: a bound on what the tar library reads on its own.
struct Budget<R> {
    inner: R,
    left: Rc<Cell<u64>>,
    /// Whether the end of the data was reached.
    over: Rc<Cell<bool>>,
}

impl<R: Read> Read for Budget<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.get();
        if left == 0 && !buffer.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a header of more than {HEADERS} bytes")));
        }
        let n = self.inner.by_ref().take(left).read(buffer)?;
        self.left.set(left - n as u64);
        self.over.set(n == 0 && !buffer.is_empty());
        Ok(n)
    }
}

impl<R: Seek> Seek for Budget<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}
