//! Runs what was granted, redacted and on record: the policy enforcement point.
//!
//! ```text
//! Call ─▶ pipeline ─▶ Outcome
//!           │  facts.rs       what paths and names mean here
//!           │  record.rs      no record, no run: which entry each step makes (`palisade-audit` writes them)
//!           │  control/       how a person reaches a running server
//!           │  session/       one session: its shell, and what is kept of it · registry
//!           │  job/           commands that outlive their call
//!           │  shell/         what a shell is told and tells: framing, terms, progress, ends
//!           │  transport/     how bytes reach it: on this machine, over SSH, in a container
//!           │  remote/        a shell at a target, and the guard there: this program
//!           │  target/        where a session can be besides this machine
//!           │  checkpoint/    the workspace as it was, and the way back
//!           │  overlay/       a view of the workspace, which takes what is written
//!           │  guard/         what may be executed, asked at each execve
//!           │  network/       what may be connected to, asked at each connection
//!           ▼  result.rs      what leaves, redacted (`palisade-redact`)
//! ```
//!
//! The modules form no circle (`tests/walls.rs`). From below: `facts`, `policies`, `result` and `target`; `shell`; `record`; `guard`; `network`; `transport`;
//! `remote`; `checkpoint`; `overlay`; `session`; `pipeline`.

pub mod caches;
mod call;
pub mod checkpoint;
mod clock;
pub mod control;
pub mod dry_run;
pub mod environment;
pub mod facts;
mod failure;
mod git;
pub mod guard;
mod hint;
pub mod job;
mod limits;
pub mod network;
pub mod overlay;
pub mod pipeline;
pub mod policies;
mod record;
pub mod remembered;
pub mod remote;
mod removal;
pub mod result;
pub mod sandbox;
pub mod session;
pub mod session_directory;
pub mod shell;
pub mod target;
pub mod transport;

pub use palisade_engine::Decision;
pub use palisade_redact::Redacted;
pub use palisade_redact::output::{Cursor, CursorError, Grep, GrepError, Keep, KeepError, View};

pub use crate::call::{Call, Client};
pub use crate::clock::{UnknownZone, Zone, shown_in};
pub use crate::failure::Failure;
pub use crate::limits::{MAX_PATH, MAX_REASON, MAX_SCRIPT};
pub use crate::pipeline::{
    Applied, Attendance, Budget, Checked, MAX_JOBS, OpenError, Opened, Outcome, Outsider, Paths, Pending, PendingAct,
    Pipeline, Pruned, Reached, Reading, RestoreNote, RestoreTerms, Rule, Rules, SessionNote, Settings, Taken,
    Transcript, TranscriptEntry,
};
pub use crate::policies::Policies;
pub use crate::result::{
    Cause, CheckpointNote, DecisionNote, DeniedProgram, ExecResult, Explained, ExplainedReason, JobNote, LeftOut,
    Omitted, ReadingAhead, Refusal, Standing, Status, Unanswered,
};
pub use crate::shell::{Chunk, Follower, Order, Stop, StreamName, TerminalSize, Typed};
pub use crate::target::TargetNote;
