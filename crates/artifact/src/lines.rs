//! Files with one JSON object on each line.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::run_dir::RunError;

/// Appends a line.
///
/// # Errors
/// Errors of the file system.
pub(crate) fn append(path: &Path, line: &impl Serialize) -> Result<(), RunError> {
    let mut text = serde_json::to_string(line).expect("a log line is plain JSON");
    text.push('\n');
    if let Some(folder) = path.parent() {
        fs_err::create_dir_all(folder)?;
    }
    let mut file = fs_err::OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(())
}

/// The lines of a file: the text of each, and its parsed content.
pub(crate) fn read<L: DeserializeOwned>(
    path: PathBuf,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<(L, String)>, RunError> {
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let text = fs_err::read_to_string(&path)?;
    let lines: Vec<&str> = text.lines().collect();
    let mut read = Vec::with_capacity(lines.len());
    for (i, &line) in lines.iter().enumerate() {
        if !wanted(line) {
            continue;
        }
        match serde_json::from_str(line) {
            Ok(said) => read.push((said, line.to_owned())),
            Err(_) if i + 1 == lines.len() && !text.ends_with('\n') => {}
            Err(e) => return Err(RunError::Damaged { path, message: format!("line {}: {e}", i + 1) }),
        }
    }
    Ok(read)
}

/// Whether a line of the log is an [`Event`](crate::Event).
pub(crate) fn is_event(line: &str) -> bool {
    #[derive(Deserialize)]
    struct Kind {
        event: Option<serde::de::IgnoredAny>,
    }
    serde_json::from_str::<Kind>(line).is_ok_and(|kind| kind.event.is_some())
}
