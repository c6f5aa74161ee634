//! The kill switch: a person ends what an agent or a session runs, and locks it out until somebody lets it in again.
//!
//! It ends everything whatever the disk says, and then tells whether that is on record. Letting in again is the other way round.

use std::sync::{Arc, MutexGuard, PoisonError};

use palisade_engine::{Approval, Oversight};
use palisade_redact::Redacted;

use super::Failure;
use super::state::PipelineState;
use crate::control::peer::Peer;
use crate::control::stops::{StopNote, Stops};
use crate::control::wire::{self, Answer, Lifted, Target};
use crate::limits::{self, MAX_REASON};
use crate::record;
use crate::result::Cause;

/// What is meant by a name.
struct Meant {
    /// `session`, `agent` or `all`, and its name.
    what: &'static str,
    name: Option<String>,
    /// The session alone.
    session: Option<String>,
}

/// What people have stopped.
#[derive(Clone, Copy, Debug)]
pub struct KillSwitch<'a> {
    pub(super) state: &'a Arc<PipelineState>,
}

impl<'a> KillSwitch<'a> {
    /// Whether something may be done at all, in this session.
    ///
    /// # Errors
    /// If a person has stopped it.
    pub fn goes_on(self, session: Option<&str>) -> Result<(), Failure> {
        let agent = &self.state.settings.surroundings.principal.agent;
        let stops = self.stops();
        let Some(StopNote { by, reason }) = stops.standing(agent, session) else { return Ok(()) };
        let mut what = Redacted::from_static("stopped by ");
        what.push(by);
        if !reason.is_empty() {
            what.push_static(": ");
            what.push(reason);
        }
        let help = "nothing runs here until a person lets it in again with `palisade stop --lift`";
        Err(Failure { what, help: Redacted::from_static(help), session_lost: false })
    }

    /// Ends what is meant, at once, and locks it out.
    pub(super) async fn stop(self, what: Target, peer: &Peer, person: &Approval, reason: &str) -> Answer<Redacted> {
        let Some(meant) = self.meant(&what) else { return Answer::Unknown };
        let wanted = Oversight::Stop { session: meant.session.clone().unwrap_or_default(), lift: false };
        let authority = self.state.overseers().oversees(person, &wanted);
        if !authority.allowed {
            return self.state.overseers().refused("stop this", person, &authority);
        }
        let stopped = StopNote {
            by: self.state.redact(&person.user),
            reason: limits::shown(reason, MAX_REASON, &self.state.settings.redactor),
        };
        self.stops().stop(what, stopped);
        let entry =
            record::killed(self.state.settings.for_record(), (meant.what, meant.name.as_deref()), false, peer, reason);
        let session = meant.session.as_deref();
        let ended = async {
            let is_meant = |job: &crate::job::Job| {
                let named = |session: &str| job.session.as_str() == session || job.named.as_deref() == Some(session);
                session.is_none_or(named)
            };
            let (commands, closed) =
                tokio::join!(self.state.job_registry.kill(Cause::Stopped, is_meant), self.close_stopped(session));
            // What had been let through just before.
            (commands + self.state.job_registry.kill(Cause::Stopped, is_meant).await, closed)
        };
        if session.is_none() {
            self.state.approval_requests().forget_all();
        }
        let ((commands, closed), recorded) = tokio::join!(ended, self.state.audit.append(entry));
        for id in &closed {
            self.state.workspace_changes.forget(id);
            self.state.transcripts.forget(id);
            if let Err(error) = self.state.audit.append(record::closed(id, "stopped")).await {
                tracing::error!(%error, "the end of a session cannot be recorded");
            }
        }
        if let Err(error) = &recorded {
            tracing::error!(%error, "what a person has stopped cannot be recorded");
        }
        Answer::Stopped(wire::Stopped {
            what: self.told_of(&meant),
            commands: u64::try_from(commands).unwrap_or(u64::MAX),
            sessions: u64::try_from(closed.len()).unwrap_or(u64::MAX),
            recorded: recorded.is_ok(),
        })
    }

    /// Lets in again what was stopped, once that is on record.
    pub(super) async fn let_in(self, what: Target, peer: &Peer, person: &Approval, reason: &str) -> Answer<Redacted> {
        let is_out = self.stops().all().any(|(stopped, _)| *stopped == what);
        if !is_out {
            return Answer::Unknown;
        }
        if let Some(refused) = self.state.overseers().doubted(peer) {
            return refused;
        }
        let agent = &self.state.settings.surroundings.principal.agent;
        let meant = self.meant(&what).unwrap_or_else(|| Meant::session(&what));
        let session = meant.session.clone().filter(|name| name != agent).unwrap_or_default();
        let authority = self.state.overseers().oversees(person, &Oversight::Stop { session, lift: true });
        if !authority.allowed {
            return self.state.overseers().refused("let this in again", person, &authority);
        }
        let entry =
            record::killed(self.state.settings.for_record(), (meant.what, meant.name.as_deref()), true, peer, reason);
        if let Err(error) = self.state.audit.append(entry).await {
            return self.state.overseers().failed(&self.state.failure(&error));
        }
        self.stops().lift(&what);
        Answer::Lifted(Lifted { what: self.told_of(&meant) })
    }

    /// What is locked out, by whom and why.
    pub(super) fn locked_out(self) -> Vec<Redacted> {
        let stops = self.stops();
        let told = stops.all().map(|(target, StopNote { by, reason })| {
            let mut told = match target {
                Target::All => Redacted::from_static("all"),
                Target::Named(name) => self.state.redact(name),
            };
            told.push_static(" by ");
            told.push(by);
            if !reason.is_empty() {
                told.push_static(": ");
                told.push(reason);
            }
            told
        });
        told.collect()
    }

    async fn close_stopped(self, session: Option<&str>) -> Vec<String> {
        match session {
            None => self.state.session_registry.close_all().await,
            Some(id) => {
                let closed = self.state.session_registry.close(id).await.is_ok();
                closed.then(|| id.to_owned()).into_iter().collect()
            }
        }
    }

    fn meant(self, what: &Target) -> Option<Meant> {
        match what {
            Target::All => Some(Meant { what: "all", name: None, session: None }),
            Target::Named(name) if *name == self.state.settings.surroundings.principal.agent => {
                Some(Meant { what: "agent", name: Some(name.clone()), session: None })
            }
            Target::Named(name) => {
                self.state.session_registry.notes().iter().any(|note| note.id == *name).then(|| Meant::session(what))
            }
        }
    }

    fn told_of(self, meant: &Meant) -> Redacted {
        match &meant.name {
            None => Redacted::from_static(meant.what),
            Some(name) => self.state.redact(&format!("{} {name}", meant.what)),
        }
    }

    fn stops(self) -> MutexGuard<'a, Stops> {
        // Nothing that holds the lock can fail half-way.
        self.state.stops.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Meant {
    fn session(what: &Target) -> Self {
        let name = match what {
            Target::Named(name) => Some(name.clone()),
            Target::All => None,
        };
        Self { what: "session", session: name.clone(), name }
    }
}
