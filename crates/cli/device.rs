//! Which device computes, for the commands.

pub(crate) use fintan::{Device as Opened, DeviceChoice as Choice, threads};

use crate::failure::Failure;

/// Opens what was asked for.
pub(crate) fn open(choice: Choice) -> Result<Opened, Failure> {
    Ok(Opened::open(choice)?)
}
