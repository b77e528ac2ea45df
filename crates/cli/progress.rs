//! Progress of a training for a person: a bar on a terminal, or a line from time to time.

use std::cell::Cell;
use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use fintan_artifact::{Event, LogLine, SupervisedLine, visible};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::args::OutputArgs;
use crate::voice::{answer_json, tell};
use crate::words::{percent, step_times, time_left};

/// A line of a log that can be shown as text.
pub(crate) trait Line: Serialize {
    /// Number of steps done.
    fn step(&self) -> u64;

    /// The other contents of the line.
    fn words(&self) -> String;
}

impl Line for LogLine {
    fn step(&self) -> u64 {
        self.step
    }

    fn words(&self) -> String {
        let Self { d_loss, g_loss, d_real, d_fake, std_ratio, correlation, nyquist_ratio, steps_per_second, .. } = self;
        // The wait for data is shown only if it is long enough to matter.
        let wait = if self.data_wait < 0.05 {
            String::new()
        } else {
            format!(" ({:.0} % waiting for data)", percent(self.data_wait))
        };
        let penalty = self.d_penalty.map_or_else(String::new, |penalty| format!("  penalty {penalty:.2}"));
        format!(
            "{steps_per_second:.1} steps/s{wait}  D {d_loss:.2}{penalty}  G {g_loss:.2}  D(x) {d_real:.2}  D(G(z)) {d_fake:.2}  \
             std {std_ratio:.2}  corr {correlation:.2}  checkerboard {nyquist_ratio:.1}x"
        )
    }
}

impl Line for SupervisedLine {
    fn step(&self) -> u64 {
        self.step
    }

    fn words(&self) -> String {
        let Self { train_loss, test_loss, train_accuracy, test_accuracy, .. } = self;
        let accuracy = match (train_accuracy, test_accuracy) {
            (Some(train), Some(test)) => format!("  right {:.1} % / {:.1} %", percent(*train), percent(*test)),
            _ => String::new(),
        };
        format!("loss train {train_loss:.2e} / test {test_loss:.2e}{accuracy}")
    }
}

/// Shows the progress of a run.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    voice: OutputArgs,
    start: u64,
    steps: u64,
    /// The time of the first step done. The first step compiles kernels, so its duration is not used.
    warm: Cell<Option<Instant>>,
}

impl Progress {
    /// A bar from `start` to `steps`, or lines if stderr is no terminal.
    pub(crate) fn new(voice: &OutputArgs, start: u64, steps: u64) -> Self {
        let bar = (std::io::stderr().is_terminal() && !voice.quiet && !voice.json).then(|| {
            let bar = ProgressBar::new(steps).with_position(start);
            let style = ProgressStyle::with_template("{bar:24} {pos}/{len} ETA {eta} {msg}");
            bar.set_style(style.expect("the template is sound"));
            bar.reset_eta();
            bar
        });
        Self { bar, voice: voice.clone(), start, steps, warm: Cell::new(None) }
    }

    /// Shows that a step is done.
    pub(crate) fn step(&self, step: u64) {
        let done = step - self.start;
        if done == 1 {
            self.warm.set(Some(Instant::now()));
        }
        if let (6, Some(warm), false, false) = (done, self.warm.get(), self.voice.quiet, self.voice.json) {
            let (milliseconds, minutes) = step_times(warm.elapsed(), 5, self.steps - step);
            self.say(&format!("time      about {minutes:.1} min, {milliseconds:.0} ms a step"));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(step);
        }
    }

    /// Shows a line of the log.
    pub(crate) fn line(&self, line: &impl Line) {
        if self.voice.json {
            answer_json(&serde_json::json!({ "event": "step", "line": line }));
            return;
        }
        match &self.bar {
            Some(bar) => bar.set_message(line.words()),
            None if self.voice.quiet => {}
            None => tell!("step {}/{}  {}", line.step(), self.steps, line.words()),
        }
    }

    /// Shows an event of the log.
    pub(crate) fn event(&self, event: &Event) {
        if self.voice.json {
            answer_json(&serde_json::json!(event));
        } else if !self.voice.quiet {
            self.say(&format!("step {}: {}", event.step, event.message));
        }
    }

    /// Shows a line for people, above the bar if there is one.
    fn say(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.println(visible(text));
        } else {
            tell!("{text}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Shows the progress of a piece of work: a bar on a terminal, or lines after two seconds and then at growing intervals. Short
/// work shows no line.
pub(crate) struct Work {
    name: String,
    total: usize,
    bar: Option<ProgressBar>,
    state: Mutex<WorkState>,
    begun: Instant,
}

/// The progress of a piece of work.
struct WorkState {
    /// The numbers of items that were computed, and of items that existed already.
    computed: usize,
    found: usize,
    /// The time since the start at which the next line is due; `None` if no lines are shown.
    due: Option<Duration>,
}

/// The shortest pause between two lines.
const PAUSE: Duration = Duration::from_secs(2);

impl Work {
    pub(crate) fn new(voice: &OutputArgs, name: &str, total: usize) -> Self {
        let shown = !voice.quiet && !voice.json;
        let bar = (shown && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new(total as u64);
            let style = ProgressStyle::with_template("{bar:24} {pos}/{len} ETA {eta} {msg}");
            bar.set_style(style.expect("the template is sound"));
            bar.set_message(visible(name).into_owned());
            bar
        });
        let due = (shown && bar.is_none()).then_some(PAUSE);
        let state = Mutex::new(WorkState { computed: 0, found: 0, due });
        Self { name: name.to_owned(), total, bar, state, begun: Instant::now() }
    }

    /// Adds newly computed items. It can be called from any thread.
    pub(crate) fn tick(&self, more: usize) {
        if let Some(bar) = &self.bar {
            bar.inc(more as u64);
            return;
        }
        let Ok(mut state) = self.state.lock() else { return };
        if let Some(line) = state.tick(more, self.begun.elapsed(), self.total, &self.name) {
            tell!("{line}");
        }
    }

    /// Adds an item that existed already and took no time.
    pub(crate) fn found(&self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
            bar.reset_eta();
        } else if let Ok(mut state) = self.state.lock() {
            state.found += 1;
        }
    }
}

impl WorkState {
    /// The line after `more` items are computed at time `now`, if one is due and work remains.
    fn tick(&mut self, more: usize, now: Duration, total: usize, name: &str) -> Option<String> {
        self.computed += more;
        let done = self.computed + self.found;
        if self.due.is_none_or(|due| now < due) || done >= total {
            return None;
        }
        self.due = Some(now + now.max(PAUSE));
        Some(format!("{done}/{total} {name}, about {} left", time_left(now, self.computed, total - done)))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A sequence of pieces of work, each shown as [`Work`].
pub(crate) struct Works<'a> {
    voice: &'a OutputArgs,
    /// The current piece, and the number of its finished items.
    current: Option<(Work, usize)>,
}

impl<'a> Works<'a> {
    pub(crate) fn new(voice: &'a OutputArgs) -> Self {
        Self { voice, current: None }
    }

    /// Shows the number of finished items of a piece of work. If `done` is 0, the piece begins and the one before has ended.
    pub(crate) fn show(&mut self, name: &str, done: usize, total: usize) {
        if done == 0 {
            self.current = None;
            self.current = Some((Work::new(self.voice, name, total), 0));
        } else if let Some((work, before)) = &mut self.current {
            work.tick(done - *before);
            *before = done;
        }
        if done >= total {
            self.current = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_for_data_is_said_where_it_matters() {
        let words = |data_wait| LogLine { steps_per_second: 12.0, data_wait, ..LogLine::default() }.words();
        assert!(words(0.24).starts_with("12.0 steps/s (24 % waiting for data)  D "), "{}", words(0.24));
        assert!(words(0.01).starts_with("12.0 steps/s  D "), "{}", words(0.01));
    }

    #[test]
    fn lines_tell_the_time_left_of_what_is_computed() {
        let mut state = WorkState { computed: 0, found: 100, due: Some(PAUSE) };
        let said: Vec<String> =
            (1..300).filter_map(|i| state.tick(1, Duration::from_secs(4 * i), 400, "tiles")).collect();
        assert_eq!(said[0], "101/400 tiles, about 20 min left");
        assert_eq!(said[1], "102/400 tiles, about 20 min left");
        assert_eq!(said.len(), 9, "{said:?}");
        assert_eq!(state.tick(1, Duration::from_hours(150), 400, "tiles"), None, "nothing is left");
        let mut slow = WorkState { computed: 0, found: 0, due: Some(PAUSE) };
        let line = slow.tick(1, Duration::from_mins(150), 3, "tiles");
        assert_eq!(line.as_deref(), Some("1/3 tiles, about 5.0 h left"));
    }
}
