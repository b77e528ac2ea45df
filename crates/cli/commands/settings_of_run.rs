//! The settings of a run, and later edits of its files.

use std::path::PathBuf;
use std::sync::Mutex;

use fintan::SettingsEdit;
use fintan::parts::edit_of_resolved;
use fintan_artifact::RunDir;

use crate::failure::Failure;
use crate::voice::tell;

/// The settings of a run's resolved configuration that were edited by hand.
pub(crate) fn edits_of(run: &RunDir) -> Result<Option<String>, Failure> {
    Ok(edit_of_resolved(run)?.map(|edit| edit.changes))
}

/// Says which settings of the resolved configuration of a run were edited by hand.
pub(super) fn say_edits(run: &RunDir) -> Result<(), Failure> {
    edit_of_resolved(run)?.iter().for_each(say_edit);
    Ok(())
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
