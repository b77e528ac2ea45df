//! Estimates before training: regimes and rates of layers, the cost of a step, untrained samples.

use std::ops::Range;
use std::time::Instant;

use fintan_config::{
    Architecture, DataSource, Experiment, Node, Shapes, Subject, SupervisedExperiment, SupervisedTask, Teacher,
};
use fintan_data::{Images, TaskData};
use fintan_metrics::Measures;
use fintan_net::{Mode, Placement};
use fintan_theory::{PieceRegime, regimes};
use fintan_train::{Gan, Purpose, Supervised, rates, sample, stream};

use crate::error::Error;
use crate::memory::free_memory;
use crate::network::{Network, Role};

/// One row of a table of layers: a layer with parameters, or a residual block, which is followed by its layers.
/// [`Network::layer_rows`] makes the rows.
///
/// ```
/// let net = fintan::Network::parse("network = { input = 4, outputs = 1, fc = { widths = [8] } }")?;
/// let rows: Vec<fintan::LayerRow> = net.layer_rows();
/// assert_eq!((rows.len(), rows[0].layer, rows[0].parameters), (2, "dense", 4 * 8 + 8));
/// assert_eq!((rows[0].fan_in, rows[0].rates), (Some(4.0), None));
/// # Ok::<(), fintan::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LayerRow {
    /// The index among layers with parameters; for a residual block, the index of its first layer.
    pub index: usize,
    /// The indices of the layers inside a residual block; `None` for other layers.
    pub block: Option<Range<usize>>,
    /// Whether the layer is inside a residual block.
    pub is_inside: bool,
    /// The kind of layer.
    pub layer: &'static str,
    /// The shape of the output.
    pub output: String,
    /// The number of parameters.
    pub parameters: usize,
    /// The number of inputs of each output (fan-in); `None` for layers without weights.
    pub fan_in: Option<f64>,
    /// The characteristic value r, if it is known.
    pub r: Option<f64>,
    /// Whether a batch norm comes before the layer; r does not take it into account.
    pub behind_batch_norm: bool,
    /// Learning rates of weights and biases, if the network is trained.
    pub rates: Option<[f64; 2]>,
}

/// The cost of training a network; [`Network::training_cost`] measures it.
///
/// ```
/// let net = fintan::Network::parse("
///     network = { input = 4, outputs = 1, fc = { widths = [8] } }
///     data.teacher.degree = 1
///     task.supervised = { goal = 'regression', train = 8, test = 8, steps = 60, optimizer.sgd.rate = 0.1 }
/// ")?;
/// let cost: fintan::TrainingCost = net.training_cost()?.expect("a task");
/// assert!((cost.minutes() - cost.seconds_per_step).abs() < 1e-12);
/// // Weights, their gradients and two moments, and the maps of 8 samples.
/// assert_eq!(cost.memory_bytes, 4 * (4 * (4 * 8 + 8 + 8 + 1) + 8 * (8 + 8 + 1)));
/// # Ok::<(), fintan::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainingCost {
    /// Measured seconds of a step, in proportion to the batch where only a part of it was timed.
    pub seconds_per_step: f64,
    /// Number of samples in the timed batch: fewer than in a batch of the configuration where a step takes seconds.
    pub timed_batch: usize,
    /// Number of samples in a batch of the configuration.
    pub batch: usize,
    /// Counted bytes that a step holds on the device.
    pub memory_bytes: usize,
    /// Number of steps of the training.
    pub steps: u64,
}

/// Multiply-adds of one measurement at most: a fraction of a second on two cores. What is measured is chosen by operations and
/// not by a clock, so that it is the same on every machine.
const MEASURED: f64 = 1e10;

/// Untrained samples of a network at most, where nothing else is asked for.
const SAMPLES: usize = 128;

impl TrainingCost {
    /// Milliseconds of a step.
    #[must_use]
    pub fn milliseconds_per_step(&self) -> f64 {
        1e3 * self.seconds_per_step
    }

    /// Minutes of the training.
    #[must_use]
    pub fn minutes(&self) -> f64 {
        self.seconds_per_step * self.steps as f64 / 60.0
    }

    /// Megabytes that a step holds.
    #[must_use]
    pub fn megabytes(&self) -> f64 {
        self.memory_bytes as f64 / 1e6
    }
}

impl Network {
    /// The layers with parameters, with their regimes at initialisation. If the network is trained, the rows have its learning
    /// rates.
    #[must_use]
    pub fn layer_rows(&self) -> Vec<LayerRow> {
        let architecture = self.architecture();
        let rates = match (self.subject(), self.role()) {
            (Subject::Gan(gan), Role::Discriminator) => {
                let settings = &gan.settings.discriminator;
                Some(rates(architecture, &settings.optimizer, &settings.layer_rates))
            }
            (Subject::Gan(gan), Role::Generator | Role::Network) => {
                let settings = &gan.settings.generator;
                Some(rates(architecture, &settings.optimizer, &settings.layer_rates))
            }
            (Subject::Network(alone), _) => {
                alone.supervised().map(|of| rates(architecture, &of.task.optimizer, &of.task.layer_rates))
            }
        };
        let regimes = regimes(architecture);
        let mut rows = Vec::new();
        for node in &architecture.nodes {
            fill(node, false, &regimes, rates.as_deref(), &mut rows);
        }
        rows
    }

    /// Measures the time of a training step as the configuration describes it, on random data; for a GAN, of both networks. The
    /// result is `None` for a network without a task. The data set is not opened.
    ///
    /// # Errors
    /// Fails if the data cannot be drawn, or a GPU does not hold the tensors of a step.
    pub fn training_cost(&self) -> Result<Option<TrainingCost>, Error> {
        let device = self.device().for_training(self.subject())?;
        match self.subject() {
            Subject::Gan(gan) => cost_of_gan(gan, &device.placement).map(Some),
            Subject::Network(alone) => {
                alone.supervised().map(|experiment| cost_of_task(&experiment, &device.placement)).transpose()
            }
        }
    }

    /// Number of untrained samples of each of `seeds` networks that can be drawn in about a second: 128, or fewer for a large
    /// network.
    ///
    /// ```
    /// let net = fintan::Network::parse("network = { input = 4, outputs = 1, fc = { widths = [8] } }")?;
    /// assert_eq!(net.quick_sample_count(3), 128);
    /// # Ok::<(), fintan::Error>(())
    /// ```
    #[must_use]
    pub fn quick_sample_count(&self, seeds: u64) -> usize {
        let each = forward_operations(self.architecture()) * seeds as f64;
        ((2.0 * MEASURED / each) as usize / 8 * 8).clamp(16, SAMPLES)
    }

    /// Mean measures of the samples of untrained generators, before the output nonlinearity, which would hide the effect of the
    /// layers. `seeds` is the number of networks, with consecutive seeds from that of the configuration; `count` is the number
    /// of samples of each.
    ///
    /// ```
    /// let gan = fintan::Network::parse("
    ///     generator = { latent = 8, dcgan.channels = 4, optimizer.adam.rate = 1e-3 }
    ///     discriminator = { dcgan.channels = 4, optimizer.adam.rate = 1e-3 }
    ///     image = { size = 16, channels = 1 }
    ///     data.shapes.count = 4
    ///     train = { steps = 1, batch = 4 }
    /// ")?;
    /// let measures = gan.untrained_measures(2, 16)?;
    /// assert!(measures.samples == 16 && measures.correlation < 1.0);
    /// # Ok::<(), fintan::Error>(())
    /// ```
    ///
    /// # Errors
    /// Fails if the network is not a generator.
    pub fn untrained_measures(&self, seeds: u64, count: usize) -> Result<Measures, Error> {
        if self.role() != Role::Generator {
            return Err(Error::NoSamples(self.role().name()));
        }
        let placement = &self.device().placement;
        let before = self.architecture().before_output();
        let all: Vec<Measures> = (0..seeds)
            .map(|k| {
                let seed = self.seed() + k;
                let mut weights = stream(seed, Purpose::Generator, 0);
                let network = fintan_net::PlacedNetwork::init(&before, &mut weights, placement);
                sample(&network, seed, count, Mode::Train, &placement.device).measure()
            })
            .collect();
        let mean = |get: fn(&Measures) -> f64| all.iter().map(get).sum::<f64>() / all.len() as f64;
        Ok(Measures {
            samples: count,
            correlation: mean(|m| m.correlation),
            std: mean(|m| m.std),
            nyquist: mean(|m| m.nyquist),
            phase2: mean(|m| m.phase2),
            phase8: mean(|m| m.phase8),
            border: mean(|m| m.border),
        })
    }
}

/// Adds the rows of a layer. The row of a residual block comes before those of its layers.
fn fill(node: &Node, is_inside: bool, regimes: &[PieceRegime], rates: Option<&[f64]>, rows: &mut Vec<LayerRow>) {
    let inner: Vec<&Node> = node.branch.iter().chain(&node.shortcut).collect();
    let mut own = LayerRow {
        index: 0,
        block: None,
        is_inside,
        layer: node.layer.name(),
        output: node.output.to_string(),
        parameters: node.weight_count() + node.bias_count(),
        fan_in: node.fan_in(),
        r: None,
        behind_batch_norm: false,
        rates: None,
    };
    if let Some(index) = node.index {
        let piece = regimes.iter().find(|piece| !piece.is_block && piece.indices.start == index);
        own.index = index;
        own.r = piece.and_then(|piece| piece.r);
        own.behind_batch_norm = piece.is_some_and(|piece| piece.behind_batch_norm);
        own.rates = rates.map(|rates| [rates[2 * index], rates[2 * index + 1]]);
        rows.push(own);
    } else if !inner.is_empty() {
        let mut inside = Vec::new();
        for node in inner {
            fill(node, true, regimes, rates, &mut inside);
        }
        // A norm with parameters may come first in a block, so the block is found by any of its layers.
        if let Some(first) = inside.iter().map(|row| row.index).min() {
            let piece = regimes.iter().find(|piece| piece.is_block && piece.indices.contains(&first));
            let last = inside.iter().map(|row| row.index).max().unwrap_or(first);
            own.index = first;
            own.block = Some(first..last + 1);
            own.parameters = inside.iter().filter(|row| row.block.is_none()).map(|row| row.parameters).sum();
            own.r = piece.and_then(|piece| piece.r);
            own.behind_batch_norm = piece.is_some_and(|piece| piece.behind_batch_norm);
            rows.push(own);
            rows.append(&mut inside);
        }
    }
}

/// Seconds of the second step. The first step also compiles kernels and makes the optimiser's state.
fn time(mut step: impl FnMut()) -> f64 {
    step();
    let start = Instant::now();
    step();
    start.elapsed().as_secs_f64()
}

/// Multiply-adds of a forward pass of one sample.
fn forward_operations(architecture: &Architecture) -> f64 {
    let linear = architecture.flat().into_iter().filter(|node| node.fan_in().is_some());
    linear.map(|node| (node.weight_count() * node.weight_sites()) as f64).sum()
}

/// The part of a batch that is timed, with `operations` a sample; at least `least` samples.
fn timed_part(batch: usize, operations: f64, least: usize) -> usize {
    ((MEASURED / operations.max(1.0)) as usize).max(least).min(batch)
}

fn cost_of_gan(experiment: &Experiment, placement: &Placement) -> Result<TrainingCost, Error> {
    let settings = &experiment.settings;
    let batch = settings.train.batch;
    // The generator forward, back and its weights; the discriminator three times forward, three times back, twice its weights.
    let operations =
        3.0 * forward_operations(&experiment.generator) + 8.0 * forward_operations(&experiment.discriminator);
    let timed_batch = timed_part(batch, operations, 4);
    let mut timed = experiment.clone();
    timed.settings.train.batch = timed_batch;
    let shapes = DataSource::Shapes(Shapes { count: 2 * timed_batch, seed: 0 });
    let images = Images::load(&shapes, &settings.image, None)?;
    let mut gan = Gan::new(&timed, images.len(), placement);
    let seconds = time(|| {
        let outcome = gan.advance(&images);
        // Reading the losses and the last parameter waits for the device.
        let _ = [outcome.d_loss, outcome.g_loss].map(|loss| loss.into_scalar::<f32>());
        let _ = gan.generator.parameters().pop().map(|last| last.sum().into_scalar::<f32>());
    });
    let memory_bytes = bytes(&experiment.generator, batch) + bytes(&experiment.discriminator, 2 * batch);
    let seconds_per_step = seconds * batch as f64 / timed_batch as f64;
    Ok(TrainingCost { seconds_per_step, timed_batch, batch, memory_bytes, steps: settings.train.steps })
}

fn cost_of_task(experiment: &SupervisedExperiment, placement: &Placement) -> Result<TrainingCost, Error> {
    let batch = experiment.task.batch();
    let timed_batch = timed_part(batch, 3.0 * forward_operations(experiment.network), 2);
    let drawn = DataSource::Teacher(Teacher::default());
    let task = SupervisedTask { train: timed_batch, test: 1, batch: None, ..experiment.task.clone() };
    let timed = SupervisedExperiment { task: &task, data: &drawn, ..*experiment };
    let train = TaskData::load(&timed, free_memory())?.train;
    let (device, dtype) = (&placement.device, placement.dtype);
    let (inputs, targets) = (train.batch(0..train.len(), device, dtype), train.targets(device, dtype));
    let mut trainee = Supervised::new(&timed, placement);
    let seconds = time(|| {
        trainee.advance(&inputs, &targets);
        // Reading the last parameter waits for the device.
        let _ = trainee.network.parameters().pop().map(|last| last.sum().into_scalar::<f32>());
    });
    let memory_bytes = bytes(trainee.network.architecture(), batch);
    let seconds_per_step = seconds * batch as f64 / timed_batch as f64;
    Ok(TrainingCost { seconds_per_step, timed_batch, batch, memory_bytes, steps: task.steps })
}

/// Bytes that a training step of a network holds, counted.
fn bytes(architecture: &Architecture, batch: usize) -> usize {
    let nodes = architecture.flat();
    let maps: usize = nodes.iter().map(|node| node.output.len()).sum();
    let patches = nodes.iter().map(|node| match node.fan_in() {
        Some(_) if !node.output.is_vector() => node.weight_count() / node.output.channels.max(1) * node.weight_sites(),
        _ => 0,
    });
    // Weights, gradient and two moments; every map of the tape; the largest patch matrix of one layer.
    4 * (4 * architecture.parameter_count() + batch * (maps + patches.max().unwrap_or(0)))
}
