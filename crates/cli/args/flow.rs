//! Arguments of `fintan flow`.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::{DeviceArgs, OutputArgs};

/// `fintan flow`
#[derive(Debug, ClapArgs)]
pub(crate) struct Flow {
    /// Run directories of supervised training by gradient descent on the squared loss.
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    #[command(flatten)]
    pub on: DeviceArgs,
    #[command(flatten)]
    pub voice: OutputArgs,
    /// The plot; by default `flow/losses.svg` in the run, or `flow.svg` for several.
    #[arg(long)]
    pub out: Option<PathBuf>,
}
