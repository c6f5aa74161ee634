//! Where a call to a session at a target is judged and will run: what names mean is asked there, by the call's deadline.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use palisade_engine::AbsolutePath;
use palisade_redact::Redacted;

use super::openings::Openings;
use super::parse_cache::SHORT;
use super::seats::{ExecTarget, Seats};
use super::{Call, Failure};
use crate::facts::remote_view::View;
use crate::facts::{Occasion, Surroundings};
use crate::limits::MAX_PATH;
use crate::remote::Eyes;
use crate::session::registry::Lease;
use crate::session::{RemoteSite, ShellSnapshot};
use crate::shell::deadline::Deadline;
use crate::shell::{SessionError, SessionId};

impl Seats<'_> {
    /// In a session at a target: what names mean is asked there.
    pub(super) async fn at_target(
        self,
        call: &Call,
        mut lease: Lease,
        rules: u64,
        deadline: Deadline,
    ) -> Result<ExecTarget, Failure> {
        let (place, eyes, id, scripts, left, cwd) = {
            let there = lease.session().and_then(|session| {
                let (place, eyes) = (session.place().cloned()?, session.base()?.eyes());
                let left = session.left().clone();
                Some((place, eyes, session.id().clone(), session.commands(), left, session.cwd().clone()))
            });
            match there {
                Some(there) => there,
                None => return Err(self.state.failure(&SessionError::Unknown)),
            }
        };
        if lease.session().is_some_and(|session| session.rules() != rules) {
            // No kernel rule of ours holds it, so that nothing of it depends on the policies but whether it may be there; a guard's
            // are looked at once the command is known.
            if let Err(failure) =
                self.state.remote_sessions().may_open(&self.state.facts_at(id.as_str(), &place, &call.client))
            {
                lease.give_back();
                return Err(Failure { session_lost: true, ..failure });
            }
            if let Some(session) = lease.session() {
                session.goes_on(rules);
            }
        }
        let named = match call.cwd.as_deref() {
            None => None,
            Some(named) => match self.directory_at(&eyes, named, &cwd, deadline).await {
                Ok(directory) => Some(directory),
                Err(failure) => {
                    lease.give_back();
                    return Err(failure);
                }
            },
        };
        let mut occasion = self.state.occasion_at(id.as_str(), &place);
        occasion.cwd = named.clone().unwrap_or(cwd);
        occasion.left = left;
        let (around, unseen) = self.around(call, &place, &eyes, &occasion, deadline).await;
        Ok(ExecTarget {
            id,
            occasion,
            elsewhere: Some(around),
            lease: Some(lease),
            place: None,
            directory: named,
            beginning: ShellSnapshot::default(),
            there: None,
            scripts,
            rules,
            extra: Openings::default(),
            due: Some(deadline),
            unseen,
        })
    }

    /// Beside a session at a target, in a shell that begins as the session's; none if the session is on this machine.
    pub(super) async fn beside_remote(
        self,
        call: &Call,
        session: &str,
        id: &SessionId,
        deadline: Deadline,
    ) -> Result<Option<ExecTarget>, Failure> {
        let note = self.state.session_registry.note(session).map_err(|error| self.state.failure(&error))?;
        let (Some(place), Some(base)) = (note.elsewhere, note.base) else { return Ok(None) };
        if call.terminal.is_some() {
            base.has_terminals().map_err(|error| self.state.failure(&error))?;
        }
        let rules = self.state.reloads.load(Ordering::Acquire);
        if note.rules != rules {
            self.state.remote_sessions().may_open(&self.state.facts_at(id.as_str(), &place, &call.client))?;
        }
        let room = self.state.session_registry.admit().map_err(|error| self.state.failure(&error))?;
        let eyes = base.eyes();
        let cwd = match call.cwd.as_deref() {
            None => note.cwd,
            Some(named) => self.directory_at(&eyes, named, &note.cwd, deadline).await?,
        };
        let mut occasion = self.state.occasion_at(id.as_str(), &place);
        occasion.cwd = cwd;
        occasion.left = note.beginning.left.clone();
        let (around, unseen) = self.around(call, &place, &eyes, &occasion, deadline).await;
        Ok(Some(ExecTarget {
            id: id.clone(),
            occasion,
            elsewhere: Some(around),
            lease: None,
            place: Some(room),
            directory: None,
            beginning: note.beginning,
            there: Some((base, place)),
            scripts: 0,
            rules,
            extra: Openings::default(),
            due: Some(deadline),
            unseen,
        }))
    }

    /// What lies around a call at a target: all names that it raises have been asked about there. True: not all of them by the deadline,
    /// and what was not told is unknown.
    async fn around(
        self,
        call: &Call,
        place: &RemoteSite,
        eyes: &Eyes,
        occasion: &Occasion,
        deadline: Deadline,
    ) -> (Surroundings, bool) {
        let view = Arc::new(View::default());
        let around =
            self.state.settings.surroundings.at(place.workspace.clone(), place.home.clone(), Arc::clone(&view));
        let inventory = if call.script.len() > SHORT {
            let _turn = self.state.decisions().turn().await;
            tokio::task::block_in_place(|| self.state.parse_cache.read(&call.script, &occasion.left))
        } else {
            self.state.parse_cache.read(&call.script, &occasion.left)
        };
        let engine = self.state.settings.engine.now();
        let look = || drop(around.gather(occasion, &inventory, &engine));
        let unseen = deadline.within(eyes.fill(&view, look)).await.is_none();
        (around, unseen)
    }

    async fn directory_at(
        self,
        eyes: &Eyes,
        named: &str,
        base: &AbsolutePath,
        deadline: Deadline,
    ) -> Result<AbsolutePath, Failure> {
        if named.len() > MAX_PATH || named.contains('\0') {
            return Err(Failure::of("the directory's name is longer than any path, or is none"));
        }
        let path = Path::new(base.as_str()).join(named);
        let found = match path.to_str() {
            Some(path) => deadline.within(eyes.directory(path)).await.ok_or_else(|| {
                Failure::of("the command's deadline passed before the target said what `cwd` is there: nothing has run")
            })?,
            None => None,
        };
        found.ok_or_else(|| Failure {
            what: self.state.redact(&format!("`{named}` is not a directory at the target that can be entered")),
            help: Redacted::from_static(
                "give a directory that exists there, absolute or relative to the session's own",
            ),
            session_lost: false,
        })
    }
}
