//! Tests of the empirical kernel.

#[path = "../../net/tests/support.rs"]
#[expect(dead_code, reason = "shared with the tests of the network, which use all of it")]
mod networks;

mod cones;
mod golden;
mod methods;
mod properties;
mod spectrum;
mod support;
