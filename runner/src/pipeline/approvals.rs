//! What people do to a running server: see what waits, say yes or no to it, see what lives, stop it.
//!
//! This file decides what is asked of the engine before each, and when a yes counts. A yes lets nothing run by itself: the agent has to
//! come with the very same call, which is judged again, and the yes with it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use palisade_audit::RequestId;
use palisade_engine::{
    AbsolutePath, Act, Approval, ApprovalRequest, Authority, Channel, Decision, Facts, FileAction, Lasts, Oversight,
    Report, Transport, Verdict,
};
use palisade_redact::Redacted;

use super::approval_binding::{self, BoundFile};
use super::job_approval::Intent;
use super::{ApprovedRun, Failure, Outcome, Pending, PendingAct, Pipeline, Reached};
use crate::control::approvals::{Anywhere, MAX_WAITING, No, PendingApproval, RequestStatus};
use crate::control::peer::Peer;
use crate::control::wire::{
    Answer, Ask, Effect, File, Lives, Reason, Refused, Request, Running, State, Voted, Waiting,
};
use crate::guard::Open;
use crate::limits::{self, MAX_REASON};
use crate::record;
use crate::remote::RemoteInfo;
use crate::result::{Explained, Standing, Unanswered};
use crate::session::RemoteSite;
use crate::shell::Stop;

/// What a request is about: what a person is shown, and what an answer to it is judged on.
#[derive(Debug)]
pub(super) struct About {
    pub(super) kind: &'static str,
    pub(super) explained: Explained,
    /// Characters of its text that are not shown.
    pub(super) hidden: u64,
    pub(super) session: Redacted,
    pub(super) cwd: Redacted,
    pub(super) said: Redacted,
    pub(super) files: Vec<File<Redacted>>,
    pub(super) opens: Vec<Redacted>,
    /// What is known of a program that runs already.
    pub(super) running: Option<Running<Redacted>>,
    pub(super) lifts: Lifts,
}

/// A restore that needs a yes.
pub(super) struct RestoreApproval<'a> {
    pub(super) id: RequestId,
    /// What the yes binds.
    pub(super) binds: palisade_audit::Digest,
    pub(super) session: &'a str,
    pub(super) facts: &'a Facts,
    pub(super) act: &'a Act,
    pub(super) files: &'a [(FileAction, AbsolutePath)],
    pub(super) report: &'a Report,
    pub(super) explained: &'a Explained,
}

/// A session at a target that needs a yes.
pub(super) struct Visit<'a> {
    pub(super) id: RequestId,
    pub(super) facts: &'a Facts,
    pub(super) place: &'a RemoteSite,
    pub(super) report: &'a Report,
    pub(super) explained: &'a Explained,
}

/// The requests that a yes would lift.
#[derive(Debug)]
pub(super) enum Lifts {
    Script {
        question: Box<ApprovalRequest>,
        /// The call, as a standing yes has it.
        standing: palisade_audit::Digest,
    },
    Acts {
        facts: Box<Facts>,
        acts: Vec<(Act, Report)>,
        typed: Option<Box<ApprovalRequest>>,
        /// A session at a target, as a standing yes has it.
        visit: Option<palisade_audit::Digest>,
    },
    Restore {
        facts: Box<Facts>,
        act: Act,
        files: Vec<(FileAction, AbsolutePath)>,
        report: Box<Report>,
    },
    Execution {
        open: Arc<[Open]>,
    },
}

/// What somebody can do who is not let.
fn how_to_be_let(person: &Approval, authority: &Authority) -> String {
    if !authority.policies.is_empty() {
        return "these policies forbid it, whatever permits there are; another person may be let".to_owned();
    }
    if person.roles.is_empty() {
        return "roles are given to people in the settings, under `people`".to_owned();
    }
    let roles: Vec<String> = person.roles.iter().map(|role| format!("`{role}`")).collect();
    format!("the settings give `{}` {}; the policies need a permit for that", person.user, roles.join(", "))
}

impl Pipeline {
    /// What becomes of a script that needs a yes: it runs if there is one, or waits for one, `wait` long with this call.
    ///
    /// # Errors
    /// As [`Pipeline::submit`].
    pub async fn ask(self: &Arc<Self>, pending: Pending, wait: Duration) -> Result<Outcome, Failure> {
        let deadline = tokio::time::Instant::now() + wait;
        let mut pending = pending;
        loop {
            let mut answers = self.state.answers.subscribe();
            let call = match self.register(&pending) {
                RequestStatus::Granted(id, people) => match Box::pin(self.lift(pending, &people, id)).await? {
                    ApprovedRun::Ended(outcome) => return Ok(*outcome),
                    // The yes is used up, and the next one is to what these policies say.
                    ApprovedRun::Outdated(call) => *call,
                },
                RequestStatus::Waits(id) => {
                    match self.settled_until(id, &mut answers, deadline, &pending.call.stop).await {
                        true => pending.call,
                        false => return Ok(Outcome::Unanswered(Box::new(self.unanswered(pending, Some(id))))),
                    }
                }
                RequestStatus::Denied(id, no) => {
                    let Pending { explained, decision, anchor, .. } = pending;
                    let standing = self.denied(id, &no);
                    return Ok(Outcome::Unanswered(Box::new(Unanswered { explained, decision, anchor, standing })));
                }
                RequestStatus::Full => return Ok(Outcome::Unanswered(Box::new(self.unanswered(pending, None)))),
            };
            // It is judged again, as it is now, before the answer counts for it.
            match Box::pin(self.submit(call)).await? {
                Outcome::Ask(again) => pending = *again,
                other => return Ok(other),
            }
        }
    }

    /// The same for something that is to reach a job.
    ///
    /// # Errors
    /// As [`Pipeline::approve_act`].
    pub async fn ask_act(&self, pending: PendingAct, wait: Duration) -> Result<Reached, Failure> {
        let deadline = tokio::time::Instant::now() + wait;
        let stop = Stop::default();
        loop {
            let mut answers = self.state.answers.subscribe();
            let standing = match self.register_act(&pending) {
                RequestStatus::Granted(id, people) => return self.lift_act(pending, &people, id).await,
                RequestStatus::Waits(id) => {
                    if self.settled_until(id, &mut answers, deadline, &stop).await {
                        continue;
                    }
                    self.standing(Some(id))
                }
                RequestStatus::Denied(id, no) => self.denied(id, &no),
                RequestStatus::Full => self.standing(None),
            };
            let PendingAct { explained, decision, anchor, .. } = pending;
            return Ok(Reached::Unanswered(Box::new(Unanswered { explained, decision, anchor, standing })));
        }
    }

    fn register(&self, pending: &Pending) -> RequestStatus {
        let Pending { question, call, req, explained, opens, .. } = pending;
        let facts = question.facts();
        let files = tokio::task::block_in_place(|| approval_binding::files(question.inventory(), facts));
        let binds = approval_binding::script(pending, &files);
        let redact = |text: &str| self.state.redact(text);
        let about = || About {
            kind: "exec",
            explained: explained.clone(),
            hidden: explained.command.left_out_of(&question.report().command),
            session: call.session.as_deref().map(redact).unwrap_or_default(),
            cwd: self.state.redact(facts.cwd.as_str()),
            said: limits::shown(&call.reason, MAX_REASON, &self.state.settings.redactor),
            files: files.iter().map(|file| self.told(file)).collect(),
            opens: opens.shown().map(|shown| redact(&shown)).collect(),
            running: None,
            lifts: Lifts::Script {
                question: Box::new(question.clone()),
                standing: approval_binding::standing(pending),
            },
        };
        let anywhere = Self::anywhere(pending, &files);
        self.wait_for(*req, (binds, anywhere), principal(facts), question.report().quorum(), about)
    }

    fn register_act(&self, pending: &PendingAct) -> RequestStatus {
        let PendingAct { ask, job, facts, judged, intent, explained, .. } = pending;
        let acts = || std::iter::once(&judged.first).chain(&judged.rest).cloned().collect();
        let typed = || match &judged.typed {
            Some(Verdict::Ask(question)) => Some(Box::new(question.clone())),
            Some(Verdict::Allow(_) | Verdict::Deny(_)) | None => None,
        };
        let redactor = self.state.settings.redactor.keyed(job.session.as_str());
        let shown = || match intent {
            Intent::Input { bytes, .. } => {
                let text = String::from_utf8_lossy(bytes);
                let shown = redactor.text(&text);
                (shown.left_out_of(&text), shown)
            }
            Intent::Signal { signal, .. } => (0, self.state.redact(signal.name())),
        };
        let about = || {
            let (hidden, command) = shown();
            About {
                kind: match intent {
                    Intent::Input { .. } => "input",
                    Intent::Signal { .. } => "signal",
                },
                explained: Explained { command, ..explained.clone() },
                hidden,
                session: self.state.redact(job.session.as_str()),
                cwd: self.state.redact(job.cwd.as_str()),
                said: Redacted::default(),
                files: Vec::new(),
                opens: Vec::new(),
                running: None,
                lifts: Lifts::Acts { facts: Box::new(facts.clone()), acts: acts(), typed: typed(), visit: None },
            }
        };
        let quorum = judged.strictest().quorum();
        self.wait_for(*ask, (approval_binding::act(pending), None), principal(facts), quorum, about)
    }

    /// What becomes of a restore that needs a yes. `what` says in words what it would do, `opens` to which paths.
    pub(super) fn register_restore(
        &self,
        way: RestoreApproval<'_>,
        what: Redacted,
        opens: Vec<Redacted>,
    ) -> RequestStatus {
        let RestoreApproval { id, binds, session, facts, act, files, report, explained } = way;
        let about = || About {
            kind: "restore",
            explained: Explained { command: what, ..explained.clone() },
            hidden: 0,
            session: self.state.redact(session),
            cwd: self.state.redact(facts.workspace.as_str()),
            said: Redacted::default(),
            files: Vec::new(),
            opens,
            running: None,
            lifts: Lifts::Restore {
                facts: Box::new(facts.clone()),
                act: act.clone(),
                files: files.to_vec(),
                report: Box::new(report.clone()),
            },
        };
        self.wait_for(id, (binds, None), principal(facts), report.quorum(), about)
    }

    /// What becomes of a session at a target that needs a yes.
    pub(super) fn register_visit(&self, visit: Visit<'_>) -> RequestStatus {
        let Visit { id, facts, place, report, explained } = visit;
        let RemoteInfo { host_key, by, image, .. } = &place.end;
        let seen = std::iter::once(host_key).chain(by).chain([image]).filter(|text| !text.is_empty());
        let about = || About {
            kind: "session",
            explained: Explained { command: self.visit_in_words(place), ..explained.clone() },
            hidden: 0,
            session: Redacted::default(),
            cwd: self.state.redact(place.workspace.as_str()),
            said: Redacted::default(),
            files: Vec::new(),
            opens: seen.cloned().collect(),
            running: None,
            lifts: Lifts::Acts {
                facts: Box::new(facts.clone()),
                acts: vec![(Act::OpenSession, report.clone())],
                typed: None,
                visit: Some(approval_binding::standing_visit(place, report)),
            },
        };
        self.wait_for(
            id,
            (approval_binding::visit(facts, place, report), None),
            principal(facts),
            report.quorum(),
            about,
        )
    }

    /// What is asked before a session at a target is opened.
    pub(super) fn visit_in_words(&self, place: &RemoteSite) -> Redacted {
        self.state.redact(&format!("open a session at the target {}", place.name))
    }

    fn wait_for(
        &self,
        id: RequestId,
        (binds, anywhere): (palisade_audit::Digest, Option<Anywhere>),
        principal: String,
        quorum: usize,
        about: impl FnOnce() -> About,
    ) -> RequestStatus {
        let asked = Instant::now();
        let (granted, denied) = (Vec::new(), None);
        let joined = false;
        let entry = || PendingApproval {
            principal,
            binds,
            anywhere,
            joined,
            asked,
            quorum,
            granted,
            denied,
            about: Arc::new(about()),
        };
        self.state.requests().ask(id, entry, (binds, anywhere), asked)
    }

    /// What a yes to a script binds but for its session, where that makes no other call of it: the shell is as no script has changed it,
    /// and stays so. Each is judged by itself, and what policy says to it is bound as well.
    fn anywhere(pending: &Pending, files: &[BoundFile]) -> Option<Anywhere> {
        let is_here = pending.question.facts().transport == Transport::Local;
        let is_as_new = is_here && pending.state.is_none() && !pending.question.inventory().changes_shell();
        is_as_new.then(|| Anywhere {
            binds: approval_binding::script_anywhere(pending, files),
            in_session: pending.call.session.is_some(),
        })
    }

    /// Waits until a request is answered; false if that takes longer, or whoever waits is told to stop.
    pub(super) async fn settled_until(
        &self,
        id: RequestId,
        answers: &mut tokio::sync::watch::Receiver<u64>,
        deadline: tokio::time::Instant,
        stop: &Stop,
    ) -> bool {
        loop {
            let open =
                self.state.requests().get(id, Instant::now()).is_some_and(|entry| entry.state() == State::Waiting);
            if !open {
                return tokio::time::Instant::now() < deadline;
            }
            let mut stop = stop.clone();
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => return false,
                () = stop.requested() => return false,
                changed = answers.changed() => if changed.is_err() { return false },
            }
        }
    }

    fn unanswered(&self, pending: Pending, id: Option<RequestId>) -> Unanswered {
        let Pending { explained, decision, anchor, .. } = pending;
        Unanswered { explained, decision, anchor, standing: self.standing(id) }
    }

    pub(super) fn standing(&self, id: Option<RequestId>) -> Standing {
        let Some(id) = id else { return Standing::Full { max: MAX_WAITING } };
        let now = Instant::now();
        let mut approvals = self.state.requests();
        let known = approvals.get(id, now).map(|entry| (entry.asked, entry.quorum, entry.granted.len()));
        let (asked, quorum, yes) = known.unwrap_or((now, 1, 0));
        let expires_s = approvals.left(asked, now).as_secs();
        Standing::Waiting { id: self.state.redact(&id.to_string()), expires_s, quorum, yes }
    }

    pub(super) fn denied(&self, id: RequestId, no: &No) -> Standing {
        let (by, reason) =
            (self.state.redact(&no.by), limits::shown(&no.reason, MAX_REASON, &self.state.settings.redactor));
        Standing::Denied { id: self.state.redact(&id.to_string()), by, reason }
    }

    /// Answers somebody who has connected to the control socket.
    pub(crate) async fn attend(&self, ask: Ask, peer: &Peer) -> Answer<Redacted> {
        let person = self.person(peer);
        if matches!(ask, Ask::List | Ask::Show { .. } | Ask::Answer { .. }) {
            self.state.presence.saw(peer);
        }
        match ask {
            Ask::List => self.list(&person),
            Ask::Show { id } => match self.observed(&person, "see or answer this request") {
                Some(no) if !self.is_for(&id, &person) => self.forbidden(&id, &person).unwrap_or(no),
                _ => self.show(&id),
            },
            Ask::Sessions => self.observed(&person, "see the sessions of this server").unwrap_or_else(|| self.lives()),
            Ask::Answer { id, yes, reason, lasts } => match id.parse() {
                Ok(id) if yes => self.grant(id, Some(peer), Approval { lasts, ..person }, &reason).await,
                Ok(id) => self.deny(id, Some(peer), &person, &reason).await,
                Err(_) => Answer::Unknown,
            },
            Ask::Permit { id, lasts } => {
                let person = Approval { lasts, ..person };
                self.permit(&id, &person)
            }
            Ask::Remembered => {
                self.observed(&person, "see what this server remembers").unwrap_or_else(|| self.remembered())
            }
            Ask::Forget { id } => self.forget(&id, peer, &person).await,
            Ask::Learned => self.learned(peer, &person),
            Ask::Unlearn { which } => self.unlearn(which, peer, &person).await,
            Ask::Stop { what, reason } => self.stop(what, peer, &person, &reason).await,
            Ask::Lift { what, reason } => self.let_in(what, peer, &person, &reason).await,
        }
    }

    /// Somebody as policies know them.
    fn person(&self, peer: &Peer) -> Approval {
        let (user, via, lasts) = (peer.user.clone(), Channel::Control, Lasts::Once);
        Approval { roles: self.state.settings.people.roles(&user), user, via, lasts }
    }

    /// The refusal for a person who may not look at what happens here. It names what the person wanted to do.
    pub(super) fn observed(&self, person: &Approval, wanted: &str) -> Option<Answer<Redacted>> {
        let authority = self.oversees(person, &Oversight::Observe);
        (!authority.allowed).then(|| self.refused(wanted, person, &authority))
    }

    /// What waits, for somebody who may see all of it, or who may approve some of it.
    fn list(&self, person: &Approval) -> Answer<Redacted> {
        let all = self.waiting();
        let Some(no) = self.observed(person, "see or answer what waits here") else {
            return Answer::Waiting(all.into_iter().map(|(_, waiting)| waiting).collect());
        };
        let is_empty = all.is_empty();
        let own = all.into_iter().filter(|(id, _)| self.is_for(&id.to_string(), person));
        let own: Vec<Waiting<Redacted>> = own.map(|(_, waiting)| waiting).collect();
        // Whoever may approve what there will be is not told from a stranger before there is something.
        if own.is_empty() && !is_empty { no } else { Answer::Waiting(own) }
    }

    /// Whether there is such a request and this person may approve it: nobody says yes to what they may not see.
    fn is_for(&self, id: &str, person: &Approval) -> bool {
        let about = id.parse().ok().and_then(|id| self.state.requests().about(id, Instant::now()));
        about.is_some_and(|about| self.may_approve(&about, person).allowed)
    }

    /// The refusal for a person whom a policy forbids to approve this request. It gives that policy's reason.
    fn forbidden(&self, id: &str, person: &Approval) -> Option<Answer<Redacted>> {
        let about = id.parse().ok().and_then(|id| self.state.requests().about(id, Instant::now()))?;
        let authority = self.may_approve(&about, person);
        let is_forbidden = !authority.allowed && !authority.policies.is_empty();
        is_forbidden.then(|| self.refused("approve this", person, &authority))
    }

    pub(super) fn oversees(&self, person: &Approval, what: &Oversight) -> Authority {
        let facts = self.state.facts_of_nothing();
        self.state.settings.engine.now().oversees(&facts, person, what)
    }

    pub(super) fn refused(&self, action: &str, person: &Approval, authority: &Authority) -> Answer<Redacted> {
        let what = format!("policy does not let `{}` {action}: {}", person.user, authority.why);
        Answer::Refused(Refused {
            what: self.state.redact(&what),
            policies: authority.policies.iter().map(|id| self.state.redact(id)).collect(),
            help: self.state.redact(&how_to_be_let(person, authority)),
        })
    }

    /// The no to somebody who may be the agent.
    pub(super) fn doubted(&self, peer: &Peer) -> Option<Answer<Redacted>> {
        let doubt = peer.doubt?;
        let help = miette::Diagnostic::help(&doubt).map(|help| help.to_string()).unwrap_or_default();
        let (what, policies) = (self.state.redact(&doubt.to_string()), Vec::new());
        Some(Answer::Refused(Refused { what, policies, help: self.state.redact(&help) }))
    }

    fn waiting(&self) -> Vec<(RequestId, Waiting<Redacted>)> {
        let now = Instant::now();
        self.state.requests().all(now).map(|(id, entry)| (id, self.short(id, entry, now))).collect()
    }

    fn short(&self, id: RequestId, entry: &PendingApproval<About>, now: Instant) -> Waiting<Redacted> {
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

    pub(super) fn show(&self, id: &str) -> Answer<Redacted> {
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

    pub(super) fn told(&self, file: &BoundFile) -> File<Redacted> {
        let sha256 = file.digest.as_ref().map(|digest| self.state.redact(&digest.to_string())).unwrap_or_default();
        File { path: self.state.redact(file.path.as_str()), sha256 }
    }

    /// Takes a yes. Without a `peer` it came through the agent's own client, and policy alone says whether it counts.
    pub(super) async fn grant(
        &self,
        id: RequestId,
        peer: Option<&Peer>,
        person: Approval,
        reason: &str,
    ) -> Answer<Redacted> {
        let known = self.state.requests().get(id, Instant::now()).map(|entry| (Arc::clone(&entry.about), entry.quorum));
        let Some((about, quorum)) = known else { return Answer::Unknown };
        if let Some(refused) = peer.and_then(|peer| self.doubted(peer)) {
            return refused;
        }
        let authority = self.may_approve(&about, &person);
        if !authority.allowed {
            return self.refused("approve this", &person, &authority);
        }
        let standing = match person.lasts {
            Lasts::Once => None,
            Lasts::Session | Lasts::Agent | Lasts::Always => match self.standing_for(id, &about, &person) {
                Ok(standing) => Some(standing),
                Err(failure) => return self.failed(&failure),
            },
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
            return self.failed(&self.state.failure(&error));
        }
        let by = self.state.redact(&person.user);
        let granted = self.state.requests().grant(id, person, Instant::now());
        let kept = standing.filter(|_| granted.is_ok()).map_or(Ok(()), |yes| self.remember(yes));
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
        &self,
        id: RequestId,
        peer: Option<&Peer>,
        person: &Approval,
        reason: &str,
    ) -> Answer<Redacted> {
        let known = self.state.requests().get(id, Instant::now()).map(|entry| (Arc::clone(&entry.about), entry.quorum));
        let Some((about, quorum)) = known else { return Answer::Unknown };
        let authority = self.may_approve(&about, person);
        let stops = Oversight::Stop { session: String::new(), lift: false };
        if !authority.allowed && !self.oversees(person, &stops).allowed {
            return self.refused("approve or deny this", person, &authority);
        }
        // A no counts at once, on record or not.
        let no = No { by: person.user.clone(), reason: reason.to_owned() };
        let denied = self.state.requests().deny(id, no, Instant::now());
        self.forget_denied(id);
        self.state.answers.send_modify(|answers| *answers += 1);
        let explained = &about.explained;
        let answered =
            record::Answered { of: id, granted: false, person, peer, reason, quorum, permit: None, explained };
        if denied.is_ok()
            && let Err(error) = self.state.audit.append(answered.entry(self.state.settings.for_record())).await
        {
            return self.failed(&self.state.failure(&error));
        }
        self.voted(id, denied, self.state.redact(&person.user))
    }

    /// Whether policy lets this person say yes to all that is asked.
    pub(super) fn may_approve(&self, about: &About, person: &Approval) -> Authority {
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

    fn voted(
        &self,
        id: RequestId,
        voted: Result<State, crate::control::approvals::Void>,
        by: Redacted,
    ) -> Answer<Redacted> {
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

    fn void(&self, void: crate::control::approvals::Void) -> Answer<Redacted> {
        Answer::Failed { what: self.state.redact(&void.to_string()), help: Redacted::default() }
    }

    pub(super) fn failed(&self, failure: &Failure) -> Answer<Redacted> {
        Answer::Failed { what: failure.what.clone(), help: failure.help.clone() }
    }

    fn lives(&self) -> Answer<Redacted> {
        let principal = &self.state.settings.surroundings.principal;
        let sessions = self.state.session_registry.notes().into_iter().filter(|note| note.ended.is_none());
        Answer::Lives(Box::new(Lives {
            pid: std::process::id(),
            chain: self.state.redact(&self.state.audit.chain().to_string()),
            agent: self.state.redact(&principal.agent),
            user: self.state.redact(&principal.user),
            sessions: sessions.map(|note| self.state.redact(&note.id)).collect(),
            running: number(self.state.job_registry.count()),
            stopped: self.locked_out(),
        }))
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

pub(super) fn principal(facts: &Facts) -> String {
    format!("{}\0{}", facts.principal.agent, facts.principal.user)
}

pub(super) fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
