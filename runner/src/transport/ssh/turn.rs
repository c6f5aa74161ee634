//! How many logins at one host are under way at once.
//!
//! sshd hangs up on some of those that it does not know yet once there are ten of them (`MaxStartups` of sshd_config), whoever they are. So
//! whoever opens many sessions at one place waits for a turn, from before the connection until the host knows who we are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::transport::target::{SshTarget, TargetError};

/// At one host: less than half of what its server takes, for there are others.
const AT_ONCE: usize = 4;

/// How long to wait for a turn.
const WAIT: Duration = Duration::from_secs(60);

/// A login that may be under way.
pub(super) struct Turn(#[expect(dead_code, reason = "held for its Drop")] OwnedSemaphorePermit);

impl Turn {
    /// Waits for one.
    ///
    /// # Errors
    /// If it does not come in time.
    pub(super) async fn take(target: &SshTarget) -> Result<Self, TargetError> {
        let crowded = || TargetError::Crowded { place: target.place() };
        let turn = tokio::time::timeout(WAIT, at(target.place()).acquire_owned()).await;
        turn.map_err(|_| crowded())?.map(Self).map_err(|_| crowded())
    }
}

/// The turns at a place. What nobody uses is let go.
fn at(place: String) -> Arc<Semaphore> {
    static PLACES: Mutex<BTreeMap<String, Weak<Semaphore>>> = Mutex::new(BTreeMap::new());
    let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(turns) = places.get(&place).and_then(Weak::upgrade) {
        return turns;
    }
    places.retain(|_, turns| turns.strong_count() > 0);
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    places.insert(place, Arc::downgrade(&turns));
    turns
}
