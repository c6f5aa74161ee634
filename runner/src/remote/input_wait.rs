//! When it is asked whether a command waits for input, of whoever knows that at the target: once it has said nothing for a while, and more
//! and more seldom as long as it goes on like that. A command that says something, or ends at once, costs nothing.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::Instant;

use super::RemoteShell;
use crate::transport::local::input_wait::QUIET;

/// The longest time between two questions.
const SELDOM: Duration = Duration::from_secs(16);

type Look = Pin<Box<dyn Future<Output = Option<bool>> + Send>>;

/// A command that has an input.
pub(super) struct Quiet {
    ask: Box<dyn Fn() -> Look + Send>,
    asked: Option<Look>,
    next: Instant,
    pause: Duration,
}

impl Quiet {
    /// For what runs in this shell from now on.
    pub(super) fn new(shell: &RemoteShell) -> Self {
        let (scout, pid, mark) = (shell.base.scout().clone(), shell.pid.clone(), shell.mark.clone());
        let held = shell.held.clone();
        let ask = move || -> Look {
            let (scout, pid, mark, held) = (scout.clone(), pid.clone(), mark.clone(), held.clone());
            Box::pin(async move {
                match held {
                    Some(held) => held.waits().await,
                    None => scout.waits(&pid, &mark).await,
                }
            })
        };
        Self { ask: Box::new(ask), asked: None, next: Instant::now() + QUIET, pause: QUIET }
    }

    /// It has said something, or was told something: what was asked before is no longer of interest.
    pub(super) fn is_over(&mut self) {
        self.asked = None;
        self.pause = QUIET;
        self.next = Instant::now() + QUIET;
    }

    /// Whether it waits, once that is asked again. What cannot be told counts as no. Safe to drop.
    pub(super) async fn waits(&mut self) -> bool {
        if self.asked.is_none() {
            tokio::time::sleep_until(self.next).await;
        }
        let waits = self.asked.get_or_insert_with(&self.ask).await;
        self.asked = None;
        self.next = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(SELDOM);
        waits.unwrap_or(false)
    }
}
