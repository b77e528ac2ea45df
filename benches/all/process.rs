//! Measurements in processes of their own, so that thread counts, caches and peaks of memory do not mix.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// This program again, with other arguments.
pub(crate) fn own(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a path"));
    command.args(args);
    command
}

/// The Python in which peers are installed: `$PYTHON`, or `python3`.
pub(crate) fn python(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var("PYTHON").unwrap_or_else(|_| "python3".into()));
    command.args(args);
    command
}

/// The value that `python` prints, or the last line of its complaint.
pub(crate) fn python_says(code: &str) -> Result<String, String> {
    let output = python(&["-W", "ignore", "-c", code]).env("TF_CPP_MIN_LOG_LEVEL", "3").output();
    let output = output.map_err(|e| e.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(complaint.lines().last().unwrap_or("it failed").to_owned())
}

/// Runs `command` on so many threads, for at most so many seconds. The result is the JSON object in its last line.
///
/// # Errors
/// Why there is none: the last line of stderr, or the time.
pub(crate) fn measured(command: &Command, threads: usize, seconds: u64) -> Result<Value, String> {
    let mut pinned = pinned(command, threads);
    for variable in ["RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"] {
        pinned.env(variable, threads.to_string());
    }
    // Peers are measured on the CPU, and are silent.
    pinned.env("CUDA_VISIBLE_DEVICES", "").env("JAX_PLATFORMS", "cpu").env("TF_CPP_MIN_LOG_LEVEL", "3");
    let folder = tempfile::tempdir().expect("a folder");
    let [out, err] = ["out", "err"].map(|name| folder.path().join(name));
    let file = |path| Stdio::from(fs_err::File::create(path).expect("a file").into_parts().0);
    let child = pinned.stdin(Stdio::null()).stdout(file(&out)).stderr(file(&err)).spawn();
    let mut child = child.map_err(|e| e.to_string())?;
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
            break status;
        }
        if start.elapsed() > Duration::from_secs(seconds) {
            child.kill().and_then(|()| child.wait()).map_err(|e| e.to_string())?;
            return Err(format!("more than {seconds} s"));
        }
        thread::sleep(Duration::from_millis(20));
    };
    let [out, err] =
        [out, err].map(|path| String::from_utf8_lossy(&fs_err::read(path).unwrap_or_default()).into_owned());
    if !status.success() {
        return Err(err.lines().last().unwrap_or("it failed").to_owned());
    }
    serde_json::from_str(out.lines().last().unwrap_or_default()).map_err(|e| e.to_string())
}

/// The command on the last processors of this process, if it is for fewer than all and `taskset` is there.
fn pinned(command: &Command, threads: usize) -> Command {
    let processors = processors();
    let mut pinned = Command::new("taskset");
    if threads < processors.len() && Command::new("taskset").arg("-V").output().is_ok() {
        let last: Vec<String> = processors[processors.len() - threads..].iter().map(usize::to_string).collect();
        pinned.args(["-c", &last.join(",")]).arg(command.get_program());
    } else {
        pinned = Command::new(command.get_program());
    }
    pinned.args(command.get_args());
    pinned
}

/// The numbers of the processors on which this process may run.
fn processors() -> Vec<usize> {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
    let ranges = list.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse().ok()?..=last.parse().ok()?)
    });
    let found: Vec<usize> = ranges.flatten().collect();
    let count = thread::available_parallelism().map_or(1, usize::from);
    if found.is_empty() { (0..count).collect() } else { found }
}

/// The median.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The median of a list in a result.
pub(crate) fn median_of(result: &Value, key: &str) -> f64 {
    median(result[key].as_array().into_iter().flatten().filter_map(Value::as_f64).collect())
}
