//! Infinite width in f64: regimes of order and chaos.
//!
//! Reads an [`Architecture`](fintan_config::Architecture); knows no tensor, no device and no random number.

mod regime;

pub use regime::{LayerRegime, Regime, regimes};
