//! Why GANs cannot be compared.

use std::path::PathBuf;

/// The largest number of TOML.
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
    /// A seed that is named twice.
    #[error("the seeds have {0} twice")]
    RepeatedSeed(u64),
    /// A seed that no configuration can have.
    #[error("seeds must be at most {LARGEST_SEED}, the largest number of TOML, got {0}")]
    LargeSeed(u64),
    /// A setting of runs that are there already.
    #[error("of runs that are there only settings of `data.` can be changed, got `{0}`")]
    Override(String),
    /// Configurations with seeds of their own that differ.
    #[error(
        "`{}` has seed {} and `{}` has seed {}; what is compared starts from the same seeds", first.0, first.1, other.0, other.1
    )]
    OtherSeed {
        /// The first configuration and its seed.
        first: (String, u64),
        /// One with another seed.
        other: (String, u64),
    },
    /// Nothing to compare with.
    #[error("there is one run to compare; name another configuration, run, or seed")]
    Alone,
    /// A network with a task, or a run of one.
    #[error("`{}` describes a network; `compare` measures samples of GANs", .0.display())]
    NotAGan(PathBuf),
    /// One training under two names.
    #[error("{} and {} are the same training: same settings and seed {seed}", names[0], names[1])]
    Twins {
        /// Both names.
        names: [String; 2],
        /// Their seed.
        seed: u64,
    },
    /// Settings that cannot be read as keys and values.
    #[error("{0}")]
    Settings(String),
    /// A run in the folder of the comparison is another one.
    #[error("`{}` was trained with {key} = {found}, and {name} is to have {wanted}", root.display())]
    OtherRun {
        /// The run.
        root: PathBuf,
        /// The row that it would belong to.
        name: String,
        /// The first key that differs.
        key: String,
        /// What the run has.
        found: String,
        /// What the configuration has.
        wanted: String,
    },
    /// A folder of something else.
    #[error("`{}` exists already and holds no comparison; name another folder", .0.display())]
    NoComparison(PathBuf),
}
