//! Sessions from a caller's side: opened, had again, listed, closed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use palisade_audit::{Anchor, RequestId};
use palisade_engine::AbsolutePath;
use palisade_redact::Redacted;
use palisade_sandbox::Enforced;
use palisade_sandbox::names::Beyond;
use serde::Serialize;

use super::state::PipelineState;
use super::{Client, Failure, WithClient};
use crate::facts::real_directory;
use crate::record;
use crate::remote::RemoteInfo;
use crate::session::registry::{Lease, Note, SessionPermit};
use crate::session::{ClosedSession, RemoteSite, Session, ShellSnapshot};
use crate::shell::{SessionError, SessionId};

/// Why a shell ended that other kernel rules held, on record.
pub(super) const POLICY_RELOAD: &str = "policy-reload";

/// A session that was opened.
#[derive(Debug, Serialize)]
pub struct Opened {
    /// Its name.
    pub session: Redacted,
    /// Where it starts.
    pub cwd: Redacted,
    /// Its shell stands in the place of one that is gone, with that one's state.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub restarted: bool,
    /// The state was too much to keep: the shell is a fresh one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub state_lost: bool,
    /// The shell that is gone had functions, and could not list them: the shell has what else that one had.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub functions_lost: bool,
    /// What the kernel holds it to; none at a target, where nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<Enforced>,
    /// Where it is, if it is not on this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<RemoteInfo>,
    /// The record's head behind it.
    #[serde(skip)]
    pub anchor: Anchor,
}

/// An open session.
#[derive(Debug, Serialize)]
pub struct SessionNote {
    /// Its name.
    pub session: Redacted,
    /// The target that it is at; none on this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Redacted>,
    /// The working directory.
    pub cwd: Redacted,
    /// Scripts that it has run.
    pub commands: u64,
    /// Its age in seconds.
    pub age_s: u64,
    /// Seconds since it was last used.
    pub idle_s: u64,
    /// It runs something.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub busy: bool,
    /// The job that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<Redacted>,
    /// Why its shell is gone, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Redacted>,
    /// Its shell was ended because the policies changed; the next command starts another with its state.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub suspended: bool,
}

/// The sessions that callers open, have again, list and close.
#[derive(Clone, Copy, Debug)]
pub struct Sessions<'a> {
    pub(super) state: &'a Arc<PipelineState>,
}

impl Sessions<'_> {
    /// Opens a session that keeps its state between scripts.
    ///
    /// # Errors
    /// If policy does not permit it, all places are taken, or no shell can be started.
    pub async fn open(self, cwd: Option<&str>, client: &Client) -> Result<Opened, Failure> {
        self.state.kill_switch().goes_on(None)?;
        let place = self.state.session_registry.admit().map_err(|error| self.state.failure(&error))?;
        let cwd = self.state.directory(cwd, &self.state.settings.cwd)?;
        let id = SessionId::new().map_err(|error| self.state.failure(&error))?;
        let occasion = self.state.occasion(&id, cwd, None);
        let facts = self.state.settings.surroundings.facts(&occasion).with(client);
        let rules = self.state.reloads.load(Ordering::Acquire);
        self.may_open(&facts)?;
        self.state.usage.begin();
        let session = self.state.shells().start(&id, &facts, ShellSnapshot::default(), None, rules).await?;
        self.take_in(session, place, false, None).await
    }

    /// Starts a shell in the place of one that is gone, under the same name. Its directory, variables, functions,
    /// options, aliases, traps and arguments are those from before the command that ended it; what ran in the background
    /// and what was open is gone.
    ///
    /// # Errors
    /// If there is no such session or it has not ended, policy does not permit it any more, all places are taken, or no
    /// shell can be started.
    pub async fn restart(self, id: &str, client: &Client) -> Result<Opened, Failure> {
        self.state.kill_switch().goes_on(Some(id))?;
        let place = self.state.session_registry.admit().map_err(|error| self.state.failure(&error))?;
        let remains = self.state.session_registry.take_remains(id).map_err(|error| self.state.failure(&error))?;
        let temp = self.temp(&remains)?;
        let occasion = self.state.occasion(&remains.id, remains.cwd.clone(), Some(temp.clone()));
        let facts = self.state.settings.surroundings.facts(&occasion).with(client);
        let rules = self.state.reloads.load(Ordering::Acquire);
        self.may_open(&facts)?;
        let plan = self.state.shells().plan(&facts, &temp)?;
        let (environment, gate) = (self.state.shells().environment(&plan), self.state.shells().gate(&facts, &plan));
        let guard = remains
            .directory()
            .and_then(|directory| self.state.shells().guard(&facts, &environment, directory, gate.as_deref()));
        let names = self.state.shells().names(&facts, &plan, &temp, guard.as_ref(), Beyond::default());
        let session = Session::reopen(remains.held_by(guard, gate), plan, environment, names, rules).await;
        self.take_in(session.map_err(|error| self.state.failure(&error))?, place, true, None).await
    }

    /// Starts a shell in the place of one that other kernel rules held than those of now, which are numbered `rules`. The
    /// next result says so.
    pub(super) async fn renew(self, mut lease: Lease, rules: u64, client: &Client) -> Result<Lease, Failure> {
        self.suspend(&mut lease).await;
        let Some(remains) = lease.remains() else { return Err(self.state.failure(&SessionError::Unknown)) };
        let stands = real_directory(Path::new(remains.cwd.as_str())).as_ref() == Some(&remains.cwd);
        let cwd = if stands { remains.cwd.clone() } else { self.state.settings.cwd.clone() };
        let forgotten = remains.beginning.forgotten;
        let temp = self.temp(remains)?;
        let facts =
            self.state.settings.surroundings.facts(&self.state.occasion(&remains.id, cwd.clone(), Some(temp.clone())));
        let facts = facts.with(client);
        let plan = if self.state.settings.engine.now().permits_session(&facts) {
            self.state.shells().plan(&facts, &temp)
        } else {
            Err(self.state.failure(&SessionError::Forbidden))
        };
        let plan = match plan {
            Ok(plan) => plan,
            Err(failure) => {
                // Other policies may let it go on.
                lease.give_back();
                return Err(Failure { session_lost: true, ..failure });
            }
        };
        let Some(remains) = lease.take_remains() else { return Err(self.state.failure(&SessionError::Unknown)) };
        let (environment, gate) = (self.state.shells().environment(&plan), self.state.shells().gate(&facts, &plan));
        let guard = remains
            .directory()
            .and_then(|directory| self.state.shells().guard(&facts, &environment, directory, gate.as_deref()));
        let names = self.state.shells().names(&facts, &plan, &temp, guard.as_ref(), Beyond::default());
        let remains = remains.held_by(guard, gate).standing_in(cwd);
        let mut session = match Session::reopen(remains, plan, environment, names, rules).await {
            Ok(session) => session,
            Err(error) => {
                lease.forget();
                return Err(Failure { session_lost: true, ..self.state.failure(&error) });
            }
        };
        let shown = self.state.redact(session.cwd().as_str());
        let entry =
            record::opened(self.state.settings.for_record(), session.id(), &shown, session.enforced(), None, None);
        if let Err(error) = self.state.audit.append(entry).await {
            // No record, no session; what it was is not lost.
            lease.renew(session);
            lease.suspend().await;
            lease.give_back();
            return Err(self.state.failure(&error));
        }
        session.notice(self.state.redact(&restarted(
            self.state.settings.engine.now().policy_set(),
            stands,
            forgotten,
            shown.as_str(),
        )));
        lease.renew(session);
        Ok(lease)
    }

    /// The temporary directory of a session whose shell is gone.
    fn temp(self, remains: &ClosedSession) -> Result<AbsolutePath, Failure> {
        let temp = remains.directory().map(|directory| directory.temp().clone());
        temp.ok_or_else(|| self.state.failure(&SessionError::Unknown))
    }

    /// Ends a shell that other kernel rules hold than those of now, on record.
    pub(super) async fn suspend(self, lease: &mut Lease) {
        let Some(id) = lease.session().map(|session| session.id().clone()) else { return };
        lease.suspend().await;
        if let Err(failure) = self.state.audit.append(record::closed(id.as_str(), POLICY_RELOAD)).await {
            tracing::error!(%failure, "the end of a session's shell cannot be recorded");
        }
    }

    fn may_open(self, facts: &palisade_engine::Facts) -> Result<(), Failure> {
        if self.state.settings.engine.now().permits_session(facts) {
            return Ok(());
        }
        Err(Failure::of("no policy permits this principal to open a session here"))
    }

    /// Takes in a session that has been opened, `under` the request whose yes that took.
    pub(super) async fn take_in(
        self,
        session: Session,
        room: SessionPermit,
        restarted: bool,
        under: Option<RequestId>,
    ) -> Result<Opened, Failure> {
        let (id, enforced) = (session.id().clone(), session.enforced().cloned());
        let place = session.place().cloned();
        let cwd = self.state.settings.redactor.text(session.cwd().as_str());
        let ShellSnapshot { forgotten, unlisted, .. } = session.beginning();
        let reached = place.as_deref().map(RemoteSite::on_record);
        let entry = record::opened(self.state.settings.for_record(), &id, &cwd, enforced.as_ref(), reached, under);
        let anchor = match self.state.audit.append(entry).await {
            Ok(anchor) => anchor,
            Err(error) => {
                session.close().await;
                return Err(self.state.failure(&error));
            }
        };
        self.state.session_registry.insert(session, room);
        // Known to whoever stops it from here on; one who came before has been heard of by now.
        if let Err(stopped) = self.state.kill_switch().goes_on(Some(id.as_str())) {
            self.close(id.as_str()).await?;
            return Err(stopped);
        }
        if place.as_deref().is_some_and(|place| self.state.remote_sessions().is_outdated(place)) {
            self.close(id.as_str()).await?;
            return Err(Failure::of("the policies have changed meanwhile; open the session again"));
        }
        let session = self.state.settings.redactor.text(id.as_str());
        let target = place.map(|place| place.end.clone());
        let (state_lost, functions_lost) = (restarted && forgotten, restarted && unlisted);
        Ok(Opened { session, cwd, restarted, state_lost, functions_lost, sandbox: enforced, target, anchor })
    }

    /// Ends a session and everything in it.
    ///
    /// # Errors
    /// If there is none of that name, or its end cannot be recorded.
    pub async fn close(self, id: &str) -> Result<(), Failure> {
        self.state.session_registry.close(id).await.map_err(|error| self.state.failure(&error))?;
        self.state.workspace_changes.forget(id);
        self.state.transcripts.forget(id);
        let entry = record::closed(id, "closed");
        self.state.audit.append(entry).await.map(drop).map_err(|error| self.state.failure(&error))
    }

    /// The sessions: the open ones, and those whose shell is gone and that can be had again.
    pub async fn list(self) -> Vec<SessionNote> {
        let note = |note: &Note| SessionNote {
            session: self.state.redact(&note.id),
            target: note.elsewhere.as_ref().map(|place| place.end.target.clone()),
            cwd: self.state.redact(note.cwd.as_str()),
            commands: note.commands,
            age_s: note.opened.elapsed().as_secs(),
            idle_s: note.used.elapsed().as_secs(),
            busy: note.busy,
            job: note.job.as_deref().map(|job| self.state.redact(job)),
            suspended: note.suspended,
            ended: note.ended.map(|lost| Redacted::from_static(lost.as_str())),
        };
        self.state.session_registry.notes().iter().map(note).collect()
    }
}

/// What a result says of a session whose shell is another because of the policies.
fn restarted(policy_set: &str, stands: bool, forgotten: bool, cwd: &str) -> String {
    let short = policy_set.get(..19).unwrap_or(policy_set);
    let state = if forgotten {
        "its state was too much to keep"
    } else {
        "its variables, functions and options are those from before; background processes and open files are gone"
    };
    let place = if stands { String::new() } else { format!("; where it stood is no more, it stands in `{cwd}`") };
    format!("policy set {short} holds it to other kernel rules; {state}{place}")
}
