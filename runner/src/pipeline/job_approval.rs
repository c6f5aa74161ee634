//! What is to reach a job and needs a person's yes: kept as it was asked, and judged again after the answer.
//!
//! A yes binds all that the person was shown: the very bytes or the signal, the job as it then was, and the policies. It
//! lifts only what was shown, and once: what a shell starts because of its input is still asked at each `execve`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use palisade_audit::{Anchor, Entry, RequestId, SealError, Yes};
use palisade_engine::{Act, Approval, Decision, Facts, Report, Verdict};

use super::jobs::lacks_checkpoint;
use super::{Client, Failure, Jobs, Reached, Reading};
use crate::control::approvals::RequestStatus;
use crate::job::{Job, JobSignal};
use crate::record;
use crate::result::{DecisionNote, Explained, Unanswered};
use crate::shell::{Order, SessionError, Stop};

/// What is to be done to a job.
pub(super) enum Intent {
    Input { bytes: Vec<u8>, eof: bool, reading: Box<Reading> },
    Signal { signal: JobSignal, order: Order },
}

/// What policy says to it as it stands.
pub(super) struct Judged {
    /// The act for one program that the job runs,
    pub(super) first: (Act, Report),
    /// and for each further one.
    pub(super) rest: Vec<(Act, Report)>,
    /// The answer to the script that it is to a shell.
    pub(super) typed: Option<Verdict>,
}

/// Something for a job that waits for a person's yes.
pub struct PendingAct {
    /// What it is called where it waits for a person.
    pub(super) ask: RequestId,
    pub(super) job: Arc<Job>,
    pub(super) facts: Facts,
    pub(super) judged: Judged,
    pub(super) intent: Intent,
    pub(super) explained: Explained,
    pub(super) decision: DecisionNote,
    pub(super) anchor: Anchor,
    /// What had reached the job before.
    pub(super) told: u64,
}

impl Judged {
    /// The strictest answer, with all that it is about: what a person says yes to has been shown.
    pub(super) fn strictest(&self) -> Report {
        let typed = self.typed.as_ref().map(Verdict::report);
        let further = || self.rest.iter().map(|(_, report)| report).chain(typed);
        let decision = further().map(|report| report.decision).fold(self.first.1.decision, Ord::max);
        let mut all = std::iter::once(&self.first.1).chain(further()).filter(|report| report.decision == decision);
        let mut report = all.next().unwrap_or(&self.first.1).clone();
        for other in all {
            report.requests.extend_from_slice(&other.requests);
            report.opaque.extend_from_slice(&other.opaque);
            report.reasons.extend_from_slice(&other.reasons);
        }
        report
    }
}

impl PendingAct {
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

impl fmt::Debug for PendingAct {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PendingAct").field("decision", &self.decision).finish_non_exhaustive()
    }
}

/// A request that is to reach a job, and what it was judged on.
pub(super) struct JobRequest {
    pub(super) ask: RequestId,
    pub(super) job: Arc<Job>,
    pub(super) facts: Facts,
    pub(super) judged: Judged,
    pub(super) told: u64,
}

impl Jobs<'_> {
    /// What goes on record of something that was to be written to a job.
    pub(super) fn input_entry(
        self,
        job: &Job,
        judged: Option<&Explained>,
        yes: Yes,
        input: &[u8],
        eof: bool,
    ) -> Result<Entry, Failure> {
        let entry = record::input(self.state.settings.for_record(), (job.req, &job.session), judged, yes, input, eof);
        entry.map_err(|SealError| Failure::of(super::decisions::SEALED))
    }

    /// What becomes of something that is on record and not allowed as it stands.
    pub(super) fn not_yet(self, asked: JobRequest, intent: Intent, explained: Explained, anchor: Anchor) -> Reached {
        let JobRequest { ask, job, facts, judged, told } = asked;
        if explained.decision != Decision::Ask {
            return Reached::Refused(Box::new(self.refusal(&job, explained, anchor)));
        }
        let decision = explained.note(self.state.redact(&job.req.to_string()));
        Reached::Ask(Box::new(PendingAct { ask, job, facts, judged, intent, explained, decision, anchor, told }))
    }

    /// Judges something for a job again after the yes of a person at the terminal, as [`Pipeline::approve`](super::Pipeline::approve) does.
    ///
    /// # Errors
    /// If the job has ended, something else has reached it or the policies have changed since it was asked, or it cannot be
    /// recorded: then nothing was done.
    pub async fn approve(self, pending: PendingAct, person: &Approval) -> Result<Reached, Failure> {
        self.answered(&pending, person, true).await?;
        let under = pending.ask;
        self.lift(pending, std::slice::from_ref(person), under).await
    }

    /// Puts a person's no on record.
    ///
    /// # Errors
    /// If it cannot be recorded.
    pub async fn decline(self, pending: &PendingAct, person: &Approval) -> Result<(), Failure> {
        self.answered(pending, person, false).await
    }

    async fn answered(self, pending: &PendingAct, person: &Approval, granted: bool) -> Result<(), Failure> {
        let report = pending.judged.strictest();
        self.state.approvals().record_answer(pending.ask, person, granted, &report, &pending.explained).await
    }

    /// Judges something for a job again after the yes of these people, which is on record, and, if policy lets them approve it,
    /// does it.
    pub(super) async fn lift(
        self,
        pending: PendingAct,
        people: &[Approval],
        under: RequestId,
    ) -> Result<Reached, Failure> {
        let PendingAct { job, facts, judged, intent, told, .. } = pending;
        self.state.kill_switch().goes_on(job.named.as_deref())?;
        // The time is another by now.
        let facts = Facts { principal: facts.principal, ..self.facts_of(&job, &Client::default()) };
        let engine = self.state.settings.engine.now();
        if judged.first.1.policy_set != engine.policy_set() {
            return Err(Failure::of("the policies have changed since this was asked; send it again"));
        }
        if !job.is_running() {
            return Err(self.state.failure(&SessionError::JobEnded));
        }
        // Whoever read the same line may take it for something else by now.
        if !job.tell(Some(told)) {
            return Err(Failure::of("something else has reached the job since this was asked; send it again"));
        }
        let again = |(act, shown): (Act, Report)| {
            let report = engine.approve_act(&facts, &act, &shown, people);
            (act, report)
        };
        let typed = match judged.typed {
            Some(Verdict::Ask(question)) => Some(engine.approve(question, people)),
            other => other,
        };
        if let Some(why) = typed.as_ref().and_then(|typed| lacks_checkpoint(&job, typed)) {
            return Err(self.state.failure(&SessionError::UnclearInput { why }));
        }
        let (first, rest) = (again(judged.first), judged.rest.into_iter().map(again).collect());
        let judged = Judged { first, rest, typed };
        let redactor = self.state.settings.redactor.keyed(job.session.as_str());
        let explained = Explained::of(&judged.strictest(), &redactor);
        let yes = Yes { ask: None, under: Some(under) };
        let entry = match &intent {
            Intent::Input { bytes, eof, .. } => self.input_entry(&job, Some(&explained), yes, bytes, *eof)?,
            Intent::Signal { signal, .. } => record::signalled((job.req, &job.session), &explained, yes, signal.name()),
        };
        let allowed = explained.decision == Decision::Allow;
        let typist = job.input.as_ref();
        let places = match &intent {
            Intent::Input { bytes, eof, .. } if allowed => {
                let typist = typist.ok_or_else(|| self.state.failure(&SessionError::NoInput))?;
                Some(self.room(typist, bytes, *eof)?)
            }
            Intent::Input { .. } | Intent::Signal { .. } => None,
        };
        let anchor = self.state.audit.append(entry).await.map_err(|error| self.state.failure(&error))?;
        match (intent, places) {
            (Intent::Input { bytes, eof, reading }, Some(places)) => {
                self.write_now(&job, places, &bytes, eof, *reading).await.map(Reached::Shown)
            }
            (Intent::Signal { order, .. }, _) if allowed => self.order(&job, order).await.map(Reached::Shown),
            _ => Ok(Reached::Refused(Box::new(self.refusal(&job, explained, anchor)))),
        }
    }

    /// What becomes of something that is to reach a job and needs a yes: it is done if there is one, or waits for one, `wait` long with this
    /// call.
    ///
    /// # Errors
    /// As [`Self::approve`].
    pub async fn ask(self, pending: PendingAct, wait: Duration) -> Result<Reached, Failure> {
        let deadline = tokio::time::Instant::now() + wait;
        let stop = Stop::default();
        loop {
            let mut answers = self.state.answers.subscribe();
            let standing = match self.state.approval_requests().register_act(&pending) {
                RequestStatus::Granted(id, people) => return self.lift(pending, &people, id).await,
                RequestStatus::Waits(id) => {
                    if self.state.approval_requests().settled_until(id, &mut answers, deadline, &stop).await {
                        continue;
                    }
                    self.state.approval_requests().standing(Some(id))
                }
                RequestStatus::Denied(id, no) => self.state.approval_requests().denied(id, &no),
                RequestStatus::Full => self.state.approval_requests().standing(None),
            };
            let PendingAct { explained, decision, anchor, .. } = pending;
            return Ok(Reached::Unanswered(Box::new(Unanswered { explained, decision, anchor, standing })));
        }
    }
}
