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
mod data;
mod deep;
mod description;
mod error;
mod experiment;
mod function;
mod gaussian;
mod include;
mod layers;
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
mod shape;
mod source;
mod subject;
mod task;

pub use architecture::{Architecture, ArchitectureError, Node};
pub use citations::Citation;
pub use comparison::{ComparisonSettings, Variant};
pub use data::{
    Cifar, Content, DataSource, Files, Fit, Idx, Image, Npy, Npz, PowerSpectrum, Reader, Shapes, SourceKind, Teacher,
    image_of,
};
pub use deep::{Deep, Unit};
pub use description::{DescribedLayer, Description, DescriptionError, WeightScale};
pub use error::{ConfigError, Invalid};
pub use experiment::{Adam, Discriminator, Experiment, Generator, OptimizerSettings, Settings, Sgd, Train};
pub use function::{BelowZero, Function, FunctionProperties, GELU_TANH_CUBE, GELU_TANH_ROOT, Growth, SELU};
pub use gaussian::{expectation, gauss_legendre};
pub use include::Sources;
pub use layers::{
    AvgPool, AxisMap, BatchNorm, Convolution, Dense, Empty, Layer, LayerNorm, NormAxes, Pad, PadMode, Parameters,
    PositionMap, Properties, Residual, Transform, Upsample, Window,
};
pub use loss::{Adversarial, Clip, GanLoss, GradientPenalty, LossProperties, OnCollapse, R1, SpectralNorm};
pub use memory::{Bytes, Held, MemoryBound};
pub use moments::{BnNoise, MomentsNtk, MomentsSettings, Point, Precision, Tensor as MomentTensor};
pub use nonlinearity::{Activation, Scaling};
pub use observe::{Observe, ObserveNtk};
pub use parametrization::{Beta, Init, Parametrization, Standard};
pub use presets::{
    BatchNormChoice, DcganDiscriminator, DcganGenerator, Fc, LayerNormChoice, Norm, NormPosition, Upsampling,
};
pub use rates::{Exponents, LayerRates};
pub use schedule::{Decay, DecayTo, Schedule, StepDecay};
pub use shape::{Pair, Shape};
pub use source::{EXCLUSIVE, override_line};
pub use subject::{InputShape, NetworkExperiment, NetworkSettings, NetworkTable, Subject};
pub use task::{InputScale, LossFunction, SupervisedExperiment, SupervisedTask, Task, TaskGoal};
