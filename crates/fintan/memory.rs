//! Amounts of memory: how much is free, and how a text names them.

/// Why an amount of memory cannot be read.
///
/// ```
/// use fintan::{MemoryError, parse_memory};
///
/// assert_eq!(parse_memory("4 gallons"), Err(MemoryError::Unit));
/// assert_eq!(parse_memory("0 GB"), Err(MemoryError::Number));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// The unit is unknown.
    #[error("the unit must be B, kB, MB, GB or TB")]
    Unit,
    /// The text is not a number above 0.
    #[error("it must be a number greater than 0 with a unit, such as 4GB")]
    Number,
}

/// Reads a number of bytes with a unit (B, kB, MB, GB, TB, in powers of 1000).
///
/// ```
/// assert_eq!(fintan::parse_memory("1.5 GB")?, 1.5e9);
/// # Ok::<(), fintan::MemoryError>(())
/// ```
///
/// # Errors
/// Fails if the unit is unknown or the number is not above 0.
pub fn parse_memory(text: &str) -> Result<f64, MemoryError> {
    let split = text.find(|c: char| c.is_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kb" | "k" => 1e3,
        "mb" | "m" => 1e6,
        "gb" | "g" => 1e9,
        "tb" | "t" => 1e12,
        _ => return Err(MemoryError::Unit),
    };
    match number.trim().parse::<f64>() {
        Ok(n) if n > 0.0 && n.is_finite() => Ok(n * factor),
        _ => Err(MemoryError::Number),
    }
}

/// Bytes that this process can still allocate, or `None` if the system does not report it. It is the minimum of the free memory
/// of the machine, of the control group, and of the limit on address space (`ulimit -v`).
///
/// ```
/// // Systems that do not say give `None`.
/// assert!(fintan::free_memory().is_none_or(|bytes| bytes > 0.0));
/// ```
#[must_use]
pub fn free_memory() -> Option<f64> {
    [free_on_machine(), free_in_group(), free_below_limit()].into_iter().flatten().reduce(f64::min)
}

/// The first number after `name` in a text of lines.
fn number(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

fn free_on_machine() -> Option<f64> {
    Some(number(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")? * 1024.0)
}

/// Free bytes of the control group (version 2). Inside a container its own group is the root.
fn free_in_group() -> Option<f64> {
    let group = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = group.lines().find_map(|line| line.strip_prefix("0::/"))?.trim_end();
    let bytes = |name: &str| -> Option<f64> {
        let file = std::path::Path::new("/sys/fs/cgroup").join(path).join(name);
        std::fs::read_to_string(file).ok()?.trim().parse().ok()
    };
    // File caches count as used, but the kernel releases them when needed.
    let file = std::path::Path::new("/sys/fs/cgroup").join(path).join("memory.stat");
    let caches = std::fs::read_to_string(file).ok().and_then(|stat| number(&stat, "inactive_file ")).unwrap_or(0.0);
    Some((bytes("memory.max")? - bytes("memory.current")? + caches).max(0.0))
}

fn free_below_limit() -> Option<f64> {
    let limit = number(&std::fs::read_to_string("/proc/self/limits").ok()?, "Max address space")?;
    let taken = number(&std::fs::read_to_string("/proc/self/status").ok()?, "VmSize:")? * 1024.0;
    Some((limit - taken).max(0.0))
}
