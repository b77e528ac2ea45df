//! Libraries that print by themselves.

/// Keeps Mesa from printing "error: XDG_RUNTIME_DIR is invalid or not set" whenever GPUs are listed on a machine without a
/// display.
///
/// The line comes from Mesa's Vulkan layer that asks a Wayland compositor for its GPU. The layer is loaded because wgpu always
/// wants to be able to draw windows, and only an environment variable of the own process leaves it out. The layer is left in place
/// if there is a session, or if one of its own variables chooses a GPU.
pub(crate) fn without_display() {
    let is_set = |name: &str| std::env::var_os(name).is_some();
    let settings = ["XDG_RUNTIME_DIR", "NODEVICE_SELECT", "DRI_PRIME", "MESA_VK_DEVICE_SELECT"];
    if !cfg!(target_os = "linux") || settings.into_iter().any(is_set) {
        return;
    }
    // SAFETY: this is called before the program starts a thread, so nothing else reads the environment.
    #[expect(unsafe_code, reason = "no other way leaves the layer out; it saves two lines of false errors a search")]
    unsafe {
        std::env::set_var("NODEVICE_SELECT", "1");
    }
}
