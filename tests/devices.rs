//! One seed, one training run, whatever the device.

use std::path::Path;

use fintan_artifact::LogLine;

use crate::support::{TINY, config, folder, log, run, succeed};

const PAIR: &str = r#"
data.shapes.count = 64
image.size = 8

[generator]
latent = 4
parametrization = { graph = { beta = 0.1 } }
optimizer.adam.rate = 2e-3
dcgan = { channels = 4, norm = { batch = {} }, activation = { function = "relu", scaling = "normalized" } }

[discriminator]
optimizer.adam.rate = 2e-3
dcgan = { channels = 4 }

[train]
steps = 20
batch = 4
log_every = 1
grid = [2, 2]
"#;

/// Whether wgpu can be tested here. `FINTAN_REQUIRE_WGPU=1` turns a missing adapter from a skip into a failure.
pub(crate) fn wgpu_at_hand(test: &str) -> bool {
    let folder = folder();
    let at_hand = succeed(folder.path(), &["devices", "--json"]).contains("\"wgpu:0\"");
    // With the feature `gpu`, software adapters are listed but not opened.
    let at_hand = at_hand && !(cfg!(feature = "gpu") && fintan::adapters().iter().all(|adapter| adapter.software));
    let required = std::env::var("FINTAN_REQUIRE_WGPU").is_ok_and(|v| v == "1");
    assert!(at_hand || !required, "FINTAN_REQUIRE_WGPU is set, but there is no graphics adapter");
    if !at_hand {
        eprintln!("skipped: {test}: no graphics adapter");
    }
    at_hand
}

/// The logs of one configuration on each device.
fn logs(folder: &Path, devices: &[&str]) -> Vec<Vec<LogLine>> {
    let each = devices.iter().map(|device| {
        let out = folder.join(device.replace(':', ""));
        let args = ["train", "tiny.toml", "--device", device, "--out", out.to_str().expect("UTF-8"), "--quiet"];
        succeed(folder, &args);
        log(&out)
    });
    each.collect()
}

/// Second derivatives through Burn's convolutions on wgpu, through strided views elsewhere; and a spectral norm.
#[test]
fn penalties_agree_between_ndarray_flex_and_wgpu() {
    let folder = folder();
    let text = TINY
        .replace("label_smoothing = 0.1", "")
        .replace("[discriminator]", "[discriminator]\nspectral_norm = {}")
        .replace("log_every = 5", "log_every = 2")
        .replace("steps = 100", "steps = 4")
        .replace("batch = 8", "batch = 4");
    config(folder.path(), &format!("{text}\n[loss]\nfunction = {{ wgan_gp = {{}} }}\nr1.gamma = 1.0\n"));
    let mut devices = vec!["flex", "ndarray"];
    if wgpu_at_hand("penalties on wgpu are those of the CPU backends") {
        devices.push("wgpu:0");
    }
    let logs = logs(folder.path(), &devices);
    for (device, other) in devices.iter().zip(&logs).skip(1) {
        assert_eq!(other.len(), 2);
        for (a, b) in logs[0].iter().zip(other) {
            let penalties = [a, b].map(|line| line.d_penalty.expect("in every step"));
            for [x, y] in [penalties, [a.d_loss, b.d_loss], [a.g_loss, b.g_loss]] {
                assert!((x - y).abs() <= 1e-4 * x.abs().max(0.1), "{device}, step {}: {x} and {y}", a.step);
            }
        }
    }
}

#[test]
fn first_losses_agree_between_ndarray_flex_and_wgpu() {
    let folder = folder();
    config(folder.path(), PAIR);
    let mut devices = vec!["flex", "ndarray"];
    if wgpu_at_hand("wgpu trains like the CPU backends") {
        devices.push("wgpu:0");
    }
    let logs = logs(folder.path(), &devices);
    for (device, other) in devices.iter().zip(&logs).skip(1) {
        assert_eq!(other.len(), 20);
        for (a, b) in logs[0].iter().zip(other) {
            for (x, y) in [(a.d_loss, b.d_loss), (a.g_loss, b.g_loss), (a.correlation, b.correlation)] {
                assert!((x - y).abs() <= 1e-3 * x.abs().max(0.1), "{device}, step {}: {x} and {y}", a.step);
            }
        }
    }
}

#[test]
fn devices_are_listed_and_wrong_ones_refused() {
    let folder = folder();
    let told = succeed(folder.path(), &["devices"]);
    assert!(told.contains("flex") && told.contains("ndarray") && told.contains("<- auto"), "{told}");
    config(folder.path(), PAIR);
    let (code, _, stderr) = run(folder.path(), &["check", "tiny.toml", "--device", "wgpu:97"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("wgpu"), "{stderr}");
    let (code, _, stderr) = run(folder.path(), &["check", "tiny.toml", "--device", "tpu"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("allowed are auto, flex, ndarray, wgpu and wgpu:N"), "{stderr}");
}

/// With no driver to be found, wgpu is one clear message and `auto` is flex.
#[test]
fn without_a_driver_wgpu_says_so_and_auto_falls_back() {
    let folder = folder();
    config(folder.path(), PAIR);
    let without = |args: &[&str]| {
        let mut command = crate::support::fintan(folder.path());
        for (name, value) in [
            ("VK_DRIVER_FILES", "/nonexistent"),
            ("VK_ICD_FILENAMES", "/nonexistent"),
            ("__EGL_VENDOR_LIBRARY_FILENAMES", "/nonexistent"),
            ("LIBGL_DRIVERS_PATH", "/nonexistent"),
            ("GALLIUM_DRIVER", "none"),
        ] {
            command.env(name, value);
        }
        crate::support::answer(command.args(args).output().expect("starts"))
    };
    if without(&["devices"]).1.contains("wgpu:0") {
        eprintln!("skipped: the driver of this machine cannot be hidden");
    } else {
        let (code, _, stderr) = without(&["check", "tiny.toml", "--device", "wgpu"]);
        assert_eq!(code, 2);
        assert!(stderr.contains("wgpu finds no graphics adapter") || stderr.contains("built without wgpu"), "{stderr}");
    }
    let (code, stdout, stderr) = without(&["check", "tiny.toml", "--device", "auto"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("cost on flex") || stdout.contains("cost on wgpu"), "{stdout}");
}
