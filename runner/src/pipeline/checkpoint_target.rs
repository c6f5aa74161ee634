//! Where the workspace lies that a session's checkpoints are of: on this machine, or at a target. What is decided about checkpoints is
//! decided alike for both; this is where the two ways of doing it part.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use palisade_engine::{AbsolutePath, Facts};
use palisade_redact::Redacted;

use super::seats::ExecTarget;
use super::state::PipelineState;
use super::{CheckpointNote, Checkpoints, Client, Failure, WithClient};
use crate::checkpoint::ledger::Ledger;
use crate::checkpoint::remote::There;
use crate::checkpoint::restore::Prospect;
use crate::checkpoint::store::{About, Lock, Snapshot, Store, hashed, origin};
use crate::checkpoint::tree::Tree;
use crate::checkpoint::{CheckpointError, CheckpointId, Restored, Settings};
use crate::remote::Base;
use crate::session::RemoteSite;
use crate::shell::SessionError;
use crate::shell::pace::Pace;
use crate::target::Target;

/// The workspace of a session.
#[derive(Clone, Debug)]
pub(super) enum CheckpointTarget {
    /// On this machine.
    Here,
    /// At a target.
    There(Arc<RemoteWorkspace>),
}

/// A workspace at a target.
#[derive(Debug)]
pub(super) struct RemoteWorkspace {
    there: There,
    place: Arc<RemoteSite>,
    /// What no other workspace is called, here or elsewhere: no path begins like it.
    name: String,
}

impl CheckpointTarget {
    /// What tells it from all others.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Here => "",
            Self::There(remote) => &remote.name,
        }
    }

    /// The target that it is at, as records name it.
    pub(super) fn target(&self) -> Option<Redacted> {
        match self {
            Self::Here => None,
            Self::There(remote) => Some(remote.place.end.target.clone()),
        }
    }
}

/// The workspaces that checkpoints are of, on this machine and at targets, with their stores.
#[derive(Clone, Copy, Debug)]
pub(super) struct Workspaces<'a> {
    pub(super) state: &'a Arc<PipelineState>,
}

impl<'a> Workspaces<'a> {
    /// Where a session's workspace lies.
    ///
    /// # Errors
    /// There is no such session, it has ended, or there can be no checkpoints where it is.
    pub(super) fn of_session(self, session: &str) -> Result<CheckpointTarget, Failure> {
        let note = self.state.session_registry.note(session).map_err(|error| self.state.failure(&error))?;
        match (note.elsewhere, note.base) {
            (None, _) => Ok(CheckpointTarget::Here),
            (Some(place), Some(base)) => self.at_target(base, place),
            (Some(_), None) => Err(self.state.failure(&SessionError::Unknown)),
        }
    }

    /// The workspace that a session works in; without one, that of this machine.
    ///
    /// # Errors
    /// As [`Self::of_session`].
    pub(super) fn through(self, session: Option<&str>) -> Result<CheckpointTarget, Failure> {
        session.map_or(Ok(CheckpointTarget::Here), |session| self.of_session(session))
    }

    /// Where the workspace of a command lies that is about to run.
    ///
    /// # Errors
    /// There can be no checkpoints there.
    pub(super) fn of_seat(self, seat: &mut ExecTarget) -> Result<CheckpointTarget, Failure> {
        let session = seat.lease.as_mut().and_then(|lease| lease.session());
        let there = match session {
            Some(session) => session.base().zip(session.place().cloned()),
            None => seat.there.clone(),
        };
        match there {
            Some((base, place)) => self.at_target(base, place),
            None if seat.elsewhere.is_some() => Err(self.state.failure(&SessionError::Unknown)),
            None => Ok(CheckpointTarget::Here),
        }
    }

    fn at_target(self, base: Base, place: Arc<RemoteSite>) -> Result<CheckpointTarget, Failure> {
        let Some(target) = self.state.settings.targets.get(&place.name) else {
            return Err(self.state.failure(&SessionError::NoTarget));
        };
        let name = self.store_at(target, &place.workspace);
        let origin = tokio::task::block_in_place(|| origin(&self.state.settings.checkpoints.directory));
        let there = origin.and_then(|origin| {
            let kept = hashed(format!("{name}\0{origin}").as_bytes());
            There::new(base, place.workspace.clone(), &target.state, &kept)
        });
        let there = there.map_err(|error| self.state.failure(&error))?;
        Ok(CheckpointTarget::There(Arc::new(RemoteWorkspace { there, place, name })))
    }

    /// The name of the lists of a workspace at a target. What one principal keeps there is no other's, though the workspace may be.
    fn store_at(self, target: &Target, workspace: &AbsolutePath) -> String {
        let principal = &self.state.settings.surroundings.principal;
        let of = [target.name.as_str(), target.user(), workspace.as_str(), &principal.agent, &principal.user];
        format!("target\0{}", of.join("\0"))
    }

    /// What policies call the workspace.
    pub(super) fn path(self, ground: &'a CheckpointTarget) -> &'a AbsolutePath {
        match ground {
            CheckpointTarget::Here => &self.state.settings.surroundings.workspace,
            CheckpointTarget::There(remote) => &remote.place.workspace,
        }
    }

    /// What policy is told of a session between two of its commands.
    pub(super) fn facts_in(self, ground: &CheckpointTarget, session: &str, client: &Client) -> Facts {
        match ground {
            CheckpointTarget::Here => self.facts_here(session, client),
            CheckpointTarget::There(remote) => self.state.facts_at(session, &remote.place, client),
        }
    }

    /// Does something with a workspace's store, on a thread that may wait for a disk.
    pub(super) async fn in_store<T: Send + 'static>(
        self,
        ground: &CheckpointTarget,
        work: impl FnOnce(&Store) -> Result<T, CheckpointError> + Send + 'static,
    ) -> Result<(Arc<Store>, T), Failure> {
        let Settings { directory, scope, .. } = self.state.settings.checkpoints.clone();
        let (ground, workspace) = (ground.clone(), self.path(ground).clone());
        let done = tokio::task::spawn_blocking(move || {
            let workspace = Path::new(workspace.as_str());
            let store = match &ground {
                CheckpointTarget::Here => Store::open(&directory, workspace, scope)?,
                CheckpointTarget::There(remote) => Store::open_lists(&directory, &remote.name, workspace, scope)?,
            };
            work(&store).map(|done| (Arc::new(store), done))
        });
        match done.await {
            Ok(done) => done.map_err(|error| self.state.failure(&error)),
            Err(_) => Err(self.state.failure(&SessionError::Unknown)),
        }
    }

    /// Takes a checkpoint; with `reuse` the last one serves if it was taken for the same session and nothing has changed since.
    pub(super) async fn take(
        self,
        ground: &CheckpointTarget,
        about: About,
        reuse: bool,
        pace: Arc<Pace>,
    ) -> Result<(Arc<Store>, Snapshot), Failure> {
        let CheckpointTarget::There(remote) = ground else {
            let take = if reuse { Store::take_if_changed } else { Store::take };
            return self.in_store(ground, move |store| take(store, &store.lock_while(&pace)?, &about, &pace)).await;
        };
        let (store, held) = self.locked(ground, &pace).await?;
        let taken = remote.there.take(&store, &held, &about, reuse, &pace).await;
        taken.map(|snapshot| (store, snapshot)).map_err(|error| self.state.failure(&error))
    }

    /// What there is in the workspace now.
    pub(super) async fn walk(self, ground: &CheckpointTarget, store: &Arc<Store>) -> Result<Tree, CheckpointError> {
        match ground {
            CheckpointTarget::Here => {
                let store = Arc::clone(store);
                let walked = tokio::task::spawn_blocking(move || store.walk().map(|(_, tree)| tree)).await;
                walked.unwrap_or(Err(CheckpointError::Stopped))
            }
            CheckpointTarget::There(remote) => remote.there.walk(store.scope(), &self.state.readings.pace()).await,
        }
    }

    /// What going back to a checkpoint would do.
    pub(super) async fn look(self, ground: &CheckpointTarget, to: &str, ledger: Ledger) -> Result<Prospect, Failure> {
        let to = to.to_owned();
        let CheckpointTarget::There(remote) = ground else {
            return self.in_store(ground, move |store| store.look(&to, &ledger)).await.map(|(_, prospect)| prospect);
        };
        let (store, ()) = self.in_store(ground, |_| Ok(())).await?;
        remote.there.look(&store, &to, &ledger).await.map_err(|error| self.state.failure(&error))
    }

    /// Goes back, to the end whether or not anybody waits for it. What the session made goes into its ledger.
    pub(super) async fn put_back(
        self,
        ground: &CheckpointTarget,
        prospect: Prospect,
        force: bool,
        session: &str,
        track: Arc<Mutex<Ledger>>,
    ) -> Result<Restored, Failure> {
        let owner = session.to_owned();
        let known = |track: &Mutex<Ledger>| track.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let CheckpointTarget::There(remote) = ground else {
            let done = self.in_store(ground, move |store| {
                let held = store.lock()?;
                let mut ledger = known(&track);
                let restored = store.restore(&held, prospect, force, &owner, &mut ledger)?;
                *track.lock().unwrap_or_else(PoisonError::into_inner) = ledger;
                Ok(restored)
            });
            return done.await.map(|(_, restored)| restored);
        };
        let (store, held) = self.locked(ground, &Arc::new(Pace::default())).await?;
        let remote = Arc::clone(remote);
        let done = tokio::spawn(async move {
            let mut ledger = known(&track);
            let restored = remote.there.restore(&store, &held, prospect, force, &owner, &mut ledger).await?;
            *track.lock().unwrap_or_else(PoisonError::into_inner) = ledger;
            Ok::<_, CheckpointError>(restored)
        });
        match done.await {
            Ok(done) => done.map_err(|error| self.state.failure(&error)),
            Err(_) => Err(self.state.failure(&SessionError::Unknown)),
        }
    }

    /// Gives up checkpoints and what only they need. What a target keeps of them goes as far as it can be asked.
    pub(super) async fn remove(
        self,
        ground: &CheckpointTarget,
        held: Lock,
        ids: Vec<CheckpointId>,
    ) -> Result<(), Failure> {
        let CheckpointTarget::There(remote) = ground else {
            return self.in_store(ground, move |store| store.remove(&held, &ids)).await.map(drop);
        };
        let (_, (spare, _held)) =
            self.in_store(ground, move |store| store.remove_lists(&held, &ids).map(|spare| (spare, held))).await?;
        if let Err(error) = remote.there.forget(&spare).await {
            tracing::warn!(%error, "a target may keep what no checkpoint of its workspace needs any more");
        }
        Ok(())
    }

    /// Lets go of all that a target keeps and no checkpoint of its workspace needs, whatever left it there.
    ///
    /// # Errors
    /// The store cannot be read, or the target not be asked.
    pub(super) async fn sweep(self, ground: &CheckpointTarget) -> Result<(), Failure> {
        let CheckpointTarget::There(remote) = ground else { return Ok(()) };
        let (store, _held) = self.locked(ground, &Arc::new(Pace::default())).await?;
        let needed = tokio::task::block_in_place(|| store.needed_there());
        let needed = needed.map_err(|error| self.state.failure(&error))?;
        remote.there.sweep(&needed).await.map_err(|error| self.state.failure(&error))
    }

    /// As [`Self::remove`], for what was taken just now, once nobody else writes to the store.
    pub(super) async fn take_away(self, ground: &CheckpointTarget, id: CheckpointId) -> Result<(), Failure> {
        let (_, held) = self.locked(ground, &Arc::new(Pace::default())).await?;
        self.remove(ground, held, vec![id]).await
    }

    async fn locked(self, ground: &CheckpointTarget, pace: &Arc<Pace>) -> Result<(Arc<Store>, Lock), Failure> {
        let pace = Arc::clone(pace);
        self.in_store(ground, move |store| store.lock_while(&pace)).await
    }

    pub(super) fn facts_here(self, session: &str, client: &Client) -> Facts {
        let occasion = self.state.occasion_named(session, self.state.settings.cwd.clone(), None);
        self.state.settings.surroundings.facts(&occasion).with(client)
    }
}

impl Checkpoints<'_> {
    /// The checkpoints of the workspace at a target, oldest first, without asking there: the lists are here. None where the settings do
    /// not say which directory that is.
    ///
    /// # Errors
    /// There is no such target, or the store cannot be read.
    pub async fn list_at(self, target: &str) -> Result<Option<Vec<CheckpointNote>>, Failure> {
        let Some(target) = self.state.settings.targets.get(target) else {
            return Err(self.state.failure(&SessionError::NoTarget));
        };
        let Some(workspace) = target.workspace.clone() else { return Ok(None) };
        let name = self.state.workspaces().store_at(target, &workspace);
        let Settings { directory, scope, .. } = self.state.settings.checkpoints.clone();
        let listed = tokio::task::spawn_blocking(move || {
            Store::open_lists(&directory, &name, Path::new(workspace.as_str()), scope)?.list()
        });
        match listed.await {
            Ok(Ok(all)) => Ok(Some(all.iter().map(|checkpoint| self.note(checkpoint)).collect())),
            Ok(Err(error)) => Err(self.state.failure(&error)),
            Err(_) => Err(self.state.failure(&SessionError::Unknown)),
        }
    }
}
