//! `fintan train` and `fintan resume`

mod gan;
mod kernel;
mod recorder;
mod resume;
mod supervised;

use std::path::Path;

use fintan::parts::{publish_run, write_task_data};
use fintan_artifact::{Draft, RunDir, RunError, is_free};
use fintan_config::{Experiment, Held, Subject};
use fintan_data::Images;
use fintan_train::{Gan, Supervised};

use super::warn_of_lock;
use crate::args::{Train, Voice};
use crate::device::{self, Opened};
use crate::failure::Failure;
use crate::given::{make_absolute, no_run};

pub(super) use gan::load_images;
pub(super) use resume::resume;
pub(super) use supervised::task_of;

/// Trains from the first step.
pub(super) fn train(args: &Train) -> Result<(), Failure> {
    let path = &args.config.path;
    no_run(path, |run, resolved| {
        format!("`fintan resume {run}` goes on with it, and `fintan train {resolved}` trains its configuration anew")
    })?;
    if let Some(out) = args.out.as_ref()
        && !is_free(out)?
    {
        return Err(RunError::Exists(out.clone()).into());
    }
    let mut subject = Subject::load_within(path, &args.config.overrides(), args.on.device.bound(Held::Training))?;
    make_absolute(&mut subject)?;
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
            let run = begin(args, &subject, &opened, |draft| Ok(write_task_data(&trainee, &data, draft.path())?))?;
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
    let run = publish_run(draft, written, resolved, opened)?;
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
    let run = match found {
        Some(run) => run,
        None => publish(Draft::at(root)?, written, &resolved, opened, voice)?,
    };
    resume::finish(&run, experiment, images, opened, voice)?;
    Ok(run)
}
