//! How much a session uses, looked at from outside, and the end of what uses too much.
//!
//! The kernel counts processes per user, for root not at all, and memory not by session unless there is a control group to
//! write to (`group.rs`), which is rare outside of a service manager. So one thread of the server's looks at all sessions that have limits, the
//! more often the nearer a session is to one, and not at those that have run nothing since they were found at rest. What has gone past it between two looks is ended with the rest: every process of the session's but its shell,
//! and the shell too if that alone is past the limit.
//!
//! Processor time and disks are looked at in the same way, and counted for each command: what an earlier one has left in the background
//! counts for the one that runs. Who has used them up is ended but once; there is nothing that a shell without children could give back.
//!
//! Memory is what processes hold that is not in files; what several share counts once. Not seen is memory that nobody has mapped
//! (an anonymous file that is only written to), which the limits on a file's size and on open files bound.
//!
//! Decided here: whether a limit is passed. Not decided here: what becomes of the command (`transport/local/run.rs`).

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use std::{fs, io};

use rustix::process::{
    Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal, setpriority_process,
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::cpu_time::CpuTime;
use super::disk::{Disks, Watcher};
use super::group::{Group, Refusals};
use super::plan::Limits;
use super::process::Process;
use super::stat::{Stat, is_gone};
use super::tree::{self, Tree};

/// Between two looks at a session that is far from its limits, and at one that is near.
const FAR: Duration = Duration::from_millis(100);
const NEAR: Duration = Duration::from_millis(5);

/// The name of the threads that look and end.
const THREAD: &str = "palisade-meter";

/// Looks in a row that may fail.
const BLIND: u32 = 20;

/// Processor time before a limit in which a session is near it.
const SOON: Duration = Duration::from_secs(1);

/// How long an interrupt may take.
const HEARING: Duration = Duration::from_millis(30);

/// The kernel's highest priority for what is not real-time.
const FIRST: i32 = -20;

/// Rounds of killing, each of at most half a second, before the whole session is ended.
const ROUNDS: usize = 6;

/// A limit that a session has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exceeded {
    /// Too much memory.
    Memory,
    /// Too many processes and threads.
    Processes,
    /// Too much processor time.
    Cpu,
    /// Too much in its own directory.
    Disk,
    /// Too little left on a disk.
    FreeDisk,
}

impl Exceeded {
    /// As settings name the limit.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Processes => "processes",
            Self::Cpu => "cpu",
            Self::Disk => "disk",
            Self::FreeDisk => "free-disk",
        }
    }
}

/// Says when one session passes a limit, as long as its process is held.
#[derive(Debug)]
pub struct Meter {
    told: watch::Receiver<Option<Exceeded>>,
    /// Whether what has passed a limit is being ended just now.
    ending: watch::Receiver<bool>,
    activity: Arc<Activity>,
    group: Option<Arc<Group>>,
    process: Weak<Process>,
    /// The limit of processor time.
    cpu: Option<Duration>,
}

/// How many commands a session has begun, and how many of them have ended.
#[derive(Debug, Default)]
struct Activity {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Meter {
    /// Begins to look; none where there is nothing to hold.
    ///
    /// # Errors
    ///
    /// There is no thread to look, and none can be made.
    pub fn start(process: &Arc<Process>, limits: Limits, disks: Disks) -> io::Result<Option<Self>> {
        if !limits.are_watched() {
            return Ok(None);
        }
        let (teller, told) = watch::channel(None);
        let (busy, ending) = watch::channel(false);
        let activity = Arc::new(Activity::default());
        let account = Account::new(Arc::clone(&activity), disks);
        let due = Instant::now() + FAR;
        let seen = Arc::downgrade(process);
        let watched = MeteredSession { process: seen, limits, account, teller, busy, due, calm: None, blind: 0 };
        hand_over(watched)?;
        let (group, process) = (process.group().cloned(), Arc::downgrade(process));
        Ok(Some(Self { told, ending, activity, group, process, cpu: limits.cpu }))
    }

    /// A command begins: what is passed from now on. It has ended when this is dropped. Waits until what an earlier one is ended
    /// for has come to its end: whoever ends that takes all that it finds.
    pub async fn watch(&self) -> Watch {
        self.activity.begun.fetch_add(1, AcqRel);
        let running = Running(Arc::clone(&self.activity));
        let mut told = self.told.clone();
        told.mark_unchanged();
        let mut ending = self.ending.clone();
        if *ending.borrow_and_update() {
            let _nobody_ends_anything_any_more = ending.wait_for(|ending| !ending).await;
            told.mark_unchanged();
        }
        let refusals = |group: &Arc<Group>| Some((Arc::clone(group), group.refusals().ok()?));
        let group = self.group.as_ref().and_then(refusals);
        let cpu = self.cpu.and_then(|limit| Some((limit, Bill::begin(self.process.clone())?)));
        Watch { told: Some(told), group, cpu, _running: Some(running) }
    }
}

/// What a session passes while it is watched.
#[derive(Debug)]
pub struct Watch {
    told: Option<watch::Receiver<Option<Exceeded>>>,
    /// The session's control group, and what the kernel had refused in it before.
    group: Option<(Arc<Group>, Refusals)>,
    /// The limit of processor time, and what is spent of it.
    cpu: Option<(Duration, Bill)>,
    _running: Option<Running>,
}

/// A command that has not ended.
#[derive(Debug)]
struct Running(Arc<Activity>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, AcqRel);
    }
}

impl Watch {
    /// Of a session without limits.
    #[must_use]
    pub const fn none() -> Self {
        Self { told: None, group: None, cpu: None, _running: None }
    }

    /// Waits until a limit is passed. Safe to drop.
    pub async fn exceeded(&mut self) -> Exceeded {
        if let Some(told) = &mut self.told
            && told.changed().await.is_ok()
            && let Some(exceeded) = *told.borrow_and_update()
        {
            return exceeded;
        }
        self.told = None;
        std::future::pending().await
    }

    /// What has been passed and not been waited for.
    pub fn now(&mut self) -> Option<Exceeded> {
        let told = self.told.as_mut()?;
        let told = if told.has_changed().unwrap_or(true) { *told.borrow_and_update() } else { None };
        // What the kernel refuses, and kills, may be over before anybody looks.
        told.or_else(|| self.group.as_ref().and_then(|(group, before)| group.refusals().ok()?.since(*before)))
    }

    /// The same, for a command whose processes have ended. It adds up their processor time, since they may pass that limit between two
    /// looks of a busy server and be killed by the kernel, which does not say why.
    pub fn at_the_end(&mut self) -> Option<Exceeded> {
        let spent = |watch: &mut Self| {
            let (limit, bill) = watch.cpu.as_mut()?;
            (bill.so_far()? > *limit).then_some(Exceeded::Cpu)
        };
        self.now().or_else(|| spent(self))
    }
}

/// The processor time that a session has spent since a command began.
#[derive(Debug)]
struct Bill {
    process: Weak<Process>,
    spent: CpuTime,
}

impl Bill {
    /// None where the session has ended, or cannot be looked at.
    fn begin(process: Weak<Process>) -> Option<Self> {
        let mut bill = Self { process, spent: CpuTime::default() };
        bill.look()?;
        bill.spent.begin();
        Some(bill)
    }

    fn look(&mut self) -> Option<()> {
        let process = self.process.upgrade()?;
        let used = Use::of(&process)?.ok()?;
        self.spent.look(&used.stats);
        Some(())
    }

    fn so_far(&mut self) -> Option<Duration> {
        self.look()?;
        Some(self.spent.so_far())
    }
}

/// What counts for one command.
#[derive(Debug)]
struct Account {
    activity: Arc<Activity>,
    command: u64,
    spent: CpuTime,
    disks: Watcher,
    /// What the kernel had refused at the last look.
    refusals: Refusals,
    /// It has passed a limit and was ended.
    closed: bool,
}

impl Account {
    fn new(activity: Arc<Activity>, disks: Disks) -> Self {
        let (spent, disks) = (CpuTime::default(), Watcher::new(disks));
        Self { activity, command: 0, spent, disks, refusals: Refusals::default(), closed: false }
    }

    /// The limit that the command has passed, once.
    fn look(&mut self, used: &Use, limits: &Limits) -> Option<Exceeded> {
        self.spent.look(&used.stats);
        let command = self.activity.begun.load(Acquire);
        if command != self.command {
            (self.command, self.closed) = (command, false);
            self.spent.begin();
            self.disks.begin();
        }
        if self.closed && used.pids.len() <= 1 {
            return None;
        }
        let passed = limits.cpu.filter(|limit| self.spent.so_far() > *limit).map(|_| Exceeded::Cpu);
        let passed = passed.or_else(|| self.disks.look(limits));
        self.closed |= passed.is_some();
        passed
    }

    /// The limit at which the kernel has refused this command something.
    fn refused(&mut self, process: &Process) -> Option<Exceeded> {
        let now = process.group()?.refusals().ok()?;
        let before = std::mem::replace(&mut self.refusals, now);
        // If another has begun since, it may have been the one before.
        now.since(before).filter(|_| !self.is_over())
    }

    /// Whether another command has begun meanwhile.
    fn is_over(&self) -> bool {
        self.activity.begun.load(Acquire) != self.command
    }

    /// How many commands have ended, if none runs.
    fn at_rest(&self) -> Option<u64> {
        let ended = self.activity.ended.load(Acquire);
        (ended == self.activity.begun.load(Acquire)).then_some(ended)
    }

    fn is_near(&self, limits: &Limits) -> bool {
        limits.cpu.is_some_and(|limit| !self.closed && self.spent.so_far() + SOON > limit)
    }
}

/// A session that is looked at.
#[derive(Debug)]
struct MeteredSession {
    process: Weak<Process>,
    limits: Limits,
    account: Account,
    teller: watch::Sender<Option<Exceeded>>,
    /// Whether what has passed a limit is being ended.
    busy: watch::Sender<bool>,
    /// When it is to be looked at again.
    due: Instant,
    /// How many commands had ended when it was found at rest, with nothing in it but its shell.
    calm: Option<u64>,
    /// Looks in a row that have failed.
    blind: u32,
}

impl Drop for MeteredSession {
    /// A session whose watch has come to grief is ended: it would go on without its limits.
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(process) = self.process.upgrade()
        {
            let _ended_already = process.kill();
        }
    }
}

/// One that is in nobody's hands yet.
#[cfg(test)]
pub(super) fn watched(process: &Arc<Process>, limits: Limits) -> impl Send + use<> {
    let account = Account::new(Arc::default(), Disks::default());
    let (process, teller, busy) = (Arc::downgrade(process), watch::channel(None).0, watch::channel(false).0);
    MeteredSession { process, limits, account, teller, busy, due: Instant::now(), calm: None, blind: 0 }
}

/// A command whose processor time no thread looks at before it ends.
#[cfg(test)]
pub(super) fn unwatched(process: &Arc<Process>, cpu: Duration) -> Watch {
    Watch { cpu: Bill::begin(Arc::downgrade(process)).map(|bill| (cpu, bill)), ..Watch::none() }
}

/// What comes of a look.
enum LookOutcome {
    /// There will be another one.
    Well,
    /// The session has ended.
    Gone,
    /// It is to be ended, all but its shell, for having passed this limit.
    Over(Exceeded),
}

/// Has the thread that looks at all sessions look at this one, too.
fn hand_over(watched: MeteredSession) -> io::Result<()> {
    static LOOKER: Mutex<Option<Sender<MeteredSession>>> = Mutex::new(None);
    // Nothing that holds the lock can fail half-way.
    let mut looker = LOOKER.lock().unwrap_or_else(PoisonError::into_inner);
    let sender = match &*looker {
        Some(sender) => sender,
        None => {
            let (sender, sessions) = mpsc::channel();
            let again = sender.clone();
            std::thread::Builder::new().name(THREAD.to_owned()).spawn(move || look_after(&sessions, &again))?;
            looker.insert(sender)
        }
    };
    // It would have to have died of a fault of ours; then no session with limits starts any more.
    sender.send(watched).map_err(|_| io::Error::other("nobody watches limits any more"))
}

fn look_after(sessions: &Receiver<MeteredSession>, again: &Sender<MeteredSession>) {
    // Before all that it may have to end, where we may: what the kernel does not hold for root, it lets root do. Of this thread, and of
    // those that it starts.
    let _as_it_is = setpriority_process(None, FIRST);
    let mut all: Vec<MeteredSession> = Vec::new();
    loop {
        let next = all.iter().map(|watched| watched.due).min();
        match next {
            Some(due) => all.extend(sessions.recv_timeout(due.saturating_duration_since(Instant::now())).ok()),
            None => all.extend(sessions.recv().ok()),
        }
        let now = Instant::now();
        let mut at = 0;
        while let Some(watched) = all.get_mut(at) {
            let found = if watched.due <= now { watched.look() } else { LookOutcome::Well };
            match found {
                LookOutcome::Well => at += 1,
                LookOutcome::Gone => drop(all.swap_remove(at)),
                LookOutcome::Over(exceeded) => end_beside(all.swap_remove(at), exceeded, again),
            }
        }
    }
}

/// Ends it in a thread of its own, since that may take seconds in which others could pass their limits; here, if there is no thread to be
/// had. It is looked at again after that.
fn end_beside(watched: MeteredSession, exceeded: Exceeded, again: &Sender<MeteredSession>) {
    let held = Arc::new(Mutex::new(Some(watched)));
    let end = move |held: &Mutex<Option<MeteredSession>>, again: &Sender<MeteredSession>| {
        if let Some(watched) = held.lock().unwrap_or_else(PoisonError::into_inner).take() {
            watched.end(exceeded);
            let _server_ends = again.send(watched);
        }
    };
    let (theirs, back) = (Arc::clone(&held), again.clone());
    if std::thread::Builder::new().name(THREAD.to_owned()).spawn(move || end(&theirs, &back)).is_err() {
        end(&held, again);
    }
}

impl MeteredSession {
    fn look(&mut self) -> LookOutcome {
        self.due = Instant::now() + FAR;
        let Some(process) = self.process.upgrade() else { return LookOutcome::Gone };
        let rest = self.account.at_rest();
        if rest.is_some() && rest == self.calm {
            return LookOutcome::Well;
        }
        let used = match Use::of(&process) {
            None => return LookOutcome::Gone,
            Some(Ok(used)) => used,
            // For want of descriptors, say. What nobody can watch is ended before it can use that.
            Some(Err(error)) => {
                self.blind += 1;
                if self.blind < BLIND {
                    return LookOutcome::Well;
                }
                tracing::error!(%error, "a session that cannot be watched is ended");
                let _ended_already = process.kill();
                return LookOutcome::Gone;
            }
        };
        self.blind = 0;
        let refused = self.account.refused(&process);
        let for_command = self.account.look(&used, &self.limits);
        let exceeded = used.exceeds(&self.limits).or(refused).or(for_command);
        if used.is_near(&self.limits) || self.account.is_near(&self.limits) {
            self.due = Instant::now() + NEAR;
        }
        self.calm = rest.filter(|_| exceeded.is_none() && used.pids.len() <= 1);
        match exceeded {
            None => return LookOutcome::Well,
            Some(exceeded @ (Exceeded::Memory | Exceeded::Processes)) => return LookOutcome::Over(exceeded),
            // The last command's: that has ended.
            Some(_) if self.account.is_over() => {}
            // There is time for whoever runs the command to end it; only what nobody runs is ended here.
            Some(exceeded) => {
                self.teller.send_replace(Some(exceeded));
                if self.teller.receiver_count() == 1 {
                    end_these(&used.stats, &process);
                }
            }
        }
        LookOutcome::Well
    }

    fn end(&self, exceeded: Exceeded) {
        let Some(process) = self.process.upgrade() else { return };
        // In this order: a command that begins now waits for the end of this, or is told as the one that runs. None goes before: a
        // stream of short ones could put it off for ever.
        self.busy.send_replace(true);
        self.teller.send_replace(Some(exceeded));
        if self.teller.receiver_count() > 1 {
            interrupt(&process, exceeded);
        }
        end(&process, &self.limits);
        self.busy.send_replace(false);
    }
}

/// What was there at the last look, but for the shell: not what a command starts that begins meanwhile.
fn end_these(those: &[(i32, Stat)], process: &Process) {
    let spared = [Some(process.first_pid()), process.program_pid()];
    for (pid, stat) in those.iter().filter(|(pid, _)| !spared.contains(&Some(*pid))) {
        // The descriptor fixes the process; only then is the second look about the one that gets the signal.
        let opened = Pid::from_raw(*pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        if let Some(opened) = opened
            && Stat::may_live(*pid, stat.start)
        {
            let _gone = pidfd_send_signal(opened, Signal::KILL);
        }
    }
}

/// What Ctrl-C does, while a command runs: a shell whose child is killed takes that for done and goes on, but not one whose child
/// has died of an interrupt. So the shell's own children get the time to do that, while theirs, if there are too many, get none.
/// Whoever runs the command sees to it that the shell comes out of it well.
fn interrupt(process: &Process, exceeded: Exceeded) {
    let Some(shell) = process.program_pid() else { return };
    let _gone = process.unless_reaped(|_| Pid::from_raw(shell).map(|shell| kill_process_group(shell, Signal::INT)));
    match exceeded {
        Exceeded::Memory | Exceeded::Cpu | Exceeded::Disk | Exceeded::FreeDisk => std::thread::sleep(HEARING),
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
    /// Those, and the session's first process.
    stats: Vec<(i32, Stat)>,
    threads: u64,
    /// At most so much memory, in bytes: what several share counts for each.
    memory: u64,
}

impl Use {
    /// None once the session has ended.
    fn of(process: &Process) -> Option<io::Result<Self>> {
        let both = |first| Ok::<_, io::Error>((first, Stat::of(first)?, tree::look(first)?));
        Some(process.unless_reaped(both)?.and_then(|(first, stat, look)| {
            let mut all = Self { stats: vec![(first, stat)], ..Self::default() };
            for pid in look.pids() {
                let stat = match Stat::of(pid) {
                    Ok(stat) => stat,
                    Err(error) if is_gone(&error) => continue,
                    Err(error) => return Err(error),
                };
                all.pids.push(pid);
                all.stats.push((pid, stat));
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
        Err(error) if is_gone(&error) => Ok(0),
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
