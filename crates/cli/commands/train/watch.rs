//! Says when a GAN goes wrong, and stops it where that is wanted.

use std::rc::Rc;

use fintan_artifact::{EventKind, LogLine, RunDir};
use fintan_config::{OnCollapse, Settings};
use fintan_train::{Gan, Health, Observer, ObserverError};

use crate::failure::Failure;
use crate::progress::Progress;

/// The observer that looks at the log as it is written.
pub(super) struct Watch<'a> {
    run: &'a RunDir,
    progress: Rc<Progress>,
    health: Health,
    stops: bool,
    /// Why training is to stop.
    because: Option<String>,
}

impl<'a> Watch<'a> {
    /// Goes on from the lines that are there.
    pub(super) fn new(run: &'a RunDir, settings: &Settings, progress: Rc<Progress>) -> Result<Self, Failure> {
        let mut health = Health::new(settings);
        for line in run.read_log::<LogLine>()? {
            // What begins with these has been said.
            health.look(&line);
        }
        let stops = settings.train.on_collapse == OnCollapse::Stop;
        Ok(Self { run, progress, health, stops, because: None })
    }

    /// Why training was to stop, if it was.
    pub(super) fn because(self) -> Option<String> {
        self.because
    }
}

impl Observer<Gan> for Watch<'_> {
    fn logged(&mut self, line: &LogLine) -> Result<(), ObserverError> {
        for event in self.health.look(line) {
            self.run.append_log(&event)?;
            self.progress.event(&event);
            if self.stops && event.event == EventKind::Collapse && event.begins == Some(true) {
                self.because = Some(event.message);
            }
        }
        Ok(())
    }

    fn stop(&mut self) -> bool {
        self.because.is_some()
    }
}
