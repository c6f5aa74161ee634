//! What sessions have made of the workspace since they have a checkpoint to go back to: looked at before and behind each command.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Failure;
use super::auto_checkpoint::NO_SESSION;
use super::checkpoint_target::{CheckpointTarget, Workspaces};
use crate::checkpoint::ledger::Ledger;
use crate::checkpoint::store::Store;
use crate::checkpoint::tree::Tree;

/// The ledgers of the sessions that there are, by session and the name of the workspace; those of others lie on the disk alone.
#[derive(Debug, Default)]
pub(super) struct WorkspaceChanges(Mutex<Ledgers>);

type Ledgers = BTreeMap<(String, String), Arc<Mutex<Ledger>>>;

impl WorkspaceChanges {
    fn of(&self, ground: &str, session: &str) -> Option<Arc<Mutex<Ledger>>> {
        self.all().get(&(session.to_owned(), ground.to_owned())).cloned()
    }

    /// Keeps a session's ledger, unless there is one already, and no longer those of sessions that are gone.
    fn keep(&self, ground: &str, session: &str, ledger: Ledger, open: &BTreeSet<String>) -> Arc<Mutex<Ledger>> {
        let mut all = self.all();
        all.retain(|(name, _), _| name == session || name == NO_SESSION || open.contains(name));
        Arc::clone(all.entry((session.to_owned(), ground.to_owned())).or_insert_with(|| Arc::new(Mutex::new(ledger))))
    }

    /// A session is closed.
    pub(super) fn forget(&self, session: &str) {
        self.all().retain(|(name, _), _| name != session);
    }

    fn all(&self) -> MutexGuard<'_, Ledgers> {
        // Nothing that holds the lock can fail half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A look at the workspace before a command of a session that has a way back.
pub(super) struct Watched {
    ground: CheckpointTarget,
    session: String,
    ledger: Arc<Mutex<Ledger>>,
    store: Arc<Store>,
    before: Tree,
}

impl Workspaces<'_> {
    /// What a session has made, as far as it is known; from here on what each of its commands makes.
    ///
    /// # Errors
    /// What was put down of it cannot be read.
    pub(super) async fn track(self, ground: &CheckpointTarget, session: &str) -> Result<Arc<Mutex<Ledger>>, Failure> {
        if let Some(ledger) = self.state.workspace_changes.of(ground.name(), session) {
            return Ok(ledger);
        }
        let name = session.to_owned();
        let (_, ledger) = self.in_store(ground, move |store| store.side_files().ledger(&name)).await?;
        let open = self.state.session_registry.notes().into_iter().map(|note| note.id).collect();
        Ok(self.state.workspace_changes.keep(ground.name(), session, ledger, &open))
    }

    /// A look before a command, if its session has a way back. `before` is what a look just now has shown.
    pub(super) async fn look_before(
        self,
        ground: Option<CheckpointTarget>,
        session: &str,
        before: Option<Tree>,
    ) -> Option<Watched> {
        let ground = ground?;
        let ledger = self.state.workspace_changes.of(ground.name(), session)?;
        let (store, ()) = self.in_store(&ground, |_| Ok(())).await.ok()?;
        let before = match before {
            Some(before) => before,
            None => self.walk(&ground, &store).await.ok()?,
        };
        Some(Watched { ground, session: session.to_owned(), ledger, store, before })
    }

    /// And behind it. What cannot be told counts as somebody else's, which no restore touches.
    pub(super) async fn look_behind(self, watched: Option<Watched>) {
        let Some(Watched { ground, session, ledger, store, before }) = watched else { return };
        let learnt = match self.walk(&ground, &store).await {
            Ok(after) => {
                let learnt = tokio::task::spawn_blocking(move || {
                    let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
                    ledger.ran(&before, &after);
                    store.side_files().keep_ledger(&session, &ledger)
                });
                learnt.await.unwrap_or(Ok(()))
            }
            Err(error) => Err(error),
        };
        if let Err(error) = learnt {
            tracing::warn!(%error, "what a command made of the workspace is not known");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ledgers_of_sessions_that_are_gone_are_not_held() {
        let tracks = WorkspaceChanges::default();
        let open = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<String>>();
        let held = || tracks.all().keys().map(|(name, _)| name.clone()).collect::<BTreeSet<String>>();
        for name in ["s-1", NO_SESSION, "s-2"] {
            tracks.keep("", name, Ledger::default(), &open(&["s-1", "s-2"]));
        }
        assert_eq!(held(), open(&["s-1", "s-2", NO_SESSION]));
        tracks.forget("s-1");
        assert_eq!(held(), open(&["s-2", NO_SESSION]));
        // One that ended in whatever way: the next one that begins is enough.
        tracks.keep("", "s-3", Ledger::default(), &open(&["s-3"]));
        assert_eq!(held(), open(&["s-3", NO_SESSION]));
    }
}
