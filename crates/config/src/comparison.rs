//! Comparisons as written in TOML: variants of configurations, trained with the same seeds.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{ConfigError, Invalid};
use crate::include::Sources;
use crate::memory::MemoryBound;
use crate::subject::Subject;

/// A file with `[compare]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ComparisonFile {
    compare: ComparisonSettings,
}

/// What is compared.
///
/// ```
/// let text = "seeds = [0, 1]\nvariants = [{ name = 'wide', base = 'toy.toml', set = ['network.fc.widths=[64]'] }]";
/// let comparison: fintan_config::ComparisonSettings = toml::from_str(text)?;
/// assert_eq!(comparison.seeds.len() * comparison.variants.len(), 2); // trainings
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComparisonSettings {
    /// The configuration that variants change, a file beside this one; a variant can name its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<PathBuf>,
    /// Seeds of every variant; if empty, each configuration's own seed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seeds: Vec<u64>,
    /// The variants to compare.
    pub variants: Vec<Variant>,
}

/// One variant of a comparison.
///
/// ```
/// let variant: fintan_config::Variant = toml::from_str("name = 'wide'\nset = ['train.batch=128']")?;
/// assert_eq!((variant.name.as_str(), variant.set.len()), ("wide", 1));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Its name.
    pub name: String,
    /// The configuration that it changes, instead of the common `base`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<PathBuf>,
    /// Its changes, written as on the command line: `generator.dcgan.norm="none"`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<String>,
}

impl ComparisonSettings {
    /// Reads a configuration file as a comparison; `None` if the file has no `[compare]`.
    ///
    /// Names of files are relative to the folder of this file.
    ///
    /// # Errors
    /// A file that cannot be read, and every fault of the comparison.
    pub fn load(path: &Path) -> Result<Option<Self>, ConfigError> {
        let sources = Sources::read(path)?;
        // Text that is not TOML is refused later, when it is read as an experiment.
        if !sources.has("compare") {
            return Ok(None);
        }
        let mut found = sources.whole(&[])?.checked(|file: ComparisonFile| file.compare.check())?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let named = found.base.iter_mut().chain(found.variants.iter_mut().filter_map(|variant| variant.base.as_mut()));
        for base in named {
            *base = folder.join(&*base);
        }
        Ok(Some(found))
    }

    fn check(self) -> Result<Self, Invalid> {
        let Self { base, seeds, variants } = &self;
        if variants.is_empty() {
            return Err(Invalid::new("compare.variants", "`compare.variants` must have at least 1 entry, got 0"));
        }
        if let Some(seed) = seeds.iter().enumerate().find_map(|(i, seed)| seeds[..i].contains(seed).then_some(seed)) {
            return Err(Invalid::new("compare.seeds", format!("`compare.seeds` has {seed} twice")));
        }
        if let Some(seed) = seeds.iter().find(|&&seed| seed > i64::MAX.unsigned_abs()) {
            let most = i64::MAX;
            let message = format!("`compare.seeds` must be at most {most}, the largest number of TOML, got {seed}");
            return Err(Invalid::new("compare.seeds", message));
        }
        for (i, Variant { name, base: own, set: _ }) in variants.iter().enumerate() {
            if !name.contains(char::is_alphanumeric) {
                let message = format!("`name` must have a letter or a digit, got `{name}`");
                return Err(Invalid::new(format!("compare.variants[{i}].name"), message));
            }
            if variants[..i].iter().any(|variant| variant.name == *name) {
                let message = format!("two variants are called `{name}`");
                return Err(Invalid::new(format!("compare.variants[{i}].name"), message));
            }
            if base.is_none() && own.is_none() {
                let message = format!("`{name}` has nothing to start from");
                return Err(Invalid::new(format!("compare.variants[{i}]"), message)
                    .with_help("name a configuration: base = \"order.toml\", under [compare] or in the variant"));
            }
        }
        Ok(self)
    }

    /// Reads and checks the configuration of a variant.
    ///
    /// # Errors
    /// The errors of [`Subject::load`].
    ///
    /// # Panics
    /// If there is no such variant.
    pub fn subject(
        &self,
        variant: usize,
        overrides: &[String],
        memory: MemoryBound,
    ) -> Result<(&Path, Subject), ConfigError> {
        let Variant { base, set, .. } = &self.variants[variant];
        let base = base.as_ref().or(self.base.as_ref()).expect("checked when it was read");
        let set: Vec<String> = set.iter().chain(overrides).cloned().collect();
        Ok((base, Subject::load_within(base, &set, memory)?))
    }
}
