//! The memory of a long run: `fintan train` from outside.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The resident memory of the program at every tenth of a run of so many steps. By default the run is small and has what runs
/// have: logs, grids, checkpoints, the kernel beside training.
pub(crate) fn run(steps: usize, given: Option<&str>) {
    let folder = tempfile::tempdir().expect("a folder");
    let [config, out] = ["steady.toml", "run"].map(|name| folder.path().join(name));
    let part = (steps / 10).max(1);
    let text = format!(
        "image = {{ size = 16, channels = 1 }}\ndata.shapes.count = 1024\n\
         generator = {{ latent = 16, dcgan.channels = 16, optimizer.adam.rate = 1e-3 }}\n\
         discriminator = {{ dcgan.channels = 16, optimizer.adam.rate = 1e-3 }}\n\
         train = {{ steps = {steps}, batch = 16, log_every = 10, grid_every = {part}, checkpoint_every = {part}, ema = 0.99 }}\n\
         observe.ntk = {{ every = {part} }}\n"
    );
    fs_err::write(&config, text).expect("written");
    let what = given.unwrap_or("a DCGAN of 16 channels on 16x16 images, batch 16");
    let config = given.map_or(config, PathBuf::from);
    println!("`fintan train`, {steps} steps, flex: {what}\n");
    println!("| step | resident MB | peak MB | s |\n|---|---|---|---|");
    let mut program = Command::new(env!("CARGO_BIN_EXE_fintan"));
    program.arg("train").arg(&config).arg("--out").arg(&out).args(["--device", "flex", "--quiet"]);
    program.arg("--set").arg(format!("train.steps={steps}"));
    let mut program = program.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("the program starts");
    let (start, status, log) = (Instant::now(), format!("/proc/{}/status", program.id()), out.join("log.jsonl"));
    let (mut next, mut seen) = (part, Vec::new());
    let ended = loop {
        thread::sleep(Duration::from_millis(50));
        let ended = program.try_wait().expect("a child");
        let text = fs_err::read_to_string(&status).unwrap_or_default();
        let of = |name: &str| -> Option<f64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.trim().strip_suffix(" kB")?.parse::<f64>().ok()? * 1.024e-3)
        };
        let done = last_step(&fs_err::read_to_string(&log).unwrap_or_default());
        if let (true, Some(resident), Some(peak)) = (done >= next, of("VmRSS:"), of("VmHWM:")) {
            println!("| {done} | {resident:.1} | {peak:.1} | {:.0} |", start.elapsed().as_secs_f64());
            seen.push((done, resident));
            next = done / part * part + part;
        }
        if let Some(ended) = ended {
            break ended;
        }
    };
    assert!(ended.success(), "the run ends: {ended}");
    if let [(from, first), .., (to, last)] = seen[..] {
        println!("\nGrowth from step {from} to step {to}: {:.1} MB.", last - first);
    }
}

/// The number in the last whole line of a log.
fn last_step(log: &str) -> usize {
    let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let step = |line: &str| serde_json::from_str::<serde_json::Value>(line).ok()?["step"].as_u64();
    whole.lines().rev().find_map(step).unwrap_or(0) as usize
}
