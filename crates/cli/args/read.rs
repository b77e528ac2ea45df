//! Reads the command line.

use clap::Parser as _;

use super::Args;
use crate::failure::Failure;
use crate::voice::note;

/// The arguments, or `None` after help or the version was printed.
pub(crate) fn read() -> Result<Option<Args>, Failure> {
    match Args::try_parse() {
        Ok(args) => Ok(Some(args)),
        Err(e) if e.use_stderr() => Err(Failure::Arguments(e)),
        Err(e) => {
            note(|| e.print());
            Ok(None)
        }
    }
}
