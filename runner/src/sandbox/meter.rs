//! How much a session uses, looked at from outside, and the end of what uses too much.
//!
//! The kernel counts processes per user, for root not at all, and memory not by session unless there is a control group to
//! write to, which is rare outside of a service manager. So a thread of the server's looks, the more often the nearer the session is to
//! its limit. What has gone past it between two looks is ended with the rest: every process of the session's but its shell,
//! and the shell too if that alone is past the limit.
//!
//! Memory is what processes hold that is not in files; what several share counts once. Not seen is memory that nobody has mapped
//! (an anonymous file that is only written to), which the limits on a file's size and on open files bound.
//!
//! Decided here: whether a limit is passed. Not decided here: what becomes of the command (`transport/local/run.rs`).

use std::sync::{Arc, Weak};
use std::time::Duration;
use std::{fs, io};

use rustix::process::{Pid, Signal, kill_process_group, setpriority_process};
use serde::Serialize;
use tokio::sync::watch;

use super::plan::Limits;
use super::process::Process;
use super::stat::Stat;
use super::tree::{self, Tree};

/// Between two looks at a session that is far from its limits, and at one that is near.
const FAR: Duration = Duration::from_millis(100);
const NEAR: Duration = Duration::from_millis(5);

/// Looks in a row that may fail.
const BLIND: u32 = 20;

/// How long an interrupt may take.
const HEARING: Duration = Duration::from_millis(30);

/// The kernel's highest priority for what is not real-time.
const FIRST: i32 = -20;

/// Rounds of killing, each of at most half a second, before the whole session is ended.
const ROUNDS: usize = 6;

/// A limit that a session has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exceeded {
    /// Too much memory.
    Memory,
    /// Too many processes and threads.
    Processes,
}

impl Exceeded {
    /// As settings name the limit.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Processes => "processes",
        }
    }
}

/// Looks at one session as long as its process is held.
#[derive(Debug)]
pub struct Meter(watch::Receiver<Option<Exceeded>>);

impl Meter {
    /// Begins to look; none where there is nothing to hold.
    ///
    /// # Errors
    ///
    /// No thread can be made.
    pub fn start(process: &Arc<Process>, limits: Limits) -> std::io::Result<Option<Self>> {
        if limits.memory.is_none() && limits.processes.is_none() {
            return Ok(None);
        }
        let (teller, told) = watch::channel(None);
        let process = Arc::downgrade(process);
        let work = move || look_after(&process, limits, &teller);
        std::thread::Builder::new().name("palisade-meter".to_owned()).spawn(work)?;
        Ok(Some(Self(told)))
    }

    /// What is passed from now on.
    #[must_use]
    pub fn watch(&self) -> Watch {
        let mut told = self.0.clone();
        told.mark_unchanged();
        Watch(Some(told))
    }
}

/// What a session passes while it is watched.
#[derive(Debug)]
pub struct Watch(Option<watch::Receiver<Option<Exceeded>>>);

impl Watch {
    /// Of a session without limits.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// Waits until a limit is passed. Safe to drop.
    pub async fn exceeded(&mut self) -> Exceeded {
        if let Some(told) = &mut self.0
            && told.changed().await.is_ok()
            && let Some(exceeded) = *told.borrow_and_update()
        {
            return exceeded;
        }
        self.0 = None;
        std::future::pending().await
    }

    /// What has been passed and not been waited for.
    pub fn now(&mut self) -> Option<Exceeded> {
        let told = self.0.as_mut()?;
        if told.has_changed().unwrap_or(true) { *told.borrow_and_update() } else { None }
    }
}

fn look_after(process: &Weak<Process>, limits: Limits, teller: &watch::Sender<Option<Exceeded>>) {
    // Before all that it may have to end, where we may: what the kernel does not hold for root, it lets root do. Of this thread.
    let _as_it_is = setpriority_process(None, FIRST);
    let (mut pause, mut blind) = (FAR, 0);
    loop {
        std::thread::sleep(pause);
        let Some(process) = process.upgrade() else { return };
        let used = match Use::of(&process) {
            None => return,
            Some(Ok(used)) => used,
            // For want of descriptors, say. What nobody can watch is ended before it can use that.
            Some(Err(error)) => {
                blind += 1;
                if blind == BLIND {
                    tracing::error!(%error, "a session that cannot be watched is ended");
                    let _ended_already = process.kill();
                    return;
                }
                continue;
            }
        };
        blind = 0;
        pause = if used.is_near(&limits) { NEAR } else { FAR };
        let Some(exceeded) = used.exceeds(&limits) else { continue };
        teller.send_replace(Some(exceeded));
        if teller.receiver_count() > 1 {
            interrupt(&process, exceeded);
        }
        end(&process, &limits);
    }
}

/// What Ctrl-C does, while a command runs: a shell whose child is killed takes that for done and goes on, but not one whose child
/// has died of an interrupt. So the shell's own children get the time to do that, while theirs, if there are too many, get none.
/// Whoever runs the command sees to it that the shell comes out of it well.
fn interrupt(process: &Process, exceeded: Exceeded) {
    let Some(shell) = process.program_pid() else { return };
    let _gone = process.unless_reaped(|_| Pid::from_raw(shell).map(|shell| kill_process_group(shell, Signal::INT)));
    match exceeded {
        Exceeded::Memory => std::thread::sleep(HEARING),
        Exceeded::Processes => {
            let own = process.tree().map(|tree| tree.only(|pid| Stat::of(pid).is_ok_and(|stat| stat.parent == shell)));
            let _those = own.and_then(|own| process.end_newer(&own, Some(shell)));
        }
    }
}

/// Everything but the shell, and if that is not enough the shell as well.
fn end(process: &Process, limits: &Limits) {
    let shell = process.program_pid();
    for _ in 0..ROUNDS {
        // What cannot be looked at is ended as a whole.
        let Ok(_alone) = process.end_newer(&Tree::default(), shell) else { break };
        match Use::of(process) {
            Some(Ok(left)) if left.exceeds(limits).is_none() => return,
            Some(_) => {}
            None => return,
        }
    }
    if let Err(error) = process.kill() {
        tracing::error!(%error, "cannot end a session that has passed its limits");
    }
}

/// What the processes of a session use together.
#[derive(Debug, Default)]
struct Use {
    pids: Vec<i32>,
    threads: u64,
    /// At most so much memory, in bytes: what several share counts for each.
    memory: u64,
}

impl Use {
    /// None once the session has ended.
    fn of(process: &Process) -> Option<io::Result<Self>> {
        Some(process.unless_reaped(tree::look)?.and_then(|look| {
            let mut all = Self::default();
            for pid in look.pids() {
                let stat = match Stat::of(pid) {
                    Ok(stat) => stat,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                };
                all.pids.push(pid);
                all.threads += stat.threads;
                all.memory += resident(pid)?;
            }
            Ok(all)
        }))
    }

    fn is_near(&self, limits: &Limits) -> bool {
        limits.memory.is_some_and(|limit| self.memory > limit / 4)
            || limits.processes.is_some_and(|limit| self.threads > limit / 4)
    }

    fn exceeds(&self, limits: &Limits) -> Option<Exceeded> {
        if limits.processes.is_some_and(|limit| self.threads > limit) {
            return Some(Exceeded::Processes);
        }
        let limit = limits.memory.filter(|limit| self.memory > *limit)?;
        // Only now what costs some milliseconds: who shares what.
        let shared: u64 = self.pids.iter().map(|pid| proportional(*pid)).fold(0, u64::saturating_add);
        (shared > limit).then_some(Exceeded::Memory)
    }
}

/// Memory of a process that is not in files; nothing for one that is gone.
fn resident(pid: i32) -> io::Result<u64> {
    match fs::read_to_string(format!("/proc/{pid}/status")) {
        Ok(status) => Ok(kibibytes(&status, &["RssAnon:", "RssShmem:"])),
        Err(error) if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH) => Ok(0),
        Err(error) => Err(error),
    }
}

/// The same, with what several share divided among them.
fn proportional(pid: i32) -> u64 {
    match fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) {
        Ok(rollup) => kibibytes(&rollup, &["Pss_Anon:", "Pss_Shmem:"]),
        // A kernel that does not tell counts each for itself; what cannot be told at all has passed every limit.
        Err(_) => resident(pid).unwrap_or(u64::MAX),
    }
}

fn kibibytes(text: &str, names: &[&str]) -> u64 {
    let of = |line: &str| {
        let rest = names.iter().find_map(|name| line.strip_prefix(name))?;
        rest.split_whitespace().next()?.parse::<u64>().ok()
    };
    text.lines().filter_map(of).sum::<u64>() * 1024
}
