//! Arguments of `fintan report`.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::OutputArgs;

/// `fintan report`
#[derive(Debug, ClapArgs)]
pub(crate) struct Report {
    /// Run directories of any kind (GANs, networks with a task, moments), or the folder of one comparison.
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    #[command(flatten)]
    pub voice: OutputArgs,
    /// The page; by default `report.html` in the run, or in this folder for several.
    #[arg(long)]
    pub out: Option<PathBuf>,
}
