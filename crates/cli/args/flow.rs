//! Arguments of `fintan flow`.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::{DeviceArgs, OutputArgs};

/// `fintan flow`
#[derive(Debug, ClapArgs)]
pub(crate) struct Flow {
    /// Run directories of supervised training by gradient descent on the squared loss. With `--hessian`, run directories and
    /// configurations (.toml) of any supervised training.
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    #[command(flatten)]
    pub on: DeviceArgs,
    #[command(flatten)]
    pub voice: OutputArgs,
    /// The plot; by default `flow/losses.svg` in the run, or `flow.svg` for several.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Instead of predictions, print the K largest and smallest eigenvalues and the trace of the Hessian of the training loss,
    /// of its Gauss-Newton part and of the rest. Nothing is written.
    #[arg(long, value_name = "K", conflicts_with = "out", value_parser = clap::value_parser!(u64).range(0..=1000))]
    pub hessian: Option<u64>,
    /// With `--hessian`, the checkpoint of this step of a run; by default the newest.
    #[arg(long, requires = "hessian")]
    pub step: Option<u64>,
    /// With `--hessian`, change a setting of a configuration, such as `network.fc.widths=[64,64]`. Can be given many times.
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "hessian")]
    pub set: Vec<String>,
}
