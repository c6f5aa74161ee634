//! Sessions at the targets that the operator's settings name.
//!
//! This file decides in what order a target is reached: looked at, asked about, and only then used. What an agent says is the
//! target's name and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use palisade_engine::{AbsolutePath, Act, Facts, Machine};

use super::{Call, Client, Failure, Occasion, Opened, Pipeline, Seat, WithClient};
use crate::limits::MAX_PATH;
use crate::redact::Redacted;
use crate::session::registry::Lease;
use crate::session::{Beginning, Elsewhere, Session, SessionError, SessionId};
use crate::transport::remote::{End, Link, RemoteShell, View};
use crate::transport::{Place, Target, TargetNote, docker, ssh};

/// A target that was looked at, before anything there is used.
enum Met {
    Ssh(Box<ssh::Met>),
    Docker(docker::Met),
}

impl Pipeline {
    /// Opens a session at a target.
    ///
    /// # Errors
    /// If there is no such target, it cannot be reached or is not the one that is known, policy does not permit it, all places are
    /// taken, or no shell can be started.
    pub async fn open_session_at(&self, name: &str, cwd: Option<&str>, client: &Client) -> Result<Opened, Failure> {
        let room = self.sessions.admit().map_err(|error| self.failure(&error))?;
        let Some(target) = self.settings.targets.get(name) else { return Err(self.failure(&SessionError::NoTarget)) };
        if cwd.is_some() {
            return Err(Failure::of("a session at a target begins in its workspace: give no `cwd`"));
        }
        let id = SessionId::new().map_err(|error| self.failure(&error))?;
        let rules = self.reloads.load(Ordering::Acquire);
        let met = match &target.place {
            Place::Ssh(there) => ssh::Met::meet(there).await.map(|met| Met::Ssh(Box::new(met))),
            Place::Docker(there) => docker::Met::meet(there).await.map(Met::Docker),
        };
        let met = met.map_err(|error| self.failure(&SessionError::from(error)))?;
        let mut elsewhere = self.elsewhere(target, &met);
        self.may_open_at(&self.facts_at(&id, &elsewhere, client))?;
        self.tally.begin();
        let link = match (met, &target.place) {
            (Met::Ssh(met), Place::Ssh(there)) => met.enter(there).await.map(Link::Ssh),
            (Met::Docker(met), Place::Docker(there)) => met.enter(there).await.map(|container| {
                elsewhere.end.container = self.redact(&container.id);
                Link::Docker(container)
            }),
            _ => return Err(self.failure(&SessionError::NoTarget)),
        };
        let link = link.map_err(|error| self.failure(&SessionError::from(error)))?;
        let shell = RemoteShell::start(link, target).await.map_err(|error| self.failure(&error))?;
        if target.workspace.is_none() {
            elsewhere.workspace = shell.start_directory().clone();
        }
        self.opened(Session::elsewhere(id, shell, elsewhere, rules), room, false).await
    }

    /// The targets that there are.
    pub fn targets(&self) -> Vec<TargetNote> {
        let note = |target: &Target| TargetNote {
            target: self.redact(&target.name),
            transport: target.transport().as_str(),
            place: self.redact(&target.description()),
        };
        self.settings.targets.values().map(note).collect()
    }

    /// That a session is on this machine, for what only such a session has.
    pub(super) fn is_here(&self, session: &str, what: &'static str) -> Result<(), Failure> {
        let note = self.sessions.note(session).map_err(|error| self.failure(&error))?;
        match note.elsewhere {
            None => Ok(()),
            Some(_) => Err(self.failure(&SessionError::NotThere { what })),
        }
    }

    /// In a session at a target: what names mean is asked there.
    pub(super) async fn seat_elsewhere(&self, call: &Call, mut lease: Lease, rules: u64) -> Result<Seat, Failure> {
        let (place, eyes, id, scripts, left, cwd) = {
            let there = lease.session().and_then(|session| {
                let (place, eyes) = (session.place().cloned()?, session.eyes()?);
                let left = session.left().clone();
                Some((place, eyes, session.id().clone(), session.commands(), left, session.cwd().clone()))
            });
            match there {
                Some(there) => there,
                None => return Err(self.failure(&SessionError::Unknown)),
            }
        };
        if lease.session().is_some_and(|session| session.rules() != rules) {
            // No kernel rule holds it, so that nothing of it depends on the policies but whether it may be there.
            if let Err(failure) = self.may_open_at(&self.facts_at(&id, &place, &call.client)) {
                lease.give_back();
                return Err(Failure { session_lost: true, ..failure });
            }
            if let Some(session) = lease.session() {
                session.goes_on(rules);
            }
        }
        let named = match call.cwd.as_deref() {
            None => None,
            Some(named) => match self.directory_at(&eyes, named, &cwd).await {
                Ok(directory) => Some(directory),
                Err(failure) => {
                    lease.give_back();
                    return Err(failure);
                }
            },
        };
        let view = Arc::new(View::default());
        let around = self.settings.surroundings.at(place.workspace.clone(), place.home.clone(), Arc::clone(&view));
        let mut occasion = self.occasion_at(&id, &place);
        occasion.cwd = named.clone().unwrap_or(cwd);
        occasion.left = left;
        let inventory = tokio::task::block_in_place(|| palisade_grammar::inventory_in(&call.script, &occasion.left));
        let engine = self.settings.engine.now();
        let look = || drop(around.gather(&occasion, &inventory, engine.vocabulary()));
        eyes.fill(&view, look).await;
        Ok(Seat {
            id,
            occasion,
            elsewhere: Some(around),
            lease: Some(lease),
            place: None,
            directory: named,
            beginning: Beginning::default(),
            scripts,
            rules,
            extra: BTreeMap::new(),
        })
    }

    async fn directory_at(
        &self,
        eyes: &crate::transport::remote::Eyes,
        named: &str,
        base: &AbsolutePath,
    ) -> Result<AbsolutePath, Failure> {
        if named.len() > MAX_PATH || named.contains('\0') {
            return Err(Failure::of("the directory's name is longer than any path, or is none"));
        }
        let path = std::path::Path::new(base.as_str()).join(named);
        let found = match path.to_str() {
            Some(path) => eyes.directory(path).await,
            None => None,
        };
        found.ok_or_else(|| Failure {
            what: self.redact(&format!("`{named}` is not a directory at the target that can be entered")),
            help: Redacted::from_static(
                "give a directory that exists there, absolute or relative to the session's own",
            ),
            session_lost: false,
        })
    }

    fn elsewhere(&self, target: &Target, met: &Met) -> Elsewhere {
        let user = target.user();
        let mut end = End { target: self.redact(&target.name), user: self.redact(user), ..End::default() };
        let machine = match met {
            Met::Ssh(met) => {
                end.host_key = self.redact(&met.fingerprint);
                Machine { user: user.to_owned(), key_verified: met.known, image: String::new(), privileged: true }
            }
            Met::Docker(met) => {
                end.image = self.redact(&met.image);
                let (image, privileged) = (met.image.clone(), met.privileged);
                Machine { user: user.to_owned(), key_verified: false, image, privileged }
            }
        };
        Elsewhere {
            transport: target.transport(),
            host: target.host(),
            machine,
            workspace: target.workspace.clone().unwrap_or_else(|| target.home.clone()),
            home: target.home.clone(),
            end,
        }
    }

    fn facts_at(&self, id: &SessionId, place: &Elsewhere, client: &Client) -> Facts {
        let view = Arc::new(View::default());
        let around = self.settings.surroundings.at(place.workspace.clone(), place.home.clone(), view);
        around.facts(&self.occasion_at(id, place)).with(client)
    }

    /// Before a script in a session that nothing holds.
    fn occasion_at(&self, id: &SessionId, place: &Elsewhere) -> Occasion {
        let mut session = palisade_engine::Session::opened(id.as_str());
        self.tally.tell(&mut session);
        Occasion {
            transport: place.transport,
            host: place.host.clone(),
            session,
            cwd: place.workspace.clone(),
            temp: None,
            left: palisade_grammar::Shell::new(),
            machine: place.machine.clone(),
        }
    }

    fn may_open_at(&self, facts: &Facts) -> Result<(), Failure> {
        let (permitted, policies) = self.settings.engine.now().answer(facts, &Act::OpenSession);
        if permitted { Ok(()) } else { Err(self.failure(&SessionError::TargetForbidden { policies })) }
    }
}
