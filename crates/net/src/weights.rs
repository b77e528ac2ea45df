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

use burn::tensor::{DType, Tensor, TensorData};
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
    /// Another type.
    #[error("tensor `{name}` must be F32 or F64, got {found}")]
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

/// Reads the F32 and F64 tensors of a safetensors file.
///
/// # Errors
/// [`WeightsError::Format`] and [`WeightsError::Type`].
pub fn read_safetensors(bytes: &[u8]) -> Result<Tensors, WeightsError> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| WeightsError::Format(e.to_string()))?;
    file.tensors()
        .into_iter()
        .map(|(name, view)| {
            let shape = view.shape().to_vec();
            let data = match view.dtype() {
                Dtype::F32 => TensorData::new(numbers(view.data(), f32::from_le_bytes), shape),
                Dtype::F64 => TensorData::new(numbers(view.data(), f64::from_le_bytes), shape),
                found => return Err(WeightsError::Type { name, found: format!("{found:?}") }),
            };
            Ok((name, data))
        })
        .collect()
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

fn numbers<const W: usize, T>(bytes: &[u8], from: fn([u8; W]) -> T) -> Vec<T> {
    let (chunks, _) = bytes.as_chunks::<W>();
    chunks.iter().map(|chunk| from(*chunk)).collect()
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
