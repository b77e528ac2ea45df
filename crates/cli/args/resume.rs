//! Arguments of `fintan resume`.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::{DeviceArgs, OutputArgs};

/// `fintan resume`
#[derive(Debug, ClapArgs)]
pub(crate) struct Resume {
    /// The run directory.
    pub run: PathBuf,
    #[command(flatten)]
    pub on: DeviceArgs,
    #[command(flatten)]
    pub voice: OutputArgs,
    /// Train to this step, or with `+N` to N steps beyond the previous last step of the run.
    #[arg(long, value_name = "N or +N")]
    pub steps: Option<String>,
    /// Go back to the checkpoint of this step. Later checkpoints and lines of the log are removed.
    #[arg(long, value_name = "STEP")]
    pub from: Option<u64>,
    /// Change a setting of the run from here on: rates, schedules, steps, intervals of logging, drawing and keeping, and the
    /// place of the data. For example `generator.optimizer.adam.rate=1e-4`. Can be given many times; `env.json` records the
    /// changes.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Continue even if the data differ from those that the run was trained on. `env.json` records the change.
    #[arg(long)]
    pub data_changed: bool,
}
