//! Arguments of `fintan train`.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::{Config, DeviceArgs, OutputArgs};

/// `fintan train`
#[derive(Debug, ClapArgs)]
pub(crate) struct Train {
    #[command(flatten)]
    pub config: Config,
    #[command(flatten)]
    pub on: DeviceArgs,
    #[command(flatten)]
    pub voice: OutputArgs,
    /// The run directory; it must not exist. By default `runs/` and the configuration's name, numbered where that exists.
    #[arg(long)]
    pub out: Option<PathBuf>,
}
