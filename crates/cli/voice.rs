//! What the program says: results to stdout, words to stderr. Nothing else writes to either.
//!
//! A line is shown with every character visible, since names in it come from files, archives and arguments. What stdout
//! does not take is remembered and ends the program with exit code 1, after the work is done and saved: a full disk behind
//! `>` must cost no training run. A pipe that nobody reads any more is silence. What stderr does not take is lost.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write as _};
use std::sync::{Mutex, PoisonError};

use fintan_artifact::{visible, visible_json};
use serde_json::Value;

use crate::failure::Failure;

/// A line of results, to stdout.
macro_rules! answer {
    () => { answer!("") };
    ($($text:tt)*) => { $crate::voice::answer_line(format_args!($($text)*)) };
}

/// A line for people, to stderr.
macro_rules! tell {
    ($($text:tt)*) => { $crate::voice::tell_line(format_args!($($text)*)) };
}

pub(crate) use {answer, tell};

/// Whether stdout still takes what it is given.
enum Stdout {
    Open,
    /// Nobody reads it any more.
    Closed,
    Failed(std::io::Error),
}

static STDOUT: Mutex<Stdout> = Mutex::new(Stdout::Open);

/// Writes a line to stdout.
pub(crate) fn answer_line(text: Arguments) {
    answer_bytes(&format!("{}\n", visible(&text.to_string())));
}

/// Writes JSON to stdout, in one line.
pub(crate) fn answer_json(json: &Value) {
    answer_bytes(&format!("{}\n", visible_json(json)));
}

fn answer_bytes(line: &str) {
    note(|| write(line.as_bytes()));
}

/// Writes to stdout unless that went wrong before, and remembers if it goes wrong.
pub(crate) fn note(write: impl FnOnce() -> std::io::Result<()>) {
    let mut stdout = STDOUT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Stdout::Open = *stdout
        && let Err(e) = write()
    {
        *stdout = if e.kind() == ErrorKind::BrokenPipe { Stdout::Closed } else { Stdout::Failed(e) };
    }
}

/// The standard library's own handle takes a stdout that is open for reading alone for one that wants nothing.
#[cfg(unix)]
fn write(bytes: &[u8]) -> std::io::Result<()> {
    use std::os::fd::AsFd as _;
    std::fs::File::from(std::io::stdout().as_fd().try_clone_to_owned()?).write_all(bytes)
}

#[cfg(not(unix))]
fn write(bytes: &[u8]) -> std::io::Result<()> {
    let mut stdout = std::io::stdout();
    stdout.write_all(bytes).and_then(|()| stdout.flush())
}

/// Whether all results reached stdout, for the end of the program.
pub(crate) fn all_answered() -> Result<(), Failure> {
    match &*STDOUT.lock().unwrap_or_else(PoisonError::into_inner) {
        Stdout::Open | Stdout::Closed => Ok(()),
        Stdout::Failed(e) => Err(Failure::Failed(miette::miette!("cannot write to stdout: {e}"))),
    }
}

/// Writes a line to stderr.
pub(crate) fn tell_line(text: Arguments) {
    tell_raw(&format!("{}\n", visible(&text.to_string())));
}

/// Writes text to stderr that holds colours and line breaks of our own, and in which everything else is visible already.
pub(crate) fn tell_raw(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
