//! Processor time of a session's processes, those that have ended included.
//!
//! A process that has waited for its child has that one's time with its own; one that ignores its children's ends has not. So two
//! sums are kept, and the greater counts: what all have spent who live, with those that they have waited for; and what each was
//! seen to spend from one look to the next. Neither counts what nobody has spent.

use std::collections::HashMap;
use std::time::Duration;

use super::stat::Stat;

/// What a session has spent, look by look.
#[derive(Debug, Default)]
pub(super) struct CpuTime {
    /// What each living process has spent itself, by number and beginning.
    seen: HashMap<(i32, u64), u64>,
    /// Clock ticks that processes were seen to spend.
    sampled: u64,
    /// Clock ticks of all that live, and of those that they have waited for.
    told: u64,
    /// Both as they were when the count began.
    since: (u64, u64),
}

impl CpuTime {
    /// Takes what the processes have spent by now; the session's first one is among them.
    pub(super) fn look(&mut self, processes: &[(i32, Stat)]) {
        self.told = 0;
        let mut seen = HashMap::with_capacity(processes.len());
        for (pid, stat) in processes {
            self.told = self.told.saturating_add(stat.spent).saturating_add(stat.waited_for);
            let key = (*pid, stat.start);
            let before = self.seen.get(&key).copied().unwrap_or(0);
            self.sampled = self.sampled.saturating_add(stat.spent.saturating_sub(before));
            seen.insert(key, stat.spent);
        }
        self.seen = seen;
    }

    /// Counts from here.
    pub(super) fn begin(&mut self) {
        self.since = (self.told, self.sampled);
    }

    /// What was spent since.
    pub(super) fn so_far(&self) -> Duration {
        let (told, sampled) = self.since;
        let ticks = self.told.saturating_sub(told).max(self.sampled.saturating_sub(sampled));
        let second = rustix::param::clock_ticks_per_second().max(1);
        Duration::from_millis(ticks.saturating_mul(1000) / second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(start: u64, spent: u64, waited_for: u64) -> Stat {
        Stat {
            alive: true,
            stopped: false,
            parent: 1,
            session: 1,
            has_terminal: false,
            threads: 1,
            start,
            spent,
            waited_for,
        }
    }

    fn ticks(spent: &CpuTime) -> u64 {
        u64::try_from(spent.so_far().as_millis()).unwrap_or(u64::MAX) * rustix::param::clock_ticks_per_second() / 1000
    }

    #[test]
    fn what_children_have_spent_counts_once() {
        let mut spent = CpuTime::default();
        spent.look(&[(1, stat(1, 10, 0)), (2, stat(2, 100, 0))]);
        spent.begin();
        spent.look(&[(1, stat(1, 20, 0)), (2, stat(2, 150, 0)), (3, stat(3, 5, 0))]);
        assert_eq!(ticks(&spent), 65);
        // 2 and 3 have ended and are waited for, 3 after another 30.
        spent.look(&[(1, stat(1, 20, 185))]);
        assert_eq!(ticks(&spent), 95);
        spent.begin();
        spent.look(&[(1, stat(1, 20, 185))]);
        assert_eq!(ticks(&spent), 0);
    }

    #[test]
    fn what_nobody_waits_for_counts_as_it_was_seen() {
        let mut spent = CpuTime::default();
        spent.look(&[(1, stat(1, 10, 0))]);
        spent.begin();
        for turn in 0..5 {
            // A new child each time, under one number.
            spent.look(&[(1, stat(1, 10, 0)), (2, stat(turn, 7, 0))]);
        }
        assert_eq!(ticks(&spent), 35);
    }
}
