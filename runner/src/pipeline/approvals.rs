//! What people see of the requests that wait, and their answers.
//!
//! This file decides who may answer, and when a yes counts. A yes lets nothing run by itself: the agent has to come with the very same call,
//! which is judged again, and the yes with it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use palisade_audit::RequestId;
use palisade_engine::{Approval, Authority, Decision, Lasts, Oversight, Report};
use palisade_redact::Redacted;

use super::Failure;
use super::approval_requests::{About, Lifts};
use super::state::PipelineState;
use crate::control::approvals::{No, PendingApproval, Void};
use crate::control::peer::Peer;
use crate::control::wire::{Answer, Effect, Reason, Request, State, Voted, Waiting};
use crate::record;
use crate::result::Explained;

/// What people see of the requests that wait, and their answers.
#[derive(Clone, Copy, Debug)]
pub struct Approvals<'a> {
    pub(super) state: &'a Arc<PipelineState>,
}

impl Approvals<'_> {
    /// Whether there is such a request and this person may approve it: nobody says yes to what they may not see.
    pub(super) fn is_for(self, id: &str, person: &Approval) -> bool {
        let about = id.parse().ok().and_then(|id| self.state.requests().about(id, Instant::now()));
        about.is_some_and(|about| self.may_approve(&about, person).allowed)
    }

    /// The refusal for a person whom a policy forbids to approve this request. It gives that policy's reason.
    pub(super) fn forbidden(self, id: &str, person: &Approval) -> Option<Answer<Redacted>> {
        let about = id.parse().ok().and_then(|id| self.state.requests().about(id, Instant::now()))?;
        let authority = self.may_approve(&about, person);
        let is_forbidden = !authority.allowed && !authority.policies.is_empty();
        is_forbidden.then(|| self.state.overseers().refused("approve this", person, &authority))
    }

    pub(super) fn waiting(self) -> Vec<(RequestId, Waiting<Redacted>)> {
        let now = Instant::now();
        self.state.requests().all(now).map(|(id, entry)| (id, self.short(id, entry, now))).collect()
    }

    fn short(self, id: RequestId, entry: &PendingApproval<About>, now: Instant) -> Waiting<Redacted> {
        let principal = &self.state.settings.surroundings.principal;
        let age = now.saturating_duration_since(entry.asked);
        Waiting {
            id: self.state.redact(&id.to_string()),
            agent: self.state.redact(&principal.agent),
            user: self.state.redact(&principal.user),
            command: entry.about.explained.command.clone(),
            hidden: entry.about.hidden,
            cwd: entry.about.cwd.clone(),
            age_s: age.as_secs(),
            expires_s: self.state.settings.approvals_expire.saturating_sub(age).as_secs(),
            quorum: number(entry.quorum),
            running: entry.about.running.is_some(),
            granted_by: entry.granted.iter().map(|by| self.state.redact(&by.user)).collect(),
            state: entry.state(),
        }
    }

    pub(super) fn show(self, id: &str) -> Answer<Redacted> {
        let now = Instant::now();
        let Ok(id) = id.parse() else { return Answer::Unknown };
        let mut approvals = self.state.requests();
        let Some(entry) = approvals.get(id, now) else { return Answer::Unknown };
        let about = Arc::clone(&entry.about);
        let (short, joined) = (self.short(id, entry, now), entry.joined);
        drop(approvals);
        let explained = &about.explained;
        let effects = explained.requests.iter().map(|request| Effect {
            decision: Redacted::from_static(request.decision.as_str()),
            action: Redacted::from_static(request.action),
            resource: request.resource.clone(),
            via: request.via.clone(),
            policies: request.determining.clone(),
        });
        let reasons = explained.reasons.iter().map(|reason| Reason {
            policy: reason.policy.clone(),
            place: reason.place.clone(),
            reason: reason.reason.clone(),
            text: reason.text.clone(),
        });
        let opaque = explained.opaque.iter().map(|opaque| {
            let mut told = Redacted::from_static(opaque.reason);
            told.push_static(": ");
            told.push(&opaque.text);
            for (at, file) in opaque.files.iter().enumerate() {
                told.push_static(if at == 0 { ", by " } else { ", " });
                told.push(file);
            }
            told
        });
        Answer::Request(Box::new(Request {
            short,
            session: about.session.clone(),
            joined,
            kind: Redacted::from_static(about.kind),
            effects: effects.collect(),
            reasons: reasons.collect(),
            opaque: opaque.collect(),
            files: about.files.clone(),
            opens: about.opens.clone(),
            process: about.running.clone(),
            policy_set: explained.policy_set.clone(),
            said: about.said.clone(),
        }))
    }

    /// Takes a yes. Without a `peer` it came through the agent's own client, and policy alone says whether it counts.
    pub(super) async fn grant(
        self,
        id: RequestId,
        peer: Option<&Peer>,
        person: Approval,
        reason: &str,
    ) -> Answer<Redacted> {
        let known = self.state.requests().get(id, Instant::now()).map(|entry| (Arc::clone(&entry.about), entry.quorum));
        let Some((about, quorum)) = known else { return Answer::Unknown };
        if let Some(refused) = peer.and_then(|peer| self.state.overseers().doubted(peer)) {
            return refused;
        }
        let authority = self.may_approve(&about, &person);
        if !authority.allowed {
            return self.state.overseers().refused("approve this", &person, &authority);
        }
        let standing = match person.lasts {
            Lasts::Once => None,
            Lasts::Session | Lasts::Agent | Lasts::Always => {
                match self.state.standing_approvals().draft(id, &about, &person) {
                    Ok(standing) => Some(standing),
                    Err(failure) => return self.state.overseers().failed(&failure),
                }
            }
        };
        // It counts from here on for whoever else says yes, and for the agent once it is on record.
        let explained = &about.explained;
        let permit = standing.as_ref().map(|yes| self.state.redact(&yes.text));
        let answered =
            record::Answered { of: id, granted: true, person: &person, peer, reason, quorum, permit, explained };
        if let Err(void) = self.state.requests().may_grant(id, &person.user, Instant::now()) {
            return self.void(void);
        }
        if let Err(error) = self.state.audit.append(answered.entry(self.state.settings.for_record())).await {
            return self.state.overseers().failed(&self.state.failure(&error));
        }
        let by = self.state.redact(&person.user);
        let granted = self.state.requests().grant(id, person, Instant::now());
        let kept = standing.filter(|_| granted.is_ok()).map_or(Ok(()), |yes| self.state.standing_approvals().keep(yes));
        self.state.answers.send_modify(|answers| *answers += 1);
        if let Err(Failure { what: why, help, .. }) = kept {
            let mut what = Redacted::from_static("it may run once, and the yes is not remembered: ");
            what.push(&why);
            return Answer::Failed { what, help };
        }
        self.voted(id, granted, by)
    }

    /// Takes a no.
    pub(super) async fn deny(
        self,
        id: RequestId,
        peer: Option<&Peer>,
        person: &Approval,
        reason: &str,
    ) -> Answer<Redacted> {
        let known = self.state.requests().get(id, Instant::now()).map(|entry| (Arc::clone(&entry.about), entry.quorum));
        let Some((about, quorum)) = known else { return Answer::Unknown };
        let authority = self.may_approve(&about, person);
        let stops = Oversight::Stop { session: String::new(), lift: false };
        if !authority.allowed && !self.state.overseers().oversees(person, &stops).allowed {
            return self.state.overseers().refused("approve or deny this", person, &authority);
        }
        // A no counts at once, on record or not.
        let no = No { by: person.user.clone(), reason: reason.to_owned() };
        let denied = self.state.requests().deny(id, no, Instant::now());
        self.state.standing_approvals().forget_denied(id);
        self.state.answers.send_modify(|answers| *answers += 1);
        let explained = &about.explained;
        let answered =
            record::Answered { of: id, granted: false, person, peer, reason, quorum, permit: None, explained };
        if denied.is_ok()
            && let Err(error) = self.state.audit.append(answered.entry(self.state.settings.for_record())).await
        {
            return self.state.overseers().failed(&self.state.failure(&error));
        }
        self.voted(id, denied, self.state.redact(&person.user))
    }

    /// Whether policy lets this person say yes to all that is asked.
    pub(super) fn may_approve(self, about: &About, person: &Approval) -> Authority {
        let engine = self.state.settings.engine.now();
        match &about.lifts {
            Lifts::Script { question, standing: _ } => engine.may_approve(question, person),
            Lifts::Restore { facts, act, files, report } => engine.may_approve_on(facts, act, files, report, person),
            Lifts::Execution { open } => first_no(open.iter().map(|open| open.authority(&engine, person))),
            Lifts::Acts { facts, acts, typed, visit: _ } => {
                let asked = acts.iter().filter(|(_, report)| report.decision == Decision::Ask);
                let acts = asked.map(|(act, report)| engine.may_approve_act(facts, act, report, person));
                let typed = typed.iter().map(|question| engine.may_approve(question, person));
                first_no(acts.chain(typed))
            }
        }
    }

    fn voted(self, id: RequestId, voted: Result<State, Void>, by: Redacted) -> Answer<Redacted> {
        let state = match voted {
            Ok(state) => state,
            Err(void) => return self.void(void),
        };
        let mut approvals = self.state.requests();
        // An agent that waits may have taken it already: then it was the last that it took.
        let (yes, quorum) =
            approvals.get(id, Instant::now()).map_or((1, 1), |entry| (entry.granted.len(), entry.quorum));
        Answer::Voted(Voted {
            id: self.state.redact(&id.to_string()),
            state,
            yes: number(yes),
            quorum: number(quorum),
            by,
        })
    }

    fn void(self, void: Void) -> Answer<Redacted> {
        Answer::Failed { what: self.state.redact(&void.to_string()), help: Redacted::default() }
    }

    /// Puts an answer that was given at a terminal on record.
    pub(super) async fn record_answer(
        self,
        of: RequestId,
        person: &Approval,
        granted: bool,
        report: &Report,
        explained: &Explained,
    ) -> Result<(), Failure> {
        let quorum = report.quorum();
        let answered =
            record::Answered { of, granted, person, peer: None, reason: "", quorum, permit: None, explained };
        self.state
            .audit
            .append(answered.entry(self.state.settings.for_record()))
            .await
            .map(drop)
            .map_err(|error| self.state.failure(&error))
    }

    /// How long a request waits for a person's answer.
    pub fn expire_after(self) -> Duration {
        self.state.settings.approvals_expire
    }
}

/// The first no, or the last yes.
fn first_no(authorities: impl Iterator<Item = Authority>) -> Authority {
    let mut last = Authority { allowed: false, policies: Vec::new(), why: "nothing was asked".to_owned() };
    for authority in authorities {
        last = authority;
        if !last.allowed {
            break;
        }
    }
    last
}

pub(super) fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
