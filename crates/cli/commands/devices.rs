//! `fintan devices`

use fintan::{Device, DeviceChoice, adapters, threads};

use crate::args::Devices;
use crate::voice::{answer, answer_json};

/// Lists the devices. GPUs are opened, so that every listed GPU works.
pub(super) fn devices(args: &Devices) {
    let adapters = adapters();
    let mut rows: Vec<(String, String)> =
        ["flex", "ndarray"].map(|name| (name.into(), format!("CPU, {} threads", threads()))).to_vec();
    for (n, adapter) in adapters.iter().enumerate() {
        let name = match Device::open(DeviceChoice::Wgpu(Some(n))) {
            Ok(opened) => opened.name.trim_start_matches(&format!("wgpu:{n} ")).to_owned(),
            Err(_) => format!("{adapter}: cannot be opened"),
        };
        rows.push((format!("wgpu:{n}"), name));
    }
    let auto = adapters.iter().position(|a| !a.software).map_or("flex".into(), |n| format!("wgpu:{n}"));
    if args.voice.json {
        let rows: Vec<_> =
            rows.iter().map(|(device, name)| serde_json::json!({"device": device, "name": name})).collect();
        answer_json(&serde_json::json!({ "devices": rows, "auto": auto }));
        return;
    }
    for (device, name) in rows {
        answer!("{device:8} {name}{}", if device == auto { "   <- auto" } else { "" });
    }
}
