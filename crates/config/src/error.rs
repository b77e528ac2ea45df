//! Configuration errors that point to the key.

use std::ops::Range;

use miette::{Diagnostic, NamedSource, SourceSpan};

/// An out-of-range value; its position in the file is not yet known.
///
/// ```
/// let error = fintan_config::Invalid::new("train.batch", "must be at least 1, got 0").with_help("for instance 64");
/// assert_eq!((error.key.as_str(), error.help.as_deref()), ("train.batch", Some("for instance 64")));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Invalid {
    /// Path of the key: `generator.dcgan.kernel`, `generator.layers[3].conv.kernel`.
    pub key: String,
    /// What was found and what is allowed.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl Invalid {
    /// An error at `key`.
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into(), help: None }
    }

    /// Adds a hint.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// A fault in a configuration, shown with file, line, caret, allowed values and nearest known key.
///
/// ```
/// use fintan_config::{ConfigError, Subject};
///
/// let error = Subject::parse("toy.toml", "network = { inptu = 4 }", &[]).unwrap_err();
/// assert!(matches!(error, ConfigError::Text { help: Some(help), .. } if help == "did you mean `input`?"));
/// ```
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration `{path}`: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The text of the configuration is wrong.
    #[error("{message}")]
    Text {
        /// What was found and what is allowed.
        message: String,
        /// File and overrides.
        #[source_code]
        source_code: NamedSource<String>,
        /// Where.
        #[label("{label}")]
        span: Option<SourceSpan>,
        /// Words under the caret.
        label: String,
        /// What to do.
        #[help]
        help: Option<String>,
    },
    /// An override whose value starts like TOML but is not valid TOML.
    #[error("`--set {given}`: the value is not TOML: {why}")]
    #[diagnostic(help(
        "a shell takes quotes away: put all of it in single quotes, as in --set 'data.cifar.files=[\"batch.bin\"]'. In double \
         quotes a backslash begins an escape; a Windows path stands without quotes, as in --set data.folder.path='C:\\pictures'"
    ))]
    Value {
        /// What was given.
        given: String,
        /// What is wrong with it.
        why: String,
    },
    /// An override that is not of the form `key=value`.
    #[error("`--set {given}` is no `key.path=value`")]
    #[diagnostic(help("for instance --set train.steps=200, or --set data.idx.images=images.gz"))]
    Override {
        /// What was given.
        given: String,
    },
}

impl ConfigError {
    pub(crate) fn text(
        name: &str,
        text: &str,
        span: Option<Range<usize>>,
        message: String,
        help: Option<String>,
    ) -> Self {
        Self::Text {
            message,
            source_code: NamedSource::new(name, text.to_owned()),
            span: span.map(Into::into),
            label: "here".into(),
            help,
        }
    }
}

/// A message of the TOML reader without the names of Rust types, and a hint.
pub(crate) fn in_plain_words(message: &str) -> (String, Option<String>) {
    if message.starts_with("wanted exactly 1 element") {
        let help = "leave one of its tables, such as [data.shapes]";
        return ("exactly one alternative can be given here".into(), Some(help.into()));
    }
    let help = match message {
        "missing field `data`" => Some(
            "[data.shapes] draws images of its own; others are [data.idx], [data.cifar], [data.folder], [data.tar], \
             [data.zip], [data.npy], [data.npz]"
                .into(),
        ),
        "missing field `optimizer`" => Some("for instance optimizer.adam.rate = 2e-4".into()),
        _ if message.starts_with("unknown field `compare`") => {
            Some("a file with [compare] is a comparison: `fintan compare` reads it".into())
        }
        _ if message.starts_with("unknown field `include`") => {
            Some("`include` stands at the top of a file, before any table".into())
        }
        _ => nearest(message),
    };
    let mut plain = message.to_owned();
    for (rust, words) in [
        ("expected usize", "expected a whole number of at least 0"),
        ("expected u64", "expected a whole number of at least 0"),
        ("expected u32", "expected a whole number of at least 0"),
        ("expected u8", "expected a whole number from 0 to 255"),
        ("expected f64", "expected a number"),
        ("expected a boolean", "expected true or false"),
    ] {
        if let Some(start) = plain.strip_suffix(rust) {
            plain = format!("{start}{words}");
        }
    }
    (plain, help)
}

/// The name nearest to the wrong one, among the names that a message lists after "expected"; `None` if none is near.
fn nearest(message: &str) -> Option<String> {
    let (found, expected) = message.split_once(", expected ")?;
    if !found.starts_with("unknown") {
        return None;
    }
    let found = found.split('`').nth(1)?;
    expected
        .split('`')
        .skip(1)
        .step_by(2)
        .map(|known| (strsim::damerau_levenshtein(found, known), known))
        .filter(|&(distance, known)| distance <= 1 + known.len() / 4)
        .min()
        .map(|(_, known)| format!("did you mean `{known}`?"))
}
