//! Why a call of the library did nothing, or not all that it was asked for. Decides nothing.

use miette::Diagnostic;
use palisade_runner::{DecisionNote, Failure, OpenError, Redacted, Refusal, Standing, Unanswered};

use crate::config::ConfigError;

/// Why a call could not be done. Where nothing else is said, nothing has run.
///
/// A script that policy denies is no error: [`Session::exec`](crate::Session::exec) gives an [`Outcome`](crate::Outcome) for it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The settings cannot be used: a file, a policy, the workspace, or a value of the builder.
    #[error("{what}")]
    Settings {
        /// What is wrong.
        what: String,
        /// What to do about it; may be empty.
        help: String,
    },
    /// The record cannot be written, or the kernel lacks what the sandbox level asks for.
    #[error("{what}")]
    Open {
        /// What is wrong.
        what: String,
        /// What to do about it; may be empty.
        help: String,
    },
    /// The call was made where it cannot work: without a tokio runtime of several threads, or, of `blocking`, within a runtime.
    #[error("{0}")]
    Runtime(&'static str),
    /// The target is held by a guard there, and no program was named that is brought to it.
    #[error("the target `{target}` takes the program `palisade` as its guard, and none is named")]
    NoGuardProgram {
        /// The target's name.
        target: String,
    },
    /// Policy does not let the session do it.
    #[error("policy does not permit it: {}", .0.reason)]
    Denied(Box<DecisionNote>),
    /// A person has to say yes first, and none did.
    #[error("a person has to say yes first: {}", .0.reason)]
    ApprovalRequired(Box<DecisionNote>),
    /// The session has ended.
    #[error("{what}")]
    SessionLost {
        /// What is known of it.
        what: Redacted,
        /// What to do about it; may be empty.
        help: Redacted,
    },
    /// Anything else that could not be done; a result that could not be recorded is withheld.
    #[error("{what}")]
    Failed {
        /// What.
        what: Redacted,
        /// What to do about it; may be empty.
        help: Redacted,
    },
}

impl Error {
    /// What to do about it; may be empty.
    #[must_use]
    pub fn help(&self) -> &str {
        match self {
            Self::Settings { help, .. } | Self::Open { help, .. } => help,
            Self::Runtime(_) => "use `#[tokio::main]`, or `palisade::blocking` outside of any runtime",
            Self::NoGuardProgram { .. } => {
                "name it with `Builder::guard_program`, or set `remote_guard_binary` for the target"
            }
            Self::Denied(decision) | Self::ApprovalRequired(decision) => decision.suggest.as_str(),
            Self::SessionLost { help, .. } | Self::Failed { help, .. } => help.as_str(),
        }
    }

    /// Something that is wrong with what the builder was given.
    pub(crate) fn settings(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Settings { what: what.into(), help: help.into() }
    }
}

/// An error with its causes, and its help.
fn told(error: &(impl Diagnostic + ?Sized)) -> (String, String) {
    let mut what = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        what.push_str(": ");
        what.push_str(&next.to_string());
        cause = next.source();
    }
    (what, error.help().map(|help| help.to_string()).unwrap_or_default())
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        let (what, help) = told(&error);
        Self::Settings { what, help }
    }
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        let (what, help) = told(&error);
        Self::Open { what, help }
    }
}

impl From<Failure> for Error {
    fn from(Failure { what, help, session_lost }: Failure) -> Self {
        if session_lost { Self::SessionLost { what, help } } else { Self::Failed { what, help } }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Denied(Box::new(refusal.decision))
    }
}

impl From<Unanswered> for Error {
    fn from(unanswered: Unanswered) -> Self {
        let decision = Box::new(unanswered.decision);
        if matches!(unanswered.standing, Standing::Denied { .. }) {
            Self::Denied(decision)
        } else {
            Self::ApprovalRequired(decision)
        }
    }
}
