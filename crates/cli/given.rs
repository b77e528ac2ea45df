//! Finds out what a given path is, and which command reads it.

use std::path::{Path, PathBuf};

use fintan::parts::is_export;
use fintan_artifact::RunDir;
use miette::miette;

use crate::commands::edits_of;
use crate::failure::Failure;

/// The configuration at a path: the file itself, or the resolved configuration of a run directory.
pub(crate) fn configuration(path: &Path) -> Result<PathBuf, Failure> {
    if !path.is_dir() {
        return Ok(path.into());
    }
    let run = RunDir::open(path).map_err(|_| {
        let message = format!("`{}` is a folder: neither a configuration (.toml) nor a run directory", path.display());
        Failure::Input(match reader(path) {
            Some(help) => miette!(help = help, "{message}"),
            None => miette!("{message}"),
        })
    })?;
    let resolved = run.resolved_config();
    if let Some(edits) = edits_of(&run)? {
        return Err(Failure::Input(miette!(
            help = "copy it out of the run to look at it as a configuration of its own; `fintan resume` puts it back",
            "`{}` is not what the run was trained with: {edits}",
            resolved.display()
        )));
    }
    Ok(resolved)
}

/// Checks that a path is a configuration and not a run directory.
pub(crate) fn no_run(
    path: &Path,
    help: impl Fn(std::path::Display, std::path::Display) -> String,
) -> Result<(), Failure> {
    match RunDir::open(path) {
        Ok(run) => Err(Failure::Input(miette!(
            help = help(path.display(), run.resolved_config().display()),
            "`{}` is a run directory, not a configuration (.toml)",
            path.display()
        ))),
        Err(_) => configuration(path).map(drop),
    }
}

/// The name for files derived from a configuration: that of the file without its ending, or that of the run directory.
pub(crate) fn name(path: &Path) -> String {
    let canonical = if path.is_dir() { path.canonicalize().ok() } else { None };
    let name = match &canonical {
        Some(folder) => folder.file_name(),
        None => path.file_stem(),
    };
    name.unwrap_or_default().to_string_lossy().into_owned()
}

/// The command that reads a path that is not a run directory, if there is one.
pub(crate) fn reader(path: &Path) -> Option<&'static str> {
    if path.join("compare.json").is_file() {
        Some("it is a comparison: `fintan report` shows it, and its runs are the folders in it")
    } else if is_export(path) {
        Some("it was written by `fintan export`: `fintan sample` reads it")
    } else if path.is_dir() && path.extension().is_some_and(|e| e == "tiles") {
        Some("it holds tiles of a kernel: `fintan ntk merge` reads it")
    } else if path.is_file() && path.extension().is_some_and(|e| e == "toml") {
        Some("it is a configuration: `fintan check`, `train`, `ntk`, `theory`, `tune`, `cite` and `compare` read those")
    } else {
        None
    }
}
