//! `fintan flow`

use std::path::{Path, PathBuf};

use burn::tensor::DType;
use fintan_artifact::{RunDir, SupervisedLine, read_arrays};
use fintan_config::{Architecture, Held, LossFunction, MemoryBound, Optimizer, Subject};
use fintan_net::Placement;
use fintan_predict::{GradientDescent, LossPrediction, Losses, PredictError, TaskSamples};
use fintan_report::{Axes, Curve, Mark, curves_svg};
use fintan_train::read_network;
use serde_json::json;

use super::settings_of_run::subject_of_run;
use super::theory::{write, write_table};
use super::train::task_of;
use crate::args;
use crate::device;
use crate::failure::Failure;
use crate::voice::{answer, answer_json, tell};

/// Predicts the losses of finished runs from kernels, beside the losses they had.
pub(super) fn flow(args: &args::Flow) -> Result<(), Failure> {
    let mut opened = device::open(args.on.device)?;
    if !opened.supports_f64() {
        return Err(Failure::input("predictions are computed in f64: use --device flex or ndarray"));
    }
    opened.placement.dtype = DType::F64;
    let out = match (&args.out, &args.runs[..]) {
        (Some(out), _) => out.clone(),
        (None, [run]) => run.join("flow").join("losses.svg"),
        (None, _) => PathBuf::from("flow.svg"),
    };
    let (mut curves, mut answers) = (Vec::new(), Vec::new());
    for path in &args.runs {
        let found = Predicted::of(path, &opened.placement)?;
        answers.push(found.write(path, &args.voice)?);
        let name = path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned());
        curves.extend(found.curves(&name));
    }
    let axes = Axes {
        title: "Losses: trained (dots), predicted from the kernel of the start (lines), at infinite width (dashes)"
            .into(),
        x: "step".into(),
        y: "loss".into(),
        log_y: true,
        ..Axes::default()
    };
    if let Some(parent) = out.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs_err::create_dir_all(parent).map_err(Failure::input)?;
    }
    write(&out, curves_svg(&axes, &curves)?.as_bytes())?;
    if args.voice.json {
        answer_json(&json!({ "plot": out.display().to_string(), "runs": answers }));
    } else {
        answer!("{}", out.display());
    }
    Ok(())
}

/// The log of a run, and the losses that kernels predict for its steps.
struct Predicted {
    lines: Vec<SupervisedLine>,
    losses: LossPrediction,
    rate: f64,
}

impl Predicted {
    fn of(path: &Path, placement: &Placement) -> Result<Self, Failure> {
        let run = RunDir::open(path)?;
        let wrong = |message: &str| Failure::input(format!("`{}`: {message}", path.display()));
        let memory = MemoryBound { held: Held::Layer, free: fintan::free_memory() };
        let Subject::Network(network) = subject_of_run(&run, &[], memory)? else {
            return Err(wrong("losses can be predicted for a network with a task, not for a GAN"));
        };
        let experiment = task_of(&network, &path.display().to_string())?;
        let task = experiment.task;
        if network.network.is_batch_coupled() {
            return Err(wrong("batch norm has other statistics in training than in these kernels' losses"));
        }
        if task.loss != LossFunction::Squared {
            return Err(wrong("the closed form is for the squared loss"));
        }
        if !task.schedule.is_constant() {
            return Err(wrong("the closed form is for a learning rate that does not change; leave `schedule` out"));
        }
        let rate = match task.optimizer {
            Optimizer::Sgd(sgd) if sgd.momentum == 0.0 && task.batch() == task.train => sgd.rate,
            Optimizer::Sgd(_) | Optimizer::Adam(_) => {
                return Err(wrong(
                    "the closed form is for gradient descent: sgd without momentum, on all samples a step",
                ));
            }
        };
        let architecture = &network.network;
        let [train, test] = read_samples(&run.root().join("data.npz"), architecture, &wrong)?;
        let single = Placement { dtype: DType::F32, ..placement.clone() };
        let start =
            read_network(&run.checkpoint(run.find_checkpoint(Some(0))?), architecture, &single)?.moved(placement);
        let lines: Vec<SupervisedLine> = run.read_log()?;
        let steps: Vec<u64> = lines.iter().map(|line| line.step).collect();
        let descent = GradientDescent { rate, layer_rates: &task.layer_rates, steps: &steps };
        let losses = LossPrediction::new(&start, &train, &test, &descent).map_err(|e| match e {
            PredictError::Flow(e) => wrong(&e.to_string()),
            PredictError::Limit(_)
            | PredictError::Problem(_)
            | PredictError::Plan(_)
            | PredictError::Spectrum(_)
            | PredictError::Shape(_) => e.into(),
        })?;
        Ok(Self { lines, losses, rate })
    }

    /// Tables into the run's `flow/`, and a summary.
    fn write(&self, path: &Path, voice: &args::Voice) -> Result<serde_json::Value, Failure> {
        let folder = path.join("flow");
        fs_err::create_dir_all(&folder).map_err(Failure::input)?;
        let rows = self.lines.iter().enumerate().map(|(i, line)| {
            let none = Losses { train: f64::NAN, test: f64::NAN };
            let limit = self.losses.limit.as_ref().map_or(none, |limit| limit[i]);
            let Losses { train, test } = self.losses.empirical[i];
            vec![line.step as f64, line.train_loss, train, limit.train, line.test_loss, test, limit.test]
        });
        let head = "step,train_loss,train_empirical,train_limit,test_loss,test_empirical,test_limit";
        write_table(&folder.join("losses.csv"), head, rows)?;
        let LossPrediction { empirical, limit, flow, error_by_mode } = &self.losses;
        let times = self.losses.e_fold_steps(self.rate);
        let rows = flow.eigenvalues().iter().zip(flow.rates()).zip(&times).zip(error_by_mode);
        let rows = rows.map(|(((value, rate), time), error)| vec![*value, rate, *time, *error]);
        write_table(&folder.join("modes.csv"), "eigenvalue,rate,steps_e_fold,squared_error_at_start", rows)?;
        let largest = flow.largest_rate();
        let (fast, slow) =
            (times.iter().copied().fold(f64::INFINITY, f64::min), times.iter().copied().fold(0.0, f64::max));
        let log_error = |losses: &[Losses]| {
            let errors = self.lines.iter().zip(losses).map(|(line, at)| (line.train_loss / at.train).ln().abs());
            errors.fold(0.0_f64, f64::max)
        };
        if !voice.quiet && !voice.json {
            tell!("{}", path.display());
            tell!("  learning rate {} of at most {largest:.4} (2N / largest eigenvalue)", self.rate);
            if let Err(e) = limit {
                tell!("  nothing at infinite width: {e}");
            }
            tell!("  e-fold of the error: {fast:.2} steps along the fastest mode, {slow:.0} along the slowest");
            if let (Some(line), Some(at)) = (self.lines.last(), empirical.last()) {
                tell!("  step {}: training loss {:.4e}, predicted {:.4e}", line.step, line.train_loss, at.train);
                tell!("  step {}: test loss     {:.4e}, predicted {:.4e}", line.step, line.test_loss, at.test);
            }
        }
        Ok(json!({
            "run": path, "largest_rate": largest, "rate": self.rate, "fastest_mode_steps": fast,
            "slowest_mode_steps": slow, "largest_log_error": log_error(empirical),
            "largest_log_error_limit": limit.as_ref().ok().map(|limit| log_error(limit)),
        }))
    }

    fn curves(&self, name: &str) -> Vec<Curve> {
        // What f64 cannot tell from zero would stretch the plot.
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
            let pick = |at: Losses| if word == "train" { at.train } else { at.test };
            let trained = |i: usize| pick(Losses { train: self.lines[i].train_loss, test: self.lines[i].test_loss });
            curves.push(curve(word, Mark::Dots, &trained));
            curves.push(curve(word, Mark::Line, &|i| pick(self.losses.empirical[i])));
            if let Ok(limit) = &self.losses.limit {
                curves.push(curve(word, Mark::Dashed, &|i| pick(limit[i])));
            }
        }
        curves
    }
}

/// Training and test samples of a network with these shapes: inputs, targets and first outputs.
fn read_samples(
    path: &Path,
    architecture: &Architecture,
    wrong: &dyn Fn(&str) -> Failure,
) -> Result<[TaskSamples; 2], Failure> {
    let (len, outputs) = (architecture.input.len(), architecture.output().len());
    let arrays = read_arrays(path).map_err(Failure::input)?;
    let array = |name: String| {
        let found = arrays.iter().find(|(found, _)| *found == name).map(|(_, array)| array);
        found.ok_or_else(|| wrong(&format!("its data.npz has no array `{name}`")))
    };
    let side = |name: &str| -> Result<TaskSamples, Failure> {
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
        Ok(TaskSamples { inputs, targets, start })
    };
    Ok([side("train")?, side("test")?])
}
