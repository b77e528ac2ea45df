//! The training task of a `[network]`: goal, loss, data with targets, loop.

use serde::{Deserialize, Serialize};

use crate::architecture::Architecture;
use crate::citations::Citation;
use crate::data::{Content, DataSource, Reader};
use crate::error::Invalid;
use crate::experiment::{OptimizerSettings, at_least_one, check_layer_rates, check_optimizer, within};
use crate::rates::LayerRates;
use crate::schedule::Schedule;
use crate::shape::Shape;

/// The training task of a network.
///
/// ```
/// use fintan_config::{Task, TaskGoal};
///
/// let Task::Supervised(task) = toml::from_str("supervised = { goal = 'regression', optimizer.sgd.rate = 0.5 }")?;
/// assert_eq!((task.goal, task.optimizer.rate()), (TaskGoal::Regression, 0.5));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Training on inputs with targets.
    Supervised(SupervisedTask),
}

/// Wide networks evolve as linear models in training.
pub(crate) const KERNEL_REGIME: Citation = Citation::new(
    "@inproceedings{lee2019wide,
  author = {Lee, Jaehoon and Xiao, Lechao and Schoenholz, Samuel S. and Bahri, Yasaman and Novak, Roman and Sohl-Dickstein, Jascha and Pennington, Jeffrey},
  title = {Wide Neural Networks of Any Depth Evolve as Linear Models Under Gradient Descent},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2019},
  eprint = {1902.06720},
  archiveprefix = {arXiv},
}",
);

/// Supervised training.
///
/// ```
/// use fintan_config::{LossFunction, Subject, TaskGoal};
///
/// let text = "
///     network = { input = 4, outputs = 1, fc.widths = [8] }
///     data.teacher.degree = 1
///     task.supervised = { goal = 'regression', train = 8, test = 16, steps = 20, optimizer.sgd.rate = 0.1 }
/// ";
/// let Subject::Network(network) = Subject::parse("toy.toml", text, &[])? else { panic!("not a network") };
/// let experiment = network.supervised().expect("a task");
/// assert_eq!((experiment.task.goal, experiment.task.loss), (TaskGoal::Regression, LossFunction::Squared));
/// assert_eq!(experiment.task.batch(), 8); // all samples: gradient descent
/// # Ok::<(), fintan_config::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SupervisedTask {
    /// The meaning of the outputs.
    pub goal: TaskGoal,
    /// The function that is minimised.
    #[serde(default)]
    pub loss: LossFunction,
    /// Training samples, a subset of the data set drawn with the seed.
    #[serde(default = "train_count")]
    pub train: usize,
    /// Test samples, none of which is a training sample.
    #[serde(default = "test_count")]
    pub test: usize,
    /// Labels of the classes, in the order of the outputs; by default all labels of the data set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<u8>>,
    /// How inputs are scaled.
    #[serde(default)]
    pub inputs: InputScale,
    /// Whether to subtract the mean of each input before scaling.
    #[serde(default)]
    pub centre: bool,
    /// The optimiser.
    pub optimizer: OptimizerSettings,
    /// How its learning rate changes.
    #[serde(default)]
    pub schedule: Schedule,
    /// Learning rates that depend on the layer.
    #[serde(default)]
    pub layer_rates: LayerRates,
    /// Number of steps.
    #[serde(default = "steps")]
    pub steps: u64,
    /// Samples in a step; by default all, which makes SGD gradient descent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    /// Steps between two lines of `log.jsonl`.
    #[serde(default = "log_every")]
    pub log_every: u64,
    /// Steps between two checkpoints.
    #[serde(default = "checkpoint_every")]
    pub checkpoint_every: u64,
    /// Number of checkpoints that are kept.
    #[serde(default = "keep")]
    pub keep: usize,
}

/// The meaning of the outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskGoal {
    /// The class of an input. With one output, the sign is the class, with targets -1 and 1. With k outputs, the largest
    /// output is the class; targets are `1 - 1/k` for the class and `-1/k` for the others (one-hot and centred, as in Lee et
    /// al., arXiv 1902.06720).
    Classification,
    /// Each output is a real number.
    Regression,
}

/// The function that is minimised, over N samples.
///
/// ```
/// use fintan_config::{LossFunction, SupervisedTask};
///
/// let task: SupervisedTask = toml::from_str("goal = 'classification'\noptimizer.sgd.rate = 0.5\nloss = 'cross_entropy'")?;
/// assert_eq!((task.loss, LossFunction::default()), (LossFunction::CrossEntropy, LossFunction::Squared));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossFunction {
    /// `C = 1/(2N) Σ_i |f(x_i) - y_i|²`, the loss of the NTK literature (Jacot et al., arXiv 1806.07572).
    #[default]
    Squared,
    /// `C = -1/N Σ_i ln p_i`, with p_i the probability of the right class: softmax of k outputs, sigmoid of one output.
    CrossEntropy,
}

/// How inputs are scaled.
///
/// ```
/// use fintan_config::{InputScale, SupervisedTask};
///
/// let task: SupervisedTask = toml::from_str("goal = 'regression'\noptimizer.sgd.rate = 0.5")?;
/// assert_eq!(task.inputs, InputScale::Sphere); // the default
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputScale {
    /// Scaled to the sphere `|x| = √n_0`, with n_0 the number of values of x: the domain of the theory.
    #[default]
    Sphere,
    /// Unchanged from the data set; images are in [-1, 1].
    Raw,
}

/// A checked network with its task, the starting point of training and predictions.
///
/// ```
/// use fintan_config::{SourceKind, Subject};
///
/// let text = "
///     network = { input = 4, outputs = 1, fc.widths = [8] }
///     data.teacher.degree = 1
///     task.supervised = { goal = 'regression', train = 8, test = 16, steps = 20, optimizer.sgd.rate = 0.1 }
/// ";
/// let Subject::Network(network) = Subject::parse("toy.toml", text, &[])? else { panic!("not a network") };
/// let experiment = network.supervised().expect("a task");
/// assert_eq!((experiment.task.train, experiment.data.kind()), (8, SourceKind::Teacher));
/// # Ok::<(), fintan_config::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct SupervisedExperiment<'a> {
    /// Seed of weights, inputs and their order.
    pub seed: u64,
    /// The network.
    pub network: &'a Architecture,
    /// Goal, loss and loop.
    pub task: &'a SupervisedTask,
    /// Inputs and targets.
    pub data: &'a DataSource,
}

impl SupervisedTask {
    /// Samples in a step.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.batch.unwrap_or(self.train)
    }
}

/// Checks a task against its data and its network.
pub(crate) fn check_task(task: &Task, data: Option<&DataSource>, network: &Architecture) -> Result<(), Invalid> {
    let Task::Supervised(task) = task;
    let Some(data) = data else {
        return Err(Invalid::new("task", "`task.supervised` needs `data`").with_help(
            "[data.teacher] and [data.shapes] draw their own; others are [data.idx], [data.cifar], [data.folder], \
                        [data.tar], [data.zip], [data.npy] and [data.npz]",
        ));
    };
    // Every field is named here, so a new setting does not compile until someone decides how to check it.
    let &SupervisedTask {
        goal,
        loss,
        train,
        test,
        ref classes,
        inputs: _,
        centre,
        ref optimizer,
        schedule: _,
        ref layer_rates,
        steps,
        batch,
        log_every,
        checkpoint_every,
        keep,
    } = task;
    let key = |name: &str| format!("task.supervised.{name}");
    within(&key("train"), train, 1, 1 << 24)?;
    within(&key("test"), test, 1, 1 << 24)?;
    if let Some(batch) = batch {
        within(&key("batch"), batch, 1, train)?;
    }
    for (name, value) in [("steps", steps), ("log_every", log_every), ("checkpoint_every", checkpoint_every)] {
        at_least_one(&key(name), value)?;
    }
    within(&key("keep"), keep, 1, 1_000_000)?;
    check_optimizer(&key("optimizer"), optimizer)?;
    check_layer_rates(&key("layer_rates"), layer_rates)?;
    if network.is_batch_coupled() && task.batch() == 1 {
        return Err(Invalid::new(key("batch"), "`task.supervised.batch` must be at least 2 under batch normalization"));
    }
    let outputs = network.output();
    if !outputs.is_vector() {
        let message = format!("a network with a task must end with a vector, but its last layer gives {outputs}");
        return Err(Invalid::new("network", message).with_help("for instance a `flatten` and a `dense` layer"));
    }
    if network.parameter_count() == 0 {
        return Err(Invalid::new("network", "a network with a task must have parameters to train"));
    }
    check_source(data, centre, network.input)?;
    match goal {
        TaskGoal::Regression => {
            let wrong = if loss == LossFunction::CrossEntropy {
                Some(("loss", "`loss = \"cross_entropy\"` needs `goal = \"classification\"`".to_owned()))
            } else if classes.is_some() {
                Some(("classes", "`classes` needs `goal = \"classification\"`".to_owned()))
            } else {
                match data.content() {
                    Content::Images | Content::Noise => {
                        let name = data.kind().name();
                        Some(("goal", format!("`data.{name}` has classes; `regression` needs `data.teacher`")))
                    }
                    Content::Targets => None,
                }
            };
            wrong.map_or(Ok(()), |(name, message)| Err(Invalid::new(key(name), message)))
        }
        TaskGoal::Classification => check_classes(classes.as_deref(), data, outputs.len()),
    }
}

fn check_source(data: &DataSource, centre: bool, input: Shape) -> Result<(), Invalid> {
    Reader::Task.check(data)?;
    let name = data.kind().name();
    match data.content() {
        Content::Images if data.image(input).is_none() => {
            let message = format!("`network.input` must be a square image for `data.{name}`, got {input}");
            Err(Invalid::new("network.input", message)
                .with_help("for instance 784 or [1, 28, 28] for grey 28x28, 3072 or [3, 32, 32] for colour 32x32"))
        }
        Content::Targets if centre => {
            let message =
                format!("`centre` is for images; the inputs of `data.{name}` are on the sphere as they are drawn");
            Err(Invalid::new("task.supervised.centre", message))
        }
        Content::Images | Content::Targets | Content::Noise => Ok(()),
    }
}

fn check_classes(classes: Option<&[u8]>, data: &DataSource, outputs: usize) -> Result<(), Invalid> {
    let key = "task.supervised.classes";
    let teacher = data.content() == Content::Targets;
    let Some(classes) = classes else {
        if teacher && outputs > 2 {
            let message = format!("the two classes of `data.teacher` need 1 or 2 outputs, the network has {outputs}");
            return Err(Invalid::new("network", message));
        }
        return Ok(());
    };
    if teacher {
        return Err(Invalid::new(
            key,
            "`data.teacher` has two classes, the signs of its function; leave `classes` out",
        ));
    }
    let mut sorted = classes.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    if classes.len() < 2 || sorted.len() < classes.len() {
        return Err(Invalid::new(key, format!("`{key}` must name at least two different labels, got {classes:?}")));
    }
    if outputs == classes.len() || (outputs == 1 && classes.len() == 2) {
        return Ok(());
    }
    let n = classes.len();
    let one = if n == 2 { " or 1 output" } else { "" };
    Err(Invalid::new(key, format!("{n} classes need {n} outputs{one}, the network has {outputs}")))
}

fn train_count() -> usize {
    128
}
fn test_count() -> usize {
    512
}
fn steps() -> u64 {
    1000
}
fn log_every() -> u64 {
    10
}
fn checkpoint_every() -> u64 {
    200
}
fn keep() -> usize {
    100
}
