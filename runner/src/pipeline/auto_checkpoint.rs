//! Checkpoints that nobody asks for: before a command, where policy permits it only so or the settings want one.
//!
//! No checkpoint, no run. It is taken when the command is granted and on record, and right before it begins.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use palisade_audit::{Effect, Ruling};
use palisade_engine::Grant;

use super::checkpoint_target::CheckpointTarget;
use super::seats::ExecTarget;
use super::{Checkpoints, Failure};
use crate::checkpoint::Automatic;
use crate::checkpoint::store::{About, Snapshot};
use crate::checkpoint::tree::Tree;
use crate::job::Job;
use crate::record::{self, Pruner};
use crate::result::ReadingAhead;
use crate::shell::Stop;
use crate::shell::pace::Pace;

/// In whose name what commands without a session make is kept: all of them together are one that never closes.
pub(super) const NO_SESSION: &str = "no-session";

/// Characters of a command that name the checkpoint before it.
const MAX_NAME: usize = 80;

/// Readings of the workspace for checkpoints.
#[derive(Debug, Default)]
pub(super) struct Readings {
    /// Nothing is to be read any more.
    ending: Arc<AtomicBool>,
    /// The one that goes on ahead of all checkpoints.
    ahead: Mutex<Option<Arc<Pace>>>,
}

impl Readings {
    /// Ends all of them.
    pub(super) fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// For one more.
    pub(super) fn pace(&self) -> Arc<Pace> {
        Arc::new(Pace::until(Arc::clone(&self.ending)))
    }

    fn ahead(&self) -> Option<Arc<Pace>> {
        // Nothing that holds the lock can fail half-way.
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn goes_ahead(&self, pace: Option<Arc<Pace>>) {
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner) = pace;
    }
}

impl Checkpoints<'_> {
    /// Reads the workspace where checkpoints will be taken that nobody asks for, so that the first of them keeps nobody waiting for
    /// long. For a server to run beside its work; done when all is read.
    pub async fn read_ahead(self) {
        let settings = &self.state.settings.checkpoints;
        if settings.automatic == Automatic::Never && !self.state.settings.engine.now().demands_checkpoints() {
            return;
        }
        let pace = self.state.readings.pace();
        self.state.readings.goes_ahead(Some(Arc::clone(&pace)));
        let read = self
            .state
            .workspaces()
            .in_store(&CheckpointTarget::Here, move |store| store.read_ahead(&store.lock_while(&pace)?, &pace))
            .await;
        self.state.readings.goes_ahead(None);
        if let Err(failure) = read {
            // The first command that needs it is told, and does not run.
            tracing::warn!(what = %failure.what, "the workspace cannot be read ahead of its checkpoints");
        }
    }

    /// How far the reading ahead has come, while it goes on.
    pub fn reading_ahead(self) -> Option<ReadingAhead> {
        self.state.readings.ahead().map(|pace| told(&pace))
    }

    /// The same for one that somebody waits for: first for the one that goes ahead.
    pub(super) fn reading(self, pace: &Pace) -> ReadingAhead {
        self.reading_ahead().unwrap_or_else(|| told(pace))
    }

    /// Sees to the checkpoint that a command needs before it, if it needs one; the workspace as it is then. `account` is in whose name
    /// the checkpoint and what the command makes are kept.
    ///
    /// # Errors
    /// There can be none, or it cannot be recorded: then the command must not run.
    pub(super) async fn take_before(
        self,
        job: &Job,
        seat: &mut ExecTarget,
        account: &str,
        grant: &Grant,
        stop: &Stop,
    ) -> Result<Option<Tree>, Failure> {
        let demanded = &grant.report().checkpoint;
        let wanted = || self.state.settings.checkpoints.automatic == Automatic::Changes && grant.may_change_workspace();
        if demanded.is_empty() && !wanted() {
            return Ok(None);
        }
        let ground = self.state.workspaces().of_seat(seat)?;
        self.state.workspaces().track(&ground, account).await?;
        let about = About {
            label: job.script.clone().shortened(MAX_NAME).to_string(),
            session: account.to_owned(),
            before_restore: None,
            beyond: false,
            automatic: true,
        };
        let pace = self.state.readings.pace();
        job.progress.waits_for(Some(Arc::clone(&pace)));
        let taking = self.state.workspaces().take(&ground, about, true, Arc::clone(&pace));
        let mut taking = std::pin::pin!(taking);
        let mut stop = stop.clone();
        let taken = tokio::select! {
            taken = &mut taking => taken,
            () = stop.requested() => {
                pace.stop();
                taking.await
            }
        };
        job.progress.waits_for(None);
        let (_, Snapshot { checkpoint, tree, is_new }) = taken?;
        let note = self.note(&checkpoint);
        if is_new {
            let policies = demanded.iter().map(|id| self.state.redact(id)).collect();
            let entry = record::checkpoint_before(job.req, account, policies, &note);
            if let Err(error) = self.state.audit.append(entry).await {
                self.state.workspaces().take_away(&ground, checkpoint.id).await?;
                return Err(self.state.failure(&error));
            }
            if let Err(failure) = self.give_up_surplus(&ground).await {
                // There is a limit to them all the same.
                tracing::warn!(what = %failure.what, "old checkpoints cannot be given up");
            }
        }
        job.progress.behind(note.checkpoint);
        Ok(Some(tree))
    }

    /// Lets the oldest of those go that nobody asked for, where there are more than the settings keep.
    async fn give_up_surplus(self, ground: &CheckpointTarget) -> Result<(), Failure> {
        let keep = self.state.settings.checkpoints.keep;
        let surplus = self.state.workspaces().in_store(ground, move |store| {
            let held = store.lock()?;
            let surplus = store.surplus(&held, keep)?;
            Ok((held, surplus))
        });
        let (_, (held, surplus)) = surplus.await?;
        if !surplus.is_empty() {
            let ruling = Ruling { effect: Effect::Allow, determining: Vec::new() };
            let pruner = Pruner { by: None, target: ground.target(), ruling, keep };
            self.give_up(ground, held, surplus, pruner).await?;
        }
        Ok(())
    }
}

fn told(pace: &Pace) -> ReadingAhead {
    let (read, of) = pace.so_far().unwrap_or_default();
    ReadingAhead { read, of }
}
