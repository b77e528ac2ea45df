//! Moments of signal and noise, against oracles.

#![allow(clippy::disallowed_methods, reason = "a test that cannot read its own files may panic with any message")]

mod explicit;
mod laws;
mod support;
