//! Putting what an agent did in its view into the workspace.
//!
//! It is a restore, to a checkpoint of the workspace as the view has it: every path is a request of its own beside `restore`, what others
//! changed since is a conflict, a checkpoint of what was there is taken first, all of it is on record path by path before any of it is
//! done, and one that was cut short can be gone on with. Giving a view up touches nothing of the workspace; what goes with it is on record.

use std::sync::Arc;

use palisade_audit::{Discarded, Id};
use palisade_redact::Redacted;
use serde::Serialize;

use super::checkpoint_target::CheckpointTarget;
use super::checkpoints::{Checked, Person, RestoreNote, Terms};
use super::path_lists::in_parts;
use super::state::PipelineState;
use super::{Client, Failure};
use crate::checkpoint::store::About;
use crate::control::user_name;
use crate::overlay::Held;

/// What applying a view did, or would do.
#[derive(Clone, Debug, Serialize)]
pub struct Applied {
    /// The view.
    pub view: Redacted,
    /// What became of each path.
    #[serde(flatten)]
    pub note: RestoreNote,
    /// What the agent made and nothing can be made of in the workspace, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<Redacted>,
    /// All that the view held is in the workspace, and the view is empty.
    pub emptied: bool,
}

/// What agents did in views of the workspace.
#[derive(Clone, Copy, Debug)]
pub struct Views<'a> {
    pub(super) state: &'a Arc<PipelineState>,
}

impl Views<'_> {
    /// Puts what a view holds into the workspace, or says what that would do. Of a view that is in the workspace as a whole nothing is
    /// left; else it stays as it is.
    ///
    /// # Errors
    /// View, workspace or store cannot be used, or it cannot be recorded: then nothing was applied.
    pub async fn apply(
        self,
        view: &Arc<Held>,
        terms: Terms,
        person: &mut Person<'_>,
    ) -> Result<Checked<Applied>, Failure> {
        let overlay = view.overlay().clone();
        let session = overlay.id();
        let changes = tokio::task::block_in_place(|| overlay.changes()).map_err(|error| self.state.failure(&error))?;
        let base = overlay.base().map_err(|error| self.state.failure(&error))?;
        let upper = overlay.upper().map_err(|error| self.state.failure(&error))?;
        let about = About { label: session.clone(), session: session.clone(), ..About::default() };
        let (_, viewed) = self
            .state
            .workspaces()
            .in_store(&CheckpointTarget::Here, move |store| {
                store.take_viewed(&store.lock()?, &changes, &upper, &base, &about)
            })
            .await?;
        let to = viewed.checkpoint.id.as_str();
        let done = self
            .state
            .checkpoints()
            .go_back(&CheckpointTarget::Here, &session, to, terms, &Client::default(), Some(person))
            .await;
        let about = viewed.checkpoint.about;
        self.state
            .workspaces()
            .in_store(&CheckpointTarget::Here, move |store| store.forget_viewed(&store.lock()?, &about))
            .await?;
        let left_out = viewed.left_out.iter();
        let left_out: Vec<_> = left_out
            .map(|left| self.state.redact(&format!("{}: {}", String::from_utf8_lossy(&left.name), left.why.as_str())))
            .collect();
        Ok(match done? {
            Checked::Done(note) => {
                let whole = !note.dry_run
                    && note.failed.is_empty()
                    && note.conflicts.count == 0
                    && note.left.count == 0
                    && left_out.is_empty();
                if whole {
                    tokio::task::block_in_place(|| view.discard()).map_err(|error| self.state.failure(&error))?;
                }
                Checked::Done(Box::new(Applied {
                    view: self.state.redact(&session),
                    note: *note,
                    left_out,
                    emptied: whole,
                }))
            }
            Checked::Refused(refusal) => Checked::Refused(refusal),
            Checked::Unanswered(unanswered) => Checked::Unanswered(unanswered),
        })
    }

    /// Gives up what a view holds. Which paths the agent had changed there is on record before any of it goes; of a view that cannot be
    /// read it says so, for that is no reason to keep it.
    ///
    /// # Errors
    /// It cannot be recorded: then all is still there. Or something cannot be removed.
    pub async fn discard(self, view: &Arc<Held>) -> Result<(), Failure> {
        let changes = tokio::task::block_in_place(|| view.overlay().changes());
        let unread = changes.is_err();
        let changes = changes.unwrap_or_default();
        let made = changes.found.keys().chain(changes.left_out.iter().map(|left| &left.name));
        let parts = in_parts(made.map(|name| (name, true)).chain(changes.deleted.iter().map(|name| (name, false))));
        let by = self.state.redact(&user_name(rustix::process::getuid().as_raw()));
        let count = parts.len();
        for (part, these) in parts.into_iter().enumerate() {
            let of = |wanted| {
                these
                    .iter()
                    .filter(move |(_, write)| *write == wanted)
                    .map(|(name, _)| self.state.checkpoints().path(name))
            };
            let (write, delete) = (of(true).collect(), of(false).collect());
            let view = Id::new(&view.overlay().id()).unwrap_or_else(Id::unknown);
            let part = (count > 1).then_some([part + 1, count]);
            let entry = Discarded { view, by: by.clone(), unread, write, delete, part };
            self.state.audit.append(entry).await.map_err(|error| self.state.failure(&error))?;
        }
        tokio::task::block_in_place(|| view.discard()).map_err(|error| self.state.failure(&error))
    }
}
