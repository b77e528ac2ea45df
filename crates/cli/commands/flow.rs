//! `fintan flow`

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Tensor, TensorData};
use fintan_artifact::{RunDir, SupervisedLine, read_arrays};
use fintan_config::{Architecture, Held, LayerRates, LossFunction, MemoryBound, Optimizer, Shape, Subject, Transform};
use fintan_net::{Mode, Placement, channels_last};
use fintan_ntk::{Entries, Kernel, Plan, Problem};
use fintan_report::{Axes, Curve, Mark, curves_svg};
use fintan_theory::{Flow, Limit, LimitError, LimitKernel, Request, Time};
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
    if opened.name.starts_with("wgpu") {
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

/// Losses at the logged steps: those of the run, and by each kernel.
struct Predicted {
    lines: Vec<SupervisedLine>,
    /// (train, test) at each line.
    empirical: Vec<(f64, f64)>,
    /// Or why there is no limit.
    limit: Result<Vec<(f64, f64)>, LimitError>,
    flow: Flow,
    rate: f64,
    modes: Vec<f64>,
}

/// What a run keeps of its data and of its outputs at the start.
struct Data {
    train: Side,
    test: Side,
    outputs: usize,
}

struct Side {
    inputs: Vec<f64>,
    targets: Vec<f64>,
    start: Vec<f64>,
    count: usize,
}

impl Predicted {
    fn of(path: &Path, placement: &Placement) -> Result<Self, Failure> {
        let run = RunDir::open(path)?;
        let wrong = |message: &str| Failure::input(format!("`{}`: {message}", path.display()));
        let memory = MemoryBound { held: Held::Layer, free: crate::memory::free() };
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
        let data = Data::read(&run.root().join("data.npz"), architecture, &wrong)?;
        let single = Placement { dtype: DType::F32, ..placement.clone() };
        let start =
            read_network(&run.checkpoint(run.find_checkpoint(Some(0))?), architecture, &single)?.moved(placement);
        let lines: Vec<SupervisedLine> = run.read_log()?;

        let rates = parameter_rates(architecture, &task.layer_rates);
        let kernel = |x2: Option<&Side>| -> Result<Vec<f64>, Failure> {
            let shape = architecture.input;
            // Rows of the test inputs, columns of the training inputs.
            let x1 = x2.unwrap_or(&data.train).tensor(shape, placement);
            let x2 = x2.map(|_| data.train.tensor(shape, placement));
            let problem = Problem::new(start.clone(), x1, x2, Mode::Train, Entries::Full, Vec::new())?;
            let problem = if rates.iter().all(|rate| *rate == 1.0) { problem.summed() } else { problem };
            let kernel = Kernel::compute(&problem, &Plan::new(&problem, None, 1e12)?);
            let [rows, columns] = kernel.matrix_shape()?;
            let effective = kernel.weighted(if kernel.parts.len() == 1 { &[1.0] } else { &rates });
            let mut matrix = vec![0.0; rows * columns];
            for (i, row) in matrix.chunks_mut(columns).enumerate() {
                kernel.row(&effective, i, row);
            }
            Ok(matrix)
        };
        let (own, other) = (kernel(None)?, kernel(Some(&data.test))?);
        let rows = data.train.count * data.outputs;
        let flow = Flow::new(&own, rows, data.train.count).map_err(|e| wrong(&e.to_string()))?;
        let losses = |flow: &Flow, other: &[f64]| -> Result<Vec<(f64, f64)>, Failure> {
            let at = |line: &SupervisedLine| data.losses(flow, other, Time::Steps { rate, count: line.step });
            lines.iter().map(|line| at(line).map_err(|e| wrong(&e.to_string()))).collect()
        };
        let empirical = losses(&flow, &other)?;
        let modes = flow.error_by_mode(&data.train.start, &data.train.targets).map_err(|e| wrong(&e.to_string()))?;
        let limit = match limit_kernels(architecture, &data, &rates) {
            Err(e) => Err(e),
            Ok((own, other)) => {
                let flow = Flow::new(&own, data.train.count, data.train.count).map_err(|e| wrong(&e.to_string()))?;
                Ok(losses(&flow, &other)?)
            }
        };
        Ok(Self { lines, empirical, limit, flow, rate, modes })
    }

    /// Tables into the run's `flow/`, and a summary.
    fn write(&self, path: &Path, voice: &args::Voice) -> Result<serde_json::Value, Failure> {
        let folder = path.join("flow");
        fs_err::create_dir_all(&folder).map_err(Failure::input)?;
        let rows = self.lines.iter().enumerate().map(|(i, line)| {
            let limit = self.limit.as_ref().map_or((f64::NAN, f64::NAN), |limit| limit[i]);
            let (train, test) = self.empirical[i];
            vec![line.step as f64, line.train_loss, train, limit.0, line.test_loss, test, limit.1]
        });
        let head = "step,train_loss,train_empirical,train_limit,test_loss,test_empirical,test_limit";
        write_table(&folder.join("losses.csv"), head, rows)?;
        let rates = self.flow.rates();
        // Steps over which a mode's error shrinks e-fold: infinite along null directions and where steps are too long.
        let time = |rate: f64| match self.rate * rate {
            x if x <= 1e-14 || x >= 2.0 => f64::INFINITY,
            x => -1.0 / (1.0 - x).abs().ln(),
        };
        let rows = self.flow.eigenvalues().iter().zip(&rates).zip(&self.modes);
        let rows = rows.map(|((value, rate), error)| vec![*value, *rate, time(*rate), *error]);
        write_table(&folder.join("modes.csv"), "eigenvalue,rate,steps_e_fold,squared_error_at_start", rows)?;
        let largest = self.flow.largest_rate();
        let times = || rates.iter().map(|rate| time(*rate));
        let (fast, slow) = (times().fold(f64::INFINITY, f64::min), times().fold(0.0, f64::max));
        let log_error = |losses: &[(f64, f64)]| {
            let errors = self.lines.iter().zip(losses).map(|(line, at)| (line.train_loss / at.0).ln().abs());
            errors.fold(0.0_f64, f64::max)
        };
        if !voice.quiet && !voice.json {
            tell!("{}", path.display());
            tell!("  learning rate {} of at most {largest:.4} (2N / largest eigenvalue)", self.rate);
            if let Err(e) = &self.limit {
                tell!("  nothing at infinite width: {e}");
            }
            tell!("  e-fold of the error: {fast:.2} steps along the fastest mode, {slow:.0} along the slowest");
            if let (Some(line), Some(at)) = (self.lines.last(), self.empirical.last()) {
                tell!("  step {}: training loss {:.4e}, predicted {:.4e}", line.step, line.train_loss, at.0);
                tell!("  step {}: test loss     {:.4e}, predicted {:.4e}", line.step, line.test_loss, at.1);
            }
        }
        Ok(json!({
            "run": path, "largest_rate": largest, "rate": self.rate, "fastest_mode_steps": fast,
            "slowest_mode_steps": slow, "largest_log_error": log_error(&self.empirical),
            "largest_log_error_limit": self.limit.as_ref().ok().map(|limit| log_error(limit)),
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
            let pick = |at: (f64, f64)| if word == "train" { at.0 } else { at.1 };
            let trained = |i: usize| pick((self.lines[i].train_loss, self.lines[i].test_loss));
            curves.push(curve(word, Mark::Dots, &trained));
            curves.push(curve(word, Mark::Line, &|i| pick(self.empirical[i])));
            if let Ok(limit) = &self.limit {
                curves.push(curve(word, Mark::Dashed, &|i| pick(limit[i])));
            }
        }
        curves
    }
}

impl Data {
    /// Inputs, targets and first outputs of a network with these shapes.
    fn read(path: &Path, architecture: &Architecture, wrong: &dyn Fn(&str) -> Failure) -> Result<Self, Failure> {
        let (len, outputs) = (architecture.input.len(), architecture.output().len());
        let arrays = read_arrays(path).map_err(Failure::input)?;
        let array = |name: String| {
            let found = arrays.iter().find(|(found, _)| *found == name).map(|(_, array)| array);
            found.ok_or_else(|| wrong(&format!("its data.npz has no array `{name}`")))
        };
        let side = |name: &str| -> Result<Side, Failure> {
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
                    return Err(wrong(&format!(
                        "array `{name}_{what}` of its data.npz holds a value that is not finite"
                    )));
                }
            }
            let [inputs, targets, start] = arrays.map(|(_, array, _)| array.to_f64());
            Ok(Side { inputs, targets, start, count })
        };
        Ok(Self { train: side("train")?, test: side("test")?, outputs })
    }

    /// `Σ |f - y|² / (2N)` of the training and the test samples at a time. A kernel over inputs alone is the same for every
    /// output; one over rows (input, output) takes the outputs as one column.
    fn losses(&self, flow: &Flow, other: &[f64], time: Time) -> Result<(f64, f64), fintan_theory::FlowError> {
        let Self { train, test, .. } = self;
        let at_train = flow.train(&train.start, &train.targets, time)?;
        let at_test = flow.test(other, &test.start, &train.start, &train.targets, time)?;
        Ok((train.loss(&at_train), test.loss(&at_test)))
    }
}

impl Side {
    fn loss(&self, outputs: &[f64]) -> f64 {
        let sum: f64 = outputs.iter().zip(&self.targets).map(|(f, y)| (f - y).powi(2)).sum();
        sum / (2 * self.count) as f64
    }

    fn tensor(&self, Shape { channels, height, width }: Shape, placement: &Placement) -> Tensor<4> {
        let n = self.inputs.len() / (channels * height * width);
        let data = TensorData::new(self.inputs.clone(), [n, channels, height, width]);
        channels_last(Tensor::from_data(data, (&placement.device, placement.dtype)))
    }
}

/// Kernels at infinite width of the training inputs, and of the test inputs against them: the same for every output.
fn limit_kernels(architecture: &Architecture, data: &Data, rates: &[f64]) -> Result<(Vec<f64>, Vec<f64>), LimitError> {
    // Outputs of a flattened image have kernels of their own each.
    if architecture.before_output().nodes.last().is_some_and(|node| node.transform() == Transform::Reshape) {
        return Err(LimitError::Layer { layer: "flatten", reason: "outputs at several positions" });
    }
    let limit = Limit::of_outputs(architecture)?;
    let pairs: Vec<(f64, f64)> = rates.chunks(2).map(|pair| (pair[0], pair[1])).collect();
    let request = Request { rates: Some(pairs), ..Request::default() };
    let len = architecture.input.len();
    let train: Vec<&[f64]> = data.train.inputs.chunks(len).collect();
    let test: Vec<&[f64]> = data.test.inputs.chunks(len).collect();
    let value = |kernel: LimitKernel| kernel.ntk[0];
    Ok((limit.gram_map(&train, None, &request, value)?, limit.gram_map(&test, Some(&train), &request, value)?))
}

/// Factors of the learning rate, one a parameter: weights and biases in turn.
fn parameter_rates(architecture: &Architecture, rule: &LayerRates) -> Vec<f64> {
    let nodes = architecture.flat().into_iter().filter(|node| node.index.is_some());
    nodes.map(|node| rule.factors(node)).flat_map(|(weights, biases)| [weights, biases]).collect()
}
