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
    /// The file is not a safetensors file, or is cut short.
    #[error("not a complete safetensors file: {0}")]
    Format(String),
    /// A tensor of the network is missing.
    #[error("tensor `{name}` of shape {expected:?} is missing; there are: {present}")]
    Missing {
        /// The name of the tensor.
        name: String,
        /// The shape of the tensor.
        expected: Vec<usize>,
        /// Some of the names in the file.
        present: String,
    },
    /// A running statistic is missing that evaluation mode needs.
    #[error(
        "tensor `{name}`, running statistics of a batch norm, is missing{}; there are: {present}",
        .torch.as_ref().map(|torch| format!(", and so is `{torch}`, PyTorch's name for it")).unwrap_or_default()
    )]
    MissingStatistics {
        /// This program's name for it.
        name: String,
        /// PyTorch's name for it, if it has one.
        torch: Option<String>,
        /// Some of the names in the file.
        present: String,
    },
    /// The network has no tensor of this name.
    #[error("tensor `{name}` is no parameter of the network, which has {expected} tensors up to `{last}`")]
    Extra {
        /// The name of the tensor.
        name: String,
        /// The number of tensors of the network.
        expected: usize,
        /// The name of the last parameter of the network.
        last: String,
    },
    /// A running statistic is given under both of its names.
    #[error("tensors `{name}` and `{torch}` are two names for one running statistic; leave one of them out")]
    Twice {
        /// This program's name for it.
        name: String,
        /// PyTorch's name for it.
        torch: String,
    },
    /// The tensor has another shape.
    #[error("tensor `{name}` must have shape {expected:?}, got {found:?}")]
    Shape {
        /// The name of the tensor.
        name: String,
        /// The shape in the network.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// The file has no tensor of the requested name.
    #[error("there is no tensor `{name}`, only {present}")]
    Unnamed {
        /// The name.
        name: String,
        /// The names in the file.
        present: String,
    },
    /// The element type of the tensor is not supported.
    #[error(
        "tensor `{name}` is of type {found}, which is unsupported; F64, F32, F16, BF16, integers and BOOL are read"
    )]
    Type {
        /// The name of the tensor.
        name: String,
        /// The element type in the file.
        found: String,
    },
    /// A value is not finite.
    #[error("tensor `{name}` holds a value that is not finite")]
    NotFinite {
        /// The name of the tensor.
        name: String,
    },
    /// A value is outside the range of the network's precision.
    #[error("tensor `{name}` holds {value:e}, which is too large for {precision}")]
    TooLarge {
        /// The name of the tensor.
        name: String,
        /// The value.
        value: f64,
        /// The network's precision.
        precision: &'static str,
    },
    /// A variance, or a mean of squares, is below zero.
    #[error("tensor `{name}` holds {value}; a variance is never negative")]
    Negative {
        /// The name of the tensor.
        name: String,
        /// The value.
        value: f64,
    },
    /// A counter of steps is not a positive integer.
    #[error("tensor `{name}` counts steps and must be a whole number from 1 on, got {value}")]
    Count {
        /// The name of the tensor.
        name: String,
        /// The value.
        value: f64,
    },
}
