//! Who was turned away, on record: in the chain of the first principal, since whoever proves nothing belongs to none.
//!
//! Outsiders do not fill the disk: one in a second has an entry of its own, and says how many more there were since the one before.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use palisade_runner::{Outsider, Pipeline};

use super::access::PeerCredentials;

/// Between two entries, at least.
const PAUSE: Duration = Duration::from_secs(1);

/// What the last entry says when nobody came behind those that had none.
const REST: &str = "others, before";

/// The entries of one server.
pub(super) struct AuthLog {
    pipeline: Option<Arc<Pipeline>>,
    page: Mutex<Page>,
}

#[derive(Default)]
struct Page {
    /// When there may be another entry.
    next: Option<Instant>,
    /// Those that have none.
    more: u64,
}

impl Page {
    /// Whether there is an entry for this one, and how many it tells of besides.
    fn turn(&mut self, now: Instant) -> Option<u64> {
        if self.next.is_some_and(|next| now < next) {
            self.more += 1;
            return None;
        }
        self.next = Some(now + PAUSE);
        Some(std::mem::take(&mut self.more))
    }
}

impl AuthLog {
    /// Entries in the chain of this principal's.
    pub(super) fn new(pipeline: Option<Arc<Pipeline>>) -> Self {
        Self { pipeline, page: Mutex::default() }
    }

    /// Somebody was turned away.
    pub(super) async fn turned_away(&self, why: &'static str, peer: &PeerCredentials) {
        let Some(more) = self.page().turn(Instant::now()) else { return };
        let from = peer.address.map(|address| address.to_string()).unwrap_or_default();
        self.write(Outsider { why, from: &from, uid: peer.uid, names: &peer.names, more }).await;
    }

    /// Nobody comes any more: those without an entry are told of.
    pub(super) async fn close(&self) {
        let more = std::mem::take(&mut self.page().more);
        if let Some(more) = more.checked_sub(1) {
            self.write(Outsider { why: REST, from: "", uid: None, names: &[], more }).await;
        }
    }

    async fn write(&self, outsider: Outsider<'_>) {
        let Some(pipeline) = &self.pipeline else { return };
        if let Err(failure) = pipeline.turned_away(outsider).await {
            tracing::error!("that somebody was turned away is not on record: {}", failure.what);
        }
    }

    fn page(&self) -> std::sync::MutexGuard<'_, Page> {
        self.page.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The other end of a connection over the network that has proven nothing yet.
pub(super) fn somebody_at(address: SocketAddr) -> PeerCredentials {
    PeerCredentials { address: Some(address), ..PeerCredentials::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_a_second_has_an_entry_and_none_is_forgotten() {
        let (mut page, begin) = (Page::default(), Instant::now());
        let at = |milliseconds| begin + Duration::from_millis(milliseconds);
        let turns: Vec<Option<u64>> = [0, 1, 999, 1000, 1001, 2500].map(|time| page.turn(at(time))).to_vec();
        assert_eq!(turns, [Some(0), None, None, Some(2), None, Some(1)]);
        assert_eq!(page.more, 0);
    }
}
