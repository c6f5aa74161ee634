//! A bash on this machine, under the sandbox.
//!
//! Output comes over a pair of pipes that nobody but the command can write to (`channel.rs`, `output_pipes.rs`); the end comes over a
//! descriptor that commands do not have; a command that does not end is ended in steps (`termination.rs`). This file starts a
//! shell, carries its state over to another, and ends it; `run.rs` has what happens in between.

mod channel;
mod input;
pub(crate) mod input_wait;
mod output_pipes;
mod pty;
mod reports;
mod run;
pub(crate) mod termination;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use palisade_engine::AbsolutePath;
use palisade_sandbox::keeper::Keeper;
use palisade_sandbox::meter::Meter;
use palisade_sandbox::plan::{PathRule, Rights, SandboxPlan};
use palisade_sandbox::{Disks, Enforced, Glance, Launch, Names, Process, probe};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use self::output_pipes::{Keeping, OutputPipes};
use self::pty::Terminal;
use self::reports::Reports;
use crate::guard::{Desk, Guard};
use crate::network::{Proxy, ProxyServer};
use crate::session_directory::SessionDirectory;
use crate::shell::frame::{self, CONTROL_FD, STATE_FD, TERMINAL_FD};
use crate::shell::{MAX_STATE, Nonce, SessionError, State, TerminalSize};
use crate::transport::TERMINAL_KIND;

/// The shell that commands run in.
const BASH: &str = "/bin/bash";

/// How long a shell may take to answer where nothing of the agent's runs.
const READY: Duration = Duration::from_secs(10);

/// Everything that a shell needs before it starts.
#[derive(Debug)]
pub struct LaunchSpec {
    /// What the kernel shall allow.
    pub plan: SandboxPlan,
    /// The child's variables, without `TMPDIR`.
    pub environment: Vec<(OsString, OsString)>,
    /// Where it starts.
    pub cwd: AbsolutePath,
    /// The session's own directory.
    pub directory: SessionDirectory,
    /// What its guard asks; none where programs are not decided again.
    pub guard: Option<Arc<Desk>>,
    /// What policy forbids by name, for files that appear while it lives.
    pub names: Option<Arc<Names>>,
    /// What decides its connections, where its plan has a network; without one it has no network.
    pub gate: Option<Arc<Proxy>>,
    /// The size of the terminal that its commands have for their standard streams; none: they have pipes. Such a shell
    /// is for one command.
    pub terminal: Option<TerminalSize>,
}

/// A running shell.
#[derive(Debug)]
pub struct LocalShell {
    process: Arc<Process>,
    /// What watches its limits, where it has any.
    meter: Option<Meter>,
    stdin: UnixStream,
    /// The shell's end of its input, held to see what it has not read yet.
    stdin_child: OwnedFd,
    reports: Reports,
    /// Where the shell tells what it is.
    states: UnixStream,
    directory: SessionDirectory,
    terminal: Option<Arc<Terminal>>,
    enforced: Enforced,
    /// The shell's own number as this process sees it.
    pid: i32,
    /// For looking at its processes before each command.
    glance: Option<Glance>,
    /// The pipes that it keeps for its commands' output.
    keeping: Keeping,
    /// Keeps its masks on.
    keeper: Option<Keeper>,
    /// It has had a command.
    ran: bool,
    /// Ends with it.
    _proxy: Option<ProxyServer>,
}

impl LocalShell {
    /// Starts the shell under its sandbox, makes it what another was, and waits for its report.
    ///
    /// # Errors
    /// If the sandbox cannot be made as asked for, or the shell does not answer.
    pub async fn start(spec: LaunchSpec, state: Option<&State>) -> Result<Self, SessionError> {
        let LaunchSpec { mut plan, mut environment, cwd, directory, guard, names, gate, terminal } = spec;
        plan.network &= gate.is_some();
        // Where a session has the place around them for itself, it has all rights there in any case.
        let pipes = if probe().mounts { Rights::READ | Rights::MOVE } else { Rights::WRITE };
        plan.rules.push(PathRule { path: directory.pipes(), rights: pipes, optional: false });
        plan.rules.push(PathRule { path: directory.input(), rights: Rights::READ, optional: false });
        environment.push(("TMPDIR".into(), directory.temp().as_str().into()));
        let variables = environment.iter().filter_map(|(name, _)| name.to_str().map(str::to_owned)).collect::<Vec<_>>();
        let (terminal, keeping, own) = match terminal {
            Some(size) => {
                let (terminal, slave) = Terminal::open(size)?;
                // Programs open it by either name, to ask for a password.
                for path in [Path::new("/dev/tty"), terminal.path()] {
                    let rights = Rights::READ | Rights::WRITE;
                    plan.rules.push(PathRule { path: path.into(), rights, optional: true });
                }
                environment.retain(|(name, _)| name != "TERM");
                environment.push(("TERM".into(), TERMINAL_KIND.into()));
                (Some(Arc::new(terminal)), Keeping::None, vec![(slave, TERMINAL_FD)])
            }
            None => {
                let (kept, theirs) = OutputPipes::make()?;
                (None, Keeping::Free(kept), theirs.into())
            }
        };
        // Sockets, not pipes: what a session's programs find under /proc of the shell cannot be opened again, so that
        // none of them can type into it or report for it.
        let (stdin, stdin_child) = channel("the shell's input")?;
        let (control, control_child) = channel("the report channel")?;
        let (states, states_child) = channel("the channel for the shell's state")?;
        let null = std::fs::File::options().read(true).write(true).open("/dev/null");
        let null: OwnedFd = null.map_err(|source| SessionError::Channel { what: "the null device", source })?.into();
        let launch = Launch {
            program: BASH.into(),
            argv: ["bash", "--norc", "--noprofile", "--noediting", "-i"].map(OsString::from).into(),
            env: environment,
            cwd: cwd.as_str().into(),
            stdin: duplicate(&stdin_child)?,
            stdout: duplicate(&null)?,
            stderr: null,
            controlling_terminal: terminal.is_some().then_some(TERMINAL_FD),
            extra: [(control_child, CONTROL_FD), (states_child, STATE_FD)].into_iter().chain(own).collect(),
        };
        let limits = plan.limits;
        let disks = Disks::of(&plan, Path::new(directory.temp().as_str()));
        let mut prepared = palisade_sandbox::prepare(&plan, launch)?;
        if let Some(desk) = guard {
            if let Some(names) = &names {
                prepared = prepared.naming(Arc::clone(names));
            }
            prepared = prepared.guarded_by(Box::new(Guard::new(desk)))?;
        }
        let enforced = prepared.enforced().clone();
        let mut process = palisade_sandbox::spawn(prepared)?;
        let proxy = match (gate, process.take_listener()) {
            (Some(gate), Some(listener)) => {
                Some(gate.serve(listener, process.first_pid()).map_err(channel_error("the session's proxy"))?)
            }
            _ => None,
        };
        let process = Arc::new(process);
        let keeper = names.and_then(|names| Keeper::of(&process, names));
        let meter =
            Meter::start(&process, limits, disks).map_err(channel_error("the watch over the session's limits"))?;
        let pid = process.pid();
        let reports = Reports::new(control);
        let glance = None;
        let mut shell = Self {
            process,
            meter,
            stdin,
            stdin_child,
            reports,
            states,
            directory,
            terminal,
            enforced,
            pid,
            glance,
            keeping,
            keeper,
            ran: false,
            _proxy: proxy,
        };
        match shell.boot(state, &variables, &cwd).await {
            Ok(()) => Ok(shell),
            Err(error) => {
                shell.end_everything().await;
                Err(error)
            }
        }
    }

    async fn boot(&mut self, state: Option<&State>, names: &[String], cwd: &AbsolutePath) -> Result<(), SessionError> {
        let nonce = Nonce::new()?;
        self.told(&frame::boot(&nonce), &nonce).await?;
        self.pid = self.process.program_pid().ok_or(SessionError::NoDirectory)?;
        self.glance = self.process.glance(self.pid);
        if let Some(state) = state {
            let nonce = Nonce::new()?;
            self.told(&frame::restore(state.bytes(), names, &nonce), &nonce).await?;
            // Its own directory, and where it stood, are this shell's: the state may be of another place.
            let kind = self.terminal.as_ref().map(|_| TERMINAL_KIND);
            let own = frame::settle(self.directory.temp().as_str(), cwd.as_str(), kind);
            let nonce = Nonce::new()?;
            self.told(&frame::restore(&own, &[], &nonce), &nonce).await?;
        }
        // Without it nobody can tell where the shell stands, and every relative path would be judged in the wrong place.
        self.cwd().map(drop).ok_or(SessionError::NoDirectory)
    }

    async fn told(&mut self, lines: &[u8], nonce: &Nonce) -> Result<i32, SessionError> {
        told(&mut self.stdin, &mut self.reports, lines, nonce).await
    }

    /// The shell's number as this process sees it.
    pub(crate) fn process(&self) -> i32 {
        self.pid
    }

    /// The commands' temporary directory.
    pub fn temp(&self) -> &AbsolutePath {
        self.directory.temp()
    }

    /// What the kernel holds the shell to.
    pub fn enforced(&self) -> &Enforced {
        &self.enforced
    }

    /// What the shell is now; `None` if it is too much to keep, or cannot be told. `status` is that of the last command.
    ///
    /// # Errors
    /// If the shell does not answer any more: it is ended then.
    pub async fn state(&mut self, status: i32) -> Result<Option<State>, SessionError> {
        let nonce = Nonce::new()?;
        let lines = frame::state(status, &nonce);
        let Self { stdin, reports, states, .. } = self;
        let mut state = Vec::new();
        // Before anything is asked, only somebody else can have said anything.
        take(states, &mut state);
        let is_forged = !state.is_empty();
        let told = {
            let told = told(stdin, reports, &lines, &nonce);
            tokio::pin!(told);
            let mut open = true;
            loop {
                tokio::select! {
                    told = &mut told => break told,
                    ready = states.readable(), if open => open = ready.is_ok() && take(states, &mut state),
                }
            }
        };
        take(states, &mut state);
        if let Err(error) = told {
            self.end_everything().await;
            return Err(error);
        }
        // A shell that tells nothing has kept nothing: every one has variables.
        Ok((!is_forged && !state.is_empty() && state.len() < MAX_STATE).then(|| State::of(state)))
    }

    /// Kills the shell and everything in it.
    pub async fn close(mut self) -> SessionDirectory {
        self.end_everything().await;
        self.directory
    }

    fn cwd(&self) -> Option<AbsolutePath> {
        standing(self.pid)
    }

    /// What Ctrl-C does: to the shell and to what it waits for. It has been delivered when this returns.
    fn interrupt(&self) {
        let _gone = Pid::from_raw(self.pid).map(|pid| kill_process_group(pid, Signal::INT));
    }

    /// Lets a stopped shell go on.
    fn wake(&self) {
        let _gone = Pid::from_raw(self.pid).map(|pid| kill_process(pid, Signal::CONT));
    }

    /// Bytes that were written to the shell and that it has not read.
    fn unread(&self) -> u64 {
        rustix::io::ioctl_fionread(&self.stdin_child).unwrap_or(0)
    }

    async fn end_everything(&mut self) {
        // A kill that fails leaves the drop of the process as the backstop; there is nothing else to do about it.
        if let Err(error) = self.process.kill() {
            tracing::error!(%error, "cannot kill a session");
        }
        if let Err(error) = self.process.wait().await {
            tracing::error!(%error, "cannot wait for a session's end");
        }
    }
}

/// The working directory of a shell, as the kernel has it; a directory that was removed is none.
pub(crate) fn standing(pid: i32) -> Option<AbsolutePath> {
    let link = PathBuf::from(format!("/proc/{pid}/cwd"));
    let path = AbsolutePath::new(std::fs::read_link(&link).ok()?.to_str()?)?;
    // As the shell sees it, which may have mounts of its own. The name of a removed directory ends in ` (deleted)`, which may
    // be the name of another one.
    let seen = PathBuf::from(format!("/proc/{pid}/root{path}"));
    let same = |file: &std::fs::Metadata| (file.dev(), file.ino());
    let (there, named) = (std::fs::metadata(&link).ok()?, std::fs::symlink_metadata(&seen).ok()?);
    (same(&there) == same(&named)).then_some(path)
}

/// Writes lines of our own and waits for the report behind them.
async fn told(stdin: &mut UnixStream, reports: &mut Reports, lines: &[u8], nonce: &Nonce) -> Result<i32, SessionError> {
    let answer = async {
        stdin.write_all(lines).await.ok()?;
        reports.next().await.ok().filter(|report| report.nonce == *nonce)
    };
    let report = tokio::time::timeout(READY, answer).await.ok().flatten();
    report.map(|report| report.status).ok_or(SessionError::NotReady)
}

/// Reads all that is there; what goes beyond the limit is dropped. False once nothing can come any more.
fn take(states: &UnixStream, into: &mut Vec<u8>) -> bool {
    let mut buffer = [0_u8; 16 * 1024];
    loop {
        // Asked of the kernel through the runtime, which then waits for more; and by itself, since the runtime may not have heard yet.
        let read = match states.try_read(&mut buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                rustix::io::read(states, &mut buffer).map_err(Into::into)
            }
            read => read,
        };
        match read {
            Ok(0) => return false,
            Ok(count) => add(into, buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
        }
    }
}

fn add(state: &mut Vec<u8>, bytes: &[u8]) {
    let room = MAX_STATE.saturating_sub(state.len());
    state.extend(bytes.iter().take(room));
}

/// A socket pair as (ours, the child's), both closed on exec.
fn channel(what: &'static str) -> Result<(UnixStream, OwnedFd), SessionError> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(channel_error(what))?;
    ours.set_nonblocking(true).map_err(channel_error(what))?;
    Ok((UnixStream::from_std(ours).map_err(channel_error(what))?, theirs.into()))
}

fn channel_error(what: &'static str) -> impl FnOnce(std::io::Error) -> SessionError {
    move |source| SessionError::Channel { what, source }
}

fn duplicate(fd: &OwnedFd) -> Result<OwnedFd, SessionError> {
    fd.try_clone().map_err(channel_error("a channel"))
}
