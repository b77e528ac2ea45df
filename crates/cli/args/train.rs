//! Arguments of `fintan train`.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::{Config, On, Voice};

/// `fintan train`
#[derive(Debug, ClapArgs)]
pub(crate) struct Train {
    #[command(flatten)]
    pub config: Config,
    #[command(flatten)]
    pub on: On,
    #[command(flatten)]
    pub voice: Voice,
    /// The run directory; it must not exist. By default `runs/` and the configuration's name, numbered where that exists.
    #[arg(long)]
    pub out: Option<PathBuf>,
}
