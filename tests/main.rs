//! Behaviour across crates, through the binary.
