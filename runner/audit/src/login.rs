//! Somebody whom a server did not let in.

use palisade_redact::Redacted;
use serde::Serialize;

use super::entry::Term;

/// A request whose sender could prove to be none of the server's principals.
#[derive(Clone, Debug, Serialize)]
pub struct TurnedAway {
    /// What was wrong with the proof.
    pub why: Term,
    /// Where the request came from: an address and a port; empty for a socket in the file system.
    #[serde(skip_serializing_if = "Redacted::is_empty")]
    pub from: Redacted,
    /// The user that the kernel says it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The names in the certificate that it showed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<Redacted>,
    /// How many more were turned away since the entry before, and have none of their own.
    #[serde(skip_serializing_if = "is_none")]
    pub more: u64,
}

fn is_none(more: &u64) -> bool {
    *more == 0
}
