//! Compares finite with infinite width.
//!
//! | question | answer |
//! | --- | --- |
//! | How far is the kernel of a finite network from its limit? | [`KernelComparison`], [`WidthStudy`] |
//! | How far does a kernel move in training? | [`KernelReference`] |
//! | Which losses does a kernel predict? | [`LossPrediction`] |
//!
//! Networks, inputs and kernels are passed as values: the crate reads and writes no files.

mod comparison;
mod drift;
mod losses;
mod widths;

pub use comparison::{FiniteKernel, KernelComparison};
pub use drift::{KernelDrift, KernelReference};
pub use losses::{GradientDescent, LossPrediction, PredictedLosses, TaskArrays};
pub use widths::{WidthError, WidthPoint, WidthStudy, with_hidden_width};

/// The error for a prediction that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PredictError {
    /// The network has no limit.
    #[error(transparent)]
    Limit(#[from] fintan_theory::LimitError),
    /// A kernel cannot be computed.
    #[error(transparent)]
    Request(#[from] fintan_ntk::RequestError),
    /// A kernel does not fit into memory.
    #[error(transparent)]
    Plan(#[from] fintan_ntk::PlanError),
    /// A kernel is not a matrix.
    #[error(transparent)]
    Spectrum(#[from] fintan_ntk::SpectrumError),
    /// Gradient descent cannot be predicted.
    #[error(transparent)]
    Flow(#[from] fintan_theory::FlowError),
    /// Two kernels that are compared have different shapes.
    #[error("{0}")]
    Shape(String),
}
