//! The settings of a run, and later edits of its files.

use std::path::PathBuf;
use std::sync::Mutex;

use fintan::SettingsEdit;
use fintan::parts::edits;
use fintan_artifact::{Environment, RunDir};

use crate::failure::Failure;
use crate::voice::tell;

/// The settings of a run's resolved configuration that were edited by hand.
pub(crate) fn edits_of(run: &RunDir) -> Result<Option<String>, Failure> {
    Ok(edits(run, &run.environment()?, false).pop().map(|edit| edit.changes))
}

/// Prints which settings of a run were edited by hand in the resolved configuration. If `of_both` is set, edits of the original
/// configuration are included.
pub(super) fn say_edits(run: &RunDir, environment: &Environment, of_both: bool) {
    edits(run, environment, of_both).iter().for_each(say_edit);
}

/// Prints which settings were edited by hand, once for each file.
pub(super) fn say_edit(edit: &SettingsEdit) {
    static SAID: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
    let SettingsEdit { file, changes } = edit;
    if let Ok(mut said) = SAID.lock() {
        if said.contains(file) {
            return;
        }
        said.push(file.clone());
    }
    tell!("edited    `{}`: {changes}", file.display());
    tell!(
        "          the run keeps the settings that it was trained with; `fintan resume --set key=value` changes them"
    );
}
