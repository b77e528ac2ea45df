//! `fintan train` and `fintan resume`

mod gan;
mod kernel;
mod recorder;
mod supervised;
mod watch;

use std::path::Path;

use fintan_artifact::{Draft, RunDir, RunError, is_free};
use fintan_config::{ConfigError, Experiment, Held, Subject};
use fintan_data::Images;
use fintan_train::{Gan, Supervised};

use super::warn_of_lock;
use crate::args::{Resume, Train, Voice};
use crate::device::{self, Opened};
use crate::failure::Failure;
use crate::voice::tell;

pub(super) use gan::load_images;
pub(super) use supervised::task_of;

/// Trains from the first step.
pub(super) fn train(args: &Train) -> Result<(), Failure> {
    let path = &args.config.path;
    if let Some(out) = args.out.as_ref()
        && !is_free(out)?
    {
        return Err(RunError::Exists(out.clone()).into());
    }
    let mut subject = Subject::load_within(path, &args.config.overrides(), args.on.device.bound(Held::Training))?;
    // So that a run can be resumed from any folder.
    for named in subject.paths_mut() {
        *named = std::path::absolute(&*named).map_err(Failure::input)?;
    }
    let opened = device::open(args.on.device)?;
    match &subject {
        Subject::Gan(experiment) => {
            let images = gan::load_images(experiment, &args.voice)?;
            let gan = Gan::new(experiment, images.len(), &opened.placement);
            gan::check(&gan, experiment, &images, &opened)?;
            let run = begin(args, &subject, &opened, |_| Ok(()))?;
            gan::play(gan, experiment, &images, &run, &opened, &args.voice)
        }
        Subject::Network(network) => {
            let experiment = task_of(network, &path.display().to_string())?;
            let data = supervised::load(&experiment, &args.voice)?;
            let trainee = Supervised::new(&experiment, &opened.placement);
            supervised::check(&trainee, network.settings.observe.ntk, &data, &opened)?;
            let run = begin(args, &subject, &opened, |draft| supervised::write_data(&trainee, &data, draft))?;
            supervised::play(trainee, &experiment, network.settings.observe.ntk, &data, &run, &opened, &args.voice)
        }
    }
}

/// A new run directory with its configuration and what `fill` adds. Whatever can be refused has been refused before.
fn begin(
    args: &Train,
    subject: &Subject,
    opened: &Opened,
    fill: impl FnOnce(&Draft) -> Result<(), Failure>,
) -> Result<RunDir, Failure> {
    let path = &args.config.path;
    let draft = match &args.out {
        Some(root) => Draft::at(root)?,
        None => Draft::numbered(Path::new("runs"), &path.file_stem().unwrap_or_default().to_string_lossy())?,
    };
    fill(&draft)?;
    publish(draft, path, &subject.to_toml(), opened, &args.voice)
}

/// A run directory with what every training has from its beginning.
fn publish(draft: Draft, written: &Path, resolved: &str, opened: &Opened, voice: &Voice) -> Result<RunDir, Failure> {
    draft.write("config.toml", &read_config(written)?)?;
    draft.write("config.resolved.toml", resolved.as_bytes())?;
    draft.write("env.json", format!("{:#}\n", recorder::environment(opened)).as_bytes())?;
    let run = draft.publish_run()?;
    warn_of_lock(run.lock_warning(), voice);
    Ok(run)
}

/// What can be refused about the training of a GAN is refused before anything is written.
pub(super) fn check(experiment: &Experiment, images: &Images, opened: &Opened) -> Result<(), Failure> {
    gan::check(&Gan::new(experiment, images.len(), &opened.placement), experiment, images, opened)
}

/// Brings the GAN of `root` to its last step: from the start where there is nothing, from its newest checkpoint where it
/// stopped. A run that is done is left as it is. What is there must be of this very configuration, and this process must
/// have it for itself. The run that is given back is locked.
pub(super) fn complete(
    root: &Path,
    found: Option<RunDir>,
    written: &Path,
    experiment: &Experiment,
    images: &Images,
    opened: &Opened,
    voice: &Voice,
) -> Result<RunDir, Failure> {
    let resolved = experiment.settings.to_toml();
    let steps = experiment.settings.train.steps;
    let run = match found {
        Some(run) => run,
        None => publish(Draft::at(root)?, written, &resolved, opened, voice)?,
    };
    let step = run.checkpoints()?.last().copied();
    let gan = match step {
        Some(step) if step >= steps && run.metrics().is_file() => return Ok(run),
        Some(step) => Gan::from_checkpoint(&run.checkpoint(step), experiment, images.len(), &opened.placement)?,
        None => Gan::new(experiment, images.len(), &opened.placement),
    };
    run.rewind(step.unwrap_or(0))?;
    gan::fit(gan, experiment, images, &run, opened, voice)?;
    Ok(run)
}

fn read_config(path: &Path) -> Result<Vec<u8>, ConfigError> {
    fs_err::read(path).map_err(|source| ConfigError::Read { path: path.display().to_string(), source })
}

/// Goes on with a run.
pub(super) fn resume(args: &Resume) -> Result<(), Failure> {
    let run = RunDir::open_locked(&args.run)?;
    warn_of_lock(run.lock_warning(), &args.voice);
    let mut subject = Subject::load_within(&run.resolved_config(), &[], args.on.device.bound(Held::Training))?;
    let step = run.find_checkpoint(args.from)?;
    let last = match (subject.steps_mut(), &args.steps) {
        (Some(steps), Some(text)) => {
            *steps = wanted_steps(text, step, *steps)?;
            *steps
        }
        (steps, _) => steps.map_or(step, |steps| *steps),
    };
    let opened = device::open(args.on.device)?;
    let folder = run.checkpoint(step);
    // The checkpoint is read before anything of the run is changed.
    let rewind = || -> Result<bool, Failure> {
        run.rewind(step)?;
        run.write("config.resolved.toml", subject.to_toml().as_bytes())?;
        if step >= last && !args.voice.quiet {
            tell!("all {step} steps are done already; --steps +N adds more");
        }
        Ok(step < last)
    };
    match &subject {
        Subject::Gan(experiment) => {
            let images = gan::load_images(experiment, &args.voice)?;
            let gan = Gan::from_checkpoint(&folder, experiment, images.len(), &opened.placement)?;
            if rewind()? { gan::play(gan, experiment, &images, &run, &opened, &args.voice) } else { Ok(()) }
        }
        Subject::Network(network) => {
            let experiment = task_of(network, &args.run.display().to_string())?;
            let data = supervised::load(&experiment, &args.voice)?;
            let trainee = Supervised::from_checkpoint(&folder, &experiment, &opened.placement)?;
            if rewind()? {
                supervised::play(trainee, &experiment, network.settings.observe.ntk, &data, &run, &opened, &args.voice)
            } else {
                Ok(())
            }
        }
    }
}

/// The last step that `--steps` asks for, of a run at `step` that was meant to have `planned`.
fn wanted_steps(text: &str, step: u64, planned: u64) -> Result<u64, Failure> {
    let wrong = || Failure::input(format!("--steps must be a number of steps, or +N for N more, got `{text}`"));
    let steps = match text.strip_prefix('+') {
        Some(more) => planned.saturating_add(more.parse().map_err(|_| wrong())?),
        None => text.parse().map_err(|_| wrong())?,
    };
    if steps < step {
        return Err(Failure::input(format!("--steps {text} ends at {steps}, before the checkpoint of step {step}")));
    }
    Ok(steps)
}
