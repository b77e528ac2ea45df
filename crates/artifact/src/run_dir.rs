//! The directory of a run.
//!
//! ```text
//! runs/NAME/  config.toml  config.resolved.toml  env.json  log.jsonl  metrics.json
//!             data.npz  (supervised training)
//!             grids/step_000500.png  ntk/observed.jsonl
//!             checkpoints/step_000500/...  checkpoints/latest
//! ```
//!
//! The directory, its files and its checkpoints are written under a temporary name and then renamed, so that a run killed at
//! any moment is none yet or holds whole ones only. Nothing that exists is overwritten silently, and one process at a time
//! writes ([`Lock`]).

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

/// The file that makes a folder a run.
pub(crate) const CONFIGURATION: &str = "config.resolved.toml";

/// Why a run directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The file system said no (a full disk too).
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// There is something already.
    #[error("`{}` exists already; a run never overwrites another", .0.display())]
    Exists(PathBuf),
    /// Another process writes there.
    #[error("`{}` is in use: {}; wait until it ends, or end it", folder.display(), writes(writer.as_ref()))]
    Held {
        /// The folder.
        folder: PathBuf,
        /// The process, where it is known.
        writer: Option<Writer>,
    },
    /// Not a run.
    #[error("`{}` is no run directory: it holds no `config.resolved.toml`", .0.display())]
    NotARun(PathBuf),
    /// No checkpoint to go on from.
    #[error("`{}` holds no complete checkpoint", .0.display())]
    NoCheckpoint(PathBuf),
    /// Not this one.
    #[error("`{}` holds no checkpoint of step {wanted}; there are: {found}", run.display())]
    NoSuchCheckpoint {
        /// The run.
        run: PathBuf,
        /// The step asked for.
        wanted: u64,
        /// The steps there are.
        found: String,
    },
    /// A file is cut short or was changed.
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
#[derive(Debug, Clone)]
pub struct RunDir {
    root: PathBuf,
    /// Held as long as any copy of this lives.
    lock: Option<Arc<Lock>>,
}

impl RunDir {
    pub(crate) fn of(root: PathBuf, lock: Option<Lock>) -> Self {
        Self { root, lock: lock.map(Arc::new) }
    }

    /// Opens a run that exists, to read it.
    ///
    /// # Errors
    /// [`RunError::NotARun`]
    pub fn open(root: &Path) -> Result<Self, RunError> {
        let run = Self::of(root.into(), None);
        if run.resolved_config().is_file() { Ok(run) } else { Err(RunError::NotARun(root.into())) }
    }

    /// Opens a run that exists, to go on with it. As long as this lives, no other process can.
    ///
    /// # Errors
    /// [`RunError::NotARun`], and [`RunError::Held`] where another process writes.
    pub fn open_locked(root: &Path) -> Result<Self, RunError> {
        Self::open(root)?;
        let run = Self::of(root.into(), Some(Lock::exclusive(root)?));
        for folder in ["", "grids", "ntk", "checkpoints"] {
            sweep(&root.join(folder), |life| life == Life::Ended);
        }
        Ok(run)
    }

    /// Why its lock may not keep others out.
    #[must_use]
    pub fn lock_warning(&self) -> Option<&LockWarning> {
        self.lock.as_ref().and_then(|lock| lock.warning())
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The configuration with every default written out: what `resume` reads.
    #[must_use]
    pub fn resolved_config(&self) -> PathBuf {
        self.root.join(CONFIGURATION)
    }

    /// The log, a JSON object a line.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.root.join("log.jsonl")
    }

    /// The sample grid of a step.
    #[must_use]
    pub fn grid(&self, step: u64) -> PathBuf {
        self.root.join("grids").join(format!("{}.png", step_name(step)))
    }

    /// Writes a file below the directory, whole or not at all.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&self, name: impl AsRef<Path>, bytes: &[u8]) -> Result<(), RunError> {
        write_whole(&self.root.join(name), bytes)
    }

    /// Appends a line to the log.
    ///
    /// # Errors
    /// Those of the file system.
    ///
    /// # Panics
    /// If a line is no plain JSON; [`LogLine`](crate::LogLine), [`SupervisedLine`](crate::SupervisedLine) and [`Event`] are.
    pub fn append_log(&self, line: &impl Serialize) -> Result<(), RunError> {
        lines::append(&self.log(), line)
    }

    /// Reads the log, without its [events](Self::read_events). A last line that was cut short by a kill is left out.
    ///
    /// # Errors
    /// A line before the last that is no log line of this kind.
    pub fn read_log<L: DeserializeOwned>(&self) -> Result<Vec<L>, RunError> {
        Ok(lines::read(self.log(), |line| !lines::is_event(line))?.into_iter().map(|(line, _)| line).collect())
    }

    /// Reads the events of the log.
    ///
    /// # Errors
    /// A line before the last that is no log line.
    pub fn read_events(&self) -> Result<Vec<Event>, RunError> {
        Ok(lines::read(self.log(), lines::is_event)?.into_iter().map(|(event, _)| event).collect())
    }

    /// Steps of the checkpoints there are, ascending. Those that an unfinished [`RunDir::rewind`] takes away do not count.
    ///
    /// # Errors
    /// An `env.json` that is damaged, and those of the file system.
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

    /// Steps that entries of a folder are named after, ascending.
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

    /// Writes a checkpoint, whole or not at all, points `checkpoints/latest` at it and leaves the newest `keep`.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write_checkpoint(&self, step: u64, files: &[(String, Vec<u8>)], keep: usize) -> Result<(), RunError> {
        let finished = self.checkpoint(step);
        // On a full disk the remains would keep it full: they go when this is dropped.
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
        // What a kill leaves behind is no checkpoint.
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
