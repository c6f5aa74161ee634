//! The working directory while a script runs, as far as the text tells it.
//!
//! This file decides when a `cd` is sure to have happened. A `cd` has two outcomes, and a script can go on after both:
//! where two ways meet, what they disagree about is either decided by "the directory can be entered" or unknown.

use crate::inventory::{CdStep, Cwd};
use crate::word::Value;

/// More `cd`s than anybody writes in one script; beyond it the directory is unknown.
const MAX_STEPS: usize = 32;

/// Where the shell is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WorkingDirectory {
    Unknown,
    /// From where the script starts, each `cd` that was tried, in turn.
    Tried(Vec<Attempt>),
}

/// One literal `cd` that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    to: Value,
    outcome: Outcome,
    /// Nothing before it can have changed whether it succeeds.
    settled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Entered,
    Failed,
    /// Entered if the directory can be entered.
    Depends,
}

impl WorkingDirectory {
    pub(crate) fn start() -> Self {
        Self::Tried(Vec::new())
    }

    /// The places after a `cd` that succeeded and after one that failed.
    pub(crate) fn change(&self, to: &Value, settled: bool) -> (Self, Self) {
        let after = |outcome| match self {
            Self::Tried(steps) if steps.len() < MAX_STEPS => {
                let mut steps = steps.clone();
                steps.push(Attempt { to: to.clone(), outcome, settled });
                Self::Tried(steps)
            }
            _ => Self::Unknown,
        };
        (after(Outcome::Entered), after(Outcome::Failed))
    }

    /// The place of a command that both of two ways lead to.
    pub(crate) fn meet(self, other: Self) -> Self {
        let (Self::Tried(mut ours), Self::Tried(theirs)) = (self, other) else { return Self::Unknown };
        for (index, (our, their)) in ours.iter_mut().zip(&theirs).enumerate() {
            if our.to != their.to {
                return Self::Unknown;
            }
            match (our.outcome, their.outcome) {
                (a, b) if a == b => {}
                (Outcome::Failed, _) => return depends_from(theirs, index),
                (_, Outcome::Failed) => return depends_from(ours, index),
                _ => our.outcome = Outcome::Depends,
            }
        }
        // One way tried a `cd` that the other never came to: nothing tells which was taken.
        if ours.len() == theirs.len() { Self::Tried(ours) } else { Self::Unknown }
    }

    /// The directory as the inventory tells it.
    pub(crate) fn cwd(&self) -> Cwd {
        let Self::Tried(attempts) = self else { return Cwd::Unknown };
        let mut steps = Vec::new();
        for attempt in attempts {
            match attempt.outcome {
                Outcome::Failed => {}
                Outcome::Depends if !attempt.settled => return Cwd::Unknown,
                outcome => steps.push(CdStep { to: attempt.to.clone(), must_exist: outcome == Outcome::Depends }),
            }
        }
        Cwd::Known(steps)
    }
}

/// If the directory can be entered only this way was taken, and if it cannot the step says so.
fn depends_from(mut steps: Vec<Attempt>, index: usize) -> WorkingDirectory {
    if let Some(step) = steps.get_mut(index) {
        step.outcome = Outcome::Depends;
    }
    WorkingDirectory::Tried(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cd(to: &str, place: &WorkingDirectory) -> (WorkingDirectory, WorkingDirectory) {
        place.change(&Value::Literal(to.to_owned()), true)
    }

    #[test]
    fn ways_meet() {
        let start = WorkingDirectory::start();
        let (entered, failed) = cd("a", &start);
        assert_eq!(known(&entered), "a");
        assert_eq!(known(&failed), "");
        assert_eq!(known(&entered.clone().meet(failed.clone())), "a?");
        assert_eq!(known(&failed.clone().meet(entered.clone())), "a?");
        assert_eq!(known(&entered.clone().meet(start.clone())), "unknown", "`x && cd a; y`: it may never be tried");
        assert_eq!(known(&entered.clone().meet(cd("b", &start).0)), "unknown");
        let (both, second_failed) = cd("b", &entered);
        assert_eq!(known(&both.meet(second_failed.meet(failed))), "a? b?", "`cd a && cd b; x`");
    }

    #[test]
    fn an_unsettled_cd_is_unknown_where_ways_meet() {
        let (entered, failed) = WorkingDirectory::start().change(&Value::Literal("a".to_owned()), false);
        assert_eq!(known(&entered), "a");
        assert_eq!(known(&entered.meet(failed)), "unknown");
    }

    fn known(place: &WorkingDirectory) -> String {
        match place.cwd() {
            Cwd::Unknown => "unknown".to_owned(),
            Cwd::Known(steps) => steps
                .iter()
                .map(|step| format!("{}{}", step.to.prefix(), if step.must_exist { "?" } else { "" }))
                .collect::<Vec<_>>()
                .join(" "),
        }
    }
}
