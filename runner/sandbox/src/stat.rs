//! What the kernel says of one process in `/proc/PID/stat`.

use std::fs::File;
use std::io::{self, ErrorKind, Read};

/// Room for a line, in bytes: 52 numbers of at most 20 digits, and a name of at most 64 bytes. The kernel gives it as a whole.
const LONGEST: usize = 2048;

/// The fields that are of use here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Whether any of its threads still runs. A process whose first thread has ended before the others looks like one that waits to
    /// be reaped.
    pub alive: bool,
    /// Whether a signal has stopped it.
    pub(crate) stopped: bool,
    /// The process that has it as a child.
    pub parent: i32,
    /// The number of its terminal session.
    pub session: i32,
    /// Whether that has a terminal which controls it.
    pub has_terminal: bool,
    pub(crate) threads: u64,
    /// When it began, in clock ticks since the machine did. With its number this names one process for good: numbers are given out
    /// in turn, and do not come round within a tick.
    pub start: u64,
    /// Processor time that it has spent, in clock ticks.
    pub(crate) spent: u64,
    /// The same of children whose ends it has waited for, theirs included.
    pub(crate) waited_for: u64,
}

impl Stat {
    /// Of the process with this number.
    ///
    /// # Errors
    ///
    /// There is none (`NotFound`), or what is there cannot be read.
    pub fn of(pid: i32) -> io::Result<Self> {
        Self::read(File::open(format!("/proc/{pid}/stat")))
    }

    fn read(opened: io::Result<File>) -> io::Result<Self> {
        let mut line = [0; LONGEST];
        let length = match opened.and_then(|mut file| file.read(&mut line)) {
            Err(error) if is_gone(&error) => return Err(ErrorKind::NotFound.into()),
            read => read?,
        };
        line.get(..length).and_then(Self::parse).ok_or_else(|| ErrorKind::InvalidData.into())
    }

    /// The present, in the clock ticks of [`start`](Self::start).
    pub fn now() -> u64 {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let ticks = rustix::param::clock_ticks_per_second().max(1);
        let (seconds, nanoseconds) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
        seconds.saturating_mul(ticks).saturating_add(nanoseconds.saturating_mul(ticks) / 1_000_000_000)
    }

    /// Whether the process with this number that began then may still live: also where that cannot be looked at.
    pub fn may_live(pid: i32, start: u64) -> bool {
        Self::of(pid).map_or_else(|error| error.kind() != ErrorKind::NotFound, |stat| stat.alive && stat.start == start)
    }

    /// The fields are separated by spaces; the second is a name in parentheses that the process chooses, and that may hold both.
    fn parse(stat: &[u8]) -> Option<Self> {
        let fields = stat.rsplit(|byte| *byte == b')').next()?;
        let mut fields = str::from_utf8(fields).ok()?.split_ascii_whitespace();
        let state = fields.next()?;
        // Here and below the numbers of fields are those of proc_pid_stat(5), from which those read before are taken off.
        let parent = fields.next()?.parse().ok()?; // 4
        let session = fields.nth(1)?.parse().ok()?; // 6
        let terminal: i64 = fields.next()?.parse().ok()?; // 7
        let user: u64 = fields.nth(6)?.parse().ok()?; // 14
        let kernel = fields.next()?.parse().ok()?; // 15
        let user_of_children: u64 = fields.next()?.parse().ok()?; // 16
        let kernel_of_children = fields.next()?.parse().ok()?; // 17
        let threads = fields.nth(2)?.parse().ok()?; // 20
        let start = fields.nth(1)?.parse().ok()?; // 22
        let alive = match state {
            "X" | "x" => false,
            "Z" => threads > 1,
            _ => true,
        };
        let (spent, waited_for) = (user.saturating_add(kernel), user_of_children.saturating_add(kernel_of_children));
        let has_terminal = terminal != 0;
        Some(Self { alive, stopped: state == "T", parent, session, has_terminal, threads, start, spent, waited_for })
    }
}

/// Whether a file of a process below `/proc` could not be opened or read because the process, or the thread, has ended. The kernel says
/// `ESRCH` and not `ENOENT` if it ends while the file is looked up (`proc_pid_permission`), and if it has ended when the file is read.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// The number of the process that a thread belongs to: that of its first thread.
pub fn leader(thread: i32) -> Option<i32> {
    let pid = rustix::process::Pid::from_raw(thread)?;
    // Only a first thread can be opened like this, and most that ask are one.
    if rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).is_ok() {
        return Some(thread);
    }
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()
}

#[cfg(test)]
#[expect(clippy::expect_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_behind_the_name() {
        let rest = "4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 T 21 22 23 24";
        let stat = |alive, stopped, threads| {
            let (spent, waited_for) = (14 + 15, 16 + 17);
            let (parent, session, has_terminal) = (4, 6, true);
            Stat { alive, stopped, parent, session, has_terminal, threads, start: 22, spent, waited_for }
        };
        let rows = [
            ("1 (bash) S", 1, Some(stat(true, false, 1))),
            ("1 (a b) (c) R 1 2 3) T", 1, Some(stat(true, true, 1))),
            ("1 ()) Z 9 9) t", 2, Some(stat(true, false, 2))),
            ("1 (\n) Z", 1, Some(stat(false, false, 1))),
            ("1 (x) Z", 2, Some(stat(true, false, 2))),
            ("1 (x) X", 1, Some(stat(false, false, 1))),
        ];
        for (begin, threads, expected) in rows {
            let line = format!("{begin} {}\n", rest.replace('T', &threads.to_string()));
            assert_eq!(Stat::parse(line.as_bytes()), expected, "{line}");
        }
        for damaged in ["", "1 (x", "1 (x)", "1 (x) S 4 5 6", "1 (x) S y 5 6"] {
            assert_eq!(Stat::parse(damaged.as_bytes()), None, "{damaged}");
        }
    }

    #[test]
    fn this_process_is_alive_and_a_missing_one_not_found() {
        assert!(Stat::of(std::process::id().cast_signed()).is_ok_and(|stat| stat.alive && !stat.stopped));
        assert_eq!(Stat::of(i32::MAX).map_err(|error| error.kind()), Err(ErrorKind::NotFound));
    }

    /// The directory is held, so that the end of the process is met in the middle of the look-up.
    #[test]
    fn a_process_that_ends_while_it_is_looked_up_is_not_found() {
        let mut child = std::process::Command::new("/bin/true").spawn().expect("a child");
        let held = File::open(format!("/proc/{}", child.id())).expect("its directory");
        let open = || rustix::fs::openat(&held, "stat", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty());
        let before = open().expect("it has not been waited for");
        child.wait().expect("it ends");
        let errors = [Stat::read(Ok(before.into())), Stat::read(open().map(File::from).map_err(io::Error::from))];
        assert_eq!(errors.map(|read| read.map_err(|error| error.kind())), [Err(ErrorKind::NotFound); 2]);
    }
}
