//! What a command has started at the other end, and what is done to it.
//!
//! A session's shell may have left something on purpose, with a command before: that goes on, as on this machine, whatever becomes of this
//! one. The two are told apart by when they started, by the clock there.

use super::control_shell::{ControlShell, Moment, Since};

/// All that a command has started, or that bears the mark of the shell that it runs in.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) scout: ControlShell,
    /// The shell's number there, and its mark.
    pub(super) pid: String,
    pub(super) mark: String,
    /// When the command was sent there; none if whatever the shell has started is meant.
    pub(super) sent: Option<Moment>,
}

impl Started {
    async fn since(&self) -> Option<Since> {
        match self.sent {
            Some(sent) => self.scout.since(sent).await,
            None => Some(Since::ever()),
        }
    }

    /// Sends it a signal.
    pub(super) async fn signal(self, signal: i32) -> Option<()> {
        let since = self.since().await?;
        self.scout.signal(&self.pid, &self.mark, signal, &since).await
    }

    /// Ctrl-C, for the shell and what it waits for.
    pub(super) async fn interrupt(self) -> Option<()> {
        self.scout.interrupt(&self.pid).await
    }

    /// Sends it a signal, and interrupts the shell.
    pub(super) async fn signal_and_interrupt(self, signal: i32) -> Option<()> {
        let since = self.since().await?;
        self.scout.signal(&self.pid, &self.mark, signal, &since).await?;
        self.interrupt().await
    }

    /// Kills it; none if something is left.
    pub(super) async fn kill(self) -> Option<()> {
        let since = self.since().await?;
        self.scout.kill_rest(&self.pid, &self.mark, &since).await
    }

    /// Kills it, and interrupts the shell.
    pub(super) async fn kill_and_interrupt(self) -> Option<()> {
        let since = self.since().await?;
        self.scout.kill_rest(&self.pid, &self.mark, &since).await?;
        self.interrupt().await
    }
}
