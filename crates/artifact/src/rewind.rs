//! Resets a run to an earlier step: later results are removed, and the resumed run computes them again.
//!
//! The process may be killed between any two removals. The order of removals makes every intermediate state a run that can
//! be resumed: first `checkpoints/latest`, then checkpoints from the newest to the oldest, then pictures and measures, and
//! the logs last. A checkpoint is removed by one renaming; only then are the files in its folder deleted.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::lines;
use crate::run_dir::{RunDir, RunError, step_name};
use crate::whole::{Unfinished, folder_of, remove, sync_folder, write_whole};

/// A removal during a reset. Repeating a removal changes nothing.
///
/// ```
/// use fintan_artifact::{Draft, SupervisedLine, Undo};
///
/// let folder = tempfile::tempdir()?;
/// let draft = Draft::at(&folder.path().join("run"))?;
/// draft.write("config.resolved.toml", b"seed = 0")?;
/// let run = draft.publish_run()?;
/// run.append_log(&SupervisedLine { step: 5, ..SupervisedLine::default() })?;
/// // Back to before the first checkpoint.
/// let undoing = run.undoing(None)?;
/// assert!(undoing.iter().any(|undo| matches!(undo, Undo::Lines { kept, .. } if kept.is_empty())), "{undoing:?}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Undo {
    /// Points `checkpoints/latest` to a step, or removes it.
    Latest(Option<u64>),
    /// Removes a checkpoint.
    Checkpoint(u64),
    /// Removes a file.
    File(PathBuf),
    /// Removes the entries of later steps from `metrics.json`.
    Metrics(Option<u64>),
    /// Shortens a log.
    Lines {
        /// The log.
        path: PathBuf,
        /// The text that remains.
        kept: String,
    },
}

/// The field that lines of every kind of training have.
#[derive(Deserialize)]
struct Stepped {
    step: u64,
}

impl RunDir {
    /// Removes everything later than the checkpoint of step `to`, or everything if `to` is `None`; a resumed run computes it
    /// again.
    ///
    /// # Errors
    /// A damaged log or `metrics.json` (before anything is removed), and errors of the file system.
    pub fn rewind(&self, to: Option<u64>) -> Result<(), RunError> {
        self.undoing(to)?.iter().try_for_each(|undo| self.undo(undo))
    }

    /// The removals of [`RunDir::rewind`] in their order; empty if nothing is later.
    ///
    /// # Errors
    /// A damaged log or `metrics.json`, and errors of the file system.
    pub fn undoing(&self, to: Option<u64>) -> Result<Vec<Undo>, RunError> {
        let is_later = |step: u64| to.is_none_or(|to| step > to);
        let mut all = Vec::new();
        let latest = fs_err::read_to_string(self.latest()).ok();
        if latest != to.map(step_name) {
            all.push(Undo::Latest(to));
        }
        all.extend(self.all_checkpoints()?.into_iter().rev().filter(|&step| is_later(step)).map(Undo::Checkpoint));
        all.extend(self.files_of_kernels(is_later)?.into_iter().map(Undo::File));
        let grids = self.steps_in("grids", ".png")?.into_iter().rev();
        all.extend(grids.filter(|&step| is_later(step)).map(|step| Undo::File(self.grid(step))));
        if self.has_metrics_after(to)? {
            all.push(Undo::Metrics(to));
        }
        for path in [self.kernels(), self.log()] {
            if !path.is_file() {
                continue;
            }
            let mut kept = String::new();
            for (_, line) in lines::read::<Stepped>(path.clone(), |_| true)?.iter().filter(|(l, _)| !is_later(l.step)) {
                kept.push_str(line);
                kept.push('\n');
            }
            if fs_err::read_to_string(&path)? != kept {
                all.push(Undo::Lines { path, kept });
            }
        }
        Ok(all)
    }

    /// Carries out one removal.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn undo(&self, undo: &Undo) -> Result<(), RunError> {
        match undo {
            Undo::Latest(Some(step)) => write_whole(&self.latest(), step_name(*step).as_bytes()),
            Undo::Latest(None) => remove_file(&self.latest()),
            Undo::Checkpoint(step) => self.discard(*step),
            Undo::File(path) => remove_file(path),
            Undo::Metrics(to) => self.rewind_metrics(*to),
            Undo::Lines { path, kept } => write_whole(path, kept.as_bytes()),
        }
    }

    /// Removes all checkpoints except the newest `keep`.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn prune(&self, keep: usize) -> Result<(), RunError> {
        let all = self.all_checkpoints()?;
        all[..all.len().saturating_sub(keep.max(1))].iter().try_for_each(|&old| self.discard(old))
    }

    /// Removes a checkpoint. It is renamed first, so that no reader sees a partial checkpoint.
    pub(crate) fn discard(&self, step: u64) -> Result<(), RunError> {
        let folder = self.checkpoint(step);
        if !folder.exists() {
            return Ok(());
        }
        let going = Unfinished::beside(&folder)?;
        fs_err::rename(&folder, going.path())?;
        // The renaming reaches the disk before files are deleted, so that even a power failure leaves no partial checkpoint.
        sync_folder(folder_of(&folder))?;
        Ok(remove(going.path())?)
    }

    /// The last step in the log, including events.
    ///
    /// # Errors
    /// An invalid line before the last line.
    pub fn logged_to(&self) -> Result<Option<u64>, RunError> {
        Ok(lines::read::<Stepped>(self.log(), |_| true)?.into_iter().map(|(line, _)| line.step).max())
    }

    /// Flushes the logs to the disk, so that a checkpoint is never newer than its log.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn sync_logs(&self) -> Result<(), RunError> {
        for path in [self.kernels(), self.log()].into_iter().filter(|path| path.is_file()) {
            fs_err::OpenOptions::new().append(true).open(path)?.sync_all()?;
        }
        Ok(())
    }

    /// The file that names the newest checkpoint.
    pub(crate) fn latest(&self) -> PathBuf {
        self.root().join("checkpoints").join("latest")
    }

    /// Whether a checkpoint was ever written, judged by files other than the checkpoints.
    ///
    /// # Errors
    /// A `metrics.json` that is damaged.
    pub fn had_checkpoints(&self) -> Result<bool, RunError> {
        Ok(self.latest().is_file() || self.summary_step()?.is_some())
    }
}

fn remove_file(path: &Path) -> Result<(), RunError> {
    match fs_err::remove_file(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => Ok(done?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::{Environment, Rewind};
    use crate::log::LogLine;

    /// A run of four steps with a checkpoint, a log line, a kernel and a grid at each step.
    fn trained(root: &Path) -> RunDir {
        let run = crate::draft::Draft::at(root).expect("begun").publish_run().expect("made");
        for step in 1..=4 {
            run.append_log(&LogLine { step, ..LogLine::default() }).expect("written");
            run.append_kernel(&serde_json::json!({ "step": step })).expect("written");
            write_whole(&run.grid(step), b"picture").expect("written");
            write_whole(&run.kernel(step), b"kernel").expect("written");
            run.write_checkpoint(step, &[("state".into(), vec![1])], 100).expect("written");
        }
        let summary = serde_json::json!({ "step": 4 });
        run.write_summary(summary.as_object().expect("an object").clone()).expect("written");
        run
    }

    fn steps(run: &RunDir) -> Vec<u64> {
        run.read_log::<LogLine>().expect("a log").into_iter().map(|line| line.step).collect()
    }

    #[test]
    fn every_state_on_the_way_back_is_a_run_that_can_be_gone_on_with() {
        for to in [Some(2), None] {
            let parent = tempfile::tempdir().expect("a folder");
            let whole = trained(&parent.path().join("whole"));
            let operations = whole.undoing(to).expect("planned").len();
            assert_eq!(operations, if to.is_some() { 10 } else { 16 });
            for done in 0..operations {
                let run = trained(&parent.path().join(format!("{done}")));
                for undo in &run.undoing(to).expect("planned")[..done] {
                    run.undo(undo).expect("done");
                }
                // The first checkpoints remain, each with all results that were made before it.
                let left = run.checkpoints().expect("read");
                assert_eq!(left, (1..=left.len() as u64).collect::<Vec<_>>(), "{done} of {operations}");
                if let Some(&last) = left.last() {
                    assert!(steps(&run).len() as u64 >= last && run.grid(last).is_file(), "{done} of {operations}");
                }
                run.rewind(to).expect("finished");
                assert_eq!(run.undoing(to).expect("planned"), []);
                let kept = to.unwrap_or(0);
                assert_eq!(run.checkpoints().expect("read").len() as u64, kept);
                assert_eq!((steps(&run).len() as u64, run.summary_step().expect("read")), (kept, None));
                assert_eq!(run.latest().is_file(), to.is_some());
                assert!(!run.grid(3).exists() && !run.kernel(3).exists());
            }
        }
    }

    #[test]
    fn checkpoints_beyond_a_rewind_that_was_decided_are_seen_by_nobody() {
        let parent = tempfile::tempdir().expect("a folder");
        let run = trained(&parent.path().join("a"));
        run.write_environment(&Environment { rewind: Some(Rewind { to: Some(2) }), ..Environment::default() })
            .expect("written");
        assert_eq!(run.find_checkpoint(None).expect("found"), 2);
        let error = run.find_checkpoint(Some(4)).expect_err("goes away").to_string();
        assert!(error.ends_with("holds no checkpoint of step 4; there are: 1, 2"), "{error}");
        run.write_environment(&Environment { rewind: Some(Rewind { to: None }), ..Environment::default() })
            .expect("written");
        assert!(matches!(run.find_checkpoint(None), Err(RunError::NoCheckpoint(_))));
    }

    #[test]
    fn a_part_of_a_checkpoint_is_never_seen() {
        let parent = tempfile::tempdir().expect("a folder");
        let run = trained(&parent.path().join("a"));
        // State after a kill while the folder of a removed checkpoint was being deleted.
        let going = Unfinished::beside(&run.checkpoint(2)).expect("a name");
        fs_err::rename(run.checkpoint(2), going.path()).expect("renamed");
        // Names that this program never uses.
        let folder = run.root().join("checkpoints");
        for foreign in ["step_12", "step_+00012", "step_000012x"] {
            fs_err::create_dir_all(folder.join(foreign)).expect("made");
        }
        write_whole(&folder.join("step_000013"), b"a file").expect("written");
        assert_eq!(run.checkpoints().expect("read"), [1, 3, 4]);
        run.prune(2).expect("pruned");
        assert_eq!(run.checkpoints().expect("read"), [3, 4]);
        drop(going);
        let hidden =
            |e: std::io::Result<fs_err::DirEntry>| e.expect("read").file_name().to_string_lossy().starts_with('.');
        assert!(!fs_err::read_dir(&folder).expect("read").any(hidden));
    }

    #[test]
    fn damaged_metrics_are_named_before_anything_is_removed() {
        let parent = tempfile::tempdir().expect("a folder");
        let run = trained(&parent.path().join("a"));
        // Only the summary shows that something is later.
        write_whole(&run.metrics(), b"{ \"step\": 4, \"evaluations\": { \"4\": null } }").expect("spoilt");
        let error = run.rewind(Some(2)).expect_err("damaged").to_string();
        assert!(error.contains("metrics.json"), "{error}");
        assert_eq!(run.checkpoints().expect("read").len(), 4);
    }

    #[test]
    fn a_damaged_log_is_named_before_anything_is_removed() {
        let parent = tempfile::tempdir().expect("a folder");
        let run = trained(&parent.path().join("a"));
        write_whole(&run.log(), b"{ \"step\": 1 }\n{ \"step\": -3 }\n{ \"step\": 2 }\n").expect("spoilt");
        let error = run.rewind(Some(2)).expect_err("damaged").to_string();
        assert!(error.contains("log.jsonl") && error.contains("line 2"), "{error}");
        assert_eq!(run.checkpoints().expect("read").len(), 4);
    }
}
