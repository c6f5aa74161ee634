//! How a command is ended that does not end by itself, in steps that get harder. No I/O.
//!
//! From the deadline to the last step it takes less than a second, or the grace that was asked for and a second.

use std::time::Duration;

/// What is done to the command next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Every process that it started is told to end (TERM).
    Ask,
    /// The shell and what it waits for are interrupted, as by Ctrl-C.
    Interrupt,
    /// Every process that it started is killed, and the shell interrupted once more.
    KillRest,
    /// The shell is killed, and everything with it.
    KillShell,
}

/// The steps after the deadline. A program that handles the interrupt in good order gets half a second; one that does
/// not, or a shell that runs a trap instead, is not waited for.
const STEPS: [(Step, Duration); 5] = [
    (Step::Interrupt, Duration::from_millis(250)),
    (Step::Interrupt, Duration::from_millis(250)),
    (Step::KillRest, Duration::from_millis(150)),
    (Step::KillRest, Duration::from_millis(200)),
    (Step::KillShell, Duration::ZERO),
];

/// Where a command is on its way down.
#[derive(Debug)]
pub(crate) struct Termination {
    grace: Option<Duration>,
    step: usize,
}

impl Termination {
    /// From the top; with `grace`, the command is first asked and then left alone for that long.
    pub(crate) fn new(grace: Option<Duration>) -> Self {
        Self { grace: grace.filter(|grace| !grace.is_zero()), step: 0 }
    }

    /// Without the steps for a program that ends in good order: what the command started is killed at once.
    pub(crate) fn kill() -> Self {
        Self { grace: None, step: STEPS.iter().position(|(rung, _)| *rung == Step::KillRest).unwrap_or(STEPS.len()) }
    }

    /// What to do now, and how long to wait before the next step.
    pub(crate) fn next(&mut self) -> (Step, Duration) {
        if let Some(grace) = self.grace.take() {
            return (Step::Ask, grace);
        }
        let step = STEPS.get(self.step).or(STEPS.last()).copied();
        self.step += 1;
        step.unwrap_or((Step::KillShell, Duration::ZERO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(grace: Option<Duration>) -> Vec<(Step, Duration)> {
        let mut ladder = Termination::new(grace);
        std::iter::from_fn(|| Some(ladder.next())).take(8).collect()
    }

    #[test]
    fn it_ends_within_a_second_and_never_turns_back() {
        let all = steps(None);
        let before = |(rung, _): &&(Step, Duration)| *rung != Step::KillShell;
        assert!(all.iter().take_while(before).map(|(_, wait)| *wait).sum::<Duration>() < Duration::from_secs(1));
        assert_eq!(all.first().map(|(rung, _)| *rung), Some(Step::Interrupt));
        assert_eq!(all.last().map(|(rung, _)| *rung), Some(Step::KillShell));
    }

    #[test]
    fn a_kill_asks_nobody() {
        let mut ladder = Termination::kill();
        assert_eq!(ladder.next().0, Step::KillRest);
        let rest: Vec<Step> = std::iter::from_fn(|| Some(ladder.next().0)).take(3).collect();
        assert_eq!(rest, [Step::KillRest, Step::KillShell, Step::KillShell]);
    }

    #[test]
    fn grace_comes_first_and_once() {
        let grace = Duration::from_secs(5);
        let all = steps(Some(grace));
        assert_eq!(all.first(), Some(&(Step::Ask, grace)));
        assert_eq!(all.get(1..), steps(None).get(..7));
        assert_eq!(steps(Some(Duration::ZERO)), steps(None));
    }
}
