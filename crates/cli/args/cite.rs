//! Arguments of `fintan cite`.

use std::path::PathBuf;

use clap::Args as ClapArgs;

/// `fintan cite`
#[derive(Debug, ClapArgs)]
pub(crate) struct Cite {
    /// A configuration (.toml) or a run directory.
    #[arg(value_name = "CONFIG or RUN")]
    pub path: PathBuf,
}
