//! The messages of a training, during and after it.

use std::cell::{Cell, RefCell};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use fintan::parts::TrainingCallbacks;
use fintan::{Run, TrainingEvent, TrainingOutcome};
use serde_json::json;

use crate::args::OutputArgs;
use crate::commands::settings_of_run::say_edit;
use crate::commands::warn_of_lock;
use crate::progress::Progress;
use crate::voice::{answer, answer_json, tell};
use crate::words::percent;

/// Whether Ctrl-C was pressed, for all loops of the program.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Whether Ctrl-C was pressed.
pub(super) fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Installs a handler for Ctrl-C. The first Ctrl-C stops a loop after its step; the second ends the program at once.
fn watch_interrupts() {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        let watched = ctrlc::set_handler(|| {
            if INTERRUPTED.swap(true, Ordering::SeqCst) {
                std::process::exit(130);
            }
        });
        if let Err(e) = watched {
            tell!("warning   cannot watch for Ctrl-C: {e}");
        }
    });
}

/// Shows the events of a training.
pub(super) struct Told<'a> {
    voice: &'a OutputArgs,
    progress: RefCell<Option<Progress>>,
    outcome: Cell<Option<TrainingOutcome>>,
}

impl<'a> Told<'a> {
    pub(super) fn new(voice: &'a OutputArgs) -> Self {
        Self { voice, progress: RefCell::new(None), outcome: Cell::new(None) }
    }

    pub(super) fn callbacks(&self) -> TrainingCallbacks<'_> {
        TrainingCallbacks::new(|event| self.tell(&event), is_interrupted)
    }

    pub(super) fn tell(&self, event: &TrainingEvent) {
        let say = |text: String| {
            if !self.voice.quiet {
                tell!("{text}");
            }
        };
        let show = |what: &dyn Fn(&Progress)| self.progress.borrow().iter().for_each(what);
        match *event {
            TrainingEvent::LockWarning(warning) => warn_of_lock(Some(warning), self.voice),
            TrainingEvent::Edited(edit) => say_edit(edit),
            TrainingEvent::Images { source, count, size, channels, remarks } => {
                let kind = if channels == 1 { "grey" } else { "RGB" };
                say(format!("data      {source}: {count} images, {size}x{size} {kind}"));
                remarks.iter().map(|remark| format!("          {remark}")).for_each(say);
            }
            TrainingEvent::Samples { source, train, test, classes, remarks } => {
                let labels: Vec<String> = classes.iter().map(u8::to_string).collect();
                let classes =
                    if labels.is_empty() { String::new() } else { format!(", classes {}", labels.join(", ")) };
                say(format!("data      {source}: {train} to train, {test} to test{classes}"));
                remarks.iter().map(|remark| format!("          {remark}")).for_each(say);
            }
            TrainingEvent::DeviceNote(note) => say(format!("device    {note}")),
            TrainingEvent::NoFingerprint(step) => say(format!(
                "          the checkpoint of step {step} has no fingerprint of its data: they may be others"
            )),
            TrainingEvent::AlreadyDone(step) => {
                say(format!("all {step} steps are done already; --steps +N adds more"));
            }
            TrainingEvent::Begun { run, device, parameters, from, to } => {
                say(match parameters {
                    [(_, generator), (_, discriminator)] => {
                        format!("networks  generator {generator} parameters, discriminator {discriminator}")
                    }
                    networks => format!("network   {} parameters", networks.iter().map(|(_, n)| n).sum::<usize>()),
                });
                say(format!("device    {device}"));
                let steps = if from < to {
                    format!("steps {} to {to}", from + 1)
                } else {
                    format!("all {to} steps are done; what is missing at its end is made")
                };
                say(format!("run       {} ({steps})", run.display()));
                watch_interrupts();
                self.progress.replace(Some(Progress::new(self.voice, from, to)));
            }
            TrainingEvent::Step(step) => show(&|progress| progress.step(step)),
            TrainingEvent::GanLine(line) => show(&|progress| progress.line(line)),
            TrainingEvent::TaskLine(line) => show(&|progress| progress.line(line)),
            TrainingEvent::Health(event) | TrainingEvent::Kernel(_, event) => show(&|progress| progress.event(event)),
            TrainingEvent::Stopped { run, step } => {
                self.progress.take();
                say(format!("stopped after step {step}; go on with: fintan resume {}", run.display()));
            }
            TrainingEvent::Finished(outcome) => {
                self.progress.take();
                self.outcome.set(Some(outcome.clone()));
            }
            _ => {}
        }
    }

    /// Prints the result of a training, unless the run was complete before.
    pub(super) fn answer(&self, run: &Run) {
        let Some(outcome) = self.outcome.take() else { return };
        let root = run.root().display();
        if self.voice.json {
            let mut done = json!({ "event": "done", "run": root.to_string() });
            if let TrainingOutcome::Gan(outcome) = &outcome {
                done["grid"] = run.grid(outcome.step).display().to_string().into();
            }
            done["metrics"] = outcome.summary().into();
            answer_json(&done);
            return;
        }
        match outcome {
            TrainingOutcome::Gan(outcome) => {
                answer!(
                    "correlation between samples {:.2} (data {:.2}), std {:.2} of the data's, checkerboard {:.1}x the data's",
                    outcome.samples.correlation,
                    outcome.data.correlation,
                    outcome.std_ratio(),
                    outcome.nyquist_ratio()
                );
                answer!("{}", run.grid(outcome.step).display());
            }
            TrainingOutcome::Task(outcome) => {
                for (name, score) in [("train", outcome.train), ("test", outcome.test)] {
                    let right = score.accuracy.map_or(String::new(), |a| format!(", {:.1} % right", percent(a)));
                    answer!("{name:5}  loss {:.3e}{right}", score.loss);
                }
                answer!("{root}");
            }
        }
    }
}
