//! The open sessions: names, admission, one script at a time, the end of all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use palisade_engine::AbsolutePath;
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore, watch};

use crate::session::{Session, SessionError};

/// All sessions of one server process.
#[derive(Debug)]
pub struct Sessions {
    slots: Mutex<BTreeMap<String, Slot>>,
    places: Arc<Semaphore>,
    max: usize,
}

#[derive(Clone, Debug)]
struct Slot {
    session: Arc<tokio::sync::Mutex<Option<Session>>>,
    closing: watch::Sender<bool>,
    note: Arc<Mutex<Note>>,
    _place: Arc<Place>,
}

/// A place among the sessions that may be open at once; free again when it is dropped.
#[derive(Debug)]
pub struct Place(#[expect(dead_code, reason = "held for its Drop")] OwnedSemaphorePermit);

/// What is known of a session without waiting for it.
#[derive(Clone, Debug)]
pub struct Note {
    /// Its name.
    pub id: String,
    /// Since when it lives.
    pub opened: Instant,
    /// Scripts that it has run.
    pub commands: u64,
    /// The working directory after the last of them.
    pub cwd: AbsolutePath,
}

/// A session in use by one call. Whoever drops it without [`Lease::give_back`] has been interrupted in the middle of a
/// script: the session is then ended, since nobody knows what state it is in.
#[derive(Debug)]
pub struct Lease<'a> {
    sessions: &'a Sessions,
    slot: Slot,
    guard: OwnedMutexGuard<Option<Session>>,
    /// Taken out of the guard, so that an interrupted call leaves the slot empty.
    session: Option<Session>,
    closing: watch::Receiver<bool>,
}

impl Sessions {
    /// Room for `max` sessions at once.
    pub fn new(max: usize) -> Self {
        Self { slots: Mutex::default(), places: Arc::new(Semaphore::new(max)), max }
    }

    /// A place for one more session.
    ///
    /// # Errors
    /// If all are taken.
    pub fn admit(&self) -> Result<Place, SessionError> {
        Arc::clone(&self.places).try_acquire_owned().map(Place).map_err(|_| SessionError::Full(self.max))
    }

    /// Keeps an open session under its name.
    pub fn insert(&self, session: Session, place: Place) {
        let note = Note {
            id: session.id().as_str().to_owned(),
            opened: session.opened(),
            commands: session.commands(),
            cwd: session.cwd().clone(),
        };
        let id = note.id.clone();
        let slot = Slot {
            session: Arc::new(tokio::sync::Mutex::new(Some(session))),
            closing: watch::Sender::new(false),
            note: Arc::new(Mutex::new(note)),
            _place: Arc::new(place),
        };
        self.lock().insert(id, slot);
    }

    /// Waits for a session's turn.
    ///
    /// # Errors
    /// If there is none of that name, or it ends before its turn comes.
    pub async fn lease(&self, id: &str) -> Result<Lease<'_>, SessionError> {
        let slot = self.lock().get(id).cloned().ok_or(SessionError::Unknown)?;
        let mut closing = slot.closing.subscribe();
        let turn = Arc::clone(&slot.session).lock_owned();
        let mut guard = tokio::select! {
            guard = turn => guard,
            _ = closing.wait_for(|closing| *closing) => return Err(SessionError::Unknown),
        };
        let session = guard.take();
        if session.is_none() {
            self.lock().remove(id);
            return Err(SessionError::Unknown);
        }
        Ok(Lease { sessions: self, slot, guard, session, closing })
    }

    /// Ends a session and everything in it, also in the middle of a script.
    ///
    /// # Errors
    /// If there is none of that name.
    pub async fn close(&self, id: &str) -> Result<(), SessionError> {
        let slot = self.lock().remove(id).ok_or(SessionError::Unknown)?;
        slot.closing.send_replace(true);
        if let Some(session) = slot.session.lock().await.take() {
            session.close().await;
        }
        Ok(())
    }

    /// Ends them all; the names of those that were open.
    pub async fn close_all(&self) -> Vec<String> {
        let open: Vec<String> = self.lock().keys().cloned().collect();
        for id in &open {
            let _gone_already = self.close(id).await;
        }
        open
    }

    /// The open sessions, by name.
    pub fn notes(&self) -> Vec<Note> {
        let slots: Vec<Slot> = self.lock().values().cloned().collect();
        slots.iter().map(|slot| slot.note.lock().unwrap_or_else(PoisonError::into_inner).clone()).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Slot>> {
        // Nothing that holds the lock can fail half-way.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease<'_> {
    /// The session, while nobody has closed it.
    pub fn session(&mut self) -> Option<&mut Session> {
        self.session.as_mut()
    }

    /// A receiver that turns true when the session is being closed.
    pub fn closing(&self) -> watch::Receiver<bool> {
        self.closing.clone()
    }

    /// Puts the session back, ready for the next script.
    pub fn give_back(mut self) {
        if let Some(session) = self.session.take() {
            let mut note = self.slot.note.lock().unwrap_or_else(PoisonError::into_inner);
            note.commands = session.commands();
            note.cwd = session.cwd().clone();
            drop(note);
            *self.guard = Some(session);
        }
    }

    /// Ends the session: what it ran has ended its shell.
    pub async fn end(mut self) {
        let id = self.slot.note.lock().unwrap_or_else(PoisonError::into_inner).id.clone();
        self.sessions.lock().remove(&id);
        if let Some(session) = self.session.take() {
            session.close().await;
        }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if self.session.is_some() {
            let id = self.slot.note.lock().unwrap_or_else(PoisonError::into_inner).id.clone();
            self.sessions.lock().remove(&id);
        }
    }
}
