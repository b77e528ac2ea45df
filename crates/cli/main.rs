//! fintan: order and chaos in neural networks. The program is a client of the library `fintan`. It handles arguments, progress
//! and messages.

#![deny(clippy::float_arithmetic, reason = "numbers come from the library; `words.rs` alone formats them")]

mod args;
mod commands;
mod failure;
mod given;
mod memory;
mod progress;
mod quiet;
mod shown;
mod voice;
mod words;

use std::process::ExitCode;

fn main() -> ExitCode {
    memory::keep();
    quiet::without_display();
    let done = args::read().and_then(|args| args.map_or(Ok(()), commands::run));
    match done.and_then(|()| voice::all_answered()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
