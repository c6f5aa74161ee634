//! Every `execve` of a session is asked about before the new program's first instruction.
//!
//! ```text
//! execve ─▶ seccomp filter holds the caller ─▶ its words are read ─▶ Judge::may ─ no ─▶ EACCES
//!                                                                        │ yes
//!                     detached, runs ◀─ the same? Judge::may ◀─ the image that came ◀─ ptrace around the call
//! ```
//!
//! The words that the filter shows lie in memory which another thread of the caller can change while they are judged. So the
//! caller is let go on under ptrace, which stops it in its new image with nothing of it run: what stands there was copied by
//! the kernel and nobody can change it any more. If it is not what was judged, it is judged, and killed on a no. No process
//! stays traced.
//!
//! An execution that takes a person's yes stays unanswered ([`HeldCall`]): its caller waits in its `execve`, and all others are answered
//! meanwhile. When there is an answer, the call is read and judged again as it is then.
//!
//! One thread per session does all this, for the kernel ties a traced process to the thread that traces it. When that thread
//! ends, however that comes, the filter answers every later `execve` with an error, and a process in the middle of one dies.
//!
//! Not decided here: what may be executed ([`Judge`], in `runner/src/guard/`).
#![expect(unsafe_code, reason = "the filter's requests, another process's memory and ptrace have no safe interface")]

use std::ffi::{OsString, c_int, c_uint, c_void};
use std::fmt;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::path::{Component, Path, PathBuf};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::readlinkat;
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::SandboxError;
use super::connect::Connecting;
use super::execution::{
    Execution, has_no_name, interpreter, is_deleted, link, number, open_as, open_link, place_of, without_own_links,
};
use super::memory::{ExecveArguments, Memory};
use super::names::{Making, Names, RenameSource};
use super::repositories::{Around, SettingsChange, Taken, is_named, of_only_worktree};
use super::seccomp::{self, Made, NameArguments};
use super::stat::{is_gone, leader};

/// Decides what may be executed. Lives on the session's guard thread.
pub trait Judge: Send + fmt::Debug {
    /// The session's own program is about to run, in this process.
    fn launched(&mut self, process: i32);

    /// Whether the last of these steps may be taken, a script before its interpreter. Asked for each step, and once more if
    /// something else came of them. A yes can depend on what [`Judge::settle`] says.
    fn may(&mut self, steps: &[Execution]) -> bool;

    /// Whether these steps, each of which may be taken, are taken now.
    fn settle(&mut self, _steps: &[Execution], _patience: Patience) -> Settled {
        Settled::Goes
    }

    /// How an execution stands that waits.
    fn look(&mut self, _ticket: u64) -> WaitState {
        WaitState::Over
    }

    /// Nobody waits under this ticket any more: the caller is gone, or its call was refused.
    fn left(&mut self, _ticket: u64) {}

    /// Whether an execution may go on that cannot be watched, since its caller is traced by another process of the session: the words that
    /// were judged may not be those that the kernel reads. It counts as no program from then on.
    fn may_unwatched(&mut self, _steps: &[Execution]) -> bool {
        false
    }

    /// It was executed: these are the steps. False if what comes of it cannot be followed; then it is killed.
    fn became(&mut self, steps: &[Execution]) -> bool;

    /// Whether another program of the session may take over this process (ptrace(2)): only one that stands for itself alone.
    fn may_trace(&self, _process: i32) -> bool {
        false
    }

    /// Whether this process runs a trusted program of this name, and no other process traces it.
    fn is_of(&self, _process: i32, _program: &str) -> bool {
        false
    }

    /// Another program has taken it over, or is about to: nothing that it does from here on is what its program's name says.
    fn traced(&mut self, _process: i32) {}

    /// It was not executed, for this reason, which is no policy's.
    fn refused(&mut self, execution: &Execution, reason: &'static str);
}

/// Whether an execution can wait for somebody's yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// It cannot: the kernel has executed it already.
    None,
    /// It can.
    New,
    /// It has waited under this ticket.
    Waited(u64),
}

/// What becomes of an execution whose steps may all be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It goes on.
    Goes,
    /// It is refused, and that was told.
    Refused,
    /// It waits under this ticket.
    Waits(u64),
}

/// How an execution stands that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitState {
    /// It waits on.
    Waits,
    /// It is to be judged again.
    Again,
    /// It is refused, and that was told.
    Over,
}

/// How often those that wait are looked at: the kernel does not say that a caller has died.
const TICK: Duration = Duration::from_millis(100);

/// Interpreters of interpreters that the kernel follows (`fs/exec.c`).
const MAX_INTERPRETERS: usize = 5;

/// Takes the listener that a new process sends, and answers for everything that the session executes, on a thread that ends with
/// it. A process that came to its end before sends none.
///
/// # Errors
///
/// The listener cannot be received, no thread can be made, or the kernel's requests are longer than known.
pub(super) fn stand(post: &UnixStream, judge: Box<dyn Judge>, names: Option<Arc<Names>>) -> Result<(), SandboxError> {
    let failed = |source| SandboxError::Server { what: "guard a session", source };
    match receive(post).map_err(failed)? {
        Some(listener) => watch(listener, judge, names).map_err(failed),
        None => Ok(()),
    }
}

/// The descriptor that a new process has sent; none where it has ended without.
pub(super) fn receive(post: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(post, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut listeners = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok(listeners.next())
}

fn watch(listener: OwnedFd, judge: Box<dyn Judge>, names: Option<Arc<Names>>) -> io::Result<()> {
    demand_known_sizes()?;
    let (held, connecting) = (Vec::new(), Arc::default());
    let guard = Guard { listener, judge, names, connecting, held, looked: Instant::now() };
    std::thread::Builder::new().name("palisade-guard".to_owned()).spawn(move || guard.live()).map(drop)
}

struct Guard {
    listener: OwnedFd,
    judge: Box<dyn Judge>,
    /// What is told of names that are made.
    names: Option<Arc<Names>>,
    /// How many connections are being waited for.
    connecting: Arc<AtomicUsize>,
    /// Calls that wait for somebody's yes. The judge lets so many wait at most.
    held: Vec<HeldCall>,
    /// When they were looked at last.
    looked: Instant,
}

/// A call that stays unanswered.
struct HeldCall {
    call: TrappedCall,
    ticket: u64,
}

/// What comes next.
enum Next {
    Call(Notified),
    /// Nothing for a while.
    Tick,
    /// Nothing of the session is left.
    Over,
}

impl Guard {
    /// The first `execve` is the session's own program, which nobody else's hand is in.
    fn live(mut self) {
        if let Next::Call(Notified::Execution(launch)) = self.next() {
            self.judge.launched(launch.thread);
            let _ = self.answer(launch.id, GO_ON);
        }
        loop {
            match self.next() {
                Next::Call(Notified::Execution(call)) if call.makes.is_some() => self.name(&call),
                Next::Call(Notified::Execution(call)) => self.decide(call, Patience::New),
                Next::Call(Notified::Tracing(call)) => self.decide_tracing(&call),
                Next::Call(Notified::Connecting(call)) => self.connect(&call),
                Next::Tick => {}
                Next::Over => break,
            }
            if !self.held.is_empty() && self.looked.elapsed() >= TICK {
                self.look_at_held();
            }
        }
        for held in std::mem::take(&mut self.held) {
            self.judge.left(held.ticket);
        }
    }

    /// A call that makes a name. What it names lies in memory that another thread can change: so a yes is none that anything rests on.
    /// It is announced, and what does not announce itself counts as made by somebody else.
    fn name(&self, call: &TrappedCall) {
        let kind = call.makes.map_or(Made::Other, |makes| makes.kind);
        let Some(names) = &self.names else {
            let _ = self.answer(call.id, GO_ON);
            return;
        };
        // A file system that cannot exchange names gives the same error, and programs then do without. Here both names would have to be
        // looked at.
        if call.exchanges {
            let _ = self.answer(call.id, -libc::EINVAL);
            return;
        }
        let place = call.named(kind);
        if let Ok(Some(place)) = &place
            && let Some(new) = names.made_for_it(place, kind)
        {
            let mask = mode_mask(call.thread);
            // What was looked at is the caller only if it still waits.
            if is_waiting(&self.listener, call.id) {
                let taken = mask.and_then(|mask| new.take(place, call.mode & !mask));
                let _ = done(&self.listener, call.id, taken.err().unwrap_or(0));
            }
            return;
        }
        if let Ok(Some(place)) = &place
            && kind == Made::Moved
            && is_named(place)
            && names.is_kept(place)
        {
            return self.change_settings(call, names, place, place);
        }
        if let Ok(Some(place)) = &place
            && kind == Made::Moved
            && let Some(settings) = of_only_worktree(place)
            && names.runs_later(place, kind).is_some()
        {
            return self.change_settings(call, names, place, &settings);
        }
        match place.and_then(|place| Ok((place, call.source()?))) {
            Ok((Some(place), source)) if names.making(&place, kind, source.as_ref()) == Making::Refused => {
                let _ = self.answer(call.id, -libc::EACCES);
            }
            Ok(_) => _ = self.answer(call.id, GO_ON),
            // What cannot be looked up is not made: the kernel would say the same, or knows a way there that we do not.
            Err(errno) => _ = self.answer(call.id, -errno),
        }
    }

    /// A call that would put another file to `named`, where a repository's settings are, which are kept. They lie at `place`.
    fn change_settings(&self, call: &TrappedCall, names: &Names, named: &Path, place: &Path) {
        let is_git = leader(call.thread).is_some_and(|process| self.judge.is_of(process, "git"));
        // What was looked at is the caller only if it still waits.
        if !is_waiting(&self.listener, call.id) {
            return;
        }
        let around = Around {
            is_beyond: &|path| names.is_beyond(path),
            is_of_session: &|name, value| names.has_set(place, name, value),
            own: names.own_settings(),
            sees_own: names.sees_own_settings(place),
        };
        let new = PathBuf::from(format!("{}.lock", named.display()));
        let take_over = || {
            let written = open_as(call.thread, &new, false)?;
            let change = SettingsChange { written: &written, new: &new, place, of_worktree: named != place };
            names.repositories().take_over(&change, &around)
        };
        let taken = if is_git { take_over() } else { Err(libc::EACCES) };
        let taken = taken.and_then(|taken| match taken {
            Taken::Over(difference) => {
                names.note_settings(place, &difference);
                Ok(())
            }
            Taken::Kept(name) => {
                names.tell_settings();
                names.stand_in(place, name).map_err(|_| libc::EACCES)
            }
        });
        if taken.is_err() {
            names.tell_kept(named);
        }
        let _ = done(&self.listener, call.id, taken.err().unwrap_or(0));
    }

    /// A call that connects a socket.
    fn connect(&self, call: &Connecting) {
        let connection = self.names.as_ref().ok_or(libc::EACCES).and_then(|names| call.prepare(names));
        // What was read is the caller's only if it still waits: else its number may be another's by now.
        if !is_waiting(&self.listener, call.id) {
            return;
        }
        let listener = self.listener.try_clone().map_err(number);
        match connection.and_then(|connection| Ok((connection, listener?))) {
            Ok((connection, listener)) => {
                let (id, listener) = (call.id, Arc::new(listener));
                let told = connection.peer().zip(self.names.clone());
                connection.make(&self.connecting, move |errno| {
                    if let Some((peer, names)) = told.as_ref().filter(|_| errno == libc::ENETUNREACH) {
                        names.tell_peer(*peer);
                    }
                    _ = done(&listener, id, errno);
                });
            }
            Err(errno) => _ = done(&self.listener, call.id, errno),
        }
    }

    fn next(&self) -> Next {
        let tick = Timespec { tv_sec: 0, tv_nsec: TICK.subsec_nanos().into() };
        loop {
            let mut polled = [PollFd::new(&self.listener, PollFlags::IN)];
            match poll(&mut polled, (!self.held.is_empty()).then_some(&tick)) {
                Ok(0) => return Next::Tick,
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(_) => return Next::Over,
            }
            if !polled.iter().any(|polled| polled.revents().contains(PollFlags::IN)) {
                return Next::Over;
            }
            match receive_call(&self.listener) {
                Ok(call) => return Next::Call(call),
                // The caller was killed meanwhile.
                Err(libc::ENOENT | libc::EINTR) => {}
                Err(_) => return Next::Over,
            }
        }
    }

    /// Goes on with those that have their answer, and forgets those that have died.
    fn look_at_held(&mut self) {
        self.looked = Instant::now();
        for HeldCall { call, ticket } in std::mem::take(&mut self.held) {
            if !is_waiting(&self.listener, call.id) {
                self.judge.left(ticket);
                continue;
            }
            match self.judge.look(ticket) {
                WaitState::Waits => self.held.push(HeldCall { call, ticket }),
                WaitState::Again => self.decide(call, Patience::Waited(ticket)),
                WaitState::Over => _ = self.answer(call.id, -libc::EACCES),
            }
        }
    }

    /// Says no to a call, which may have waited.
    fn deny(&mut self, call: &TrappedCall, errno: c_int, patience: Patience) {
        let _ = self.answer(call.id, -errno);
        self.leave(patience);
    }

    fn leave(&mut self, patience: Patience) {
        if let Patience::Waited(ticket) = patience {
            self.judge.left(ticket);
        }
    }

    fn decide(&mut self, call: TrappedCall, patience: Patience) {
        let steps = match self.steps(&call) {
            Ok(steps) => steps,
            Err(errno) => return self.deny(&call, errno, patience),
        };
        // What was read is the caller's only if it still waits: else its number may be another's by now.
        if !is_waiting(&self.listener, call.id) {
            return self.leave(patience);
        }
        let may = (1..=steps.len()).all(|taken| steps.get(..taken).is_some_and(|steps| self.judge.may(steps)));
        if !may {
            return self.deny(&call, libc::EACCES, patience);
        }
        match self.judge.settle(&steps, patience) {
            Settled::Goes => {}
            Settled::Refused => {
                let _ = self.answer(call.id, -libc::EACCES);
                return;
            }
            Settled::Waits(ticket) => return self.held.push(HeldCall { call, ticket }),
        }
        if let Err(errno) = trace(libc::PTRACE_SEIZE, call.thread, TRACE_OPTIONS) {
            if errno == libc::EPERM && self.judge.may_unwatched(&steps) {
                let _ = self.answer(call.id, GO_ON);
                return;
            }
            // One that is being killed is none that anybody refuses something.
            if errno != libc::ESRCH {
                self.refuse_unseen(&steps);
            }
            let _ = self.answer(call.id, -libc::EACCES);
            return;
        }
        // A caller that was killed meanwhile ends, and that is what the wait sees.
        let _ = self.answer(call.id, GO_ON);
        let _ = trace(libc::PTRACE_INTERRUPT, call.thread, 0);
        match next_stop(call.thread) {
            TraceStop::Executed(process) => self.verify(process, steps),
            TraceStop::Returned(thread) => let_go(thread),
            TraceStop::Gone => {}
        }
    }

    /// A process may be taken over that stands for nobody else, and from then on counts for nothing: what its program may reach, whoever
    /// took it over does not get. The caller does nothing with it before the guard has seen whom it holds.
    fn decide_tracing(&mut self, call: &Tracing) {
        let target = match call.target {
            None => Some(call.thread),
            Some(number) => task_of(call.thread, number),
        };
        let process = target.and_then(leader);
        if !is_waiting(&self.listener, call.id) {
            return;
        }
        let Some(process) = process.filter(|process| self.judge.may_trace(*process)) else {
            let _ = self.answer(call.id, -libc::EPERM);
            return;
        };
        if call.target.is_none() {
            self.judge.traced(process);
            let _ = self.answer(call.id, GO_ON);
            return;
        }
        if trace(libc::PTRACE_SEIZE, call.thread, TRACE_OPTIONS).is_err() {
            let _ = self.answer(call.id, -libc::EPERM);
            return;
        }
        let _ = self.answer(call.id, GO_ON);
        let _ = trace(libc::PTRACE_INTERRUPT, call.thread, 0);
        match next_stop(call.thread) {
            TraceStop::Returned(thread) if self.holds_only_what_it_may(thread) => let_go(thread),
            // Its number may have become another process's, which it holds now.
            TraceStop::Returned(process) | TraceStop::Executed(process) => {
                kill(process);
                await_end(process);
            }
            TraceStop::Gone => {}
        }
    }

    /// Whether every process that this thread traces is one that may be taken over. Each is known for that from here on.
    fn holds_only_what_it_may(&mut self, thread: i32) -> bool {
        let Some(held) = traced_by(thread) else { return false };
        held.into_iter().all(|process| {
            let may = self.judge.may_trace(process);
            if may {
                self.judge.traced(process);
            }
            may || has_ended(process)
        })
    }

    /// Looks at what stands in the process, which has run nothing of it.
    fn verify(&mut self, process: i32, mut steps: Vec<Execution>) {
        let image = Execution::of(process);
        let same = |image: &Execution| {
            steps.last().is_some_and(|judged| {
                (&judged.file, &judged.argv, &judged.env, &judged.cwd)
                    == (&image.file, &image.argv, &image.env, &image.cwd)
            })
        };
        let may = match image {
            Ok(image) if same(&image) => true,
            // Somebody else's words, a kind of file that has an interpreter of its own, or a file that was exchanged.
            Ok(image) if self.may_be(&image) => {
                steps = vec![image];
                true
            }
            Ok(_) => false,
            Err(_) => {
                self.refuse_unseen(&steps);
                false
            }
        };
        for step in &mut steps {
            step.thread = process;
        }
        if may && self.judge.became(&steps) {
            let_go(process);
        } else {
            kill(process);
            await_end(process);
        }
    }

    fn may_be(&mut self, execution: &Execution) -> bool {
        if has_no_name(&execution.file) {
            self.judge.refused(execution, NAMELESS);
            return false;
        }
        let steps = std::slice::from_ref(execution);
        self.judge.may(steps) && self.judge.settle(steps, Patience::None) == Settled::Goes
    }

    fn refuse_unseen(&mut self, steps: &[Execution]) {
        if let Some(step) = steps.first() {
            self.judge
                .refused(step, "What is executed cannot be watched: the caller is traced already, or hides itself.");
        }
    }

    /// What the call would execute: the file, and if that is a script, its interpreters.
    fn steps(&mut self, call: &TrappedCall) -> Result<Vec<Execution>, c_int> {
        let (execution, mut file) = call.read()?;
        let mut steps = vec![execution];
        for _ in 0..=MAX_INTERPRETERS {
            let Some(step) = steps.last() else { return Err(libc::EACCES) };
            if has_no_name(&step.file) {
                self.judge.refused(step, NAMELESS);
                return Err(libc::EACCES);
            }
            let Some(interpreter) = interpreter(&file) else { return Ok(steps) };
            let (next, found) = step.interpreted(interpreter)?;
            steps.push(next);
            file = found;
        }
        Err(libc::ELOOP)
    }

    fn answer(&self, id: u64, answer: c_int) -> Result<(), c_int> {
        let (error, flags) = if answer == GO_ON { (0, CONTINUE) } else { (answer, 0) };
        let mut response = Response { id, value: 0, error, flags };
        control(&self.listener, SEND, ptr::from_mut(&mut response).cast())
    }
}

const NAMELESS: &str = "A program without a file name cannot be judged.";

/// To [`Guard::answer`], where errors are negative: let the kernel go on with the call.
const GO_ON: c_int = 0;

/// A call that the filter tells of.
enum Notified {
    Execution(TrappedCall),
    Tracing(Tracing),
    Connecting(Connecting),
}

/// A process wants to take over another, or to be taken over by its parent.
struct Tracing {
    id: u64,
    thread: i32,
    /// The other one's number, as the caller has it; none for the caller itself.
    target: Option<i32>,
}

/// The threads in the namespace for process numbers that this one is in: each with its number, and what the kernel says of it.
fn tasks_beside(thread: i32) -> Option<Vec<(i32, String)>> {
    let namespace = |process: i32| std::fs::read_link(format!("/proc/{process}/ns/pid"));
    let own = namespace(thread).ok()?;
    let numbers = |place: &str| -> Vec<i32> {
        let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    };
    let processes = numbers("/proc").into_iter().filter(|process| namespace(*process).is_ok_and(|it| it == own));
    let tasks = processes.flat_map(|process| numbers(&format!("/proc/{process}/task")));
    let told = |task: i32| Some((task, std::fs::read_to_string(format!("/proc/{task}/status")).ok()?));
    Some(tasks.filter_map(told).collect())
}

/// What a thread keeps from the permissions of what it makes (umask(2)).
fn mode_mask(thread: i32) -> Result<u32, c_int> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).map_err(number)?;
    let mask = field(&status, "Umask").and_then(|mask| u32::from_str_radix(mask, 8).ok());
    mask.ok_or(libc::EIO)
}

/// A line of what the kernel says of a thread.
fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// The thread that has this number where the caller is.
pub(super) fn task_of(caller: i32, number: i32) -> Option<i32> {
    let has = |status: &str| field(status, "NSpid")?.split_whitespace().next_back()?.parse::<i32>().ok();
    tasks_beside(caller)?.into_iter().find(|(_, status)| has(status) == Some(number)).map(|(task, _)| task)
}

/// Whether a process has ended, or has begun to: the kernel has taken its program away (`exit_mm`), so that it runs nothing more. One that
/// hides itself gives another error.
fn has_ended(process: i32) -> bool {
    std::fs::read_link(format!("/proc/{process}/exe")).is_err_and(|error| is_gone(&error))
}

/// The processes that a thread traces; none if that cannot be told.
fn traced_by(tracer: i32) -> Option<Vec<i32>> {
    let own = leader(tracer)?;
    let by = |status: &str| field(status, "TracerPid")?.parse::<i32>().ok().filter(|by| *by != 0);
    let tasks = tasks_beside(tracer)?.into_iter();
    let held = tasks.filter(|(_, status)| by(status).is_some_and(|by| leader(by) == Some(own)));
    Some(held.filter_map(|(task, _)| leader(task)).collect())
}

/// One `execve` that the filter holds.
struct TrappedCall {
    id: u64,
    thread: i32,
    /// The descriptor that the path is relative to, or the working directory's.
    base: c_int,
    path: u64,
    argv: u64,
    env: u64,
    flags: c_int,
    /// It executes nothing, but makes a name.
    makes: Option<NameArguments>,
    /// The descriptor and the path of what gets the name.
    from: Option<(c_int, u64)>,
    /// Two names change places.
    exchanges: bool,
    /// The permissions that a new directory is to have.
    mode: u32,
}

/// Links that are followed to the name that an `open` makes.
const MAX_LINKS: usize = 8;

impl TrappedCall {
    /// The path at which the call would make something, without links; none where nothing new can be made: in `/proc`, and at a path that
    /// ends in no name.
    fn named(&self, kind: Made) -> Result<Option<PathBuf>, c_int> {
        let mut named = self.path_at(self.base, self.path)?;
        for _ in 0..MAX_LINKS {
            named = without_own_links(self.thread, &named)?;
            if named.starts_with("/proc") && !named.components().any(|name| name == Component::ParentDir) {
                return Ok(None);
            }
            let (Some(above), Some(name)) = (named.parent(), named.file_name()) else { return Ok(None) };
            let directory = open_as(self.thread, above, true)?;
            let place = place_of(&directory)?;
            match readlinkat(&directory, name, Vec::new()) {
                // The other calls take a link for what it is.
                Ok(target) if kind == Made::File => named = place.join(OsString::from_vec(target.into_bytes())),
                Ok(_) | Err(_) => return Ok(Some(place.join(name))),
            }
        }
        Err(libc::ELOOP)
    }

    /// A path that the caller has given, from the root directory on. Links in it are not followed.
    fn path_at(&self, base: c_int, path: u64) -> Result<PathBuf, c_int> {
        let path = Memory(self.thread).text(path, libc::PATH_MAX.unsigned_abs() as usize)?;
        let path = PathBuf::from(OsString::from_vec(path));
        let base = match (path.is_absolute(), base) {
            (true, _) => PathBuf::new(),
            (false, libc::AT_FDCWD) => link(self.thread, "cwd").ok_or(libc::ENOENT)?,
            (false, base) => place_of(&open_link(&format!("/proc/{}/fd/{base}", self.thread))?)?,
        };
        Ok(base.join(path))
    }

    /// What gets the name; none where that is new.
    ///
    /// # Errors
    /// The error that the caller gets: what cannot be looked up gets no other name.
    fn source(&self) -> Result<Option<RenameSource>, c_int> {
        let Some((base, path)) = self.from else { return Ok(None) };
        let path = self.path_at(base, path)?;
        // By such a link of its descriptor a file gets its first name (`O_TMPFILE`, open(2)).
        let follow = path.starts_with("/proc") || path.starts_with("/dev/fd");
        let file = open_as(self.thread, &path, follow)?;
        RenameSource::of(&file).map(Some).map_err(number)
    }

    /// What it is about, with the file, opened by name alone.
    fn read(&self) -> Result<(Execution, OwnedFd), c_int> {
        let ExecveArguments { path, mut argv, env } = Memory(self.thread).told(self.path, self.argv, self.env)?;
        let path = PathBuf::from(OsString::from_vec(path));
        let cwd = link(self.thread, "cwd").filter(|cwd| cwd.is_absolute() && !is_deleted(cwd));
        let (named, file) = self.find(&path, cwd.as_deref())?;
        if argv.is_empty() {
            argv.push(Vec::new()); // as the kernel does since Linux 5.18
        }
        let given = self.given(path.as_os_str().as_bytes());
        let execution = Execution { thread: self.thread, named, given, file: place_of(&file)?, argv, env, cwd };
        Ok((execution, file))
    }

    /// The path as an interpreter is told it (`alloc_bprm` in `fs/exec.c`).
    fn given(&self, path: &[u8]) -> Vec<u8> {
        match path {
            [b'/', ..] => path.to_vec(),
            _ if self.base == libc::AT_FDCWD => path.to_vec(),
            [] => format!("/dev/fd/{}", self.base).into_bytes(),
            _ => [format!("/dev/fd/{}/", self.base).as_bytes(), path].concat(),
        }
    }

    /// The file that the kernel would execute, found in the caller's own view.
    fn find(&self, path: &Path, cwd: Option<&Path>) -> Result<(PathBuf, OwnedFd), c_int> {
        let follow = self.flags & libc::AT_SYMLINK_NOFOLLOW == 0;
        if path.as_os_str().is_empty() {
            if self.flags & libc::AT_EMPTY_PATH == 0 || self.base < 0 {
                return Err(libc::ENOENT);
            }
            let file = open_link(&format!("/proc/{}/fd/{}", self.thread, self.base))?;
            return Ok((place_of(&file)?, file));
        }
        let base = match (path.is_absolute(), self.base) {
            (true, _) => PathBuf::new(),
            (false, libc::AT_FDCWD) => cwd.ok_or(libc::ENOENT)?.to_owned(),
            (false, base) => place_of(&open_link(&format!("/proc/{}/fd/{base}", self.thread))?)?,
        };
        let named = base.join(path);
        // `/proc/self/exe` is the program that runs, and is judged by its own name.
        let named = if named.starts_with("/proc") { without_own_links(self.thread, &named)? } else { named };
        let file = open_as(self.thread, &named, follow)?;
        Ok((named, file))
    }
}

/// Whether the kernel lets this process trace others at all: a container's filter may not.
pub(super) fn may_trace() -> bool {
    // This process is traced by nobody it could be detached from, which is what the kernel says if it gets that far.
    trace(libc::PTRACE_DETACH, std::process::id().cast_signed(), 0) == Err(libc::ESRCH)
}

/// What a process that is traced does next.
enum TraceStop {
    /// It stands in the image of a new program.
    Executed(i32),
    /// Its call has come back.
    Returned(i32),
    /// It has ended.
    Gone,
}

/// Waits for the one process that this thread traces. A thread that is not the first of its process takes that one's number
/// when it executes a program.
fn next_stop(thread: i32) -> TraceStop {
    loop {
        let mut status: c_int = 0;
        // SAFETY: the kernel writes one `c_int`. Without the last flag it would take statuses that other threads wait for.
        let process = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::__WNOTHREAD) };
        if process < 0 {
            match errno() {
                libc::EINTR => continue,
                _ => return TraceStop::Gone,
            }
        }
        if !libc::WIFSTOPPED(status) {
            if process == thread {
                return TraceStop::Gone;
            }
            continue;
        }
        match status >> 16 {
            libc::PTRACE_EVENT_EXEC => return TraceStop::Executed(process),
            libc::PTRACE_EVENT_STOP => return TraceStop::Returned(process),
            // A signal on its way.
            _ => {
                let _ = trace(libc::PTRACE_CONT, process, libc::WSTOPSIG(status));
            }
        }
    }
}

/// Stopped where it executes a program, and killed should this thread end meanwhile.
const TRACE_OPTIONS: c_int = libc::PTRACE_O_TRACEEXEC | libc::PTRACE_O_EXITKILL;

fn trace(request: c_uint, thread: i32, data: c_int) -> Result<(), c_int> {
    // SAFETY: none of the requests of this file takes a pointer.
    match unsafe { libc::ptrace(request, thread, ptr::null_mut::<c_void>(), data as usize as *mut c_void) } {
        0.. => Ok(()),
        _ => Err(errno()),
    }
}

/// Stops tracing a stopped thread, which goes on.
fn let_go(thread: i32) {
    // The thread was killed meanwhile: ptrace(2) returns ESRCH for a tracee that is not stopped.
    if trace(libc::PTRACE_DETACH, thread, 0).is_err() {
        await_end(thread);
    }
}

/// Waits for the end of a tracee that has been killed. The kernel tells its parent only after the tracer has waited.
fn await_end(thread: i32) {
    while !matches!(next_stop(thread), TraceStop::Gone) {}
}

/// A process that we trace, so that the number is still its own.
fn kill(process: i32) {
    // SAFETY: no memory.
    unsafe { libc::kill(process, libc::SIGKILL) };
}

/// `struct seccomp_notif` of `linux/seccomp.h`.
#[repr(C)]
#[derive(Default)]
struct SeccompNotif {
    id: u64,
    pid: u32,
    flags: u32,
    number: c_int,
    convention: u32,
    instruction: u64,
    arguments: [u64; 6],
}

/// `struct seccomp_notif_resp`.
#[repr(C)]
struct Response {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

// As `linux/seccomp.h` composes them: the size of what is passed, the letter `!` and a number.
const RECEIVE: u64 = 0xC050_2100;
const SEND: u64 = 0xC018_2101;
const IS_WAITING: u64 = 0x4008_2102;
/// `SECCOMP_USER_NOTIF_FLAG_CONTINUE`.
const CONTINUE: u32 = 1;

/// The numbers above hold the sizes: a kernel whose structs were longer would write beyond them.
fn demand_known_sizes() -> io::Result<()> {
    let mut sizes = [0_u16; 3];
    let operation = libc::SECCOMP_GET_NOTIF_SIZES;
    // SAFETY: the kernel writes one `struct seccomp_notif_sizes`, which is three 16-bit numbers.
    if unsafe { libc::syscall(libc::SYS_seccomp, operation, 0, sizes.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let known = [size_of::<SeccompNotif>(), size_of::<Response>()];
    let fits = sizes.iter().zip(known).all(|(kernel, ours)| usize::from(*kernel) <= ours);
    if fits { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
}

fn receive_call(listener: &OwnedFd) -> Result<Notified, c_int> {
    let mut request = SeccompNotif::default(); // the kernel wants it empty
    control(listener, RECEIVE, ptr::from_mut(&mut request).cast())?;
    let [a, b, c, d, e, _] = request.arguments;
    let thread = i32::try_from(request.pid).map_err(|_| libc::ESRCH)?;
    // Registers hold 64 bits of which the kernel takes the lower half of a descriptor.
    let low = |register: u64| register as u32 as c_int;
    let number = i64::from(request.number);
    if number == libc::SYS_ptrace {
        let target = (a != u64::from(libc::PTRACE_TRACEME)).then(|| low(b));
        return Ok(Notified::Tracing(Tracing { id: request.id, thread, target }));
    }
    let id = request.id;
    if number == libc::SYS_connect {
        return Ok(Notified::Connecting(Connecting {
            id,
            thread,
            socket: low(a),
            address: b,
            length: c & 0xffff_ffff,
        }));
    }
    let execve = TrappedCall {
        id,
        thread,
        base: libc::AT_FDCWD,
        path: a,
        argv: b,
        env: c,
        flags: 0,
        makes: None,
        from: None,
        exchanges: false,
        mode: 0,
    };
    if number == libc::SYS_execveat {
        return Ok(Notified::Execution(TrappedCall {
            base: low(a),
            path: b,
            argv: c,
            env: d,
            flags: low(e),
            ..execve
        }));
    }
    let Some(makes) = seccomp::making(number) else { return Ok(Notified::Execution(execve)) };
    let argument = |number: usize| request.arguments.get(number).copied().unwrap_or_default();
    let base = |directory: Option<usize>| directory.map_or(libc::AT_FDCWD, |number| low(argument(number)));
    Ok(Notified::Execution(TrappedCall {
        base: base(makes.directory),
        path: argument(makes.path),
        argv: 0,
        env: 0,
        makes: Some(makes),
        from: makes.from.map(|(directory, path)| (base(directory), argument(path))),
        mode: if makes.kind == Made::Directory { argument(makes.path + 1) as u32 } else { 0 },
        exchanges: number == libc::SYS_renameat2 && argument(4) & u64::from(libc::RENAME_EXCHANGE) != 0,
        ..execve
    }))
}

/// Tells a caller that its call was carried out for it: 0, or its error.
fn done(listener: &OwnedFd, id: u64, errno: c_int) -> Result<(), c_int> {
    let mut response = Response { id, value: 0, error: -errno, flags: 0 };
    control(listener, SEND, ptr::from_mut(&mut response).cast())
}

fn is_waiting(listener: &OwnedFd, mut id: u64) -> bool {
    control(listener, IS_WAITING, ptr::from_mut(&mut id).cast()).is_ok()
}

fn control(listener: &OwnedFd, request: u64, data: *mut c_void) -> Result<(), c_int> {
    // SAFETY: every caller passes a struct of the size that is part of the request's number.
    match unsafe { libc::ioctl(listener.as_fd().as_raw_fd(), request as _, data) } {
        0.. => Ok(()),
        _ => Err(errno()),
    }
}

fn errno() -> c_int {
    number(io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_lets_processes_be_traced() {
        assert!(may_trace());
    }
}
