//! Kernels on cones against explicit gradients by plain loops.

mod cost;
mod random;
mod support;
mod worked;
