//! When a command at a target has to have ended, and when whoever waits for it has an answer in any case.
//!
//! A target can keep everybody waiting at every step: before the command (what its names mean there, a shell for it, the guard), in it,
//! and behind it. One deadline is for all of them, from the call on. Nothing here waits for a target.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

use crate::shell::End;

/// How long behind its deadline a command is waited for that is being ended. The answer has to be on record and on its way within a second.
const ENDING: Duration = Duration::from_millis(850);

/// No deadline.
pub(crate) const NEVER: Duration = Duration::from_secs(60 * 60 * 24 * 365);

/// The moment by which something has to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline {
    begun: Instant,
    time: Duration,
}

impl Deadline {
    /// So long from now on.
    pub(crate) fn after(time: Duration) -> Self {
        Self::of(Instant::now(), time)
    }

    /// None: as far off as a timer can be told.
    pub(crate) fn never() -> Self {
        Self::after(NEVER)
    }

    fn of(begun: Instant, time: Duration) -> Self {
        Self { begun, time }
    }

    /// As long again, from now on: what came before was nobody's fault at the other end.
    pub(crate) fn anew(self) -> Self {
        Self::after(self.time)
    }

    /// When it is.
    pub(crate) fn at(self) -> Instant {
        self.begun + self.time
    }

    /// When whoever waits has an answer, whatever there is to tell.
    fn answer(self) -> Instant {
        self.at() + ENDING
    }

    /// What is left of it at a moment; nothing once it has passed.
    fn left_at(self, now: Instant) -> Duration {
        self.at().saturating_duration_since(now)
    }

    /// Whether it has passed.
    pub(crate) fn has_passed(self) -> bool {
        self.left_at(Instant::now()).is_zero()
    }

    /// What comes of a step, if that is done before.
    pub(crate) async fn within<T>(self, step: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout_at(self.at(), step).await.ok()
    }
}

/// A command that is due: its deadline, and how far it has come. Cheap to copy.
#[derive(Clone, Debug)]
pub struct Due(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    deadline: Deadline,
    /// Whether it goes to the target; none as long as neither is decided.
    goes: OnceLock<bool>,
    /// How it came to its end, once the target has said so.
    end: OnceLock<End>,
}

impl Due {
    /// At this moment.
    pub(crate) fn at(deadline: Deadline) -> Self {
        Self(Arc::new(Inner { deadline, goes: OnceLock::new(), end: OnceLock::new() }))
    }

    /// When it is.
    pub(crate) fn deadline(&self) -> Deadline {
        self.0.deadline
    }

    /// The command is about to be sent. False if it must not be: the deadline has passed, or somebody was told that nothing has run.
    pub(crate) fn goes(&self) -> bool {
        *self.0.goes.get_or_init(|| !self.0.deadline.has_passed())
    }

    /// Keeps the command from being sent. False if it was.
    pub(crate) fn stays(&self) -> bool {
        !*self.0.goes.get_or_init(|| false)
    }

    /// The target has said how the command came to its end.
    pub(crate) fn has_ended(&self, end: End) {
        let _the_first = self.0.end.set(end);
    }

    /// How it came to its end, as far as the target has said so.
    pub(crate) fn end(&self) -> Option<End> {
        self.0.end.get().copied()
    }

    /// Waits until whoever waits for the command has to have an answer. Safe to drop.
    pub(crate) async fn is_over(&self) {
        tokio::time::sleep_until(self.0.deadline.answer()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_left_of_a_deadline_counts_from_its_beginning_and_ends_at_nothing() {
        let begun = Instant::now();
        let deadline = Deadline::of(begun, 3 * SECOND);
        for (later, left) in [
            (Duration::ZERO, 3 * SECOND),
            (SECOND, 2 * SECOND),
            (3 * SECOND - Duration::from_nanos(1), Duration::from_nanos(1)),
            (3 * SECOND, Duration::ZERO),
            (90 * SECOND, Duration::ZERO),
        ] {
            assert_eq!(deadline.left_at(begun + later), left, "{later:?}");
        }
        // Two steps have together what one would have.
        let halfway = deadline.left_at(begun + SECOND);
        assert_eq!(Deadline::of(begun + SECOND, halfway).at(), deadline.at());
        assert_eq!(Deadline::of(begun, Duration::ZERO).left_at(begun), Duration::ZERO);
    }

    #[test]
    fn an_answer_comes_within_a_second_of_the_deadline() {
        for time in [Duration::ZERO, Duration::from_millis(1), 3 * SECOND, 365 * 24 * 3600 * SECOND] {
            let deadline = Deadline::of(Instant::now(), time);
            assert!(deadline.answer() > deadline.at() && deadline.answer() < deadline.at() + SECOND, "{time:?}");
        }
    }

    #[test]
    fn a_command_is_sent_or_kept_once_and_for_all() {
        let late = || Due::at(Deadline::after(Duration::ZERO));
        let early = || Due::at(Deadline::after(3600 * SECOND));
        let due = early();
        assert!(due.goes() && !due.stays() && due.goes());
        let due = early();
        assert!(due.stays() && !due.goes() && due.stays());
        let due = late();
        assert!(!due.goes() && due.stays());
    }

    #[tokio::test]
    async fn a_step_that_takes_longer_is_not_waited_for() {
        let deadline = Deadline::after(Duration::from_millis(5));
        assert_eq!(deadline.within(std::future::pending::<()>()).await, None);
        assert_eq!(Deadline::after(3600 * SECOND).within(std::future::ready(7)).await, Some(7));
    }
}
