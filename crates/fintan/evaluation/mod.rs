//! Metrics of the samples of a checkpoint, compared with the same metrics of the data.

mod error;
mod events;
mod features;
mod measured;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use fintan_artifact::{ClassifierRecord, Evaluation, Metric, MetricBasis, RunDir};
use fintan_config::{Experiment, Held, Subject};
use fintan_data::Images;
use fintan_train::{Halves, real_samples};

pub use self::error::EvaluationError;
use self::error::LEAST;
pub use self::events::EvaluationEvent;
use self::events::{Listener, OnEvent};
use self::features::{Brought, Cache, Extractor, Trained};
use self::measured::{Measured, Sets};
use crate::device::Device;
use crate::error::Error;
use crate::memory::free_memory;
use crate::samples::{BatchNormStatistics, GeneratorError, TrainedGenerator};
use crate::training::{is_of_data, subject_of_run};

/// Default number of images of each set.
const COUNT: usize = 2048;

/// Default number of steps of the classifier's training.
const CLASSIFIER_STEPS: u64 = 500;

/// Options of an evaluation; [`evaluate`] makes them.
///
/// By default all metrics are computed, on 2048 samples of the newest checkpoint, with the seed of the run and the running
/// statistics of batch norms.
///
/// ```
/// let evaluation = fintan::evaluate("nowhere").metrics([fintan::Metric::Std]).count(64).device(fintan::Device::cpu());
/// assert!(matches!(evaluation.run(), Err(fintan::Error::Run(_))));
/// ```
pub struct EvaluationBuilder<'a> {
    root: PathBuf,
    device: Option<Device>,
    metrics: Vec<Metric>,
    count: usize,
    seed: Option<u64>,
    step: Option<u64>,
    statistics: BatchNormStatistics,
    features: Option<PathBuf>,
    overrides: Vec<String>,
    classifier_steps: u64,
    on_event: Box<OnEvent<'a>>,
}

/// Computes metrics of the samples of a GAN and of the images of its data.
///
/// The data are cut in two halves: a reference and a held-out half. Distances are measured from the samples to the reference,
/// and from the held-out half to the reference; the latter shows the score of the data themselves. Features and classes come
/// from a classifier trained on the reference half, which is kept in the folder `.fintan-cache` beside the run. The result is
/// stored in the run's `metrics.json`.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let config = folder.path().join("tiny.toml");
/// fs_err::write(&config, "
///     image = { size = 16, channels = 1 }
///     data.shapes.count = 32
///     generator = { latent = 4, dcgan.channels = 4, optimizer.adam.rate = 1e-3 }
///     discriminator = { dcgan.channels = 4, optimizer.adam.rate = 1e-3 }
///     train = { steps = 1, batch = 4, grid = [2, 2] }
/// ")?;
/// let cpu = fintan::Device::cpu();
/// let run = fintan::train(&config).out(folder.path().join("run")).device(cpu.clone()).run()?;
/// let metrics = [fintan::Metric::Correlation, fintan::Metric::Std];
/// let found = fintan::evaluate(run.root()).metrics(metrics).count(64).device(cpu).run()?;
/// // Half of the data are 16 images, and a correlation is one of two images.
/// assert_eq!((found.count, found.metrics[0].count, found.metrics.len()), (16, 8, 2));
/// assert_eq!(found.metric("std").and_then(|record| record.ratio).map(|ratio| ratio > 0.0), Some(true));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn evaluate<'a>(run: impl AsRef<Path>) -> EvaluationBuilder<'a> {
    EvaluationBuilder {
        root: run.as_ref().into(),
        device: None,
        metrics: Metric::ALL.to_vec(),
        count: COUNT,
        seed: None,
        step: None,
        statistics: BatchNormStatistics::Running,
        features: None,
        overrides: Vec::new(),
        classifier_steps: CLASSIFIER_STEPS,
        on_event: Box::new(|_| ()),
    }
}

impl<'a> EvaluationBuilder<'a> {
    /// Computes these metrics. Records are in the order of [`Metric::ALL`].
    #[must_use]
    pub fn metrics(mut self, metrics: impl IntoIterator<Item = Metric>) -> Self {
        self.metrics = metrics.into_iter().collect();
        self
    }

    /// Uses this number of images of each set (samples, reference, held-out data), or half of the data if that is fewer.
    #[must_use]
    pub fn count(mut self, count: usize) -> Self {
        self.count = count;
        self
    }

    /// Draws latents from this seed.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Evaluates the checkpoint of this step.
    #[must_use]
    pub fn step(mut self, step: u64) -> Self {
        self.step = Some(step);
        self
    }

    /// Uses these statistics in batch norms.
    #[must_use]
    pub fn batch_norm(mut self, statistics: BatchNormStatistics) -> Self {
        self.statistics = statistics;
        self
    }

    /// Computes features with this network instead of a classifier trained on the data. The path is that of a safetensors file
    /// with its description as JSON beside it, as [`export`](crate::export()) writes them. The network takes images in [-1, 1]
    /// and ends with a vector.
    #[must_use]
    pub fn features(mut self, weights: impl AsRef<Path>) -> Self {
        self.features = Some(weights.as_ref().into());
        self
    }

    /// Changes the place of the data: `key=value`, such as `data.idx.labels=train-labels-idx1-ubyte.gz`.
    #[must_use]
    pub fn set(mut self, key_and_value: &str) -> Self {
        self.overrides.push(key_and_value.into());
        self
    }

    /// Trains the classifier for this number of steps.
    #[must_use]
    pub fn classifier_steps(mut self, steps: u64) -> Self {
        self.classifier_steps = steps;
        self
    }

    /// Computes on this device; by default on [`Device::auto`].
    #[must_use]
    pub fn device(mut self, device: Device) -> Self {
        self.device = Some(device);
        self
    }

    /// Calls `on_event` with each event, one at a time, from any thread.
    #[must_use]
    pub fn on_event(mut self, on_event: impl FnMut(EvaluationEvent<'_>) + Send + 'a) -> Self {
        self.on_event = Box::new(on_event);
        self
    }

    /// Reads the run, its generator and the network of features, and checks them.
    ///
    /// # Errors
    /// Fails if the folder is no run of a GAN or has no such checkpoint, if `metrics.json` is damaged, if an override changes
    /// another setting than `data`, or if the network of features does not fit.
    pub fn prepare(mut self) -> Result<PreparedEvaluation<'a>, Error> {
        let run = RunDir::open(&self.root)?;
        if let Some(other) = self.overrides.iter().find(|set| !is_of_data(set)) {
            return Err(EvaluationError::Override(other.clone()).into());
        }
        let device = match self.device.take() {
            Some(device) => device,
            None => Device::auto()?,
        };
        let Subject::Gan(experiment) = subject_of_run(&run, &self.overrides, device.bound(Held::Parameters))? else {
            return Err(GeneratorError::NotAGan(self.root).into());
        };
        run.evaluations()?;
        let generator = TrainedGenerator::of_run(&run, &experiment, self.step, &device)?;
        let output = generator.architecture().output();
        let brought = self.features.take().map(|path| Brought::read(&path, output, &device)).transpose()?;
        Ok(PreparedEvaluation { request: self, run, experiment, generator, brought })
    }

    /// Computes the metrics and stores the result in the run's `metrics.json`.
    ///
    /// # Errors
    /// The errors of [`Self::prepare`] and [`PreparedEvaluation::measure`], and data that cannot be read.
    pub fn run(self) -> Result<Evaluation, Error> {
        let prepared = self.prepare()?;
        let settings = &prepared.experiment.settings;
        let images = Images::load(&settings.data, &settings.image, free_memory())?;
        prepared.measure(&images)
    }
}

/// An evaluation whose run has been read, for programs that load the data themselves; [`EvaluationBuilder::prepare`] makes it.
///
/// ```
/// assert!(fintan::evaluate("nowhere").prepare().is_err());
/// ```
pub struct PreparedEvaluation<'a> {
    request: EvaluationBuilder<'a>,
    run: RunDir,
    experiment: Box<Experiment>,
    generator: TrainedGenerator,
    brought: Option<Brought>,
}

impl PreparedEvaluation<'_> {
    /// The configuration of the run, with the data that the overrides name.
    #[must_use]
    pub fn experiment(&self) -> &Experiment {
        &self.experiment
    }

    /// Computes the metrics against these images and stores the result in the run's `metrics.json`. An earlier result of the
    /// same samples is completed.
    ///
    /// # Errors
    /// Fails if there are fewer than 8 images, the generator overflows, or no metric has a value, or with errors of the file
    /// system.
    pub fn measure(self, images: &Images) -> Result<Evaluation, Error> {
        let Self { request, run, experiment, generator, brought } = self;
        let on_event = Mutex::new(request.on_event);
        let tell = |event: EvaluationEvent<'_>| (on_event.lock().unwrap_or_else(PoisonError::into_inner))(event);
        let listener = Listener(&tell);
        let count = images_of_each(request.count, images)?;
        if count < request.count {
            listener.tell(EvaluationEvent::FewerImages { count, wanted: request.count });
        }
        let seed = request.seed.unwrap_or(generator.seed());
        let halves = Halves::of(images.len());
        let samples = {
            let on_images = |done, total| listener.tell(EvaluationEvent::Work { what: "samples", done, total });
            on_images(0, count);
            generator.samples(count).seed(seed).batch_norm(request.statistics).on_images(on_images).draw()?.images
        };
        if samples.values.iter().any(|v| !v.is_finite()) {
            return Err(EvaluationError::NotFinite.into());
        }
        let [reference, held_out] =
            [&halves.reference, &halves.held_out].map(|half| real_samples(images, &half[..count]));
        let sets = Sets { reference, held_out, samples };
        let wanted = Metric::ALL.iter().copied().filter(|metric| request.metrics.contains(metric)).collect();
        let mut measured = Measured { listener, wanted, records: vec![], classes: vec![], refused: vec![] };
        measured.pixels(&sets);
        let source = Source {
            images,
            halves: &halves,
            classifier_steps: request.classifier_steps,
            device: &generator.device,
            cache: Cache::beside(&request.root, listener),
            how_to_label: experiment.settings.data.how_to_label(),
        };
        let classifier = source.features_and_classes(&sets, brought, &mut measured);
        let Measured { records, classes, refused, .. } = measured;
        if let ([], Some(first)) = (records.as_slice(), refused.first()) {
            let (metric, reason) = (first.metric.clone(), first.reason.clone());
            return Err(EvaluationError::NothingMeasured { metric, reason }.into());
        }
        let evaluation = Evaluation {
            step: generator.step().unwrap_or_default(),
            seed,
            data: images.source.clone(),
            batch_norm: generator.batch_norm(request.statistics).into(),
            device: generator.device.name.clone(),
            count,
            classifier,
            metrics: records,
            classes,
            refused,
        };
        run.add_evaluation(evaluation.clone())?;
        Ok(evaluation)
    }
}

/// The number of images of each set that is compared: at most `wanted`, and at most half of the data.
///
/// # Errors
/// [`EvaluationError::TooFewImages`] if there are fewer than 4.
pub fn images_of_each(wanted: usize, images: &Images) -> Result<usize, Error> {
    let count = wanted.min(Halves::of(images.len()).reference.len());
    if count < LEAST {
        return Err(EvaluationError::TooFewImages { data: images.source.clone(), found: images.len() }.into());
    }
    Ok(count)
}

/// The images and settings from which features and classes are computed.
struct Source<'a> {
    images: &'a Images,
    halves: &'a Halves,
    classifier_steps: u64,
    device: &'a Device,
    cache: Cache<'a>,
    how_to_label: &'static str,
}

impl Source<'_> {
    /// Features and classes of the sets, and the record of the classifier if one was used.
    fn features_and_classes(
        &self,
        sets: &Sets,
        brought: Option<Brought>,
        measured: &mut Measured,
    ) -> Option<ClassifierRecord> {
        let Self { images, halves, device, cache, .. } = self;
        let wants_distances = measured.wants_any(MetricBasis::Features);
        let wants_classes = measured.wants_any(MetricBasis::Classes);
        let halves_of = [&sets.reference, &sets.held_out];
        let mut from_classifier = wants_distances;
        if let (Some(brought), true) = (brought, wants_distances) {
            let extractor = Extractor::Brought(brought);
            let data = extractor.see_data(halves_of, images, device, cache);
            let samples = extractor.see(&sets.samples, device, measured.listener);
            measured.features(&extractor, &data, &samples);
            from_classifier = false;
        }
        if !from_classifier && !wants_classes {
            return None;
        }
        let trained = match Trained::of(images, halves, self.classifier_steps, device, cache) {
            Ok(trained) => trained,
            Err(e) => {
                let hint = if images.labels.is_none() { self.how_to_label } else { "" };
                let stop = if hint.is_empty() { "" } else { "; " };
                let reason = format!("{e}, so no classifier can be trained on it{stop}{hint}");
                for metric in measured.wanted.clone() {
                    let needs_it = match metric.basis() {
                        MetricBasis::Pixels => false,
                        MetricBasis::Features => from_classifier,
                        MetricBasis::Classes => true,
                    };
                    if needs_it {
                        measured.refuse(metric, &reason);
                    }
                }
                return None;
            }
        };
        let (record, labels, shares) =
            (trained.record.clone(), trained.classifier.labels.clone(), trained.classifier.shares.clone());
        let extractor = Extractor::Trained(trained);
        let data = extractor.see_data(halves_of, images, device, cache);
        let samples = extractor.see(&sets.samples, device, measured.listener);
        if from_classifier {
            measured.features(&extractor, &data, &samples);
        }
        if wants_classes {
            let names: Vec<String> = labels.iter().map(|&label| images.class_name(label)).collect();
            let source = extractor.name(record.features);
            measured.modes(&source, &shares, &names, [&data[1].1, &samples.1]);
        }
        Some(record)
    }
}
