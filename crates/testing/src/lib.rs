//! Networks, devices and comparisons that the tests of several crates use.
//!
//! Golden cases were computed by the programs in `assets/golden`. A helper that only one crate needs stays in its `tests/support.rs`.

#[cfg(feature = "moments")]
pub mod moments;
pub mod networks;
