//! Why moments cannot be measured.

use std::path::PathBuf;

use fintan_moments::InputError;

/// Why the moments of random networks cannot be measured, or their runs not be put together.
///
/// ```
/// let error = fintan::MomentsError::Range { from: 3, to: 9, all: 4 };
/// assert_eq!(error.to_string(), "realisations 3..9 must be a part of 0..4 that is not empty");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MomentsError {
    /// A network without `[moments]`.
    #[error("`{}` has no [moments]: it says what is measured, and over what", .0.display())]
    NoMoments(PathBuf),
    /// A configuration of a GAN.
    #[error("`{}` is a GAN; moments are measured of a [network] with [moments]", .0.display())]
    Gan(PathBuf),
    /// Realisations that the configuration does not have.
    #[error("realisations {from}..{to} must be a part of 0..{all} that is not empty")]
    Range {
        /// The first.
        from: u64,
        /// The first that is left out.
        to: u64,
        /// How many there are.
        all: u64,
    },
    /// `moments.dtype = "f64"` on a GPU.
    #[error("`moments.dtype = \"f64\"` needs a CPU device: flex or ndarray")]
    Precision,
    /// `moments.ntk` on a GPU.
    #[error("`moments.ntk` is computed in f64: take the device flex or ndarray")]
    KernelPrecision,
    /// Inputs whose moments cannot be measured.
    #[error(transparent)]
    Draw(#[from] InputError),
    /// A file of inputs that does not fit the network.
    #[error("`{}` {message}", path.display())]
    Inputs {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// Random networks that do not fit into memory.
    #[error(
        "one realisation needs about {needed:.1} GB, and {free:.1} GB are free; take a smaller `moments.batch` or network"
    )]
    Memory {
        /// GB that are needed.
        needed: f64,
        /// GB that are free.
        free: f64,
    },
    /// Runs of different configurations.
    #[error(
        "`{}` and {other} are of different configurations; only `moments.realisations`, `moments.ntk` and the place of files \
         may differ",
        run.display()
    )]
    Configurations {
        /// A run.
        run: PathBuf,
        /// The other one, by its name.
        other: String,
    },
    /// Runs over different data.
    #[error("`{}` and {other} measure different data: {found} and {others}", run.display())]
    Data {
        /// A run.
        run: PathBuf,
        /// The other one, by its name.
        other: String,
        /// What the run measured.
        found: String,
        /// What the other one measured.
        others: String,
    },
    /// A run with more realisations than are wanted.
    #[error("`{}` holds realisation {number}, and `moments.realisations` is {wanted}", run.display())]
    Beyond {
        /// The run.
        run: PathBuf,
        /// The number of a realisation that is not wanted.
        number: u64,
        /// How many are wanted.
        wanted: u64,
    },
    /// A realisation that stands in two runs.
    #[error("realisation {number} stands in two of the runs, the second time in `{}`", run.display())]
    Twice {
        /// Its number.
        number: u64,
        /// The second run.
        run: PathBuf,
    },
    /// Runs that ask for different kernels.
    #[error("`{}` has another `moments.ntk` than the runs before it", .0.display())]
    Kernels(PathBuf),
}
