//! How long something takes, many times over.

use std::time::{Duration, Instant};

/// The time of each round, the shortest first.
pub(crate) fn timed<T>(rounds: usize, mut act: impl FnMut() -> T) -> Vec<Duration> {
    let round = |_| {
        let started = Instant::now();
        act();
        started.elapsed()
    };
    let mut times: Vec<Duration> = (0..rounds.max(1)).map(round).collect();
    times.sort();
    times
}

/// The middle one of sorted times.
pub(crate) fn median(times: &[Duration]) -> Duration {
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// The median, and in brackets the fastest.
pub(crate) fn shown(times: &[Duration]) -> String {
    format!("{:.1?} ({:.1?})", median(times), times.first().copied().unwrap_or_default())
}
