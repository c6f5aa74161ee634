//! How much one principal may ask for: so many requests a second, so many at a time, and none too large.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Largest request, in bytes: some four times the largest input of a job, since JSON escapes some of it.
pub(super) const MAX_BODY: usize = 4 << 20;

/// Requests of one principal that are answered at a time, streams that stay open among them.
pub(super) const MAX_AT_A_TIME: usize = 64;

/// Protocol sessions of one principal that are remembered.
pub(super) const MAX_CLIENTS: usize = 64;

/// How long the lines of a request's head may take; as long a connection is kept that asks nothing.
pub(super) const HEAD: Duration = Duration::from_secs(10);

/// How long the rest of a request may take.
pub(super) const BODY: Duration = Duration::from_secs(30);

/// Bytes of a request's head.
pub(super) const MAX_HEAD: usize = 64 << 10;

/// Lines of a request's head.
pub(super) const MAX_LINES: usize = 64;

/// The limits of one principal.
pub(super) struct Limits {
    rate: f64,
    bucket: Mutex<Bucket>,
    places: Arc<Semaphore>,
}

struct Bucket {
    left: f64,
    at: Instant,
}

/// One of a principal's requests.
#[derive(Debug)]
pub(super) struct RequestPermit(#[expect(dead_code, reason = "held for its end")] OwnedSemaphorePermit);

/// Why a principal has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    Rate,
    Places,
}

impl Limits {
    /// So many requests a second, and for a moment twice as many.
    pub(super) fn new(rate: u32) -> Self {
        let rate = f64::from(rate);
        let bucket = Mutex::new(Bucket { left: 2.0 * rate, at: Instant::now() });
        Self { rate, bucket, places: Arc::new(Semaphore::new(MAX_AT_A_TIME)) }
    }

    /// A place for one more request.
    ///
    /// # Errors
    /// If there were too many, or are.
    pub(super) fn admit(&self) -> Result<RequestPermit, Full> {
        if !self.take(Instant::now()) {
            return Err(Full::Rate);
        }
        Arc::clone(&self.places).try_acquire_owned().map(RequestPermit).map_err(|_| Full::Places)
    }

    fn take(&self, now: Instant) -> bool {
        // Nothing that holds the lock can fail half-way.
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let since = now.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.left = (bucket.left + since * self.rate).min(2.0 * self.rate);
        bucket.at = now;
        let may = bucket.left >= 1.0;
        if may {
            bucket.left -= 1.0;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_takes_so_many_requests_and_a_burst_twice_as_many() {
        let limits = Limits::new(5);
        let begin = Instant::now();
        let taken = |at: Duration, tries: usize| (0..tries).filter(|_| limits.take(begin + at)).count();
        assert_eq!(taken(Duration::ZERO, 100), 10);
        assert_eq!(taken(Duration::from_secs(1), 100), 5);
        assert_eq!(taken(Duration::from_secs(100), 100), 10);
        // A clock that seems to run backwards gives nothing.
        assert_eq!(taken(Duration::from_secs(50), 100), 0);
    }

    #[test]
    fn a_place_is_free_again_when_its_request_is_done() {
        let limits = Limits::new(1_000);
        let places: Vec<_> = (0..MAX_AT_A_TIME).filter_map(|_| limits.admit().ok()).collect();
        assert_eq!(places.len(), MAX_AT_A_TIME);
        assert_eq!(limits.admit().err(), Some(Full::Places));
        drop(places);
        assert!(limits.admit().is_ok());
    }
}
