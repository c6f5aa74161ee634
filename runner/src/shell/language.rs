//! Which shell a session has, and how it is told things.
//!
//! A bash is preferred, for that is what scripts are judged for. Where there is none a `sh` of dash's kind does: a script that would be
//! anything else there is refused by the grammar ([`palisade_grammar::Shell::posix`]).

use palisade_engine::SessionShell;
use serde::Serialize;

use super::frame::{self, Streams};
use super::{Nonce, posix};

/// The shell that a session's commands run in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Language {
    /// bash.
    #[default]
    Bash,
    /// dash or busybox's ash.
    Sh,
}

impl Language {
    /// What it is told first, and a report.
    pub(crate) fn boot(self, nonce: &Nonce) -> Vec<u8> {
        match self {
            Self::Bash => frame::boot_remote(nonce),
            Self::Sh => posix::boot(nonce),
        }
    }

    /// One command, and a report.
    pub(crate) fn command(
        self,
        script: &[u8],
        directory: Option<&[u8]>,
        streams: Streams<'_>,
        nonce: &Nonce,
    ) -> Vec<u8> {
        match self {
            Self::Bash => frame::command(script, directory, streams, nonce),
            Self::Sh => posix::command(script, directory, streams, nonce),
        }
    }

    /// The command of a shell that has only one.
    pub(crate) fn only(self, script: &[u8], directory: Option<&[u8]>, farewell: bool) -> Vec<u8> {
        match self {
            Self::Bash => frame::only(script, directory, farewell),
            // No command of its may set a trap.
            Self::Sh => posix::only(script, directory),
        }
    }

    /// Goes to a directory, and a report.
    pub(crate) fn go(self, directory: &str, nonce: &Nonce) -> Vec<u8> {
        let word = self.quoted(directory);
        match self {
            Self::Bash => frame::own(&format!("builtin cd -P -- {word}"), nonce),
            Self::Sh => posix::own(&format!("command cd -P -- {word}"), nonce),
        }
    }

    /// From now on reports come on standard output alone, in a shell whose standard error nobody reads.
    pub(crate) fn one_report(self) -> Vec<u8> {
        match self {
            Self::Bash => frame::one_report(),
            Self::Sh => posix::one_report(),
        }
    }

    /// A report by itself.
    pub(crate) fn sync(self, nonce: &Nonce) -> Vec<u8> {
        match self {
            Self::Bash => frame::sync(nonce),
            Self::Sh => posix::sync(nonce),
        }
    }

    /// A text as one word.
    pub(crate) fn quoted(self, text: &str) -> String {
        match self {
            Self::Bash => frame::quoted(text.as_bytes()),
            Self::Sh => posix::quoted(text.as_bytes()),
        }
    }

    /// The shell, as scripts are read for it before any has run.
    pub(crate) fn fresh(self) -> palisade_grammar::Shell {
        match self {
            Self::Bash => palisade_grammar::Shell::new(),
            Self::Sh => palisade_grammar::Shell::posix(),
        }
    }

    /// What policies are told of it.
    pub(crate) fn told(self) -> SessionShell {
        match self {
            Self::Bash => SessionShell::Bash,
            Self::Sh => SessionShell::Sh,
        }
    }
}
