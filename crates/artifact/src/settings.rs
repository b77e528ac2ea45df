//! Configurations as flat lists of keys and values, for comparisons.

use std::collections::BTreeMap;

use toml::Value;

use crate::run_dir::{RunDir, RunError};

/// Keys such as `generator.dcgan.channels` with their values in TOML notation, in alphabetical order.
///
/// ```
/// use fintan_artifact::settings_of;
///
/// let [narrow, wide] = ["[net]\nwidth = 8\ndepth = 2", "[net]\nwidth = 16\ndepth = 2"].map(settings_of);
/// let (narrow, wide) = (narrow?, wide?);
/// assert_eq!(narrow["net.width"], "8");
/// assert_eq!(fintan_artifact::differing_keys(&[&narrow, &wide]), ["net.width"]);
/// # Ok::<(), String>(())
/// ```
pub type FlatSettings = BTreeMap<String, String>;

impl RunDir {
    /// The resolved configuration of the run: the text in `env.json`, or else the file.
    ///
    /// # Errors
    /// A damaged `env.json`, or a configuration that cannot be read.
    pub fn configuration(&self) -> Result<String, RunError> {
        match self.environment()?.settings {
            Some(settings) => Ok(settings),
            // Before the first step, and in runs of older program versions, there is no other source.
            None => Ok(fs_err::read_to_string(self.resolved_config())?),
        }
    }

    /// Every setting of the run, including defaults.
    ///
    /// # Errors
    /// The errors of [`RunDir::configuration`], and a configuration that is not TOML.
    pub fn settings(&self) -> Result<FlatSettings, RunError> {
        let text = self.configuration()?;
        settings_of(&text).map_err(|message| RunError::Damaged { path: self.resolved_config(), message })
    }
}

/// The settings of a TOML text.
///
/// # Errors
/// Text that is not TOML, with the message of the parser.
pub fn settings_of(text: &str) -> Result<FlatSettings, String> {
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| e.message().to_owned())?;
    let mut found = FlatSettings::new();
    for (key, value) in &table {
        flatten(key, value, &mut found);
    }
    Ok(found)
}

fn flatten(key: &str, value: &Value, found: &mut FlatSettings) {
    match value {
        Value::Table(table) => {
            // An empty table is a setting too: `flatten = {}`, `[data.shapes]`.
            if table.is_empty() {
                found.insert(key.to_owned(), "{}".into());
            }
            for (below, value) in table {
                flatten(&format!("{key}.{below}"), value, found);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_table) => {
            for (i, item) in items.iter().enumerate() {
                flatten(&format!("{key}[{i:02}]"), item, found);
            }
        }
        Value::String(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_)
        | Value::Array(_) => {
            found.insert(key.to_owned(), value.to_string());
        }
    }
}

/// Keys whose values differ or are missing in some of the settings, in alphabetical order.
#[must_use]
pub fn differing_keys(all: &[&FlatSettings]) -> Vec<String> {
    let mut keys: Vec<&String> = all.iter().flat_map(|settings| settings.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    let differs = |key: &&String| {
        let first = all.first().and_then(|settings| settings.get(*key));
        all.iter().any(|settings| settings.get(*key) != first)
    };
    keys.into_iter().filter(differs).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_flat_and_their_differences_named() {
        let read = |text| settings_of(text).expect("TOML");
        let a = read("seed = 1\n[data.shapes]\n[generator]\nlayers = [{ dense = { out = 2 } }, { flatten = {} }]");
        assert_eq!(a["seed"], "1");
        assert_eq!(a["data.shapes"], "{}");
        assert_eq!(a["generator.layers[00].dense.out"], "2");
        assert_eq!(a["generator.layers[01].flatten"], "{}");
        let b = read("seed = 1\ngrid = [8, 8]\n[data.shapes]\n[generator]\nlayers = [{ dense = { out = 3 } }]");
        assert_eq!(b["grid"], "[8, 8]");
        let keys = differing_keys(&[&a, &b]);
        assert_eq!(keys, ["generator.layers[00].dense.out", "generator.layers[01].flatten", "grid"]);
        assert!(differing_keys(&[&a]).is_empty() && differing_keys(&[&b, &b]).is_empty());
        assert!(settings_of("a = ").is_err());
    }
}
