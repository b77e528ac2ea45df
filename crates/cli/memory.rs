//! Settings of the memory allocator.

/// Keeps freed memory in the process.
///
/// A training step allocates and frees some hundred tensors of megabytes. By default glibc maps each tensor from the kernel and
/// returns it, and the kernel clears every page again. This takes a quarter of the time of a step.
///
/// # Measured
/// `cargo bench --bench train_step -- --one flex none 10` on one thread: 805 and 744 ms a step without the setting, 573 and 633
/// ms with it. The runs alternated, with the setting made from outside through glibc's `MALLOC_` variables and a pad of 256 MB.
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

/// Other allocators keep their defaults.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn keep() {}
