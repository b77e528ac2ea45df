//! One file for each command: it reads the arguments, calls the library and shows the result.

mod check;
mod cite;
mod compare;
mod data;
mod devices;
mod eval;
mod export;
mod flow;
mod moments;
mod ntk;
mod report;
mod sample;
mod settings_of_run;
mod theory;
mod train;
mod tune;

use fintan_artifact::LockWarning;

pub(crate) use self::settings_of_run::edits_of;
use crate::args::{Args, Command, OutputArgs};
use crate::failure::Failure;
use crate::voice::tell;

/// Runs a command.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Check(args) => check::check(&args),
        Command::Train(args) => train::train(&args),
        Command::Resume(args) => train::resume(&args),
        Command::Sample(args) => sample::sample(&args),
        Command::Eval(args) => eval::eval(&args),
        Command::Report(args) => report::report(&args),
        Command::Compare(args) => compare::compare(&args),
        Command::Export(args) => export::export(&args),
        Command::Ntk(args) => ntk::command(&args),
        Command::Cite(args) => cite::cite(&args),
        Command::Moments(args) => moments::command(&args),
        Command::Flow(args) => flow::flow(&args),
        Command::Theory(args) => theory::theory(&args),
        Command::Tune(args) => tune::tune(&args),
        Command::Data { command } => data::data(&command),
        Command::Devices(args) => {
            devices::devices(&args);
            Ok(())
        }
    }
}

/// Warns that another process may use a folder too.
fn warn_of_lock(warning: Option<&LockWarning>, voice: &OutputArgs) {
    if let (Some(warning), false) = (warning, voice.quiet) {
        tell!("warning   {warning}");
    }
}
