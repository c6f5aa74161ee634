//! The requests that wait for a person: a pure state machine, the time passed in.
//!
//! A request is found by its id, and by what a yes to it would bind: all that the call was, the state of its session, the policies, and
//! what the files hold that it names. Only a call that binds the very same takes what was granted, and takes it away. Everything else,
//! a time that is over included, is a no. Whether a person may give an answer is not decided here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use palisade_audit::{Digest, RequestId};
use palisade_engine::{Approval, Lasts};

use super::wire::State;

/// Requests of one principal that may wait at a time.
pub(crate) const MAX_WAITING: usize = 20;

/// Requests of all principals.
const MAX_ALL: usize = 200;

/// All requests, each with what it is about.
#[derive(Debug)]
pub(crate) struct ApprovalRegistry<T> {
    expire: Duration,
    entries: BTreeMap<RequestId, PendingApproval<T>>,
}

/// A request.
#[derive(Debug)]
pub(crate) struct PendingApproval<T> {
    /// Whose it is.
    pub(crate) principal: String,
    /// What a yes to it binds.
    pub(crate) binds: Digest,
    /// The same whether or not it is made in a session, where that makes no other call of it.
    pub(crate) anywhere: Option<Anywhere>,
    /// Its like of the other kind has been made as well, before anybody had answered: an answer is to either.
    pub(crate) joined: bool,
    /// When it was asked.
    pub(crate) asked: Instant,
    /// How many different people have to say yes.
    pub(crate) quorum: usize,
    /// Who has, once each.
    pub(crate) granted: Vec<Approval>,
    /// Who has said no; nothing lifts it.
    pub(crate) denied: Option<No>,
    /// What it is about.
    pub(crate) about: Arc<T>,
}

/// A call that does the same in a session and in none. Such a call and its like of the other kind are one request; those of two sessions
/// are two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Anywhere {
    /// All that a yes to it binds but the session.
    pub(crate) binds: Digest,
    /// Whether it is made in one.
    pub(crate) in_session: bool,
}

/// A no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct No {
    /// Whose it is.
    pub(crate) by: String,
    /// Why; may be empty.
    pub(crate) reason: String,
}

/// What becomes of a call that needs a yes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RequestStatus {
    /// It waits, under this id; it may have before.
    Waits(RequestId),
    /// It was granted, by these: it runs now, and the grant is used up.
    Granted(RequestId, Vec<Approval>),
    /// It was denied.
    Denied(RequestId, No),
    /// Too many wait.
    Full,
}

/// Why an answer does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Void {
    /// There is no such request, or it is too late for it.
    #[error("no request of that id waits here: it was answered, used, or is too old")]
    Unknown,
    /// This person has answered already.
    #[error("you have said yes to it already, and it takes different people")]
    Twice,
    /// It is decided.
    #[error("it is answered already")]
    Settled,
}

impl<T> ApprovalRegistry<T> {
    /// None, and how long each will be there.
    pub(crate) fn new(expire: Duration) -> Self {
        Self { expire, entries: BTreeMap::new() }
    }

    /// A call that needs a yes to this. What was granted for it is used up; else it waits, as `id` if it is new.
    pub(crate) fn ask(
        &mut self,
        id: RequestId,
        new: impl FnOnce() -> PendingApproval<T>,
        (binds, anywhere): (Digest, Option<Anywhere>),
        now: Instant,
    ) -> RequestStatus {
        self.sweep(now);
        let same = self.entries.iter().find(|(_, entry)| entry.binds == binds).map(|(id, _)| *id);
        let like = || {
            let (id, entry) = self.entries.iter_mut().find(|(_, entry)| entry.is_like(anywhere))?;
            entry.joined = true;
            Some(*id)
        };
        if let Some(known) = same.or_else(like) {
            return self.take(known);
        }
        let entry = new();
        let own = self.entries.values().filter(|other| other.principal == entry.principal).count();
        if own >= MAX_WAITING || self.entries.len() >= MAX_ALL {
            return RequestStatus::Full;
        }
        self.entries.insert(id, entry);
        RequestStatus::Waits(id)
    }

    fn take(&mut self, id: RequestId) -> RequestStatus {
        let Some(entry) = self.entries.get(&id) else { return RequestStatus::Full };
        match (entry.state(), &entry.denied) {
            (State::Granted, _) => match self.entries.remove(&id) {
                Some(entry) => RequestStatus::Granted(id, entry.granted),
                None => RequestStatus::Full,
            },
            // It stays, so that whoever asks again and again is told so, and nobody is asked twice.
            (State::Denied, Some(no)) => RequestStatus::Denied(id, no.clone()),
            (State::Waiting | State::Denied, _) => RequestStatus::Waits(id),
        }
    }

    /// Whether this person's yes would count, so that it can be put on record before it does.
    ///
    /// # Errors
    /// If it would not.
    pub(crate) fn may_grant(&mut self, id: RequestId, user: &str, now: Instant) -> Result<(), Void> {
        let entry = self.open(id, now)?;
        if entry.granted.iter().any(|other| other.user == user) { Err(Void::Twice) } else { Ok(()) }
    }

    /// A yes that is on record. How the request stands with it.
    ///
    /// # Errors
    /// If it does not count.
    pub(crate) fn grant(&mut self, id: RequestId, by: Approval, now: Instant) -> Result<State, Void> {
        self.may_grant(id, &by.user, now)?;
        let entry = self.open(id, now)?;
        entry.granted.push(by);
        Ok(entry.state())
    }

    /// A no, which nothing lifts.
    ///
    /// # Errors
    /// If it does not count. One that was granted and not used yet can still be denied.
    pub(crate) fn deny(&mut self, id: RequestId, no: No, now: Instant) -> Result<State, Void> {
        self.sweep(now);
        let entry = self.entries.get_mut(&id).ok_or(Void::Unknown)?;
        if entry.denied.is_some() {
            return Err(Void::Settled);
        }
        entry.denied = Some(no);
        Ok(entry.state())
    }

    fn open(&mut self, id: RequestId, now: Instant) -> Result<&mut PendingApproval<T>, Void> {
        self.sweep(now);
        let entry = self.entries.get_mut(&id).ok_or(Void::Unknown)?;
        if entry.state() == State::Waiting { Ok(entry) } else { Err(Void::Settled) }
    }

    /// One request, as it stands.
    pub(crate) fn get(&mut self, id: RequestId, now: Instant) -> Option<&PendingApproval<T>> {
        self.sweep(now);
        self.entries.get(&id)
    }

    /// What one is about.
    pub(crate) fn about(&mut self, id: RequestId, now: Instant) -> Option<Arc<T>> {
        self.get(id, now).map(|entry| Arc::clone(&entry.about))
    }

    /// All of them, oldest first.
    pub(crate) fn all(&mut self, now: Instant) -> impl Iterator<Item = (RequestId, &PendingApproval<T>)> {
        self.sweep(now);
        let mut all: Vec<_> = self.entries.iter().map(|(id, entry)| (*id, entry)).collect();
        all.sort_by_key(|(id, entry)| (entry.asked, *id));
        all.into_iter()
    }

    /// How long a request has until it is too late.
    pub(crate) fn left(&self, asked: Instant, now: Instant) -> Duration {
        self.expire.saturating_sub(now.saturating_duration_since(asked))
    }

    /// Whether something waits, or is answered, that binds the same.
    pub(crate) fn knows(&mut self, binds: Digest, now: Instant) -> bool {
        self.sweep(now);
        self.entries.values().any(|entry| entry.binds == binds)
    }

    /// Nobody waits for it any more. A no stays, so that nobody is asked twice.
    pub(crate) fn withdraw(&mut self, id: RequestId) {
        if self.entries.get(&id).is_some_and(|entry| entry.denied.is_none()) {
            self.entries.remove(&id);
        }
    }

    /// Nobody answers these any more; those that are answered stay.
    pub(crate) fn withdraw_waiting(&mut self, is_one: impl Fn(&T) -> bool) {
        self.entries.retain(|_, entry| entry.state() != State::Waiting || !is_one(&entry.about));
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    fn sweep(&mut self, now: Instant) {
        let expire = self.expire;
        self.entries.retain(|_, entry| now.saturating_duration_since(entry.asked) < expire);
    }
}

impl<T> PendingApproval<T> {
    /// Whether this is the same call with a session as that one without, or the other way round. A yes is to what the person saw: to such a
    /// call only if it was made before. A yes for a session is for that one.
    fn is_like(&self, other: Option<Anywhere>) -> bool {
        let is_for_session = self.granted.iter().any(|person| person.lasts == Lasts::Session);
        let is_seen = self.joined || self.granted.is_empty();
        !is_for_session
            && is_seen
            && self
                .anywhere
                .zip(other)
                .is_some_and(|(own, other)| own.binds == other.binds && own.in_session != other.in_session)
    }

    /// How it stands. A no stands above any yes.
    pub(crate) fn state(&self) -> State {
        if self.denied.is_some() {
            return State::Denied;
        }
        if self.granted.len() >= self.quorum.max(1) { State::Granted } else { State::Waiting }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const EXPIRE: Duration = Duration::from_secs(60);

    fn id(number: u64) -> RequestId {
        format!("5f3a9c01-{number}").parse().unwrap()
    }

    fn by(user: &str) -> Approval {
        Approval {
            user: user.to_owned(),
            roles: std::collections::BTreeSet::new(),
            via: palisade_engine::Channel::Control,
            lasts: palisade_engine::Lasts::Once,
        }
    }

    fn ask(
        approvals: &mut ApprovalRegistry<()>,
        number: u64,
        what: &str,
        quorum: usize,
        now: Instant,
    ) -> RequestStatus {
        let binds = Digest::of(what.as_bytes());
        let entry = || PendingApproval {
            principal: "a".to_owned(),
            binds,
            anywhere: None,
            joined: false,
            asked: now,
            quorum,
            granted: Vec::new(),
            denied: None,
            about: Arc::new(()),
        };
        approvals.ask(id(number), entry, (binds, None), now)
    }

    #[test]
    fn a_yes_is_to_one_call_and_used_once() {
        let now = Instant::now();
        let mut approvals = ApprovalRegistry::new(EXPIRE);
        assert_eq!(ask(&mut approvals, 1, "push", 1, now), RequestStatus::Waits(id(1)));
        assert_eq!(ask(&mut approvals, 2, "push", 1, now), RequestStatus::Waits(id(1)), "the same waits once");
        assert_eq!(approvals.grant(id(1), by("u"), now), Ok(State::Granted));
        assert_eq!(approvals.grant(id(1), by("v"), now), Err(Void::Settled));
        assert_eq!(ask(&mut approvals, 3, "push --force", 1, now), RequestStatus::Waits(id(3)), "another call");
        assert_eq!(ask(&mut approvals, 4, "push", 1, now), RequestStatus::Granted(id(1), vec![by("u")]));
        assert_eq!(ask(&mut approvals, 5, "push", 1, now), RequestStatus::Waits(id(5)), "used up");
        assert_eq!(approvals.grant(id(1), by("u"), now), Err(Void::Unknown));
    }

    #[test]
    fn it_takes_as_many_different_people_as_policy_says() {
        let now = Instant::now();
        let mut approvals = ApprovalRegistry::new(EXPIRE);
        ask(&mut approvals, 1, "push", 2, now);
        assert_eq!(approvals.grant(id(1), by("u"), now), Ok(State::Waiting));
        assert_eq!(approvals.grant(id(1), by("u"), now), Err(Void::Twice));
        assert_eq!(ask(&mut approvals, 2, "push", 2, now), RequestStatus::Waits(id(1)));
        assert_eq!(approvals.grant(id(1), by("v"), now), Ok(State::Granted));
        assert_eq!(ask(&mut approvals, 3, "push", 2, now), RequestStatus::Granted(id(1), vec![by("u"), by("v")]));
    }

    #[test]
    fn a_no_stands_and_time_is_a_no() {
        let now = Instant::now();
        let mut approvals = ApprovalRegistry::new(EXPIRE);
        let no = No { by: "v".to_owned(), reason: "not today".to_owned() };
        ask(&mut approvals, 1, "push", 1, now);
        assert_eq!(approvals.grant(id(1), by("u"), now), Ok(State::Granted));
        assert_eq!(approvals.deny(id(1), no.clone(), now), Ok(State::Denied), "as long as it is not used");
        assert_eq!(approvals.grant(id(1), by("w"), now), Err(Void::Settled));
        assert_eq!(ask(&mut approvals, 2, "push", 1, now), RequestStatus::Denied(id(1), no));
        ask(&mut approvals, 3, "rm", 1, now);
        assert_eq!(approvals.grant(id(3), by("u"), now), Ok(State::Granted));
        let late = now + EXPIRE;
        assert!(approvals.get(id(3), late).is_none());
        assert_eq!(ask(&mut approvals, 4, "rm", 1, late), RequestStatus::Waits(id(4)));
        assert_eq!(approvals.grant(id(1), by("u"), late), Err(Void::Unknown));
        assert_eq!(approvals.all(late).count(), 1);
    }

    #[test]
    fn a_call_waits_once_with_a_session_and_without_and_each_session_waits_by_itself() {
        let now = Instant::now();
        let mut approvals = ApprovalRegistry::new(EXPIRE);
        let ask = |approvals: &mut ApprovalRegistry<()>, number: u64, session: &str| {
            let binds = Digest::of(session.as_bytes());
            let anywhere = Some(Anywhere { binds: Digest::of(b"push"), in_session: !session.is_empty() });
            let entry = || PendingApproval {
                principal: "a".to_owned(),
                binds,
                anywhere,
                joined: false,
                asked: now,
                quorum: 1,
                granted: Vec::new(),
                denied: None,
                about: Arc::new(()),
            };
            approvals.ask(id(number), entry, (binds, anywhere), now)
        };
        assert_eq!(ask(&mut approvals, 1, "one"), RequestStatus::Waits(id(1)));
        assert_eq!(ask(&mut approvals, 2, "other"), RequestStatus::Waits(id(2)));
        assert_eq!(ask(&mut approvals, 3, ""), RequestStatus::Waits(id(1)));
        let for_session = Approval { lasts: Lasts::Session, ..by("u") };
        assert_eq!(approvals.grant(id(1), for_session, now), Ok(State::Granted));
        assert_eq!(approvals.grant(id(2), by("u"), now), Ok(State::Granted));
        assert_eq!(
            ask(&mut approvals, 4, ""),
            RequestStatus::Waits(id(4)),
            "one is for a session, the other was not seen so"
        );
        assert!(matches!(ask(&mut approvals, 5, "one"), RequestStatus::Granted(of, _) if of == id(1)));
        assert!(matches!(ask(&mut approvals, 5, "other"), RequestStatus::Granted(of, _) if of == id(2)));
        assert_eq!(ask(&mut approvals, 6, "one"), RequestStatus::Waits(id(4)));
        assert_eq!(ask(&mut approvals, 7, "other"), RequestStatus::Waits(id(4)));
        assert_eq!(approvals.grant(id(4), by("u"), now), Ok(State::Granted));
        assert_eq!(ask(&mut approvals, 8, "other"), RequestStatus::Granted(id(4), vec![by("u")]));
        assert_eq!(ask(&mut approvals, 9, "one"), RequestStatus::Waits(id(9)));
    }

    #[test]
    fn no_more_wait_than_a_person_can_look_through() {
        let now = Instant::now();
        let mut approvals = ApprovalRegistry::new(EXPIRE);
        for number in 0..MAX_WAITING as u64 {
            assert_eq!(ask(&mut approvals, number, &number.to_string(), 1, now), RequestStatus::Waits(id(number)));
        }
        assert_eq!(ask(&mut approvals, 100, "one more", 1, now), RequestStatus::Full);
        assert_eq!(ask(&mut approvals, 100, "3", 1, now), RequestStatus::Waits(id(3)));
    }
}
