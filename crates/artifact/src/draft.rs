//! A folder under construction: it gets its final name when it is complete.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::lock::{LOCK, Lock};
use crate::run_dir::{CONFIGURATION, RunDir, RunError};
use crate::whole::{Unfinished, folder_of, make_folder, mark_of, remove, sync_folder, write_whole};

/// The file that lists the names to be moved, in a draft inside its destination.
const MOVING: &str = ".moving";

/// A folder under a temporary name. It is removed when dropped unless it is published.
///
/// If nothing exists at the destination, the draft lies beside it, and one renaming publishes the draft. If the destination
/// is an empty folder (a mount point, a folder with its own permissions, the current folder), that folder is kept: the draft
/// lies inside, and its files are moved out of it one by one, the file that makes a run last. If the process is killed in
/// between, the next draft removes the files that were moved.
///
/// ```
/// use fintan_artifact::Draft;
///
/// let folder = tempfile::tempdir()?;
/// let place = folder.path().join("run");
/// let draft = Draft::at(&place)?;
/// draft.write("notes.txt", b"seven")?;
/// assert!(!place.exists());
/// assert_eq!(draft.publish()?, place);
/// assert_eq!(fs_err::read(place.join("notes.txt"))?, b"seven");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Draft {
    unfinished: Unfinished,
    place: Place,
    made: Made,
}

#[derive(Debug)]
enum Place {
    Beside(PathBuf),
    Inside(PathBuf, Lock),
    /// `parent/name`, or `parent/name-2`, `-3`, .. if these exist already.
    Numbered(PathBuf, String),
}

/// Folders that were created for a draft. They are removed with the draft if they are empty.
#[derive(Debug)]
struct Made(Vec<PathBuf>);

impl Drop for Made {
    fn drop(&mut self) {
        for folder in self.0.iter().rev() {
            let _ = fs_err::remove_dir(folder);
        }
    }
}

impl Draft {
    /// A draft for a folder at exactly `place`.
    ///
    /// # Errors
    /// [`RunError::Exists`] unless `place` is free or an empty folder; [`RunError::Held`] if another process starts a run
    /// there.
    pub fn at(place: &Path) -> Result<Self, RunError> {
        if !is_free(place)? {
            return Err(RunError::Exists(place.into()));
        }
        if !place.is_dir() {
            let made = Made(make_folder(folder_of(place))?);
            return Ok(Self { unfinished: folder_beside(place)?, place: Place::Beside(place.into()), made });
        }
        let lock = Lock::exclusive(place)?;
        take_back(place)?;
        // Another process may have been faster.
        if !is_free(place)? {
            return Err(RunError::Exists(place.into()));
        }
        let unfinished = folder_beside(&place.join("draft"))?;
        Ok(Self { unfinished, place: Place::Inside(place.into(), lock), made: Made(Vec::new()) })
    }

    /// A draft for a folder at `parent/name`, or at `parent/name-2`, `-3`, .. if these exist already.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn numbered(parent: &Path, name: &str) -> Result<Self, RunError> {
        let made = Made(make_folder(parent)?);
        let place = Place::Numbered(parent.into(), name.into());
        Ok(Self { unfinished: folder_beside(&parent.join(name))?, place, made })
    }

    /// The temporary path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.unfinished.path()
    }

    /// Writes a file into the draft.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn write(&self, name: impl AsRef<Path>, bytes: &[u8]) -> Result<(), RunError> {
        write_whole(&self.path().join(name), bytes)
    }

    /// The draft as a run directory that is not published yet.
    #[must_use]
    pub fn as_run(&self) -> RunDir {
        RunDir::of(self.path().into(), None)
    }

    /// Renames the draft to its final name, and returns the path.
    ///
    /// # Errors
    /// [`RunError::Exists`], and errors of the file system; then nothing is left behind.
    pub fn publish(self) -> Result<PathBuf, RunError> {
        self.put(|draft| Ok(sync_folder(draft)?)).map(|(place, ..)| place)
    }

    /// Publishes the draft as a run to which only this process writes.
    ///
    /// # Errors
    /// The errors of [`Draft::publish`].
    pub fn publish_run(self) -> Result<RunDir, RunError> {
        // The folder is renamed with its lock, so no other process can take the lock in between. On systems other than Unix
        // a folder that contains an open file cannot be renamed.
        let (root, here, there) = self.put(|draft| {
            let lock = cfg!(unix).then(|| Lock::exclusive(draft)).transpose()?;
            sync_folder(draft)?;
            Ok(lock)
        })?;
        let lock = match here.or(there.flatten().map(|lock| lock.moved(root.clone()))) {
            Some(lock) => lock,
            None => Lock::exclusive(&root)?,
        };
        Ok(RunDir::of(root, Some(lock)))
    }

    /// Publishes the draft. Returns the final path and, for a folder that existed before, its lock; otherwise the result of
    /// `begin`, which is called on the draft before it is renamed.
    fn put<L>(
        self,
        begin: impl FnOnce(&Path) -> Result<L, RunError>,
    ) -> Result<(PathBuf, Option<Lock>, Option<L>), RunError> {
        let Self { mut unfinished, place, mut made } = self;
        let put = match place {
            Place::Inside(place, lock) => {
                move_out(unfinished.path(), &place)?;
                (place, Some(lock), None)
            }
            Place::Beside(place) => {
                let begun = begin(unfinished.path())?;
                if !rename(&mut unfinished, &place)? {
                    return Err(RunError::Exists(place));
                }
                (place, None, Some(begun))
            }
            Place::Numbered(parent, name) => {
                let begun = begin(unfinished.path())?;
                let mut place = parent.join(&name);
                let mut number = 2_u64;
                while !rename(&mut unfinished, &place)? {
                    place = parent.join(format!("{name}-{number}"));
                    number += 1;
                }
                (place, None, Some(begun))
            }
        };
        made.0.clear();
        Ok(put)
    }
}

/// A new folder under a temporary name beside `place`.
fn folder_beside(place: &Path) -> io::Result<Unfinished> {
    let unfinished = Unfinished::beside(place)?;
    fs_err::create_dir(unfinished.path())?;
    Ok(unfinished)
}

/// Renames a folder; returns false if the name is taken.
fn rename(unfinished: &mut Unfinished, place: &Path) -> io::Result<bool> {
    if place.symlink_metadata().is_ok() {
        return Ok(false);
    }
    match unfinished.finish(place) {
        Ok(()) => Ok(true),
        // Something was created there in the meantime. (An empty folder is replaced, because nothing can be lost.)
        Err(e)
            if [ErrorKind::AlreadyExists, ErrorKind::DirectoryNotEmpty, ErrorKind::NotADirectory]
                .contains(&e.kind()) =>
        {
            Ok(false)
        }
        Err(e) => Err(e),
    }
}

/// Whether a new run can start at `place`: nothing exists there, or an empty folder. A lock, and files from a start that was
/// killed, do not count.
///
/// # Errors
/// Errors of the file system.
pub fn is_free(place: &Path) -> Result<bool, RunError> {
    if !place.is_dir() {
        return Ok(place.symlink_metadata().is_err());
    }
    let mut moved = BTreeSet::new();
    let mut others = Vec::new();
    for entry in fs_err::read_dir(place)? {
        let name = entry?.file_name();
        if mark_of(&name.to_string_lossy()).is_some() {
            moved.extend(moving(&place.join(name)));
        } else if name != LOCK {
            others.push(name);
        }
    }
    Ok(others.iter().all(|name| moved.contains(name)))
}

/// The names that a draft inside its destination has started to move out.
fn moving(draft: &Path) -> Vec<OsString> {
    fs_err::read_to_string(draft.join(MOVING)).unwrap_or_default().lines().map(Into::into).collect()
}

/// Moves the files of a draft into its destination; the file that makes the folder a run is moved last.
fn move_out(draft: &Path, place: &Path) -> Result<(), RunError> {
    let mut names = Vec::new();
    for entry in fs_err::read_dir(draft)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort_by_key(|name| (name == CONFIGURATION, name.clone()));
    write_whole(&draft.join(MOVING), names.join("\n").as_bytes())?;
    for name in &names {
        fs_err::rename(draft.join(name), place.join(name))?;
    }
    Ok(sync_folder(place)?)
}

/// Removes files that killed processes had moved into a folder that was empty before.
fn take_back(place: &Path) -> Result<(), RunError> {
    for entry in fs_err::read_dir(place)? {
        let draft = entry?.path();
        if mark_of(&draft.file_name().unwrap_or_default().to_string_lossy()).is_none() {
            continue;
        }
        for name in moving(&draft) {
            let moved = place.join(name);
            if moved.symlink_metadata().is_ok() {
                remove(&moved)?;
            }
        }
        remove(&draft)?;
    }
    Ok(())
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

    fn filled(draft: Draft) -> Draft {
        for name in ["config.toml", CONFIGURATION, "env.json"] {
            draft.write(name, name.as_bytes()).expect("written");
        }
        draft
    }

    #[test]
    fn a_run_never_overwrites_another() {
        let parent = tempfile::tempdir().expect("a folder");
        let numbered = || filled(Draft::numbered(parent.path(), "a").expect("begun")).publish_run().expect("made");
        let (first, second) = (numbered(), numbered());
        assert_eq!(second.root(), parent.path().join("a-2"));
        assert!(matches!(Draft::at(first.root()), Err(RunError::Exists(_))));
        assert!(RunDir::open(first.root()).is_ok());
        // If two processes start at one place, the second finds the place taken.
        let place = parent.path().join("b");
        let [quick, slow] = [(), ()].map(|()| filled(Draft::at(&place).expect("begun")));
        slow.write("config.toml", b"slow").expect("written");
        quick.publish().expect("made");
        assert!(matches!(slow.publish_run(), Err(RunError::Exists(_))));
        assert_eq!(fs_err::read(place.join("config.toml")).expect("read"), b"config.toml");
        fs_err::write(parent.path().join("file"), b"x").expect("written");
        assert!(matches!(Draft::at(&parent.path().join("file")), Err(RunError::Exists(_))));
        drop((first, second));
        assert_eq!(names(parent.path()), ["a", "a-2", "b", "file"]);
        assert_eq!(names(&place), [CONFIGURATION, "config.toml", "env.json"]);
    }

    #[test]
    fn a_draft_that_is_dropped_leaves_nothing() {
        let parent = tempfile::tempdir().expect("a folder");
        drop(filled(Draft::at(&parent.path().join("new/deep/run")).expect("begun")));
        drop(filled(Draft::numbered(&parent.path().join("runs"), "run").expect("begun")));
        assert_eq!(names(parent.path()), [""; 0]);
        let empty = parent.path().join("empty");
        fs_err::create_dir(&empty).expect("made");
        drop(filled(Draft::at(&empty).expect("begun")));
        assert_eq!((names(parent.path()), names(&empty)), (vec!["empty".to_owned()], Vec::new()));
    }

    #[cfg(unix)]
    #[test]
    fn an_empty_folder_is_filled_and_not_replaced() {
        use std::os::unix::fs::MetadataExt as _;
        let parent = tempfile::tempdir().expect("a folder");
        let before = fs_err::metadata(parent.path()).expect("there").ino();
        let draft = filled(Draft::at(parent.path()).expect("begun"));
        assert!(matches!(Draft::at(parent.path()), Err(RunError::Held { .. })), "one begins there already");
        let run = draft.publish_run().expect("made");
        assert_eq!(fs_err::metadata(parent.path()).expect("there").ino(), before);
        assert!(matches!(RunDir::open_locked(parent.path()), Err(RunError::Held { .. })));
        drop(run);
        assert_eq!(names(parent.path()), [CONFIGURATION, "config.toml", "env.json"]);
        assert!(matches!(Draft::at(parent.path()), Err(RunError::Exists(_))));
    }

    #[test]
    fn a_kill_while_an_empty_folder_is_filled_is_taken_back() {
        for moved in 0..3 {
            let parent = tempfile::tempdir().expect("a folder");
            let draft = filled(Draft::at(parent.path()).expect("begun"));
            // The state after a kill: the list, and some of the files moved.
            let lying = draft.path().to_path_buf();
            fs_err::write(lying.join(MOVING), format!("config.toml\nenv.json\n{CONFIGURATION}\n")).expect("written");
            for name in &["config.toml", "env.json"][..moved] {
                fs_err::rename(lying.join(name), parent.path().join(name)).expect("moved");
            }
            let Draft { mut unfinished, place, made } = draft;
            unfinished.keep();
            drop((place, made));
            assert!(is_free(parent.path()).expect("read"));
            let run = filled(Draft::at(parent.path()).expect("begun again")).publish_run().expect("made");
            drop(run);
            assert_eq!(names(parent.path()), [CONFIGURATION, "config.toml", "env.json"]);
            // Files that are not in the list are not removed.
            let other = tempfile::tempdir().expect("a folder");
            fs_err::write(other.path().join("mine"), b"x").expect("written");
            assert!(!is_free(other.path()).expect("read"));
        }
    }
}
