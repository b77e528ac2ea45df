//! Training of a GAN.

use fintan_artifact::RunDir;
use fintan_config::Experiment;
use fintan_data::Images;
use fintan_train::{Gan, real_measures};

use super::recorder::Begun;
use crate::args::Voice;
use crate::device::Opened;
use crate::failure::Failure;
use crate::voice::{answer, tell};

/// Samples behind `metrics.json`.
const MEASURED: usize = 1024;

pub(crate) fn load_images(experiment: &Experiment, voice: &Voice) -> Result<Images, Failure> {
    let images = Images::load(&experiment.settings.data, &experiment.settings.image)?;
    if !voice.quiet {
        tell!("data      {}: {} images", images.source, images.len());
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
    begun.record(|recorder| gan.train(images, recorder))?;

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
