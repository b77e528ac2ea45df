//! Loads and stores parameters with PyTorch's names and layouts.
//!
//! | layer | `{i}.weight` | `{i}.bias` |
//! | --- | --- | --- |
//! | dense | `[out, in]` | `[out]` |
//! | conv | `[out, in, k_h, k_w]` | `[out]` |
//! | deconv | `[in, out, k_h, k_w]` | `[out]` |
//! | batch_norm, layer_norm over features | `[channels]` | `[channels]` |
//! | layer_norm over channels and positions | `[channels, rows, columns]` | the same |
//!
//! The index i counts the layers that hold parameters, from 0. Running statistics of a batch norm have two names. Files may use
//! either; this program writes its own:
//!
//! | running | PyTorch's name | this program's name |
//! | --- | --- | --- |
//! | mean | `{i}.running_mean` | `running.{k}.mean` |
//! | variance | `{i}.running_var` | `running.{k}.variance` |
//!
//! The index k counts the batch norms, from 0. A batch norm without scale and shift (`affine = false`) has no i, so only the
//! second name exists. PyTorch's counter `{i}.num_batches_tracked` is accepted and ignored.

use std::collections::{BTreeMap, BTreeSet};

mod error;
mod safetensors;
mod statistics;
mod torch;

use burn::tensor::{DType, Tensor, TensorData};
use fintan_config::{Node, Transform};

pub use self::error::WeightsError;
pub use self::safetensors::{read_safetensors, read_tensor, write_safetensors};
use self::statistics::StatisticsNames;
use self::torch::{
    bias_from_torch, bias_to_torch, bias_torch_shape, weight_from_torch, weight_to_torch, weight_torch_shape,
};
use crate::network::{Mode, PlacedNetwork};

/// Named tensors on the host.
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
/// // `network` is a dense layer with 2 inputs and 1 output.
/// let tensors = network.to_tensors();
/// assert_eq!(tensors.keys().collect::<Vec<_>>(), ["0.bias", "0.weight"]);
/// assert_eq!(tensors["0.weight"].shape().as_slice(), [1, 2]); // PyTorch's layout
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type Tensors = BTreeMap<String, TensorData>;

impl PlacedNetwork {
    /// All parameters and running statistics, with PyTorch's names and layouts.
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

    /// The network with new parameters and running statistics. `tensors` must hold all of them and nothing else.
    ///
    /// # Errors
    /// Fails at the first tensor that is missing, unknown to the network, of another shape, or not finite, and at a variance
    /// below zero.
    pub fn with_tensors(&self, tensors: &Tensors) -> Result<Self, WeightsError> {
        let loaded = self.load(tensors)?;
        if let Some(name) = loaded.unused.first() {
            return Err(self.extra(name));
        }
        loaded.in_mode(Mode::Eval)
    }

    /// The network with the parameters in `tensors`, and with the running statistics if `tensors` has them.
    ///
    /// `tensors` may hold others ([`Loaded::unused`]), unless they have the names of parameters or statistics.
    ///
    /// # Errors
    /// The errors of [`Self::with_tensors`], but it is allowed that all running statistics are missing.
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

    /// The names of the running statistics of each batch norm.
    fn statistics_names(&self) -> Vec<StatisticsNames> {
        let norms =
            self.architecture().flat().into_iter().filter(|node| matches!(node.transform(), Transform::BatchNorm(_)));
        norms.enumerate().map(|(norm, node)| StatisticsNames { norm, index: node.index }).collect()
    }
}

/// A network with loaded tensors, possibly without running statistics.
///
/// ```
/// # use burn::tensor::{DType, Device, Tensor, TensorData};
/// # use fintan_config::{Architecture, Layer, Parametrization, Shape};
/// # use fintan_net::{Lowering, Mode, PlacedNetwork, Placement};
/// # let architecture = Architecture::new(Shape::vector(2), &[Layer::Dense(1.into())], Parametrization::default())?;
/// # let cpu = Placement { device: Device::flex(), dtype: DType::F64, lowering: Lowering::Host };
/// # let mut ones = |[rows, columns]: [usize; 2], _: f64| TensorData::new(vec![1.0; rows * columns], [rows, columns]);
/// # let network = PlacedNetwork::drawn(&architecture, &cpu, &mut ones);
/// # let _ = Tensor::<4>::from_data([[[[2.0, 3.0]]]], (&cpu.device, cpu.dtype));
/// // Tensors with one that the network does not have.
/// let mut tensors = network.to_tensors();
/// tensors.insert("step".into(), TensorData::from([7.0]));
/// let loaded = network.load(&tensors)?;
/// assert_eq!(loaded.unused(), ["step"]);
/// assert_eq!(loaded.in_mode(Mode::Eval)?.parameters().len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Loaded {
    network: PlacedNetwork,
    missing: Option<WeightsError>,
    unused: Vec<String>,
}

impl Loaded {
    /// The names of the tensors that are neither parameters nor running statistics.
    #[must_use]
    pub fn unused(&self) -> &[String] {
        &self.unused
    }

    /// The network, to be used in this mode.
    ///
    /// # Errors
    /// [`WeightsError::MissingStatistics`] if the mode needs running statistics that were not loaded.
    pub fn in_mode(self, mode: Mode) -> Result<PlacedNetwork, WeightsError> {
        match (mode, self.missing) {
            (Mode::Eval, Some(missing)) => Err(missing),
            (Mode::Eval, None) | (Mode::Train, _) => Ok(self.network),
        }
    }
}

/// Whether a name is that of a parameter or running statistic in this network or in others.
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

/// The first names, for an error message.
fn some_of(tensors: &Tensors) -> String {
    let names: Vec<&str> = tensors.keys().map(String::as_str).take(12).collect();
    let more = if tensors.len() > 12 { ", .." } else { "" };
    if names.is_empty() { "none".into() } else { format!("{}{more}", names.join(", ")) }
}

/// Reads the tensor `name` for the precision `dtype`. It must have the given shape, and its values must be finite in that
/// precision.
///
/// # Errors
/// A [`WeightsError`] that names the tensor.
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
