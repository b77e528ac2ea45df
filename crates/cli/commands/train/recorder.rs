//! Writes a run directory while training goes on, whatever is trained.

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use fintan_artifact::{Event, EventKind, RunDir};
use fintan_metrics::Samples;
use fintan_report::grid_png;
use fintan_train::{Ending, Observer, ObserverError, TrainError, Trainee, checkpoint_files};

use crate::args::Voice;
use crate::device::{self, Opened};
use crate::failure::Failure;
use crate::progress::{Line, Progress};
use crate::voice::tell;

/// How a loop was left.
pub(super) enum Left {
    /// All steps are done, or Ctrl-C was pressed.
    By(Ending),
    /// Something that was watched for came about.
    Because(String),
}

/// A run that is about to train.
pub(super) struct Begun<'a> {
    pub run: &'a RunDir,
    pub opened: &'a Opened,
    pub voice: &'a Voice,
    /// The step it starts from, and its last.
    pub start: u64,
    pub steps: u64,
    /// Checkpoints to keep.
    pub keep: usize,
    /// Images in a row of a grid.
    pub columns: usize,
}

impl Begun<'_> {
    /// Trains to the last step, to an interrupt, or to what was watched for.
    pub(super) fn record(&self, train: impl FnOnce(&mut Recorder) -> Result<Left, Failure>) -> Result<(), Failure> {
        let &Self { run, opened, voice, start, steps, keep, columns } = self;
        if !voice.quiet {
            tell!("device    {}", opened.name);
            if start < steps {
                tell!("run       {} (steps {} to {steps})", run.root().display(), start + 1);
            } else {
                tell!(
                    "run       {} (all {steps} steps are done; what is missing at its end is made)",
                    run.root().display()
                );
            }
        }
        let mut environment = run.environment()?;
        environment.machine = machine(opened);
        run.write_environment(&environment)?;
        let progress = Rc::new(Progress::new(voice, start, steps));
        let mut recorder = Recorder { run, keep, columns, progress, interrupted: on_interrupt()?, step: start };
        let left = train(&mut recorder);
        recorder.progress.finish();
        let (step, root) = (recorder.step, run.root().display());
        match left? {
            Left::By(Ending::Done) => Ok(()),
            Left::By(Ending::Stopped) => {
                if !voice.quiet {
                    tell!("stopped after step {step}; go on with: fintan resume {root}");
                }
                Err(Failure::Interrupted)
            }
            Left::Because(message) => Err(Failure::Failed(miette::miette!(
                help = "everything is saved: `fintan resume {root}` goes on all the same",
                "stopped after step {step}: {message}"
            ))),
        }
    }

    /// Notes why training failed, where its log can say it.
    pub(super) fn failed(&self, e: TrainError) -> Failure {
        if let TrainError::NotFinite { step, .. } = &e {
            let (step, event) = (*step, EventKind::NotFinite);
            let event = Event { step, event, begins: None, message: e.to_string(), seconds: None };
            // The error is the news; that it could not be logged is not.
            let _ = self.run.append_log(&event);
        }
        e.into()
    }
}

/// What the numbers of a run may depend on beside its configuration.
pub(super) fn machine(opened: &Opened) -> serde_json::Map<String, serde_json::Value> {
    let system = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
    [
        ("program", concat!("fintan ", env!("CARGO_PKG_VERSION")).into()),
        ("device", opened.name.as_str().into()),
        ("threads", device::threads().into()),
        ("system", system.into()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

/// A flag that Ctrl-C raises; the loop looks at it after each step. One for all loops of a command.
fn on_interrupt() -> Result<Arc<AtomicBool>, Failure> {
    static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    if let Some(flag) = FLAG.get() {
        return Ok(Arc::clone(flag));
    }
    let flag = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&flag);
    ctrlc::set_handler(move || {
        // A second Ctrl-C does not wait for the step to end.
        if raised.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    })
    .map_err(|e| Failure::Failed(miette::miette!("cannot watch for Ctrl-C: {e}")))?;
    Ok(Arc::clone(FLAG.get_or_init(|| flag)))
}

/// The observer that writes.
pub(super) struct Recorder<'a> {
    run: &'a RunDir,
    keep: usize,
    columns: usize,
    progress: Rc<Progress>,
    interrupted: Arc<AtomicBool>,
    step: u64,
}

impl Recorder<'_> {
    /// What a person sees, for others who have something to say.
    pub(super) fn progress(&self) -> Rc<Progress> {
        Rc::clone(&self.progress)
    }
}

impl<T: Trainee<Line: Line>> Observer<T> for Recorder<'_> {
    fn stepped(&mut self, trainee: &T) -> Result<(), ObserverError> {
        self.step = trainee.step();
        self.progress.step(self.step);
        Ok(())
    }

    fn logged(&mut self, line: &T::Line) -> Result<(), ObserverError> {
        self.progress.line(line);
        Ok(self.run.append_log(line)?)
    }

    fn sampled(&mut self, step: u64, samples: &Samples) -> Result<(), ObserverError> {
        let png = grid_png(&samples.values, samples.size, samples.channels, self.columns)?;
        let name = self.run.grid(step);
        Ok(fintan_artifact::write_whole(&name, &png)?)
    }

    fn checkpoint(&mut self, trainee: &T) -> Result<(), ObserverError> {
        self.run.sync_logs()?;
        Ok(self.run.write_checkpoint(trainee.step(), &checkpoint_files(trainee), self.keep)?)
    }

    fn stop(&mut self) -> bool {
        self.interrupted.load(Ordering::SeqCst)
    }
}
