//! The convolutions at the end of a network, for kernels that trace single pixels back.

use burn::tensor::Tensor;
use fintan_config::{Convolution, Shape};

/// Convolutions and transposed convolutions at the end of a network, with only pointwise functions between them, after a
/// forward pass. The tail may be limited to the last few of them.
///
/// ```
/// # use burn::tensor::{DType, Device, Tensor, TensorData};
/// # use fintan_config::{Architecture, Parametrization, Shape};
/// # use fintan_net::{Lowering, Mode, PlacedNetwork, Placement};
/// # let layers = [serde_json::from_str(r#"{ "conv": { "out": 1, "kernel": 3 } }"#)?];
/// # let architecture = Architecture::new(Shape::image(1, 4, 4), &layers, Parametrization::default())?;
/// # let cpu = Placement { device: Device::flex(), dtype: DType::F64, lowering: Lowering::Host };
/// # let mut ones = |[rows, columns]: [usize; 2], _: f64| TensorData::new(vec![1.0; rows * columns], [rows, columns]);
/// # let network = PlacedNetwork::drawn(&architecture, &cpu, &mut ones);
/// # let x = Tensor::<4>::ones([1, 4, 4, 1], (&cpu.device, cpu.dtype));
/// // `network` is one convolution with a kernel of 3 x 3.
/// let (_, tape) = network.forward(x, Mode::Eval);
/// let tail = network.conv_tail(&tape, usize::MAX).expect("it ends with a convolution");
/// assert_eq!(tail.layers.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ConvTail {
    /// The convolutions, in the order of the forward pass; at least one.
    pub layers: Vec<ConvLayer>,
    /// `[batch, rows, columns, channels]`: derivative of the pointwise functions between `below` and the first convolution.
    pub derivative: Option<Tensor<4>>,
    /// The layers below the tail.
    pub below: TailInput,
}

/// One convolution of a [`ConvTail`]: `y = scale[p] · (W ∗ x) + bias_scale · b`.
///
/// ```
/// # use burn::tensor::{DType, Device, Tensor, TensorData};
/// # use fintan_config::{Architecture, Parametrization, Shape};
/// # use fintan_net::{Lowering, Mode, PlacedNetwork, Placement};
/// # let layers = [serde_json::from_str(r#"{ "conv": { "out": 1, "kernel": 3 } }"#)?];
/// # let architecture = Architecture::new(Shape::image(1, 4, 4), &layers, Parametrization::default())?;
/// # let cpu = Placement { device: Device::flex(), dtype: DType::F64, lowering: Lowering::Host };
/// # let mut ones = |[rows, columns]: [usize; 2], _: f64| TensorData::new(vec![1.0; rows * columns], [rows, columns]);
/// # let network = PlacedNetwork::drawn(&architecture, &cpu, &mut ones);
/// # let x = Tensor::<4>::ones([1, 4, 4, 1], (&cpu.device, cpu.dtype));
/// // `network` is one convolution with a kernel of 3 x 3 on a map of 4 x 4.
/// let (_, tape) = network.forward(x, Mode::Eval);
/// let layer = &network.conv_tail(&tape, 1).expect("it ends with a convolution").layers[0];
/// assert_eq!((layer.output, layer.weights.dims()), (Shape::image(1, 2, 2), [9, 1]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ConvLayer {
    /// Index of the weights among the parameters; the biases follow.
    pub parameter: usize,
    /// Kernel, stride, padding.
    pub convolution: Convolution,
    /// Whether it is a transposed convolution.
    pub transposed: bool,
    /// Shape of an input sample.
    pub input: Shape,
    /// Shape of an output sample.
    pub output: Shape,
    /// `[k_h k_w c_big, c_small]`
    pub weights: Tensor<2>,
    /// `[rows · columns]`: the factor of the weight term from the parametrization, at each output position.
    pub scale: Vec<f64>,
    /// The factor of the biases.
    pub bias_scale: f64,
    /// `[batch, rows, columns, channels]`: the input.
    pub x: Tensor<4>,
    /// `[batch, rows, columns, channels]`: derivative of the pointwise functions after this convolution; `None` without any.
    pub derivative: Option<Tensor<4>>,
}

/// The part of a network below a [`ConvTail`].
///
/// ```
/// # use burn::tensor::{DType, Device, Tensor, TensorData};
/// # use fintan_config::{Architecture, Parametrization, Shape};
/// # use fintan_net::{Lowering, Mode, PlacedNetwork, Placement};
/// # let layers = [serde_json::from_str(r#"{ "conv": { "out": 1, "kernel": 3 } }"#)?];
/// # let architecture = Architecture::new(Shape::image(1, 4, 4), &layers, Parametrization::default())?;
/// # let cpu = Placement { device: Device::flex(), dtype: DType::F64, lowering: Lowering::Host };
/// # let mut ones = |[rows, columns]: [usize; 2], _: f64| TensorData::new(vec![1.0; rows * columns], [rows, columns]);
/// # let network = PlacedNetwork::drawn(&architecture, &cpu, &mut ones);
/// # let x = Tensor::<4>::ones([1, 4, 4, 1], (&cpu.device, cpu.dtype));
/// // `network` is one convolution.
/// let (_, tape) = network.forward(x, Mode::Eval);
/// let tail = network.conv_tail(&tape, 1).expect("it ends with a convolution");
/// assert!(matches!(tail.below, fintan_net::TailInput::Nothing));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub enum TailInput {
    /// The tail starts at the input of the network.
    Nothing,
    /// One dense layer on the network's input, possibly reshaped: `y = scale · W x + bias_scale · b`.
    Dense {
        /// Index of the weights among the parameters.
        parameter: usize,
        /// Factor of the weight term.
        scale: f64,
        /// Factor of the biases.
        bias_scale: f64,
        /// `[batch, 1, 1, features]`: the input.
        x: Tensor<4>,
    },
    /// Other layers; [`PlacedNetwork::visit_below`](crate::PlacedNetwork::visit_below) continues the pullback there.
    Layers,
}
