//! Bytes, multiply-adds and time.
//!
//! Times are in multiply-adds of a large matrix product, measured with two threads (benches/RESULTS.md). Only their orders of
//! magnitude decide which of two methods is faster.

/// Time to write a value without a product, for instance a copy or a cotangent.
const WRITE: f64 = 30.0;

/// Cost of a tile, or of all tiles.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cost {
    pub(super) bytes: f64,
    pub(super) operations: f64,
    pub(super) time: f64,
}

impl Cost {
    /// Adds multiply-adds in large products.
    pub(super) fn multiply(&mut self, operations: f64) {
        self.operations += operations;
        self.time += operations;
    }

    /// Adds values that are written.
    pub(super) fn write(&mut self, numbers: f64) {
        self.time += WRITE * numbers;
    }
}
