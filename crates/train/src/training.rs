//! What every training shares: the loop around its steps, what it tells the outside, and when it stops.

use std::time::Instant;

use burn::tensor::Tensor;
use fintan_metrics::Samples;
use fintan_net::Network;
use fintan_net::weights::Tensors;

use crate::checkpoint::DataFingerprint;
use crate::optimizer::Optimizer;

/// What goes through a loop: a [`Gan`](crate::Gan), or a network with a task ([`Supervised`](crate::Supervised)).
pub trait Trainee {
    /// A line of its log.
    type Line;

    /// Steps done.
    fn step(&self) -> u64;

    /// Samples of the data set seen so far.
    fn seen(&self) -> u64;

    /// What tells its data from others; none before they were seen.
    fn data(&self) -> Option<&DataFingerprint>;

    /// Its networks, in the order in which a step moves them.
    fn parts(&self) -> Vec<Part<'_>>;
}

/// A network in training.
#[derive(Clone)]
pub struct Part<'a> {
    /// What it is called in files and messages.
    pub name: &'static str,
    /// The network.
    pub network: &'a Network,
    /// Its optimiser; an average of weights has none.
    pub optimizer: Option<&'a Optimizer>,
    /// What else its training carries, and what that is called in files.
    pub further: Option<(&'static str, Tensors)>,
}

/// What a loop tells the outside.
///
/// Every method has a default that does nothing: an observer implements what it wants to see.
pub trait Observer<T: Trainee> {
    /// A step is done.
    ///
    /// # Errors
    /// Whatever keeps it from being noted; training stops.
    fn stepped(&mut self, _trainee: &T) -> Result<(), ObserverError> {
        Ok(())
    }

    /// A line for the log.
    ///
    /// # Errors
    /// Whatever keeps it from being written; training stops.
    fn logged(&mut self, _line: &T::Line) -> Result<(), ObserverError> {
        Ok(())
    }

    /// Samples of a GAN's fixed latents.
    ///
    /// # Errors
    /// As [`Observer::logged`].
    fn sampled(&mut self, _step: u64, _samples: &Samples) -> Result<(), ObserverError> {
        Ok(())
    }

    /// Time for a checkpoint; every parameter and moment is finite.
    ///
    /// # Errors
    /// As [`Observer::logged`].
    fn checkpoint(&mut self, _trainee: &T) -> Result<(), ObserverError> {
        Ok(())
    }

    /// Whether to stop after this step.
    fn stop(&mut self) -> bool {
        false
    }
}

/// Several observers, each of which hears everything in turn. Training stops when one of them wants it to.
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

/// Why an observer could not do its part.
pub type ObserverError = Box<dyn std::error::Error + Send + Sync>;

/// Why training stopped early.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A loss or a parameter is not a finite number.
    #[error("step {step}: {what} is not finite; the last checkpoint is from before{}", layer.as_ref().map_or(String::new(), |l| format!(". First at {l}")))]
    NotFinite {
        /// The step.
        step: u64,
        /// The loss, a parameter or a moment.
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

/// How a loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All steps are done.
    Done,
    /// An observer asked to stop.
    Stopped,
}

/// A trainee with its data, while a loop lasts.
pub(crate) trait Session {
    type Trainee: Trainee;

    fn trainee(&self) -> &Self::Trainee;

    /// One step.
    fn advance(&mut self);

    /// A line on the step that is done; `since` is when the loop began or the line before was written.
    fn line(&mut self, since: Instant) -> Result<<Self::Trainee as Trainee>::Line, TrainError>;

    /// Shows samples where this step is to; `last` is the last of all.
    fn show(&self, _last: bool, _observer: &mut dyn Observer<Self::Trainee>) -> Result<(), ObserverError> {
        Ok(())
    }
}

/// When a loop does what.
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

/// Whether a checkpoint would hold finite numbers only.
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

/// An error, unless a loss is a number.
pub(crate) fn check_loss(trainee: &impl Trainee, what: &str, loss: f64) -> Result<(), TrainError> {
    if loss.is_finite() {
        return Ok(());
    }
    let layer = first_not_finite(trainee);
    Err(TrainError::NotFinite { step: trainee.step(), what: what.into(), layer })
}

/// The first parameter that is not finite, in the order in which a step moves them.
fn first_not_finite(trainee: &impl Trainee) -> Option<String> {
    trainee.parts().into_iter().find_map(|Part { name, network, .. }| {
        let parameters = network.parameters().into_iter().zip(network.parameter_names());
        let mut bad = parameters.filter(|(parameter, _)| !is_finite(&parameter.clone().abs().sum()));
        bad.next().map(|(_, parameter)| {
            let index: Option<usize> = parameter.split('.').next().and_then(|i| i.parse().ok());
            let node = network.architecture().flat().into_iter().find(|node| node.index == index);
            let layer = node.map_or("layer", |node| node.layer.name());
            format!("`{parameter}` of the {name} (a {layer})")
        })
    })
}

fn is_finite(sum: &Tensor<1>) -> bool {
    sum.clone().into_scalar::<f32>().is_finite()
}
