//! What a kernel costs, from shapes alone.






/// Multiply-adds and memory of a kernel, counted without running it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Multiply-adds of pulling cotangents back.
    pub pull: f64,
    /// Multiply-adds of the kernel's contractions.
    pub contract: f64,
    /// Bytes needed at most at a time, without the kernel and what the chains hold.
    pub bytes: f64,
}

impl Cost {
    /// All multiply-adds.
    pub fn total(&self) -> f64 {
        self.pull + self.contract
    }
}
