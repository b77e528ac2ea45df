//! Training of a GAN.

use burn::tensor::Tensor;
use fintan::parts::{GanOutcome, HealthWatch};
use fintan_artifact::{LogLine, RunDir};
use fintan_config::{Experiment, ObserveNtk};
use fintan_data::Images;
use fintan_train::{Gan, Observers, Purpose, latents, stream};

use super::kernel::{Kernels, check_probe, kept};
use super::recorder::{Begun, Left};
use crate::args::Voice;
use crate::device::Opened;
use crate::failure::Failure;
use crate::voice::{answer, answer_json, tell};

pub(crate) fn load_images(experiment: &Experiment, voice: &Voice) -> Result<Images, Failure> {
    let images = Images::load(&experiment.settings.data, &experiment.settings.image, fintan::free_memory())?;
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
    let GanOutcome { data, samples, .. } = &outcome;
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

/// Trains to the end and writes `metrics.json`; of a run that is at its end, what is missing there.
pub(super) fn fit(
    mut gan: Gan,
    experiment: &Experiment,
    images: &Images,
    run: &RunDir,
    opened: &Opened,
    voice: &Voice,
) -> Result<GanOutcome, Failure> {
    if !voice.quiet {
        let (g, d) = (experiment.generator.parameter_count(), experiment.discriminator.parameter_count());
        tell!("networks  generator {g} parameters, discriminator {d}");
    }
    let train = &experiment.settings.train;
    let (steps, keep, columns) = (train.steps, train.keep, train.grid[1]);
    let begun = Begun { run, opened, voice, start: gan.step, steps, keep, columns };
    begun.record(|recorder| {
        let mut watch = {
            let progress = recorder.progress();
            HealthWatch::new(run, &experiment.settings, move |event| progress.event(event))?
        };
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
    Ok(GanOutcome::write(&gan, experiment, images, run)?)
}
