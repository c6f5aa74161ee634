//! The shell of a session: on this machine, or at a target. Both look alike from above.

use palisade_redact::Redactor;

use crate::remote::RemoteShell;
use crate::session_directory::SessionDirectory;
use crate::shell::{RunEnd, SessionError, State, Terms};
use crate::transport::local::LocalShell;

/// A running shell, wherever it is.
#[derive(Debug)]
pub(super) enum Shell {
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
    pub(super) async fn run(
        &mut self,
        script: &[u8],
        redactor: &Redactor,
        terms: Terms,
    ) -> Result<RunEnd, SessionError> {
        match self {
            Self::Local(shell) => shell.run(script, redactor, terms).await,
            Self::Remote(shell) => shell.run(script, redactor, terms).await,
        }
    }

    /// What the shell is now; none if that is too much to keep.
    ///
    /// # Errors
    /// If the shell does not answer any more: it is ended then.
    pub(super) async fn state(&mut self, status: i32) -> Result<Option<State>, SessionError> {
        match self {
            Self::Local(shell) => shell.state(status).await,
            Self::Remote(shell) => shell.state(status).await,
        }
    }

    /// Has every command use pipes of its own from now on, where commands share any.
    pub(super) fn keep_nothing(&mut self) {
        if let Self::Local(shell) = self {
            shell.keep_nothing();
        }
    }

    /// The shell on this machine, if it is one.
    pub(super) fn local(&self) -> Option<&LocalShell> {
        match self {
            Self::Local(shell) => Some(shell),
            Self::Remote(_) => None,
        }
    }

    /// The shell elsewhere, if it is one.
    pub(super) fn remote(&self) -> Option<&RemoteShell> {
        match self {
            Self::Remote(shell) => Some(shell),
            Self::Local(_) => None,
        }
    }

    /// Ends the shell and everything in it; the directories that a local one had.
    pub(super) async fn close(self) -> Option<SessionDirectory> {
        match self {
            Self::Local(shell) => Some(shell.close().await),
            Self::Remote(shell) => {
                shell.close().await;
                None
            }
        }
    }
}
