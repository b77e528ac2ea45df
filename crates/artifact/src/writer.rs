//! Identifies the process that writes, across hosts, reboots and reused process numbers.

use std::fmt;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A process that writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writer {
    /// Name of the host; empty if the system does not provide it.
    pub host: String,
    /// Its process number.
    pub pid: u32,
    /// Start of writing, in UTC: `2026-11-28T16:13:44Z`.
    pub since: String,
    /// The namespace of the process number: two containers on one host number their processes separately.
    #[serde(default)]
    namespace: String,
    /// Identifier of the current boot of the system.
    #[serde(default)]
    boot: String,
    /// Start time of the process, in ticks since boot: a reused process number has another start time.
    #[serde(default)]
    started: u64,
}

/// Whether a process is still running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Runs,
    Ended,
    /// The process belongs to another host, or the system does not provide its state.
    Unknown,
}

impl Writer {
    /// This process.
    pub(crate) fn this() -> &'static Self {
        static THIS: OnceLock<Writer> = OnceLock::new();
        THIS.get_or_init(|| {
            let line = |path: &str| fs_err::read_to_string(path).unwrap_or_default().trim().to_owned();
            let host = [line("/proc/sys/kernel/hostname"), line("/etc/hostname")].into_iter().find(|h| !h.is_empty());
            let namespace = fs_err::read_link("/proc/self/ns/pid").unwrap_or_default();
            let pid = std::process::id();
            Self {
                host: host.unwrap_or_default(),
                pid,
                since: utc(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())),
                namespace: namespace.to_string_lossy().into_owned(),
                boot: line("/proc/sys/kernel/random/boot_id"),
                started: start_of(pid).unwrap_or(0),
            }
        })
    }

    /// This process, with the current time as the start of writing.
    pub(crate) fn from_now() -> Self {
        let since = utc(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()));
        Self { since, ..Self::this().clone() }
    }

    /// Whether the process is still running.
    pub(crate) fn life(&self) -> Life {
        self.mark().life()
    }

    /// Whether the process belongs to another host, where its state cannot be checked.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.mark().place != Self::this().mark().place
    }

    /// A short identifier, unique among processes, for names of files.
    pub(crate) fn mark(&self) -> Mark {
        let Self { host, pid, namespace, boot, started, .. } = self;
        Mark { place: hash(&format!("{host} {namespace}")), boot: hash(boot), pid: *pid, started: *started }
    }
}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.pid)?;
        if self.host.is_empty() { Ok(()) } else { write!(f, " on host `{}`", plain(&self.host)) }
    }
}

/// A word of a lock file, reduced to harmless characters: the file may come from anywhere, and must not control a terminal.
pub(crate) fn plain(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || ".-_:".contains(*c)).take(64).collect()
}

/// The identifier of a process in names of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Hash of host and namespace.
    place: u32,
    boot: u32,
    pid: u32,
    started: u64,
}

impl Mark {
    pub(crate) fn life(self) -> Life {
        let this = Writer::this().mark();
        if self.place != this.place || this.started == 0 {
            // If the system provides nothing about processes, only this process is known to be running.
            if self == this { Life::Runs } else { Life::Unknown }
        } else if self.boot != this.boot || start_of(self.pid) != Some(self.started) {
            Life::Ended
        } else {
            Life::Runs
        }
    }

    /// Parses the output of `Display`.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let mut next = || parts.next();
        let hex = |part: Option<&str>| u32::from_str_radix(part.filter(|part| part.len() == 8)?, 16).ok();
        let mark = Self {
            place: hex(next())?,
            boot: hex(next())?,
            pid: next()?.parse().ok()?,
            started: next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(mark)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, boot, pid, started } = self;
        write!(f, "{place:08x}-{boot:08x}-{pid}-{started}")
    }
}

/// Start time of a process on this host, in ticks since boot; `None` if it has ended.
fn start_of(pid: u32) -> Option<u64> {
    let stat = fs_err::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    // The name of the program is in parentheses and may contain any character; field 3 is the state, field 22 the start.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    // A process that has ended but has not been waited for holds no files.
    if ["Z", "X"].contains(fields.first()?) {
        return None;
    }
    fields.get(19)?.parse().ok()
}

/// FNV-1a.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// Converts seconds since 1970 to a date and a time of day.
fn utc(seconds: u64) -> String {
    let (days, rest) = ((seconds / 86400) as i64, seconds % 86400);
    // Years start in March here, so that the leap day is the last day of a year; an era has 400 years.
    let shifted = days + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = year + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_dates() {
        // Values from `date -u -d @...`.
        for (seconds, date) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_795_882_424, "2026-11-28T16:13:44Z"),
            (4_102_444_800, "2100-01-01T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(seconds), date);
        }
    }

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let mark = Writer::this().mark();
        assert_eq!(Mark::read(&mark.to_string()), Some(mark));
        for wrong in ["", "0-0-1-1", "00000000-00000000-1", "00000000-00000000-1-2-3", "0000000g-00000000-1-2"] {
            assert_eq!(Mark::read(wrong), None, "{wrong}");
        }
    }

    /// For systems that list running processes.
    #[cfg(target_os = "linux")]
    #[test]
    fn numbers_that_are_used_again_and_reboots_are_told_apart() {
        let this = Writer::this();
        assert_eq!(this.life(), Life::Runs);
        assert_eq!(Writer { started: this.started + 1, ..this.clone() }.life(), Life::Ended);
        assert_eq!(Writer { boot: "another".into(), ..this.clone() }.life(), Life::Ended);
        assert_eq!(Writer { host: "another".into(), ..this.clone() }.life(), Life::Unknown);
        assert_eq!(Writer { namespace: "another".into(), ..this.clone() }.life(), Life::Unknown);
        // First ended but not waited for, then gone.
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().expect("starts");
        let pid = child.id();
        let other = Writer { pid, started: start_of(pid).expect("runs"), ..this.clone() };
        assert_eq!(other.life(), Life::Runs);
        child.kill().expect("ended");
        while other.life() == Life::Runs {
            std::thread::yield_now();
        }
        child.wait().expect("waited for");
        assert_eq!(other.life(), Life::Ended);
    }

    #[test]
    fn what_a_file_says_of_a_process_cannot_steer_a_terminal() {
        let writer = Writer { host: "a\u{1b}[31mb\n".into(), ..Writer::this().clone() };
        assert_eq!(writer.to_string(), format!("process {} on host `a31mb`", writer.pid));
    }
}
