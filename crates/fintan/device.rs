//! Selects and opens the device that computes.

use std::fmt;
use std::str::FromStr;

use burn::tensor::{DType, Device as BurnDevice};
use fintan_config::{Held, MemoryBound};
use fintan_net::{Lowering, Placement};

use crate::memory::free_memory;

/// The name of a requested device: `auto`, `flex`, `ndarray`, `wgpu` or `wgpu:N`.
///
/// ```
/// assert_eq!("wgpu:1".parse(), Ok(fintan::DeviceChoice::Wgpu(Some(1))));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A hardware GPU if there is one, else flex.
    Auto,
    /// Burn's fast CPU backend.
    Flex,
    /// The CPU backend on the ndarray crate.
    NdArray,
    /// A GPU through wgpu: the first hardware GPU, or the n-th of the list.
    Wgpu(Option<usize>),
}

impl DeviceChoice {
    /// The part of the host's memory that networks may take.
    #[must_use]
    pub fn bound(self, held: Held) -> MemoryBound {
        let on_gpu = match self {
            Self::Flex | Self::NdArray => false,
            Self::Wgpu(_) => true,
            Self::Auto => adapters().iter().any(|adapter| !adapter.software),
        };
        bound(held, on_gpu)
    }
}

/// With a GPU, networks are in its memory; the host holds only one layer while its weights are drawn.
fn bound(held: Held, on_gpu: bool) -> MemoryBound {
    MemoryBound { held: if on_gpu { Held::Layer } else { held }, free: free_memory() }
}

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        match text {
            "auto" => Ok(Self::Auto),
            "flex" => Ok(Self::Flex),
            "ndarray" => Ok(Self::NdArray),
            "wgpu" => Ok(Self::Wgpu(None)),
            _ => text
                .strip_prefix("wgpu:")
                .and_then(|n| n.parse().ok())
                .map(|n| Self::Wgpu(Some(n)))
                .ok_or(DeviceError::Name),
        }
    }
}

/// Why a device cannot be used.
///
/// ```
/// use fintan::{DeviceChoice, DeviceError};
///
/// assert_eq!("tpu".parse::<DeviceChoice>(), Err(DeviceError::Name));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// The name is unknown.
    #[error("allowed are auto, flex, ndarray, wgpu and wgpu:N")]
    Name,
    /// The program was built without a GPU backend.
    #[error("this program was built without wgpu; take the device flex, or build it with the `wgpu` feature")]
    NotBuilt,
    /// wgpu finds no GPU on the machine.
    #[error("wgpu finds no graphics adapter on this machine; take the device flex, or install a Vulkan driver")]
    NoAdapter,
    /// There is no GPU with this number.
    #[error("there is no wgpu:{number}; `fintan devices` lists wgpu:0 to wgpu:{last}")]
    NoSuchAdapter {
        /// The requested number.
        number: usize,
        /// The largest number.
        last: usize,
    },
    /// The driver cannot open the GPU.
    #[error("wgpu cannot open wgpu:{number} ({adapter}): {message}")]
    NotOpened {
        /// The number of the GPU.
        number: usize,
        /// The description of the GPU.
        adapter: String,
        /// The message of the driver.
        message: String,
    },
    /// Double precision is requested on a GPU, which does not support it.
    #[error("wgpu computes in single precision; take the device flex or ndarray for double precision")]
    NoDoublePrecision,
}

/// A device that computes: the CPU or a GPU.
///
/// ```
/// let device = fintan::Device::cpu();
/// assert!(device.supports_f64() && !device.is_gpu());
/// assert_eq!(fintan::Device::by_name("wgpu:x").unwrap_err().to_string(), "allowed are auto, flex, ndarray, wgpu and wgpu:N");
/// ```
#[derive(Debug, Clone)]
pub struct Device {
    /// The Burn device with its precision and its method for convolutions, for programs that also use the other crates.
    pub placement: Placement,
    /// The name of the device, for messages and manifests.
    pub name: String,
}

impl Device {
    /// Opens the first hardware GPU, or the CPU if there is none.
    ///
    /// # Errors
    /// [`DeviceError::NotOpened`] if there is a GPU whose driver fails.
    pub fn auto() -> Result<Self, DeviceError> {
        Self::open(DeviceChoice::Auto)
    }

    /// The CPU, with Burn's flex backend.
    #[must_use]
    pub fn cpu() -> Self {
        Self::on_cpu(BurnDevice::flex(), "flex")
    }

    /// Opens the GPU of this index. `fintan devices` and [`adapters`] list the GPUs.
    ///
    /// # Errors
    /// Fails if there is no such GPU, or its driver fails.
    pub fn gpu(index: usize) -> Result<Self, DeviceError> {
        Self::open(DeviceChoice::Wgpu(Some(index)))
    }

    /// Opens a device by its name: `auto`, `flex`, `ndarray`, `wgpu` or `wgpu:N`.
    ///
    /// # Errors
    /// Fails if the name is unknown, there is no such GPU, or its driver fails.
    pub fn by_name(name: &str) -> Result<Self, DeviceError> {
        Self::open(name.parse()?)
    }

    /// Opens the requested device. Only `auto` falls back to the CPU.
    ///
    /// # Errors
    /// The errors of [`Self::by_name`].
    pub fn open(choice: DeviceChoice) -> Result<Self, DeviceError> {
        match choice {
            DeviceChoice::Flex => Ok(Self::cpu()),
            DeviceChoice::NdArray => Ok(Self::on_cpu(ndarray(), "ndarray")),
            DeviceChoice::Wgpu(number) => open_wgpu(number),
            DeviceChoice::Auto => match adapters().iter().position(|adapter| !adapter.software) {
                Some(number) => open_wgpu(Some(number)),
                None => Ok(Self::cpu()),
            },
        }
    }

    fn on_cpu(device: BurnDevice, name: &str) -> Self {
        Self {
            placement: Placement { device, dtype: DType::F32, lowering: Lowering::Host },
            name: format!("{name} (CPU, {} threads)", threads()),
        }
    }

    /// Whether the device is reached through wgpu.
    #[must_use]
    pub fn is_gpu(&self) -> bool {
        self.placement.lowering == Lowering::Native
    }

    /// Whether the device computes in double precision.
    #[must_use]
    pub fn supports_f64(&self) -> bool {
        !self.is_gpu()
    }

    /// The device with networks in double precision.
    ///
    /// # Errors
    /// [`DeviceError::NoDoublePrecision`]
    pub fn double_precision(mut self) -> Result<Self, DeviceError> {
        if !self.supports_f64() {
            return Err(DeviceError::NoDoublePrecision);
        }
        self.placement.dtype = DType::F64;
        Ok(self)
    }

    /// The part of the host's memory that networks may take.
    #[must_use]
    pub fn bound(&self, held: Held) -> MemoryBound {
        bound(held, self.is_gpu())
    }
}

/// Makes a [`Device`] of a Burn device that the program opened by itself.
impl From<Placement> for Device {
    fn from(placement: Placement) -> Self {
        Self { name: format!("{:?}", placement.device), placement }
    }
}

/// The properties of a GPU that decide which one is chosen.
///
/// ```
/// let gpu = fintan::Adapter { kind: "discrete GPU 0".into(), software: false };
/// assert_eq!(gpu.to_string(), "discrete GPU 0");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adapter {
    /// The kind and number, such as `discrete GPU 0`.
    pub kind: String,
    /// Whether it is an emulation in software on the CPU.
    pub software: bool,
}

impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind, if self.software { " on the CPU, slow" } else { "" })
    }
}

/// Number of threads of the CPU backends.
///
/// ```
/// assert!(fintan::threads() >= 1);
/// ```
#[must_use]
pub fn threads() -> usize {
    let wanted = std::env::var("RAYON_NUM_THREADS").ok().and_then(|n| n.parse().ok()).filter(|&n: &usize| n > 0);
    wanted.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, Into::into))
}

#[expect(deprecated, reason = "ndarray is a named backend of this program; Burn keeps it until 0.23")]
fn ndarray() -> BurnDevice {
    BurnDevice::ndarray()
}

#[cfg(not(feature = "wgpu"))]
fn open_wgpu(_: Option<usize>) -> Result<Device, DeviceError> {
    Err(DeviceError::NotBuilt)
}

/// The GPUs, best kind first.
#[cfg(not(feature = "wgpu"))]
#[must_use]
pub fn adapters() -> Vec<Adapter> {
    Vec::new()
}

#[cfg(feature = "wgpu")]
mod wgpu {
    use burn::tensor::{DType, Device as BurnDevice, DeviceKind, DeviceType};
    use fintan_net::{Lowering, Placement};

    use super::{Adapter, Device, DeviceError};

    /// The kinds that Burn can open, in order of preference.
    fn found() -> Vec<(DeviceKind, Adapter)> {
        // Burn gives the kind and number of an adapter only in the debug form of its device.
        let devices: Vec<String> =
            BurnDevice::enumerate(DeviceType::Wgpu).into_iter().map(|d| format!("{d:?}")).collect();
        let count = |kind: &str| devices.iter().filter(|d| d.contains(&format!("kind: {kind}"))).count();
        let numbered = |kind: &str, make: fn(usize) -> DeviceKind, name: &str| -> Vec<(DeviceKind, Adapter)> {
            (0..count(kind)).map(|n| (make(n), Adapter { kind: format!("{name} {n}"), software: false })).collect()
        };
        let mut all = numbered("DiscreteGpu", DeviceKind::DiscreteGpu, "discrete GPU");
        all.extend(numbered("IntegratedGpu", DeviceKind::IntegratedGpu, "integrated GPU"));
        all.extend(numbered("VirtualGpu", DeviceKind::VirtualGpu, "virtual GPU"));
        if count("Cpu") > 0 {
            all.push((DeviceKind::Cpu, Adapter { kind: "software".into(), software: true }));
        }
        all
    }

    /// The GPUs, best kind first; [`Device::gpu`] opens the one with index i.
    ///
    /// ```
    /// assert!(fintan::adapters().iter().all(|adapter| !adapter.kind.is_empty()));
    /// ```
    #[must_use]
    pub fn adapters() -> Vec<Adapter> {
        found().into_iter().map(|(_, adapter)| adapter).collect()
    }

    pub(super) fn open_wgpu(number: Option<usize>) -> Result<Device, DeviceError> {
        let all = found();
        let number = number.unwrap_or(0);
        let Some((kind, adapter)) = all.get(number) else {
            return Err(match all.len() {
                0 => DeviceError::NoAdapter,
                count => DeviceError::NoSuchAdapter { number, last: count - 1 },
            });
        };
        // Only the fallible constructor reports a driver that fails. The other constructors panic in a separate thread.
        let (device, setup) = BurnDevice::wgpu_options()
            .device_kind(kind.clone())
            .init_with_setup()
            .map_err(|e| DeviceError::NotOpened { number, adapter: adapter.to_string(), message: e.to_string() })?;
        let info = setup.adapter.get_info();
        let name = format!("wgpu:{number} {} ({adapter}, {:?})", info.name, info.backend);
        Ok(Device { placement: Placement { device, dtype: DType::F32, lowering: Lowering::Native }, name })
    }
}

#[cfg(feature = "wgpu")]
pub use wgpu::adapters;
#[cfg(feature = "wgpu")]
use wgpu::open_wgpu;
