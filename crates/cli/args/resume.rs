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
    /// Train to this step, or `+N` for N more than the run was meant to have.
    #[arg(long, value_name = "N or +N")]
    pub steps: Option<String>,
    /// Go back to the checkpoint of this step. What came after it is removed.
    #[arg(long, value_name = "STEP")]
    pub from: Option<u64>,
    /// Change a setting of the run from here on: rates, schedules, steps, how often something is logged, drawn or kept, where
    /// the data lie. Such as `generator.optimizer.adam.rate=1e-4`. Can be given many times, and is noted in `env.json`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Go on although the data are not those that the run was trained on. It is noted in `env.json`.
    #[arg(long)]
    pub data_changed: bool,
}
