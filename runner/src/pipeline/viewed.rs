//! Putting what an agent did in its view into the workspace.
//!
//! It is a restore, to a checkpoint of the workspace as the view has it: every path is a request of its own beside `restore`, what others
//! changed since is a conflict, a checkpoint of what was there is taken first, all of it is on record path by path before any of it is
//! done, and one that was cut short can be gone on with.

use std::sync::Arc;

use serde::Serialize;

use super::checkpoints::{Checked, Person, RestoreNote, Terms};
use super::ground::Ground;
use super::{Client, Failure, Pipeline};
use crate::checkpoint::store::About;
use crate::overlay::Held;
use crate::redact::Redacted;

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

impl Pipeline {
    /// Puts what a view holds into the workspace, or says what that would do. Of a view that is in the workspace as a whole nothing is
    /// left; else it stays as it is.
    ///
    /// # Errors
    /// View, workspace or store cannot be used, or it cannot be recorded: then nothing was applied.
    pub async fn apply_view(
        &self,
        view: &Arc<Held>,
        terms: Terms,
        person: &mut Person<'_>,
    ) -> Result<Checked<Applied>, Failure> {
        let overlay = view.overlay().clone();
        let session = overlay.id();
        let changes = tokio::task::block_in_place(|| overlay.changes()).map_err(|error| self.failure(&error))?;
        let base = overlay.base().map_err(|error| self.failure(&error))?;
        let upper = overlay.upper().map_err(|error| self.failure(&error))?;
        let about = About { label: session.clone(), session: session.clone(), ..About::default() };
        let (_, viewed) = self
            .in_store(&Ground::Here, move |store| store.take_viewed(&store.lock()?, &changes, &upper, &base, &about))
            .await?;
        let to = viewed.checkpoint.id.as_str();
        let done = self.go_back(&Ground::Here, &session, to, terms, &Client::default(), Some(person)).await;
        let about = viewed.checkpoint.about;
        self.in_store(&Ground::Here, move |store| store.forget_viewed(&store.lock()?, &about)).await?;
        let left_out = viewed.left_out.iter();
        let left_out: Vec<_> = left_out
            .map(|left| self.redact(&format!("{}: {}", String::from_utf8_lossy(&left.name), left.why.as_str())))
            .collect();
        Ok(match done? {
            Checked::Done(note) => {
                let whole = !note.dry_run
                    && note.failed.is_empty()
                    && note.conflicts.count == 0
                    && note.left.count == 0
                    && left_out.is_empty();
                if whole {
                    tokio::task::block_in_place(|| view.discard()).map_err(|error| self.failure(&error))?;
                }
                Checked::Done(Box::new(Applied { view: self.redact(&session), note: *note, left_out, emptied: whole }))
            }
            Checked::Refused(refusal) => Checked::Refused(refusal),
            Checked::Unanswered(unanswered) => Checked::Unanswered(unanswered),
        })
    }
}
