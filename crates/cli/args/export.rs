//! Arguments of `fintan export`.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::{DeviceArgs, OutputArgs};

/// `fintan export`
#[derive(Debug, ClapArgs)]
pub(crate) struct Export {
    /// The run directory of a GAN.
    pub run: PathBuf,
    #[command(flatten)]
    pub on: DeviceArgs,
    #[command(flatten)]
    pub voice: OutputArgs,
    /// The folder; it must not exist.
    #[arg(long)]
    pub out: PathBuf,
    /// The checkpoint of this step; by default the newest.
    #[arg(long)]
    pub step: Option<u64>,
}
