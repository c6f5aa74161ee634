//! The open sessions: names, admission, one script at a time, the end of all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use palisade_engine::AbsolutePath;
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore, watch};

use crate::remote::Base;
use crate::session::{ClosedSession, RemoteSite, Session, ShellSnapshot};
use crate::shell::deadline::Deadline;
use crate::shell::{SessionError, ShellLoss};

/// All sessions of one server process.
#[derive(Debug)]
pub struct SessionRegistry {
    slots: Mutex<BTreeMap<String, Slot>>,
    /// Sessions whose shell is gone and that can be had again.
    ended: Mutex<BTreeMap<String, Ended>>,
    places: Arc<Semaphore>,
    max: usize,
}

#[derive(Clone, Debug)]
struct Slot {
    kept: Arc<tokio::sync::Mutex<SlotContent>>,
    closing: watch::Sender<bool>,
    /// The job that holds the session, if one does.
    held: watch::Sender<Option<String>>,
    /// Something runs in it of which nobody has been told that it has ended.
    runs: watch::Sender<bool>,
    note: Arc<Mutex<Note>>,
    _permit: Arc<SessionPermit>,
}

/// The content of a slot: what is kept of a session between calls.
#[derive(Debug, Default)]
enum SlotContent {
    /// Its shell.
    Live(Box<Session>),
    /// Its shell was ended because of the rules that it was held to; the next call starts another.
    Suspended(Box<ClosedSession>),
    /// Somebody has it, or it ended under the one who had it.
    #[default]
    Taken,
}

/// A session whose shell is gone.
#[derive(Debug)]
struct Ended {
    why: ShellLoss,
    since: Instant,
    remains: ClosedSession,
}

/// A permit to open one of the sessions that may be open at once; given back when it is dropped.
#[derive(Debug)]
pub struct SessionPermit(#[expect(dead_code, reason = "held for its Drop")] OwnedSemaphorePermit);

/// What is known of a session without waiting for it.
#[derive(Clone, Debug)]
pub struct Note {
    /// Its name.
    pub id: String,
    /// Since when it lives.
    pub opened: Instant,
    /// When it was last given something to do, or came to the end of it.
    pub used: Instant,
    /// Scripts that it has run.
    pub commands: u64,
    /// The working directory after the last of them.
    pub cwd: AbsolutePath,
    /// What its shell is, for another one to begin with.
    pub beginning: ShellSnapshot,
    /// It runs something.
    pub busy: bool,
    /// The job that holds it.
    pub job: Option<String>,
    /// Why its shell is gone, if it is.
    pub ended: Option<ShellLoss>,
    /// Its shell is gone, and the next command starts another.
    pub suspended: bool,
    /// Where it is, if it is not on this machine.
    pub elsewhere: Option<Arc<RemoteSite>>,
    /// What others are started from over its connection, if it is not on this machine.
    pub(crate) base: Option<Base>,
    /// Which of the server's rules it was last judged by, by number.
    pub(crate) rules: u64,
}

/// A session in use by one call. Whoever drops it without [`Lease::give_back`] has been interrupted in the middle of a
/// script: the session is then ended, since nobody knows what state it is in.
#[derive(Debug)]
pub struct Lease {
    sessions: Arc<SessionRegistry>,
    slot: Slot,
    guard: OwnedMutexGuard<SlotContent>,
    /// Taken out of the guard, so that an interrupted call leaves the slot empty.
    kept: SlotContent,
    closing: watch::Receiver<bool>,
}

impl SessionRegistry {
    /// Room for `max` sessions at once.
    pub fn new(max: usize) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(max));
        Arc::new(Self { slots: Mutex::default(), ended: Mutex::default(), places, max })
    }

    /// A place for one more session.
    ///
    /// # Errors
    /// If all are taken.
    pub fn admit(&self) -> Result<SessionPermit, SessionError> {
        Arc::clone(&self.places).try_acquire_owned().map(SessionPermit).map_err(|_| SessionError::Full(self.max))
    }

    /// Keeps an open session under its name.
    pub fn insert(&self, session: Session, permit: SessionPermit) {
        let note = Note {
            id: session.id().as_str().to_owned(),
            opened: session.opened(),
            used: Instant::now(),
            commands: session.commands(),
            cwd: session.cwd().clone(),
            beginning: session.beginning(),
            busy: false,
            job: None,
            ended: None,
            suspended: false,
            elsewhere: session.place().cloned(),
            base: session.base(),
            rules: session.rules(),
        };
        let id = note.id.clone();
        let slot = Slot {
            kept: Arc::new(tokio::sync::Mutex::new(SlotContent::Live(Box::new(session)))),
            closing: watch::Sender::new(false),
            held: watch::Sender::new(None),
            runs: watch::Sender::new(false),
            note: Arc::new(Mutex::new(note)),
            _permit: Arc::new(permit),
        };
        lock(&self.slots).insert(id, slot);
    }

    /// Waits for a session's turn, at a target until the deadline of the command that is to run in it. What other commands run there
    /// meanwhile does not count: behind each of them it begins anew.
    ///
    /// # Errors
    /// If there is none of that name, its shell is gone, a job holds it, it ends before its turn comes, or the deadline has passed.
    pub(crate) async fn lease(self: &Arc<Self>, id: &str, deadline: &mut Deadline) -> Result<Lease, SessionError> {
        let slot = lock(&self.slots).get(id).cloned().ok_or_else(|| self.missing(id))?;
        let (mut closing, mut held) = (slot.closing.subscribe(), slot.held.subscribe());
        let turn = Arc::clone(&slot.kept).lock_owned();
        let mut queue = Queue { runs: slot.runs.subscribe(), deadline, is_behind: false };
        let is_elsewhere = slot.note(|note| note.elsewhere.is_some());
        let mut guard = tokio::select! {
            biased;
            guard = turn => guard,
            () = queue.is_too_long(), if is_elsewhere => return Err(SessionError::NotFree),
            job = held.wait_for(Option::is_some) => {
                let job = job.ok().and_then(|job| job.clone()).unwrap_or_default();
                return Err(SessionError::Busy { job });
            }
            _ = closing.wait_for(|closing| *closing) => return Err(SessionError::Unknown),
        };
        queue.is_over();
        let kept = std::mem::take(&mut *guard);
        if matches!(kept, SlotContent::Taken) {
            self.forget(id, &slot);
            return Err(self.missing(id));
        }
        slot.note(|note| {
            note.busy = true;
            note.used = Instant::now();
        });
        Ok(Lease { sessions: Arc::clone(self), slot, guard, kept, closing })
    }

    /// Whoever waits for what runs in a session was told of its end.
    pub(crate) fn told(&self, id: &str) {
        if let Some(slot) = lock(&self.slots).get(id) {
            slot.runs.send_replace(false);
        }
    }

    /// What is known of one session, without waiting for it.
    ///
    /// # Errors
    /// If there is none of that name, or its shell is gone.
    pub fn note(&self, id: &str) -> Result<Note, SessionError> {
        let slot = lock(&self.slots).get(id).cloned().ok_or_else(|| self.missing(id))?;
        Ok(slot.note(|note| note.clone()))
    }

    /// Says which job holds a session, or that none does any more.
    pub fn hold(&self, id: &str, job: Option<&str>) {
        if let Some(slot) = lock(&self.slots).get(id) {
            slot.held.send_replace(job.map(str::to_owned));
            slot.note(|note| note.job = job.map(str::to_owned));
        }
    }

    /// Ends a session and everything in it, also in the middle of a script, and forgets it.
    ///
    /// # Errors
    /// If there is none of that name.
    pub async fn close(&self, id: &str) -> Result<(), SessionError> {
        let Some(slot) = lock(&self.slots).remove(id) else {
            return lock(&self.ended).remove(id).map(drop).ok_or(SessionError::Unknown);
        };
        slot.closing.send_replace(true);
        if let SlotContent::Live(session) = std::mem::take(&mut *slot.kept.lock().await) {
            session.close().await;
        }
        lock(&self.ended).remove(id);
        Ok(())
    }

    /// Ends the shells of all, each as soon as nothing runs in it, and keeps what is left for the shells that take their
    /// place; the names of those that this ended here.
    pub async fn suspend_all(self: &Arc<Self>, stale: impl Fn(&Session) -> bool) -> Vec<String> {
        let open: Vec<String> = lock(&self.slots).keys().cloned().collect();
        let mut ended = Vec::new();
        for id in open {
            // Not by way of `lease`: a job may hold it until its end is on record.
            let Some(slot) = lock(&self.slots).get(&id).cloned() else { continue };
            let mut kept = slot.kept.lock().await;
            if !matches!(&*kept, SlotContent::Live(session) if stale(session)) {
                continue;
            }
            if let SlotContent::Live(session) = std::mem::take(&mut *kept) {
                *kept = SlotContent::Suspended(Box::new(session.close().await));
                slot.note(|note| note.suspended = true);
                ended.push(id);
            }
        }
        ended
    }

    /// Ends the shells of some, each as soon as nothing runs in it, and keeps what is left of them for whoever opens them again; the names
    /// of those that this ended.
    pub async fn end_where(&self, why: ShellLoss, is_one: impl Fn(&Session) -> bool) -> Vec<String> {
        let open: Vec<(String, Slot)> = lock(&self.slots).iter().map(|(id, slot)| (id.clone(), slot.clone())).collect();
        let mut ended = Vec::new();
        for (id, slot) in open {
            let mut kept = slot.kept.lock().await;
            if !matches!(&*kept, SlotContent::Live(session) if is_one(session)) {
                continue;
            }
            if let SlotContent::Live(session) = std::mem::take(&mut *kept) {
                let remains = session.close().await;
                if self.forget(&id, &slot) {
                    self.keep(why, remains);
                }
                ended.push(id);
            }
        }
        ended
    }

    /// Ends them all, side by side, so that one that takes its time leaves none of the others alive; the names of those
    /// that were open.
    pub async fn close_all(self: &Arc<Self>) -> Vec<String> {
        let open: Vec<String> = lock(&self.slots).keys().cloned().collect();
        let mut ends = tokio::task::JoinSet::new();
        for id in open.clone() {
            let sessions = Arc::clone(self);
            ends.spawn(async move { sessions.close(&id).await });
        }
        // Those that are gone already are as they should be.
        while ends.join_next().await.is_some() {}
        lock(&self.ended).clear();
        open
    }

    /// Ends those that nobody has used for `idle` or that are older than `lifetime`, and forgets those that have ended
    /// as long ago; the names of the former. One that runs something is in use.
    pub async fn close_idle(&self, idle: Duration, lifetime: Option<Duration>) -> Vec<String> {
        lock(&self.ended).retain(|_, ended| ended.since.elapsed() < idle);
        let too_old = |note: &Note| lifetime.is_some_and(|lifetime| note.opened.elapsed() >= lifetime);
        let over = |note: &Note| !note.busy && note.used.elapsed() >= idle || too_old(note);
        let over: Vec<String> =
            self.notes().into_iter().filter(|note| note.ended.is_none() && over(note)).map(|note| note.id).collect();
        for id in &over {
            let _gone_already = self.close(id).await;
        }
        over
    }

    /// Takes what is left of a session whose shell is gone.
    ///
    /// # Errors
    /// If there is none of that name, or it has not ended.
    pub fn take_remains(&self, id: &str) -> Result<ClosedSession, SessionError> {
        if lock(&self.slots).contains_key(id) {
            return Err(SessionError::Lives);
        }
        lock(&self.ended).remove(id).map(|ended| ended.remains).ok_or(SessionError::Unknown)
    }

    /// The sessions, by name: the open ones, and those whose shell is gone.
    pub fn notes(&self) -> Vec<Note> {
        let slots: Vec<Slot> = lock(&self.slots).values().cloned().collect();
        let open = slots.iter().map(|slot| slot.note(|note| note.clone()));
        let ended = lock(&self.ended);
        let ended = ended.values().map(|ended| Note {
            id: ended.remains.id.as_str().to_owned(),
            opened: ended.remains.opened,
            used: ended.since,
            commands: ended.remains.commands,
            cwd: ended.remains.cwd.clone(),
            beginning: ended.remains.beginning.clone(),
            busy: false,
            job: None,
            ended: Some(ended.why),
            suspended: false,
            elsewhere: ended.remains.elsewhere.clone(),
            base: None,
            rules: 0,
        });
        open.chain(ended).collect()
    }

    /// Forgets a session; whether it was there. One that has taken its name since is another.
    fn forget(&self, id: &str, slot: &Slot) -> bool {
        let mut slots = lock(&self.slots);
        let is_it = slots.get(id).is_some_and(|there| Arc::ptr_eq(&there.kept, &slot.kept));
        if is_it {
            slots.remove(id);
        }
        is_it
    }

    fn missing(&self, id: &str) -> SessionError {
        lock(&self.ended).get(id).map_or(SessionError::Unknown, |ended| SessionError::Ended(ended.why))
    }

    /// Where a session was whose shell is gone, if that was not on this machine.
    pub(crate) fn was_elsewhere(&self, id: &str) -> Option<Arc<RemoteSite>> {
        lock(&self.ended).get(id).and_then(|ended| ended.remains.elsewhere.clone())
    }

    /// Keeps what is left of a session, and no more of these than sessions may be open.
    pub(crate) fn keep(&self, why: ShellLoss, remains: ClosedSession) {
        let mut ended = lock(&self.ended);
        ended.insert(remains.id.as_str().to_owned(), Ended { why, since: Instant::now(), remains });
        while ended.len() > self.max {
            let oldest = ended.iter().min_by_key(|(_, ended)| ended.since).map(|(id, _)| id.clone());
            oldest.and_then(|id| ended.remove(&id));
        }
    }
}

/// A call that waits for a session.
struct Queue<'a> {
    runs: watch::Receiver<bool>,
    deadline: &'a mut Deadline,
    /// It waits for the end of a command, and not for what comes behind that.
    is_behind: bool,
}

impl Queue<'_> {
    /// Waits until the deadline has passed while no command ran. Safe to drop.
    async fn is_too_long(&mut self) {
        loop {
            self.is_behind |= *self.runs.borrow();
            if self.runs.wait_for(|runs| !*runs).await.is_err() {
                return std::future::pending().await;
            }
            self.is_over();
            if tokio::time::timeout_at(self.deadline.at(), self.runs.wait_for(|runs| *runs)).await.is_err() {
                return;
            }
        }
    }

    /// No command stands before it any more.
    fn is_over(&mut self) {
        if std::mem::take(&mut self.is_behind) {
            *self.deadline = self.deadline.anew();
        }
    }
}

impl Slot {
    fn note<T>(&self, change: impl FnOnce(&mut Note) -> T) -> T {
        change(&mut lock(&self.note))
    }
}

impl Lease {
    /// The session, while nobody has closed it.
    pub fn session(&mut self) -> Option<&mut Session> {
        match &mut self.kept {
            SlotContent::Live(session) => Some(session),
            SlotContent::Suspended(_) | SlotContent::Taken => None,
        }
    }

    /// What is left of the session, if its shell is to be started again.
    pub fn remains(&self) -> Option<&ClosedSession> {
        match &self.kept {
            SlotContent::Suspended(remains) => Some(remains),
            SlotContent::Live(_) | SlotContent::Taken => None,
        }
    }

    /// Ends the shell and keeps what is left of the session; whether there was one.
    pub async fn suspend(&mut self) -> bool {
        let SlotContent::Live(session) = std::mem::take(&mut self.kept) else { return false };
        self.kept = SlotContent::Suspended(Box::new(session.close().await));
        self.slot.note(|note| note.suspended = true);
        true
    }

    /// Takes what is left of the session, for whoever starts a shell from it and gives that to [`Self::renew`].
    pub fn take_remains(&mut self) -> Option<ClosedSession> {
        match std::mem::take(&mut self.kept) {
            SlotContent::Suspended(remains) => Some(*remains),
            other => {
                self.kept = other;
                None
            }
        }
    }

    /// The shell that stands in the place of the one before.
    pub fn renew(&mut self, session: Session) {
        self.slot.note(|note| note.suspended = false);
        self.kept = SlotContent::Live(Box::new(session));
    }

    /// Forgets the session, of which nothing is left.
    pub fn forget(&self) {
        let id = self.slot.note(|note| note.id.clone());
        self.sessions.forget(&id, &self.slot);
    }

    /// A command begins in the session: whoever waits for it waits for that one's end.
    pub(crate) fn runs(&self) {
        self.slot.runs.send_replace(true);
    }

    /// A receiver that turns true when the session is being closed.
    pub fn closing(&self) -> watch::Receiver<bool> {
        self.closing.clone()
    }

    /// Puts the session back, ready for the next script.
    pub fn give_back(mut self) {
        let kept = std::mem::take(&mut self.kept);
        if matches!(kept, SlotContent::Taken) {
            return;
        }
        self.slot.note(|note| {
            let (commands, cwd, beginning) = match &kept {
                SlotContent::Live(session) => (session.commands(), session.cwd().clone(), session.beginning()),
                SlotContent::Suspended(remains) => (remains.commands, remains.cwd.clone(), remains.beginning.clone()),
                SlotContent::Taken => return,
            };
            (note.commands, note.cwd, note.beginning) = (commands, cwd, beginning);
            if let SlotContent::Live(session) = &kept {
                note.rules = session.rules();
            }
            note.used = Instant::now();
            note.busy = false;
            note.job = None;
        });
        self.slot.held.send_replace(None);
        self.slot.runs.send_replace(false);
        *self.guard = kept;
    }

    /// Ends the session, whose shell is gone. What is left of it is kept, unless somebody closes it.
    pub async fn end(mut self, why: ShellLoss) {
        let SlotContent::Live(session) = std::mem::take(&mut self.kept) else { return };
        let id = session.id().as_str().to_owned();
        let remains = session.close().await;
        if self.sessions.forget(&id, &self.slot) {
            self.sessions.keep(why, remains);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !matches!(self.kept, SlotContent::Taken) {
            self.forget();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing that holds one of these locks can fail half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_deadline_begins_anew_behind_each_command_that_stood_before() {
        let (switch, runs) = watch::channel(true);
        let first = Deadline::after(Duration::from_millis(1));
        let mut deadline = first;
        let mut queue = Queue { runs, deadline: &mut deadline, is_behind: false };
        // However long the one before takes.
        let waited = tokio::time::timeout(Duration::from_millis(50), queue.is_too_long()).await;
        assert!(waited.is_err(), "another command's time counts");
        switch.send_replace(false);
        queue.is_too_long().await;
        assert!(deadline.at() >= first.at() + Duration::from_millis(49) && deadline.has_passed());
    }

    #[tokio::test]
    async fn what_comes_behind_a_command_counts() {
        let (_switch, runs) = watch::channel(false);
        let first = Deadline::after(Duration::from_millis(1));
        let mut deadline = first;
        Queue { runs, deadline: &mut deadline, is_behind: false }.is_too_long().await;
        assert_eq!(deadline, first);
    }
}
