//! One live shell that scripts run in, one after the other.

pub mod frame;
pub mod registry;

use std::fmt;
use std::task::Poll;
use std::time::{Duration, Instant};

use palisade_engine::{AbsolutePath, Grant};
use tokio::sync::{mpsc, watch};

use crate::output::Capture;
use crate::redact::{RedactedBytes, Redactor};
use crate::sandbox::{Enforced, SandboxError};
use crate::transport::local::{End, LocalShell, Place};

/// Names a session. Random, so that it cannot be guessed, but a name all the same: whoever uses it has to be the
/// principal that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(String);

impl SessionId {
    /// A new name.
    ///
    /// # Errors
    /// If the kernel gives no random bytes.
    pub fn new() -> Result<Self, SessionError> {
        Ok(Self(format!("s-{}", Nonce::new()?.0)))
    }

    /// The name that a decision was made for.
    pub(crate) fn of(facts: &palisade_engine::Session) -> Self {
        Self(facts.id.clone())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// 128 random bits that were not there before they were needed.
#[derive(Debug)]
pub struct Nonce(String);

impl Nonce {
    /// A fresh one.
    ///
    /// # Errors
    /// If the kernel gives no random bytes.
    pub fn new() -> Result<Self, SessionError> {
        let mut bytes = [0_u8; 16];
        let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).unwrap_or_default();
        if filled < bytes.len() {
            return Err(SessionError::NoRandomness);
        }
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// 32 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a session could not be opened or used. None of these texts holds anything that a program printed.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum SessionError {
    /// The sandbox could not be made: no session.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Sandbox(#[from] SandboxError),
    /// A channel to the shell could not be made.
    #[error("cannot make {what} for the session")]
    Channel {
        /// What was to be made.
        what: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The shell did not answer.
    #[error("the shell did not become ready")]
    #[diagnostic(help("`palisade doctor` says what a session needs"))]
    NotReady,
    /// Where the shell stands cannot be told.
    #[error("the session's working directory cannot be told")]
    #[diagnostic(help(
        "sessions need `/proc` with `/proc/PID/task/TID/children`, and a directory whose name is UTF-8"
    ))]
    NoDirectory,
    /// A kernel rule would open what policy forbids.
    #[error("policy forbids `{inner}`, and the kernel cannot keep it from a session that may use `{outer}`")]
    #[diagnostic(help("choose a workspace or a granted directory that does not hold it"))]
    Hole {
        /// The directory that the session may use.
        outer: AbsolutePath,
        /// What lies below it and is forbidden.
        inner: AbsolutePath,
    },
    /// The session's own directory would lie where the agent can write.
    #[error("the temporary directory `{0}` lies where the agent can write")]
    #[diagnostic(help("set TMPDIR to a directory outside the workspace"))]
    TemporaryWithinReach(AbsolutePath),
    /// The kernel gives no random bytes.
    #[error("the kernel gives no random bytes")]
    NoRandomness,
    /// A grant was made for another session.
    #[error("this grant is for another session")]
    WrongSession,
    /// No such session, or not this principal's.
    #[error("there is no session of that name")]
    #[diagnostic(help("`list` shows the sessions; `session_open` opens one"))]
    Unknown,
    /// It runs something else.
    #[error("the session is busy")]
    Busy,
    /// All places are taken.
    #[error("{0} sessions are open, which is the limit")]
    #[diagnostic(help("close one, or raise `session.max` in the settings"))]
    Full(usize),
}

/// How one script is to be run.
#[derive(Debug)]
pub struct Terms {
    /// Go there first.
    pub directory: Option<AbsolutePath>,
    /// End everything when this time is up.
    pub timeout: Duration,
    /// Bytes to keep of each stream.
    pub keep_bytes: usize,
    /// Where output goes as it comes, besides being kept.
    pub live: Option<mpsc::Sender<Chunk>>,
    /// What ends it early.
    pub stop: Stop,
}

/// Ends a running script early: any of several switches.
#[derive(Clone, Debug, Default)]
pub struct Stop(Vec<watch::Receiver<bool>>);

impl Stop {
    /// Adds a switch; it is on once it holds true.
    pub fn listen(&mut self, switch: watch::Receiver<bool>) {
        self.0.push(switch);
    }

    /// Waits until a switch is on. Without any, or when those who could turn them are gone, for ever. Safe to drop.
    pub async fn requested(&mut self) {
        let mut waits: Vec<_> = self.0.iter_mut().map(|switch| Box::pin(switch.wait_for(|on| *on))).collect();
        std::future::poll_fn(|context| {
            // A switch whose other half is gone stays off; polled once more it would not wake us, so it is let go.
            let mut requested = false;
            waits.retain_mut(|wait| match Future::poll(wait.as_mut(), context) {
                Poll::Ready(Ok(_)) => {
                    requested = true;
                    false
                }
                Poll::Ready(Err(_)) => false,
                Poll::Pending => true,
            });
            if requested { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// Output as it comes.
#[derive(Debug)]
pub struct Chunk {
    /// Which stream.
    pub stream: StreamName,
    /// Redacted bytes.
    pub bytes: RedactedBytes,
}

/// One of a command's output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamName {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What one script did: bounded output and its end.
#[derive(Debug)]
pub struct Captured {
    /// Standard output.
    pub stdout: Capture,
    /// Standard error.
    pub stderr: Capture,
    /// How it ended.
    pub end: End,
    /// The working directory after it; `None` if the shell is gone.
    pub cwd: Option<AbsolutePath>,
    /// From the start to the end.
    pub duration: Duration,
    /// Redactions per rule.
    pub redactions: std::collections::BTreeMap<String, u64>,
}

/// One live shell under its sandbox.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    shell: LocalShell,
    opened: Instant,
    commands: u64,
    cwd: AbsolutePath,
    /// What its scripts have left behind that changes what the next one means.
    left: palisade_grammar::Shell,
}

impl Session {
    /// Starts a shell.
    ///
    /// # Errors
    /// If the sandbox cannot be made as asked for, or the shell does not answer.
    pub async fn open(id: SessionId, place: Place) -> Result<Self, SessionError> {
        let cwd = place.cwd.clone();
        let shell = LocalShell::start(place).await?;
        Ok(Self { id, shell, opened: Instant::now(), commands: 0, cwd, left: palisade_grammar::Shell::new() })
    }

    /// Its name.
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    /// Since when it lives.
    pub fn opened(&self) -> Instant {
        self.opened
    }

    /// Scripts that it has run.
    pub fn commands(&self) -> u64 {
        self.commands
    }

    /// The working directory, as the kernel had it after the last script.
    pub fn cwd(&self) -> &AbsolutePath {
        &self.cwd
    }

    /// What its scripts have left behind.
    pub fn left(&self) -> &palisade_grammar::Shell {
        &self.left
    }

    /// The session's temporary directory.
    pub fn temp(&self) -> &AbsolutePath {
        self.shell.temp()
    }

    /// What the kernel holds it to.
    pub fn enforced(&self) -> &Enforced {
        self.shell.enforced()
    }

    /// Runs what was granted, and nothing else: the text comes out of the grant, which is used up.
    ///
    /// # Errors
    /// If the grant is for another session, or no channel can be made: nothing has run then.
    pub async fn run(&mut self, grant: Grant, redactor: &Redactor, terms: Terms) -> Result<Captured, SessionError> {
        if grant.session() != self.id.as_str() {
            return Err(SessionError::WrongSession);
        }
        // From here on: a script that is cut short may have come far enough.
        self.left = grant.leaves().clone();
        let script = grant.spend();
        let captured = self.shell.run(&script, redactor, terms).await?;
        self.commands += 1;
        if let Some(cwd) = &captured.cwd {
            self.cwd = cwd.clone();
        }
        Ok(captured)
    }

    /// Ends the shell and everything in it.
    pub async fn close(self) {
        self.shell.close().await;
    }
}
