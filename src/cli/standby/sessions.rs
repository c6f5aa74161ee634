//! The sessions that callers name, and where each of them stands.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use palisade_runner::{Call, Client, Failure, Pipeline};

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
pub(super) struct Turn(#[expect(dead_code, reason = "held, not read")] Option<tokio::sync::OwnedMutexGuard<()>>);

impl Sessions {
    /// Puts a call into the session of this name, which is opened or restarted if need be. While another command runs in it, the call gets a
    /// shell of its own that begins as the session's stood before that command.
    ///
    /// # Errors
    /// If the session cannot be opened.
    pub(super) async fn place(
        &self,
        pipeline: &Pipeline,
        name: &str,
        cwd: &Path,
        call: Call,
    ) -> Result<(Call, Turn), Failure> {
        let named = Arc::clone(self.lock().entry(name.to_owned()).or_default());
        let mut opened = named.opened.lock().await;
        let id = match opened.as_ref() {
            Some(known) => self.renewed(pipeline, &known.id).await?,
            None => None,
        };
        let (id, moved) = match (id, opened.as_ref()) {
            // A caller that stands elsewhere than before has gone there by itself; else the session stands where its commands have led it.
            (Some(id), Some(known)) => (id, known.caller != cwd),
            _ => (pipeline.sessions().open(cwd.to_str(), &Client::default()).await?.session.as_str().to_owned(), false),
        };
        *opened = Some(Opened { id: id.clone(), caller: cwd.to_owned() });
        let turn = if call.apart { None } else { Arc::clone(&named.turn).try_lock_owned().ok() };
        let directory = moved.then(|| cwd.to_str().map(str::to_owned)).flatten();
        let call = Call { session: Some(id), cwd: directory, apart: turn.is_none(), ..call };
        Ok((call, Turn(turn)))
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
