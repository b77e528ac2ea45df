//! Arguments of `fintan moments`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

use super::{DeviceArgs, OutputArgs};

/// `fintan moments`
#[derive(Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct MomentsCommand {
    /// Other commands for moments.
    #[command(subcommand)]
    pub command: Option<MomentsSubcommand>,
    #[command(flatten)]
    pub measure: Moments,
}

/// Other commands for moments.
#[derive(Debug, Subcommand)]
pub(crate) enum MomentsSubcommand {
    /// Merge runs with different realisations of one configuration.
    Merge(MergeMoments),
}

/// `fintan moments merge`
#[derive(Debug, ClapArgs)]
pub(crate) struct MergeMoments {
    /// Run directories of `fintan moments`, of one configuration.
    #[arg(required = true)]
    pub runs: Vec<PathBuf>,
    /// The run directory to make; it must not exist.
    #[arg(long)]
    pub out: PathBuf,
    #[command(flatten)]
    pub on: DeviceArgs,
    #[command(flatten)]
    pub voice: OutputArgs,
}

/// `fintan moments CONFIG`
#[derive(Debug, ClapArgs)]
pub(crate) struct Moments {
    /// A configuration with `[network]` and `[moments]`.
    #[arg(value_name = "CONFIG", required = true)]
    pub path: Option<PathBuf>,
    /// Change a setting, such as `moments.realisations=20`. Can be given many times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Seed of everything that is drawn.
    #[arg(long)]
    pub seed: Option<u64>,
    #[command(flatten)]
    pub on: DeviceArgs,
    #[command(flatten)]
    pub voice: OutputArgs,
    /// The run directory; it must not exist. By default `runs/` and the configuration's name, numbered where that exists.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Continue in the directory of --out. Realisations that exist there are not measured again.
    #[arg(long, requires = "out")]
    pub resume: bool,
    /// Measure only realisations A to B - 1. `fintan moments merge` merges the parts.
    #[arg(long, value_name = "A..B")]
    pub range: Option<String>,
}
