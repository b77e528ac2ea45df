//! Training of a GAN.

use burn::tensor::Tensor;
use fintan_artifact::{LogLine, RunDir, write_whole};
use fintan_config::{Experiment, ObserveNtk};
use fintan_data::Images;
use fintan_metrics::Measures;
use fintan_report::grid_png;
use fintan_train::{Gan, Observers, Purpose, latents, real_measures, stream};

use super::kernel::{Kernels, check_probe, kept};
use super::recorder::{Begun, Left};
use super::watch::Watch;
use crate::args::Voice;
use crate::device::Opened;
use crate::failure::Failure;
use crate::voice::{answer, answer_json, tell};

/// Samples behind `metrics.json`.
const MEASURED: usize = 1024;

pub(crate) fn load_images(experiment: &Experiment, voice: &Voice) -> Result<Images, Failure> {
    let images = Images::load(&experiment.settings.data, &experiment.settings.image, crate::memory::free())?;
    if !voice.quiet {
        let size = images.size;
        let kind = if images.channels == 1 { "grey" } else { "RGB" };
        tell!("data      {}: {} images, {size}x{size} {kind}", images.source, images.len());
        for remark in images.remarks() {
            tell!("          {remark}");
        }
    }
    Ok(images)
}

/// What can be refused about a training is refused before anything is written.
pub(super) fn check(gan: &Gan, experiment: &Experiment, images: &Images, opened: &Opened) -> Result<(), Failure> {
    gan.check_batch(images.len())?;
    match probe(experiment, opened) {
        Some((_, probe)) => check_probe(gan.sampler(), &probe),
        None => Ok(()),
    }
}

/// What kernels are measured on beside training, where that is wanted.
fn probe(experiment: &Experiment, opened: &Opened) -> Option<(ObserveNtk, Tensor<4>)> {
    let wanted = experiment.settings.observe.ntk?;
    let (seed, latent) = (experiment.settings.seed, experiment.settings.generator.latent);
    let mut rng = stream(seed, Purpose::Probe, 0);
    Some((wanted, latents(&mut rng, wanted.samples, latent, &opened.placement.device)))
}

/// Refuses what the run keeps beside its checkpoints and cannot be read, before the run is changed.
pub(super) fn check_kept(run: &RunDir, experiment: &Experiment, opened: &Opened) -> Result<(), Failure> {
    run.read_log::<LogLine>()?;
    match probe(experiment, opened) {
        Some((wanted, probe)) => kept(run, wanted, &probe).map(drop),
        None => Ok(()),
    }
}

/// Trains to the end, writes `metrics.json` and says what came out.
pub(super) fn play(
    gan: Gan,
    experiment: &Experiment,
    images: &Images,
    run: &RunDir,
    opened: &Opened,
    voice: &Voice,
) -> Result<(), Failure> {
    let outcome = fit(gan, experiment, images, run, opened, voice)?;
    let grid = run.grid(outcome.step);
    if voice.json {
        let metrics = serde_json::Value::Object(outcome.summary());
        answer_json(
            &serde_json::json!({ "event": "done", "run": run.root().display().to_string(), "grid": grid.display().to_string(), "metrics": metrics }),
        );
        return Ok(());
    }
    let Outcome { data, samples, .. } = &outcome;
    answer!(
        "correlation between samples {:.2} (data {:.2}), std {:.2} of the data's, checkerboard {:.1}x the data's",
        samples.correlation,
        data.correlation,
        outcome.std_ratio(),
        outcome.nyquist_ratio()
    );
    answer!("{}", grid.display());
    Ok(())
}

/// Whether everything is there that training leaves at its last step.
pub(super) fn is_finished(run: &RunDir, last: u64) -> Result<bool, Failure> {
    Ok(run.summary_step()? == Some(last) && run.grid(last).is_file())
}

/// What a trained generator shows, beside the data.
pub(super) struct Outcome {
    step: u64,
    data: Measures,
    samples: Measures,
}

impl Outcome {
    fn std_ratio(&self) -> f64 {
        self.samples.std / self.data.std.max(1e-12)
    }

    fn nyquist_ratio(&self) -> f64 {
        self.samples.nyquist / self.data.nyquist.max(1e-12)
    }

    fn summary(&self) -> serde_json::Map<String, serde_json::Value> {
        let summary = serde_json::json!({
            "step": self.step, "data": self.data, "samples": self.samples, "std_ratio": self.std_ratio(),
            "nyquist_ratio": self.nyquist_ratio(),
        });
        summary.as_object().cloned().unwrap_or_default()
    }
}

/// Trains to the end and writes `metrics.json`; of a run that is at its end, what is missing there.
pub(super) fn fit(
    mut gan: Gan,
    experiment: &Experiment,
    images: &Images,
    run: &RunDir,
    opened: &Opened,
    voice: &Voice,
) -> Result<Outcome, Failure> {
    if !voice.quiet {
        let (g, d) = (experiment.generator.parameter_count(), experiment.discriminator.parameter_count());
        tell!("networks  generator {g} parameters, discriminator {d}");
    }
    let train = &experiment.settings.train;
    let (steps, keep, columns) = (train.steps, train.keep, train.grid[1]);
    let begun = Begun { run, opened, voice, start: gan.step, steps, keep, columns };
    begun.record(|recorder| {
        let mut watch = Watch::new(run, &experiment.settings, recorder.progress())?;
        let kernels = probe(experiment, opened)
            .map(|(wanted, probe)| Kernels::new(run, wanted, probe, Gan::sampler, &gan, recorder.progress()));
        let mut kernels = kernels.transpose()?;
        let mut observers = Observers(vec![recorder, &mut watch]);
        if let Some(kernels) = &mut kernels {
            observers.0.push(kernels);
        }
        let ending = gan.train(images, &mut observers).map_err(|e| begun.failed(e))?;
        Ok(watch.because().map_or(Left::By(ending), Left::Because))
    })?;

    // Where the checkpoint of the last step was there already, and was not meant to be the last.
    let grid = run.grid(gan.step);
    if !grid.is_file() {
        let [rows, columns] = train.grid;
        let samples = gan.samples(rows * columns);
        write_whole(&grid, &grid_png(&samples.values, samples.size, samples.channels, columns)?)?;
    }
    let (samples, data) = (gan.samples(MEASURED).measure(), real_measures(images, MEASURED));
    let outcome = Outcome { step: gan.step, data, samples };
    run.write_summary(outcome.summary())?;
    Ok(outcome)
}
