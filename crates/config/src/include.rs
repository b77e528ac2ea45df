//! A configuration file and the files that it includes.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use crate::error::ConfigError;

/// The key at the top level of a file that names the file to include.
pub(crate) const INCLUDE: &str = "include";

/// A configuration file, the file that it includes with `include = "base.toml"`, the file that this one includes, and so on.
///
/// A name is relative to the folder of the file that contains it. Tables are merged, and the including file takes
/// precedence. If settings exclude one another ([`EXCLUSIVE`](crate::EXCLUSIVE)), the including file's setting replaces the
/// included one. Paths of data are relative to the working directory of the program, whichever file contains them.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Names and texts; the file itself is the first.
    files: Vec<(String, String)>,
}

impl Sources {
    /// Reads a file and the files that it includes. Invalid TOML is not an error here; the check reports it later.
    ///
    /// # Errors
    /// A file that cannot be read, an `include` that is not a path, or a circle of includes.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |source| ConfigError::Read { path: path.display().to_string(), source };
        let text = read(path).map_err(unreadable)?;
        let mut seen = vec![path.canonicalize().map_err(unreadable)?];
        let mut files = vec![(path.display().to_string(), text)];
        let mut path = path.to_path_buf();
        loop {
            let (name, text) = &files[files.len() - 1];
            let Some((place, next)) = included(name, text)? else { return Ok(Self { files }) };
            path = path.parent().unwrap_or(Path::new("")).join(next);
            let shown = path.display().to_string();
            let wrong = |message| ConfigError::text(name, text, Some(place.clone()), message, None);
            let cannot = |e: std::io::Error| wrong(format!("cannot read the included `{shown}`: {e}"));
            let canonical = path.canonicalize().map_err(cannot)?;
            if seen.contains(&canonical) {
                return Err(wrong(format!("`include` goes round in a circle: it comes back to `{shown}`")));
            }
            seen.push(canonical);
            let text = read(&path).map_err(cannot)?;
            files.push((shown, text));
        }
    }

    /// A single text without includes.
    pub(crate) fn of(name: &str, text: &str) -> Self {
        Self { files: vec![(name.to_owned(), text.to_owned())] }
    }

    /// Names and texts: the file itself first, then the files that it includes in turn.
    pub fn files(&self) -> impl DoubleEndedIterator<Item = (&str, &str)> + ExactSizeIterator {
        self.files.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// Whether one of the files has this key at its top level.
    pub(crate) fn has(&self, key: &str) -> bool {
        // Text that is not TOML is refused later, by the check.
        self.files().any(|(_, text)| DeTable::parse(text).is_ok_and(|root| root.get_ref().contains_key(key)))
    }
}

/// The text of a file, without the byte order mark that some editors put in front.
fn read(path: &Path) -> std::io::Result<String> {
    let text = std::fs::read_to_string(path)?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// The file that a text includes, and the position of its name.
fn included(name: &str, text: &str) -> Result<Option<(Range<usize>, PathBuf)>, ConfigError> {
    let Ok(root) = DeTable::parse(text) else { return Ok(None) };
    let Some(value) = root.get_ref().get(INCLUDE) else { return Ok(None) };
    if let DeValue::String(path) = value.get_ref()
        && !path.is_empty()
    {
        return Ok(Some((value.span(), PathBuf::from(path.as_ref()))));
    }
    let message = "`include` must be the path of one file, in quotes".into();
    let help = Some("for instance include = \"base.toml\", relative to this file".into());
    Err(ConfigError::text(name, text, Some(value.span()), message, help))
}
