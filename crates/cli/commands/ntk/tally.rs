//! Progress over tiles, with the time left: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::args::Voice;
use crate::voice::tell;

/// Time between lines off a terminal.
const PAUSE: Duration = Duration::from_secs(10);

pub(super) struct Tally {
    shown: Shown,
    start: Instant,
}

enum Shown {
    Nothing,
    Bar(ProgressBar),
    Lines(Lines),
}

impl Tally {
    pub(super) fn new(count: usize, voice: &Voice) -> Self {
        let shown = if voice.quiet || voice.json {
            Shown::Nothing
        } else if std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template("{bar:30} tile {pos}/{len}, ETA {eta}");
            Shown::Bar(ProgressBar::new(count as u64).with_style(style.expect("a sound template")))
        } else {
            Shown::Lines(Lines { count, ..Lines::default() })
        };
        Self { shown, start: Instant::now() }
    }

    /// A tile is done: a new one, or one that was found on the disk.
    pub(super) fn tick(&mut self, new: bool) {
        match &mut self.shown {
            Shown::Nothing => {}
            Shown::Bar(bar) if new => bar.inc(1),
            Shown::Bar(bar) => {
                bar.inc(1);
                // What was found took no time.
                bar.reset_eta();
            }
            Shown::Lines(lines) => {
                if let Some(line) = lines.tick(new, self.start.elapsed()) {
                    tell!("{line}");
                }
            }
        }
    }
}

/// What is said off a terminal.
#[derive(Default)]
struct Lines {
    count: usize,
    done: usize,
    new: usize,
    /// When the last line was said.
    said: Duration,
}

impl Lines {
    /// The line for a tile that is done at `now`, if one is due and something is left to do.
    fn tick(&mut self, new: bool, now: Duration) -> Option<String> {
        self.done += 1;
        self.new += usize::from(new);
        if now.saturating_sub(self.said) < PAUSE || self.new == 0 || self.done >= self.count {
            return None;
        }
        self.said = now;
        let left = now.mul_f64((self.count - self.done) as f64 / self.new as f64).as_secs_f64();
        let left = match left {
            seconds if seconds < 60.0 => format!("{seconds:.0} s"),
            seconds if seconds < 3600.0 => format!("{:.0} min", seconds / 60.0),
            seconds => format!("{:.1} h", seconds / 3600.0),
        };
        Some(format!("tile {}/{}, about {left} left", self.done, self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_every_ten_seconds_tells_the_time_left() {
        let mut lines = Lines { count: 400, ..Lines::default() };
        // Found on the disk, in no time.
        assert!((0..100).all(|_| lines.tick(false, Duration::from_secs(1)).is_none()));
        let said: Vec<String> = (1..300).filter_map(|i| lines.tick(true, Duration::from_secs(4 * i))).collect();
        assert_eq!(said[0], "tile 103/400, about 20 min left");
        assert_eq!(said.len(), 99, "every third tile");
        assert_eq!(said[98], "tile 397/400, about 12 s left");
        assert_eq!(lines.tick(true, Duration::from_mins(150)), None, "nothing is left");
        let mut slow = Lines { count: 3, ..Lines::default() };
        assert_eq!(slow.tick(true, Duration::from_mins(150)).as_deref(), Some("tile 1/3, about 5.0 h left"));
    }
}
