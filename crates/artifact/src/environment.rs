//! The content of `env.json`: where a run was computed, its initial settings, and their later changes.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::run_dir::{RunDir, RunError};

/// `env.json`
///
/// It holds the settings of the run as the program wrote them, so that an edited configuration is noticed and can be
/// reverted. One write of this file decides a resume: new settings, the changes that led to them, and the step to which the
/// run goes back take effect together. Whichever process opens the run next completes the consequences.
///
/// ```
/// use fintan_artifact::Environment;
///
/// let environment = Environment { settings: Some("seed = 0\n".into()), ..Environment::default() };
/// let text = serde_json::to_string(&environment)?;
/// assert_eq!(serde_json::from_str::<Environment>(&text)?, environment);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Environment {
    /// Program, device, threads, system.
    #[serde(flatten)]
    pub machine: Map<String, Value>,
    /// The text of `config.toml` at the start of the run.
    #[serde(default, with = "text_lines", skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// The text of `config.resolved.toml` as the program wrote it last; `None` in runs of program versions that did not keep
    /// it.
    #[serde(default, with = "text_lines", skip_serializing_if = "Option::is_none")]
    pub settings: Option<String>,
    /// The changes since the start of the run, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// The step to which the run goes back, as long as later results are not completely removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewind: Option<Rewind>,
}

/// A setting that changed during a run.
///
/// ```
/// let (old, new) = ("64".to_owned(), "128".to_owned());
/// let change = fintan_artifact::Change::of_setting(40, "train.batch".into(), Some(&old), Some(&new));
/// assert_eq!((change.step, change.old, change.new), (40, 64.into(), 128.into()));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Number of steps completed before the change.
    pub step: u64,
    /// The key of the setting, or `data`.
    pub key: String,
    /// Old value; null if the setting was not set.
    pub old: Value,
    /// New value; null if the setting is no longer set.
    pub new: Value,
}

impl Change {
    /// A change of a setting; the values have the form that [`FlatSettings`](crate::FlatSettings) uses.
    #[must_use]
    pub fn of_setting(step: u64, key: String, old: Option<&String>, new: Option<&String>) -> Self {
        let json = |text: Option<&String>| {
            let Some(text) = text else { return Value::Null };
            let parsed = format!("x = {text}").parse::<toml::Table>().ok().and_then(|mut table| table.remove("x"));
            parsed.and_then(|value| serde_json::to_value(value).ok()).unwrap_or_else(|| text.clone().into())
        };
        Self { step, key, old: json(old), new: json(new) }
    }
}

/// The step to which a run goes back.
///
/// ```
/// let rewind: fintan_artifact::Rewind = serde_json::from_str(r#"{ "to": 40 }"#)?;
/// assert_eq!(rewind.to, Some(40));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rewind {
    /// The step of a checkpoint; `None` for a run that starts again from the beginning.
    pub to: Option<u64>,
}

/// Serialises texts as lists of lines, which are readable in JSON.
mod text_lines {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    #[expect(clippy::ref_option, reason = "serde hands out references")]
    pub(super) fn serialize<S: Serializer>(text: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
        text.as_ref().map(|text| text.split('\n').collect::<Vec<_>>()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
        Ok(Option::<Vec<String>>::deserialize(deserializer)?.map(|lines| lines.join("\n")))
    }
}

impl RunDir {
    fn environment_file(&self) -> PathBuf {
        self.root().join("env.json")
    }

    /// Reads `env.json`; returns an empty one if the file does not exist.
    ///
    /// # Errors
    /// A file that is damaged.
    pub fn environment(&self) -> Result<Environment, RunError> {
        let path = self.environment_file();
        if !path.is_file() {
            return Ok(Environment::default());
        }
        let bytes = fs_err::read(&path)?;
        serde_json::from_slice(&bytes).map_err(|e| RunError::Damaged { path, message: e.to_string() })
    }

    /// Writes `env.json`.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn write_environment(&self, environment: &Environment) -> Result<(), RunError> {
        let text = serde_json::to_string_pretty(environment).map_err(|e| std::io::Error::other(e.to_string()))?;
        self.write("env.json", format!("{text}\n").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_is_read_as_it_was_written_and_an_older_one_too() {
        let parent = tempfile::tempdir().expect("a folder");
        let run = crate::draft::Draft::at(&parent.path().join("a")).expect("begun").publish_run().expect("made");
        assert_eq!(run.environment().expect("none yet"), Environment::default());
        let machine = serde_json::json!({ "program": "fintan", "threads": 2 });
        let change = Change::of_setting(5, "train.steps".into(), Some(&"10".into()), None);
        assert_eq!(change, Change { step: 5, key: "train.steps".into(), old: 10.into(), new: Value::Null });
        let written = Environment {
            machine: machine.as_object().expect("an object").clone(),
            config: Some("a = 1\n\n# \u{e9}\r\n".into()),
            settings: Some(String::new()),
            changes: vec![change],
            rewind: Some(Rewind { to: None }),
        };
        run.write_environment(&written).expect("written");
        assert_eq!(run.environment().expect("read"), written);
        run.write("env.json", format!("{machine:#}\n").as_bytes()).expect("written");
        let older = run.environment().expect("read");
        assert_eq!((older.settings, older.machine.len()), (None, 2));
        run.write("env.json", b"{ \"settings\": 3 }").expect("written");
        assert!(run.environment().expect_err("damaged").to_string().contains("env.json"));
    }
}
