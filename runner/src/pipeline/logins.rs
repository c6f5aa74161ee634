//! Who was not let in, on record. Decided elsewhere: by whoever takes in requests from outside.

use palisade_audit::{Term, TurnedAway};

use super::{Failure, Pipeline};

/// Most names of one certificate that are told.
const MAX_NAMES: usize = 8;

/// Somebody whose proof does not count.
#[derive(Clone, Debug)]
pub struct Outsider<'a> {
    /// What is wrong with it.
    pub why: &'static str,
    /// Where the request came from; empty if that has no name.
    pub from: &'a str,
    /// The user, if the kernel says.
    pub uid: Option<u32>,
    /// The names in a certificate.
    pub names: &'a [String],
    /// How many more there were that are not told by themselves.
    pub more: u64,
}

impl Pipeline {
    /// Puts on record that somebody was not let in.
    ///
    /// # Errors
    /// If it cannot be recorded. They are not let in all the same.
    pub async fn turned_away(&self, outsider: Outsider<'_>) -> Result<(), Failure> {
        let Outsider { why, from, uid, names, more } = outsider;
        let names = names.iter().take(MAX_NAMES).map(|name| self.state.redact(name)).collect();
        let entry = TurnedAway { why: Term::new(why), from: self.state.redact(from), uid, names, more };
        self.state.audit.append(entry).await.map(drop).map_err(|error| self.state.failure(&error))
    }
}
