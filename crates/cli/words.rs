//! Formats numbers for people. No other module of the binary computes with floating-point numbers.

#![allow(clippy::float_arithmetic, reason = "formatting: percent, digits and units of time")]

use std::time::Duration;

/// A share in percent.
pub(crate) fn percent(share: f64) -> f64 {
    100.0 * share
}

/// A number with four digits; a whole number with all digits.
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

/// The estimated time for `left` pieces if `done` pieces took `taken`: `40 s`, `12 min` or `2.5 h`.
pub(crate) fn time_left(taken: Duration, done: usize, left: usize) -> String {
    let seconds = taken.as_secs_f64() / done.max(1) as f64 * left as f64;
    match seconds {
        _ if seconds < 60.0 => format!("{seconds:.0} s"),
        _ if seconds < 3600.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

/// Milliseconds a step if `count` steps took `taken`, and minutes for `left` more steps.
pub(crate) fn step_times(taken: Duration, count: u32, left: u64) -> (f64, f64) {
    let seconds = taken.as_secs_f64() / f64::from(count);
    (1e3 * seconds, seconds * left as f64 / 60.0)
}
