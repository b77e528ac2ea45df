//! Arguments of `fintan compare`.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::{BatchNormMode, DeviceArgs, MetricChoice, OutputArgs, SeedRange};

/// `fintan compare`
#[derive(Debug, ClapArgs)]
pub(crate) struct Compare {
    /// Configurations (.toml) of GANs, comparisons (.toml with `[compare]`), and run directories, in any mixture.
    #[arg(required = true, value_name = "CONFIG or RUN")]
    pub paths: Vec<PathBuf>,
    #[command(flatten)]
    pub on: DeviceArgs,
    #[command(flatten)]
    pub voice: OutputArgs,
    /// Seeds of weights, latents and data order to train each configuration with: `0,1,2`, `0..3` (3 left out), or a mixture;
    /// by default the one that the configurations have.
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    pub seeds: Vec<SeedRange>,
    /// Change a setting of all configurations. For runs, only the place of the data (`data.`) can change. Can be given many
    /// times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// The folder for runs, table and report; by default a folder in `runs/`. Existing results there are kept and not computed
    /// again.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Images of each set, as in `eval`.
    #[arg(long, short, default_value_t = 2048, value_parser = clap::value_parser!(u64).range(4..=100_000))]
    pub n: u64,
    /// The metrics to compute, separated by commas, as in `eval`; by default those that need no classifier.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "correlation,ms_ssim,std,swd,patch_swd,nyquist")]
    pub metrics: Vec<MetricChoice>,
    /// Statistics of batch norms.
    #[arg(long, value_enum, default_value_t = BatchNormMode::Running)]
    pub bn: BatchNormMode,
    /// Steps of the classifier's training, for metrics that need one.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub classifier_steps: u64,
}
