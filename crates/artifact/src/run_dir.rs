//! The directory of a run.
//!
//! ```text
//! runs/NAME/  config.toml  config.resolved.toml  env.json  log.jsonl  metrics.json
//!             data.npz  (supervised training)
//!             grids/step_000500.png  ntk/observed.jsonl
//!             checkpoints/step_000500/...  checkpoints/latest
//! ```
//!
//! The directory, its files and its checkpoints are written under a temporary name and then renamed. A run killed at any
//! moment therefore does not exist yet, or contains only complete files. Existing files are not overwritten silently, and
//! only one process at a time writes ([`Lock`]).

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fintan_arrays::ArrayError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::environment::Rewind;
use crate::lines;
use crate::lock::{Lock, LockWarning};
use crate::log::Event;
use crate::whole::{Unfinished, sweep, sync_folder, write_whole};
use crate::writer::{Life, Writer, plain};

/// The file whose presence makes a folder a run.
pub(crate) const CONFIGURATION: &str = "config.resolved.toml";

/// The error for a run directory that cannot be used.
///
/// ```
/// use fintan_artifact::{RunDir, RunError};
///
/// let folder = tempfile::tempdir()?;
/// let error = RunDir::open(folder.path()).unwrap_err();
/// assert!(matches!(error, RunError::NotARun(path) if path == folder.path()));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An error of the file system, including a full disk.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The path exists already.
    #[error("`{}` exists already; a run never overwrites another", .0.display())]
    Exists(PathBuf),
    /// Another process writes to the folder.
    #[error("`{}` is in use: {}; wait until it ends, or end it", folder.display(), writes(writer.as_ref()))]
    Held {
        /// The folder.
        folder: PathBuf,
        /// The process, if it is known.
        writer: Option<Writer>,
    },
    /// The folder is not a run.
    #[error("`{}` is no run directory: it holds no `config.resolved.toml`", .0.display())]
    NotARun(PathBuf),
    /// The run has no checkpoint from which it could continue.
    #[error("`{}` holds no complete checkpoint", .0.display())]
    NoCheckpoint(PathBuf),
    /// The run has no checkpoint of the requested step.
    #[error("`{}` holds no checkpoint of step {wanted}; there are: {found}", run.display())]
    NoSuchCheckpoint {
        /// The run.
        run: PathBuf,
        /// The requested step.
        wanted: u64,
        /// The steps of the existing checkpoints.
        found: String,
    },
    /// A file is truncated or was changed.
    #[error("`{}` is damaged: {message}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A file of arrays that cannot be read.
    #[error(transparent)]
    Arrays(ArrayError),
}

impl From<ArrayError> for RunError {
    fn from(error: ArrayError) -> Self {
        if let ArrayError::Io(error) = error { Self::Io(error) } else { Self::Arrays(error) }
    }
}

fn writes(writer: Option<&Writer>) -> String {
    writer.map_or_else(
        || "another process writes there".into(),
        |writer| format!("{writer} has been writing there since {}", plain(&writer.since)),
    )
}

/// A run directory.
///
/// ```
/// use fintan_artifact::{Draft, SupervisedLine};
///
/// let folder = tempfile::tempdir()?;
/// let draft = Draft::at(&folder.path().join("run"))?;
/// draft.write("config.resolved.toml", b"seed = 0")?;
/// let run = draft.publish_run()?;
/// run.append_log(&SupervisedLine { step: 5, ..SupervisedLine::default() })?;
/// let lines: Vec<SupervisedLine> = run.read_log()?;
/// assert_eq!((lines.len(), lines[0].step), (1, 5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct RunDir {
    root: PathBuf,
    /// Held until the last clone of this value is dropped.
    lock: Option<Arc<Lock>>,
}

impl RunDir {
    pub(crate) fn of(root: PathBuf, lock: Option<Lock>) -> Self {
        Self { root, lock: lock.map(Arc::new) }
    }

    /// Opens an existing run for reading.
    ///
    /// # Errors
    /// [`RunError::NotARun`]
    pub fn open(root: &Path) -> Result<Self, RunError> {
        let run = Self::of(root.into(), None);
        if run.resolved_config().is_file() { Ok(run) } else { Err(RunError::NotARun(root.into())) }
    }

    /// Opens an existing run to continue it. No other process can do this until the value is dropped.
    ///
    /// # Errors
    /// [`RunError::NotARun`]; [`RunError::Held`] if another process writes there.
    pub fn open_locked(root: &Path) -> Result<Self, RunError> {
        Self::open(root)?;
        let run = Self::of(root.into(), Some(Lock::exclusive(root)?));
        for folder in ["", "grids", "ntk", "checkpoints"] {
            sweep(&root.join(folder), |life| life == Life::Ended);
        }
        Ok(run)
    }

    /// The reason why the lock of the run may fail to exclude others.
    #[must_use]
    pub fn lock_warning(&self) -> Option<&LockWarning> {
        self.lock.as_ref().and_then(|lock| lock.warning())
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The file with the configuration and all defaults, which `resume` reads.
    #[must_use]
    pub fn resolved_config(&self) -> PathBuf {
        self.root.join(CONFIGURATION)
    }

    /// The log, one JSON object on each line.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.root.join("log.jsonl")
    }

    /// The sample grid of a step.
    #[must_use]
    pub fn grid(&self, step: u64) -> PathBuf {
        self.root.join("grids").join(format!("{}.png", step_name(step)))
    }

    /// Writes a file below the directory, completely or not at all.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn write(&self, name: impl AsRef<Path>, bytes: &[u8]) -> Result<(), RunError> {
        write_whole(&self.root.join(name), bytes)
    }

    /// Appends a line to the log.
    ///
    /// # Errors
    /// Errors of the file system.
    ///
    /// # Panics
    /// If `line` cannot be written as JSON; [`LogLine`](crate::LogLine), [`SupervisedLine`](crate::SupervisedLine) and
    /// [`Event`] can.
    pub fn append_log(&self, line: &impl Serialize) -> Result<(), RunError> {
        lines::append(&self.log(), line)
    }

    /// Reads the log without its [events](Self::read_events). A last line that a kill cut short is ignored.
    ///
    /// # Errors
    /// A line before the last that is not a log line of type `L`.
    pub fn read_log<L: DeserializeOwned>(&self) -> Result<Vec<L>, RunError> {
        Ok(lines::read(self.log(), |line| !lines::is_event(line))?.into_iter().map(|(line, _)| line).collect())
    }

    /// Reads the events of the log.
    ///
    /// # Errors
    /// A line before the last that is not a log line.
    pub fn read_events(&self) -> Result<Vec<Event>, RunError> {
        Ok(lines::read(self.log(), lines::is_event)?.into_iter().map(|(event, _)| event).collect())
    }

    /// Steps of the existing checkpoints, ascending. Checkpoints that an unfinished [`RunDir::rewind`] removes are left out.
    ///
    /// # Errors
    /// An `env.json` that is damaged, and errors of the file system.
    pub fn checkpoints(&self) -> Result<Vec<u64>, RunError> {
        let mut steps = self.all_checkpoints()?;
        if let Some(Rewind { to }) = self.environment()?.rewind {
            steps.retain(|&step| to.is_some_and(|to| step <= to));
        }
        Ok(steps)
    }

    pub(crate) fn all_checkpoints(&self) -> Result<Vec<u64>, RunError> {
        let mut steps = self.steps_in("checkpoints", "")?;
        steps.retain(|&step| self.checkpoint(step).is_dir());
        Ok(steps)
    }

    /// The steps in the names of the entries of a folder, ascending.
    pub(crate) fn steps_in(&self, folder: &str, ending: &str) -> Result<Vec<u64>, RunError> {
        let folder = self.root.join(folder);
        let mut steps = Vec::new();
        if folder.is_dir() {
            for entry in fs_err::read_dir(folder)? {
                let name = entry?.file_name();
                let name = name.to_string_lossy();
                let named = name.strip_suffix(ending);
                let number = named.and_then(|n| n.strip_prefix("step_")).and_then(|n| n.parse::<u64>().ok());
                steps.extend(number.filter(|&step| named == Some(&step_name(step))));
            }
        }
        steps.sort_unstable();
        Ok(steps)
    }

    /// The folder of a checkpoint.
    #[must_use]
    pub fn checkpoint(&self, step: u64) -> PathBuf {
        self.root.join("checkpoints").join(step_name(step))
    }

    /// The newest checkpoint, or the one of `step`.
    ///
    /// # Errors
    /// [`RunError::NoCheckpoint`] and [`RunError::NoSuchCheckpoint`].
    pub fn find_checkpoint(&self, step: Option<u64>) -> Result<u64, RunError> {
        let found = self.checkpoints()?;
        match step {
            None => found.last().copied().ok_or_else(|| RunError::NoCheckpoint(self.root.clone())),
            Some(step) if found.contains(&step) => Ok(step),
            Some(wanted) => {
                let found: Vec<String> = found.iter().map(u64::to_string).collect();
                let found = if found.is_empty() { "none".into() } else { found.join(", ") };
                Err(RunError::NoSuchCheckpoint { run: self.root.clone(), wanted, found })
            }
        }
    }

    /// Writes a checkpoint (completely or not at all), points `checkpoints/latest` to it, and removes all but the newest
    /// `keep`.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn write_checkpoint(&self, step: u64, files: &[(String, Vec<u8>)], keep: usize) -> Result<(), RunError> {
        let finished = self.checkpoint(step);
        // If the disk is full, the partial checkpoint is removed when this value is dropped, so that it does not fill the
        // disk.
        let mut unfinished = Unfinished::beside(&finished)?;
        fs_err::create_dir(unfinished.path())?;
        for (name, bytes) in files {
            let mut file = fs_err::File::create(unfinished.path().join(name))?;
            file.write_all(bytes)?;
            file.sync_all()?;
        }
        sync_folder(unfinished.path())?;
        self.discard(step)?;
        unfinished.finish(&finished)?;
        write_whole(&self.latest(), step_name(step).as_bytes())?;
        self.prune(keep)
    }
}

pub(crate) fn step_name(step: u64) -> String {
    format!("step_{step:06}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draft::Draft;
    use crate::log::LogLine;

    fn line(step: u64) -> LogLine {
        LogLine { step, ..LogLine::default() }
    }

    #[test]
    fn checkpoints_are_whole_kept_and_found() {
        let parent = tempfile::tempdir().expect("a folder");
        let run = Draft::at(&parent.path().join("a")).expect("begun").publish_run().expect("made");
        assert!(matches!(run.find_checkpoint(None), Err(RunError::NoCheckpoint(_))));
        for step in [10, 20, 30] {
            run.write_checkpoint(step, &[("state".into(), vec![1])], 2).expect("written");
        }
        // Remains of a killed process are not a checkpoint.
        fs_err::create_dir_all(run.root().join("checkpoints/.unfinished-step_000040")).expect("made");
        assert_eq!(run.checkpoints().expect("read"), [20, 30]);
        assert_eq!(run.find_checkpoint(None).expect("found"), 30);
        let error = run.find_checkpoint(Some(10)).expect_err("was removed").to_string();
        assert!(error.ends_with("holds no checkpoint of step 10; there are: 20, 30"), "{error}");
    }

    #[test]
    fn a_log_cut_short_is_read_and_rewound() {
        let parent = tempfile::tempdir().expect("a folder");
        let run = Draft::at(&parent.path().join("a")).expect("begun").publish_run().expect("made");
        for step in [1, 2, 3] {
            run.append_log(&line(step)).expect("written");
        }
        let text = fs_err::read_to_string(run.log()).expect("read");
        fs_err::write(run.log(), &text[..text.len() - 5]).expect("cut");
        assert_eq!(run.read_log::<LogLine>().expect("read").len(), 2);
        run.rewind(Some(1)).expect("rewound");
        assert_eq!(
            fs_err::read_to_string(run.log()).expect("read"),
            text.lines().next().expect("a line").to_owned() + "\n"
        );
        fs_err::write(run.log(), "{}\nnonsense\n{}\n").expect("spoilt");
        assert!(run.read_log::<LogLine>().expect_err("damaged").to_string().contains("line 1"));
    }
}
