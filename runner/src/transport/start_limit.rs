//! How much of what costs a target most is under way there at once: logins, and the shells that a session begins with.
//!
//! sshd hangs up on some of those that it does not know yet once there are ten of them (`MaxStartups` of sshd_config), whoever they are. And
//! shells that all start at once are all late, so that none is there in the time that each is given. So whoever opens many sessions at one
//! place waits for a turn.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::target::TargetError;

/// At one place: less than half of what sshd takes, for there are others.
const AT_ONCE: usize = 4;

/// How long to wait for a turn.
const WAIT: Duration = Duration::from_secs(120);

/// One that may be under way.
pub(crate) struct Turn(#[expect(dead_code, reason = "held for its Drop")] OwnedSemaphorePermit);

/// A phase of a remote session that takes turns. Nobody who has one waits for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RemotePhase {
    /// From before the connection until the host knows who we are.
    #[cfg_attr(not(feature = "ssh"), expect(dead_code, reason = "no host is logged in to"))]
    Login,
    /// Until the shells of a session are there.
    Start,
}

impl Turn {
    /// Waits for one at a place.
    ///
    /// # Errors
    /// If it does not come in time.
    pub(crate) async fn take(step: RemotePhase, place: String) -> Result<Self, TargetError> {
        let turn = tokio::time::timeout(WAIT, at(step, place.clone()).acquire_owned()).await;
        turn.ok().and_then(Result::ok).map(Self).ok_or(TargetError::Crowded { place })
    }
}

/// The turns at a place. What nobody uses is let go.
fn at(step: RemotePhase, place: String) -> Arc<Semaphore> {
    static PLACES: Mutex<BTreeMap<(RemotePhase, String), Weak<Semaphore>>> = Mutex::new(BTreeMap::new());
    let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (step, place);
    if let Some(turns) = places.get(&key).and_then(Weak::upgrade) {
        return turns;
    }
    places.retain(|_, turns| turns.strong_count() > 0);
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    places.insert(key, Arc::downgrade(&turns));
    turns
}
