//! How bytes reach a shell: on this machine, or at the other end of a connection.
//!
//! A shell on this machine stands under the sandbox and has channels that nobody else holds (`local/`). One elsewhere has three
//! streams and nothing that holds it (`remote/`); what makes those streams is a connection of SSH (`ssh/`) or an exec in a
//! container (`docker/`), and both look alike from above.

pub mod docker;
mod left;
mod line_ends;
pub mod local;
pub mod remote;
pub mod ssh;
mod turn;

use self::local::LocalShell;
use self::remote::RemoteShell;
use crate::session_directory::SessionDirectory;
use crate::shell::{Ended, SessionError, State, Terms};
use palisade_redact::Redactor;

/// What a terminal is to programs: one that knows colours, whose escape sequences are taken out again.
const TERMINAL_KIND: &str = "xterm-256color";

/// A running shell, wherever it is.
#[derive(Debug)]
pub(crate) enum Shell {
    /// On this machine, under the sandbox.
    Local(Box<LocalShell>),
    /// At the other end of a connection.
    Remote(Box<RemoteShell>),
}

impl Shell {
    /// Runs one command to its end, the shell's end, or the deadline.
    ///
    /// # Errors
    /// If it cannot be started: it has not run then.
    pub(crate) async fn run(
        &mut self,
        script: &[u8],
        redactor: &Redactor,
        terms: Terms,
    ) -> Result<Ended, SessionError> {
        match self {
            Self::Local(shell) => shell.run(script, redactor, terms).await,
            Self::Remote(shell) => shell.run(script, redactor, terms).await,
        }
    }

    /// What the shell is now; none if that is too much to keep.
    ///
    /// # Errors
    /// If the shell does not answer any more: it is ended then.
    pub(crate) async fn state(&mut self, status: i32) -> Result<Option<State>, SessionError> {
        match self {
            Self::Local(shell) => shell.state(status).await,
            Self::Remote(shell) => shell.state(status).await,
        }
    }

    /// Has every command use pipes of its own from now on, where commands share any.
    pub(crate) fn keep_nothing(&mut self) {
        if let Self::Local(shell) = self {
            shell.keep_nothing();
        }
    }

    /// The shell on this machine, if it is one.
    pub(crate) fn local(&self) -> Option<&LocalShell> {
        match self {
            Self::Local(shell) => Some(shell),
            Self::Remote(_) => None,
        }
    }

    /// The shell elsewhere, if it is one.
    pub(crate) fn remote(&self) -> Option<&RemoteShell> {
        match self {
            Self::Remote(shell) => Some(shell),
            Self::Local(_) => None,
        }
    }

    /// Ends the shell and everything in it; the directories that a local one had.
    pub(crate) async fn close(self) -> Option<SessionDirectory> {
        match self {
            Self::Local(shell) => Some(shell.close().await),
            Self::Remote(shell) => {
                shell.close().await;
                None
            }
        }
    }
}
