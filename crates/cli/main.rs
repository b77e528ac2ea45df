//! fintan: order and chaos in neural networks.

mod args;
mod commands;
mod device;
mod failure;
mod memory;
mod progress;
mod voice;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    memory::keep();
    match commands::run(args::Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
