//! The four rules of every layer, against oracles.

#![allow(clippy::disallowed_methods, reason = "a test that cannot read its own files may panic with any message")]

mod forward;
mod positions;
mod pullback;
mod tangents;
mod weights;
