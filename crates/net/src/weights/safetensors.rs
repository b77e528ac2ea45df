//! Reads and writes tensors as safetensors files.

use ::safetensors::tensor::TensorView;
use ::safetensors::{Dtype, SafeTensors};
use burn::tensor::{DType, TensorData, bf16, f16};

use super::{Tensors, WeightsError};

/// Reads the tensors of a safetensors file. F64 stays F64, integers and Booleans become F64, and F32 and both half precisions
/// become F32.
///
/// A tensor of another type is skipped if its name shows that it is not a parameter or statistic of a network.
///
/// # Errors
/// [`WeightsError::Format`], and [`WeightsError::Type`] for a tensor that a network may need.
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

/// Reads one tensor of a safetensors file, with the types of [`read_safetensors`]. The types of other tensors do not matter.
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

/// Whether a network can have a tensor of this name: `{i}.weight`, `{i}.bias`, or a statistic of a batch norm.
fn may_be_needed(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    matches!(last, "weight" | "bias" | "mean" | "variance" | "running_mean" | "running_var")
}

/// The values of a tensor, if its type is supported.
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
        // Not supported: floats of eight or fewer bits, complex numbers, and types of later versions of the format.
        _ => return None,
    })
}

fn half(bytes: &[u8], shape: Vec<usize>, number: impl Fn(u16) -> f32) -> TensorData {
    let (chunks, _) = bytes.as_chunks();
    let values: Vec<f32> = chunks.iter().map(|chunk| number(u16::from_le_bytes(*chunk))).collect();
    TensorData::new(values, shape)
}

/// Writes F32, F64, I64 and U64 tensors as a safetensors file. Equal tensors give equal bytes.
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
/// use fintan_net::weights::{read_safetensors, write_safetensors};
///
/// let tensors = network.to_tensors();
/// assert_eq!(read_safetensors(&write_safetensors(&tensors))?, tensors);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Panics
/// Panics if a tensor has another type.
#[must_use]
pub fn write_safetensors(tensors: &Tensors) -> Vec<u8> {
    let views = tensors.iter().map(|(name, data)| {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "a network has no tensors of the other types of the library"
        )]
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
    ::safetensors::serialize(views, None).expect("names are unique")
}
