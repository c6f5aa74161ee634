//! Who is there to be asked about a running program.
//!
//! A process waits in its `execve` only if a person can be expected to answer: one at the terminal of `run`,
//! one at the agent's own client while a call of it runs, or one who has looked through the control socket of late.
//! Else the agent gets its denial at once. The engine decides whose yes counts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use palisade_audit::RequestId;
use palisade_engine::{Approval, Channel, Lasts};
use tokio::sync::mpsc;

use super::Approvals;
use super::approval_requests::About;
use super::state::PipelineState;
use crate::control::peer::Peer;

/// How long somebody is taken to be there who has looked through the control socket.
const LATELY: Duration = Duration::from_secs(300);

/// People who are remembered.
const MAX_PEOPLE: usize = 64;

/// Requests that wait to be shown at one place.
const MAX_SHOWN: usize = 32;

/// Who is there.
#[derive(Debug, Default)]
pub(super) struct Presence(Mutex<There>);

#[derive(Debug, Default)]
struct There {
    /// Whoever has looked through the control socket, and when.
    seen: BTreeMap<String, Instant>,
    /// Those who are shown each request as it comes, by number.
    attending: BTreeMap<u64, (Approval, mpsc::Sender<RequestId>)>,
    last: u64,
}

/// A place where a person is shown requests of running programs as they come.
#[derive(Debug)]
pub struct Attendance {
    number: u64,
    state: Weak<PipelineState>,
    requests: mpsc::Receiver<RequestId>,
}

impl Attendance {
    /// The id of the next request that a yes from here would count for.
    pub async fn next(&mut self) -> Option<String> {
        self.requests.recv().await.map(|id| id.to_string())
    }

    /// Ends the attendance, and gives the ids of requests that were shown to it and not taken.
    pub fn leave(mut self) -> Vec<String> {
        self.take_away();
        std::iter::from_fn(|| self.requests.try_recv().ok()).map(|id| id.to_string()).collect()
    }

    fn take_away(&self) {
        if let Some(state) = self.state.upgrade() {
            state.presence.there().attending.remove(&self.number);
        }
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        self.take_away();
    }
}

impl Presence {
    fn there(&self) -> MutexGuard<'_, There> {
        // Nothing that holds the lock can fail half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody has looked at what waits. Whoever may be the agent does not count.
    pub(super) fn saw(&self, peer: &Peer) {
        if peer.doubt.is_some() {
            return;
        }
        let (now, mut there) = (Instant::now(), self.there());
        there.seen.retain(|_, seen| now.saturating_duration_since(*seen) < LATELY);
        if there.seen.len() < MAX_PEOPLE || there.seen.contains_key(&peer.user) {
            there.seen.insert(peer.user.clone(), now);
        }
    }
}

impl Approvals<'_> {
    /// This person is there from now on, as long as the answer lives.
    pub fn attended_by(self, person: Approval) -> Attendance {
        let (sender, requests) = mpsc::channel(MAX_SHOWN);
        let mut there = self.state.presence.there();
        there.last += 1;
        let number = there.last;
        there.attending.insert(number, (person, sender));
        Attendance { number, state: Arc::downgrade(self.state), requests }
    }

    /// Whether somebody is there whose yes to this would count.
    pub(super) fn can_ask(self, about: &About) -> bool {
        let now = Instant::now();
        let (seen, attending) = {
            let there = self.state.presence.there();
            let lately = there.seen.iter().filter(|(_, seen)| now.saturating_duration_since(**seen) < LATELY);
            let seen: Vec<String> = lately.map(|(user, _)| user.clone()).collect();
            let attending: Vec<Approval> = there.attending.values().map(|(person, _)| person.clone()).collect();
            (seen, attending)
        };
        let by_name = |user: String| Approval {
            roles: self.state.settings.people.roles(&user),
            user,
            via: Channel::Control,
            lasts: Lasts::Once,
        };
        attending.iter().any(|person| self.may_approve(about, person).allowed)
            || seen.into_iter().map(by_name).any(|person| self.may_approve(about, &person).allowed)
    }

    /// Shows a request where a yes to it would count: at one place, so that nobody is asked twice.
    pub(super) fn show_to_somebody(self, id: RequestId, about: &About) {
        let attending: Vec<_> = self.state.presence.there().attending.values().cloned().collect();
        let may = attending.into_iter().filter(|(person, _)| self.may_approve(about, person).allowed);
        for (_, sender) in may {
            if sender.try_send(id).is_ok() {
                return;
            }
        }
    }
}
