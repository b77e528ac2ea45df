//! Arguments of `fintan check`.

use clap::Args as ClapArgs;

use super::{Config, DeviceArgs, OutputArgs};

/// `fintan check`
#[derive(Debug, ClapArgs)]
pub(crate) struct Check {
    #[command(flatten)]
    pub config: Config,
    #[command(flatten)]
    pub on: DeviceArgs,
    #[command(flatten)]
    pub voice: OutputArgs,
    /// Number of untrained networks to measure.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub seeds: u64,
    /// Number of samples of each network; by default 128, or fewer for a large network, so that it takes about a second.
    #[arg(long, value_parser = clap::value_parser!(u64).range(2..=65536))]
    pub samples: Option<u64>,
}
