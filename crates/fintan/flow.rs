//! Predicts the losses of a supervised run from kernels.

use std::path::{Path, PathBuf};

use burn::tensor::DType;
use fintan_artifact::{RunDir, SupervisedLine, read_arrays, write_whole};
use fintan_config::{
    Architecture, Held, LayerRates, LossFunction, MemoryBound, NetworkExperiment, OptimizerSettings, Subject,
};
use fintan_net::Placement;
use fintan_predict::{GradientDescent, LossPrediction, PredictError, PredictedLosses, TaskArrays};
use fintan_report::{Axes, Curve, Mark, curves_svg};
use fintan_theory::{FlowError, LimitError};
use fintan_train::read_network;

use crate::csv;
use crate::device::Device;
use crate::error::Error;
use crate::memory::free_memory;
use crate::training::{subject_of_run, task_data_file, task_of};

/// Why the losses of a run cannot be predicted.
///
/// ```
/// let error = fintan::PredictionError::Schedule("run".into());
/// assert!(error.to_string().starts_with("`run`: the closed form is for a learning rate that does not change"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PredictionError {
    /// The device does not support double precision.
    #[error("predictions are computed in f64: take the device flex or ndarray")]
    Precision,
    /// The run is of a GAN.
    #[error("`{}`: losses can be predicted for a network with a task, not for a GAN", .0.display())]
    Gan(PathBuf),
    /// The network has batch norms.
    #[error("`{}`: batch norm has other statistics in training than in these kernels' losses", .0.display())]
    BatchNorm(PathBuf),
    /// The loss is not the squared loss.
    #[error("`{}`: the closed form is for the squared loss", .0.display())]
    Loss(PathBuf),
    /// The learning rate has a schedule.
    #[error("`{}`: the closed form is for a learning rate that does not change; leave `schedule` out", .0.display())]
    Schedule(PathBuf),
    /// The optimizer is not plain gradient descent.
    #[error(
        "`{}`: the closed form is for gradient descent: sgd without momentum, on all samples a step", .0.display()
    )]
    Optimizer(PathBuf),
    /// The samples of the run do not fit its network.
    #[error("`{}`: {message}", run.display())]
    Data {
        /// The run.
        run: PathBuf,
        /// What is wrong with them.
        message: String,
    },
    /// Gradient descent cannot be followed.
    #[error("`{}`: {source}", run.display())]
    Flow {
        /// The run.
        run: PathBuf,
        /// The reason.
        source: FlowError,
    },
}

/// A run of gradient descent on the squared loss, and the losses that kernels predict for its steps.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let config = folder.path().join("line.toml");
/// fs_err::write(&config, "
///     network = { input = 4, outputs = 1, fc = { widths = [64] }, parametrization.ntk = {} }
///     data.teacher.degree = 1
///     task.supervised = { goal = 'regression', train = 8, test = 8, steps = 20, optimizer.sgd.rate = 0.1 }
/// ")?;
/// let run = folder.path().join("run");
/// fintan::train(&config).out(&run).device(fintan::Device::cpu()).run()?;
/// let predicted = fintan::PredictedRun::of(&run, &fintan::Device::cpu())?;
/// // The kernel of a network of 64 hidden units moves little in 20 steps.
/// assert!(predicted.rate < predicted.largest_rate());
/// assert!(predicted.largest_log_error() < 0.5, "{}", predicted.largest_log_error());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PredictedRun {
    /// The run directory.
    pub run: PathBuf,
    /// Its learning rate.
    pub rate: f64,
    lines: Vec<SupervisedLine>,
    losses: LossPrediction,
}

impl PredictedRun {
    /// Reads a run directory and predicts its losses, in double precision.
    ///
    /// # Errors
    /// Fails if the run is not gradient descent on the squared loss, if the run is damaged, or if the device lacks double
    /// precision.
    pub fn of(run: impl AsRef<Path>, device: &Device) -> Result<Self, Error> {
        let path = run.as_ref();
        let placement = device.clone().double_precision().map_err(|_| PredictionError::Precision)?.placement;
        let run = RunDir::open(path)?;
        let bound = MemoryBound { held: Held::Layer, free: free_memory() };
        let Subject::Network(network) = subject_of_run(&run, &[], bound)? else {
            return Err(PredictionError::Gan(path.into()).into());
        };
        let rate = followed_rate(&network, path)?;
        let architecture = &network.network;
        let [train, test] = read_samples(&run, architecture)?;
        let single = Placement { dtype: DType::F32, ..placement.clone() };
        let start =
            read_network(&run.checkpoint(run.find_checkpoint(Some(0))?), architecture, &single)?.moved(&placement);
        let lines: Vec<SupervisedLine> = run.read_log()?;
        let steps: Vec<u64> = lines.iter().map(|line| line.step).collect();
        let layer_rates = network.supervised().map_or(LayerRates::Off, |experiment| experiment.task.layer_rates);
        let descent = GradientDescent { rate, layer_rates: &layer_rates, steps: &steps };
        let losses = LossPrediction::new(&start, &train, &test, &descent).map_err(|e| match e {
            PredictError::Flow(source) => PredictionError::Flow { run: path.into(), source }.into(),
            PredictError::Limit(_)
            | PredictError::Request(_)
            | PredictError::Plan(_)
            | PredictError::Spectrum(_)
            | PredictError::Shape(_) => Error::from(e),
        })?;
        Ok(Self { run: path.into(), rate, lines, losses })
    }

    /// The learning rate above which gradient descent diverges: 2N over the largest eigenvalue of the kernel.
    #[must_use]
    pub fn largest_rate(&self) -> f64 {
        self.losses.flow.largest_rate()
    }

    /// The numbers of steps in which the error shrinks by a factor e, along the fastest and along the slowest eigenvector.
    #[must_use]
    pub fn e_fold_steps(&self) -> [f64; 2] {
        let times = self.losses.e_fold_steps(self.rate);
        [times.iter().copied().fold(f64::INFINITY, f64::min), times.into_iter().fold(0.0, f64::max)]
    }

    /// The largest |log(training loss / prediction)| over the lines of the log. The prediction uses the kernel of the network.
    #[must_use]
    pub fn largest_log_error(&self) -> f64 {
        self.log_error(&self.losses.empirical)
    }

    /// The largest |log(training loss / prediction)| over the lines of the log. The prediction uses the kernel of infinite
    /// width.
    ///
    /// # Errors
    /// Fails if the network has no limit of infinite width.
    pub fn largest_log_error_of_limit(&self) -> Result<f64, &LimitError> {
        self.losses.limit.as_ref().map(|limit| self.log_error(limit))
    }

    fn log_error(&self, losses: &[PredictedLosses]) -> f64 {
        let errors = self.lines.iter().zip(losses).map(|(line, at)| (line.train_loss / at.train).ln().abs());
        errors.fold(0.0_f64, f64::max)
    }

    /// The last line of the log, and the predicted training and test losses at its step.
    #[must_use]
    pub fn last(&self) -> Option<(&SupervisedLine, [f64; 2])> {
        let (line, at) = self.lines.last().zip(self.losses.empirical.last())?;
        Some((line, [at.train, at.test]))
    }

    /// Writes `losses.csv` and `modes.csv` into the folder `flow` of the run.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn write_tables(&self) -> Result<(), Error> {
        let folder = self.run.join("flow");
        fs_err::create_dir_all(&folder)?;
        let rows = self.lines.iter().enumerate().map(|(i, line)| {
            let none = PredictedLosses { train: f64::NAN, test: f64::NAN };
            let limit = self.losses.limit.as_ref().map_or(none, |limit| limit[i]);
            let PredictedLosses { train, test } = self.losses.empirical[i];
            vec![line.step as f64, line.train_loss, train, limit.train, line.test_loss, test, limit.test]
        });
        let head = "step,train_loss,train_empirical,train_limit,test_loss,test_empirical,test_limit";
        write_whole(&folder.join("losses.csv"), csv::numbers(head, rows).as_bytes())?;
        let LossPrediction { flow, error_by_mode, .. } = &self.losses;
        let times = self.losses.e_fold_steps(self.rate);
        let rows = flow.eigenvalues().iter().zip(flow.rates()).zip(&times).zip(error_by_mode);
        let rows = rows.map(|(((value, rate), time), error)| vec![*value, rate, *time, *error]);
        let table = csv::numbers("eigenvalue,rate,steps_e_fold,squared_error_at_start", rows);
        Ok(write_whole(&folder.join("modes.csv"), table.as_bytes())?)
    }

    fn curves(&self) -> Vec<Curve> {
        let path = &self.run;
        let name = path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned());
        // Losses at the rounding error of f64 would stretch the plot.
        let least = self.lines.first().map_or(0.0, |line| 1e-16 * line.train_loss);
        let curve = |word: &str, mark, of: &dyn Fn(usize) -> f64| Curve {
            name: format!("{name}, {word}"),
            points: (self.lines.iter().enumerate())
                .map(|(i, line)| (line.step as f64, of(i)))
                .filter(|point| point.1 >= least)
                .collect(),
            mark,
        };
        let mut curves = Vec::new();
        for word in ["train", "test"] {
            let pick = |at: PredictedLosses| if word == "train" { at.train } else { at.test };
            let trained =
                |i: usize| pick(PredictedLosses { train: self.lines[i].train_loss, test: self.lines[i].test_loss });
            curves.push(curve(word, Mark::Dots, &trained));
            curves.push(curve(word, Mark::Line, &|i| pick(self.losses.empirical[i])));
            if let Ok(limit) = &self.losses.limit {
                curves.push(curve(word, Mark::Dashed, &|i| pick(limit[i])));
            }
        }
        curves
    }
}

/// The learning rate of gradient descent whose losses have a closed form.
fn followed_rate(network: &NetworkExperiment, run: &Path) -> Result<f64, Error> {
    let task = task_of(network, &run.display().to_string())?.task;
    if network.network.is_batch_coupled() {
        return Err(PredictionError::BatchNorm(run.into()).into());
    }
    if task.loss != LossFunction::Squared {
        return Err(PredictionError::Loss(run.into()).into());
    }
    if !task.schedule.is_constant() {
        return Err(PredictionError::Schedule(run.into()).into());
    }
    match task.optimizer {
        OptimizerSettings::Sgd(sgd) if sgd.momentum == 0.0 && task.batch() == task.train => Ok(sgd.rate),
        OptimizerSettings::Sgd(_) | OptimizerSettings::Adam(_) => Err(PredictionError::Optimizer(run.into()).into()),
    }
}

/// Draws the losses of runs and their predictions as SVG. Trained losses are dots, predictions from the initial kernel are
/// lines, and predictions at infinite width are dashed lines.
///
/// ```
/// let svg = fintan::plot_losses(&[])?;
/// assert!(svg.contains("predicted from the kernel of the start"));
/// # Ok::<(), fintan::Error>(())
/// ```
///
/// # Errors
/// Fails if the losses cannot be drawn.
pub fn plot_losses(runs: &[PredictedRun]) -> Result<String, Error> {
    let curves: Vec<Curve> = runs.iter().flat_map(PredictedRun::curves).collect();
    let axes = Axes {
        title: "Losses: trained (dots), predicted from the kernel of the start (lines), at infinite width (dashes)"
            .into(),
        x: "step".into(),
        y: "loss".into(),
        log_y: true,
        ..Axes::default()
    };
    Ok(curves_svg(&axes, &curves)?)
}

/// Training and test samples of a network with these shapes: inputs, targets and first outputs.
fn read_samples(run: &RunDir, architecture: &Architecture) -> Result<[TaskArrays; 2], Error> {
    let wrong = |message: &str| PredictionError::Data { run: run.root().into(), message: message.into() };
    let (len, outputs) = (architecture.input.len(), architecture.output().len());
    let arrays = read_arrays(&task_data_file(run.root())).map_err(Error::FiniteNetwork)?;
    let array = |name: String| {
        let found = arrays.iter().find(|(found, _)| *found == name).map(|(_, array)| array);
        found.ok_or_else(|| wrong(&format!("its data.npz has no array `{name}`")))
    };
    let side = |name: &str| -> Result<TaskArrays, PredictionError> {
        let [inputs, targets, start] = ["inputs", "targets", "outputs"].map(|what| array(format!("{name}_{what}")));
        let arrays = [("inputs", inputs?, len), ("targets", targets?, outputs), ("outputs", start?, outputs)];
        let count = arrays[1].1.shape.first().copied().unwrap_or(0);
        for (what, array, each) in arrays {
            let (found, numbers) = (&array.shape, array.to_f64());
            if count == 0 || found.first() != Some(&count) || found[1..].iter().product::<usize>() != each {
                let message = format!(
                    "array `{name}_{what}` of its data.npz must hold {each} numbers for each of the samples in \
                     `{name}_targets`, got shape {found:?}"
                );
                return Err(wrong(&message));
            }
            if !numbers.iter().all(|value| value.is_finite()) {
                return Err(wrong(&format!("array `{name}_{what}` of its data.npz holds a value that is not finite")));
            }
        }
        let [inputs, targets, start] = arrays.map(|(_, array, _)| array.to_f64());
        Ok(TaskArrays { inputs, targets, start })
    };
    Ok([side("train")?, side("test")?])
}
