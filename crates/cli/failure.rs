//! Errors of commands and their exit codes.

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::Args;
use crate::given::reader;
use crate::shown::Shown;
use crate::voice::{tell, tell_raw};
use fintan::{
    ComparisonError, DataSetError, DeviceError, EvaluationError, GeneratorError, LimitStudyError, MomentsError,
    PredictionError, ReportError, TilesError, TrainingError,
};
use fintan_artifact::{RunError, visible};
use fintan_config::ConfigError;
use fintan_data::DataError;
use fintan_net::weights::WeightsError;
use fintan_theory::TuneError;
use fintan_train::{CheckpointError, TrainError};

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The input of the user cannot be used: exit code 2.
    Input(miette::Report),
    /// The work failed: exit code 1.
    Failed(miette::Report),
    /// The arguments cannot be used: exit code 2.
    Arguments(clap::Error),
    /// Stopped by Ctrl-C, with the state saved: exit code 130.
    Interrupted,
}

impl Failure {
    /// An error in the input, with this message.
    pub(crate) fn input(message: impl std::fmt::Display) -> Self {
        Self::Input(miette::miette!("{message}"))
    }

    /// Prints the error on stderr and returns the exit code.
    pub(crate) fn report(self) -> ExitCode {
        let (report, code) = match self {
            Self::Input(report) => (report, 2),
            Self::Failed(report) => (report, 1),
            Self::Arguments(error) => {
                tell_arguments(&error);
                return ExitCode::from(2);
            }
            Self::Interrupted => return ExitCode::from(130),
        };
        tell_raw(&format!("{:?}\n", miette::Report::new(Shown::of(report.as_ref()))));
        ExitCode::from(code)
    }
}

/// Prints an error about arguments, which the message quotes.
fn tell_arguments(error: &clap::Error) {
    // Arguments with all characters made visible give the same error, and clap keeps its colours.
    let shown = std::env::args_os().map(|arg| visible(&arg.to_string_lossy()).into_owned());
    match Args::try_parse_from(shown) {
        Err(shown) if shown.use_stderr() => drop(shown.print()),
        _ => error.to_string().lines().for_each(|line| tell!("{line}")),
    }
}

impl From<ConfigError> for Failure {
    fn from(e: ConfigError) -> Self {
        Self::Input(e.into())
    }
}

impl From<DataError> for Failure {
    fn from(e: DataError) -> Self {
        Self::input(e)
    }
}

impl From<DeviceError> for Failure {
    fn from(e: DeviceError) -> Self {
        Self::input(e)
    }
}

impl From<fintan::Error> for Failure {
    #[expect(clippy::wildcard_enum_match_arm, reason = "an error of the library that is not listed is wrong input")]
    fn from(e: fintan::Error) -> Self {
        use fintan::Error;
        match e {
            Error::Config(e) => e.into(),
            Error::Run(e) => e.into(),
            Error::Spectrum(e) => e.into(),
            Error::Limit(e) | Error::Tune(TuneError::Limit(e)) => e.into(),
            Error::Train(e) => e.into(),
            Error::Grid(e) => e.into(),
            Error::Plot(e) | Error::Report(ReportError::Plot(e)) => e.into(),
            Error::Training(e) => e.into(),
            Error::Predict(e) => e.into(),
            Error::Prediction(PredictionError::Precision) => {
                Self::input("predictions are computed in f64: use --device flex or ndarray")
            }
            Error::LimitStudy(LimitStudyError::OneWidth) => {
                Self::input("--widths needs at least two widths, such as 32,64,128")
            }
            Error::LimitStudy(LimitStudyError::Residual) => Self::input("--widths cannot widen residual blocks"),
            Error::LimitStudy(LimitStudyError::WidthMemory { width, message }) => {
                Self::input(format!("--widths {width}: {message}"))
            }
            Error::Moments(MomentsError::KernelPrecision) => {
                Self::input("`moments.ntk` is computed in f64: use --device flex or ndarray")
            }
            Error::Moments(MomentsError::Precision) => {
                Self::input("`moments.dtype = \"f64\"` needs a CPU device: --device flex or ndarray")
            }
            Error::TooLarge { name, sample, value } => Self::input(format!(
                "inputs `{name}`: sample {sample} holds {value:e}, which is too large for f32; `--f64` takes it"
            )),
            Error::TooFewSamples { of, found, wanted } => {
                Self::input(format!("{of} has {found}, -n asks for {wanted}"))
            }
            Error::Weights { ref source, .. } if matches!(source, WeightsError::MissingStatistics { .. }) => {
                Self::Input(miette::miette!(
                    help = "`--bn running` needs the mean and the variance of every batch norm; `--bn batch` takes those of the batch",
                    "{e}"
                ))
            }
            Error::Generator(e) => of_generator(&e),
            Error::Evaluation(e) => of_evaluation(&e),
            Error::Comparison(e) => of_comparison(&e),
            Error::DataSet(DataSetError::Form) => Self::input("--channels must be 1 or 3, --size in 1 to 4096"),
            Error::Tiles(e) => e.into(),
            Error::Overflow(ref overflow) => {
                let help = if overflow.is_double_precision() {
                    "take smaller inputs or weights, or fewer layers; `fintan check` says how signals grow with depth"
                } else {
                    "`--f64` computes in double precision, which reaches 1.8e308 where single precision ends at 3.4e38"
                };
                Self::Failed(miette::miette!(help = help, "{e}"))
            }
            Error::Curvature(e) => Self::Failed(miette::miette!("{e}")),
            Error::SumOverflow => Self::Failed(miette::miette!(
                help = "`--f64` keeps it in double precision",
                "the parts of the kernel are finite, but their sum overflows f32"
            )),
            e => Self::input(e),
        }
    }
}

impl From<TilesError> for Failure {
    #[expect(clippy::wildcard_enum_match_arm, reason = "an error of tiles that is not listed needs no help")]
    fn from(e: TilesError) -> Self {
        match e {
            TilesError::NotTiles(_) => Self::input(format!("{e}; choose another --out")),
            TilesError::OtherKernel { .. } => Self::input(format!("{e}; remove the folder, or choose another --out")),
            TilesError::Missing { first, .. } => {
                Self::input(format!("{e}; compute it with --tiles {first}..{}", first + 1))
            }
            TilesError::Damaged { .. } => Self::Input(miette::miette!(
                help = "it is damaged, or was changed; take it away, and it is computed again",
                "{e}"
            )),
            e => Self::input(e),
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "errors without a flag or a help text are shown unchanged")]
fn of_generator(e: &GeneratorError) -> Failure {
    match e {
        GeneratorError::StepOfExport(_) => {
            Failure::input("--step belongs to a run; an exported folder holds one generator")
        }
        GeneratorError::NoDescription(_) => with_help(
            e,
            "it describes the layers, as the generator.json of `fintan export` does. Networks with layers that this \
             program has not (pooling by maxima, concatenated branches: torchvision's Inception v3 has both) cannot \
             be described",
        ),
        e => Failure::input(e),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "errors without a flag or a help text are shown unchanged")]
fn of_evaluation(e: &EvaluationError) -> Failure {
    match e {
        EvaluationError::Override(set) => Failure::input(format!("--set of `eval` changes `data.` only, got `{set}`")),
        EvaluationError::FeatureOutput { .. } => with_help(e, "end it with `flatten` or `global_average_pool`"),
        EvaluationError::NotFinite => Failure::Failed(miette::miette!("{e}")),
        e => Failure::input(e),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "errors without a flag or a help text are shown unchanged")]
fn of_comparison(e: &ComparisonError) -> Failure {
    match e {
        ComparisonError::RepeatedSeed(seed) => Failure::input(format!("--seeds has {seed} twice")),
        ComparisonError::LargeSeed(seed) => {
            let most = i64::MAX;
            Failure::input(format!("--seeds must be at most {most}, the largest number of TOML, got {seed}"))
        }
        ComparisonError::Override(set) => {
            Failure::input(format!("--set changes configurations; of runs it changes `data.` only, got `{set}`"))
        }
        ComparisonError::OtherSeed { .. } => with_help(e, "name the seeds of all: --seeds 0,1,2"),
        ComparisonError::NotAGan(_) => {
            with_help(e, "`fintan flow RUN...` and `fintan report RUN...` put runs of networks side by side")
        }
        ComparisonError::OtherRun { .. } => with_help(e, "name another folder with --out"),
        e => Failure::input(e),
    }
}

fn with_help(e: &impl std::fmt::Display, help: &str) -> Failure {
    Failure::Input(miette::miette!(help = help, "{e}"))
}

impl From<TrainingError> for Failure {
    fn from(e: TrainingError) -> Self {
        let help: String = match &e {
            TrainingError::Stopped { .. } => return Self::Interrupted,
            TrainingError::Collapsed { run, .. } => {
                let help = format!("everything is saved: `fintan resume {}` goes on all the same", run.display());
                return Self::Failed(miette::miette!(help = help, "{e}"));
            }
            TrainingError::EndsBefore { asked: Some(asked), last, step } => {
                return Self::input(format!("--steps {asked} ends at {last}, before the checkpoint of step {step}"));
            }
            TrainingError::EndsBefore { asked: None, .. } => "--steps N moves the end, --from STEP goes back".into(),
            TrainingError::NoTask(_) => {
                "[task.supervised] says what a network is trained for, and [data.teacher], for instance, on what".into()
            }
            TrainingError::CheckpointsGone { .. } => {
                "put the folder `checkpoints` back, or begin another run with `fintan train`".into()
            }
            TrainingError::FixedSetting { changeable, .. } => {
                format!("another value needs another run; what may change in one is {}", changeable.join(", "))
            }
            TrainingError::DataChanged { .. } => {
                "put the data back; or `fintan resume --data-changed` goes on with these, and notes it in `env.json`"
                    .into()
            }
            TrainingError::Misplaced { .. } | TrainingError::Probe { .. } | _ => return Self::input(e),
        };
        Self::Input(miette::miette!(help = help, "{e}"))
    }
}

impl From<CheckpointError> for Failure {
    fn from(e: CheckpointError) -> Self {
        Self::input(e)
    }
}

impl From<RunError> for Failure {
    fn from(e: RunError) -> Self {
        match e {
            RunError::Io(_) | RunError::Held { .. } => Self::Failed(miette::miette!("{e}")),
            RunError::NotARun(ref path) => Self::Input(match reader(path) {
                Some(help) => miette::miette!(help = help, "{e}"),
                None => miette::miette!("{e}"),
            }),
            RunError::Exists(_)
            | RunError::NoCheckpoint(_)
            | RunError::NoSuchCheckpoint { .. }
            | RunError::Damaged { .. }
            | RunError::Arrays(_) => Self::input(e),
        }
    }
}

impl From<TrainError> for Failure {
    fn from(e: TrainError) -> Self {
        match e {
            TrainError::Data(e) => e.into(),
            TrainError::NotFinite { .. } => Self::Failed(miette::miette!(
                help = "try a smaller optimizer rate, a schedule with a warmup, or a norm in the network that is named",
                "{e}"
            )),
            TrainError::Observer(_) => Self::Failed(miette::miette!("{e}")),
        }
    }
}

impl From<fintan_ntk::RequestError> for Failure {
    fn from(e: fintan_ntk::RequestError) -> Self {
        Self::input(e)
    }
}

impl From<fintan_ntk::PlanError> for Failure {
    fn from(e: fintan_ntk::PlanError) -> Self {
        Self::input(e)
    }
}

impl From<fintan_ntk::SpectrumError> for Failure {
    fn from(e: fintan_ntk::SpectrumError) -> Self {
        Self::Failed(miette::miette!("{e}"))
    }
}

impl From<fintan_predict::PredictError> for Failure {
    fn from(e: fintan_predict::PredictError) -> Self {
        use fintan_predict::PredictError as E;
        match e {
            E::Limit(e) => e.into(),
            E::Request(e) => e.into(),
            E::Plan(e) => e.into(),
            E::Spectrum(e) => e.into(),
            E::Flow(_) | E::Shape(_) => Self::input(e),
        }
    }
}

impl From<fintan_net::weights::WeightsError> for Failure {
    fn from(e: fintan_net::weights::WeightsError) -> Self {
        Self::input(e)
    }
}

impl From<fintan_theory::LimitError> for Failure {
    fn from(e: fintan_theory::LimitError) -> Self {
        use fintan_theory::LimitError;
        match e {
            LimitError::Layer { .. } | LimitError::Input { .. } => Self::input(e),
            LimitError::Dual(_) | LimitError::Range { .. } | LimitError::NotFinite { .. } => {
                Self::Failed(miette::miette!("{e}"))
            }
        }
    }
}

impl From<fintan_report::PlotError> for Failure {
    fn from(e: fintan_report::PlotError) -> Self {
        Self::Failed(miette::miette!("{e}"))
    }
}

impl From<fintan_report::GridError> for Failure {
    fn from(e: fintan_report::GridError) -> Self {
        Self::Failed(miette::miette!("{e}"))
    }
}
