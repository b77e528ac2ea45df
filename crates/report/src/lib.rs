//! Run directories as pictures and pages.
//!
//! A report reads files and arrays on the host; it computes nothing and knows no device.

mod grid;

pub use grid::{GridError, grid_png};
