//! Writes a run directory while training goes on, whatever is trained.

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use fintan::parts::{RunRecorder, machine};
use fintan_artifact::{Event, EventKind, RunDir};
use fintan_metrics::Samples;
use fintan_train::{Ending, Observer, ObserverError, TrainError, Trainee};

use crate::args::Voice;
use crate::device::Opened;
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
        let written = RunRecorder::new(run, start, keep, columns);
        let mut recorder = Recorder { written, progress, interrupted: on_interrupt()? };
        let left = train(&mut recorder);
        recorder.progress.finish();
        let (step, root) = (recorder.written.step(), run.root().display());
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

/// The observer that writes, shows progress and hears Ctrl-C.
pub(super) struct Recorder<'a> {
    written: RunRecorder<'a>,
    progress: Rc<Progress>,
    interrupted: Arc<AtomicBool>,
}

impl Recorder<'_> {
    /// What a person sees, for others who have something to say.
    pub(super) fn progress(&self) -> Rc<Progress> {
        Rc::clone(&self.progress)
    }
}

impl<T: Trainee<Line: Line>> Observer<T> for Recorder<'_> {
    fn stepped(&mut self, trainee: &T) -> Result<(), ObserverError> {
        self.written.stepped(trainee)?;
        self.progress.step(trainee.step());
        Ok(())
    }

    fn logged(&mut self, line: &T::Line) -> Result<(), ObserverError> {
        self.progress.line(line);
        Observer::<T>::logged(&mut self.written, line)
    }

    fn sampled(&mut self, step: u64, samples: &Samples) -> Result<(), ObserverError> {
        Observer::<T>::sampled(&mut self.written, step, samples)
    }

    fn checkpoint(&mut self, trainee: &T) -> Result<(), ObserverError> {
        self.written.checkpoint(trainee)
    }

    fn stop(&mut self) -> bool {
        self.interrupted.load(Ordering::SeqCst)
    }
}
