//! Errors of measuring moments.

use std::path::PathBuf;

use fintan_moments::InputError;

/// Why the moments of random networks cannot be measured, or their runs cannot be merged.
///
/// ```
/// let error = fintan::MomentsError::Range { from: 3, to: 9, all: 4 };
/// assert_eq!(error.to_string(), "realisations 3..9 must be a part of 0..4 that is not empty");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MomentsError {
    /// The configuration has no `[moments]`.
    #[error("`{}` has no [moments], the table that describes the measurement and its inputs", .0.display())]
    NoMoments(PathBuf),
    /// The configuration describes a GAN.
    #[error("`{}` is a GAN; moments are measured for a [network] with [moments]", .0.display())]
    Gan(PathBuf),
    /// The range contains realisations that the configuration does not have.
    #[error("realisations {from}..{to} must be a part of 0..{all} that is not empty")]
    Range {
        /// The first number.
        from: u64,
        /// The number after the last.
        to: u64,
        /// The number of realisations.
        all: u64,
    },
    /// `moments.dtype` is `"f64"`, but the device is a GPU.
    #[error("`moments.dtype = \"f64\"` needs a CPU device: flex or ndarray")]
    Precision,
    /// `moments.ntk` needs f64, but the device is a GPU.
    #[error("`moments.ntk` is computed in f64: take the device flex or ndarray")]
    KernelPrecision,
    /// The inputs cannot be drawn or standardized.
    #[error(transparent)]
    Draw(#[from] InputError),
    /// A file of inputs does not fit the network.
    #[error("`{}` {message}", path.display())]
    Inputs {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The random networks do not fit into memory.
    #[error(
        "one realisation needs about {needed:.1} GB, and {free:.1} GB are free; take a smaller `moments.batch` or network"
    )]
    Memory {
        /// The needed memory in GB.
        needed: f64,
        /// The free memory in GB.
        free: f64,
    },
    /// Runs have different configurations.
    #[error(
        "`{}` and {other} are of different configurations; only `moments.realisations`, `moments.ntk` and the place of files \
         may differ",
        run.display()
    )]
    Configurations {
        /// One run.
        run: PathBuf,
        /// The name of the other run.
        other: String,
    },
    /// Runs have different data.
    #[error("`{}` and {other} measure different data: {found} and {others}", run.display())]
    Data {
        /// One run.
        run: PathBuf,
        /// The name of the other run.
        other: String,
        /// The data of the run.
        found: String,
        /// The data of the other run.
        others: String,
    },
    /// The run has more realisations than requested.
    #[error("`{}` holds realisation {number}, and `moments.realisations` is {wanted}", run.display())]
    Beyond {
        /// The run.
        run: PathBuf,
        /// The number of a realisation that is not requested.
        number: u64,
        /// The requested number of realisations.
        wanted: u64,
    },
    /// A realisation is in two runs.
    #[error("realisation {number} stands in two of the runs, the second time in `{}`", run.display())]
    Twice {
        /// The number of the realisation.
        number: u64,
        /// The second run.
        run: PathBuf,
    },
    /// Runs have different `moments.ntk`.
    #[error("`{}` has another `moments.ntk` than the runs before it", .0.display())]
    Kernels(PathBuf),
}
