//! How far the reading of a workspace has come, for whoever waits for it, and the way to end it early.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// The work was ended before it was done: nobody waits for it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndedEarly;

/// One reading.
#[derive(Debug, Default)]
pub struct Pace {
    read: AtomicU64,
    of: AtomicU64,
    stopped: AtomicBool,
    /// Turns true when nothing is to be read any more.
    ending: Arc<AtomicBool>,
}

impl Pace {
    /// One that ends, too, when `ending` turns true.
    #[must_use]
    pub fn until(ending: Arc<AtomicBool>) -> Self {
        Self { ending, ..Self::default() }
    }

    /// Files, directories and links that were looked at, and how many there are; none before they are counted.
    pub fn so_far(&self) -> Option<(u64, u64)> {
        let of = self.of.load(Relaxed);
        (of > 0).then(|| (self.read.load(Relaxed), of))
    }

    /// Ends it: nobody waits any more.
    pub fn stop(&self) {
        self.stopped.store(true, Relaxed);
    }

    /// So many are to be looked at.
    pub(crate) fn begin(&self, of: usize) {
        self.of.store(of as u64, Relaxed);
    }

    /// The next one.
    pub(crate) fn step(&self) -> Result<(), EndedEarly> {
        self.goes_on()?;
        self.read.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Whether somebody waits for it still.
    pub(crate) fn goes_on(&self) -> Result<(), EndedEarly> {
        let over = self.stopped.load(Relaxed) || self.ending.load(Relaxed);
        if over { Err(EndedEarly) } else { Ok(()) }
    }
}
