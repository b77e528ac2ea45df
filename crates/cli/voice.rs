//! The output of the program: results go to stdout, messages for people to stderr. No other module writes to either.
//!
//! All characters of a line are made visible, since names in it come from files, archives and arguments. If stdout cannot be
//! written, the error is remembered and the program ends with exit code 1 after the work is done and saved. A full disk behind
//! `>` must not cost a training run. A closed pipe is no error. Errors of stderr are ignored.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write as _};
use std::sync::{Mutex, PoisonError};

use fintan_artifact::{visible, visible_json};
use serde_json::Value;

use crate::failure::Failure;

/// Writes a line of results to stdout.
macro_rules! answer {
    () => { answer!("") };
    ($($text:tt)*) => { $crate::voice::answer_line(format_args!($($text)*)) };
}

/// Writes a line for people to stderr.
macro_rules! tell {
    ($($text:tt)*) => { $crate::voice::tell_line(format_args!($($text)*)) };
}

pub(crate) use {answer, tell};

/// Whether stdout can still be written.
enum Stdout {
    Open,
    /// The reader of the pipe has closed it.
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

/// Runs a write to stdout unless an earlier one failed, and remembers an error.
pub(crate) fn note(write: impl FnOnce() -> std::io::Result<()>) {
    let mut stdout = STDOUT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Stdout::Open = *stdout
        && let Err(e) = write()
    {
        *stdout = if e.kind() == ErrorKind::BrokenPipe { Stdout::Closed } else { Stdout::Failed(e) };
    }
}

/// The handle of the standard library ignores errors if stdout is open only for reading, so a copy of the file is used.
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

/// Writes text to stderr that contains colours and line breaks of the program. All other characters are visible already.
pub(crate) fn tell_raw(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
