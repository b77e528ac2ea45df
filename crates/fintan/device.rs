//! Selects and opens the device that computes.

use std::fmt;
use std::str::FromStr;

use burn::tensor::{DType, Device as BurnDevice};
use fintan_config::{Bytes, Held, MemoryBound, Subject};
use fintan_net::{DeviceLimits, LargestTensor, Lowering, Placement};

use crate::lowering::networks_of;
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
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
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
    /// A software adapter, in a program that was built for hardware.
    #[error(
        "wgpu:{number} is a software adapter ({adapter}), and this program was built with the feature `gpu`, for hardware only; \
         take the device flex, or build it without this feature"
    )]
    Software {
        /// The number of the adapter.
        number: usize,
        /// The name of the adapter.
        adapter: String,
    },
    /// A step of training would make a tensor that the device does not hold.
    #[error(
        "`{key}` = {found} needs a tensor of {needed}, but the device holds tensors of at most {largest}; at most {fits} fit{}",
        if *.fits == 0 { ", so take a smaller network or the device flex" } else { "" }
    )]
    Batch {
        /// The key of the number of samples.
        key: &'static str,
        /// The number.
        found: usize,
        /// Bytes of the tensor.
        needed: Bytes,
        /// Bytes that a tensor of the device may have.
        largest: Bytes,
        /// The largest number that fits.
        fits: usize,
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
    /// The largest tensor and the memory of a GPU, as its driver reports them; without bounds on CPUs.
    pub limits: DeviceLimits,
    pub(crate) kind: DeviceClass,
    /// A remark about the choice of the lowering.
    pub(crate) note: Option<String>,
}

/// What a device is, for the choices that depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DeviceClass {
    /// A CPU backend, whose tensors are in host memory.
    Cpu,
    /// A GPU, or an emulation, that was opened here. The text names adapter, driver and graphics API.
    #[cfg_attr(not(feature = "wgpu"), allow(dead_code, reason = "opened only with wgpu"))]
    Adapter { identity: String, software: bool },
    /// A GPU that the calling program opened, and whose lowering it chose.
    Foreign,
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
            limits: DeviceLimits::default(),
            kind: DeviceClass::Cpu,
            note: None,
        }
    }

    /// Whether the device is reached through wgpu.
    #[must_use]
    pub fn is_gpu(&self) -> bool {
        self.kind != DeviceClass::Cpu
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

    /// A remark about the choices that were made for the networks, such as that a file of earlier choices cannot be written.
    #[must_use]
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// The device with the faster method for the convolutions of a training.
    ///
    /// # Errors
    /// [`DeviceError::Batch`]
    pub(crate) fn for_training(&self, subject: &Subject) -> Result<Self, DeviceError> {
        let chosen = self.for_networks(&networks_of(subject));
        chosen.check_step(subject)?;
        Ok(chosen)
    }

    /// Checks that no step of a training makes a tensor that is larger than the device allows.
    pub(crate) fn check_step(&self, subject: &Subject) -> Result<(), DeviceError> {
        let Some(most) = self.limits.largest_tensor else { return Ok(()) };
        let number = self.placement.dtype.size() as f64;
        let fits = |key, found: usize, tensor: &dyn Fn(usize) -> f64| {
            let needed = number * tensor(found);
            if needed <= most {
                return Ok(());
            }
            let (mut fits, mut over) = (0, found);
            while over - fits > 1 {
                let middle = usize::midpoint(fits, over);
                if number * tensor(middle) <= most { fits = middle } else { over = middle }
            }
            Err(DeviceError::Batch { key, found, needed: Bytes(needed), largest: Bytes(most), fits })
        };
        let largest = |network| LargestTensor::of(network, self.placement.lowering);
        match subject {
            Subject::Gan(gan) => {
                let (generator, discriminator) = (largest(&gan.generator), largest(&gan.discriminator));
                // Real and generated images are one batch, unless batch norms couple them.
                let both = if gan.discriminator.is_batch_coupled() { 1.0 } else { 2.0 };
                fits("train.batch", gan.settings.train.batch, &|batch| {
                    generator.values(batch as f64).max(discriminator.values(both * batch as f64))
                })
            }
            Subject::Network(alone) => {
                let Some(experiment) = alone.supervised() else { return Ok(()) };
                let (task, network) = (experiment.task, largest(experiment.network));
                let sample = experiment.network.input.len().max(experiment.network.output().len()) as f64;
                fits("task.supervised.train", task.train, &|samples| sample * samples as f64)?;
                let key = if task.batch.is_some() { "task.supervised.batch" } else { "task.supervised.train" };
                fits(key, task.batch(), &|batch| network.values(batch as f64))
            }
        }
    }
}

/// Makes a [`Device`] of a Burn device that the program opened by itself. Its lowering is kept, and it has no limits.
impl From<Placement> for Device {
    fn from(placement: Placement) -> Self {
        let kind = if runs_on_gpu(&placement.device) { DeviceClass::Foreign } else { DeviceClass::Cpu };
        Self { name: format!("{:?}", placement.device), placement, limits: DeviceLimits::default(), kind, note: None }
    }
}

#[cfg(feature = "wgpu")]
fn runs_on_gpu(device: &BurnDevice) -> bool {
    // Only devices of CubeCL have an identity.
    device.identity().is_some()
}

#[cfg(not(feature = "wgpu"))]
fn runs_on_gpu(_: &BurnDevice) -> bool {
    false
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
    use std::sync::{Mutex, OnceLock, PoisonError};

    use burn::cubecl::future::block_on;
    use burn::cubecl::wgpu::{WgpuDevice, WgpuDeviceKind};
    use burn::tensor::wgpu::WgpuBackend;
    use burn::tensor::wgpu::wgpu::{self, AdapterInfo, Backend, Backends};
    use burn::tensor::{DType, Device as BurnDevice, DeviceKind};
    use fintan_net::{DeviceLimits, Lowering, Placement};

    use super::{Adapter, Device, DeviceClass, DeviceError};

    /// An adapter that Burn can open.
    struct Found {
        kind: DeviceKind,
        /// The graphics API on which it was found. Without it, Burn would try all of them again.
        api: WgpuBackend,
        name: String,
        adapter: Adapter,
    }

    /// Instances of a graphics API must not come and go on several threads at once: the Vulkan loader crashes.
    static OPENING: Mutex<()> = Mutex::new(());

    /// The adapters of one graphics API, in order of preference: the first that has hardware, or else the first that has
    /// anything. OpenGL is tried only if `WGPU_BACKEND` asks for it, since looking for it prints lines of errors on machines
    /// without a display.
    fn found() -> &'static [Found] {
        static FOUND: OnceLock<Vec<Found>> = OnceLock::new();
        FOUND.get_or_init(|| {
            let _opening = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
            let wanted = Backends::from_env().unwrap_or(Backends::PRIMARY);
            let apis = [
                (WgpuBackend::Vulkan, Backend::Vulkan),
                (WgpuBackend::Metal, Backend::Metal),
                (WgpuBackend::Dx12, Backend::Dx12),
                (WgpuBackend::Gl, Backend::Gl),
            ];
            let mut software = Vec::new();
            for (api, backend) in apis.into_iter().filter(|(_, backend)| wanted.contains((*backend).into())) {
                let all = sorted(api, &probe(backend.into()));
                if all.iter().any(|found| !found.adapter.software) {
                    return all;
                }
                if software.is_empty() {
                    software = all;
                }
            }
            software
        })
    }

    fn probe(backends: Backends) -> Vec<AdapterInfo> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends,
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        block_on(instance.enumerate_adapters(backends)).iter().map(wgpu::Adapter::get_info).collect()
    }

    fn sorted(api: WgpuBackend, infos: &[AdapterInfo]) -> Vec<Found> {
        let of = |kind: wgpu::DeviceType| infos.iter().filter(move |info| info.device_type == kind);
        let numbered = |kind: wgpu::DeviceType, make: fn(usize) -> DeviceKind, name: &str| -> Vec<Found> {
            let each = of(kind).enumerate().map(|(n, info)| Found {
                kind: make(n),
                api,
                name: info.name.clone(),
                adapter: Adapter { kind: format!("{name} {n}"), software: false },
            });
            each.collect()
        };
        let mut all = numbered(wgpu::DeviceType::DiscreteGpu, DeviceKind::DiscreteGpu, "discrete GPU");
        all.extend(numbered(wgpu::DeviceType::IntegratedGpu, DeviceKind::IntegratedGpu, "integrated GPU"));
        all.extend(numbered(wgpu::DeviceType::VirtualGpu, DeviceKind::VirtualGpu, "virtual GPU"));
        all.extend(of(wgpu::DeviceType::Cpu).take(1).map(|info| Found {
            kind: DeviceKind::Cpu,
            api,
            name: info.name.clone(),
            adapter: Adapter { kind: "software".into(), software: true },
        }));
        all
    }

    /// The GPUs, best kind first; [`Device::gpu`] opens the one with index i.
    ///
    /// Vulkan, Metal and Direct3D 12 are searched, OpenGL only if the environment variable `WGPU_BACKEND` is `gl`.
    ///
    /// ```
    /// assert!(fintan::adapters().iter().all(|adapter| !adapter.kind.is_empty()));
    /// ```
    #[must_use]
    pub fn adapters() -> Vec<Adapter> {
        found().iter().map(|found| found.adapter.clone()).collect()
    }

    pub(super) fn open_wgpu(number: Option<usize>) -> Result<Device, DeviceError> {
        let all = found();
        let number = number.unwrap_or(0);
        let Some(Found { kind, api, name, adapter }) = all.get(number) else {
            return Err(match all.len() {
                0 => DeviceError::NoAdapter,
                count => DeviceError::NoSuchAdapter { number, last: count - 1 },
            });
        };
        if cfg!(feature = "gpu") && adapter.software {
            // The kernels that this feature compiles (SPIR-V) crash Mesa's software Vulkan, and its measurements of kernels take
            // minutes there. Burn chooses the compiler by the graphics API, so it cannot be chosen by adapter.
            return Err(DeviceError::Software { number, adapter: name.clone() });
        }
        let _opening = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
        // Only the fallible constructor reports a driver that fails. The other constructors panic in a separate thread.
        let (device, setup) = BurnDevice::wgpu_options()
            .device_kind(kind.clone())
            .graphics_api(*api)
            .init_with_setup()
            .map_err(|e| DeviceError::NotOpened { number, adapter: adapter.to_string(), message: e.to_string() })?;
        let info = setup.adapter.get_info();
        let name = format!("wgpu:{number} {} ({adapter}, {:?})", info.name, info.backend);
        let identity = [&info.name, &info.driver, &info.driver_info, &format!("{:?}", info.backend)]
            .map(String::as_str)
            .join(", ");
        Ok(Device {
            placement: Placement { device, dtype: DType::F32, lowering: Lowering::Native },
            name,
            limits: limits(kind, *api),
            kind: DeviceClass::Adapter { identity, software: adapter.software },
            note: None,
        })
    }

    /// What CubeCL, which allocates, read from the driver of an open device.
    fn limits(kind: &DeviceKind, api: WgpuBackend) -> DeviceLimits {
        let kind = match *kind {
            DeviceKind::DiscreteGpu(n) => WgpuDeviceKind::DiscreteGpu(n),
            DeviceKind::IntegratedGpu(n) => WgpuDeviceKind::IntegratedGpu(n),
            DeviceKind::VirtualGpu(n) => WgpuDeviceKind::VirtualGpu(n),
            DeviceKind::Cpu => WgpuDeviceKind::Cpu,
            DeviceKind::DefaultDevice => WgpuDeviceKind::DefaultDevice,
            DeviceKind::Existing(id) => WgpuDeviceKind::Existing(id),
        };
        let client = burn::cubecl::Device::Wgpu(WgpuDevice::new(kind).on(api)).client();
        let memory = &client.properties().memory;
        let (largest_tensor, memory) = (memory.max_page_size as f64, memory.max_memory().map(|bytes| bytes as f64));
        DeviceLimits { largest_tensor: Some(largest_tensor), memory }
    }
}

#[cfg(feature = "wgpu")]
pub use wgpu::adapters;
#[cfg(feature = "wgpu")]
use wgpu::open_wgpu;
