//! The requests that wait for a person's yes: what is asked, what a yes to it binds, and what becomes of the call that asks.
//!
//! Decides when a call asks for what has been asked already. Who may answer says `approvals.rs`.

use std::sync::Arc;
use std::time::Instant;

use palisade_audit::RequestId;
use palisade_engine::{AbsolutePath, Act, ApprovalRequest, Facts, FileAction, Report, Transport, Verdict};
use palisade_redact::Redacted;

use super::approval_binding::{self, BoundFile};
use super::job_approval::Intent;
use super::state::PipelineState;
use super::{Pending, PendingAct};
use crate::control::approvals::{Anywhere, MAX_WAITING, No, PendingApproval, RequestStatus};
use crate::control::wire::{File, Running, State};
use crate::guard::Open;
use crate::limits::{self, MAX_REASON};
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

/// The requests that wait for a person's yes.
#[derive(Clone, Copy, Debug)]
pub(super) struct ApprovalRequests<'a> {
    pub(super) state: &'a Arc<PipelineState>,
}

impl ApprovalRequests<'_> {
    pub(super) fn register(self, pending: &Pending) -> RequestStatus {
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

    pub(super) fn register_act(self, pending: &PendingAct) -> RequestStatus {
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
        self,
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
    pub(super) fn register_visit(self, visit: Visit<'_>) -> RequestStatus {
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

    /// The request that a policy decides before a session at a target opens.
    pub(super) fn visit_in_words(self, place: &RemoteSite) -> Redacted {
        self.state.redact(&format!("open a session at the target {}", place.name))
    }

    fn wait_for(
        self,
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

    /// Waits until a person answers a request. False: the time ran out, or the caller was told to stop.
    pub(super) async fn settled_until(
        self,
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

    pub(super) fn unanswered(self, pending: Pending, id: Option<RequestId>) -> Unanswered {
        let Pending { explained, decision, anchor, .. } = pending;
        Unanswered { explained, decision, anchor, standing: self.standing(id) }
    }

    pub(super) fn standing(self, id: Option<RequestId>) -> Standing {
        let Some(id) = id else { return Standing::Full { max: MAX_WAITING } };
        let now = Instant::now();
        let mut approvals = self.state.requests();
        let known = approvals.get(id, now).map(|entry| (entry.asked, entry.quorum, entry.granted.len()));
        let (asked, quorum, yes) = known.unwrap_or((now, 1, 0));
        let expires_s = approvals.left(asked, now).as_secs();
        Standing::Waiting { id: self.state.redact(&id.to_string()), expires_s, quorum, yes }
    }

    pub(super) fn denied(self, id: RequestId, no: &No) -> Standing {
        let (by, reason) =
            (self.state.redact(&no.by), limits::shown(&no.reason, MAX_REASON, &self.state.settings.redactor));
        Standing::Denied { id: self.state.redact(&id.to_string()), by, reason }
    }

    pub(super) fn told(self, file: &BoundFile) -> File<Redacted> {
        let sha256 = file.digest.as_ref().map(|digest| self.state.redact(&digest.to_string())).unwrap_or_default();
        File { path: self.state.redact(file.path.as_str()), sha256 }
    }

    /// Forgets all that waits for a person.
    pub(super) fn forget_all(self) {
        self.state.requests().clear();
        self.state.answers.send_modify(|answers| *answers += 1);
    }
}

pub(super) fn principal(facts: &Facts) -> String {
    format!("{}\0{}", facts.principal.agent, facts.principal.user)
}
