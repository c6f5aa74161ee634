//! Where a call is judged and will run: its session, a shell beside that, or a fresh one that is not open yet.
//!
//! Decides in which order calls to one session come, and what is known of the place before anything is judged. Places at targets:
//! `remote_seats.rs`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use palisade_engine::AbsolutePath;

use super::openings::Openings;
use super::state::PipelineState;
use super::{Call, Failure};
use crate::facts::{Occasion, Surroundings};
use crate::remote::Base;
use crate::session::registry::{Lease, SessionPermit};
use crate::session::{RemoteSite, ShellSnapshot};
use crate::session_directory::SessionDirectory;
use crate::shell::deadline::Deadline;
use crate::shell::{SessionError, SessionId};

/// The places where calls are judged and run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seats<'a> {
    pub(super) state: &'a Arc<PipelineState>,
}

impl Seats<'_> {
    /// Where a call is judged and will run: its session, or a fresh one that is not open yet.
    pub(super) async fn take(self, call: &Call) -> Result<ExecTarget, Failure> {
        let mut deadline = Deadline::after(self.state.time_of(call));
        match &call.session {
            Some(id) if !call.is_apart() => self.in_session(call, id, &mut deadline).await,
            session => {
                // One that runs beside whatever the session does begins as that did.
                if let Some(session) = session.as_ref().filter(|_| !call.apart) {
                    self.settled(session, &mut deadline).await?;
                }
                let id = SessionId::new().map_err(|error| self.state.failure(&error))?;
                self.apart(call, id, deadline).await
            }
        }
    }

    /// In a shell of its own that is opened for it, where its session is.
    pub(super) async fn apart(self, call: &Call, id: SessionId, deadline: Deadline) -> Result<ExecTarget, Failure> {
        if let Some(session) = &call.session
            && let Some(seat) = self.beside_remote(call, session, &id, deadline).await?
        {
            return Ok(seat);
        }
        self.fresh(call, id)
    }

    /// Waits until what a session's last command left is known; of one that a job holds, it is that from before the job.
    async fn settled(self, session: &str, deadline: &mut Deadline) -> Result<(), Failure> {
        match self.state.session_registry.lease(session, deadline).await {
            Ok(lease) => lease.give_back(),
            Err(SessionError::Busy { .. }) => {}
            Err(error) => return Err(self.state.lost(&error)),
        }
        Ok(())
    }

    fn fresh(self, call: &Call, id: SessionId) -> Result<ExecTarget, Failure> {
        let place = self.state.session_registry.admit().map_err(|error| self.state.failure(&error))?;
        self.here(call, id, Some(place))
    }

    /// In a shell of its own; one like the session's, if the call names one.
    pub(super) fn here(self, call: &Call, id: SessionId, place: Option<SessionPermit>) -> Result<ExecTarget, Failure> {
        let rules = self.state.reloads.load(Ordering::Acquire);
        let (base, beginning) = match &call.session {
            Some(session) => {
                let note = self.state.session_registry.note(session).map_err(|error| self.state.failure(&error))?;
                (note.cwd, note.beginning)
            }
            None => (self.state.settings.cwd.clone(), ShellSnapshot::default()),
        };
        let cwd = self.state.directory(call.cwd.as_deref(), &base)?;
        let mut occasion = self.state.occasion(&id, cwd, SessionDirectory::place_for(id.as_str()));
        occasion.left_with(beginning.left.clone());
        let extra = Openings::default();
        Ok(ExecTarget {
            id,
            occasion,
            elsewhere: None,
            lease: None,
            place,
            directory: None,
            beginning,
            there: None,
            scripts: 0,
            rules,
            extra,
            due: None,
            unseen: false,
        })
    }

    /// A seat in a shell of its own that begins as the session's: the session stays as it is.
    pub(super) fn beside(self, mut seat: ExecTarget) -> Result<ExecTarget, Failure> {
        let Some(session) = seat.lease.as_mut().and_then(Lease::session) else { return Ok(seat) };
        let beginning = session.beginning();
        let place = self.state.session_registry.admit().map_err(|error| self.state.failure(&error))?;
        if let Some(lease) = seat.lease.take() {
            lease.give_back();
        }
        seat.place = Some(place);
        seat.beginning = beginning;
        // It is where the shell starts.
        seat.directory = None;
        Ok(seat)
    }

    pub(super) async fn in_session(
        self,
        call: &Call,
        id: &str,
        deadline: &mut Deadline,
    ) -> Result<ExecTarget, Failure> {
        let mut lease =
            self.state.session_registry.lease(id, deadline).await.map_err(|error| self.state.lost(&error))?;
        let rules = self.state.reloads.load(Ordering::Acquire);
        if lease.session().is_some_and(|session| session.place().is_some()) {
            return self.at_target(call, lease, rules, *deadline).await;
        }
        if lease.session().is_none_or(|session| session.rules() != rules) {
            lease = self.state.sessions().renew(lease, rules, &call.client).await?;
        }
        let Some(session) = lease.session() else { return Err(self.state.failure(&SessionError::Unknown)) };
        let cwd = self.state.directory(call.cwd.as_deref(), session.cwd());
        let (id, scripts, temp) = (session.id().clone(), session.commands(), session.temp().cloned());
        let shell = session.process();
        let left = session.left().clone();
        let cwd = match cwd {
            Ok(cwd) => cwd,
            Err(failure) => {
                lease.give_back();
                return Err(failure);
            }
        };
        let directory = call.cwd.is_some().then(|| cwd.clone());
        let mut occasion = self.state.occasion(&id, cwd, temp);
        occasion.shell = shell;
        occasion.left_with(left);
        Ok(ExecTarget {
            id,
            occasion,
            elsewhere: None,
            lease: Some(lease),
            place: None,
            directory,
            beginning: ShellSnapshot::default(),
            there: None,
            scripts,
            rules,
            extra: Openings::default(),
            due: None,
            unseen: false,
        })
    }
}

/// Where one call is judged and runs.
pub(super) struct ExecTarget {
    pub(super) id: SessionId,
    pub(super) occasion: Occasion,
    /// What is around it, if it is not on this machine.
    pub(super) elsewhere: Option<Surroundings>,
    /// The session's, if it runs in one.
    pub(super) lease: Option<Lease>,
    /// Held for its end.
    pub(super) place: Option<SessionPermit>,
    pub(super) directory: Option<AbsolutePath>,
    /// What a shell of its own begins with.
    pub(super) beginning: ShellSnapshot,
    /// Where such a shell is started, if it is not on this machine.
    pub(super) there: Option<(Base, Arc<RemoteSite>)>,
    /// Scripts that its session has run.
    pub(super) scripts: u64,
    /// The kernel rules that hold it, by number.
    pub(super) rules: u64,
    /// What a person's yes opens to it beyond those.
    pub(super) extra: Openings,
    /// By when the command has to have ended, if it is not on this machine.
    pub(super) due: Option<Deadline>,
    /// Its target had not said by then what the command's names mean.
    pub(super) unseen: bool,
}

impl ExecTarget {
    /// What tells the shell from one in which something else has run.
    pub(super) fn state(&mut self) -> Option<palisade_audit::Digest> {
        match self.lease.as_mut().and_then(Lease::session) {
            Some(session) => session.beginning().digest(),
            None => self.beginning.digest(),
        }
    }

    /// Where it is, if that is not on this machine.
    pub(super) fn elsewhere(&mut self) -> Option<&RemoteSite> {
        match self.lease.as_mut().and_then(Lease::session) {
            Some(session) => session.place().map(|place| &**place),
            None => self.there.as_ref().map(|(_, place)| &**place),
        }
    }
}

impl Drop for ExecTarget {
    fn drop(&mut self) {
        // Judged but not run: the session is as it was.
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
    }
}
