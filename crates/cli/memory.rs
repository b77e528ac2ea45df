//! The allocator's habits, and how much memory there is.

/// Keeps freed memory in the process.
///
/// A training step allocates and frees some hundred tensors of megabytes. By default glibc maps each from the kernel and
/// gives it back, and the kernel clears every page anew: a quarter of the time of a step.
///
/// # Measured
/// `cargo bench --bench train_step -- --one flex none 10`, one thread: 805 and 744 ms a step without, 573 and 633 ms with,
/// in turn in one run (set from outside, through glibc's `MALLOC_` variables with a pad of 256 MB).
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn keep() {
    #[expect(unsafe_code, reason = "glibc has no other way than `mallopt`; the gain is written above")]
    // SAFETY: `mallopt` takes two integers, has no preconditions, and is called before any thread is started.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 30);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        libc::mallopt(libc::M_TOP_PAD, 64 << 20);
    }
}

/// Other allocators keep what they have.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn keep() {}

/// Bytes that this process may still take, where the system says so: the least of what is free on the machine, in its
/// control group, and below its limit on address space (`ulimit -v`).
#[allow(dead_code, reason = "benches share this file for the allocator alone")]
pub(crate) fn free() -> Option<f64> {
    [free_on_machine(), free_in_group(), free_below_limit()].into_iter().flatten().reduce(f64::min)
}

/// The first number behind `name` in a text of lines.
fn number(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

fn free_on_machine() -> Option<f64> {
    Some(number(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")? * 1024.0)
}

/// Of control groups in their second version; a container sees its own at the root.
fn free_in_group() -> Option<f64> {
    let group = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = group.lines().find_map(|line| line.strip_prefix("0::/"))?.trim_end();
    let bytes = |name: &str| -> Option<f64> {
        let file = std::path::Path::new("/sys/fs/cgroup").join(path).join(name);
        std::fs::read_to_string(file).ok()?.trim().parse().ok()
    };
    // File caches count as used, but give way.
    let file = std::path::Path::new("/sys/fs/cgroup").join(path).join("memory.stat");
    let caches = std::fs::read_to_string(file).ok().and_then(|stat| number(&stat, "inactive_file ")).unwrap_or(0.0);
    Some((bytes("memory.max")? - bytes("memory.current")? + caches).max(0.0))
}

fn free_below_limit() -> Option<f64> {
    let limit = number(&std::fs::read_to_string("/proc/self/limits").ok()?, "Max address space")?;
    let taken = number(&std::fs::read_to_string("/proc/self/status").ok()?, "VmSize:")? * 1024.0;
    Some((limit - taken).max(0.0))
}
