//! Parameters in and out, in PyTorch's names and layouts.
//!
//! | layer | `{i}.weight` | `{i}.bias` |
//! | --- | --- | --- |
//! | dense | `[out, in]` | `[out]` |
//! | conv | `[out, in, k_h, k_w]` | `[out]` |
//! | deconv | `[in, out, k_h, k_w]` | `[out]` |
//! | batch_norm, layer_norm over features | `[channels]` | `[channels]` |
//! | layer_norm over channels and positions | `[channels, rows, columns]` | the same |
//!
//! i counts the layers that hold parameters, from 0. Running statistics of the k-th batch norm are `running.{k}.mean` and
//! `running.{k}.variance`.

use std::collections::BTreeMap;

use burn::tensor::{DType, Tensor, TensorData, bf16, f16};
use fintan_config::{Layer, LayerNorm, Node, NormAxes};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::network::Network;

/// Named tensors on the host.
pub type Tensors = BTreeMap<String, TensorData>;

/// Why tensors do not fit a network.
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
    /// A parameter that the network does not have.
    #[error("tensor `{name}` is no parameter of the network, which has {expected} tensors up to `{last}`")]
    Extra {
        /// Its name.
        name: String,
        /// Number of parameters.
        expected: usize,
        /// Last parameter of the network.
        last: String,
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
}

/// Reads the tensors of a safetensors file: F64 as they are, integers and Booleans as F64, F32 and both half precisions as F32.
///
/// Tensors of other types are passed over where they cannot be meant: where their names are none of a network's parameters or
/// statistics.
///
/// # Errors
/// [`WeightsError::Format`], and [`WeightsError::Type`] of a tensor that a network may need.
pub fn read_safetensors(bytes: &[u8]) -> Result<Tensors, WeightsError> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| WeightsError::Format(e.to_string()))?;
    let mut tensors = Tensors::new();
    for (name, view) in file.tensors() {
        match numbers(&view) {
            Some(data) => {
                tensors.insert(name, data);
            }
            None if may_be_needed(&name) => {
                return Err(WeightsError::Type { name, found: format!("{:?}", view.dtype()) });
            }
            None => {}
        }
    }
    Ok(tensors)
}

/// Reads one tensor of a safetensors file, with the types of [`read_safetensors`]; the others may be of any.
///
/// # Errors
/// [`WeightsError::Format`], [`WeightsError::Unnamed`] and [`WeightsError::Type`].
pub fn read_tensor(bytes: &[u8], name: &str) -> Result<TensorData, WeightsError> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| WeightsError::Format(e.to_string()))?;
    let Ok(view) = file.tensor(name) else {
        let mut names = file.names();
        names.sort_unstable();
        return Err(WeightsError::Unnamed { name: name.into(), present: names.join(", ") });
    };
    numbers(&view).ok_or_else(|| WeightsError::Type { name: name.into(), found: format!("{:?}", view.dtype()) })
}

/// Whether a name is one of those that networks have: `{i}.weight`, `{i}.bias`, and statistics of batch norms.
fn may_be_needed(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    matches!(last, "weight" | "bias" | "mean" | "variance" | "running_mean" | "running_var")
}

/// The values of a tensor, if they are numbers of a type that is read.
fn numbers(view: &TensorView) -> Option<TensorData> {
    let (bytes, shape) = (view.data(), view.shape().to_vec());
    macro_rules! read {
        ($number:ty as $to:ty) => {{
            let (chunks, _) = bytes.as_chunks();
            let values: Vec<$to> = chunks.iter().map(|chunk| <$number>::from_le_bytes(*chunk) as $to).collect();
            TensorData::new(values, shape)
        }};
    }
    Some(match view.dtype() {
        Dtype::F64 => read!(f64 as f64),
        Dtype::F32 => read!(f32 as f32),
        Dtype::F16 => half(bytes, shape, |bits| f16::from_bits(bits).to_f32()),
        Dtype::BF16 => half(bytes, shape, |bits| bf16::from_bits(bits).to_f32()),
        Dtype::I64 => read!(i64 as f64),
        Dtype::I32 => read!(i32 as f64),
        Dtype::I16 => read!(i16 as f64),
        Dtype::I8 => read!(i8 as f64),
        Dtype::U64 => read!(u64 as f64),
        Dtype::U32 => read!(u32 as f64),
        Dtype::U16 => read!(u16 as f64),
        Dtype::U8 | Dtype::BOOL => read!(u8 as f64),
        // Eight bits and less, complex numbers, and what later versions of the format bring.
        _ => return None,
    })
}

fn half(bytes: &[u8], shape: Vec<usize>, number: impl Fn(u16) -> f32) -> TensorData {
    let (chunks, _) = bytes.as_chunks();
    let values: Vec<f32> = chunks.iter().map(|chunk| number(u16::from_le_bytes(*chunk))).collect();
    TensorData::new(values, shape)
}

/// Writes F32 and F64 tensors as a safetensors file; equal tensors give equal bytes.
///
/// # Panics
/// On another type of tensor.
#[must_use]
pub fn write_safetensors(tensors: &Tensors) -> Vec<u8> {
    let views = tensors.iter().map(|(name, data)| {
        let dtype = match data.dtype() {
            DType::F32 => Dtype::F32,
            DType::F64 => Dtype::F64,
            other => panic!("tensor `{name}` has type {other:?}"),
        };
        let view = TensorView::new(dtype, data.shape().to_vec(), data.as_bytes()).expect("shape and bytes agree");
        (name.clone(), view)
    });
    safetensors::serialize(views, None).expect("names are unique")
}

impl Network {
    /// Every parameter and running statistic, in PyTorch's names and layouts.
    #[must_use]
    pub fn to_tensors(&self) -> Tensors {
        let mut tensors = Tensors::new();
        let parameters = self.parameters();
        for node in self.architecture().flat() {
            let Some(i) = node.index else { continue };
            tensors.insert(format!("{i}.weight"), weight_to_torch(node, parameters[2 * i].clone()));
            tensors.insert(format!("{i}.bias"), bias_to_torch(node, parameters[2 * i + 1].clone()));
        }
        for (k, [mean, variance]) in self.running_statistics().into_iter().enumerate() {
            for (name, tensor) in [("mean", mean), ("variance", variance)] {
                let channels = tensor.dims()[1];
                tensors.insert(format!("running.{k}.{name}"), tensor.reshape([channels]).into_data());
            }
        }
        tensors
    }

    /// The same network with these parameters and, where given, running statistics.
    ///
    /// Names that are neither (`x`, `y`, ..) are left alone.
    ///
    /// # Errors
    /// The first tensor that is missing, too many, of another shape or type, or not finite.
    pub fn with_tensors(&self, tensors: &Tensors) -> Result<Self, WeightsError> {
        let names = self.parameter_names();
        let extra = tensors.keys().find(|name| {
            let mut parts = name.split('.');
            let numbered = parts.next().is_some_and(|i| i.parse::<usize>().is_ok());
            numbered
                && matches!(parts.next(), Some("weight" | "bias"))
                && parts.next().is_none()
                && !names.contains(name)
        });
        if let Some(name) = extra {
            let last = names.last().cloned().unwrap_or_default();
            return Err(WeightsError::Extra { name: name.clone(), expected: names.len(), last });
        }
        let old = self.parameters();
        let mut parameters = Vec::with_capacity(old.len());
        for node in self.architecture().flat() {
            let Some(i) = node.index else { continue };
            for (name, like, torch, from) in [
                (
                    "weight",
                    &old[2 * i],
                    weight_torch_shape(node),
                    weight_from_torch as fn(&Node, Tensor<1>) -> Tensor<2>,
                ),
                ("bias", &old[2 * i + 1], bias_torch_shape(node), bias_from_torch),
            ] {
                let data = fitting(tensors, &format!("{i}.{name}"), &torch, like.dtype())?;
                let flat = Tensor::from_data(data, (&like.device(), like.dtype()));
                parameters.push(from(node, flat));
            }
        }
        let mut statistics = self.running_statistics();
        for (k, pair) in statistics.iter_mut().enumerate() {
            for (name, tensor) in ["mean", "variance"].into_iter().zip(pair) {
                let key = format!("running.{k}.{name}");
                if tensors.contains_key(&key) {
                    let [_, channels] = tensor.dims();
                    let data = fitting(tensors, &key, &[channels], tensor.dtype())?;
                    let flat: Tensor<1> = Tensor::from_data(data, (&tensor.device(), tensor.dtype()));
                    *tensor = flat.reshape([1, channels]);
                }
            }
        }
        Ok(self.with_parameters(parameters).with_running_statistics(statistics))
    }
}

/// The tensor `name` as a flat list, if it has the shape and only finite values.
fn fitting(tensors: &Tensors, name: &str, shape: &[usize], dtype: DType) -> Result<TensorData, WeightsError> {
    let Some(data) = tensors.get(name) else {
        let present: Vec<&str> = tensors.keys().map(String::as_str).take(12).collect();
        let more = if tensors.len() > 12 { ", .." } else { "" };
        let present = if present.is_empty() { "none".into() } else { format!("{}{more}", present.join(", ")) };
        return Err(WeightsError::Missing { name: name.into(), expected: shape.to_vec(), present });
    };
    if data.shape().to_vec() != shape {
        let found = data.shape().to_vec();
        return Err(WeightsError::Shape { name: name.into(), expected: shape.to_vec(), found });
    }
    if data.iter::<f64>().any(|x| !x.is_finite()) {
        return Err(WeightsError::NotFinite { name: name.into() });
    }
    let data = data.clone().convert_dtype(dtype);
    let count = shape.iter().product::<usize>();
    let (bytes, _, dtype) = data.into_parts();
    Ok(TensorData::from_bytes(bytes, [count], dtype))
}

fn weight_torch_shape(node: &Node) -> Vec<usize> {
    match &node.layer {
        Layer::Dense(dense) => vec![dense.out, node.input.channels],
        Layer::Conv(c) => vec![c.out, node.input.channels, c.kernel.0[0], c.kernel.0[1]],
        Layer::Deconv(c) => vec![node.input.channels, c.out, c.kernel.0[0], c.kernel.0[1]],
        _ => bias_torch_shape(node),
    }
}

fn bias_torch_shape(node: &Node) -> Vec<usize> {
    match &node.layer {
        Layer::LayerNorm(LayerNorm { over: NormAxes::Chw, .. }) if !node.input.is_vector() => {
            vec![node.input.channels, node.input.height, node.input.width]
        }
        _ => vec![node.bias_count()],
    }
}

/// [c_small, c_big, k_h, k_w] of both kinds of convolution.
fn convolution_shape(node: &Node) -> Option<[usize; 4]> {
    matches!(node.layer, Layer::Conv(_) | Layer::Deconv(_))
        .then(|| weight_torch_shape(node).try_into().expect("four axes"))
}

fn weight_to_torch(node: &Node, w: Tensor<2>) -> TensorData {
    if let Some([small, big, kh, kw]) = convolution_shape(node) {
        return w.reshape([kh, kw, big, small]).permute([3, 2, 0, 1]).into_data();
    }
    match node.layer {
        Layer::Dense(_) => w.transpose().into_data(),
        _ => bias_to_torch(node, w),
    }
}

fn weight_from_torch(node: &Node, w: Tensor<1>) -> Tensor<2> {
    if let Some([small, big, kh, kw]) = convolution_shape(node) {
        return w.reshape([small, big, kh, kw]).permute([2, 3, 1, 0]).reshape([kh * kw * big, small]);
    }
    match &node.layer {
        Layer::Dense(dense) => {
            // Through a copy, so that the parameter is stored in its own order.
            let (features, out) = (node.input.channels, dense.out);
            w.reshape([out, features]).transpose().reshape([features * out]).reshape([features, out])
        }
        _ => bias_from_torch(node, w),
    }
}

fn bias_to_torch(node: &Node, b: Tensor<2>) -> TensorData {
    let shape = bias_torch_shape(node);
    if let [c, h, w] = shape[..] {
        return b.reshape([h, w, c]).permute([2, 0, 1]).into_data();
    }
    b.reshape([shape[0]]).into_data()
}

fn bias_from_torch(node: &Node, b: Tensor<1>) -> Tensor<2> {
    let shape = bias_torch_shape(node);
    let count = shape.iter().product::<usize>();
    if let [c, h, w] = shape[..] {
        return b.reshape([c, h, w]).permute([1, 2, 0]).reshape([1, count]);
    }
    b.reshape([1, count])
}
