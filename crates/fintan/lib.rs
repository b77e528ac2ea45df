//! Tangent kernels, infinite width, training and samples of neural networks, from one crate.
//!
//! [`Network::load`] reads a configuration file or a run directory, [`Device`] is where computations run, and [`Kernel::of`]
//! computes the empirical neural tangent kernel of a network:
//!
//! ```
//! let file = r#"
//!     [network]
//!     input = 4
//!     parametrization = { ntk = { beta = 0.0 } }
//!     layers = [{ dense = { out = 3 } }]
//! "#;
//! let net = fintan::Network::parse(file)?.on(fintan::Device::cpu());
//! // For a linear network with 4 inputs and 3 outputs, the traced kernel is 3 (x · y) / 4.
//! let x = vec![vec![2.0, 0.0, 2.0, 0.0], vec![0.0, 2.0, 0.0, 0.0]];
//! let kernel = fintan::Kernel::of(&net).inputs(x).traced().memory("4GB").compute()?;
//! assert_eq!(kernel.values().to_f64(), [6.0, 0.0, 0.0, 3.0]);
//! assert_eq!(kernel.spectrum()?.condition_number(), Some(2.0));
//! # Ok::<(), fintan::Error>(())
//! ```
//!
//! | task | starts with |
//! | --- | --- |
//! | the empirical kernel of a network, by parameter, in tiles, its spectrum | [`Kernel::of`] |
//! | the largest eigenpairs of a kernel that is too large to form | [`PreparedKernel::largest`] |
//! | the limit of infinite width: kernels, curves over depth, checkerboards | [`Limit`], [`LimitStudy`] |
//! | a network that is tuned to order or chaos | [`tune`], [`TunableFile`] |
//! | training of a GAN or of a network with a task, and resuming it | [`train`], [`Run::resume`] |
//! | samples of a generator | [`Run::samples`], [`TrainedGenerator`] |
//! | metrics of samples, and trainings side by side | [`evaluate`], [`compare`] |
//! | moments of signal and noise through the depth of random networks | [`Moments`] |
//! | losses that a kernel predicts, beside those of a run | [`PredictedRun`] |
//! | eigenvalues and traces of the Hessian of a task's loss | [`LossCurvature`] |
//! | a page of runs, an export for PyTorch and NumPy | [`ReportPage`], [`export()`] |
//!
//! Inputs and results are arrays ([`Array`]: a shape and its numbers) or files. Every error is an [`Error`].

mod comparison;
mod csv;
mod curvature;
mod data_set;
mod device;
mod error;
mod estimate;
mod evaluation;
mod export;
mod flow;
mod infinite;
mod inputs;
mod kernel;
mod lowering;
mod memory;
mod moments;
mod network;
mod report;
mod samples;
mod training;
mod tuning;

pub use comparison::{
    ComparedImages, ComparisonBuilder, ComparisonError, ComparisonPlan, ComparisonProgress, Contender, ContenderRow,
    Unlike, compare,
};
pub use curvature::{CurvatureBuilder, CurvatureError, CurvatureSpectrum, LossCurvature};
pub use data_set::DataSetError;
pub use device::{Adapter, Device, DeviceChoice, DeviceError, adapters, threads};
pub use error::Error;
pub use estimate::{LayerRow, TrainingCost};
pub use evaluation::{EvaluationBuilder, EvaluationError, EvaluationEvent, PreparedEvaluation, evaluate};
pub use export::export;
pub use flow::{PredictedRun, PredictionError, plot_losses};
pub use infinite::{
    FamilyCurves, Limit, LimitCurves, LimitFinding, LimitInputs, LimitKernel, LimitStudy, LimitStudyError, PixelLimit,
    PositionEigenspace, PositionSpectrum, WrittenLimitStudy,
};
pub use inputs::{Inputs, TaskSamples, read_samples};
pub use kernel::{
    EigenvalueSummary, Kernel, KernelBuilder, KernelMetadata, KernelSummary, LargestEigenpairs, PreparedKernel,
    TileProgress, TileStore, TilesError, WriteOrder,
};
pub use memory::{MemoryError, free_memory, parse_memory};
pub use moments::{
    KernelStatistics, MeasuredMoments, Moments, MomentsError, MomentsEvent, MomentsTheory, merge_moments,
};
pub use network::{Network, NetworkLoader, Role};
pub use report::{ReportError, ReportPage};
pub use samples::{BatchNormStatistics, DrawnSamples, GeneratorError, SampleBuilder, TrainedGenerator};
pub use training::{
    GanOutcome, Losses, ObservedKernel, ResumeBuilder, Run, SettingsEdit, StepTarget, TaskOutcome, Training,
    TrainingError, TrainingEvent, TrainingOutcome, train,
};
pub use tuning::{KnobState, TunableFile, TunedFile, TuningError, tune};

/// The lower-level parts behind the API of this crate, for programs that also use the other crates of the project.
///
/// Their arguments and results have types of those crates.
pub mod parts {
    pub use crate::data_set::{class_counts, find_images, preview_png};
    pub use crate::evaluation::images_of_each;
    pub use crate::export::is_export;
    pub use crate::training::{TrainingCallbacks, check_gan, complete_gan, edit_of_resolved, load_images};
}

pub use fintan_artifact::{
    Array, ArrayError, ArrayValues, ClassRecord, ClassifierRecord, ComparedData, ComparedRow, ComparedRun, Comparison,
    Evaluation, Event, EventKind, LockWarning, LogLine, Metric, MetricRecord, RefusedMetric, RunError, SupervisedLine,
};
pub use fintan_config::{
    Activation, Architecture, ConfigError, Function, Layer, LayerRates, Parametrization, Scaling, Shape, Subject,
};
pub use fintan_metrics::Measures;
pub use fintan_ntk::{Checkerboard, Entries, Method, Spectrum, Trace};
pub use fintan_predict::{KernelComparison, WidthPoint};
pub use fintan_theory as theory;
pub use fintan_theory::{Knob, PieceRegime, Regime, Setting, Standing, TuneGoal, Tuned, regimes};
pub use fintan_train::Score;
