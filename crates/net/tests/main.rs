//! The three rules of every layer, against oracles.

mod forward;
mod pullback;
mod support;
mod weights;
