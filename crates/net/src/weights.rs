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
//! i counts the layers that hold parameters, from 0. Running statistics of a batch norm have two names, and files may have
//! either; this program writes its own:
//!
//! | running | PyTorch's name | this program's name |
//! | --- | --- | --- |
//! | mean | `{i}.running_mean` | `running.{k}.mean` |
//! | variance | `{i}.running_var` | `running.{k}.variance` |
//!
//! k counts the batch norms, from 0. One without scale and shift (`affine = false`) has no i, and only the second name.
//! PyTorch's counter `{i}.num_batches_tracked` is accepted; nothing depends on it.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::{DType, Tensor, TensorData, bf16, f16};
use fintan_config::{LayerNorm, Node, NormAxes, Transform};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::network::{Mode, Network};

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
#[expect(clippy::wildcard_enum_match_arm, reason = "types of a library that grows; the rest are not read")]
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

/// Writes F32, F64, I64 and U64 tensors as a safetensors file; equal tensors give equal bytes.
///
/// # Panics
/// On another type of tensor.
#[must_use]
pub fn write_safetensors(tensors: &Tensors) -> Vec<u8> {
    let views = tensors.iter().map(|(name, data)| {
        #[expect(clippy::wildcard_enum_match_arm, reason = "types of a library, of which a network has no others")]
        let dtype = match data.dtype() {
            DType::F32 => Dtype::F32,
            DType::F64 => Dtype::F64,
            DType::I64 => Dtype::I64,
            DType::U64 => Dtype::U64,
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

    /// This network with other parameters and running statistics, which are all there is in `tensors`.
    ///
    /// # Errors
    /// The first tensor that is missing, that the network does not have, of another shape, not finite, or a variance below
    /// zero.
    pub fn with_tensors(&self, tensors: &Tensors) -> Result<Self, WeightsError> {
        let loaded = self.load(tensors)?;
        if let Some(name) = loaded.unused.first() {
            return Err(self.extra(name));
        }
        loaded.in_mode(Mode::Eval)
    }

    /// This network with the parameters in `tensors` and the running statistics, if there are any.
    ///
    /// Other tensors may lie beside them ([`Loaded::unused`]), unless their names are those of parameters or statistics.
    ///
    /// # Errors
    /// As [`Self::with_tensors`]; running statistics may be missing, but only all of them.
    pub fn load(&self, tensors: &Tensors) -> Result<Loaded, WeightsError> {
        let mut used = BTreeSet::new();
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
                let name = format!("{i}.{name}");
                let data = fitting(tensors, &name, &torch, like.dtype())?;
                let flat = Tensor::from_data(data, (&like.device(), like.dtype()));
                parameters.push(from(node, flat));
                used.insert(name);
            }
        }
        let (mut statistics, mut missing, mut found) = (self.running_statistics(), None, 0);
        for (names, pair) in self.statistics_names().iter().zip(&mut statistics) {
            used.extend(names.counter());
            for (statistic, tensor) in names.both().into_iter().zip(pair) {
                let Some(name) = statistic.given(tensors)? else {
                    missing.get_or_insert_with(|| statistic.missing(tensors));
                    continue;
                };
                let [_, channels] = tensor.dims();
                let data = fitting(tensors, &name, &[channels], tensor.dtype())?;
                if statistic.is_variance {
                    never_negative(&name, &data)?;
                }
                let flat: Tensor<1> = Tensor::from_data(data, (&tensor.device(), tensor.dtype()));
                *tensor = flat.reshape([1, channels]);
                found += 1;
                used.insert(name);
            }
        }
        if let Some(missing) = missing.take_if(|_| found > 0) {
            return Err(missing);
        }
        let (mine, unused): (Vec<String>, Vec<String>) =
            tensors.keys().filter(|name| !used.contains(*name)).cloned().partition(|name| is_state(name));
        if let Some(name) = mine.first() {
            return Err(self.extra(name));
        }
        Ok(Loaded { network: self.with_parameters(parameters).with_running_statistics(statistics), missing, unused })
    }

    fn extra(&self, name: &str) -> WeightsError {
        let names = self.parameter_names();
        let last = names.last().cloned().unwrap_or_default();
        WeightsError::Extra { name: name.into(), expected: names.len(), last }
    }

    /// Names of the running statistics of each batch norm.
    fn statistics_names(&self) -> Vec<StatisticsNames> {
        let norms =
            self.architecture().flat().into_iter().filter(|node| matches!(node.transform(), Transform::BatchNorm(_)));
        norms.enumerate().map(|(norm, node)| StatisticsNames { norm, index: node.index }).collect()
    }
}

/// A network with tensors from elsewhere, which may have come without running statistics.
#[derive(Debug)]
pub struct Loaded {
    network: Network,
    missing: Option<WeightsError>,
    unused: Vec<String>,
}

impl Loaded {
    /// Names of the tensors that are neither parameters nor running statistics.
    #[must_use]
    pub fn unused(&self) -> &[String] {
        &self.unused
    }

    /// The network for passes in this mode.
    ///
    /// # Errors
    /// [`WeightsError::MissingStatistics`] if the mode needs running statistics that are not there.
    pub fn in_mode(self, mode: Mode) -> Result<Network, WeightsError> {
        match (mode, self.missing) {
            (Mode::Eval, Some(missing)) => Err(missing),
            (Mode::Eval, None) | (Mode::Train, _) => Ok(self.network),
        }
    }
}

/// What the running statistics of a batch norm are called.
struct StatisticsNames {
    /// k
    norm: usize,
    /// i, of one with scale and shift.
    index: Option<usize>,
}

/// What one of them is called.
struct Statistic {
    name: String,
    torch: Option<String>,
    is_variance: bool,
}

impl StatisticsNames {
    /// Mean and variance.
    fn both(&self) -> [Statistic; 2] {
        let Self { norm, index } = self;
        [("mean", "running_mean", false), ("variance", "running_var", true)].map(|(name, torch, is_variance)| {
            Statistic {
                name: format!("running.{norm}.{name}"),
                torch: index.map(|i| format!("{i}.{torch}")),
                is_variance,
            }
        })
    }

    /// PyTorch's counter of batches.
    fn counter(&self) -> Option<String> {
        self.index.map(|i| format!("{i}.num_batches_tracked"))
    }
}

impl Statistic {
    /// The name under which it is given, if it is.
    fn given(&self, tensors: &Tensors) -> Result<Option<String>, WeightsError> {
        let own = tensors.contains_key(&self.name).then(|| self.name.clone());
        match (own, self.torch.clone().filter(|torch| tensors.contains_key(torch))) {
            (Some(name), Some(torch)) => Err(WeightsError::Twice { name, torch }),
            (Some(name), None) | (None, Some(name)) => Ok(Some(name)),
            (None, None) => Ok(None),
        }
    }

    fn missing(&self, tensors: &Tensors) -> WeightsError {
        let (name, torch) = (self.name.clone(), self.torch.clone());
        WeightsError::MissingStatistics { name, torch, present: some_of(tensors) }
    }
}

/// Whether a name is one of parameters or running statistics, of this network or of another.
fn is_state(name: &str) -> bool {
    let Some((first, rest)) = name.split_once('.') else { return false };
    let last = rest.rsplit('.').next().unwrap_or(rest);
    let of_layer = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"].contains(&last);
    first == "running" || (first.parse::<usize>().is_ok() && of_layer)
}

/// Refuses a value below zero.
///
/// # Errors
/// [`WeightsError::Negative`]
pub fn never_negative(name: &str, data: &TensorData) -> Result<(), WeightsError> {
    let found = data.iter::<f64>().find(|&value| value < 0.0);
    found.map_or(Ok(()), |value| Err(WeightsError::Negative { name: name.into(), value }))
}

/// The first names, for an error.
fn some_of(tensors: &Tensors) -> String {
    let names: Vec<&str> = tensors.keys().map(String::as_str).take(12).collect();
    let more = if tensors.len() > 12 { ", .." } else { "" };
    if names.is_empty() { "none".into() } else { format!("{}{more}", names.join(", ")) }
}

/// The tensor `name` of a state, if it has the shape and only values that are finite in the precision `dtype`.
///
/// # Errors
/// [`WeightsError`] that names the tensor.
pub fn fitting(tensors: &Tensors, name: &str, shape: &[usize], dtype: DType) -> Result<TensorData, WeightsError> {
    let Some(data) = tensors.get(name) else {
        let present = some_of(tensors);
        return Err(WeightsError::Missing { name: name.into(), expected: shape.to_vec(), present });
    };
    if data.shape().to_vec() != shape {
        let found = data.shape().to_vec();
        return Err(WeightsError::Shape { name: name.into(), expected: shape.to_vec(), found });
    }
    for value in data.iter::<f64>() {
        if !value.is_finite() {
            return Err(WeightsError::NotFinite { name: name.into() });
        }
        if dtype == DType::F32 && !(value as f32).is_finite() {
            return Err(WeightsError::TooLarge { name: name.into(), value, precision: "F32" });
        }
    }
    let data = data.clone().convert_dtype(dtype);
    let count = shape.iter().product::<usize>();
    let (bytes, _, dtype) = data.into_parts();
    Ok(TensorData::from_bytes(bytes, [count], dtype))
}

fn weight_torch_shape(node: &Node) -> Vec<usize> {
    match node.transform() {
        Transform::Dense => vec![node.output.channels, node.input.channels],
        Transform::Conv(c) => vec![c.out, node.input.channels, c.kernel.0[0], c.kernel.0[1]],
        Transform::Deconv(c) => vec![node.input.channels, c.out, c.kernel.0[0], c.kernel.0[1]],
        Transform::Pointwise(_)
        | Transform::BatchNorm(_)
        | Transform::LayerNorm(_)
        | Transform::Reshape
        | Transform::Positions(_)
        | Transform::Residual { .. } => bias_torch_shape(node),
    }
}

fn bias_torch_shape(node: &Node) -> Vec<usize> {
    if matches!(node.transform(), Transform::LayerNorm(LayerNorm { over: NormAxes::Chw, .. }))
        && !node.input.is_vector()
    {
        return vec![node.input.channels, node.input.height, node.input.width];
    }
    vec![node.bias_count()]
}

/// [c_small, c_big, k_h, k_w] of both kinds of convolution.
fn convolution_shape(node: &Node) -> Option<[usize; 4]> {
    matches!(node.transform(), Transform::Conv(_) | Transform::Deconv(_))
        .then(|| weight_torch_shape(node).try_into().expect("four axes"))
}

fn weight_to_torch(node: &Node, w: Tensor<2>) -> TensorData {
    if let Some([small, big, kh, kw]) = convolution_shape(node) {
        return w.reshape([kh, kw, big, small]).permute([3, 2, 0, 1]).into_data();
    }
    if node.transform() == Transform::Dense { w.transpose().into_data() } else { bias_to_torch(node, w) }
}

fn weight_from_torch(node: &Node, w: Tensor<1>) -> Tensor<2> {
    if let Some([small, big, kh, kw]) = convolution_shape(node) {
        return w.reshape([small, big, kh, kw]).permute([2, 3, 1, 0]).reshape([kh * kw * big, small]);
    }
    if node.transform() != Transform::Dense {
        return bias_from_torch(node, w);
    }
    // Through a copy, so that the parameter is stored in its own order.
    let (features, out) = (node.input.channels, node.output.channels);
    w.reshape([out, features]).transpose().reshape([features * out]).reshape([features, out])
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
