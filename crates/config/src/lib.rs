//! Experiments as TOML, networks as plain data.
//!
//! A configuration file becomes [`Settings`] (what was written, defaults filled in) and then an [`Experiment`]: settings
//! whose values are in range and whose networks have every shape worked out. Parsing has no side effects: no data set
//! is opened and no device is chosen here.
//!
//! [`Architecture`] is the one description of a network. Training, kernels, theory, reports and learning rates
//! all read it; presets expand to it.

mod architecture;
mod error;
mod experiment;
mod gaussian;
mod nonlinearity;
mod presets;
mod rates;
mod source;
mod subject;
mod task;

pub use architecture::{
    Architecture, ArchitectureError, BatchNorm, Beta, Convolution, Dense, Empty, Init, Layer, LayerNorm, Node,
    NormAxes, Pair, Parametrization, Residual, Shape, Standard,
};
pub use error::{ConfigError, Invalid};
pub use experiment::{
    Adam, Cifar, Data, Discriminator, Experiment, Files, Fit, Generator, Idx, Image, Optimizer, Settings, Sgd, Shapes,
    Train,
};
pub use gaussian::{expectation, gauss_legendre};
pub use nonlinearity::{Activation, Function, SELU, Scaling};
pub use presets::{BatchNormChoice, DcganDiscriminator, DcganGenerator, Fc, LayerNormChoice, Norm, NormPosition};
pub use rates::{Exponents, LayerRates};
pub use source::{EXCLUSIVE, override_line};
pub use subject::{InputShape, NetworkExperiment, NetworkSettings, NetworkTable, Subject};
pub use task::{Goal, InputScale, Labelled, LossFunction, Supervised, SupervisedExperiment, Task, Teacher};
