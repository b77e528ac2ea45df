//! The settings that a run was trained with, however its files were edited since.

use std::path::PathBuf;
use std::sync::Mutex;

use fintan_artifact::{Environment, RunDir, differing_keys, settings_of};
use fintan_config::{MemoryBound, Subject};

use crate::failure::Failure;
use crate::voice::tell;

/// What a run is of, with overrides. A resolved configuration that was edited by hand is said, and not obeyed: the
/// checkpoints are of networks as they were trained.
pub(super) fn subject_of_run(run: &RunDir, overrides: &[String], memory: MemoryBound) -> Result<Subject, Failure> {
    let environment = run.environment()?;
    say_edits(run, &environment, false);
    let name = run.resolved_config().display().to_string();
    Ok(Subject::parse_within(&name, &run.configuration()?, overrides, memory)?)
}

/// Settings of the resolved configuration of a run that were edited by hand.
pub(crate) fn edits_of(run: &RunDir) -> Result<Option<String>, Failure> {
    // Between two writes of a resume the resolved configuration is not yet that of `env.json`.
    let environment = run.environment()?;
    let written = environment.settings.filter(|_| environment.rewind.is_none());
    let found = fs_err::read_to_string(run.resolved_config()).map_err(Failure::input)?;
    Ok(written.and_then(|written| edits(&written, &found)))
}

/// Says which settings of a run were edited by hand, once a file: in the resolved configuration, and, where that is wanted,
/// in the one that the run was begun with.
pub(super) fn say_edits(run: &RunDir, environment: &Environment, of_both: bool) {
    static SAID: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
    // Between two writes of a resume the resolved configuration is not yet that of `env.json`.
    let resolved = environment.settings.as_ref().filter(|_| environment.rewind.is_none());
    let begun = environment.config.as_ref().filter(|_| of_both);
    for (name, written) in [("config.resolved.toml", resolved), ("config.toml", begun)] {
        let path = run.root().join(name);
        let (Some(written), Ok(found)) = (written, fs_err::read_to_string(&path)) else { continue };
        let Some(edits) = edits(written, &found) else { continue };
        if let Ok(mut said) = SAID.lock() {
            if said.contains(&path) {
                continue;
            }
            said.push(path.clone());
        }
        tell!("edited    `{}`: {edits}", path.display());
        tell!(
            "          the run keeps the settings that it was trained with; `fintan resume --set key=value` changes them"
        );
    }
}

/// Keys in which a configuration was edited, with their values; none where it says the same.
fn edits(written: &str, found: &str) -> Option<String> {
    let was = settings_of(written).ok()?;
    let is = match settings_of(found) {
        Ok(is) => is,
        Err(message) => return Some(format!("it can no longer be read ({message})")),
    };
    let value = |found: Option<&String>| found.cloned().unwrap_or_else(|| "nothing".into());
    let keys = differing_keys(&[&was, &is]);
    let said: Vec<String> =
        keys.iter().map(|key| format!("{key} = {} (it was {})", value(is.get(key)), value(was.get(key)))).collect();
    (!said.is_empty()).then(|| said.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_keys_with_both_values() {
        let written = "seed = 1\n[train]\nsteps = 5\n";
        assert_eq!(edits(written, "# mine\nseed = 1\ntrain = { steps = 5 }\n"), None);
        assert_eq!(
            edits(written, "seed = 2\n[train]\n").as_deref(),
            Some("seed = 2 (it was 1), train = {} (it was nothing), train.steps = nothing (it was 5)")
        );
        assert!(edits(written, "seed = ").is_some_and(|said| said.starts_with("it can no longer be read")));
    }
}
