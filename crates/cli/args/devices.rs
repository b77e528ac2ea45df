//! Arguments of `fintan devices`.

use clap::Args as ClapArgs;

use super::Voice;

/// `fintan devices`
#[derive(Debug, ClapArgs)]
pub(crate) struct Devices {
    #[command(flatten)]
    pub voice: Voice,
}
