//! Writes files and folders completely or not at all.
//!
//! They are written under a temporary name beside their destination, flushed to the disk, and then renamed. A temporary
//! name, `.NAME.MARK-COUNT.unfinished`, belongs to one process. So several processes may write the same file, and remains of
//! a killed process are recognised and removed.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::run_dir::RunError;
use crate::writer::{Life, Mark, Writer};

const ENDING: &str = ".unfinished";

/// Number of bytes of the final name that the temporary name repeats; a file name has at most 255 bytes.
const REPEATED: usize = 160;

/// A file or folder under a temporary name; it is removed when dropped unless it is [finished](Self::finish).
#[derive(Debug)]
pub(crate) struct Unfinished {
    path: PathBuf,
    finished: bool,
}

impl Unfinished {
    /// An unused temporary name beside `place`; missing parent folders are created.
    pub(crate) fn beside(place: &Path) -> io::Result<Self> {
        let folder = folder_of(place);
        make_folder(folder)?;
        sweep_once(folder);
        Ok(Self { path: folder.join(temporary_name(place)), finished: false })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Renames it to its final name. A file at that name is replaced; a folder is replaced only if it is empty.
    pub(crate) fn finish(&mut self, place: &Path) -> io::Result<()> {
        fs_err::rename(&self.path, place)?;
        self.finished = true;
        sync_folder(folder_of(place))
    }

    /// Keeps it under its temporary name, as a kill would.
    #[cfg(test)]
    pub(crate) fn keep(&mut self) {
        self.finished = true;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.finished {
            // The first error is reported; a failure to remove the remains is not.
            let _ = remove(&self.path);
        }
    }
}

/// Writes a file under a temporary name beside `path`, then renames it.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("notes.txt");
/// fintan_artifact::write_whole(&path, b"first")?;
/// fintan_artifact::write_whole(&path, b"second")?;
/// assert_eq!(fs_err::read(&path)?, b"second");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Errors of the file system; then nothing is left behind.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    write_whole_with(path, |file| file.write_all(bytes))
}

/// Writes a file like [`write_whole`], for content that is too large to hold in memory twice: `fill` writes into the file.
///
/// # Errors
/// Errors of the file system and of `fill`; then nothing is left behind.
pub(crate) fn write_whole_with(
    path: &Path,
    fill: impl FnOnce(&mut fs_err::File) -> io::Result<()>,
) -> Result<(), RunError> {
    let mut unfinished = Unfinished::beside(path)?;
    let mut file = fs_err::OpenOptions::new().write(true).create_new(true).open(unfinished.path())?;
    fill(&mut file)?;
    file.sync_all()?;
    drop(file);
    Ok(unfinished.finish(path)?)
}

/// The folder that holds `path`.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Creates a folder and its parents, and flushes them to the disk. Returns the folders that did not exist, outermost first.
pub(crate) fn make_folder(folder: &Path) -> io::Result<Vec<PathBuf>> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(Vec::new());
    }
    let above = folder_of(folder);
    let mut made = make_folder(above)?;
    loop {
        match fs_err::create_dir(folder) {
            Ok(()) => {
                sync_folder(above)?;
                made.push(folder.into());
                return Ok(made);
            }
            // Another process was faster.
            Err(_) if folder.is_dir() => return Ok(made),
            // Another process has removed the folder again.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && folder.symlink_metadata().is_err() => {}
            Err(e) => return Err(e),
        }
    }
}

/// Flushes the names in a folder to the disk, if the system supports it.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    let unable = [io::ErrorKind::InvalidInput, io::ErrorKind::Unsupported, io::ErrorKind::PermissionDenied];
    match fs_err::File::open(folder).and_then(|opened| opened.sync_all()) {
        Err(e) if !unable.contains(&e.kind()) => Err(e),
        _ => Ok(()),
    }
}

/// Removes a file, or a folder with its contents.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    if fs_err::symlink_metadata(path)?.is_dir() { fs_err::remove_dir_all(path) } else { fs_err::remove_file(path) }
}

fn temporary_name(place: &Path) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    let end = (0..=name.len().min(REPEATED)).rev().find(|&end| name.is_char_boundary(end)).unwrap_or(0);
    format!(".{}.{}-{}{ENDING}", &name[..end], Writer::this().mark(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The process to which a temporary name belongs.
pub(crate) fn mark_of(name: &str) -> Option<Mark> {
    let (_, mark) = name.strip_prefix('.')?.strip_suffix(ENDING)?.rsplit_once('.')?;
    let (mark, count) = mark.rsplit_once('-')?;
    count.parse::<u64>().ok()?;
    Mark::read(mark)
}

/// Removes files and folders with temporary names whose processes have `ended`.
pub(crate) fn sweep(folder: &Path, ended: impl Fn(Life) -> bool) {
    // Entries that cannot be read or removed do no harm.
    let Ok(entries) = fs_err::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let mark = mark_of(&entry.file_name().to_string_lossy());
        if mark.is_some_and(|mark| ended(mark.life())) && is_ours(&entry) {
            let _ = remove(&entry.path());
        }
    }
}

/// Sweeps a folder when this process writes to it for the first time.
fn sweep_once(folder: &Path) {
    static SWEPT: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let first = SWEPT.lock().is_ok_and(|mut swept| swept.insert(folder.into()));
    if first {
        sweep(folder, |life| life == Life::Ended);
    }
}

/// Whether this user created the entry; processes of other users may be hidden.
#[cfg(unix)]
fn is_ours(entry: &fs_err::DirEntry) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let mine = fs_err::metadata("/proc/self").map(|this| this.uid());
    entry.metadata().is_ok_and(|found| mine.is_ok_and(|mine| mine == found.uid()))
}

#[cfg(not(unix))]
fn is_ours(_: &fs_err::DirEntry) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs_err::read_dir(folder).expect("read");
        let mut names: Vec<String> =
            entries.map(|e| e.expect("read").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_write_that_fails_leaves_nothing_behind() {
        let parent = tempfile::tempdir().expect("a folder");
        // A file cannot replace a folder that is not empty.
        fs_err::create_dir_all(parent.path().join("taken/inside")).expect("made");
        assert!(write_whole(&parent.path().join("taken"), b"x").is_err());
        assert_eq!(names(parent.path()), ["taken"]);
        fs_err::write(parent.path().join("file"), b"x").expect("written");
        let error = write_whole(&parent.path().join("file/below"), b"x").expect_err("no folder").to_string();
        assert!(error.contains("file"), "{error}");
    }

    #[test]
    fn temporary_names_are_unique_and_tell_their_process() {
        let place = Path::new("a.b/inputs.npz");
        let all: BTreeSet<String> = (0..100).map(|_| temporary_name(place)).collect();
        assert_eq!(all.len(), 100);
        for name in &all {
            assert!(name.starts_with(".inputs.npz."), "{name}");
            assert_eq!(mark_of(name), Some(Writer::this().mark()));
        }
        let long = "ä".repeat(120);
        assert!(temporary_name(Path::new(&long)).len() < 255);
        for other in ["inputs.npz", ".inputs.npz.unfinished", ".a.00000000-00000000-1-2.unfinished", ".unfinished"] {
            assert_eq!(mark_of(other), None, "{other}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else_is() {
        let parent = tempfile::tempdir().expect("a folder");
        let this = Writer::this().mark().to_string();
        // A start time that differs from that of this process number, and another host.
        let ended = this.rsplit_once('-').map(|(rest, _)| format!("{rest}-1")).expect("a mark");
        let elsewhere = format!("{:08x}{}", u32::from_str_radix(&this[..8], 16).expect("hex") ^ 1, &this[8..]);
        let file = |name: &str| fs_err::write(parent.path().join(name), b"x").expect("written");
        file(&format!(".a.{ended}-0.unfinished"));
        file(&format!(".a.{this}-999999.unfinished"));
        file(&format!(".a.{elsewhere}-0.unfinished"));
        file(".a.unfinished");
        file("a");
        fs_err::create_dir_all(parent.path().join(format!(".run.{ended}-3.unfinished/inside"))).expect("made");
        write_whole(&parent.path().join("b"), b"x").expect("written");
        let mut kept = vec![
            format!(".a.{this}-999999.unfinished"),
            format!(".a.{elsewhere}-0.unfinished"),
            ".a.unfinished".into(),
            "a".into(),
            "b".into(),
        ];
        kept.sort();
        assert_eq!(names(parent.path()), kept);
    }

    #[test]
    fn writers_of_one_file_do_not_take_it_from_each_other() {
        let parent = tempfile::tempdir().expect("a folder");
        let place = parent.path().join("new/inputs.npz");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..20).for_each(|_| write_whole(&place, &[7; 4096]).expect("written")));
            }
        });
        assert_eq!(fs_err::read(&place).expect("read"), [7; 4096]);
        assert_eq!(names(place.parent().expect("a folder")), ["inputs.npz"]);
    }
}
