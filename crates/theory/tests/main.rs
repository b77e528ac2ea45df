//! Tests of the infinite-width limit.

mod depth;
mod duals;
mod flow;
mod kernels;
mod support;
mod tune;
mod valuation;
