//! Checkpoints and records that go: who may give them up, and that it is on record before any is gone.

use palisade_audit::{Effect, Ruling};
use palisade_engine::Oversight;
use palisade_redact::Redacted;

use super::checkpoint_target::CheckpointTarget;
use super::overseers::Overseers;
use super::{CheckpointNote, Checkpoints, Failure};
use crate::checkpoint::Checkpoint;
use crate::checkpoint::store::Lock;
use crate::control::user_name;
use crate::record;

/// What became of checkpoints that were to be given up.
#[derive(Debug)]
pub enum Pruned {
    /// These are gone.
    Gone {
        /// What was to be said of them.
        checkpoints: Vec<CheckpointNote>,
        /// The target may keep bytes that only they needed, and why.
        kept: Option<Failure>,
    },
    /// Policy does not let whoever wanted it. All are still there.
    Refused(Redacted),
}

impl Checkpoints<'_> {
    /// Gives up all checkpoints but so many of the newest, and those that a restore which was cut short still needs. Whoever runs this
    /// process has to be let do it by policy: checkpoints are kept for the account that holds them, as the record is. `through` is a
    /// session at the target whose workspace is meant; none: that of this machine. There all goes that no checkpoint needs.
    ///
    /// # Errors
    /// The store cannot be read or written, or it cannot be recorded: then all are still there.
    pub async fn prune(self, through: Option<&str>, keep: usize) -> Result<Pruned, Failure> {
        let ground = self.state.workspaces().through(through)?;
        let found = self.state.workspaces().in_store(&ground, move |store| {
            let held = store.lock()?;
            let old = store.old(&held, keep)?;
            Ok((held, old, store.owner()?))
        });
        let (_, (held, old, owner)) = found.await?;
        let person = self.state.overseers().own_account();
        let owner = user_name(owner);
        let authority = self.state.overseers().oversees(&person, &Oversight::Prune { owner: owner.clone() });
        let (by, policies) =
            (self.state.redact(&person.user), authority.policies.iter().map(|id| self.state.redact(id)).collect());
        let effect = if authority.allowed { Effect::Allow } else { Effect::Deny };
        let ruling = Ruling { effect, determining: policies };
        let pruner = record::Pruner { by: Some(by), target: ground.target(), ruling, keep };
        let checkpoints = self.give_up(&ground, held, old, pruner).await?;
        if authority.allowed {
            let kept = self.state.workspaces().sweep(&ground).await.err();
            return Ok(Pruned::Gone { checkpoints, kept });
        }
        let policies = authority.policies.join(", ");
        let policies = if policies.is_empty() { String::new() } else { format!(" ({policies})") };
        let (user, why) = (&person.user, &authority.why);
        let what = format!("policy does not let `{user}` prune the checkpoints of `{owner}`: {why}{policies}");
        Ok(Pruned::Refused(self.state.redact(&what)))
    }

    /// Puts on record which checkpoints go, and lets them go if they may.
    pub(super) async fn give_up(
        self,
        ground: &CheckpointTarget,
        held: Lock,
        old: Vec<Checkpoint>,
        pruner: record::Pruner,
    ) -> Result<Vec<CheckpointNote>, Failure> {
        let gone: Vec<CheckpointNote> = old.iter().map(|checkpoint| self.note(checkpoint)).collect();
        let allowed = pruner.ruling.effect == Effect::Allow;
        let entry = record::checkpoints_pruned(pruner, &gone);
        self.state.audit.append(entry).await.map_err(|error| self.state.failure(&error))?;
        if allowed {
            let ids: Vec<_> = old.into_iter().map(|checkpoint| checkpoint.id).collect();
            self.state.workspaces().remove(ground, held, ids).await?;
        }
        Ok(gone)
    }
}

impl Overseers<'_> {
    /// Has the record give up what `audit.retention` lets go, if policy lets the account that writes it; else all stays, and the log says so.
    pub(super) fn keep_records(self) {
        if self.state.settings.audit.retention.is_none() {
            return;
        }
        let person = self.own_account();
        let authority = self.oversees(&person, &Oversight::Prune { owner: person.user.clone() });
        if !authority.allowed {
            let (user, why) = (&person.user, &authority.why);
            tracing::warn!(
                "`audit.retention` takes nothing away: policy does not let `{user}` prune the record: {why}"
            );
        }
        self.state.audit.let_prune(authority.allowed);
    }
}
