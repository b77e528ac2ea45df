//! From a TOML file and `--set` overrides to an [`Experiment`], keeping track of where every key stands.

use std::ops::Range;
use std::path::Path;

use serde::de::{DeserializeOwned, IntoDeserializer as _};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{ConfigError, Invalid, in_plain_words};
use crate::experiment::{Experiment, Settings};
use crate::subject::{NetworkSettings, Subject};

impl Experiment {
    /// Reads and checks a configuration file.
    ///
    /// `overrides` are `key.path=value` with a TOML value; what is no TOML value is taken as a string. They are
    /// appended to the text that errors quote, so that a wrong override is shown like a wrong line.
    ///
    /// # Errors
    /// Everything wrong with the file, the overrides or the experiment.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self, ConfigError> {
        let text = read(path)?;
        Self::parse(&path.display().to_string(), &text, overrides)
    }

    /// Checks a configuration `text`; errors call it `name`.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn parse(name: &str, text: &str, overrides: &[String]) -> Result<Self, ConfigError> {
        checked(name, text, overrides, Settings::check)
    }
}

impl Subject {
    /// Reads and checks a configuration file that describes a GAN or a network by itself.
    ///
    /// # Errors
    /// As [`Experiment::load`].
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self, ConfigError> {
        let text = read(path)?;
        Self::parse(&path.display().to_string(), &text, overrides)
    }

    /// Checks a configuration `text`; errors call it `name`.
    ///
    /// # Errors
    /// As [`Experiment::load`].
    pub fn parse(name: &str, text: &str, overrides: &[String]) -> Result<Self, ConfigError> {
        // A text that is no TOML is refused below, in either case.
        let alone = DeTable::parse(text).is_ok_and(|root| root.get_ref().contains_key("network"));
        if alone {
            checked(name, text, overrides, NetworkSettings::check).map(Self::Network)
        } else {
            checked(name, text, overrides, Settings::check).map(|experiment| Self::Gan(Box::new(experiment)))
        }
    }
}

pub(crate) fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.display().to_string(), source })
}

/// Reads a text with its overrides as settings `S` and checks them.
pub(crate) fn checked<S: DeserializeOwned, T>(
    name: &str,
    text: &str,
    overrides: &[String],
    check: impl FnOnce(S) -> Result<T, Invalid>,
) -> Result<T, ConfigError> {
    let mut whole = text.to_owned();
    let mut extra = Vec::new();
    if !overrides.is_empty() {
        if !whole.is_empty() && !whole.ends_with('\n') {
            whole.push('\n');
        }
        whole.push_str("# --set\n");
        for given in overrides {
            let line = override_line(given)?;
            // Blanks in front put the spans of this little document where it stands in the whole.
            extra.push(" ".repeat(whole.len()) + &line);
            whole.push_str(&line);
            whole.push('\n');
        }
    }
    let wrong = |e: &toml::de::Error| {
        let (message, help) = in_plain_words(e.message());
        ConfigError::text(name, &whole, e.span(), message, help)
    };
    let mut root = DeTable::parse(text).map_err(|e| wrong(&e))?;
    for document in &extra {
        let table = DeTable::parse(document).map_err(|e| wrong(&e))?;
        merge(root.get_mut(), table.into_inner());
    }
    let spans = root.clone();
    let settings = S::deserialize(toml::de::Deserializer::from(root).into_deserializer()).map_err(|e| wrong(&e))?;
    check(settings).map_err(|invalid| {
        let span = span_of(&spans, &invalid.key);
        ConfigError::text(name, &whole, span, invalid.message, invalid.help)
    })
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
    let is_toml = format!("x = {value}").parse::<toml::Table>().is_ok();
    let value = if is_toml { value.to_owned() } else { toml::Value::String(value.to_owned()).to_string() };
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

/// Settings of which exactly one alternative is given: an override with another one replaces it.
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
        table = match here.get_ref() {
            DeValue::Table(table) => Some(table),
            _ => None,
        };
    }
    found
}
