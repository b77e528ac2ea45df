//! Numbers as people read them. No other module of the binary computes with floating-point numbers.

#![allow(clippy::float_arithmetic, reason = "formatting: percent and units of time")]

/// A share in percent.
pub(crate) fn percent(share: f64) -> f64 {
    100.0 * share
}
