//! Training of a GAN.

use fintan_artifact::RunDir;
use fintan_config::Experiment;
use fintan_data::Images;
use fintan_train::{Gan, Observers, Purpose, latents, real_measures, stream};

use super::kernel::Kernels;
use super::recorder::{Begun, Left};
use super::watch::Watch;
use crate::args::Voice;
use crate::device::Opened;
use crate::failure::Failure;
use crate::voice::{answer, tell};

/// Samples behind `metrics.json`.
const MEASURED: usize = 1024;

pub(crate) fn load_images(experiment: &Experiment, voice: &Voice) -> Result<Images, Failure> {
    let images = Images::load(&experiment.settings.data, &experiment.settings.image)?;
    if !voice.quiet {
        let size = images.size;
        let kind = if images.channels == 1 { "grey" } else { "RGB" };
        tell!("data      {}: {} images, {size}x{size} {kind}", images.source, images.len());
        if let Some((path, why)) = images.unreadable.first() {
            let n = images.unreadable.len();
            tell!("          {n} file(s) could not be read and are left out; the first: `{}`: {why}", path.display());
        }
    }
    Ok(images)
}

/// Trains to the end and writes `metrics.json`.
pub(super) fn play(
    mut gan: Gan,
    experiment: &Experiment,
    images: &Images,
    run: &RunDir,
    opened: &Opened,
    voice: &Voice,
) -> Result<(), Failure> {
    if !voice.quiet {
        let (g, d) = (experiment.generator.parameter_count(), experiment.discriminator.parameter_count());
        tell!("networks  generator {g} parameters, discriminator {d}");
    }
    let train = &experiment.settings.train;
    let (steps, keep, columns) = (train.steps, train.keep, train.grid[1]);
    let begun = Begun { run, opened, voice, start: gan.step, steps, keep, columns };
    begun.record(|recorder| {
        let mut watch = Watch::new(run, &experiment.settings, recorder.progress())?;
        let mut kernels = match experiment.settings.observe.ntk {
            Some(wanted) => {
                let (seed, latent) = (experiment.settings.seed, experiment.settings.generator.latent);
                let mut rng = stream(seed, Purpose::Probe, 0);
                let probe = latents(&mut rng, wanted.samples, latent, &opened.placement.device);
                Some(Kernels::new(run, wanted, probe, Gan::sampler, &gan, recorder.progress())?)
            }
            None => None,
        };
        let mut observers = Observers(vec![recorder, &mut watch]);
        if let Some(kernels) = &mut kernels {
            observers.0.push(kernels);
        }
        let ending = gan.train(images, &mut observers).map_err(|e| begun.failed(e))?;
        Ok(watch.because().map_or(Left::By(ending), Left::Because))
    })?;

    let (samples, data) = (gan.samples(MEASURED).measure(), real_measures(images, MEASURED));
    let metrics = serde_json::json!({
        "step": gan.step, "data": data, "samples": samples, "std_ratio": samples.std / data.std.max(1e-12),
        "nyquist_ratio": samples.nyquist / data.nyquist.max(1e-12),
    });
    run.write_summary(metrics.as_object().cloned().unwrap_or_default())?;
    let grid = run.grid(gan.step);
    if voice.json {
        answer!("{}", serde_json::json!({ "event": "done", "run": run.root(), "grid": grid, "metrics": metrics }));
        return Ok(());
    }
    answer!(
        "correlation between samples {:.2} (data {:.2}), std {:.2} of the data's, checkerboard {:.1}x the data's",
        samples.correlation,
        data.correlation,
        samples.std / data.std.max(1e-12),
        samples.nyquist / data.nyquist.max(1e-12)
    );
    answer!("{}", grid.display());
    Ok(())
}
