//! From TOML files and `--set` overrides to an [`Experiment`], keeping track of where every key stands.

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
    /// Reads and checks a configuration file, with what it includes.
    ///
    /// `overrides` are `key.path=value` with a TOML value; what is no TOML value is taken as a string. They are
    /// appended to the text that errors quote, so that a wrong override is shown like a wrong line.
    ///
    /// # Errors
    /// Everything wrong with the files, the overrides or the experiment.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self, ConfigError> {
        Sources::read(path)?.whole(overrides)?.checked(Settings::check)
    }

    /// Checks a configuration `text`, which can include nothing; errors call it `name`.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn parse(name: &str, text: &str, overrides: &[String]) -> Result<Self, ConfigError> {
        Sources::of(name, text).whole(overrides)?.checked(Settings::check)
    }
}

impl Subject {
    /// Reads and checks a configuration file that describes a GAN or a network by itself, with what it includes.
    ///
    /// # Errors
    /// As [`Experiment::load`].
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self, ConfigError> {
        Self::of(&Sources::read(path)?, overrides)
    }

    /// Reads and checks a configuration file whose networks are to fit into memory.
    ///
    /// # Errors
    /// As [`Experiment::load`]; networks, batches and drawn data that need more than is free, at the key that makes them large.
    pub fn load_within(path: &Path, overrides: &[String], memory: MemoryBound) -> Result<Self, ConfigError> {
        Self::of_within(&Sources::read(path)?, overrides, memory)
    }

    /// Checks a configuration `text`, which can include nothing; errors call it `name`.
    ///
    /// # Errors
    /// As [`Experiment::load`].
    pub fn parse(name: &str, text: &str, overrides: &[String]) -> Result<Self, ConfigError> {
        Self::of(&Sources::of(name, text), overrides)
    }

    /// Checks a configuration `text` whose networks are to fit into memory.
    ///
    /// # Errors
    /// As [`Self::load_within`].
    pub fn parse_within(
        name: &str,
        text: &str,
        overrides: &[String],
        memory: MemoryBound,
    ) -> Result<Self, ConfigError> {
        Self::of_within(&Sources::of(name, text), overrides, memory)
    }

    /// Checks files that were read.
    ///
    /// # Errors
    /// As [`Experiment::load`].
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

/// Texts that make one configuration. They stand one behind the other in one range of numbers, so that the place of a
/// key also tells the file that it stands in.
pub(crate) struct Whole {
    /// Names, texts and where they begin: the file itself with the overrides, then what it includes.
    files: Vec<(String, String, usize)>,
    /// TOML documents to be laid over one another, with blanks in front that put them in their places.
    layers: Vec<String>,
    /// How many of them are overrides.
    overrides: usize,
}

impl Sources {
    /// The texts with overrides.
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
                // It led to the file beneath.
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
        // Where something is missing altogether, the file itself is shown.
        let root = Spanned::new(place, root);
        let spans = root.clone();
        let settings = S::deserialize(toml::de::Deserializer::from(root).into_deserializer()).map_err(|e| wrong(&e))?;
        check(settings).map_err(|Invalid { key, message, help }| self.error(span_of(&spans, &key), message, help))
    }

    /// A text that is no TOML.
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

    /// An error in the file that a place lies in.
    fn error(&self, place: Option<Range<usize>>, message: String, help: Option<String>) -> ConfigError {
        let inside = |place: &Range<usize>| self.files.iter().rfind(|(.., start)| *start <= place.start);
        let (name, text, start) = place.as_ref().and_then(inside).unwrap_or(&self.files[0]);
        // Without a place no line is shown, and with it no name.
        let message = if place.is_none() { format!("`{name}`: {message}") } else { message };
        let span = place.map(|place| place.start - start..place.end - start);
        ConfigError::text(name, text, span, message, help)
    }
}

impl Settings {
    /// Every setting as TOML, defaults included; reading it back gives the same experiment.
    ///
    /// # Panics
    /// Never: the settings are plain tables, numbers and strings.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("settings are plain TOML")
    }
}

/// What to do about a backslash that begins no escape.
const ESCAPES: &str =
    "in double quotes a backslash begins an escape; write a Windows path in single quotes, as in 'C:\\pictures'";

/// An override `key.path=value` as a line of TOML; what is no TOML value becomes a string.
///
/// # Errors
/// What is no `key.path=value`.
pub fn override_line(given: &str) -> Result<String, ConfigError> {
    let (key, value) = given
        .split_once('=')
        .filter(|(key, _)| !key.trim().is_empty())
        .ok_or_else(|| ConfigError::Override { given: given.to_owned() })?;
    let (key, value) = (key.trim(), value.trim());
    let value = match format!("x = {value}").parse::<toml::Table>() {
        Ok(_) => value.to_owned(),
        // Meant as TOML: as a string it would have the quotes or brackets in it.
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

/// Lays `from` over `into`: tables are merged, everything else is replaced.
///
/// A table that holds one alternative (`[data.shapes]`) gives way to another (`data.idx.images=..`): the alternatives
/// of a setting are tables that exclude one another.
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

/// Settings of which exactly one alternative is given: a file or an override with another one replaces it.
pub const EXCLUSIVE: [&str; 7] = ["data", "decay", "function", "inputs", "norm", "optimizer", "parametrization"];

/// Where the value of `key` stands; where it is not written, its nearest table that is.
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
