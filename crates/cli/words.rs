//! Numbers as people read them. No other module of the binary computes with floating-point numbers.

#![allow(clippy::float_arithmetic, reason = "formatting: percent, digits and units of time")]

/// A share in percent.
pub(crate) fn percent(share: f64) -> f64 {
    100.0 * share
}

/// Four digits; of counts, all.
pub(crate) fn short(x: f64) -> String {
    if x.fract() == 0.0 {
        return format!("{x:.0}");
    }
    if (1e-3..1e5).contains(&x.abs()) {
        format!("{x:.*}", (3.0 - x.abs().log10().floor()).clamp(0.0, 6.0) as usize)
    } else {
        format!("{x:.3e}")
    }
}
