//! `fintan train` and `fintan resume`

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fintan_artifact::{LogLine, RunDir, RunError};
use fintan_config::{ConfigError, Experiment};
use fintan_data::Images;
use fintan_report::grid_png;
use fintan_train::measures::Samples;
use fintan_train::{Ending, Gan, Observer, ObserverError, real_measures};

use crate::args::{Resume, Train, Voice};
use crate::device::{self, Opened};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::voice::{answer, tell};

/// Samples behind `metrics.json`.
const MEASURED: usize = 1024;

/// Trains from the first step.
pub(super) fn train(args: &Train) -> Result<(), Failure> {
    let path = &args.config.path;
    let mut experiment = Experiment::load(path, &args.config.overrides())?;
    // So that a run can be resumed from any folder.
    for named in experiment.settings.data.paths_mut() {
        *named = std::path::absolute(&*named).map_err(Failure::input)?;
    }
    let opened = device::open(args.on.device)?;
    let images = load(&experiment, &args.voice)?;
    let run = match &args.out {
        Some(root) => RunDir::create(root)?,
        None => RunDir::create_numbered(Path::new("runs"), &path.file_stem().unwrap_or_default().to_string_lossy())?,
    };
    let written =
        fs_err::read(path).map_err(|source| ConfigError::Read { path: path.display().to_string(), source })?;
    run.write("config.toml", &written)?;
    run.write("config.resolved.toml", experiment.settings.to_toml().as_bytes())?;
    let gan = Gan::new(&experiment, images.len(), &opened.placement);
    play(gan, &experiment, &images, &run, &opened, &args.voice)
}

/// Goes on with a run.
pub(super) fn resume(args: &Resume) -> Result<(), Failure> {
    let run = RunDir::open(&args.run)?;
    let mut experiment = Experiment::load(&run.resolved_config(), &[])?;
    let step = run.find_checkpoint(args.from)?;
    if let Some(text) = &args.steps {
        let wrong = || Failure::input(format!("--steps must be a number of steps, or +N for N more, got `{text}`"));
        let steps = match text.strip_prefix('+') {
            Some(more) => experiment.settings.train.steps.saturating_add(more.parse().map_err(|_| wrong())?),
            None => text.parse().map_err(|_| wrong())?,
        };
        if steps < step {
            return Err(Failure::input(format!(
                "--steps {text} ends at {steps}, before the checkpoint of step {step}"
            )));
        }
        experiment.settings.train.steps = steps;
    }
    let opened = device::open(args.on.device)?;
    let images = load(&experiment, &args.voice)?;
    let gan = Gan::from_checkpoint(&run.checkpoint(step), &experiment, images.len(), &opened.placement)?;
    run.rewind(step)?;
    run.write("config.resolved.toml", experiment.settings.to_toml().as_bytes())?;
    if gan.step >= experiment.settings.train.steps {
        if !args.voice.quiet {
            tell!("all {step} steps are done already; --steps +N adds more");
        }
        return Ok(());
    }
    play(gan, &experiment, &images, &run, &opened, &args.voice)
}

fn load(experiment: &Experiment, voice: &Voice) -> Result<Images, Failure> {
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

fn play(
    mut gan: Gan,
    experiment: &Experiment,
    images: &Images,
    run: &RunDir,
    opened: &Opened,
    voice: &Voice,
) -> Result<(), Failure> {
    let steps = experiment.settings.train.steps;
    if !voice.quiet {
        let (g, d) = (experiment.generator.parameter_count(), experiment.discriminator.parameter_count());
        tell!("networks  generator {g} parameters, discriminator {d}");
        tell!("device    {}", opened.name);
        tell!("run       {} (steps {} to {steps})", run.root().display(), gan.step + 1);
    }
    let environment = serde_json::json!({
        "program": concat!("fintan ", env!("CARGO_PKG_VERSION")),
        "device": opened.name,
        "threads": device::threads(),
        "system": format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
    });
    run.write("env.json", format!("{environment:#}\n").as_bytes())?;
    let mut recorder = Recorder {
        run,
        keep: experiment.settings.train.keep,
        columns: experiment.settings.train.grid[1],
        progress: Progress::new(voice, gan.step, steps),
        interrupted: on_interrupt()?,
    };
    let ending = gan.train(images, &mut recorder);
    recorder.progress.finish();
    if ending? == Ending::Stopped {
        if !voice.quiet {
            tell!("stopped after step {}; go on with: fintan resume {}", gan.step, run.root().display());
        }
        return Err(Failure::Interrupted);
    }

    let (samples, data) = (gan.samples(MEASURED).measure(), real_measures(images, MEASURED));
    let metrics = serde_json::json!({
        "step": gan.step, "data": data, "samples": samples, "std_ratio": samples.std / data.std.max(1e-12),
        "nyquist_ratio": samples.nyquist / data.nyquist.max(1e-12),
    });
    run.write("metrics.json", format!("{metrics:#}\n").as_bytes())?;
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

/// A flag that Ctrl-C raises; the loop looks at it after each step.
fn on_interrupt() -> Result<Arc<AtomicBool>, Failure> {
    let flag = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&flag);
    ctrlc::set_handler(move || {
        // A second Ctrl-C does not wait for the step to end.
        if raised.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    })
    .map_err(|e| Failure::Failed(miette::miette!("cannot watch for Ctrl-C: {e}")))?;
    Ok(flag)
}

/// Writes a run directory while training goes on.
struct Recorder<'a> {
    run: &'a RunDir,
    keep: usize,
    columns: usize,
    progress: Progress,
    interrupted: Arc<AtomicBool>,
}

impl Observer for Recorder<'_> {
    fn stepped(&mut self, gan: &Gan) {
        self.progress.step(gan.step);
    }

    fn logged(&mut self, line: &LogLine) -> Result<(), ObserverError> {
        self.progress.line(line);
        Ok(self.run.append_log(line)?)
    }

    fn sampled(&mut self, step: u64, samples: &Samples) -> Result<(), ObserverError> {
        let png = grid_png(&samples.values, samples.size, samples.channels, self.columns)?;
        let name = self.run.grid(step);
        Ok(fintan_artifact::write_whole(&name, &png)?)
    }

    fn checkpoint(&mut self, gan: &Gan) -> Result<(), ObserverError> {
        let files = gan.checkpoint_files();
        let written: Result<(), RunError> = self.run.write_checkpoint(gan.step, &files, self.keep);
        Ok(written?)
    }

    fn stop(&mut self) -> bool {
        self.interrupted.load(Ordering::SeqCst)
    }
}
