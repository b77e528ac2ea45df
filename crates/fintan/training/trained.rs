//! The differences between the training of a GAN and of a network with a task.

use std::path::Path;

use burn::tensor::Tensor;
use fintan_artifact::{LogLine, RunDir, RunError, SupervisedLine};
use fintan_config::{Experiment, ObserveNtk, SupervisedExperiment};
use fintan_data::{Images, TaskData};
use fintan_net::{PlacedNetwork, Placement};
use fintan_train::{
    CheckpointError, DataFingerprint, Ending, Gan, Observer, Observers, Purpose, Supervised, Trainee, latents, stream,
};
use serde::Serialize;

use super::events::{TrainingCallbacks, TrainingEvent, TrainingOutcome};
use super::record::{GanOutcome, HealthWatch, TaskOutcome, task_data_file, write_task_data};
use crate::error::Error;

/// How the training loop ended.
pub(super) enum Left {
    /// All steps are done, or the caller stopped the loop.
    By(Ending),
    /// The loop stopped because a watched condition was met.
    Because(String),
}

/// The number of steps of a training, and what it keeps.
pub(super) struct Extent {
    /// The last step.
    pub(super) steps: u64,
    /// The number of checkpoints to keep.
    pub(super) keep: usize,
    /// The number of images in a row of a grid.
    pub(super) columns: usize,
}

/// Converts a line of a log to an event.
pub(super) trait Logged: Serialize {
    fn event(&self) -> TrainingEvent<'_>;
}

impl Logged for LogLine {
    fn event(&self) -> TrainingEvent<'_> {
        TrainingEvent::GanLine(self)
    }
}

impl Logged for SupervisedLine {
    fn event(&self) -> TrainingEvent<'_> {
        TrainingEvent::TaskLine(self)
    }
}

/// The differences between the training of a GAN and of a network with a task.
pub(super) trait Trained {
    type Trainee: Trainee<Line: Logged>;

    /// The name of the items that are counted: `images` or `samples`.
    const COUNTED: &'static str;

    fn extent(&self) -> Extent;

    /// The names of the networks and their numbers of parameters.
    fn parameters(&self) -> Vec<(&'static str, usize)>;

    fn fingerprint(&self) -> DataFingerprint;

    /// The networks before the first step.
    fn drawn(&self, placement: &Placement) -> Self::Trainee;

    /// The networks of a checkpoint. The data have been checked or accepted before.
    fn restored(
        &self,
        checkpoint: &Path,
        data: DataFingerprint,
        placement: &Placement,
    ) -> Result<Self::Trainee, CheckpointError>;

    /// Checks that the network can be trained on these data.
    fn check(&self, trainee: &Self::Trainee) -> Result<(), Error>;

    /// Reads the files beside a checkpoint that training needs, to check them.
    fn check_kept(&self, run: &RunDir) -> Result<(), RunError>;

    /// The probe set for kernels during training, if they are requested.
    fn probe(&self, placement: &Placement) -> Option<(ObserveNtk, Tensor<4>)>;

    /// The network whose kernel is measured. In a GAN it is the generator that draws samples.
    fn observed(trainee: &Self::Trainee) -> &PlacedNetwork;

    /// Whether the files exist that a run has before its first step.
    fn has_start(&self, root: &Path) -> bool;

    fn write_start(&self, drawn: &Self::Trainee, root: &Path) -> Result<(), RunError>;

    fn train(
        &self,
        trainee: &mut Self::Trainee,
        run: &RunDir,
        callbacks: &TrainingCallbacks,
        observer: &mut dyn Observer<Self::Trainee>,
    ) -> Result<Left, Error>;

    /// Writes the final files of a training.
    fn write_end(&self, trainee: &Self::Trainee, run: &RunDir) -> Result<TrainingOutcome, Error>;

    /// Whether the final files other than `metrics.json` exist.
    fn has_end(&self, run: &RunDir, last: u64) -> bool;
}

/// A GAN and its images.
pub(super) struct TrainedGan<'a> {
    pub(super) experiment: &'a Experiment,
    pub(super) images: &'a Images,
}

impl Trained for TrainedGan<'_> {
    type Trainee = Gan;

    const COUNTED: &'static str = "images";

    fn extent(&self) -> Extent {
        let train = &self.experiment.settings.train;
        Extent { steps: train.steps, keep: train.keep, columns: train.grid[1] }
    }

    fn parameters(&self) -> Vec<(&'static str, usize)> {
        let Experiment { generator, discriminator, .. } = self.experiment;
        vec![("generator", generator.parameter_count()), ("discriminator", discriminator.parameter_count())]
    }

    fn fingerprint(&self) -> DataFingerprint {
        DataFingerprint::of_images(self.images)
    }

    fn drawn(&self, placement: &Placement) -> Gan {
        Gan::new(self.experiment, self.images.len(), placement)
    }

    fn restored(
        &self,
        checkpoint: &Path,
        data: DataFingerprint,
        placement: &Placement,
    ) -> Result<Gan, CheckpointError> {
        let mut gan = Gan::from_checkpoint(checkpoint, self.experiment, self.images.len(), placement)?;
        gan.data = Some(data);
        Ok(gan)
    }

    fn check(&self, gan: &Gan) -> Result<(), Error> {
        Ok(gan.check_batch(self.images.len())?)
    }

    fn check_kept(&self, run: &RunDir) -> Result<(), RunError> {
        run.read_log::<LogLine>().map(drop)
    }

    fn probe(&self, placement: &Placement) -> Option<(ObserveNtk, Tensor<4>)> {
        let settings = &self.experiment.settings;
        let wanted = settings.observe.ntk?;
        let mut rng = stream(settings.seed, Purpose::Probe, 0);
        Some((wanted, latents(&mut rng, wanted.samples, settings.generator.latent, &placement.device)))
    }

    fn observed(gan: &Gan) -> &PlacedNetwork {
        gan.sampler()
    }

    fn has_start(&self, _root: &Path) -> bool {
        true
    }

    fn write_start(&self, _drawn: &Gan, _root: &Path) -> Result<(), RunError> {
        Ok(())
    }

    fn train(
        &self,
        gan: &mut Gan,
        run: &RunDir,
        callbacks: &TrainingCallbacks,
        observer: &mut dyn Observer<Gan>,
    ) -> Result<Left, Error> {
        let mut watch = HealthWatch::new(run, &self.experiment.settings, callbacks)?;
        let ending = gan.train(self.images, &mut Observers(vec![observer, &mut watch]))?;
        Ok(watch.because.map_or(Left::By(ending), Left::Because))
    }

    fn write_end(&self, gan: &Gan, run: &RunDir) -> Result<TrainingOutcome, Error> {
        Ok(TrainingOutcome::Gan(GanOutcome::write(gan, self.experiment, self.images, run)?))
    }

    fn has_end(&self, run: &RunDir, last: u64) -> bool {
        run.grid(last).is_file()
    }
}

/// A network, its task and its samples.
pub(super) struct TrainedNetwork<'a> {
    pub(super) experiment: SupervisedExperiment<'a>,
    pub(super) observed: Option<ObserveNtk>,
    pub(super) data: &'a TaskData,
}

impl Trained for TrainedNetwork<'_> {
    type Trainee = Supervised;

    const COUNTED: &'static str = "samples";

    fn extent(&self) -> Extent {
        Extent { steps: self.experiment.task.steps, keep: self.experiment.task.keep, columns: 1 }
    }

    fn parameters(&self) -> Vec<(&'static str, usize)> {
        vec![("network", self.experiment.network.parameter_count())]
    }

    fn fingerprint(&self) -> DataFingerprint {
        DataFingerprint::of_task(self.data)
    }

    fn drawn(&self, placement: &Placement) -> Supervised {
        Supervised::new(&self.experiment, placement)
    }

    fn restored(
        &self,
        checkpoint: &Path,
        data: DataFingerprint,
        placement: &Placement,
    ) -> Result<Supervised, CheckpointError> {
        let mut trainee = Supervised::from_checkpoint(checkpoint, &self.experiment, placement)?;
        trainee.data = Some(data);
        Ok(trainee)
    }

    fn check(&self, _trainee: &Supervised) -> Result<(), Error> {
        Ok(())
    }

    fn check_kept(&self, _run: &RunDir) -> Result<(), RunError> {
        Ok(())
    }

    fn probe(&self, placement: &Placement) -> Option<(ObserveNtk, Tensor<4>)> {
        let wanted = self.observed?;
        Some((wanted, self.data.train.batch(0..wanted.samples, &placement.device, placement.dtype)))
    }

    fn observed(trainee: &Supervised) -> &PlacedNetwork {
        &trainee.network
    }

    fn has_start(&self, root: &Path) -> bool {
        task_data_file(root).is_file()
    }

    fn write_start(&self, drawn: &Supervised, root: &Path) -> Result<(), RunError> {
        write_task_data(drawn, self.data, root)
    }

    fn train(
        &self,
        trainee: &mut Supervised,
        _run: &RunDir,
        _callbacks: &TrainingCallbacks,
        observer: &mut dyn Observer<Supervised>,
    ) -> Result<Left, Error> {
        Ok(Left::By(trainee.train(self.data, observer)?))
    }

    fn write_end(&self, trainee: &Supervised, run: &RunDir) -> Result<TrainingOutcome, Error> {
        Ok(TrainingOutcome::Task(TaskOutcome::write(trainee, self.data, run)?))
    }

    fn has_end(&self, run: &RunDir, _last: u64) -> bool {
        self.has_start(run.root())
    }
}
