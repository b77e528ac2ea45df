//! The directory of a run.
//!
//! ```text
//! runs/NAME/  config.toml  config.resolved.toml  env.json  log.jsonl  metrics.json
//!             data.npz  (supervised training)
//!             grids/step_000500.png  ntk/observed.jsonl
//!             checkpoints/step_000500/...  checkpoints/latest
//! ```
//!
//! Files and checkpoints are written under a temporary name and then renamed, so that a run killed at any moment holds
//! only whole ones. Nothing that exists is overwritten silently.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use fintan_arrays::ArrayError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::lines;
use crate::log::Event;

/// Why a run directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The file system said no (a full disk too).
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// There is something already.
    #[error("`{}` exists already; a run never overwrites another", .0.display())]
    Exists(PathBuf),
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
        match error {
            ArrayError::Io(error) => Self::Io(error),
            error => Self::Arrays(error),
        }
    }
}

/// A run directory.
#[derive(Debug, Clone)]
pub struct RunDir {
    root: PathBuf,
}

impl RunDir {
    /// Makes a new directory at exactly `root`.
    ///
    /// # Errors
    /// [`RunError::Exists`] unless there is nothing, or an empty folder.
    pub fn create(root: &Path) -> Result<Self, RunError> {
        if root.exists() && !(root.is_dir() && fs_err::read_dir(root)?.next().is_none()) {
            return Err(RunError::Exists(root.into()));
        }
        fs_err::create_dir_all(root)?;
        Ok(Self { root: root.into() })
    }

    /// Makes a new directory `parent/name`, or `parent/name-2`, `-3`, .. where those exist.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn create_numbered(parent: &Path, name: &str) -> Result<Self, RunError> {
        let mut number = 1_u32;
        loop {
            let root = if number == 1 { parent.join(name) } else { parent.join(format!("{name}-{number}")) };
            match Self::create(&root) {
                Err(RunError::Exists(_)) => number += 1,
                made => return made,
            }
        }
    }

    /// Opens a run that exists.
    ///
    /// # Errors
    /// [`RunError::NotARun`]
    pub fn open(root: &Path) -> Result<Self, RunError> {
        let run = Self { root: root.into() };
        if run.resolved_config().is_file() { Ok(run) } else { Err(RunError::NotARun(root.into())) }
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The configuration with every default written out: what `resume` reads.
    #[must_use]
    pub fn resolved_config(&self) -> PathBuf {
        self.root.join("config.resolved.toml")
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

    /// Takes back everything that was logged or drawn after `step`: a resumed run writes it again.
    ///
    /// # Errors
    /// A damaged log, and those of the file system.
    pub fn rewind(&self, step: u64) -> Result<(), RunError> {
        /// What lines of every kind of training have.
        #[derive(Deserialize)]
        struct Stepped {
            step: u64,
        }
        for path in [self.log(), self.kernels()] {
            let mut kept = String::new();
            for (_, line) in
                lines::read::<Stepped>(path.clone(), |_| true)?.iter().filter(|(line, _)| line.step <= step)
            {
                kept.push_str(line);
                kept.push('\n');
            }
            if path.is_file() || path == self.log() {
                write_whole(&path, kept.as_bytes())?;
            }
        }
        for kernel in self.files_of_kernels(step)? {
            fs_err::remove_file(kernel)?;
        }
        for grid in self.steps_in("grids")?.into_iter().filter(|&s| s > step) {
            fs_err::remove_file(self.grid(grid))?;
        }
        for later in self.checkpoints()?.into_iter().filter(|&s| s > step) {
            fs_err::remove_dir_all(self.checkpoint(later))?;
        }
        self.rewind_metrics(step)?;
        match self.checkpoints()?.last() {
            Some(&newest) => self.write("checkpoints/latest", step_name(newest).as_bytes()),
            None => Ok(()),
        }
    }

    /// Steps of the checkpoints there are, ascending.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn checkpoints(&self) -> Result<Vec<u64>, RunError> {
        self.steps_in("checkpoints")
    }

    fn steps_in(&self, folder: &str) -> Result<Vec<u64>, RunError> {
        let folder = self.root.join(folder);
        let mut steps = Vec::new();
        if folder.is_dir() {
            for entry in fs_err::read_dir(folder)? {
                let name = entry?.file_name();
                let name = name.to_string_lossy();
                let number = name.strip_prefix("step_").map(|n| n.strip_suffix(".png").unwrap_or(n));
                steps.extend(number.and_then(|n| n.parse::<u64>().ok()));
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
        let folder = self.root.join("checkpoints");
        let unfinished = folder.join(format!(".unfinished-{}", step_name(step)));
        if unfinished.exists() {
            fs_err::remove_dir_all(&unfinished)?;
        }
        fs_err::create_dir_all(&unfinished)?;
        let write = || -> std::io::Result<()> {
            for (name, bytes) in files {
                let mut file = fs_err::File::create(unfinished.join(name))?;
                file.write_all(bytes)?;
                file.sync_all()?;
            }
            Ok(())
        };
        if let Err(e) = write() {
            // On a full disk the remains would keep it full.
            let _ = fs_err::remove_dir_all(&unfinished);
            return Err(e.into());
        }
        let finished = self.checkpoint(step);
        if finished.exists() {
            fs_err::remove_dir_all(&finished)?;
        }
        fs_err::rename(&unfinished, &finished)?;
        write_whole(&folder.join("latest"), step_name(step).as_bytes())?;
        let all = self.checkpoints()?;
        for &old in &all[..all.len().saturating_sub(keep.max(1))] {
            fs_err::remove_dir_all(self.checkpoint(old))?;
        }
        Ok(())
    }
}

pub(crate) fn step_name(step: u64) -> String {
    format!("step_{step:06}")
}

/// Writes a file under a temporary name beside it, then renames it.
///
/// # Errors
/// Those of the file system; nothing is left behind then.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    write_whole_with(path, |file| file.write_all(bytes))
}

/// The same for what is too large to hold twice: `fill` writes it into the file.
///
/// # Errors
/// Those of the file system and of `fill`; nothing is left behind then.
pub(crate) fn write_whole_with(
    path: &Path,
    fill: impl FnOnce(&mut fs_err::File) -> std::io::Result<()>,
) -> Result<(), RunError> {
    if let Some(folder) = path.parent() {
        fs_err::create_dir_all(folder)?;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = path.with_file_name(format!(".{name}.unfinished"));
    let write = || -> std::io::Result<()> {
        let mut file = fs_err::File::create(&unfinished)?;
        fill(&mut file)?;
        file.sync_all()?;
        fs_err::rename(&unfinished, path)
    };
    write().map_err(|e| {
        // The error is the news; that the remains could not be removed either is not.
        let _ = fs_err::remove_file(&unfinished);
        e.into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::LogLine;

    fn line(step: u64) -> LogLine {
        LogLine { step, ..LogLine::default() }
    }

    #[test]
    fn a_run_never_overwrites_another() {
        let parent = tempfile::tempdir().expect("a folder");
        let first = RunDir::create_numbered(parent.path(), "a").expect("made");
        first.write("config.resolved.toml", b"x").expect("written");
        let second = RunDir::create_numbered(parent.path(), "a").expect("made");
        assert_eq!(second.root(), parent.path().join("a-2"));
        assert!(matches!(RunDir::create(first.root()), Err(RunError::Exists(_))));
        assert!(RunDir::open(first.root()).is_ok());
        assert!(matches!(RunDir::open(second.root()), Err(RunError::NotARun(_))));
    }

    #[test]
    fn checkpoints_are_whole_kept_and_found() {
        let parent = tempfile::tempdir().expect("a folder");
        let run = RunDir::create(&parent.path().join("a")).expect("made");
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
    fn a_write_that_fails_leaves_nothing_behind() {
        let parent = tempfile::tempdir().expect("a folder");
        // A folder that is not empty cannot be replaced by a file.
        fs_err::create_dir_all(parent.path().join("taken/inside")).expect("made");
        assert!(write_whole(&parent.path().join("taken"), b"x").is_err());
        let left: Vec<_> =
            fs_err::read_dir(parent.path()).expect("read").map(|e| e.expect("read").file_name()).collect();
        assert_eq!(left, ["taken"]);
        fs_err::write(parent.path().join("file"), b"x").expect("written");
        let error = write_whole(&parent.path().join("file/below"), b"x").expect_err("no folder").to_string();
        assert!(error.contains("file"), "{error}");
    }

    #[test]
    fn a_log_cut_short_is_read_and_rewound() {
        let parent = tempfile::tempdir().expect("a folder");
        let run = RunDir::create(&parent.path().join("a")).expect("made");
        for step in [1, 2, 3] {
            run.append_log(&line(step)).expect("written");
        }
        let text = fs_err::read_to_string(run.log()).expect("read");
        fs_err::write(run.log(), &text[..text.len() - 5]).expect("cut");
        assert_eq!(run.read_log::<LogLine>().expect("read").len(), 2);
        run.rewind(1).expect("rewound");
        assert_eq!(
            fs_err::read_to_string(run.log()).expect("read"),
            text.lines().next().expect("a line").to_owned() + "\n"
        );
        fs_err::write(run.log(), "{}\nnonsense\n{}\n").expect("spoilt");
        assert!(run.read_log::<LogLine>().expect_err("damaged").to_string().contains("line 1"));
    }
}
