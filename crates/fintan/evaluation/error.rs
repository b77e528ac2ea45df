//! Why samples cannot be measured.

use std::path::PathBuf;

use fintan_config::Shape;

/// Smallest number of images in a half of the data.
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
    /// The setting cannot be changed by an evaluation.
    #[error("an evaluation changes settings of `data.` only, got `{0}`")]
    Override(String),
    /// The data have too few images.
    #[error("{data} has {found} images; halves of at least {LEAST} are needed")]
    TooFewImages {
        /// A description of the data's source.
        data: String,
        /// The number of images.
        found: usize,
    },
    /// The network of features takes images of another shape.
    #[error("`{}` takes {input}, but the images of this run are {image}", path.display())]
    FeatureInput {
        /// The file of its weights.
        path: PathBuf,
        /// The shape that the network takes.
        input: Shape,
        /// The shape of the run's images.
        image: Shape,
    },
    /// The network of features ends with an image, not with a vector.
    #[error("`{}` ends with an image of {output}; features are a vector", path.display())]
    FeatureOutput {
        /// The file of its weights.
        path: PathBuf,
        /// The shape of its output.
        output: Shape,
    },
    /// The generator's values overflow.
    #[error("the generator gives values that are not finite")]
    NotFinite,
    /// No metric could be computed.
    #[error("nothing could be measured: {metric}: {reason}")]
    NothingMeasured {
        /// The first metric.
        metric: String,
        /// Why this metric has no value.
        reason: String,
    },
}
