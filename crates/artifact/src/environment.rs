//! What `env.json` says of a run: where it was computed, what it was begun with, what was changed since.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::run_dir::{RunDir, RunError};

/// `env.json`
///
/// It holds the settings of the run as the program wrote them, so that an edited configuration is noticed and can be
/// undone. One write of this file decides on a resume: new settings, the changes that led to them and the step that the
/// run goes back to come into force together, and whatever opens the run next finishes what follows from them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Environment {
    /// Program, device, threads, system.
    #[serde(flatten)]
    pub machine: Map<String, Value>,
    /// `config.toml` as the run was begun with it.
    #[serde(default, with = "text_lines", skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// `config.resolved.toml` as the program wrote it last; none in runs of programs that did not keep it.
    #[serde(default, with = "text_lines", skip_serializing_if = "Option::is_none")]
    pub settings: Option<String>,
    /// What was changed since the run was begun, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// Where the run goes back to, while what came later is not yet removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewind: Option<Rewind>,
}

/// A setting that changed in the course of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Steps that were done before it.
    pub step: u64,
    /// The key, or `data`.
    pub key: String,
    /// What it was; null where it was not set.
    pub old: Value,
    /// What it is; null where it is no longer set.
    pub new: Value,
}

impl Change {
    /// Of a setting, with its values as [`Settings`](crate::Settings) has them.
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

/// The step that a run goes back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rewind {
    /// The step of a checkpoint; none for a run that begins anew.
    pub to: Option<u64>,
}

/// Texts as lists of their lines, which people can read in JSON.
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

    /// Reads `env.json`; an empty one where there is none yet.
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
    /// Those of the file system.
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
