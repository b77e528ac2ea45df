//! Locks that give each folder a single writer.
//!
//! A process that writes to a folder locks the file `.fintan.lock` in it, and identifies itself there in a line of JSON. The
//! lock of the operating system decides. It ends with its process, so a file left behind by a kill or a reboot excludes
//! nobody. For folders of other hosts and file systems without locks, where the state cannot be known, there is a
//! [`LockWarning`]. The file is removed when the last writer ends. Readers take no lock.

use std::fmt;
use std::fs::TryLockError;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::run_dir::RunError;
use crate::whole::make_folder;
use crate::writer::{Life, Writer, plain};

/// The name of the lock file.
pub(crate) const LOCK: &str = ".fintan.lock";

/// How long to wait for a lock that others hold only briefly.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait for the lock of a folder that is to be removed: other processes hold it briefly when they end.
const LAST_LOOK: Duration = Duration::from_millis(20);

/// Time between two attempts to take a lock.
const PAUSE: Duration = Duration::from_millis(2);

/// Exclusive or shared use of a folder, until this value is dropped.
///
/// ```
/// use fintan_artifact::{Lock, RunError};
///
/// let folder = tempfile::tempdir()?;
/// let lock = Lock::exclusive(folder.path())?;
/// assert!(matches!(Lock::exclusive(folder.path()), Err(RunError::Held { .. })));
/// drop(lock);
/// assert!(Lock::exclusive(folder.path()).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Lock {
    file: fs_err::File,
    folder: PathBuf,
    name: &'static str,
    kind: Kind,
    /// Whether the file system supports locks.
    real: bool,
    warning: Option<LockWarning>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One writer.
    Exclusive,
    /// Several writers that cooperate.
    Shared,
}

/// The reason why a lock may fail to exclude others.
///
/// ```
/// use fintan_artifact::LockWarning;
///
/// let warning = LockWarning::NoLocks { folder: "runs/a".into(), reason: "not supported".into() };
/// assert!(warning.to_string().starts_with("`runs/a` lies on a file system without locks (not supported)"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockWarning {
    /// The lock was left by a process on another host, whose state cannot be checked from this host.
    OtherHost {
        /// The folder.
        folder: PathBuf,
        /// The process.
        writer: Writer,
    },
    /// The file system has no locks.
    NoLocks {
        /// The folder.
        folder: PathBuf,
        /// The error of the system.
        reason: String,
    },
}

impl fmt::Display for LockWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherHost { folder, writer } => write!(
                f,
                "`{}` was locked by {writer} at {} and not released; this host cannot see whether that process still writes \
                 there",
                folder.display(),
                plain(&writer.since)
            ),
            Self::NoLocks { folder, reason } => write!(
                f,
                "`{}` lies on a file system without locks ({reason}): let one process at a time write there",
                folder.display()
            ),
        }
    }
}

impl Lock {
    /// Locks a folder for this process alone. The folder is created if it does not exist.
    ///
    /// # Errors
    /// [`RunError::Held`] if another process writes there, and errors of the file system.
    pub fn exclusive(folder: &Path) -> Result<Self, RunError> {
        Self::made(folder, LOCK, Kind::Exclusive, Duration::ZERO)
    }

    /// Locks a folder together with other processes that also take a shared lock; processes that want it alone are excluded.
    /// The folder is created if it does not exist.
    ///
    /// # Errors
    /// The errors of [`Lock::exclusive`].
    pub fn shared(folder: &Path) -> Result<Self, RunError> {
        Self::made(folder, LOCK, Kind::Shared, PATIENCE)
    }

    /// Locks the file `.NAME.lock` of a folder, which every process holds only briefly.
    pub(crate) fn moment(folder: &Path, name: &'static str) -> Result<Self, RunError> {
        Self::made(folder, name, Kind::Exclusive, PATIENCE)
    }

    /// Creates a folder and locks it; repeats this if another process removes the folder in between.
    fn made(folder: &Path, name: &'static str, kind: Kind, patience: Duration) -> Result<Self, RunError> {
        let mut left = PATIENCE;
        loop {
            make_folder(folder)?;
            match Self::take(folder, name, kind, patience) {
                Err(RunError::Io(e)) if e.kind() == io::ErrorKind::NotFound && !left.is_zero() => {
                    left = left.saturating_sub(PAUSE);
                }
                taken => return taken,
            }
        }
    }

    /// Locks an existing folder.
    fn take(folder: &Path, name: &'static str, kind: Kind, patience: Duration) -> Result<Self, RunError> {
        let path = folder.join(name);
        let mut left = patience;
        let mut unnamed = 0;
        loop {
            let file = fs_err::OpenOptions::new().read(true).append(true).create(true).open(&path)?;
            let locked = match kind {
                Kind::Exclusive => file.try_lock(),
                Kind::Shared => file.try_lock_shared(),
            };
            match locked {
                Ok(()) if is_at(&file, &path)? => return Self::held(file, folder, name, kind),
                // The previous holder removed the file after it was opened here.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if left.is_zero() => {
                    let writer = read(&file).into_iter().find(|writer| writer.life() != Life::Ended);
                    // A process writes its name a few microseconds after it takes the lock.
                    if writer.is_none() && unnamed < 20 {
                        unnamed += 1;
                        std::thread::sleep(PAUSE);
                        continue;
                    }
                    return Err(RunError::Held { folder: folder.into(), writer });
                }
                Err(TryLockError::WouldBlock) => {
                    std::thread::sleep(PAUSE);
                    left = left.saturating_sub(PAUSE);
                }
                Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(TryLockError::Error(e)) => return Self::without_locks(file, folder, name, kind, &e),
            }
        }
    }

    /// The lock on a file that the system has locked.
    fn held(file: fs_err::File, folder: &Path, name: &'static str, kind: Kind) -> Result<Self, RunError> {
        let elsewhere = read(&file).into_iter().find(Writer::is_elsewhere);
        let warning = elsewhere
            .filter(|_| kind == Kind::Exclusive)
            .map(|writer| LockWarning::OtherHost { folder: folder.into(), writer });
        let lock = Self { file, folder: folder.into(), name, kind, real: true, warning };
        lock.note()?;
        Ok(lock)
    }

    /// The lock on a file system without locks, where only the text of the file shows who uses the folder.
    fn without_locks(
        file: fs_err::File,
        folder: &Path,
        name: &'static str,
        kind: Kind,
        reason: &io::Error,
    ) -> Result<Self, RunError> {
        let folder = folder.to_path_buf();
        let mut warning = LockWarning::NoLocks { folder: folder.clone(), reason: reason.to_string() };
        for writer in read(&file).into_iter().filter(|_| kind == Kind::Exclusive) {
            match writer.life() {
                Life::Runs => return Err(RunError::Held { folder, writer: Some(writer) }),
                Life::Unknown => warning = LockWarning::OtherHost { folder: folder.clone(), writer },
                Life::Ended => {}
            }
        }
        let lock = Self { file, folder, name, kind, real: false, warning: Some(warning) };
        lock.note()?;
        Ok(lock)
    }

    /// Writes this process into the lock file.
    fn note(&self) -> io::Result<()> {
        let mut line = serde_json::to_string(&Writer::from_now()).map_err(io::Error::other)?;
        line.push('\n');
        if self.kind == Kind::Exclusive {
            self.file.set_len(0)?;
        }
        (&self.file).write_all(line.as_bytes())
    }

    /// The reason why the lock may fail to exclude others.
    #[must_use]
    pub fn warning(&self) -> Option<&LockWarning> {
        self.warning.as_ref()
    }

    /// Records that the folder was renamed.
    pub(crate) fn moved(mut self, folder: PathBuf) -> Self {
        self.folder = folder;
        self
    }

    /// Removes a shared folder and returns true. If other processes write there, or may do so from another host, the folder
    /// is kept and the result is false.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn remove_folder(self) -> Result<bool, RunError> {
        if read(&self.file).iter().any(Writer::is_elsewhere) || !(self.real || self.is_alone()) {
            return Ok(false);
        }
        let place = self.folder.clone();
        let lock = if self.real {
            // Not every system can convert a lock that is held, so the shared lock ends before the exclusive lock starts.
            self.file.unlock()?;
            let taken = Self::take(&place, self.name, Kind::Exclusive, LAST_LOOK);
            drop(self);
            match taken {
                Err(RunError::Held { .. }) => return Ok(false),
                // Another process that had also ended its shared lock was faster.
                Err(RunError::Io(e)) if e.kind() == io::ErrorKind::NotFound => return Ok(true),
                taken => taken?,
            }
        } else {
            self
        };
        if !cfg!(unix) {
            // On these systems a folder that contains an open file cannot be renamed.
            drop(lock);
            crate::whole::remove(&place)?;
            return Ok(true);
        }
        // The folder is renamed first: no process finds it half removed, and after a kill the next start removes the rest.
        let going = crate::whole::Unfinished::beside(&place)?;
        fs_err::rename(&place, going.path())?;
        let _lock = lock.moved(going.path().into());
        // A process that opened the folder just before may still create a lock in it, and then finds that the folder is
        // gone.
        let mut left = PATIENCE;
        loop {
            match crate::whole::remove(going.path()) {
                Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty && !left.is_zero() => {
                    left = left.saturating_sub(PAUSE);
                }
                removed => return Ok(removed.map(|()| true)?),
            }
        }
    }

    /// Whether no other process holds the lock; if so, no other process can take it afterwards.
    fn is_alone(&self) -> bool {
        if !self.real {
            let this = Writer::this().mark();
            return read(&self.file).iter().all(|writer| writer.mark() == this || writer.life() == Life::Ended);
        }
        // Not every system can convert a lock that is held.
        self.kind == Kind::Exclusive
            || (self.file.unlock().is_ok()
                && self.file.try_lock().is_ok()
                && is_at(&self.file, &self.folder.join(self.name)).unwrap_or(false))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let path = self.folder.join(self.name);
        // The file is removed while it is locked, so that waiting processes notice. A file that remains excludes nobody.
        if cfg!(unix) && is_at(&self.file, &path).unwrap_or(false) && self.is_alone() {
            let _ = fs_err::remove_file(&path);
        }
    }
}

/// The processes named in a lock file. Invalid lines, which a kill may have cut short, are ignored.
fn read(file: &fs_err::File) -> Vec<Writer> {
    let mut text = String::new();
    let mut from = file;
    // A file that cannot be read names no process.
    let _ = from.rewind().and_then(|()| from.take(1 << 16).read_to_string(&mut text));
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Whether the opened file is still the file at `path`.
#[cfg(unix)]
fn is_at(file: &fs_err::File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let opened = file.metadata()?;
    match fs_err::metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (opened.dev(), opened.ino())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// On these systems lock files are not removed.
#[cfg(not(unix))]
fn is_at(_: &fs_err::File, _: &Path) -> io::Result<bool> {
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(lock: Result<Lock, RunError>) -> Option<Writer> {
        match lock {
            Err(RunError::Held { writer, .. }) => writer,
            Err(e) => panic!("{e}"),
            Ok(_) => panic!("not held"),
        }
    }

    fn said(writers: &[Writer]) -> String {
        writers.iter().map(|writer| serde_json::to_string(writer).expect("JSON") + "\n").collect()
    }

    fn of_another_host() -> Writer {
        let mut writer = Writer::from_now();
        writer.host = "elsewhere".into();
        writer
    }

    fn ended() -> Writer {
        let mut writer = Writer::from_now();
        // No process has this number.
        writer.pid = u32::MAX - 1;
        writer
    }

    #[test]
    fn a_held_lock_names_its_holder_and_goes_with_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let lock = Lock::exclusive(folder.path()).expect("free");
        let writer = held(Lock::exclusive(folder.path())).expect("known");
        assert_eq!(writer.pid, std::process::id());
        let error = RunError::Held { folder: "r".into(), writer: Some(writer.clone()) }.to_string();
        assert!(error.starts_with(&format!("`r` is in use: process {}", writer.pid)), "{error}");
        assert!(error.contains(&writer.since), "{error}");
        drop(lock);
        assert_eq!(fs_err::read_dir(folder.path()).expect("read").count(), usize::from(!cfg!(unix)));
        assert!(Lock::exclusive(folder.path()).expect("free again").warning().is_none());
    }

    #[test]
    fn a_stale_lock_keeps_nobody_out_and_a_foreign_one_warns() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(LOCK);
        // Cases: killed; killed before a reboot; a line cut short by the kill; an empty file.
        for text in [said(&[ended()]), said(&[Writer::from_now()]), "{\"host\": ".into(), String::new()] {
            fs_err::write(&path, text).expect("written");
            assert_eq!(Lock::exclusive(folder.path()).expect("stale").warning(), None);
        }
        fs_err::write(&path, said(&[of_another_host()])).expect("written");
        let lock = Lock::exclusive(folder.path()).expect("not refused");
        let warning = lock.warning().expect("a warning").to_string();
        assert!(warning.contains("was locked by process") && warning.contains("`elsewhere`"), "{warning}");
        drop(lock);
        assert_eq!(Lock::exclusive(folder.path()).expect("told once").warning(), None);
    }

    /// Network file systems and some others have no locks.
    #[test]
    fn without_locks_of_the_system_the_file_decides_or_warns() {
        let folder = tempfile::tempdir().expect("a folder");
        let take = |writers: &[Writer], kind| {
            let path = folder.path().join(LOCK);
            fs_err::write(&path, said(writers)).expect("written");
            let file = fs_err::OpenOptions::new().read(true).append(true).open(&path).expect("opened");
            let reason = io::Error::from(io::ErrorKind::Unsupported);
            Lock::without_locks(file, folder.path(), LOCK, kind, &reason)
        };
        if cfg!(target_os = "linux") {
            assert_eq!(held(take(&[ended(), Writer::from_now()], Kind::Exclusive)), Some(Writer::from_now()));
            let lock = take(&[ended()], Kind::Exclusive).expect("stale");
            let warning = lock.warning().expect("a warning").to_string();
            assert!(warning.contains("file system without locks"), "{warning}");
        }
        let lock = take(&[of_another_host()], Kind::Exclusive).expect("not refused");
        assert!(matches!(lock.warning(), Some(LockWarning::OtherHost { .. })));
        drop(lock);
        assert!(take(&[Writer::from_now()], Kind::Shared).is_ok());
    }

    #[test]
    fn a_shared_folder_is_removed_by_the_last() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = parent.path().join("k.tiles");
        let [first, second] = [(), ()].map(|()| Lock::shared(&folder).expect("shared"));
        assert!(held(Lock::exclusive(&folder)).is_some());
        fs_err::write(folder.join("000000.npz"), b"x").expect("written");
        assert!(!first.remove_folder().expect("left alone"));
        assert!(folder.join("000000.npz").is_file());
        assert!(second.remove_folder().expect("removed"));
        assert_eq!(fs_err::read_dir(parent.path()).expect("read").count(), 0);
    }

    #[test]
    fn of_many_that_are_done_at_once_each_finds_the_folder_gone_or_in_use() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = parent.path().join("k.tiles");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let lock = Lock::shared(&folder).expect("shared");
                        fs_err::write(folder.join("000000.npz"), b"x")
                            .expect("the folder stays for those who share it");
                        lock.remove_folder().expect("gone, or in use");
                    }
                });
            }
        });
        // The last processes may each have seen the other as a user.
        Lock::shared(&folder).expect("shared").remove_folder().expect("removed");
        assert_eq!(fs_err::read_dir(parent.path()).expect("read").count(), 0);
    }

    #[test]
    fn of_many_that_want_a_lock_at_once_one_has_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let (inside, most) = (std::sync::Mutex::new(0_u32), std::sync::Mutex::new(0_u32));
        let count = |lock: &std::sync::Mutex<u32>, change: &dyn Fn(u32) -> u32| {
            let mut number = lock.lock().expect("no panic");
            *number = change(*number);
            *number
        };
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _lock = Lock::moment(folder.path(), ".moment.lock").expect("in its turn");
                        let now = count(&inside, &|n| n + 1);
                        count(&most, &|n| n.max(now));
                        count(&inside, &|n| n - 1);
                    }
                });
            }
        });
        assert_eq!(*most.lock().expect("no panic"), 1);
    }
}
