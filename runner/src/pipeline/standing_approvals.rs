//! A yes that holds for longer than one call: when one may be given, and which calls it answers.
//!
//! It is taken for a call as the yes of the person who gave it, now: the permits have to cover all that policy asks about, nothing that the
//! call runs as code may lie in a file that can change, and policy still has to take that person's yes (`Action::"approve"`).

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use palisade_audit::RequestId;
use palisade_engine::{
    Act, Approval, ApprovalRequest, Channel, Given, Lasts, Oversight, Standing, StandingYes, Transport, Unfit,
};
use palisade_redact::Redacted;

use super::approval_binding::{self, BoundFile};
use super::approval_requests::{About, Lifts, Visit};
use super::state::PipelineState;
use super::{Failure, Pending};
use crate::control::peer::Peer;
use crate::control::wire::{Answer, Kept};
use crate::record;
use crate::remembered::{Remembered, RememberedError};

/// Yeses that hold in a session and are kept in memory.
const MAX_HERE: usize = 500;

/// What is remembered here, and where the rest is.
#[derive(Debug)]
pub(super) struct Memory {
    here: Mutex<Standing>,
    file: Option<Remembered>,
}

impl Memory {
    pub(super) fn new(file: Option<Remembered>) -> Self {
        Self { here: Mutex::default(), file }
    }

    /// Those of sessions, and those of the file.
    fn all(&self) -> Result<Vec<Standing>, RememberedError> {
        let here = self.here.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let kept = self.file.as_ref().map(Remembered::read).transpose()?;
        Ok([Some(here), kept].into_iter().flatten().filter(|standing| !standing.is_empty()).collect())
    }

    fn add(&self, yes: StandingYes) -> Result<(), RememberedError> {
        match &self.file {
            Some(file) if yes.lasts != Lasts::Session => file.add(yes),
            _ => {
                let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
                if here.yeses().count() >= MAX_HERE {
                    return Err(RememberedError::Full);
                }
                here.add(yes);
                Ok(())
            }
        }
    }

    fn forget(&self, id: &str) -> Result<bool, RememberedError> {
        let here = self.here.lock().unwrap_or_else(PoisonError::into_inner).forget(id);
        let there = self.file.as_ref().map_or(Ok(false), |file| file.forget(id))?;
        Ok(here || there)
    }
}

/// The yeses that hold for longer than one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct StandingApprovals<'a> {
    pub(super) state: &'a Arc<PipelineState>,
}

impl StandingApprovals<'_> {
    /// The decision that a standing yes to this call was given to, and that yes.
    pub(super) fn yes_to(self, pending: &Pending) -> Option<(RequestId, Approval)> {
        let question = &pending.question;
        tokio::task::block_in_place(|| {
            let all = self.counted();
            if all.is_empty() || !can_stand(question) {
                return None;
            }
            let engine = self.state.settings.engine.now();
            let call = approval_binding::standing(pending).to_string();
            let fitting = all.iter().flat_map(|standing| engine.stands(question, standing, &call));
            let mut people = fitting.filter_map(|yes| Some((yes.id.parse().ok()?, self.giver(yes))));
            people.find(|(_, person)| engine.may_approve(question, person).allowed)
        })
    }

    /// Who gave it, with the roles of now.
    fn giver(self, yes: &StandingYes) -> Approval {
        let (user, lasts) = (yes.by.clone(), yes.lasts);
        Approval { roles: self.state.settings.people.roles(&user), user, via: Channel::Control, lasts }
    }

    /// The same for a session at a target.
    pub(super) fn yes_to_visit(self, visit: &Visit<'_>) -> Option<(RequestId, Approval)> {
        let Visit { facts, place, report, .. } = visit;
        tokio::task::block_in_place(|| {
            let all = self.counted();
            if all.is_empty() {
                return None;
            }
            let engine = self.state.settings.engine.now();
            let call = approval_binding::standing_visit(place, report).to_string();
            let fitting = all.iter().flat_map(|standing| engine.stands_for_visit(facts, report, standing, &call));
            let mut people = fitting.filter_map(|yes| Some((yes.id.parse().ok()?, self.giver(yes))));
            people.find(|(_, person)| engine.may_approve_act(facts, &Act::OpenSession, report, person).allowed)
        })
    }

    /// All that is remembered; nothing where it cannot be read.
    fn counted(self) -> Vec<Standing> {
        self.state.memory.all().unwrap_or_else(|error| {
            let failure = self.state.failure(&error);
            tracing::warn!("no remembered yes counts: {}", failure.what);
            Vec::new()
        })
    }

    /// The permits by which this person's yes to a request would hold.
    pub(super) fn draft(self, id: RequestId, about: &About, person: &Approval) -> Result<StandingYes, Failure> {
        let granted = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let engine = self.state.settings.engine.now();
        let id = id.to_string();
        let made = match &about.lifts {
            Lifts::Script { question, standing } => {
                self.may_stand(about, question, person)?;
                let call = standing.to_string();
                engine.standing(question, person, &Given { id: &id, granted: &granted, call: &call })
            }
            Lifts::Acts { facts, acts, visit: Some(visit), .. } => {
                if person.lasts == Lasts::Session {
                    return Err(Failure::of("the session that this opens is another one each time").helped(ONCE));
                }
                let Some((_, report)) = acts.first() else { return Err(Failure::of("nothing is asked").helped(ONCE)) };
                let call = visit.to_string();
                engine.standing_visit(facts, report, person, &Given { id: &id, granted: &granted, call: &call })
            }
            Lifts::Acts { .. } if about.kind == "input" => return Err(Failure::of(OF_INPUT).helped(AS_A_COMMAND)),
            Lifts::Acts { .. } => return Err(Failure::of(OF_A_SIGNAL).helped(ONCE)),
            Lifts::Execution { .. } => return Err(Failure::of(OF_A_PROGRAM).helped(AS_A_COMMAND)),
            Lifts::Restore { .. } => return Err(Failure::of(OF_A_RESTORE).helped(BY_POLICY)),
        };
        let made = made.map_err(|unfit: Unfit| {
            let what = self.state.redact(&unfit.to_string());
            Failure { what, help: Redacted::from_static(ONCE), session_lost: false }
        })?;
        if self.state.redact(&made.text).left_out_of(&made.text) > 0 {
            let what = "the permit would hold what looks like a secret";
            return Err(Failure::of(what).helped(ONCE));
        }
        Ok(made)
    }

    /// Whether a yes to this script can hold, for as long as this person says.
    fn may_stand(self, about: &About, question: &ApprovalRequest, person: &Approval) -> Result<(), Failure> {
        if person.lasts == Lasts::Session && about.session.as_str() != question.facts().session.id {
            return Err(Failure::of("the call is in no session that another one could be in").helped(ONCE));
        }
        if question.facts().transport != Transport::Local {
            return Err(Failure::of(AT_A_TARGET).helped(BY_POLICY));
        }
        let files = tokio::task::block_in_place(|| approval_binding::files(question.inventory(), question.facts()));
        let Some(BoundFile { path, .. }) = files.first() else { return Ok(()) };
        let what = self.state.redact(&format!("it runs code of `{path}`, which can change"));
        Err(Failure { what, help: Redacted::from_static(ONCE), session_lost: false })
    }

    /// A no to a request is one to what it would hold for, too.
    pub(super) fn forget_denied(self, id: RequestId) {
        if let Err(error) = tokio::task::block_in_place(|| self.state.memory.forget(&id.to_string())) {
            tracing::error!("a remembered yes cannot be taken back: {}", self.state.failure(&error).what);
        }
    }

    /// Keeps it.
    pub(super) fn keep(self, yes: StandingYes) -> Result<(), Failure> {
        tokio::task::block_in_place(|| self.state.memory.add(yes)).map_err(|error| self.state.failure(&error))
    }

    /// Shows by which permits a yes would hold, to a person who may give it.
    pub(super) fn show(self, id: &str, person: &Approval) -> Answer<Redacted> {
        let Some(id) = id.parse::<RequestId>().ok() else { return Answer::Unknown };
        let about = self.state.requests().about(id, std::time::Instant::now());
        let Some(about) = about else { return Answer::Unknown };
        let authority = self.state.approvals().may_approve(&about, person);
        if !authority.allowed {
            return self.state.overseers().refused(
                &format!("approve this, to hold for `{}`", person.lasts.as_str()),
                person,
                &authority,
            );
        }
        match self.draft(id, &about, person) {
            Ok(yes) => Answer::Permit(self.state.redact(&yes.text)),
            Err(failure) => self.state.overseers().failed(&failure),
        }
    }

    /// All that is remembered here.
    pub(super) fn list(self) -> Answer<Redacted> {
        let all = match tokio::task::block_in_place(|| self.state.memory.all()) {
            Ok(all) => all,
            Err(error) => return self.state.overseers().failed(&self.state.failure(&error)),
        };
        let kept = |yes: &StandingYes| Kept {
            id: self.state.redact(&yes.id),
            by: self.state.redact(&yes.by),
            lasts: yes.lasts,
            granted: self.state.redact(&yes.granted),
            permits: self.state.redact(&yes.text),
        };
        Answer::Remembered(all.iter().flat_map(Standing::yeses).map(kept).collect())
    }

    /// Takes a standing yes back. Whose it is may do that, and who may stop the agent.
    pub(super) async fn forget(self, id: &str, peer: &Peer, person: &Approval) -> Answer<Redacted> {
        let Ok(of) = id.parse::<RequestId>() else { return Answer::Unknown };
        let all = match tokio::task::block_in_place(|| self.state.memory.all()) {
            Ok(all) => all,
            Err(error) => return self.state.overseers().failed(&self.state.failure(&error)),
        };
        let Some(by) = all.iter().flat_map(Standing::yeses).find(|yes| yes.id == id).map(|yes| yes.by.clone()) else {
            return Answer::Unknown;
        };
        let authority =
            self.state.overseers().oversees(person, &Oversight::Stop { session: String::new(), lift: false });
        if by != person.user && !authority.allowed {
            return self.state.overseers().refused("take this back", person, &authority);
        }
        // It counts no more from here on, on record or not; nor does it for the call that it was given to, if that never came.
        self.state.requests().withdraw(of);
        match tokio::task::block_in_place(|| self.state.memory.forget(id)) {
            Ok(true) => {}
            Ok(false) => return Answer::Unknown,
            Err(error) => return self.state.overseers().failed(&self.state.failure(&error)),
        }
        match self.state.audit.append(record::forgotten(self.state.settings.for_record(), of, peer)).await {
            Ok(_) => Answer::Forgotten { id: self.state.redact(id) },
            Err(error) => self.state.overseers().failed(&self.state.failure(&error)),
        }
    }
}

/// Whether a yes to this can hold at all: on this machine, without code that lies in a file.
fn can_stand(question: &ApprovalRequest) -> bool {
    let facts = question.facts();
    facts.transport == Transport::Local && approval_binding::files(question.inventory(), facts).is_empty()
}

const OF_A_PROGRAM: &str = "what starts this program may give it other variables, input and files the next time, and none of them is in its words";
const OF_INPUT: &str = "the process that this is typed into may be somewhere else the next time, and take the same text for something else";
const OF_A_RESTORE: &str = "a restore discards what lies there at that time, which nobody has seen yet";
const AT_A_TARGET: &str = "what the command finds at the target the next time cannot be looked at from here";
const OF_A_SIGNAL: &str = "the process that gets a signal is another one each time";
const AS_A_COMMAND: &str = "without `--remember` the yes is for this once; have the agent run it as a command of its own: a yes to that can be remembered";
const BY_POLICY: &str = "without `--remember` the yes is for this once; a policy can permit it for good";
const ONCE: &str = "without `--remember` the yes is for this one call";
