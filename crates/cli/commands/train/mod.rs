//! `fintan train` and `fintan resume`

mod told;

use std::path::Path;

use fintan::{Device, Run, StepTarget};
use fintan_artifact::RunDir;
use fintan_config::Experiment;
use fintan_data::Images;

use self::told::{Told, is_interrupted};
use crate::args::{OutputArgs, Resume, Train};
use crate::failure::Failure;
use crate::given::no_run;

pub(super) use fintan::parts::check_gan as check;

/// Trains from the first step.
pub(super) fn train(args: &Train) -> Result<(), Failure> {
    no_run(&args.config.path, |run, resolved| {
        format!("`fintan resume {run}` goes on with it, and `fintan train {resolved}` trains its configuration anew")
    })?;
    let told = Told::new(&args.voice);
    let mut training = fintan::train(&args.config.path)
        .choose_device(args.on.device)
        .on_event(|event| told.tell(&event))
        .stop_when(is_interrupted);
    for set in args.config.overrides() {
        training = training.set(&set);
    }
    if let Some(out) = &args.out {
        training = training.out(out);
    }
    told.answer(&training.run()?);
    Ok(())
}

/// Continues a run.
pub(super) fn resume(args: &Resume) -> Result<(), Failure> {
    let told = Told::new(&args.voice);
    let mut resume = Run::open(&args.run)?
        .resume()
        .choose_device(args.on.device)
        .on_event(|event| told.tell(&event))
        .stop_when(is_interrupted);
    if let Some(text) = &args.steps {
        resume = resume.steps(wanted_steps(text)?);
    }
    if let Some(step) = args.from {
        resume = resume.from(step);
    }
    for set in &args.set {
        resume = resume.set(set);
    }
    if args.data_changed {
        resume = resume.accept_changed_data();
    }
    told.answer(&resume.run()?);
    Ok(())
}

/// The last step according to `--steps`.
fn wanted_steps(text: &str) -> Result<StepTarget, Failure> {
    let wrong = |_| Failure::input(format!("--steps must be a number of steps, or +N for N more, got `{text}`"));
    match text.strip_prefix('+') {
        Some(more) => Ok(StepTarget::More(more.parse().map_err(wrong)?)),
        None => Ok(StepTarget::At(text.parse().map_err(wrong)?)),
    }
}

/// Reads the images of a GAN and prints a description.
pub(super) fn load_images(experiment: &Experiment, voice: &OutputArgs) -> Result<Images, Failure> {
    Ok(fintan::parts::load_images(experiment, &Told::new(voice).callbacks())?)
}

/// Trains the GAN of `root` to its last step with [`fintan::parts::complete_gan`].
pub(super) fn complete(
    root: &Path,
    found: Option<RunDir>,
    written: &Path,
    experiment: &Experiment,
    images: &Images,
    opened: &Device,
    voice: &OutputArgs,
) -> Result<RunDir, Failure> {
    let told = Told::new(voice);
    let callbacks = told.callbacks();
    Ok(fintan::parts::complete_gan(root, found, written, experiment, images, opened, &callbacks)?)
}
