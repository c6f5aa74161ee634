//! A bash on this machine, under the sandbox.
//!
//! Output comes over a pair of named pipes that exist for one script only, so that what an earlier script left in the
//! background does not write into a later result unless it means to; the end comes over a descriptor that scripts do
//! not have.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use palisade_engine::AbsolutePath;
use rustix::fs::{CWD, Mode};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use crate::facts::real_directory;
use crate::output::{Capture, Stripper};
use crate::redact::{RedactedBytes, Redactor, Stream};
use crate::sandbox::plan::{PathRule, Rights, SandboxPlan};
use crate::sandbox::{self, Ending, Enforced, Launch, Process};
use crate::session::frame::{self, CONTROL_FD};
use crate::session::{Captured, Chunk, Nonce, SessionError, StreamName, Terms};

/// The shell that scripts run in.
const BASH: &str = "/bin/bash";

/// How long a shell may take to answer for the first time.
const READY: Duration = Duration::from_secs(10);

/// Silence after which output that can no longer become a secret is let go.
const IDLE: Duration = Duration::from_millis(50);

/// Longest report line; more is not a report but an attack.
const MAX_REPORT: usize = 256;

/// The most that a pipe is asked for when its script is over: fcntl(2) lets a pipe have 1 MiB.
const MAX_PIPE: usize = 1 << 20;

/// Bytes read from a stream at a time.
const BUFFER: usize = 64 * 1024;

/// Everything that a shell needs before it starts.
#[derive(Debug)]
pub struct Place {
    /// What the kernel shall allow.
    pub plan: SandboxPlan,
    /// The child's variables, without `TMPDIR`.
    pub environment: Vec<(OsString, OsString)>,
    /// Where it starts.
    pub cwd: AbsolutePath,
    /// The session's own directory.
    pub directory: SessionDirectory,
}

/// A directory that lives as long as its session: named pipes, and a temporary directory for commands.
#[derive(Debug)]
pub struct SessionDirectory {
    root: TempDir,
    temp: AbsolutePath,
}

impl SessionDirectory {
    /// Makes one, for this user alone.
    ///
    /// # Errors
    /// If the system's temporary directory cannot be written.
    pub fn new() -> Result<Self, SessionError> {
        let failed = |source| SessionError::Channel { what: "a directory", source };
        let root = tempfile::Builder::new().prefix("palisade-").tempdir().map_err(failed)?;
        for name in ["io", "tmp"] {
            std::fs::create_dir(root.path().join(name)).map_err(failed)?;
        }
        let temp = real_directory(&root.path().join("tmp"));
        let temp = temp.ok_or_else(|| failed(std::io::ErrorKind::InvalidFilename.into()))?;
        Ok(Self { root, temp })
    }

    /// The commands' temporary directory, real.
    pub fn temp(&self) -> &AbsolutePath {
        &self.temp
    }

    fn pipes(&self) -> PathBuf {
        self.root.path().join("io")
    }
}

/// How a script ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The shell lives and reports this status.
    Status(i32),
    /// The script came to its end with this status, but the shell's working directory is gone or cannot be named;
    /// everything was killed.
    Nowhere(i32),
    /// The shell ended with this code.
    ShellExited(i32),
    /// The shell was ended by this signal.
    ShellKilled(i32),
    /// The time was up; everything was killed.
    TimedOut,
    /// Somebody stopped it; everything was killed.
    Cancelled,
    /// Something other than a report came over the report's channel; everything was killed.
    Forged,
}

/// A running shell.
#[derive(Debug)]
pub struct LocalShell {
    process: Process,
    stdin: UnixStream,
    control: UnixStream,
    directory: SessionDirectory,
    enforced: Enforced,
    /// The shell's own number as this process sees it.
    pid: Option<i32>,
}

impl LocalShell {
    /// Starts the shell under its sandbox and waits for its first report.
    ///
    /// # Errors
    /// If the sandbox cannot be made as asked for, or the shell does not answer.
    pub async fn start(place: Place) -> Result<Self, SessionError> {
        let Place { mut plan, mut environment, cwd, directory } = place;
        plan.rules.push(PathRule { path: directory.pipes(), rights: Rights::WRITE, optional: false });
        environment.push(("TMPDIR".into(), directory.temp().as_str().into()));
        // Sockets, not pipes: what a session's programs find under /proc of the shell cannot be opened again, so that
        // none of them can type into it or report for it.
        let (stdin, stdin_child) = channel("the shell's input")?;
        let (control, control_child) = channel("the report channel")?;
        let null = std::fs::File::options().read(true).write(true).open("/dev/null");
        let null: OwnedFd = null.map_err(|source| SessionError::Channel { what: "the null device", source })?.into();
        let launch = Launch {
            program: BASH.into(),
            argv: ["bash", "--norc", "--noprofile", "--noediting", "-i"].map(OsString::from).into(),
            env: environment,
            cwd: cwd.as_str().into(),
            stdin: stdin_child,
            stdout: duplicate(&null)?,
            stderr: null,
            extra: vec![(control_child, CONTROL_FD)],
            controlling_terminal: false,
        };
        let prepared = sandbox::prepare(&plan, launch)?;
        let enforced = prepared.enforced().clone();
        let process = sandbox::spawn(prepared)?;
        let mut shell = Self { process, stdin, control, directory, enforced, pid: None };
        shell.boot().await?;
        shell.pid = shell.find_shell();
        // Without it nobody can tell where the shell stands, and every relative path would be judged in the wrong place.
        if shell.cwd().is_none() {
            shell.end_everything().await;
            return Err(SessionError::NoDirectory);
        }
        Ok(shell)
    }

    /// The commands' temporary directory.
    pub fn temp(&self) -> &AbsolutePath {
        self.directory.temp()
    }

    /// What the kernel holds the shell to.
    pub fn enforced(&self) -> &Enforced {
        &self.enforced
    }

    /// Kills the shell and everything in it.
    pub async fn close(mut self) {
        self.end_everything().await;
    }

    /// Runs one script to its end, the shell's end, or the deadline.
    ///
    /// # Errors
    /// If the channels cannot be made: the script has not run then.
    pub async fn run(
        &mut self,
        script: &[u8],
        redactor: &Redactor,
        mut terms: Terms,
    ) -> Result<Captured, SessionError> {
        let nonce = Nonce::new()?;
        let mut stdout = Channel::make(&self.directory, StreamName::Stdout, redactor, &terms)?;
        let mut stderr = Channel::make(&self.directory, StreamName::Stderr, redactor, &terms)?;
        let directory = terms.directory.as_ref().map(|directory| directory.as_str().as_bytes());
        let lines = frame::command(script, directory, &stdout.path, &stderr.path, &nonce);
        let started = Instant::now();
        let end = self.drive(lines, &nonce, &mut stdout, &mut stderr, &mut terms).await;
        let duration = started.elapsed();
        // What a finished script has written is in the pipes by now; what its background children still write is not
        // this result's.
        stdout.drain();
        stderr.drain();
        let cwd = match end {
            End::Status(_) => self.cwd(),
            End::Nowhere(_)
            | End::ShellExited(_)
            | End::ShellKilled(_)
            | End::TimedOut
            | End::Cancelled
            | End::Forged => None,
        };
        // A shell that stands nowhere that can be named cannot be judged for: every relative path would be another file.
        let end = match (end, &cwd) {
            (End::Status(code), None) => {
                self.end_everything().await;
                End::Nowhere(code)
            }
            (end, _) => end,
        };
        let (stdout, mut redactions) = stdout.finish().await;
        let (stderr, more) = stderr.finish().await;
        for (rule, count) in more {
            *redactions.entry(rule).or_default() += count;
        }
        Ok(Captured { stdout, stderr, end, cwd, duration, redactions })
    }

    async fn boot(&mut self) -> Result<(), SessionError> {
        let nonce = Nonce::new()?;
        let lines = frame::boot(&nonce);
        let ready = async {
            self.stdin.write_all(&lines).await.ok()?;
            let mut report = Vec::new();
            loop {
                if let Some(status) = read_report(&self.control, &mut report, &nonce).await {
                    return status.ok();
                }
            }
        };
        match tokio::time::timeout(READY, ready).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) | Err(_) => {
                self.end_everything().await;
                Err(SessionError::NotReady)
            }
        }
    }

    async fn drive(
        &mut self,
        lines: Vec<u8>,
        nonce: &Nonce,
        stdout: &mut Channel,
        stderr: &mut Channel,
        terms: &mut Terms,
    ) -> End {
        let deadline = tokio::time::Instant::now() + terms.timeout;
        let mut report = Vec::new();
        let mut unwritten = lines.as_slice();
        loop {
            let idle = tokio::time::sleep(IDLE);
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(deadline) => {
                    self.end_everything().await;
                    return End::TimedOut;
                }
                () = terms.stop.requested() => {
                    self.end_everything().await;
                    return End::Cancelled;
                }
                written = self.stdin.write(unwritten), if !unwritten.is_empty() => match written {
                    Ok(count) => unwritten = unwritten.get(count..).unwrap_or_default(),
                    // The shell is gone; its status says how.
                    Err(_) => unwritten = &[],
                },
                status = read_report(&self.control, &mut report, nonce) => match status {
                    Some(Ok(status)) => return End::Status(status),
                    Some(Err(Closed::Ended)) => return self.shell_end().await,
                    Some(Err(Closed::Forged)) => {
                        self.end_everything().await;
                        return End::Forged;
                    }
                    None => {}
                },
                turn = stdout.turn(), if stdout.is_active() => stdout.act(turn),
                turn = stderr.turn(), if stderr.is_active() => stderr.act(turn),
                () = idle, if stdout.waiting || stderr.waiting => {
                    stdout.flush_idle();
                    stderr.flush_idle();
                }
            }
        }
    }

    /// The shell's number: in a PID namespace it is the first child of the namespace's first process, for what is
    /// orphaned later is listed behind it.
    fn find_shell(&self) -> Option<i32> {
        let first = self.process.pid();
        if !self.enforced.namespaces.contains(&"pid") {
            return Some(first);
        }
        let children = std::fs::read_to_string(format!("/proc/{first}/task/{first}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    }

    /// The working directory, as the kernel has it; a directory that was removed is none.
    fn cwd(&self) -> Option<AbsolutePath> {
        let link = PathBuf::from(format!("/proc/{}/cwd", self.pid?));
        let path = real_directory(&std::fs::read_link(&link).ok()?)?;
        // The name of a removed directory ends in ` (deleted)`, which may be the name of another one.
        let same = |file: &std::fs::Metadata| (file.dev(), file.ino());
        let (there, named) = (std::fs::metadata(&link).ok()?, std::fs::metadata(path.as_str()).ok()?);
        (same(&there) == same(&named)).then_some(path)
    }

    /// The report channel is closed: the shell has ended, or is about to.
    async fn shell_end(&mut self) -> End {
        // `exec 198>&-` closes the channel without ending the shell: nothing more can be run in it then.
        let ended = match tokio::time::timeout(Duration::from_secs(1), self.process.wait()).await {
            Ok(ended) => ended,
            Err(_) => {
                self.end_everything().await;
                return End::Forged;
            }
        };
        match ended {
            Ok(Ending::Exited(code)) => End::ShellExited(code),
            Ok(Ending::Signalled(signal)) => End::ShellKilled(signal),
            Err(_) => End::Forged,
        }
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

/// Why no report will come.
enum Closed {
    Ended,
    Forged,
}

/// Reads on; `None` while the line is not complete. Safe to drop at any time: what was read stays in `report`.
async fn read_report(control: &UnixStream, report: &mut Vec<u8>, nonce: &Nonce) -> Option<Result<i32, Closed>> {
    let mut buffer = [0_u8; MAX_REPORT];
    if control.readable().await.is_err() {
        return Some(Err(Closed::Ended));
    }
    match control.try_read(&mut buffer) {
        Ok(0) => return Some(Err(Closed::Ended)),
        Ok(count) => report.extend(buffer.iter().take(count)),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return None,
        Err(_) => return Some(Err(Closed::Ended)),
    }
    if report.len() > MAX_REPORT {
        return Some(Err(Closed::Forged));
    }
    if !report.ends_with(b"\n") {
        return None;
    }
    Some(frame::status(report, nonce).ok_or(Closed::Forged))
}

/// What a stream can do next.
enum Turn {
    /// The live listener has room, or is gone.
    Deliver(Option<mpsc::OwnedPermit<Chunk>>),
    /// There may be something to read; false: never again.
    Read(bool),
}

/// One output stream of one script: pipe → escapes removed → redacted → kept.
struct Channel {
    name: StreamName,
    path: String,
    reader: pipe::Receiver,
    /// Held open so that the pipe does not end before the shell has opened it.
    writer: Option<pipe::Sender>,
    open: bool,
    /// Bytes came that the redactor may still hold back.
    waiting: bool,
    buffer: Vec<u8>,
    stripper: Stripper,
    redact: Stream,
    capture: Capture,
    live: Option<mpsc::Sender<Chunk>>,
    /// What the live listener has not taken yet. While there is any, nothing more is read: a listener that is slow
    /// slows the command, as a pipe would.
    mail: VecDeque<RedactedBytes>,
}

impl Channel {
    fn make(
        directory: &SessionDirectory,
        name: StreamName,
        redactor: &Redactor,
        terms: &Terms,
    ) -> Result<Self, SessionError> {
        let path = directory.pipes().join(Nonce::new()?.as_str());
        let failed = |source: std::io::Error| SessionError::Channel { what: "an output channel", source };
        rustix::fs::mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).map_err(|error| failed(error.into()))?;
        let reader = pipe::OpenOptions::new().open_receiver(&path).map_err(failed)?;
        let writer = pipe::OpenOptions::new().open_sender(&path).map_err(failed)?;
        let shown = path.to_str().ok_or_else(|| failed(std::io::ErrorKind::InvalidFilename.into()))?.to_owned();
        Ok(Self {
            name,
            path: shown,
            reader,
            writer: Some(writer),
            open: true,
            waiting: false,
            buffer: vec![0; BUFFER],
            stripper: Stripper::default(),
            redact: redactor.stream(),
            capture: Capture::new(terms.keep_bytes),
            live: terms.live.clone(),
            mail: VecDeque::new(),
        })
    }

    /// Whether there is anything to wait for.
    fn is_active(&self) -> bool {
        self.open || !self.mail.is_empty()
    }

    /// Waits for what can be done next, and does nothing: safe to drop at any time.
    async fn turn(&self) -> Turn {
        match &self.live {
            Some(live) if !self.mail.is_empty() => Turn::Deliver(live.clone().reserve_owned().await.ok()),
            _ => Turn::Read(self.reader.readable().await.is_ok()),
        }
    }

    fn act(&mut self, turn: Turn) {
        match turn {
            Turn::Deliver(Some(place)) => {
                if let Some(bytes) = self.mail.pop_front() {
                    place.send(Chunk { stream: self.name, bytes });
                }
            }
            // Nobody listens any more: the result still has it.
            Turn::Deliver(None) => {
                self.live = None;
                self.mail.clear();
            }
            Turn::Read(true) => self.take(),
            Turn::Read(false) => self.open = false,
        }
    }

    /// Reads once, after `turn` has said that there may be something.
    fn take(&mut self) {
        let read = self.reader.try_read(&mut self.buffer);
        self.took(read);
    }

    /// Takes what is left when the script is over.
    fn drain(&mut self) {
        self.writer = None;
        // Asked of the kernel itself: the runtime may not have heard yet of what was written just before the report.
        // A background child may write for ever, but what it wrote up to now is at most one pipe full.
        let mut left = MAX_PIPE / BUFFER;
        let mut more = true;
        while self.open && more && left > 0 {
            let read = rustix::io::read(&self.reader, &mut self.buffer).map_err(std::io::Error::from);
            more = self.took(read);
            left -= 1;
        }
    }

    /// Passes on what was read; whether there may be more.
    fn took(&mut self, read: std::io::Result<usize>) -> bool {
        match read {
            Ok(0) => self.open = false,
            Ok(count) => {
                let bytes = self.stripper.push(self.buffer.get(..count).unwrap_or_default());
                let bytes = self.redact.push(&bytes);
                self.waiting = true;
                self.emit(bytes);
                return true;
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return true,
            Err(_) => self.open = false,
        }
        false
    }

    fn flush_idle(&mut self) {
        self.waiting = false;
        let bytes = self.redact.idle();
        self.emit(bytes);
    }

    fn emit(&mut self, bytes: RedactedBytes) {
        if bytes.is_empty() {
            return;
        }
        self.capture.push(&bytes);
        if self.live.is_some() {
            self.mail.push_back(bytes);
        }
    }

    async fn finish(mut self) -> (Capture, BTreeMap<String, u64>) {
        let rest = std::mem::take(&mut self.stripper).finish();
        let bytes = self.redact.push(&rest);
        self.emit(bytes);
        let Self { name, path, redact, mut capture, live, mut mail, .. } = self;
        let (rest, counts) = redact.finish_counted();
        capture.push(&rest);
        capture.flush();
        mail.push_back(rest);
        if let Some(live) = live {
            for bytes in mail.into_iter().filter(|bytes| !bytes.is_empty()) {
                if live.send(Chunk { stream: name, bytes }).await.is_err() {
                    break;
                }
            }
        }
        // The pipe goes with the session's directory in any case.
        let _left_behind = std::fs::remove_file(&path);
        (capture, counts)
    }
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
    fd.try_clone().map_err(channel_error("the null device"))
}
