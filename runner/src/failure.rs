//! A failure as an agent may read it: what could not be done, and what to do about it. Decides nothing.

use palisade_redact::{Redacted, Redactor};

/// Something that could not be done, told so that an agent may read it.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What, in one line.
    pub what: Redacted,
    /// What to do about it; may be empty.
    pub help: Redacted,
    /// It is that the session has ended.
    pub session_lost: bool,
}

impl Failure {
    /// A failure in our own words.
    pub fn of(what: &'static str) -> Self {
        Self { what: Redacted::from_static(what), help: Redacted::from_static(""), session_lost: false }
    }

    /// The same, with what to do about it.
    #[must_use]
    pub fn helped(self, help: &'static str) -> Self {
        Self { help: Redacted::from_static(help), ..self }
    }

    /// An error with its causes and its help, redacted.
    pub fn explain(error: &(impl miette::Diagnostic + ?Sized), redactor: &Redactor) -> Self {
        let mut what = error.to_string();
        let mut cause = error.source();
        while let Some(next) = cause {
            what.push_str(": ");
            what.push_str(&next.to_string());
            cause = next.source();
        }
        let help = error.help().map(|help| help.to_string()).unwrap_or_default();
        Self { what: redactor.text(&what), help: redactor.text(&help), session_lost: false }
    }
}
