//! What goes with a view of a workspace that is given up.

use palisade_redact::Redacted;
use serde::Serialize;

use super::Id;

/// A part of it.
#[derive(Clone, Debug, Serialize)]
pub struct Discarded {
    /// The view.
    pub view: Id,
    /// Who gives it up.
    pub by: Redacted,
    /// What it holds cannot be told.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unread: bool,
    /// What the agent had made or changed there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub write: Vec<Redacted>,
    /// What it had deleted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub delete: Vec<Redacted>,
    /// Which part of the lists this is, and of how many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<[usize; 2]>,
}
