//! `fintan train` and `fintan resume`

mod gan;
mod kernel;
mod recorder;
mod resume;
mod supervised;
mod watch;

use std::path::Path;

use fintan_artifact::RunDir;
use fintan_config::{ConfigError, Experiment, Subject};
use fintan_data::Images;
use fintan_train::{Gan, Supervised};

use crate::args::{Train, Voice};
use crate::device::{self, Opened};
use crate::failure::Failure;

pub(super) use gan::load_images;
pub(super) use resume::resume;
pub(super) use supervised::task_of;

/// Trains from the first step.
pub(super) fn train(args: &Train) -> Result<(), Failure> {
    let path = &args.config.path;
    let mut subject = Subject::load(path, &args.config.overrides())?;
    // So that a run can be resumed from any folder.
    for named in subject.paths_mut() {
        *named = std::path::absolute(&*named).map_err(Failure::input)?;
    }
    let opened = device::open(args.on.device)?;
    match &subject {
        Subject::Gan(experiment) => {
            let images = gan::load_images(experiment, &args.voice)?;
            let run = begin(args, &subject)?;
            let gan = Gan::new(experiment, images.len(), &opened.placement);
            gan::play(gan, experiment, &images, &run, &opened, &args.voice)
        }
        Subject::Network(network) => {
            let experiment = task_of(network, &path.display().to_string())?;
            let data = supervised::load(&experiment, &args.voice)?;
            let run = begin(args, &subject)?;
            let trainee = Supervised::new(&experiment, &opened.placement);
            supervised::play(trainee, &experiment, network.settings.observe.ntk, &data, &run, &opened, &args.voice)
        }
    }
}

/// A new run directory with its configuration.
fn begin(args: &Train, subject: &Subject) -> Result<RunDir, Failure> {
    let path = &args.config.path;
    let run = match &args.out {
        Some(root) => RunDir::create(root)?,
        None => RunDir::create_numbered(Path::new("runs"), &path.file_stem().unwrap_or_default().to_string_lossy())?,
    };
    run.write("config.toml", &read_config(path)?)?;
    run.write("config.resolved.toml", subject.to_toml().as_bytes())?;
    Ok(run)
}

/// Brings the GAN of `root` to its last step: from the start where there is nothing, from its newest checkpoint where it
/// stopped. A run that is done is left as it is. What is there must be of this very configuration.
pub(super) fn complete(
    root: &Path,
    written: &Path,
    experiment: &Experiment,
    images: &Images,
    opened: &Opened,
    voice: &Voice,
) -> Result<(), Failure> {
    let resolved = experiment.settings.to_toml();
    let run = if root.join("config.resolved.toml").is_file() {
        RunDir::open(root)?
    } else {
        let run = RunDir::create(root)?;
        run.write("config.resolved.toml", resolved.as_bytes())?;
        run
    };
    // Second, so that a kill between the two leaves a run that goes on.
    if !root.join("config.toml").is_file() {
        run.write("config.toml", &read_config(written)?)?;
    }
    resume::finish(&run, experiment, images, opened, voice)
}

fn read_config(path: &Path) -> Result<Vec<u8>, ConfigError> {
    fs_err::read(path).map_err(|source| ConfigError::Read { path: path.display().to_string(), source })
}
