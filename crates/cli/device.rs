//! Which device computes, and how it is opened.

use std::fmt;
use std::str::FromStr;

use burn::tensor::{DType, Device};
use fintan_config::{Held, MemoryBound};
use fintan_net::{Lowering, Placement};

use crate::failure::Failure;

/// What `--device` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// A real GPU if there is one, else flex.
    Auto,
    /// Burn's fast CPU backend.
    Flex,
    /// The CPU backend on the ndarray crate.
    NdArray,
    /// A GPU through wgpu: the first real one, or the n-th of the list.
    Wgpu(Option<usize>),
}

impl Choice {
    /// What networks may take of the host's memory.
    pub(crate) fn bound(self, held: Held) -> MemoryBound {
        let on_gpu = match self {
            Self::Flex | Self::NdArray => false,
            Self::Wgpu(_) => true,
            Self::Auto => adapters().iter().any(|adapter| !adapter.software),
        };
        bound(held, on_gpu)
    }
}

/// On a GPU networks stay elsewhere; only what is drawn passes through the host.
fn bound(held: Held, on_gpu: bool) -> MemoryBound {
    MemoryBound { held: if on_gpu { Held::Layer } else { held }, free: crate::memory::free() }
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "flex" => Ok(Self::Flex),
            "ndarray" => Ok(Self::NdArray),
            "wgpu" => Ok(Self::Wgpu(None)),
            _ => text
                .strip_prefix("wgpu:")
                .and_then(|n| n.parse().ok())
                .map(|n| Self::Wgpu(Some(n)))
                .ok_or_else(|| "allowed are auto, flex, ndarray, wgpu and wgpu:N".into()),
        }
    }
}

/// An opened device.
#[derive(Debug, Clone)]
pub(crate) struct Opened {
    /// Where networks go.
    pub placement: Placement,
    /// Its name, for people and manifests.
    pub name: String,
}

impl Opened {
    /// What networks may take of the host's memory.
    pub(crate) fn bound(&self, held: Held) -> MemoryBound {
        bound(held, self.name.starts_with("wgpu"))
    }
}

/// What a GPU is, as far as choosing one goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Adapter {
    /// `discrete GPU 0`, ..
    pub kind: String,
    /// Whether it is software on the CPU.
    pub software: bool,
}

impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind, if self.software { " on the CPU, slow" } else { "" })
    }
}

/// Opens what was asked for. `auto` falls back to flex; nothing else falls back.
pub(crate) fn open(choice: Choice) -> Result<Opened, Failure> {
    let cpu = |device, lowering, name: &str| Opened {
        placement: Placement { device, dtype: DType::F32, lowering },
        name: format!("{name} (CPU, {} threads)", threads()),
    };
    match choice {
        Choice::Flex => Ok(cpu(Device::flex(), Lowering::Host, "flex")),
        Choice::NdArray => Ok(cpu(ndarray(), Lowering::Host, "ndarray")),
        Choice::Wgpu(number) => open_wgpu(number),
        Choice::Auto => match adapters().iter().position(|adapter| !adapter.software) {
            Some(number) => open_wgpu(Some(number)),
            None => open(Choice::Flex),
        },
    }
}

/// Threads that the CPU backends use.
pub(crate) fn threads() -> usize {
    let wanted = std::env::var("RAYON_NUM_THREADS").ok().and_then(|n| n.parse().ok()).filter(|&n: &usize| n > 0);
    wanted.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, Into::into))
}

#[expect(deprecated, reason = "ndarray is a named backend of this program; Burn keeps it until 0.23")]
fn ndarray() -> Device {
    Device::ndarray()
}

#[cfg(not(feature = "wgpu"))]
fn open_wgpu(_: Option<usize>) -> Result<Opened, Failure> {
    Err(Failure::input("this program was built without wgpu; use --device flex, or build it with the `wgpu` feature"))
}

/// GPUs, the best kind first.
#[cfg(not(feature = "wgpu"))]
pub(crate) fn adapters() -> Vec<Adapter> {
    Vec::new()
}

#[cfg(feature = "wgpu")]
mod wgpu {
    use burn::tensor::{DType, Device, DeviceKind, DeviceType};
    use fintan_net::{Lowering, Placement};

    use super::{Adapter, Opened};
    use crate::failure::Failure;

    /// The kinds that Burn can be asked for, in the order of preference.
    fn found() -> Vec<(DeviceKind, Adapter)> {
        // Burn names the adapters of a machine by kind and number, in the debug form of its device alone.
        let devices: Vec<String> = Device::enumerate(DeviceType::Wgpu).into_iter().map(|d| format!("{d:?}")).collect();
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

    /// GPUs, the best kind first.
    pub(crate) fn adapters() -> Vec<Adapter> {
        found().into_iter().map(|(_, adapter)| adapter).collect()
    }

    pub(super) fn open_wgpu(number: Option<usize>) -> Result<Opened, Failure> {
        let all = found();
        let n = number.unwrap_or(0);
        let Some((kind, adapter)) = all.get(n) else {
            return Err(Failure::input(if all.is_empty() {
                "wgpu finds no graphics adapter on this machine; use --device flex, or install a Vulkan driver".into()
            } else {
                format!("there is no wgpu:{n}; `fintan devices` lists wgpu:0 to wgpu:{}", all.len() - 1)
            }));
        };
        // Only the fallible constructor tells of a driver that fails; the others panic in a thread of their own.
        let (device, setup) = Device::wgpu_options()
            .device_kind(kind.clone())
            .init_with_setup()
            .map_err(|e| Failure::input(format!("wgpu cannot open wgpu:{n} ({adapter}): {e}")))?;
        let info = setup.adapter.get_info();
        let name = format!("wgpu:{n} {} ({adapter}, {:?})", info.name, info.backend);
        Ok(Opened { placement: Placement { device, dtype: DType::F32, lowering: Lowering::Native }, name })
    }
}

#[cfg(feature = "wgpu")]
pub(crate) use wgpu::adapters;
#[cfg(feature = "wgpu")]
use wgpu::open_wgpu;
