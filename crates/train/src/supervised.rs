//! Supervised training of one network: its step and its log lines.

use std::time::Instant;

use burn::tensor::{Int, Tensor, TensorData};
use fintan_artifact::SupervisedLine;
use fintan_config::SupervisedExperiment;
use fintan_data::{Examples, Order, TaskData};
use fintan_net::{Mode, PlacedNetwork, Placement};

use crate::checkpoint::DataFingerprint;
use crate::optimizer::{Optimizer, rates};
use crate::task_loss::{Score, cotangent, score};
use crate::training::{
    Ending, Observer, Schedule, Session, TrainError, TrainedPart, Trainee, check_loss, check_state, run,
};
use fintan_data::{Purpose, stream};

/// Number of samples in one forward pass when the network is only evaluated.
const CHUNK: usize = 1024;

/// A network with a task, and all state that training carries from step to step.
///
/// With full batches and SGD this is gradient descent, `θ ← θ - η ∂C/∂θ`; k steps correspond to the time `t = η k` of
/// gradient flow.
///
/// ```
/// use burn::tensor::{DType, Device};
/// use fintan_config::Subject;
/// use fintan_data::TaskData;
/// use fintan_net::{Lowering, Placement};
/// use fintan_train::{Observers, Supervised};
///
/// let text = "
///     network = { input = 4, outputs = 1, fc.widths = [8] }
///     data.teacher.degree = 1
///     task.supervised = { goal = 'regression', train = 8, test = 16, steps = 20, optimizer.sgd.rate = 0.1 }
/// ";
/// let Subject::Network(network) = Subject::parse("toy.toml", text, &[])? else { panic!("not a network") };
/// let task = network.supervised().expect("a task");
/// let data = TaskData::load(&task, None)?;
/// let cpu = Placement { device: Device::flex(), dtype: DType::F32, lowering: Lowering::Host };
/// let mut trainee = Supervised::new(&task, &cpu);
/// let before = trainee.score(&data.train).loss;
/// trainee.train(&data, &mut Observers(Vec::new()))?;
/// assert!(trainee.step == 20 && trainee.score(&data.train).loss < before);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Supervised {
    /// The network.
    pub network: PlacedNetwork,
    pub(crate) optimizer: Optimizer,
    pub(crate) order: Order,
    /// The fingerprint of the training samples: from the checkpoint, or, if it has none, from the data given to
    /// [`Supervised::train`].
    pub data: Option<DataFingerprint>,
    /// Number of completed steps.
    pub step: u64,
    /// Whether the log line and the checkpoint of step 0 exist.
    pub(crate) begun: bool,
    task: fintan_config::SupervisedTask,
    placement: Placement,
}

impl Trainee for Supervised {
    type Line = SupervisedLine;

    fn step(&self) -> u64 {
        self.step
    }

    fn seen(&self) -> u64 {
        self.order.seen()
    }

    fn data(&self) -> Option<&DataFingerprint> {
        self.data.as_ref()
    }

    fn parts(&self) -> Vec<TrainedPart<'_>> {
        vec![TrainedPart { name: "network", network: &self.network, optimizer: Some(&self.optimizer), further: None }]
    }
}

impl Supervised {
    /// The network drawn from the experiment's seed, before the first step; `fintan ntk CONFIG` uses the same network.
    #[must_use]
    pub fn new(experiment: &SupervisedExperiment, placement: &Placement) -> Self {
        let SupervisedExperiment { seed, network, task, .. } = *experiment;
        Self {
            network: PlacedNetwork::init(network, &mut stream(seed, Purpose::Generator, 0), placement),
            optimizer: Optimizer::new(&task.optimizer, rates(network, &task.optimizer, &task.layer_rates)),
            order: Order::new(seed, task.train, 0),
            data: None,
            step: 0,
            begun: false,
            task: task.clone(),
            placement: placement.clone(),
        }
    }

    /// Present outputs of the network, `[count, outputs]` row-major; batch norms use their running averages.
    #[must_use]
    pub fn outputs(&self, examples: &Examples) -> Vec<f32> {
        let mut outputs = Vec::with_capacity(examples.targets.len());
        let mut from = 0;
        while from < examples.len() {
            let to = examples.len().min(from + CHUNK);
            let x = examples.batch(from..to, &self.placement.device, self.placement.dtype);
            outputs.extend(self.network.forward(x, Mode::Eval).0.into_data().iter::<f32>());
            from = to;
        }
        outputs
    }

    /// Present loss and accuracy of the network.
    #[must_use]
    pub fn score(&self, examples: &Examples) -> Score {
        score(&self.outputs(examples), &examples.targets, examples.outputs, self.task.goal, self.task.loss)
    }

    /// Trains to the task's last step. Before the first step it logs a line and requests a checkpoint, from which
    /// predictions start.
    ///
    /// # Errors
    /// A loss that is not finite, or an observer that fails.
    pub fn train(&mut self, data: &TaskData, observer: &mut dyn Observer<Self>) -> Result<Ending, TrainError> {
        let fintan_config::SupervisedTask { steps, log_every, checkpoint_every, .. } = self.task;
        self.data.get_or_insert_with(|| DataFingerprint::of_task(data));
        let (start, begun) = (Instant::now(), std::mem::replace(&mut self.begun, true));
        let mut lesson = Lesson::new(self, data);
        if !begun {
            observer.logged(&lesson.line(start)?)?;
            check_state(lesson.trainee)?;
            observer.checkpoint(lesson.trainee)?;
        }
        run(&mut lesson, &Schedule { steps, log_every, checkpoint_every }, observer)
    }

    /// One step on the next batch; `inputs` and `targets` contain all training samples, on the device.
    ///
    /// # Panics
    /// If their number differs from that in the task.
    pub fn advance(&mut self, inputs: &Tensor<4>, targets: &Tensor<4>) {
        let indices = self.order.take(self.task.batch());
        let (x, y) = if indices.len() == self.task.train {
            // The gradient over all samples does not depend on their order.
            (inputs.clone(), targets.clone())
        } else {
            let rows: Vec<i64> = indices.into_iter().map(|i| i as i64).collect();
            let n = rows.len();
            let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [n]), &self.placement.device);
            (inputs.clone().select(0, rows.clone()), targets.clone().select(0, rows))
        };
        let (outputs, tape) = self.network.forward(x, Mode::Train);
        let gradients = self.network.pullback_parameters(&tape, cotangent(outputs, y, self.task.loss));
        let factor = self.task.schedule.factor(self.step);
        let parameters = self.optimizer.step(self.network.parameters(), gradients, factor);
        self.network = self.network.with_parameters(parameters).absorb_statistics(&tape);
        self.step += 1;
    }
}

/// A network with its samples on the device, during training.
struct Lesson<'a> {
    trainee: &'a mut Supervised,
    data: &'a TaskData,
    inputs: Tensor<4>,
    targets: Tensor<4>,
}

impl<'a> Lesson<'a> {
    fn new(trainee: &'a mut Supervised, data: &'a TaskData) -> Self {
        let (train, Placement { device, dtype, .. }) = (&data.train, &trainee.placement);
        Self {
            inputs: train.batch(0..train.len(), device, *dtype),
            targets: train.targets(device, *dtype),
            trainee,
            data,
        }
    }
}

impl Session for Lesson<'_> {
    type Trainee = Supervised;

    fn trainee(&self) -> &Supervised {
        self.trainee
    }

    fn advance(&mut self) {
        self.trainee.advance(&self.inputs, &self.targets);
    }

    fn line(&mut self, since: Instant) -> Result<SupervisedLine, TrainError> {
        let (train, test) = (self.trainee.score(&self.data.train), self.trainee.score(&self.data.test));
        check_loss(self.trainee, "the training loss", train.loss)?;
        check_loss(self.trainee, "the test loss", test.loss)?;
        Ok(SupervisedLine {
            step: self.trainee.step,
            train_loss: train.loss,
            test_loss: test.loss,
            train_accuracy: train.accuracy,
            test_accuracy: test.accuracy,
            seconds: since.elapsed().as_secs_f64(),
        })
    }
}
