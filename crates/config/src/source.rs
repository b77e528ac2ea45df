//! Reads TOML files and `--set` overrides into an [`Experiment`], and keeps the position of every key.

use std::ops::Range;
use std::path::Path;

use serde::de::{DeserializeOwned, IntoDeserializer as _};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{ConfigError, Invalid, in_plain_words};
use crate::experiment::{Experiment, Settings};
use crate::include::{INCLUDE, Sources};
use crate::memory::MemoryBound;
use crate::subject::{NetworkSettings, Subject};

impl Experiment {
    /// Reads and checks a configuration file and the files that it includes.
    ///
    /// `overrides` are `key.path=value` with a TOML value; a value that is not TOML is taken as a string. They are appended
    /// to the text that errors quote, so that a wrong override is shown like a wrong line.
    ///
    /// # Errors
    /// Every fault of the files, the overrides or the experiment.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self, ConfigError> {
        Sources::read(path)?.whole(overrides)?.checked(Settings::check)
    }

    /// Checks a configuration `text`, which cannot include other files; errors show `name` as its file.
    ///
    /// # Errors
    /// The errors of [`Self::load`].
    pub fn parse(name: &str, text: &str, overrides: &[String]) -> Result<Self, ConfigError> {
        Sources::of(name, text).whole(overrides)?.checked(Settings::check)
    }
}

impl Subject {
    /// Reads and checks a configuration file, and the files it includes, that describes a GAN or a single network.
    ///
    /// # Errors
    /// The errors of [`Experiment::load`].
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self, ConfigError> {
        Self::of(&Sources::read(path)?, overrides)
    }

    /// Reads and checks a configuration file whose networks must fit into memory.
    ///
    /// # Errors
    /// The errors of [`Experiment::load`]. Networks, batches and drawn data that need more memory than is free are errors at
    /// the key that makes them large.
    pub fn load_within(path: &Path, overrides: &[String], memory: MemoryBound) -> Result<Self, ConfigError> {
        Self::of_within(&Sources::read(path)?, overrides, memory)
    }

    /// Checks a configuration `text`, which cannot include other files; errors show `name` as its file.
    ///
    /// # Errors
    /// The errors of [`Experiment::load`].
    pub fn parse(name: &str, text: &str, overrides: &[String]) -> Result<Self, ConfigError> {
        Self::of(&Sources::of(name, text), overrides)
    }

    /// Checks a configuration `text` whose networks must fit into memory.
    ///
    /// # Errors
    /// The errors of [`Self::load_within`].
    pub fn parse_within(
        name: &str,
        text: &str,
        overrides: &[String],
        memory: MemoryBound,
    ) -> Result<Self, ConfigError> {
        Self::of_within(&Sources::of(name, text), overrides, memory)
    }

    /// Checks files that have been read.
    ///
    /// # Errors
    /// The errors of [`Experiment::load`].
    pub fn of(sources: &Sources, overrides: &[String]) -> Result<Self, ConfigError> {
        Self::of_within(sources, overrides, MemoryBound::none())
    }

    fn of_within(sources: &Sources, overrides: &[String], memory: MemoryBound) -> Result<Self, ConfigError> {
        let alone = sources.has("network");
        let whole = sources.whole(overrides)?;
        let fits = |subject: Self| memory.check(&subject).map(|()| subject);
        if alone {
            whole.checked(|settings: NetworkSettings| fits(Self::Network(settings.check()?)))
        } else {
            whole.checked(|settings: Settings| fits(Self::Gan(Box::new(settings.check()?))))
        }
    }
}

/// Texts that together form one configuration. Their positions are counted through, one text after the other, so the
/// position of a key also identifies its file.
pub(crate) struct Whole {
    /// Name, text and first position of each: the file itself with the overrides, then the files that it includes.
    files: Vec<(String, String, usize)>,
    /// TOML documents to be merged; leading blanks move each to its position.
    layers: Vec<String>,
    /// Number of these documents that are overrides.
    overrides: usize,
}

impl Sources {
    /// The texts together with the overrides.
    pub(crate) fn whole(&self, overrides: &[String]) -> Result<Whole, ConfigError> {
        let mut files: Vec<(String, String, usize)> = Vec::new();
        let mut lines = Vec::new();
        for (name, text) in self.files() {
            let start = files.last().map_or(0, |(_, text, start)| start + text.len() + 1);
            let mut text = text.to_owned();
            if start == 0 && !overrides.is_empty() {
                if !text.is_empty() && !text.ends_with('\n') {
                    text.push('\n');
                }
                text.push_str("# --set\n");
                for given in overrides {
                    let line = override_line(given)?;
                    lines.push(" ".repeat(text.len()) + &line);
                    text.push_str(&line);
                    text.push('\n');
                }
            }
            files.push((name.to_owned(), text, start));
        }
        let own = self.files().zip(&files).rev();
        let mut layers: Vec<String> = own.map(|((_, text), (.., start))| " ".repeat(*start) + text).collect();
        let overrides = lines.len();
        layers.extend(lines);
        Ok(Whole { files, layers, overrides })
    }
}

impl Whole {
    /// Reads settings `S` and checks them.
    pub(crate) fn checked<S: DeserializeOwned, T>(
        &self,
        check: impl FnOnce(S) -> Result<T, Invalid>,
    ) -> Result<T, ConfigError> {
        let wrong = |e: &toml::de::Error| {
            let (message, help) = in_plain_words(e.message());
            self.error(e.span(), message, help)
        };
        let parse = |document| DeTable::parse(document).map_err(|e| self.unreadable(&e));
        let (files, overrides) = self.layers.split_at(self.layers.len() - self.overrides);
        let (mut root, mut place) = (DeTable::new(), 0..0);
        for (k, document) in files.iter().enumerate() {
            let table = parse(document)?;
            place = table.span();
            let mut table = table.into_inner();
            if k > 0 {
                // This key named the included file.
                table.remove(INCLUDE);
            }
            merge(&mut root, table);
        }
        for document in overrides {
            merge(&mut root, parse(document)?.into_inner());
        }
        if let Some(include) = root.get(INCLUDE) {
            let message = "`include` belongs to the top of a file and cannot be followed from here".into();
            return Err(self.error(Some(include.span()), message, None));
        }
        // If a required value is missing, the error shows the file itself.
        let root = Spanned::new(place, root);
        let spans = root.clone();
        let settings = S::deserialize(toml::de::Deserializer::from(root).into_deserializer()).map_err(|e| wrong(&e))?;
        check(settings).map_err(|Invalid { key, message, help }| self.error(span_of(&spans, &key), message, help))
    }

    /// The error for a text that is not TOML.
    fn unreadable(&self, e: &toml::de::Error) -> ConfigError {
        let (message, help) = in_plain_words(e.message());
        let inside = |place: Range<usize>| {
            let (_, text, start) = self.files.iter().rfind(|(.., start)| *start <= place.start)?;
            text.get(..place.start - start)?.rsplit('\n').next().zip(text.get(place.start - start..)?.lines().next())
        };
        let escapes = e
            .span()
            .and_then(inside)
            .is_some_and(|(before, after)| before.contains('"') && (before.contains('\\') || after.contains('\\')));
        self.error(e.span(), message, help.or_else(|| escapes.then(|| ESCAPES.to_owned())))
    }

    /// An error in the file that contains `place`.
    fn error(&self, place: Option<Range<usize>>, message: String, help: Option<String>) -> ConfigError {
        let inside = |place: &Range<usize>| self.files.iter().rfind(|(.., start)| *start <= place.start);
        let (name, text, start) = place.as_ref().and_then(inside).unwrap_or(&self.files[0]);
        // Without a place no line is shown, so the message gives the name of the file.
        let message = if place.is_none() { format!("`{name}`: {message}") } else { message };
        let span = place.map(|place| place.start - start..place.end - start);
        ConfigError::text(name, text, span, message, help)
    }
}

impl Settings {
    /// Every setting as TOML, including defaults; reading it gives the same experiment.
    ///
    /// # Panics
    /// Never: the settings are plain tables, numbers and strings.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("settings are plain TOML")
    }
}

/// A hint for a backslash that starts no escape.
const ESCAPES: &str =
    "in double quotes a backslash begins an escape; write a Windows path in single quotes, as in 'C:\\pictures'";

/// Turns an override `key.path=value` into a line of TOML; a value that is not TOML becomes a string.
///
/// ```
/// use fintan_config::override_line;
///
/// assert_eq!(override_line("train.steps=200")?, "train.steps = 200");
/// assert_eq!(override_line("data.idx.images=a.gz")?, "data.idx.images = \"a.gz\"");
/// # Ok::<(), fintan_config::ConfigError>(())
/// ```
///
/// # Errors
/// An override that is not of the form `key.path=value`.
pub fn override_line(given: &str) -> Result<String, ConfigError> {
    let (key, value) = given
        .split_once('=')
        .filter(|(key, _)| !key.trim().is_empty())
        .ok_or_else(|| ConfigError::Override { given: given.to_owned() })?;
    let (key, value) = (key.trim(), value.trim());
    let value = match format!("x = {value}").parse::<toml::Table>() {
        Ok(_) => value.to_owned(),
        // The value is meant as TOML: a string would contain the quotes or brackets.
        Err(e) if value.starts_with(['"', '\'', '[', '{']) => {
            let why = e.message().lines().collect::<Vec<_>>().join("; ");
            return Err(ConfigError::Value { given: given.to_owned(), why });
        }
        Err(_) => toml::Value::String(value.to_owned()).to_string(),
    };
    let line = format!("{key} = {value}");
    if line.contains('\n') || line.parse::<toml::Table>().is_err() {
        return Err(ConfigError::Override { given: given.to_owned() });
    }
    Ok(line)
}

/// Merges `from` into `into`: tables are merged, every other value is replaced.
///
/// The alternatives of a setting are tables that exclude one another. A table that holds one alternative (`[data.shapes]`)
/// is therefore replaced by a table that holds another (`data.idx.images=..`).
fn merge<'a>(into: &mut DeTable<'a>, from: DeTable<'a>) {
    for (key, value) in from {
        if let (Some(DeValue::Table(below)), DeValue::Table(_)) =
            (into.get_mut(key.get_ref().as_ref()).map(Spanned::get_mut), value.get_ref())
        {
            let DeValue::Table(table) = value.into_inner() else { unreachable!("just matched") };
            if EXCLUSIVE.contains(&key.get_ref().as_ref())
                && table.keys().all(|k| !below.contains_key(k.get_ref().as_ref()))
            {
                *below = table;
            } else {
                merge(below, table);
            }
        } else {
            into.remove(key.get_ref().as_ref());
            into.insert(key, value);
        }
    }
}

/// Settings of which exactly one alternative is given: another alternative in a later file or override replaces it.
pub const EXCLUSIVE: [&str; 7] = ["data", "decay", "function", "inputs", "norm", "optimizer", "parametrization"];

/// The position of the value of `key`; if the key is not written, the position of its nearest table.
fn span_of(root: &Spanned<DeTable>, key: &str) -> Option<Range<usize>> {
    let mut found = None;
    let mut table = Some(root.get_ref());
    let mut value: Option<&Spanned<DeValue>> = None;
    for step in key.split('.').flat_map(|part| part.split(['[', ']'])).filter(|step| !step.is_empty()) {
        value = match (step.parse::<usize>(), value.map(Spanned::get_ref)) {
            (Ok(i), Some(DeValue::Array(items))) => items.get(i),
            _ => table.and_then(|table| table.get(step)),
        };
        let Some(here) = value else { break };
        found = Some(here.span());
        table = if let DeValue::Table(table) = here.get_ref() { Some(table) } else { None };
    }
    found
}
