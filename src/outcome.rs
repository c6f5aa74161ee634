//! What came of a script: how it ended, its output, and what was decided. Decides nothing.

use std::time::Duration;

use palisade_runner::{self as runner, DecisionNote, DeniedProgram, ExecResult, Explained, Redacted};

/// What came of a script. Text in it has passed the redactor, by type.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[must_use = "a script that was denied has not run"]
pub struct Outcome {
    /// How it stands.
    pub status: Status,
    /// The exit code, if the script came to its end.
    pub exit_code: Option<i32>,
    /// The signal that ended its shell.
    pub signal: Option<i32>,
    /// Standard output: escape sequences removed, cut to the settings' `output.max-chars`.
    pub stdout: Redacted,
    /// Standard error, likewise.
    pub stderr: Redacted,
    /// Bytes of both streams that are not shown.
    pub omitted_bytes: u64,
    /// The working directory after it.
    pub cwd: Redacted,
    /// From the start to the end.
    pub duration: Duration,
    /// What was decided: its id in the record, the policies, why, and what would be allowed (`suggest`).
    pub decision: DecisionNote,
    /// The whole verdict of a script that did not run.
    pub explained: Option<Box<Explained>>,
    /// Programs and connections that were refused while it ran.
    pub denied: Vec<DeniedProgram>,
    /// What its messages mean, where it looks as if the sandbox had said no.
    pub hints: Vec<Redacted>,
    /// The checkpoint that was taken before it, where policy or the settings want one.
    pub checkpoint: Option<Redacted>,
    /// Why the session ended, if it did.
    pub lost: Option<Redacted>,
}

/// How a script stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// It came to its end; its exit code may be anything.
    Done,
    /// The time was up, and everything that it had started was ended.
    TimedOut,
    /// It was stopped, and everything that it had started was ended.
    Cancelled,
    /// The session has passed one of its limits.
    Limited,
    /// The session ended under it.
    SessionLost,
    /// It has not ended.
    Running,
    /// Policy denied it; nothing has run.
    Denied,
    /// A person has to say yes first, and none did; nothing has run.
    ApprovalRequired,
}

impl Outcome {
    /// Whether it ran to its end with exit code 0.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.status == Status::Done && self.exit_code == Some(0)
    }

    /// The ids of the policies that decided.
    pub fn policies(&self) -> impl Iterator<Item = &str> {
        self.decision.policies.iter().map(Redacted::as_str)
    }

    pub(crate) fn of(result: ExecResult) -> Self {
        Self {
            status: match result.status {
                runner::Status::Done => Status::Done,
                runner::Status::TimedOut => Status::TimedOut,
                runner::Status::Cancelled => Status::Cancelled,
                runner::Status::Limited => Status::Limited,
                runner::Status::SessionLost => Status::SessionLost,
                runner::Status::Running => Status::Running,
            },
            exit_code: result.exit_code,
            signal: result.signal,
            stdout: result.stdout,
            stderr: result.stderr,
            omitted_bytes: result.omitted.values().map(|omitted| omitted.bytes).sum(),
            cwd: result.cwd,
            duration: result.duration,
            decision: result.decision,
            explained: None,
            denied: result.denied,
            hints: result.hints,
            checkpoint: result.checkpoint,
            lost: result.lost,
        }
    }

    pub(crate) fn not_run(status: Status, explained: Explained, decision: DecisionNote) -> Self {
        Self {
            status,
            exit_code: None,
            signal: None,
            stdout: Redacted::default(),
            stderr: Redacted::default(),
            omitted_bytes: 0,
            cwd: Redacted::default(),
            duration: Duration::ZERO,
            decision,
            explained: Some(Box::new(explained)),
            denied: Vec::new(),
            hints: Vec::new(),
            checkpoint: None,
            lost: None,
        }
    }
}
