//! What depends on the GPU: its largest tensor, the method of its convolutions, and the search for it.

use crate::devices::wgpu_at_hand;
use crate::support::{folder, run, succeed};

const CONV: &str = "
data.shapes.count = 16
image = { size = 8, channels = 1 }
generator = { latent = 4, dcgan.channels = 4, optimizer.adam.rate = 1e-3 }
discriminator = { dcgan.channels = 4, optimizer.adam.rate = 1e-3 }
train = { steps = 2, batch = 4, log_every = 1, grid = [2, 2] }
";

/// The value of a key of `env.json`.
fn recorded(run: &std::path::Path, key: &str) -> Option<String> {
    let text = fs_err::read_to_string(run.join("env.json")).expect("a run");
    let env: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    env.get(key).and_then(|value| value.as_str()).map(str::to_owned)
}

/// A run on a GPU records how its convolutions were computed; a resumed run takes the record, and a CPU has none.
#[test]
fn runs_record_the_method_of_convolutions_and_resume_with_it() {
    let folder = folder();
    crate::support::config(folder.path(), CONV);
    succeed(folder.path(), &["train", "tiny.toml", "--device", "flex", "--out", "cpu", "--quiet"]);
    assert_eq!(recorded(&folder.path().join("cpu"), "lowering"), None);
    if !wgpu_at_hand("the method of convolutions on wgpu") {
        return;
    }
    let out = folder.path().join("gpu");
    succeed(folder.path(), &["train", "tiny.toml", "--device", "wgpu", "--out", "gpu", "--quiet"]);
    assert_eq!(recorded(&out, "lowering").as_deref(), Some("native"));
    // Had it been chosen by measurement on another day, the other method would continue.
    let text = fs_err::read_to_string(out.join("env.json")).expect("a run");
    fs_err::write(out.join("env.json"), text.replace("\"native\"", "\"views\"")).expect("written");
    succeed(folder.path(), &["resume", "gpu", "--device", "wgpu", "--steps", "3", "--quiet"]);
    assert_eq!(recorded(&out, "lowering").as_deref(), Some("views"));
    let losses = |run: &str| -> Vec<f64> {
        let lines = crate::support::log(&folder.path().join(run));
        lines.iter().flat_map(|line| [line.d_loss, line.g_loss]).collect()
    };
    succeed(folder.path(), &["resume", "cpu", "--device", "flex", "--steps", "3", "--quiet"]);
    for (on_gpu, on_cpu) in losses("gpu").into_iter().zip(losses("cpu")) {
        assert!((on_gpu - on_cpu).abs() < 1e-4 * on_cpu.abs(), "{on_gpu} and {on_cpu}");
    }
}

/// Machines without a display printed eight lines of errors from the search for OpenGL.
#[test]
fn the_search_for_gpus_prints_nothing_without_a_display() {
    let folder = folder();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_fintan"))
        .args(["devices", "--json"])
        .current_dir(folder.path())
        .env_remove("XDG_RUNTIME_DIR")
        .env_remove("DISPLAY")
        .env_remove("WAYLAND_DISPLAY")
        .output()
        .expect("the program runs");
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// With the feature `gpu`, software adapters ended by a segmentation fault.
#[cfg(feature = "gpu")]
#[test]
fn software_adapters_are_refused_with_the_feature_gpu() {
    let software = fintan::adapters().iter().position(|adapter| adapter.software);
    let Some(n) = software else { return };
    let error = fintan::Device::gpu(n).expect_err("refused");
    assert!(matches!(error, fintan::DeviceError::Software { .. }), "{error}");
}

#[cfg(feature = "wgpu")]
mod small_tensors {
    use burn::cubecl::future::block_on;
    use burn::tensor::wgpu::WgpuSetup;
    use burn::tensor::wgpu::wgpu::{self, Backend, Backends, Features};
    use burn::tensor::{DType, Device, Tensor, TensorData};
    use fintan::{Entries, Method};
    use fintan_config::{Architecture, Parametrization, Shape};
    use fintan_net::{DeviceLimits, Lowering, Mode, PlacedNetwork, Placement};
    use fintan_ntk::{KernelParts, KernelPlan, KernelRequest, PlanError};
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;

    /// Bytes of the largest tensor.
    const LARGEST: u64 = 256 << 10;

    /// The first adapter of Vulkan, whose kernels may bind at most this number of bytes of a tensor.
    fn limited(bytes: u64) -> Device {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: Backends::VULKAN,
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let adapter = block_on(instance.enumerate_adapters(Backends::VULKAN)).remove(0);
        let mut limits = adapter.limits();
        limits.max_storage_buffer_binding_size = bytes;
        let descriptor = wgpu::DeviceDescriptor {
            required_features: adapter
                .features()
                .difference(Features::MAPPABLE_PRIMARY_BUFFERS | Features::all_experimental_mask()),
            required_limits: limits,
            ..wgpu::DeviceDescriptor::default()
        };
        let (device, queue) = block_on(adapter.request_device(&descriptor)).expect("a device");
        let setup = WgpuSetup { instance, adapter, device, queue, backend: Backend::Vulkan };
        Device::wgpu_options().setup(setup).init().expect("a device")
    }

    fn request(placement: &Placement, entries: Entries) -> KernelRequest {
        let layers = r#"[
            { "conv": { "out": 8, "kernel": 3, "padding": 1 } }, { "activation": { "function": "tanh" } },
            { "deconv": { "out": 1, "kernel": 4, "stride": 2, "padding": 1 } }
        ]"#;
        let layers: Vec<fintan_config::Layer> = serde_json::from_str(layers).expect("layers");
        let network = Architecture::new(Shape::image(2, 6, 6), &layers, Parametrization::default()).expect("a network");
        let network = PlacedNetwork::init(&network, &mut rand_chacha::ChaCha20Rng::seed_from_u64(3), placement);
        let values: Vec<f64> = (0..6 * 72).map(|i| (f64::from(i) * 0.7).sin()).collect();
        let data = TensorData::new(values, [6, 6, 6, 2]).convert_dtype(placement.dtype);
        let x = Tensor::<4>::from_data(data, (&placement.device, placement.dtype));
        let outputs = (0..144).step_by(5).collect();
        KernelRequest::new(network, x, None, Mode::Eval, entries, outputs).expect("a kernel").without_parts()
    }

    /// wgpu refuses tensors above 2 GiB. Here the bound is so small that one tile does not fit, and the driver itself checks
    /// that no planned tensor is larger.
    #[test]
    fn no_planned_tensor_is_larger_than_the_device_allows() {
        if !wgpu_at_hand("the largest tensor of wgpu") {
            return;
        }
        let device = limited(LARGEST);
        let limits = DeviceLimits { largest_tensor: Some(LARGEST as f64), memory: None };
        let cpu = Placement { device: Device::flex(), dtype: DType::F64, lowering: Lowering::Host };
        for (lowering, entries, method) in [
            (Lowering::Native, Entries::Full, Method::Structured),
            (Lowering::Views, Entries::Traced, Method::Structured),
            (Lowering::Native, Entries::Traced, Method::NtkVectorProducts),
        ] {
            let placement = Placement { device: device.clone(), dtype: DType::F32, lowering };
            let problem = request(&placement, entries);
            let free = KernelPlan::new(&problem, Some(method), f64::INFINITY).expect("a plan");
            let problem = problem.with_limits(limits);
            let plan = KernelPlan::new(&problem, Some(method), f64::INFINITY).expect("a plan");
            if method == Method::Structured {
                assert!(plan.tiles.len() > free.tiles.len(), "{lowering:?} {entries:?}");
            }
            let on_gpu: Vec<f64> = KernelParts::compute(&problem, &plan).total().iter().collect();
            let reference = request(&cpu, entries);
            let plan = KernelPlan::new(&reference, None, f64::INFINITY).expect("a plan");
            let exact: Vec<f64> = KernelParts::compute(&reference, &plan).total().iter().collect();
            let scale = exact.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
            for (found, exact) in on_gpu.iter().zip(&exact) {
                assert!((found - exact).abs() < 1e-5 * scale, "{lowering:?} {entries:?}: {found} for {exact}");
            }
        }
    }

    #[test]
    fn a_sample_that_does_not_fit_is_refused_with_the_size_of_its_tensor() {
        let cpu = Placement { device: Device::flex(), dtype: DType::F32, lowering: Lowering::Views };
        let limits = DeviceLimits { largest_tensor: Some(1000.0), memory: None };
        let problem = request(&cpu, Entries::Full).with_limits(limits);
        let error = KernelPlan::new(&problem, None, f64::INFINITY).expect_err("too large");
        assert!(matches!(error, PlanError::Tensor { samples: 1, outputs: 1, .. }), "{error}");
        let limits = DeviceLimits { largest_tensor: None, memory: Some(1000.0) };
        let problem = request(&cpu, Entries::Full).with_limits(limits);
        let error = KernelPlan::new(&problem, None, f64::INFINITY).expect_err("too large");
        assert!(matches!(error, PlanError::DeviceMemory { .. }), "{error}");
    }

    #[test]
    fn a_batch_that_the_device_does_not_hold_is_refused_with_the_largest_that_fits() {
        let folder = folder();
        let path = crate::support::config(folder.path(), CONV);
        let mut device = fintan::Device::cpu();
        device.limits.largest_tensor = Some(30_000.0);
        let train =
            |batch: &str| fintan::train(&path).device(device.clone()).set(batch).out(folder.path().join(batch)).run();
        let error = train("train.batch=64").map(drop).expect_err("too large").to_string();
        assert!(error.starts_with("`train.batch` = 64 needs a tensor of"), "{error}");
        let fits = error.split("at most ").last().and_then(|rest| rest.split(' ').next()).expect("a number");
        assert!(train(&format!("train.batch={fits}")).is_ok(), "{error}");
        let more = fits.parse::<usize>().expect("a number") + 1;
        assert!(train(&format!("train.batch={more}")).is_err(), "{error}");
    }

    #[test]
    fn the_device_says_its_largest_tensor() {
        if !wgpu_at_hand("the limits of wgpu") {
            return;
        }
        let device = fintan::Device::gpu(0).expect("a device");
        // Every implementation of Vulkan binds at least 128 MiB, and none more than it can address.
        let largest = device.limits.largest_tensor.expect("a bound");
        assert!((2_f64.powi(27)..2_f64.powi(64)).contains(&largest), "{largest}");
        assert!(run(folder().path(), &["devices"]).0 == 0);
    }
}
