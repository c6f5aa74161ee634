//! Whether a process waits for a command's input: its system call is a read of it, or a wait for several descriptors of
//! which it is one (`/proc/PID/syscall`, proc(5)).
//!
//! Nothing is decided by it but what a result says: a program can always look as if it waited.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// More descriptors than this are not looked through.
const MAX_DESCRIPTORS: u64 = 1024;

/// Bytes of `/proc/PID/fdinfo/FD` that are read.
const MAX_INFO: u64 = 64 * 1024;

/// Silence after which it is asked whether a command waits for input.
pub(crate) const QUIET: Duration = Duration::from_secs(2);

/// The device number of `/dev/tty`, which is each process's own terminal: major 5, minor 0.
pub(crate) const CONTROLLING: u64 = 5 << 8;

/// Whether this process waits for a file that is the command's input.
pub(crate) fn waits_for(pid: i32, is_input: impl Fn(&Metadata) -> bool) -> bool {
    let Ok(call) = std::fs::read_to_string(format!("/proc/{pid}/syscall")) else { return false };
    let mut words = call.split_whitespace();
    let number = words.next().and_then(|word| word.parse::<i64>().ok());
    let mut arguments = words.map(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok());
    let (Some(number), Some(Some(first)), Some(Some(second))) = (number, arguments.next(), arguments.next()) else {
        return false;
    };
    let is_input =
        |descriptor: u64| std::fs::metadata(format!("/proc/{pid}/fd/{descriptor}")).is_ok_and(|file| is_input(&file));
    match number {
        libc::SYS_read | libc::SYS_readv => is_input(first),
        libc::SYS_ppoll => polled(pid, first, second).into_iter().any(is_input),
        libc::SYS_pselect6 => selected(pid, first, second).into_iter().any(is_input),
        libc::SYS_epoll_pwait | libc::SYS_epoll_pwait2 => watched(pid, first).into_iter().any(is_input),
        _ => older(number, pid, first, second).into_iter().any(is_input),
    }
}

/// Calls that only older architectures have.
#[cfg(target_arch = "x86_64")]
fn older(number: i64, pid: i32, first: u64, second: u64) -> Vec<u64> {
    match number {
        libc::SYS_poll => polled(pid, first, second),
        libc::SYS_select => selected(pid, first, second),
        libc::SYS_epoll_wait => watched(pid, first),
        _ => Vec::new(),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn older(_: i64, _: i32, _: u64, _: u64) -> Vec<u64> {
    Vec::new()
}

/// `poll`: an array of `struct pollfd`, and its length.
fn polled(pid: i32, array: u64, length: u64) -> Vec<u64> {
    let entries = memory(pid, array, length.min(MAX_DESCRIPTORS) * 8);
    let descriptor = |entry: &[u8]| Some(u64::from(u32::from_ne_bytes(entry.get(..4)?.try_into().ok()?)));
    entries.chunks_exact(8).filter_map(descriptor).collect()
}

/// `select`: one more than the highest descriptor, and a set as bits.
fn selected(pid: i32, count: u64, set: u64) -> Vec<u64> {
    let count = count.min(MAX_DESCRIPTORS);
    let bits = memory(pid, set, count.div_ceil(8));
    let is_in = |descriptor: &u64| {
        let byte = usize::try_from(descriptor / 8).ok().and_then(|index| bits.get(index));
        byte.is_some_and(|byte| byte & (1 << (descriptor % 8)) != 0)
    };
    (0..count).filter(is_in).collect()
}

/// `epoll_wait`: the lines `tfd: NUMBER …` of what the descriptor is.
fn watched(pid: i32, descriptor: u64) -> Vec<u64> {
    let mut text = String::new();
    let info = File::open(format!("/proc/{pid}/fdinfo/{descriptor}"));
    if info.and_then(|info| info.take(MAX_INFO).read_to_string(&mut text)).is_err() {
        return Vec::new();
    }
    let number = |line: &str| line.strip_prefix("tfd:")?.split_whitespace().next()?.parse().ok();
    text.lines().filter_map(number).collect()
}

/// What stands in the memory of a process; nothing if it cannot be read.
fn memory(pid: i32, address: u64, length: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    let read = File::open(format!("/proc/{pid}/mem")).and_then(|memory| memory.read_exact_at(&mut bytes, address));
    if read.is_ok() { bytes } else { Vec::new() }
}
