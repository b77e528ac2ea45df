//! Experiments as TOML, networks as plain data.
//!
//! A configuration file becomes [`Settings`] (what was written, defaults filled in) and then an [`Experiment`]: settings
//! whose values are in range and whose networks have every shape worked out. Parsing has no side effects: no data set
//! is opened and no device is chosen here.
//!
//! [`Architecture`] is the one description of a network. Training, kernels, theory, reports and learning rates
//! all read it; presets expand to it.

mod architecture;
mod changes;
mod citations;
mod comparison;
mod deep;
mod description;
mod error;
mod experiment;
mod function;
mod gaussian;
mod include;
mod layer;
mod loss;
mod memory;
mod moments;
mod nonlinearity;
mod observe;
mod parametrization;
mod place;
mod presets;
mod rates;
mod schedule;
mod source;
mod subject;
mod task;

pub use architecture::{Architecture, ArchitectureError, Node};
pub use citations::Citation;
pub use comparison::{ComparisonSettings, Variant};
pub use deep::{Deep, Unit};
pub use description::{DescribedLayer, Description, DescriptionError, WeightScale};
pub use error::{ConfigError, Invalid};
pub use experiment::{
    Adam, Cifar, Data, Discriminator, Experiment, Files, Fit, Generator, Idx, Image, Npy, Npz, Optimizer, Settings,
    Sgd, Shapes, Train,
};
pub use function::{BelowZero, Function, FunctionProperties, Growth, SELU};
pub use gaussian::{expectation, gauss_legendre};
pub use include::Sources;
pub use layer::{
    BatchNorm, Convolution, Dense, Empty, Layer, LayerNorm, NormAxes, Pad, PadMode, Pair, Residual, Shape, Upsample,
};
pub use loss::{Adversarial, Clip, GanLoss, GradientPenalty, LossProperties, OnCollapse, R1, SpectralNorm};
pub use memory::{Bytes, Held, MemoryBound};
pub use moments::{BnNoise, Inputs, Moments, MomentsNtk, Point, Precision, Spectrum, Tensor as MomentTensor, image_of};
pub use nonlinearity::{Activation, Scaling};
pub use observe::{Observe, ObserveNtk};
pub use parametrization::{Beta, Init, Parametrization, Standard};
pub use presets::{
    BatchNormChoice, DcganDiscriminator, DcganGenerator, Fc, LayerNormChoice, Norm, NormPosition, Upsampling,
};
pub use rates::{Exponents, LayerRates};
pub use schedule::{Decay, Fall, Schedule, Stairs};
pub use source::{EXCLUSIVE, override_line};
pub use subject::{InputShape, NetworkExperiment, NetworkSettings, NetworkTable, Subject};
pub use task::{Goal, InputScale, Labelled, LossFunction, Supervised, SupervisedExperiment, Task, Teacher};
