//! What this process holds.

/// A figure of `/proc/self/status`: KiB, or a count.
pub(crate) fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the figure");
    line.split_whitespace().next().and_then(|figure| figure.parse().ok()).expect("a number")
}

/// The peak counts from here (proc(5), `clear_refs`).
pub(crate) fn reset_peak() {
    std::fs::write("/proc/self/clear_refs", "5").expect("reset");
}
