//! Why GANs cannot be compared.

use std::path::PathBuf;

/// The largest integer of TOML.
pub(super) const LARGEST_SEED: i64 = i64::MAX;

/// Why trainings cannot be compared.
///
/// ```
/// let error = fintan::ComparisonError::RepeatedSeed(3);
/// assert_eq!(error.to_string(), "the seeds have 3 twice");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ComparisonError {
    /// A seed is given twice.
    #[error("the seeds have {0} twice")]
    RepeatedSeed(u64),
    /// The seed is too large for a configuration.
    #[error("seeds must be at most {LARGEST_SEED}, the largest number of TOML, got {0}")]
    LargeSeed(u64),
    /// The setting cannot be changed for a run that exists.
    #[error("of runs that are there only settings of `data.` can be changed, got `{0}`")]
    Override(String),
    /// Configurations with seeds of their own that differ.
    #[error(
        "`{}` has seed {} and `{}` has seed {}; what is compared starts from the same seeds", first.0, first.1, other.0, other.1
    )]
    OtherSeed {
        /// The first configuration and its seed.
        first: (String, u64),
        /// Another configuration and its seed.
        other: (String, u64),
    },
    /// There is only one run, so that nothing can be compared.
    #[error("there is one run to compare; name another configuration, run, or seed")]
    Alone,
    /// The path names a network with a task, or a run of one.
    #[error("`{}` describes a network; `compare` measures samples of GANs", .0.display())]
    NotAGan(PathBuf),
    /// One training is named twice.
    #[error("{} and {} are the same training: same settings and seed {seed}", names[0], names[1])]
    Twins {
        /// Both names.
        names: [String; 2],
        /// Their seed.
        seed: u64,
    },
    /// The settings cannot be read as keys and values.
    #[error("{0}")]
    Settings(String),
    /// A run in the folder of the comparison has other settings.
    #[error("`{}` was trained with {key} = {found}, and {name} is to have {wanted}", root.display())]
    OtherRun {
        /// The run.
        root: PathBuf,
        /// The row that the run would belong to.
        name: String,
        /// The first key whose values differ.
        key: String,
        /// The value in the run.
        found: String,
        /// The value in the configuration.
        wanted: String,
    },
    /// The folder exists and holds no comparison.
    #[error("`{}` exists already and holds no comparison; name another folder", .0.display())]
    NoComparison(PathBuf),
}
