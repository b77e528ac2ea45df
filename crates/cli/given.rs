//! What lies at a path that was given, and which command reads it.

use std::path::{Path, PathBuf};

use fintan::parts::is_export;
use fintan_artifact::RunDir;
use miette::miette;

use crate::commands::edits_of;
use crate::failure::Failure;

/// The configuration at a path: the file itself, or of a run directory the one with every default.
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

/// A configuration that is to be begun with, which a run directory is not.
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

/// What files made from a configuration are called: like its file, or like the run directory.
pub(crate) fn name(path: &Path) -> String {
    let canonical = if path.is_dir() { path.canonicalize().ok() } else { None };
    let name = match &canonical {
        Some(folder) => folder.file_name(),
        None => path.file_stem(),
    };
    name.unwrap_or_default().to_string_lossy().into_owned()
}

/// The command that reads what is no run directory, where there is one.
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
