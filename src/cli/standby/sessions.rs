//! The sessions that callers name, and where each of them stands.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use palisade_runner::{Call, Client, Failure, Pipeline};
use tokio::sync::OwnedMutexGuard;

/// Sessions by the name that a caller has for each.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    named: Mutex<BTreeMap<String, Arc<Named>>>,
}

/// One of them.
#[derive(Debug, Default)]
struct Named {
    /// Held while it is opened, so that two calls do not open two.
    opened: tokio::sync::Mutex<Option<Opened>>,
    /// Held by the call that runs in it.
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Clone, Debug)]
struct Opened {
    /// The pipeline's name for it.
    id: String,
    /// Where its last caller stood.
    caller: PathBuf,
}

/// A call's place in a session, as long as it is held.
#[derive(Debug)]
pub(super) struct SessionTurn {
    named: Arc<Named>,
    cwd: PathBuf,
    /// None: the call runs beside the session.
    held: Option<OwnedMutexGuard<()>>,
}

impl SessionTurn {
    /// Whether the call runs beside its session because another one runs in it.
    pub(super) fn is_beside(&self) -> bool {
        self.held.is_none()
    }

    /// The session has run the call, for a caller that stands there.
    pub(super) async fn ran(self) {
        if self.held.is_some()
            && let Some(opened) = self.named.opened.lock().await.as_mut()
        {
            opened.caller = self.cwd;
        }
    }
}

impl Sessions {
    /// Puts a call into the session of this name, which is opened or restarted if need be. While another command runs in it, the call gets a
    /// shell of its own that begins as the session's stood before that command. A call that is `rooted` begins where its caller stands,
    /// wherever the one before it has gone.
    ///
    /// # Errors
    /// If the session cannot be opened.
    pub(super) async fn place(
        &self,
        pipeline: &Pipeline,
        name: &str,
        cwd: &Path,
        rooted: bool,
        call: Call,
    ) -> Result<(Call, SessionTurn), Failure> {
        let named = Arc::clone(self.lock().entry(name.to_owned()).or_default());
        let mut opened = named.opened.lock().await;
        let id = match opened.as_ref() {
            Some(known) => self.renewed(pipeline, &known.id).await?,
            None => None,
        };
        let (id, caller) = match (id, opened.as_ref()) {
            (Some(id), Some(known)) => (id, known.caller.clone()),
            _ => {
                let new = pipeline.sessions().open(cwd.to_str(), &Client::default()).await?;
                (new.session.as_str().to_owned(), cwd.to_owned())
            }
        };
        // A caller that stands elsewhere than before has gone there by itself; else the session stands where its commands have led it.
        let moved = rooted || caller != cwd;
        *opened = Some(Opened { id: id.clone(), caller });
        drop(opened);
        let held = if call.apart { None } else { Arc::clone(&named.turn).try_lock_owned().ok() };
        let directory = moved.then(|| cwd.to_str().map(str::to_owned)).flatten();
        let call = Call { session: Some(id), cwd: directory, apart: held.is_none(), ..call };
        Ok((call, SessionTurn { named, cwd: cwd.to_owned(), held }))
    }

    /// The same session with a shell, if it is still there.
    async fn renewed(&self, pipeline: &Pipeline, id: &str) -> Result<Option<String>, Failure> {
        let notes = pipeline.sessions().list().await;
        let Some(note) = notes.iter().find(|note| note.session.as_str() == id) else { return Ok(None) };
        if note.ended.is_none() {
            return Ok(Some(id.to_owned()));
        }
        pipeline.sessions().restart(id, &Client::default()).await.map(|opened| Some(opened.session.as_str().to_owned()))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Named>>> {
        // Nothing that holds the lock can fail half-way.
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
