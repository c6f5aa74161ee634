//! Which processes a session has at one moment, and the end of those that came after such a moment: what one command started.
//!
//! They are found from the first process down, since whatever loses its parent becomes that one's child or a nearer subreaper's. The
//! kernel gives no picture of them all at once: while we look, processes end, and their children move. So nothing is believed
//! that two looks in a row do not agree about.
//!
//! Which processes a command may leave running is not decided here, nor the end of the whole session (`process.rs`).

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::process::{Lead, Process};
use super::stat::{Stat, is_gone};

/// The living processes of a session at one moment, without its first one. A number that is given out again is another process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    /// In order.
    members: Vec<Member>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Member {
    pid: i32,
    /// As in [`Stat`].
    start: u64,
}

impl Tree {
    /// Whether there is one process only: the program, without anything that it started.
    #[must_use]
    pub fn is_single(&self) -> bool {
        self.members.len() == 1
    }

    /// Their numbers as this server sees them, in order; for people and for looking them up, not for signals.
    pub fn pids(&self) -> impl ExactSizeIterator<Item = i32> + '_ {
        self.members.iter().map(|member| member.pid)
    }
}

impl Tree {
    /// Those of them of which this is so, by their numbers.
    pub(super) fn only(mut self, is_so: impl Fn(i32) -> bool) -> Self {
        self.members.retain(|member| is_so(member.pid));
        self
    }
}

/// Two lists of children that stay open: whether the program is alone is told by reading each once. A descriptor below
/// `/proc` is its process's own, and never another's with the same number.
#[derive(Debug)]
pub struct Glance {
    first: File,
    program: File,
    member: Member,
    /// What the first process lists when it has no other child.
    alone: String,
}

impl Glance {
    /// Whether nothing but the program is left. The program's own list comes first: what loses its parent moves from below
    /// the program to the first process, never back, so that it is met in one of both.
    fn is_alone(&self) -> bool {
        let mut list = [0; 32];
        let mut lists =
            |file: &File| file.read_at(&mut list, 0).ok().and_then(|length| list.get(..length).map(<[u8]>::to_vec));
        lists(&self.program).is_some_and(|list| list.is_empty())
            && lists(&self.first).is_some_and(|list| list == self.alone.as_bytes())
    }
}

impl Process {
    /// For looking at a session again and again whose program has this number; none where the kernel lists no children.
    pub fn glance(&self, program: i32) -> Option<Glance> {
        let list = |pid: i32| File::open(format!("/proc/{pid}/task/{pid}/children")).ok();
        let member = Member { pid: program, start: Stat::of(program).ok()?.start };
        let first = self.unless_reaped(list)??;
        Some(Glance { first, program: list(program)?, member, alone: format!("{program} ") })
    }

    /// As [`tree`](Self::tree), in two calls of the kernel where the program is alone.
    ///
    /// # Errors
    ///
    /// `/proc` cannot be read.
    pub fn tree_by(&self, glance: Option<&Glance>) -> io::Result<Tree> {
        match glance.filter(|glance| glance.is_alone()) {
            Some(glance) => Ok(Tree { members: vec![glance.member] }),
            None => self.tree(),
        }
    }

    /// The session's living processes, as this server sees them; none once it has ended. Where they change all the time, all that
    /// were seen, some of which may have ended meanwhile.
    ///
    /// # Errors
    ///
    /// `/proc` cannot be read.
    pub fn tree(&self) -> io::Result<Tree> {
        self.unless_reaped(settled).unwrap_or_else(|| Ok(Tree::default()))
    }

    /// Kills every process of the session that is not in `before` and not `spare`, and what these start meanwhile; whether none is
    /// left. Those that a process of `before` started later are among them.
    ///
    /// Blocks until they are dead: mostly for less than a millisecond, at most for half a second.
    ///
    /// # Errors
    ///
    /// `/proc` cannot be read, or the kernel refuses a descriptor or a signal.
    pub fn end_newer(&self, before: &Tree, spare: Option<i32>) -> io::Result<bool> {
        let until = Instant::now() + TIMEOUT;
        let mut calm = 0;
        for _ in 0..ROUNDS {
            let Some(look) = self.unless_reaped(look) else { return Ok(true) };
            let look = look?;
            let dying = signal_all(look.newer(before, spare), Signal::KILL)?;
            calm = if dying.count == 0 && look.undisturbed { calm + 1 } else { 0 };
            if calm == AGREEING {
                return Ok(true);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            await_ends(&dying.watched, left)?;
        }
        Ok(false)
    }

    /// Sends a signal, once, to every process of the session that is not in `before` and not `spare`; how many got it.
    ///
    /// # Errors
    ///
    /// As [`end_newer`](Self::end_newer).
    pub fn signal_newer(&self, before: &Tree, spare: Option<i32>, signal: Signal) -> io::Result<usize> {
        let now = self.tree()?;
        let newer = now.members.into_iter().filter(|member| is_newer(*member, before, spare));
        Ok(signal_all(newer, signal)?.count)
    }

    /// The program's number as this server sees it: for looking it up in `/proc`, not for signals. None once the session has ended.
    #[must_use]
    pub fn program_pid(&self) -> Option<i32> {
        let told = self.program()?;
        self.unless_reaped(|first| match self.lead() {
            Lead::Supervisor => Some(told),
            // The number that was told is the namespace's.
            Lead::Namespace => children(first).ok()?.into_iter().find(|child| innermost_number(*child) == Some(told)),
        })?
    }

    /// Whether a signal has stopped the process with this number, and it waits to be continued. One that is gone has not been.
    #[must_use]
    pub fn is_stopped(&self, pid: i32) -> bool {
        Stat::of(pid).is_ok_and(|stat| stat.stopped)
    }
}

/// How often processes that come after the killed ones are looked for.
const ROUNDS: u32 = 64;

/// How long all these rounds may take.
const TIMEOUT: Duration = Duration::from_millis(500);

/// How many looks in a row have to agree.
const AGREEING: u32 = 2;

/// How many looks are made before a session that never settles is taken for the sum of them.
const LOOKS: usize = 8;

/// How many ends are waited for at a time: each takes a descriptor, and a session may have more processes than we may have those.
const WATCHED: usize = 64;

/// What one look found.
#[derive(Debug)]
pub(super) struct TreeScan {
    pub(super) members: Vec<Member>,
    /// Nothing that was listed had ended or moved when it was looked at.
    undisturbed: bool,
}

impl TreeScan {
    pub(super) fn pids(&self) -> impl Iterator<Item = i32> + '_ {
        self.members.iter().map(|member| member.pid)
    }

    fn newer<'a>(&'a self, before: &'a Tree, spare: Option<i32>) -> impl Iterator<Item = Member> + 'a {
        self.members.iter().copied().filter(move |member| is_newer(*member, before, spare))
    }
}

fn is_newer(member: Member, before: &Tree, spare: Option<i32>) -> bool {
    spare != Some(member.pid) && before.members.binary_search(&member).is_err()
}

fn settled(first: i32) -> io::Result<Tree> {
    let mut last = look(first)?;
    let mut seen = last.members.clone();
    for _ in 1..LOOKS {
        let next = look(first)?;
        if next.undisturbed && next.members == last.members {
            return Ok(Tree { members: next.members });
        }
        seen.extend_from_slice(&next.members);
        last = next;
    }
    seen.sort_unstable();
    seen.dedup();
    Ok(Tree { members: seen })
}

/// The processes of the session with this first process, but for that one, which waits for them.
///
/// # Errors
///
/// They cannot be looked at.
pub fn processes_of(first: i32) -> io::Result<Vec<i32>> {
    Ok(settled(first)?.pids().collect())
}

/// Looks once at all that is below the first process.
pub(super) fn look(first: i32) -> io::Result<TreeScan> {
    // Where `/proc` hides processes, what cannot be seen must not be taken for what is not there.
    Stat::of(first)?;
    let mut look = if *LISTED { listed(first)? } else { searched(first)? };
    // One that lost its parent meanwhile may have been met twice.
    look.members.sort_unstable();
    look.members.dedup();
    Ok(look)
}

/// Whether the kernel lists children (CONFIG_PROC_CHILDREN).
static LISTED: LazyLock<bool> = LazyLock::new(|| Path::new("/proc/thread-self/children").exists());

pub(super) fn listed(first: i32) -> io::Result<TreeScan> {
    let mut look = TreeScan { members: Vec::new(), undisturbed: true };
    let mut open: Vec<_> = children(first)?.into_iter().map(|child| (child, first)).collect();
    while let Some((pid, parent)) = open.pop() {
        let stat = match Stat::of(pid) {
            Ok(stat) => stat,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                look.undisturbed = false;
                continue;
            }
            Err(error) => return Err(error),
        };
        look.undisturbed &= stat.parent == parent;
        // With neither parent it has moved again, or is another process that has got the number.
        if stat.alive && (stat.parent == parent || stat.parent == first) {
            look.members.push(Member { pid, start: stat.start });
            open.extend(children_of_all(pid, stat.threads)?.into_iter().map(|child| (child, pid)));
        }
    }
    Ok(look)
}

/// A child is listed with the thread that made it.
fn children_of_all(pid: i32, threads: u64) -> io::Result<Vec<i32>> {
    if threads == 1 {
        return children(pid);
    }
    let mut all = Vec::new();
    let tasks = match std::fs::read_dir(format!("/proc/{pid}/task")) {
        Err(error) if is_gone(&error) => return Ok(all),
        tasks => tasks?,
    };
    for task in tasks {
        match task {
            Ok(task) => all.extend(numbers(&task.path().join("children"))?),
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// Of its first thread.
fn children(pid: i32) -> io::Result<Vec<i32>> {
    numbers(Path::new(&format!("/proc/{pid}/task/{pid}/children")))
}

fn numbers(list: &Path) -> io::Result<Vec<i32>> {
    match read(list) {
        Ok(text) => {
            let numbers = text.split(u8::is_ascii_whitespace);
            Ok(numbers.filter_map(|number| str::from_utf8(number).ok()?.parse().ok()).collect())
        }
        Err(error) if is_gone(&error) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// As `std::fs::read`, which first asks for a size that files of `/proc` do not have.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut text = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(text),
            length => text.extend(buffer.iter().take(length)),
        }
    }
}

/// Looks at every process of the machine for its parent.
pub(super) fn searched(first: i32) -> io::Result<TreeScan> {
    let mut found: HashMap<i32, Vec<(i32, Stat)>> = HashMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        if let Some(pid) = name.to_str().and_then(|name| name.parse().ok())
            && let Ok(stat) = Stat::of(pid)
        {
            found.entry(stat.parent).or_default().push((pid, stat));
        }
    }
    let mut look = TreeScan { members: Vec::new(), undisturbed: true };
    let mut parents = vec![first];
    while let Some(parent) = parents.pop() {
        for (pid, stat) in found.remove(&parent).unwrap_or_default() {
            parents.push(pid);
            if stat.alive {
                look.members.push(Member { pid, start: stat.start });
            }
        }
    }
    Ok(look)
}

#[derive(Default)]
struct Signalled {
    count: usize,
    /// Descriptors of the first of them.
    watched: Vec<OwnedFd>,
}

fn signal_all(members: impl Iterator<Item = Member>, signal: Signal) -> io::Result<Signalled> {
    let mut signalled = Signalled::default();
    for member in members {
        if let Some(pidfd) = signal_one(member, signal)? {
            signalled.count += 1;
            if signalled.watched.len() < WATCHED {
                signalled.watched.push(pidfd);
            }
        }
    }
    Ok(signalled)
}

/// A descriptor of the process if it got the signal; none if it had ended.
fn signal_one(member: Member, signal: Signal) -> io::Result<Option<OwnedFd>> {
    let Some(pid) = Pid::from_raw(member.pid) else { return Ok(None) };
    let sent = pidfd_open(pid, PidfdFlags::empty()).and_then(|pidfd| {
        // The descriptor fixes the process; only then is the second look about the one that gets the signal.
        match Stat::of(member.pid) {
            Ok(stat) if stat.start == member.start => pidfd_send_signal(&pidfd, signal).map(|()| Some(pidfd)),
            Ok(_) | Err(_) => Ok(None),
        }
    });
    match sent {
        Err(Errno::SRCH) => Ok(None),
        sent => Ok(sent?),
    }
}

/// Waits until all these processes have ended, for no longer than `patience`.
fn await_ends(processes: &[OwnedFd], patience: Duration) -> io::Result<()> {
    let until = Instant::now() + patience;
    for process in processes {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: 0, tv_nsec: i64::from(left.min(TIMEOUT).subsec_nanos()) };
        match poll(&mut [PollFd::new(&process.as_fd(), PollFlags::IN)], Some(&left)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// The number of a process in the innermost of its PID namespaces.
fn innermost_number(pid: i32) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    numbers.split_ascii_whitespace().next_back()?.parse().ok()
}
