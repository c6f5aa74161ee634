//! A running session as the server holds it: waiting, signals, and the end of everything in it.
//!
//! All is done by descriptor, never by a number that may have passed to another process, and nothing waits for children that it
//! did not start.
//!
//! With a PID namespace the process that we hold is the namespace's first: it passes signals on to the program, hands its status
//! out, and when it ends the kernel ends all others. Without, we hold the program itself, and when it ends we end what is left in
//! its process group and in its terminal session. What has left both (`setsid`) stays: level `strict` refuses to run that way.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, pidfd_send_signal, waitid,
};
use serde::Serialize;

use super::enforce;

/// A session's processes. Dropping it kills them.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    pidfd: OwnedFd,
    lead: Lead,
    /// Set once the process has been reaped; locked while that is done, so that no signal meets a reused number.
    ending: Mutex<Option<Ending>>,
}

/// What the process that we hold is.
#[derive(Debug)]
pub(super) enum Lead {
    /// The first process of a PID namespace; through the pipe comes the status of the program.
    Namespace(OwnedFd),
    /// The program, leader of a terminal session.
    Session,
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
    pub(super) fn new(pid: Pid, pidfd: OwnedFd, lead: Lead) -> Self {
        Self { pid, pidfd, lead, ending: Mutex::new(None) }
    }

    /// The number of the first process as this server sees it: for the record and for people, not for signals.
    #[must_use]
    pub fn pid(&self) -> i32 {
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
        let watched = enforce::watch(self.pidfd.try_clone()?)?;
        let _ended = watched.readable().await?;
        self.reap()
    }

    /// Sends a signal to the program and the rest of its process group. One that has ended takes it silently.
    ///
    /// # Errors
    ///
    /// The kernel refuses; or the signal is STOP and the session has a PID namespace, whose first process it would stop.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        if ending.is_some() {
            return Ok(());
        }
        gone_is_fine(match &self.lead {
            Lead::Namespace(_) if signal == Signal::STOP => Err(Errno::OPNOTSUPP),
            Lead::Namespace(_) => pidfd_send_signal(&self.pidfd, signal),
            Lead::Session => kill_process_group(self.pid, signal),
        })
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
        gone_is_fine(pidfd_send_signal(&self.pidfd, Signal::KILL))?;
        self.end_the_rest();
        Ok(())
    }

    /// Takes the status of the process, which blocks until it has ended.
    pub(super) fn reap(&self) -> io::Result<Ending> {
        let mut ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = *ending {
            return Ok(known);
        }
        // Until the status is taken, the process keeps its number and so those of its group and session are not reused.
        waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
        self.end_the_rest();
        let status = waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED)?;
        let own = match status.as_ref().and_then(|status| status.exit_status()) {
            Some(status) => Ending::Exited(status),
            None => Ending::Signalled(status.and_then(|status| status.terminating_signal()).unwrap_or(libc::SIGKILL)),
        };
        let known = match &self.lead {
            // The first process has no status to hand out if it was killed itself.
            Lead::Namespace(pipe) => read_status(pipe).unwrap_or(own),
            Lead::Session => own,
        };
        *ending = Some(known);
        Ok(known)
    }

    /// Without a PID namespace, kills what is left of the process group and of the terminal session.
    fn end_the_rest(&self) {
        if matches!(self.lead, Lead::Session) {
            // An empty group is what we want.
            let _ = kill_process_group(self.pid, Signal::KILL);
            // Processes that begin while we look are found in the next round; one that begins them faster than we can kill is
            // the business of the limits.
            for _ in 0..ROUNDS {
                if !kill_session(self.pid) {
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

/// The status as `wait4` gave it to the first process of the namespace.
fn read_status(pipe: &OwnedFd) -> Option<Ending> {
    let mut status = [0; 4];
    File::from(pipe.try_clone().ok()?).read_exact(&mut status).ok()?;
    let status = i32::from_ne_bytes(status);
    if libc::WIFEXITED(status) {
        Some(Ending::Exited(libc::WEXITSTATUS(status)))
    } else {
        Some(Ending::Signalled(libc::WTERMSIG(status)))
    }
}

/// Kills the living processes of this terminal session; whether there were any.
fn kill_session(session: Pid) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else { return false };
    let numbers = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut any = false;
    for pid in numbers.filter_map(Pid::from_raw).filter(|pid| *pid != session && in_session(*pid, session)) {
        // The descriptor fixes the process; only then is the second look about the one that gets the signal.
        if let Ok(process) = pidfd_open(pid, PidfdFlags::empty())
            && in_session(pid, session)
        {
            any |= pidfd_send_signal(process, Signal::KILL).is_ok();
        }
    }
    any
}

/// Whether the process is alive and in this session: fields 3 and 6 of `/proc/PID/stat`, after the name in parentheses, which
/// may itself hold spaces and parentheses.
fn in_session(pid: Pid, session: Pid) -> bool {
    let Ok(stat) = std::fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())) else { return false };
    let stat = String::from_utf8_lossy(&stat);
    let Some((_, fields)) = stat.rsplit_once(')') else { return false };
    let mut fields = fields.split_whitespace();
    let alive = fields.next().is_some_and(|state| !matches!(state, "Z" | "X"));
    alive && fields.nth(2).and_then(|field| field.parse().ok()) == Some(session.as_raw_nonzero().get())
}
