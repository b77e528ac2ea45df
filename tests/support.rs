//! Running the program in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use burn::tensor::DType;
use fintan_artifact::{LogLine, RunDir};
use fintan_net::Placement;

/// A folder that goes away with the test.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// The program, to be run in `folder`.
pub(crate) fn fintan(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fintan"));
    command.current_dir(folder).env("NO_COLOR", "1").env("XDG_RUNTIME_DIR", folder);
    command
}

/// Runs the program and gives its exit code, stdout and stderr.
pub(crate) fn run(folder: &Path, args: &[&str]) -> (i32, String, String) {
    answer(fintan(folder).args(args).output().expect("the program starts"))
}

pub(crate) fn answer(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// Runs the program, which must succeed.
pub(crate) fn succeed(folder: &Path, args: &[&str]) -> String {
    let (code, stdout, stderr) = run(folder, args);
    assert_eq!(code, 0, "fintan {args:?}\n{stdout}{stderr}");
    stdout
}

/// A GAN so small that a step takes a millisecond or two.
pub(crate) const TINY: &str = r"
data.shapes.count = 256
image = { size = 8, flip = true }

[generator]
latent = 6
parametrization = { ntk = { beta = 0.1 } }
optimizer.adam.rate = 2e-3
dcgan = { channels = 8, extra = 1, norm = { batch = {} } }

[discriminator]
optimizer.sgd = { rate = 0.01, momentum = 0.5 }
dcgan = { channels = 8, norm = { layer = {} } }

[train]
steps = 100
batch = 8
n_critic = 2
label_smoothing = 0.1
ema = 0.9
log_every = 5
grid_every = 50
grid = [2, 3]
checkpoint_every = 50
";

/// Writes a configuration and gives its path.
pub(crate) fn config(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("tiny.toml");
    std::fs::write(&path, text).expect("written");
    path
}

/// The log of a run without its timings.
pub(crate) fn log(run: &Path) -> Vec<LogLine> {
    let run = RunDir::open(run).expect("a run");
    run.read_log().expect("a log").into_iter().map(LogLine::without_timings).collect()
}

/// Names and bytes of all files below a folder, in order.
pub(crate) fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    fn walk(root: &Path, folder: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
        for entry in std::fs::read_dir(folder).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                let name = path.strip_prefix(root).expect("below").to_path_buf();
                found.push((name, std::fs::read(&path).expect("readable")));
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, folder, &mut found);
    found.sort();
    found
}

/// The GPU, in single precision, where there is one: CPUs have the same tests in the crates that compute.
#[cfg(feature = "wgpu")]
pub(crate) fn placements(dtype: DType) -> Vec<Placement> {
    use burn::tensor::{Device, DeviceKind, DeviceType};
    // Several tests of this process want it, and a device is opened once.
    static OPENED: std::sync::OnceLock<Option<Device>> = std::sync::OnceLock::new();
    if dtype != DType::F32 {
        return Vec::new();
    }
    let open = || {
        if !crate::devices::wgpu_at_hand("given weights on wgpu") {
            return None;
        }
        let found: Vec<String> = Device::enumerate(DeviceType::Wgpu).into_iter().map(|d| format!("{d:?}")).collect();
        let is = |kind: &str| found.iter().any(|device| device.contains(&format!("kind: {kind}")));
        let kind = match () {
            () if is("DiscreteGpu") => DeviceKind::DiscreteGpu(0),
            () if is("IntegratedGpu") => DeviceKind::IntegratedGpu(0),
            () if is("VirtualGpu") => DeviceKind::VirtualGpu(0),
            () => DeviceKind::Cpu,
        };
        Some(Device::wgpu_options().device_kind(kind).init_with_setup().expect("an adapter that was found").0)
    };
    let device = OPENED.get_or_init(open).clone();
    device.map(|device| Placement { device, dtype, lowering: fintan_net::Lowering::Native }).into_iter().collect()
}

/// None without GPU support.
#[cfg(not(feature = "wgpu"))]
pub(crate) fn placements(_: DType) -> Vec<Placement> {
    Vec::new()
}
