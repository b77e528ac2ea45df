//! Every error of this crate.

use std::path::PathBuf;

use fintan_artifact::{ArrayError, RunError};
use fintan_config::{Bytes, ConfigError};
use fintan_data::DataError;
use fintan_net::weights::WeightsError;
use fintan_ntk::{Overflow, PlanError, RequestError, SpectrumError};
use fintan_predict::PredictError;
use fintan_report::{GridError, PlotError};
use fintan_theory::{LimitError, TuneError};
use fintan_train::{CheckpointError, TrainError};

use crate::comparison::ComparisonError;
use crate::curvature::CurvatureError;
use crate::data_set::DataSetError;
use crate::device::DeviceError;
use crate::evaluation::EvaluationError;
use crate::flow::PredictionError;
use crate::infinite::LimitStudyError;
use crate::kernel::TilesError;
use crate::memory::MemoryError;
use crate::moments::MomentsError;
use crate::report::ReportError;
use crate::samples::GeneratorError;
use crate::training::TrainingError;
use crate::tuning::TuningError;

/// Why an operation failed.
///
/// ```
/// let error = fintan::Network::load("nowhere.toml").unwrap_err();
/// assert!(matches!(error, fintan::Error::Config(_)), "{error}");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The device cannot be used.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A text does not name an amount of memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The run directory cannot be used.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The checkpoint cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The data set cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A file of arrays cannot be read.
    #[error(transparent)]
    Arrays(#[from] ArrayError),
    /// A file with the numbers of a finite network cannot be read: its kernel, or the samples of its task.
    #[error(transparent)]
    FiniteNetwork(RunError),
    /// The file system reports an error.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The requested kernel does not exist.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The kernel does not fit into memory.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The kernel has no spectrum.
    #[error(transparent)]
    Spectrum(#[from] SpectrumError),
    /// The network has no limit of infinite width.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The knob does not reach the goal.
    #[error(transparent)]
    Tune(#[from] TuneError),
    /// A configuration file cannot be tuned.
    #[error(transparent)]
    Tuning(#[from] TuningError),
    /// Training failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A generator cannot be used, or cannot draw samples.
    #[error(transparent)]
    Generator(#[from] GeneratorError),
    /// Samples cannot be measured.
    #[error(transparent)]
    Evaluation(#[from] EvaluationError),
    /// Trainings cannot be compared.
    #[error(transparent)]
    Comparison(#[from] ComparisonError),
    /// No page can be made of the runs.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// A path holds no images.
    #[error(transparent)]
    DataSet(#[from] DataSetError),
    /// A picture of values cannot be drawn.
    #[error(transparent)]
    Grid(#[from] GridError),
    /// A plot of curves cannot be drawn.
    #[error(transparent)]
    Plot(#[from] PlotError),
    /// A training stopped before its last step, or cannot be resumed.
    #[error(transparent)]
    Training(#[from] TrainingError),
    /// The network is not a generator, so that it makes no images.
    #[error("samples are drawn from the generator of a GAN; this is a {0}")]
    NoSamples(&'static str),
    /// The path of the data is not Unicode, so that a run cannot store it.
    #[error("`{}` is no Unicode: a run keeps the path of its data in `config.resolved.toml`, which is UTF-8", .0.display())]
    NotUnicode(PathBuf),
    /// The source of data is not supported here.
    #[error("{0}")]
    Source(String),
    /// Moments cannot be measured.
    #[error(transparent)]
    Moments(#[from] MomentsError),
    /// A study of infinite width cannot be made.
    #[error(transparent)]
    LimitStudy(#[from] LimitStudyError),
    /// The curvature of a loss cannot be measured.
    #[error(transparent)]
    Curvature(#[from] CurvatureError),
    /// Losses cannot be predicted.
    #[error(transparent)]
    Prediction(#[from] PredictionError),
    /// A finite network cannot be compared with its limit.
    #[error(transparent)]
    Predict(#[from] PredictError),
    /// A file of weights does not fit the network.
    #[error("`{}`: {source}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: WeightsError,
    },
    /// Inputs do not fit the network.
    #[error("inputs `{name}`: {message}")]
    Inputs {
        /// The file, or `array`.
        name: String,
        /// What is wrong with them.
        message: String,
    },
    /// An input is beyond the range of single precision.
    #[error(
        "inputs `{name}`: sample {sample} holds {value:e}, which is too large for single precision; double precision takes it"
    )]
    TooLarge {
        /// The file, or `array`.
        name: String,
        /// The number of the sample.
        sample: usize,
        /// The value.
        value: f64,
    },
    /// There are fewer inputs than requested.
    #[error("{of} has {found}, but {wanted} inputs are asked for")]
    TooFewSamples {
        /// `the task` or `the data set`.
        of: &'static str,
        /// The number that exists, with its noun.
        found: String,
        /// The number that is requested.
        wanted: usize,
    },
    /// Inputs do not fit into memory.
    #[error("{wanted} inputs need at least {needed} of memory, but {free} is free")]
    InputMemory {
        /// The number that is requested.
        wanted: usize,
        /// The memory that they need.
        needed: Bytes,
        /// The memory that is free.
        free: Bytes,
    },
    /// The network has no task.
    #[error("`{name}` are samples of a task; this network has none")]
    NoTask {
        /// The name of the samples.
        name: &'static str,
    },
    /// The configuration describes a network alone, which has no generator or discriminator.
    #[error("the configuration describes a network by itself; only a GAN has a {0}")]
    NotAGan(&'static str),
    /// Tiles of a kernel cannot be used.
    #[error(transparent)]
    Tiles(#[from] TilesError),
    /// There is too little memory for the vectors of an iteration.
    #[error("{source}; more vectors do not fit into {memory}")]
    FewVectors {
        /// The progress of the iteration.
        source: SpectrumError,
        /// The memory that the iteration may take.
        memory: Bytes,
    },
    /// The kernel is not finite, because it overflows.
    #[error("{0}")]
    Overflow(Overflow),
    /// The sum of finite parts of a kernel overflows.
    #[error("the parts of the kernel are finite, but their sum overflows f32; double precision keeps it")]
    SumOverflow,
    /// A kernel file lacks an array, or an array has other contents than expected.
    #[error("kernel file `{}`: {message}", path.display())]
    KernelFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
}
