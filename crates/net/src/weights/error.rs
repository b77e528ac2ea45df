//! Why tensors do not fit a network.

/// Why tensors do not fit a network.
///
/// ```
/// # use burn::tensor::{DType, Device, Tensor, TensorData};
/// # use fintan_config::{Architecture, Layer, Parametrization, Shape};
/// # use fintan_net::{Lowering, PlacedNetwork, Placement};
/// # let architecture = Architecture::new(Shape::vector(2), &[Layer::Dense(1.into())], Parametrization::default())?;
/// # let cpu = Placement { device: Device::flex(), dtype: DType::F64, lowering: Lowering::Host };
/// # let mut ones = |[rows, columns]: [usize; 2], _: f64| TensorData::new(vec![1.0; rows * columns], [rows, columns]);
/// # let network = PlacedNetwork::drawn(&architecture, &cpu, &mut ones);
/// # let _ = Tensor::<4>::from_data([[[[2.0, 3.0]]]], (&cpu.device, cpu.dtype));
/// let mut tensors = network.to_tensors();
/// tensors.remove("0.bias");
/// let error = network.load(&tensors).unwrap_err();
/// assert!(matches!(error, fintan_net::weights::WeightsError::Missing { name, .. } if name == "0.bias"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// Not a safetensors file, or cut short.
    #[error("not a complete safetensors file: {0}")]
    Format(String),
    /// A tensor that the network needs is not there.
    #[error("tensor `{name}` of shape {expected:?} is missing; there are: {present}")]
    Missing {
        /// Its name.
        name: String,
        /// Its shape.
        expected: Vec<usize>,
        /// What is there.
        present: String,
    },
    /// A running statistic that the network needs in evaluation mode is not there.
    #[error(
        "tensor `{name}`, running statistics of a batch norm, is missing{}; there are: {present}",
        .torch.as_ref().map(|torch| format!(", and so is `{torch}`, PyTorch's name for it")).unwrap_or_default()
    )]
    MissingStatistics {
        /// This program's name for it.
        name: String,
        /// PyTorch's name for it, if it has one.
        torch: Option<String>,
        /// What is there.
        present: String,
    },
    /// A tensor of a name that the network does not have.
    #[error("tensor `{name}` is no parameter of the network, which has {expected} tensors up to `{last}`")]
    Extra {
        /// Its name.
        name: String,
        /// Number of parameters.
        expected: usize,
        /// Last parameter of the network.
        last: String,
    },
    /// A running statistic under both of its names.
    #[error("tensors `{name}` and `{torch}` are two names for one running statistic; leave one of them out")]
    Twice {
        /// This program's name for it.
        name: String,
        /// PyTorch's name for it.
        torch: String,
    },
    /// Another shape.
    #[error("tensor `{name}` must have shape {expected:?}, got {found:?}")]
    Shape {
        /// Its name.
        name: String,
        /// What the network has.
        expected: Vec<usize>,
        /// What was found.
        found: Vec<usize>,
    },
    /// No tensor of the name that was asked for.
    #[error("there is no tensor `{name}`, only {present}")]
    Unnamed {
        /// The name.
        name: String,
        /// What is there.
        present: String,
    },
    /// A type that is not read.
    #[error(
        "tensor `{name}` is of type {found}, which is unsupported; F64, F32, F16, BF16, integers and BOOL are read"
    )]
    Type {
        /// Its name.
        name: String,
        /// What was found.
        found: String,
    },
    /// Not a number.
    #[error("tensor `{name}` holds a value that is not finite")]
    NotFinite {
        /// Its name.
        name: String,
    },
    /// A number beyond the range of the network's precision.
    #[error("tensor `{name}` holds {value:e}, which is too large for {precision}")]
    TooLarge {
        /// Its name.
        name: String,
        /// The value.
        value: f64,
        /// The network's precision.
        precision: &'static str,
    },
    /// A variance, or a mean of squares, below zero.
    #[error("tensor `{name}` holds {value}; a variance is never negative")]
    Negative {
        /// Its name.
        name: String,
        /// The value.
        value: f64,
    },
    /// A counter of steps that is no whole number from 1 on.
    #[error("tensor `{name}` counts steps and must be a whole number from 1 on, got {value}")]
    Count {
        /// Its name.
        name: String,
        /// The value.
        value: f64,
    },
}
