//! Exit statuses: what scripts rely on, one value a line.

use std::process::ExitCode;

/// How a verb ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// `check`: allowed. Elsewhere: done, nothing found.
    Fine,
    /// Palisade could not do what it was asked to; stderr says why.
    Error,
    /// `check`: denied. `approvals`, `stop`: policy does not let you. `audit verify`: broken. `doctor`: not ready. `policy`: findings.
    Findings,
    /// `check`: a person has to say yes.
    Ask,
    /// `run`: the command did not end in time.
    TimedOut,
    /// `run`: Palisade failed; the command has not run, its end is not known, or its output is not all there.
    Failed,
    /// `run`: denied; nothing has run. `audit`, `watch`: policy does not let you look.
    Denied,
    /// `run`: the command's own status.
    Command(u8),
}

impl Exit {
    /// The number that the process ends with.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Error => 1,
            Self::Findings => 2,
            Self::Ask => 3,
            Self::TimedOut => 124,
            Self::Failed => 125,
            Self::Denied => 126,
            Self::Command(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
