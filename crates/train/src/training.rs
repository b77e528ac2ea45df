//! The training loop that GANs and supervised training share: steps, observers, and stopping.

use std::time::Instant;

use burn::tensor::Tensor;
use fintan_metrics::Samples;
use fintan_net::PlacedNetwork;
use fintan_net::weights::Tensors;

use crate::checkpoint::DataFingerprint;
use crate::optimizer::Optimizer;

/// An object in training: a [`Gan`](crate::Gan), or a network with a task ([`Supervised`](crate::Supervised)).
///
/// ```
/// # use burn::tensor::{DType, Device};
/// # use fintan_config::Subject;
/// # use fintan_data::TaskData;
/// # use fintan_net::{Lowering, Placement};
/// # let text = "
/// #     network = { input = 4, outputs = 1, fc.widths = [8] }
/// #     data.teacher.degree = 1
/// #     task.supervised = { goal = 'regression', train = 8, test = 16, steps = 20, optimizer.sgd.rate = 0.1 }
/// # ";
/// # let Subject::Network(network) = Subject::parse("toy.toml", text, &[])? else { panic!("not a network") };
/// # let task = network.supervised().expect("a task");
/// # let data = TaskData::load(&task, None)?;
/// # let cpu = Placement { device: Device::flex(), dtype: DType::F32, lowering: Lowering::Host };
/// # let mut trainee = fintan_train::Supervised::new(&task, &cpu);
/// use fintan_train::Trainee as _;
///
/// assert_eq!((trainee.step(), trainee.seen()), (0, 0));
/// assert_eq!(trainee.parts().len(), 1); // one network
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Trainee {
    /// The type of its log lines.
    type Line;

    /// Number of completed steps.
    fn step(&self) -> u64;

    /// Number of samples of the data set seen so far.
    fn seen(&self) -> u64;

    /// The fingerprint of its data; `None` before they have been used.
    fn data(&self) -> Option<&DataFingerprint>;

    /// Its networks, in the order in which a step updates them.
    fn parts(&self) -> Vec<TrainedPart<'_>>;
}

/// A network in training.
///
/// ```
/// # use burn::tensor::{DType, Device};
/// # use fintan_config::Experiment;
/// # use fintan_data::Images;
/// # use fintan_net::{Lowering, Placement};
/// # let text = "
/// #     image = { size = 8, channels = 1 }
/// #     data.shapes.count = 16
/// #     generator = { latent = 4, fc.widths = [8], optimizer.adam.rate = 1e-3 }
/// #     discriminator = { fc.widths = [8], optimizer.adam.rate = 1e-3 }
/// #     train = { steps = 2, batch = 4 }
/// # ";
/// # let experiment = Experiment::parse("toy.toml", text, &[])?;
/// # let images = Images::load(&experiment.settings.data, &experiment.settings.image, None)?;
/// # let cpu = Placement { device: Device::flex(), dtype: DType::F32, lowering: Lowering::Host };
/// # let mut gan = fintan_train::Gan::new(&experiment, images.len(), &cpu);
/// use fintan_train::Trainee as _;
///
/// let names: Vec<&str> = gan.parts().iter().map(|part| part.name).collect();
/// assert_eq!(names, ["discriminator", "generator"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct TrainedPart<'a> {
    /// Its name in files and messages.
    pub name: &'static str,
    /// The network.
    pub network: &'a PlacedNetwork,
    /// Its optimiser; `None` for an average of weights.
    pub optimizer: Option<&'a Optimizer>,
    /// Further state of its training, with its name in files.
    pub further: Option<(&'static str, Tensors)>,
}

/// A callback of the training loop.
///
/// Every method has a default that does nothing: an observer implements the methods that it needs.
///
/// ```
/// # use burn::tensor::{DType, Device};
/// # use fintan_config::Subject;
/// # use fintan_data::TaskData;
/// # use fintan_net::{Lowering, Placement};
/// # let text = "
/// #     network = { input = 4, outputs = 1, fc.widths = [8] }
/// #     data.teacher.degree = 1
/// #     task.supervised = { goal = 'regression', train = 8, test = 16, steps = 20, optimizer.sgd.rate = 0.1 }
/// # ";
/// # let Subject::Network(network) = Subject::parse("toy.toml", text, &[])? else { panic!("not a network") };
/// # let task = network.supervised().expect("a task");
/// # let data = TaskData::load(&task, None)?;
/// # let cpu = Placement { device: Device::flex(), dtype: DType::F32, lowering: Lowering::Host };
/// # let mut trainee = fintan_train::Supervised::new(&task, &cpu);
/// use fintan_train::{Observer, ObserverError, Supervised};
///
/// #[derive(Default)]
/// struct Losses(Vec<f64>);
/// impl Observer<Supervised> for Losses {
///     fn logged(&mut self, line: &fintan_artifact::SupervisedLine) -> Result<(), ObserverError> {
///         self.0.push(line.train_loss);
///         Ok(())
///     }
/// }
/// let mut losses = Losses::default();
/// trainee.train(&data, &mut losses)?;
/// assert!(losses.0[0] > *losses.0.last().expect("a last line"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Observer<T: Trainee> {
    /// Called after a step.
    ///
    /// # Errors
    /// Any failure to record the step; training stops.
    fn stepped(&mut self, _trainee: &T) -> Result<(), ObserverError> {
        Ok(())
    }

    /// Called with a line for the log.
    ///
    /// # Errors
    /// Any failure to write the line; training stops.
    fn logged(&mut self, _line: &T::Line) -> Result<(), ObserverError> {
        Ok(())
    }

    /// Called with samples of a GAN's fixed latents.
    ///
    /// # Errors
    /// Any failure to record the samples; training stops.
    fn sampled(&mut self, _step: u64, _samples: &Samples) -> Result<(), ObserverError> {
        Ok(())
    }

    /// Called when a checkpoint is due; every parameter and moment is finite.
    ///
    /// # Errors
    /// Any failure to write the checkpoint; training stops.
    fn checkpoint(&mut self, _trainee: &T) -> Result<(), ObserverError> {
        Ok(())
    }

    /// Whether training should stop after this step.
    fn stop(&mut self) -> bool {
        false
    }
}

/// Several observers that are called in turn. Training stops if one of them asks for it.
///
/// ```
/// # use burn::tensor::{DType, Device};
/// # use fintan_config::Subject;
/// # use fintan_data::TaskData;
/// # use fintan_net::{Lowering, Placement};
/// # let text = "
/// #     network = { input = 4, outputs = 1, fc.widths = [8] }
/// #     data.teacher.degree = 1
/// #     task.supervised = { goal = 'regression', train = 8, test = 16, steps = 20, optimizer.sgd.rate = 0.1 }
/// # ";
/// # let Subject::Network(network) = Subject::parse("toy.toml", text, &[])? else { panic!("not a network") };
/// # let task = network.supervised().expect("a task");
/// # let data = TaskData::load(&task, None)?;
/// # let cpu = Placement { device: Device::flex(), dtype: DType::F32, lowering: Lowering::Host };
/// # let mut trainee = fintan_train::Supervised::new(&task, &cpu);
/// use fintan_train::{Ending, Observer, Observers, Supervised};
///
/// struct StopAt(u64, u64);
/// impl Observer<Supervised> for StopAt {
///     fn stepped(&mut self, trainee: &Supervised) -> Result<(), fintan_train::ObserverError> {
///         self.1 = trainee.step;
///         Ok(())
///     }
///     fn stop(&mut self) -> bool {
///         self.1 >= self.0
///     }
/// }
/// let ending = trainee.train(&data, &mut Observers(vec![&mut StopAt(5, 0), &mut StopAt(10, 0)]))?;
/// assert_eq!((ending, trainee.step), (Ending::Stopped, 5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Observers<'a, T>(pub Vec<&'a mut dyn Observer<T>>);

impl<T: Trainee> Observer<T> for Observers<'_, T> {
    fn stepped(&mut self, trainee: &T) -> Result<(), ObserverError> {
        self.0.iter_mut().try_for_each(|observer| observer.stepped(trainee))
    }

    fn logged(&mut self, line: &T::Line) -> Result<(), ObserverError> {
        self.0.iter_mut().try_for_each(|observer| observer.logged(line))
    }

    fn sampled(&mut self, step: u64, samples: &Samples) -> Result<(), ObserverError> {
        self.0.iter_mut().try_for_each(|observer| observer.sampled(step, samples))
    }

    fn checkpoint(&mut self, trainee: &T) -> Result<(), ObserverError> {
        self.0.iter_mut().try_for_each(|observer| observer.checkpoint(trainee))
    }

    fn stop(&mut self) -> bool {
        self.0.iter_mut().any(|observer| observer.stop())
    }
}

/// The error of an observer.
pub type ObserverError = Box<dyn std::error::Error + Send + Sync>;

/// The error for a training that stopped early.
///
/// ```
/// use burn::tensor::{DType, Device};
/// use fintan_config::{DataSource, Experiment, Shapes};
/// use fintan_data::{DataError, Images};
/// use fintan_net::{Lowering, Placement};
/// use fintan_train::{Gan, Observers, TrainError};
///
/// let text = "
///     image = { size = 8, channels = 1 }
///     data.shapes.count = 16
///     generator = { latent = 4, fc.widths = [8], optimizer.adam.rate = 1e-3 }
///     discriminator = { fc.widths = [8], optimizer.adam.rate = 1e-3 }
///     train = { steps = 2, batch = 4 }
/// ";
/// let experiment = Experiment::parse("toy.toml", text, &[])?;
/// let few = Images::load(&DataSource::Shapes(Shapes { count: 3, seed: 0 }), &experiment.settings.image, None)?;
/// let cpu = Placement { device: Device::flex(), dtype: DType::F32, lowering: Lowering::Host };
/// let error = Gan::new(&experiment, few.len(), &cpu).train(&few, &mut Observers(Vec::new())).unwrap_err();
/// assert!(matches!(error, TrainError::Data(DataError::TooFew { found: 3, needed: 4 })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A loss or a parameter is not a finite number.
    #[error("step {step}: {what} is not finite; the last checkpoint is from before{}", layer.as_ref().map_or(String::new(), |l| format!(". First at {l}")))]
    NotFinite {
        /// The step.
        step: u64,
        /// The loss, parameter or moment that is not finite.
        what: String,
        /// The first parameter that is not finite.
        layer: Option<String>,
    },
    /// The data set is smaller than a batch.
    #[error(transparent)]
    Data(#[from] fintan_data::DataError),
    /// An observer failed.
    #[error(transparent)]
    Observer(#[from] ObserverError),
}

/// How training ended.
///
/// ```
/// # use burn::tensor::{DType, Device};
/// # use fintan_config::Subject;
/// # use fintan_data::TaskData;
/// # use fintan_net::{Lowering, Placement};
/// # let text = "
/// #     network = { input = 4, outputs = 1, fc.widths = [8] }
/// #     data.teacher.degree = 1
/// #     task.supervised = { goal = 'regression', train = 8, test = 16, steps = 20, optimizer.sgd.rate = 0.1 }
/// # ";
/// # let Subject::Network(network) = Subject::parse("toy.toml", text, &[])? else { panic!("not a network") };
/// # let task = network.supervised().expect("a task");
/// # let data = TaskData::load(&task, None)?;
/// # let cpu = Placement { device: Device::flex(), dtype: DType::F32, lowering: Lowering::Host };
/// # let mut trainee = fintan_train::Supervised::new(&task, &cpu);
/// use fintan_train::{Ending, Observers};
///
/// // Without an observer that stops it, training goes on to the last of 20 steps.
/// assert_eq!(trainee.train(&data, &mut Observers(Vec::new()))?, Ending::Done);
/// assert_eq!(trainee.step, 20);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All steps are completed.
    Done,
    /// An observer asked to stop.
    Stopped,
}

/// A trainee with its data, during training.
pub(crate) trait Session {
    type Trainee: Trainee;

    fn trainee(&self) -> &Self::Trainee;

    /// One step.
    fn advance(&mut self);

    /// The log line for the completed step; `since` is the time of the previous line, or of the start of the loop.
    fn line(&mut self, since: Instant) -> Result<<Self::Trainee as Trainee>::Line, TrainError>;

    /// Passes samples to the observer if they are due at this step; `last` is true at the last step.
    fn show(&self, _last: bool, _observer: &mut dyn Observer<Self::Trainee>) -> Result<(), ObserverError> {
        Ok(())
    }
}

/// The steps at which the loop logs, shows samples and writes checkpoints.
pub(crate) struct Schedule {
    pub(crate) steps: u64,
    pub(crate) log_every: u64,
    pub(crate) checkpoint_every: u64,
}

/// Trains to the last step.
pub(crate) fn run<S: Session>(
    session: &mut S,
    schedule: &Schedule,
    observer: &mut dyn Observer<S::Trainee>,
) -> Result<Ending, TrainError> {
    let mut since = Instant::now();
    while session.trainee().step() < schedule.steps {
        session.advance();
        let step = session.trainee().step();
        let last = step == schedule.steps;
        if last || step.is_multiple_of(schedule.log_every) {
            observer.logged(&session.line(since)?)?;
            since = Instant::now();
        }
        session.show(last, observer)?;
        observer.stepped(session.trainee())?;
        let stop = !last && observer.stop();
        if last || stop || step.is_multiple_of(schedule.checkpoint_every) {
            check_state(session.trainee())?;
            observer.checkpoint(session.trainee())?;
        }
        if stop {
            return Ok(Ending::Stopped);
        }
    }
    Ok(Ending::Done)
}

/// Checks that a checkpoint would contain only finite numbers.
pub(crate) fn check_state(trainee: &impl Trainee) -> Result<(), TrainError> {
    let fail = |what: String, layer| Err(TrainError::NotFinite { step: trainee.step(), what, layer });
    if let Some(layer) = first_not_finite(trainee) {
        return fail("a parameter".into(), Some(layer));
    }
    match trainee.parts().iter().find(|part| part.optimizer.is_some_and(|optimizer| !optimizer.is_finite())) {
        Some(part) => fail(format!("a moment of the {}'s optimiser", part.name), None),
        None => Ok(()),
    }
}

/// Checks that a loss is finite.
pub(crate) fn check_loss(trainee: &impl Trainee, what: &str, loss: f64) -> Result<(), TrainError> {
    if loss.is_finite() {
        return Ok(());
    }
    let layer = first_not_finite(trainee);
    Err(TrainError::NotFinite { step: trainee.step(), what: what.into(), layer })
}

/// The first parameter that is not finite, in the order in which a step updates them.
fn first_not_finite(trainee: &impl Trainee) -> Option<String> {
    trainee.parts().into_iter().find_map(|TrainedPart { name, network, .. }| {
        let sums: Vec<Tensor<1>> = network.parameters().into_iter().map(|parameter| parameter.abs().sum()).collect();
        let mut bad = numbers(sums).into_iter().zip(network.parameter_names()).filter(|(sum, _)| !sum.is_finite());
        bad.next().map(|(_, parameter)| {
            let index: Option<usize> = parameter.split('.').next().and_then(|i| i.parse().ok());
            let node = network.architecture().flat().into_iter().find(|node| node.index == index);
            let layer = node.map_or("layer", |node| node.layer.name());
            format!("`{parameter}` of the {name} (a {layer})")
        })
    })
}

/// The values of tensors with one value each. They are read together, because each reading waits for a GPU to finish its work.
pub(crate) fn numbers(scalars: Vec<Tensor<1>>) -> Vec<f64> {
    if scalars.is_empty() {
        return Vec::new();
    }
    Tensor::cat(scalars, 0).into_data().iter::<f32>().map(f64::from).collect()
}
