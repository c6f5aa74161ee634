//! The life of a session's first process: what it passes on, when the session is over, and how nothing of it is left.
//!
//! It waits for every process that loses its parent, passes signals on to the program's group, and ends the session when the
//! program has ended, when the server asks for it, or when the server is dead. It looks for that itself, by a descriptor of the
//! server's process and by a socket that hangs up with the server, so that no signal has to arrive in time.
//!
//! How it ends the others depends on what it has ([`SignalReach`]):
//!
//! - in a PID namespace by ending itself; the kernel kills the rest;
//! - in a Landlock domain of its own, out of which no signal gets, by one signal to all that it may signal: that is this session and
//!   nothing else, and no `fork` gets in between;
//! - where Landlock cannot hold signals, its children one by one, and theirs. The orphans of those become its children, since it is a
//!   subreaper, and it goes on until it has none. Such a session can also kill its first process; what is left then is not found.
//!
//! A program in its place would not be killed by signals that kill any other, `kill $$` among them.
//!
//! It is a copy of the server, made by `clone` alone: as in `enforce.rs`, it allocates nothing, locks nothing and does not panic.

use std::ffi::{CStr, c_int, c_uint};
use std::os::fd::RawFd;

use super::call::{
    Done, close, close_range, duplicate, exit, kill, kill_opened, milliseconds, next_ended_child, open_process,
    open_to_read, own_number, read, read_directory, setsid, signal_descriptor, wait_for, write,
};
use super::enforce::EXIT_FAILED;

/// What a first process is told, as numbers alone.
pub(super) struct Duty {
    /// Where it tells the program's number, and its status when it has ended; four bytes each.
    pub(super) telling: RawFd,
    /// A descriptor of the server's process.
    pub(super) server: RawFd,
    /// Hung up when everything shall end.
    pub(super) requested: RawFd,
    pub(super) reach: SignalReach,
}

/// Whom its signals reach.
#[derive(Clone, Copy)]
pub(super) enum SignalReach {
    /// The processes of its PID namespace.
    Namespace,
    /// The processes of its Landlock domain, to which this one, the server, does not belong.
    Domain { server: c_int },
    /// Every process of the user: so it is only used on its own children.
    Children,
}

// Where its descriptors stand.
const TELLING: RawFd = 0;
const SERVER: RawFd = 1;
const REQUESTED: RawFd = 2;

/// How long it waits for killed processes to die, in milliseconds. One that is deep in the kernel dies later, by itself.
const TIMEOUT: i64 = 5000;

/// Between two rounds of killing, in milliseconds, unless a child ends before.
const PAUSE: u16 = 10;

/// Lives as the first process, above `program`, its child.
pub(super) fn live(program: c_int, duty: &Duty) -> ! {
    let Ok(signals) = settle(program, duty) else { exit(EXIT_FAILED) };
    let mut ended = false;
    while !ended {
        match wait_for([signals, SERVER, REQUESTED], None) {
            Ok([_, true, _] | [_, _, true]) => break,
            Ok(_) | Err(libc::EINTR) => {}
            Err(_) => break,
        }
        while let Some(signal) = next_signal(signals) {
            if signal != libc::SIGCHLD {
                // Until the program leads its own group, it is reached alone.
                let _ = kill(-program, signal).or_else(|_| kill(program, signal));
            }
        }
        ended = reap(program).ended;
    }
    match duty.reach {
        SignalReach::Namespace => {}
        SignalReach::Domain { .. } | SignalReach::Children => end_all(program, duty.reach, signals),
    }
    exit(0)
}

/// Holds nothing of the server's but the three descriptors, and is nobody's to signal by group or terminal.
fn settle(program: c_int, duty: &Duty) -> Result<RawFd, c_int> {
    setsid()?;
    for (from, to) in [(duty.telling, TELLING), (duty.server, SERVER), (duty.requested, REQUESTED)] {
        duplicate(from, to)?;
    }
    close_range(REQUESTED.unsigned_abs() + 1, c_uint::MAX, 0)?;
    write(TELLING, &program.to_ne_bytes())?;
    signal_descriptor()
}

fn next_signal(signals: RawFd) -> Option<c_int> {
    // `struct signalfd_siginfo`, which begins with the signal's number.
    let mut information = [0_u8; 128];
    read(signals, &mut information).ok()?;
    let [a, b, c, d, ..] = information;
    c_int::try_from(u32::from_ne_bytes([a, b, c, d])).ok()
}

struct Reaped {
    /// The program was among them.
    ended: bool,
    /// There are no children any more, and so no descendants.
    all: bool,
}

/// Takes the status of every child that has ended, and passes the program's on.
fn reap(program: c_int) -> Reaped {
    let mut ended = false;
    loop {
        match next_ended_child() {
            Ok((0, _)) => return Reaped { ended, all: false },
            Ok((pid, status)) if pid == program => {
                ended = true;
                let _ = write(TELLING, &status.to_ne_bytes());
            }
            Ok(_) => {}
            Err(_) => return Reaped { ended, all: true },
        }
    }
}

fn end_all(program: c_int, reach: SignalReach, signals: RawFd) {
    let until = milliseconds() + TIMEOUT;
    loop {
        kill_all(reach);
        if reap(program).all || milliseconds() > until {
            return;
        }
        // A signal is a child's end, or of no interest any more.
        let _ = wait_for([signals], Some(PAUSE));
        while next_signal(signals).is_some() {}
    }
}

fn kill_all(reach: SignalReach) {
    if let SignalReach::Domain { server } = reach
        // Proved when the domain was entered, and nothing leaves one; without it this would be the user's every process.
        && kill(server, 0).is_err()
    {
        let _ = kill(EVERYONE, libc::SIGKILL);
    } else {
        // A child keeps its number until it is reaped, which nobody else does: it cannot be another process's, nor another's group.
        each_child(&mut |child| {
            let _ = kill(-child, libc::SIGKILL);
            kill_children_of(child);
            let _ = kill(child, libc::SIGKILL);
        });
    }
}

/// Whoever always leaves a child behind and ends would stay ahead of a killer that sees it only then.
fn kill_children_of(child: c_int) {
    let number = Digits::of(child);
    let list = Path::new(&[b"/proc/", number.bytes(), b"/task/", number.bytes(), b"/children"]);
    let _ = listed_children(&list, &mut |grandchild| {
        // Its parent may reap it, and its number pass on; not so once it is open and known to be that child still.
        if let Ok(process) = open_process(grandchild) {
            if parent(Digits::of(grandchild).bytes()) == Some(child) {
                let _ = kill_opened(process);
            }
            close(process);
        }
    });
}

/// To `kill`: every process that may be signalled, but for the first of the namespace and the caller.
const EVERYONE: c_int = -1;

/// Hands over the number of each child, ended ones too.
fn each_child(visit: &mut dyn FnMut(c_int)) {
    if listed_children(&Path::new(&[b"/proc/thread-self/children"]), visit).is_err() {
        // A kernel without CONFIG_PROC_CHILDREN.
        let _ = searched_children(visit);
    }
}

fn listed_children(list: &Path, visit: &mut dyn FnMut(c_int)) -> Done {
    let list = open_to_read(list.text().ok_or(libc::ENAMETOOLONG)?)?;
    let mut buffer = [0; 4096];
    let mut number = 0;
    while let Ok(length @ 1..) = read(list, &mut buffer) {
        // Numbers are followed by a space each, and one may be cut in two by the end of the buffer.
        for byte in buffer.iter().take(length) {
            if byte.is_ascii_digit() {
                number = with_digit(number, *byte);
            } else if number > 0 {
                visit(number);
                number = 0;
            }
        }
    }
    close(list);
    Ok(())
}

/// Looks at every process for its parent.
fn searched_children(visit: &mut dyn FnMut(c_int)) -> Done {
    let own = own_number();
    let processes = open_to_read(c"/proc")?;
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = read_directory(processes, &mut buffer) {
        let mut entries = buffer.get(..length).unwrap_or_default();
        while let Some(size @ NAME..) = entry_size(entries) {
            let (entry, rest) = entries.split_at_checked(size).unwrap_or((entries, &[]));
            let name = entry.get(NAME..).unwrap_or_default();
            let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
            if !name.is_empty() && name.iter().all(u8::is_ascii_digit) && parent(name) == Some(own) {
                visit(name.iter().fold(0, |number, digit| with_digit(number, *digit)));
            }
            entries = rest;
        }
    }
    close(processes);
    Ok(())
}

/// Where the name stands in a `struct linux_dirent64`; the entry's size stands in the two bytes at 16.
const NAME: usize = 19;

fn entry_size(entries: &[u8]) -> Option<usize> {
    let size = entries.get(16..18)?.try_into().ok()?;
    Some(usize::from(u16::from_ne_bytes(size)))
}

/// The fourth field of `/proc/NUMBER/stat`; the second is a name in parentheses, in which anything may stand.
fn parent(number: &[u8]) -> Option<c_int> {
    let stat = open_to_read(Path::new(&[b"/proc/", number, b"/stat"]).text()?).ok()?;
    let mut buffer = [0; 1024];
    let length = read(stat, &mut buffer);
    close(stat);
    let fields = buffer.get(..length.ok()?)?.rsplit(|byte| *byte == b')').next()?;
    let field = fields.split(|byte| *byte == b' ').nth(2)?;
    Some(field.iter().fold(0, |number, digit| with_digit(number, *digit)))
}

fn with_digit(number: c_int, digit: u8) -> c_int {
    number.saturating_mul(10).saturating_add(c_int::from(digit.saturating_sub(b'0')))
}

/// A path that is put together where nothing can be allocated.
struct Path([u8; 64]);

impl Path {
    fn new(parts: &[&[u8]]) -> Self {
        let mut path = [0; 64];
        for (place, byte) in path.iter_mut().zip(parts.iter().copied().flatten()) {
            *place = *byte;
        }
        Self(path)
    }

    /// None if it was too long.
    fn text(&self) -> Option<&CStr> {
        CStr::from_bytes_until_nul(&self.0).ok()
    }
}

/// A positive number as it stands in a path.
struct Digits {
    /// Written from the end.
    digits: [u8; 10],
    unused: usize,
}

impl Digits {
    fn of(number: c_int) -> Self {
        let mut rest = number.unsigned_abs();
        let mut written = Self { digits: [b'0'; 10], unused: 10 };
        for place in written.digits.iter_mut().rev() {
            if rest == 0 {
                break;
            }
            *place += u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
            written.unused -= 1;
        }
        written
    }

    fn bytes(&self) -> &[u8] {
        self.digits.get(self.unused..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    type Search = fn(&mut dyn FnMut(c_int)) -> Done;

    #[test]
    fn children_are_found_with_their_list_and_without() {
        let mut children: Vec<_> = (0..700).filter_map(|_| Command::new("/usr/bin/true").spawn().ok()).collect();
        let list: Search = |visit| listed_children(&Path::new(&[b"/proc/thread-self/children"]), visit);
        for search in [list, searched_children] {
            let mut found = Vec::new();
            assert_eq!(search(&mut |child| found.push(child)), Ok(()));
            assert!(children.iter().all(|child| found.contains(&child.id().cast_signed())), "{found:?}");
            assert!(!found.contains(&own_number()) && !found.contains(&1), "{found:?}");
        }
        for child in &mut children {
            assert!(child.wait().is_ok());
        }
        assert_eq!(children.len(), 700);
    }

    #[test]
    fn paths_are_put_together() {
        for (number, expected) in [(1, "/proc/1/stat"), (90, "/proc/90/stat"), (c_int::MAX, "/proc/2147483647/stat")] {
            let path = Path::new(&[b"/proc/", Digits::of(number).bytes(), b"/stat"]);
            assert_eq!(path.text().map(CStr::to_bytes), Some(expected.as_bytes()));
        }
        assert_eq!(Path::new(&[&[b'x'; 64]]).text(), None);
    }
}
