//! Arguments of `fintan devices`.

use clap::Args as ClapArgs;

use super::OutputArgs;

/// `fintan devices`
#[derive(Debug, ClapArgs)]
pub(crate) struct Devices {
    #[command(flatten)]
    pub voice: OutputArgs,
}
