//! Tests of the infinite-width limit.

#![allow(clippy::disallowed_methods, reason = "a test that cannot read its own files may panic with any message")]
#![allow(clippy::type_complexity, reason = "tables of cases are read once")]

mod agreement;
mod depth;
mod duals;
mod flow;
mod kernels;
mod spectrum;
mod support;
mod tune;
mod valuation;
