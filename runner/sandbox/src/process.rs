//! A running session as the server holds it: waiting, signals, and the end of everything in it.
//!
//! All is done by descriptor, never by a number that may have passed to another process, and nothing waits for children that it
//! did not start.
//!
//! The process that we hold is the session's first (`init.rs`), which passes signals on to the program, hands its status out, and
//! takes all others with it when it ends. With a PID namespace the kernel sees to that, and we kill it. Without, it does so itself,
//! and we ask. One that was killed by somebody else could not: then we end what is left in the program's terminal session.

use std::fs::File;
use std::io::{self, Read};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid};
use serde::Serialize;

use super::call;
use super::enforce::LiveView;
use super::group::Group;
use super::stat::Stat;

/// A session's processes. Dropping it kills them.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    pidfd: OwnedFd,
    lead: Lead,
    /// Hung up when the first process shall end everything.
    request: UnixStream,
    /// What the first process tells.
    told: OwnedFd,
    /// The program's number as the first process sees it; none where that one was killed before it could tell.
    program: Option<i32>,
    /// Set once the process has been reaped; locked while that is done, so that no signal meets a reused number.
    ending: Mutex<Option<Ending>>,
    /// Where the session's proxy is to listen, until it does.
    pub(super) listener: Option<OwnedFd>,
    /// The control group that all of them are in.
    pub(super) group: Option<Arc<Group>>,
    /// Its view of the file system, where it has one of its own.
    pub(super) view: Option<Arc<LiveView>>,
}

/// What the process that we hold is, above the program.
#[derive(Debug)]
pub(super) enum Lead {
    /// The first process of a PID namespace.
    Namespace,
    /// A supervisor, which ends everything when it is asked to.
    Supervisor,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// By itself, with this exit status.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
}

impl Process {
    /// Waits for the first process to tell the program's number, which it does at once.
    pub(super) fn new(pid: Pid, pidfd: OwnedFd, lead: Lead, request: UnixStream, told: OwnedFd) -> Self {
        let program = read_number(&told);
        Self {
            pid,
            pidfd,
            lead,
            request,
            told,
            program,
            ending: Mutex::new(None),
            listener: None,
            group: None,
            view: None,
        }
    }

    /// The number of the session's leader as this server sees it, for the record and for people, not for signals: the first process
    /// of its PID namespace, or the program where it has none.
    #[must_use]
    pub fn pid(&self) -> i32 {
        match self.lead {
            Lead::Namespace => self.first_pid(),
            Lead::Supervisor => self.program.unwrap_or_else(|| self.first_pid()),
        }
    }

    /// The socket at which the session's proxy is to listen, if its plan has one; once.
    pub fn take_listener(&mut self) -> Option<OwnedFd> {
        self.listener.take()
    }

    /// The control group that all of them are in.
    pub(super) fn group(&self) -> Option<&Arc<Group>> {
        self.group.as_ref()
    }

    /// Whether this is the first process, or one that it has started: the program.
    pub(super) fn is_led_by(&self, process: i32) -> bool {
        let first = self.first_pid();
        first == process || Stat::of(process).is_ok_and(|stat| stat.parent == first)
    }

    /// The number of the first process.
    pub fn first_pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// A descriptor of the first process. Readable once it has ended.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Waits until the program has ended, and sees to it that nothing of its session is left. May be dropped and called again,
    /// by several at a time; needs a tokio runtime with I/O.
    ///
    /// # Errors
    ///
    /// The runtime or the kernel refuses to watch the descriptor.
    pub async fn wait(&self) -> io::Result<Ending> {
        // A copy of its own, because one descriptor cannot be watched twice.
        let watched = call::watch(self.pidfd.try_clone()?)?;
        let _ended = watched.readable().await?;
        self.reap()
    }

    /// How it ended, once its descriptor says that it has.
    ///
    /// # Errors
    ///
    /// The kernel does not tell.
    pub fn ended(&self) -> io::Result<Ending> {
        self.reap()
    }

    /// Sends a signal to the program and the rest of its process group. One that has ended takes it silently.
    ///
    /// # Errors
    ///
    /// The kernel refuses; or the signal is STOP, which would stop the first process.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        if ending.is_some() {
            return Ok(());
        }
        if signal == Signal::STOP {
            return Err(Errno::OPNOTSUPP.into());
        }
        gone_is_fine(pidfd_send_signal(&self.pidfd, signal))
    }

    /// What Ctrl-C does.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn interrupt(&self) -> io::Result<()> {
        self.signal(Signal::INT)
    }

    /// Ends every process of the session, with no chance to object. `wait` still tells how it ended.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn kill(&self) -> io::Result<()> {
        let ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        if ending.is_some() {
            return Ok(());
        }
        match &self.lead {
            Lead::Namespace => gone_is_fine(pidfd_send_signal(&self.pidfd, Signal::KILL)),
            Lead::Supervisor => {
                self.request.shutdown(Shutdown::Both)?;
                // Somebody may have stopped it.
                gone_is_fine(pidfd_send_signal(&self.pidfd, Signal::CONT))
            }
        }
    }

    /// Does something for which the first process's number must stay its own; not once it has been reaped.
    pub(super) fn unless_reaped<T>(&self, act: impl FnOnce(i32) -> T) -> Option<T> {
        let ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        ending.is_none().then(|| act(self.first_pid()))
    }

    /// The program's number as the first process sees it.
    pub(super) fn program(&self) -> Option<i32> {
        self.program
    }

    pub(super) fn lead(&self) -> &Lead {
        &self.lead
    }

    /// Takes the status of the process, which blocks until it has ended.
    pub(super) fn reap(&self) -> io::Result<Ending> {
        let mut ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = *ending {
            return Ok(known);
        }
        waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
        let told = self.program.and_then(|_| read_number(&self.told)).map(ending_of);
        let status = waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED)?;
        let own = match status.as_ref().and_then(|status| status.exit_status()) {
            Some(status) => Ending::Exited(status),
            None => Ending::Signalled(status.and_then(|status| status.terminating_signal()).unwrap_or(libc::SIGKILL)),
        };
        if let (Lead::Supervisor, Ending::Signalled(_)) = (&self.lead, own) {
            self.end_the_rest();
        }
        if let Some(group) = &self.group {
            group.end();
        }
        // The first process has no status to hand out if it was killed itself.
        let known = told.unwrap_or(own);
        *ending = Some(known);
        Ok(known)
    }

    /// Kills what is left of the program's terminal session behind a supervisor that could not do it.
    fn end_the_rest(&self) {
        // As long as there is something left of the session, no other process gets its number.
        if let Some(session) = self.program.and_then(Pid::from_raw) {
            for _ in 0..ROUNDS {
                if !kill_session(session) {
                    break;
                }
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let reaped = self.ending.get_mut().unwrap_or_else(PoisonError::into_inner).is_some();
        if reaped || self.kill().is_err() {
            return;
        }
        // A process that is deep in the kernel takes its time to die, and a drop may happen on a thread that must not wait.
        if let Ok(pidfd) = self.pidfd.try_clone() {
            let _ = std::thread::Builder::new()
                .name("palisade-reaper".to_owned())
                .spawn(move || waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED));
        }
    }
}

const ROUNDS: u32 = 64;

fn gone_is_fine(answer: rustix::io::Result<()>) -> io::Result<()> {
    match answer {
        Err(Errno::SRCH) => Ok(()),
        other => Ok(other?),
    }
}

/// The next number that the first process has told; waits for it as long as that one lives.
fn read_number(told: &OwnedFd) -> Option<i32> {
    let mut number = [0; 4];
    File::from(told.try_clone().ok()?).read_exact(&mut number).ok()?;
    Some(i32::from_ne_bytes(number))
}

/// What `wait4` gave to the first process.
fn ending_of(status: i32) -> Ending {
    if libc::WIFEXITED(status) {
        Ending::Exited(libc::WEXITSTATUS(status))
    } else {
        Ending::Signalled(libc::WTERMSIG(status))
    }
}

/// Kills the living processes of this terminal session; whether there were any.
fn kill_session(session: Pid) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else { return false };
    let numbers = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut any = false;
    for pid in numbers.filter_map(Pid::from_raw).filter(|pid| in_session(*pid, session)) {
        // The descriptor fixes the process; only then is the second look about the one that gets the signal.
        if let Ok(process) = pidfd_open(pid, PidfdFlags::empty())
            && in_session(pid, session)
        {
            any |= pidfd_send_signal(process, Signal::KILL).is_ok();
        }
    }
    any
}

fn in_session(pid: Pid, session: Pid) -> bool {
    let session = session.as_raw_nonzero().get();
    Stat::of(pid.as_raw_nonzero().get()).is_ok_and(|stat| stat.alive && stat.session == session)
}
