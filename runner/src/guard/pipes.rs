//! Which pipes the programs of a session can write to.
//!
//! A program that reads its code from a pipe may get it from any other program. The shell puts a here-document into a pipe as well,
//! and hands on the end for reading alone: no program has written into that. So each execution is looked at for the ends of pipes that it
//! can write to.
//!
//! A program can get such an end by other ways (a socket, another process's `/proc/PID/fd`), and then its writing is not seen. Where own
//! code may run, nothing is gained by that: what it writes could go into a file and be run from there. Elsewhere this is not asked.

use std::collections::HashSet;
use std::io::{self, ErrorKind};
use std::path::Path;

use rustix::fs::OFlags;

/// Pipes that are remembered. Beyond, each counts as written to.
const MAX_PIPES: usize = 65_536;

/// The pipes without a name that programs of one session could write to.
#[derive(Debug, Default)]
pub(super) struct Pipes {
    written: HashSet<u64>,
    /// Not all are known.
    lost: bool,
}

impl Pipes {
    /// A program is about to be executed by this thread, with all that it has open.
    pub(super) fn note(&mut self, thread: i32) {
        let descriptors = match std::fs::read_dir(format!("/proc/{thread}/fd")) {
            Ok(descriptors) => descriptors,
            Err(error) => {
                // Who is gone executes nothing.
                self.lost |= error.kind() != ErrorKind::NotFound;
                return;
            }
        };
        for descriptor in descriptors {
            let Ok(descriptor) = descriptor else {
                self.lost = true;
                return;
            };
            let pipe = match number(&descriptor.path()) {
                Ok(Some(pipe)) => pipe,
                Ok(None) => continue,
                Err(error) => {
                    // Closed meanwhile by another thread, or not to be seen.
                    self.lost |= error.kind() != ErrorKind::NotFound;
                    continue;
                }
            };
            if self.written.contains(&pipe) || !is_writable(thread, &descriptor.file_name().to_string_lossy()) {
                continue;
            }
            if self.written.len() >= MAX_PIPES {
                self.lost = true;
                return;
            }
            self.written.insert(pipe);
        }
    }

    /// Whether no program could write into this pipe.
    pub(super) fn is_untouched(&self, pipe: u64) -> bool {
        !self.lost && !self.written.contains(&pipe)
    }
}

/// The number of the pipe that a process reads from; none for a pipe with a name, and for anything else.
pub(super) fn input(thread: i32) -> Option<u64> {
    number(Path::new(&format!("/proc/{thread}/fd/0"))).ok().flatten()
}

/// A link to a pipe without a name reads `pipe:[NUMBER]` (proc_pid_fd(5)).
fn number(descriptor: &Path) -> io::Result<Option<u64>> {
    let target = std::fs::read_link(descriptor)?;
    let number = target.to_str().and_then(|target| target.strip_prefix("pipe:[")?.strip_suffix(']')?.parse().ok());
    Ok(number)
}

/// Whether a descriptor can be written to, by the octal flags in `fdinfo` (proc_pid_fdinfo(5)). One that cannot be looked at counts as such.
fn is_writable(thread: i32, descriptor: &str) -> bool {
    let about = std::fs::read_to_string(format!("/proc/{thread}/fdinfo/{descriptor}"));
    let flags = about.ok().and_then(|about| {
        let flags = about.lines().find_map(|line| line.strip_prefix("flags:"))?.trim().to_owned();
        u32::from_str_radix(&flags, 8).ok()
    });
    flags.is_none_or(|flags| flags & OFlags::ACCMODE.bits() != OFlags::RDONLY.bits())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::os::fd::AsRawFd as _;

    use super::*;

    #[test]
    fn a_pipe_is_written_to_by_who_has_the_end_for_it() {
        let own = i32::try_from(std::process::id()).unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        let pipe = number(Path::new(&format!("/proc/self/fd/{}", reader.as_raw_fd()))).unwrap().unwrap();
        let mut pipes = Pipes::default();
        assert!(pipes.is_untouched(pipe));
        drop(writer);
        pipes.note(own);
        assert!(pipes.is_untouched(pipe), "the end for reading alone");
        let (reader, writer) = std::io::pipe().unwrap();
        let pipe = number(Path::new(&format!("/proc/self/fd/{}", reader.as_raw_fd()))).unwrap().unwrap();
        pipes.note(own);
        drop(writer);
        assert!(!pipes.is_untouched(pipe), "as long as the session lives");
        pipes.note(i32::MAX);
        assert!(pipes.is_untouched(0), "who is gone has none");
    }
}
