//! fintan.
fn main() {}
