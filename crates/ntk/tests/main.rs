//! Tests of the empirical kernel.

mod cones;
mod golden;
mod methods;
mod properties;
mod spectrum;
mod support;
