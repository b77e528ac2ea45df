//! Why samples cannot be measured.

use std::path::PathBuf;

use fintan_config::Shape;

/// Images of a half of the data, at least.
pub(super) const LEAST: usize = 4;

/// Why samples cannot be measured.
///
/// ```
/// let error = fintan::EvaluationError::TooFewImages { data: "folder `a`".into(), found: 7 };
/// assert_eq!(error.to_string(), "folder `a` has 7 images; halves of at least 4 are needed");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluationError {
    /// A setting that an evaluation does not change.
    #[error("an evaluation changes settings of `data.` only, got `{0}`")]
    Override(String),
    /// Too few images.
    #[error("{data} has {found} images; halves of at least {LEAST} are needed")]
    TooFewImages {
        /// Where the data come from, in words.
        data: String,
        /// How many there are.
        found: usize,
    },
    /// A network of features that takes other images.
    #[error("`{}` takes {input}, but the images of this run are {image}", path.display())]
    FeatureInput {
        /// The file of its weights.
        path: PathBuf,
        /// What it takes.
        input: Shape,
        /// What the run has.
        image: Shape,
    },
    /// A network of features that ends with an image.
    #[error("`{}` ends with an image of {output}; features are a vector", path.display())]
    FeatureOutput {
        /// The file of its weights.
        path: PathBuf,
        /// What it ends with.
        output: Shape,
    },
    /// The generator overflows.
    #[error("the generator gives values that are not finite")]
    NotFinite,
    /// None of the metrics has a value.
    #[error("nothing could be measured: {metric}: {reason}")]
    NothingMeasured {
        /// The first of them.
        metric: String,
        /// Why it has none.
        reason: String,
    },
}
