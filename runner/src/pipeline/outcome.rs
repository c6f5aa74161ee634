//! What comes of a call: it ran, it was denied, or it waits for a person's yes with all that the yes is to. Decides nothing.

use std::fmt;

use palisade_audit::{Anchor, RequestId};
use palisade_engine::ApprovalRequest;

use super::PendingAct;
use super::openings::Openings;
use crate::call::Call;
use crate::result::{DecisionNote, ExecResult, Explained, Refusal, Unanswered};

/// How a submitted script ended.
#[derive(Debug)]
pub enum Outcome {
    /// It ran.
    Ran(ExecResult),
    /// It runs on as a job.
    Running(ExecResult),
    /// It was denied; nothing has run.
    Denied(Refusal),
    /// A person has to say yes first; nothing has run.
    Ask(Box<Pending>),
    /// The same, and where its request stands; nothing has run.
    Unanswered(Box<Unanswered>),
}

/// What became of something that was to reach a job.
#[derive(Debug)]
pub enum Reached {
    /// It did; what the job said to it.
    Shown(Box<ExecResult>),
    /// Policy does not let it. Nothing was done.
    Refused(Box<Refusal>),
    /// A person has to say yes first; nothing was done.
    Ask(Box<PendingAct>),
    /// The same, and where its request stands; nothing was done.
    Unanswered(Box<Unanswered>),
}

/// A script that waits for a person's yes.
pub struct Pending {
    pub(super) question: ApprovalRequest,
    pub(super) call: Call,
    /// Scripts that its session had run.
    pub(super) scripts: u64,
    /// What its shell begins with, or its session's shell is.
    pub(super) state: Option<palisade_audit::Digest>,
    /// What a yes opens to it beyond the kernel's rules: what is shown, what the yes binds and what it runs with.
    pub(super) opens: Openings,
    pub(super) req: RequestId,
    pub(super) explained: Explained,
    pub(super) decision: DecisionNote,
    pub(super) anchor: Anchor,
}

/// What comes of a yes.
pub(super) enum ApprovedRun {
    /// The call has been judged again, and what came of that.
    Ended(Box<Outcome>),
    /// Other policies have taken the place of those that it was a yes under: the call is as good as one that nobody has judged.
    Outdated(Box<Call>),
}

impl Pending {
    /// What was asked and answered.
    pub fn explained(&self) -> &Explained {
        &self.explained
    }

    /// The decision in short.
    pub fn decision(&self) -> &DecisionNote {
        &self.decision
    }

    /// The record's head behind it.
    pub fn anchor(&self) -> &Anchor {
        &self.anchor
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Pending").field("decision", &self.decision).finish_non_exhaustive()
    }
}
