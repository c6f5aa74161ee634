//! How a command in a shell came to its end, and what became of the shell. Plain data; decides nothing.

use std::time::Duration;

use palisade_engine::AbsolutePath;
use palisade_sandbox::meter::Exceeded;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It came to its end with this status.
    Status(i32),
    /// It ended its shell, with this code.
    ShellExited(i32),
    /// Its shell was ended by this signal.
    ShellKilled(i32),
    /// The time was up; everything that it had started was ended.
    TimedOut,
    /// Somebody stopped it; everything that it had started was ended.
    Cancelled,
    /// The session has passed this limit; everything in it but its shell was ended.
    Limited(Exceeded),
    /// Its deadline passed before it could begin: nothing has run.
    NotBegun,
    /// Nobody can say: its shell could not be trusted any more and was ended.
    Unknown,
}

/// Why a shell is gone, or had to be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShellLoss {
    /// The command ended it.
    Ended,
    /// Its working directory is gone or cannot be named.
    Nowhere,
    /// It did not stop when it was told to.
    Unstoppable,
    /// It read what it was given and did not report.
    Silent,
    /// Something other than its report came in the report's place.
    Forged,
    /// It did not take up what it was given.
    Unheard,
    /// It could not tell its state.
    Stateless,
    /// It is at a target, and the connection there has ended.
    Disconnected,
    /// It is at a target, which does not say that what it ran has ended.
    Unended,
    /// It is at a target, and the guard there has other policies than those of now.
    Outdated,
}

impl ShellLoss {
    /// The reason as a reader is told it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ended => "the command ended the session's shell",
            Self::Nowhere => "the session's working directory is gone or cannot be named",
            Self::Unstoppable => "the session's shell did not stop when it was told to, and was killed",
            Self::Silent => {
                "the session's shell no longer reports: the command changed a builtin, a descriptor or an option that it \
                 needs, or read its input"
            }
            Self::Forged => "something interfered with the session's report channel",
            Self::Unheard => {
                "the session's shell can run nothing any more: it is restricted, has no descriptor left, or no `eval`"
            }
            Self::Stateless => "the session's shell no longer tells its state",
            Self::Disconnected => "the connection to the session's target has ended",
            Self::Unended => "the session's target does not say that what ran there has ended: it may still run",
            Self::Outdated => {
                "the policies have changed, and the guard at the session's target holds it to those from before"
            }
        }
    }
}

/// How a command ended, and what became of its shell.
#[derive(Debug)]
pub struct RunEnd {
    /// How it ended.
    pub end: End,
    /// Why the shell is gone, if it is.
    pub lost: Option<ShellLoss>,
    /// The working directory after it; `None` if the shell is gone.
    pub cwd: Option<AbsolutePath>,
    /// From the start to the end.
    pub duration: Duration,
}
