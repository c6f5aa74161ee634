//! What a session has made of its workspace: for each path that it has changed, the state that it left.
//!
//! A path whose state is still that one is the session's work; in any other state somebody else has been there since. What is
//! not in the ledger the session has never touched. It is learnt by looking before and behind each command: what others
//! change in that very time is taken for the command's.

use std::collections::BTreeMap;

use super::tree::{Found, MAX_ENTRIES, Name, Stamp, Tree};

/// The last state of each path that a session has changed; none: it deleted it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger(BTreeMap<Name, Option<Stamp>>);

impl Ledger {
    /// A command has run between these two looks.
    pub fn ran(&mut self, before: &Tree, after: &Tree) {
        for (name, found) in &after.found {
            if !before.found.get(name).is_some_and(|before| found.is_as(before)) {
                self.note(name, Some(found.stamp));
            }
        }
        for name in before.found.keys().filter(|name| !after.found.contains_key(*name)) {
            self.note(name, None);
        }
    }

    /// This path was left in this state. Beyond the limit a further path stays unknown: no restore touches it then.
    pub(crate) fn note(&mut self, name: &[u8], state: Option<Stamp>) {
        if self.0.len() < MAX_ENTRIES || self.0.contains_key(name) {
            self.0.insert(name.to_vec(), state);
        }
    }

    /// Whether the session made this path what it is, or is not, now.
    #[must_use]
    pub fn made(&self, name: &[u8], now: Option<&Found>) -> bool {
        match (self.0.get(name), now) {
            (Some(None), None) => true,
            (Some(Some(left)), Some(found)) if is_directory(left) && is_directory(&found.stamp) => {
                left.file == found.stamp.file && left.mode == found.stamp.mode
            }
            (Some(Some(left)), Some(found)) => *left == found.stamp,
            _ => false,
        }
    }

    /// The paths that it tells of.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.0.keys()
    }

    /// The state of a path that it tells of; none inside: it was deleted.
    #[must_use]
    pub fn state(&self, name: &[u8]) -> Option<Option<Stamp>> {
        self.0.get(name).copied()
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As bytes, for [`Self::read`].
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, stamp) in &self.0 {
            match stamp {
                None => bytes.extend_from_slice(b"- "),
                Some(stamp) => bytes.extend_from_slice(format!("{stamp} ").as_bytes()),
            }
            bytes.extend_from_slice(name);
            bytes.push(0);
        }
        bytes
    }

    /// What [`Self::to_bytes`] made; none if it is anything else.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut all = BTreeMap::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == 0)?;
            let line = rest.get(..end)?;
            rest = rest.get(end + 1..)?;
            if let Some(name) = line.strip_prefix(b"- ") {
                all.insert(name.to_vec(), None);
                continue;
            }
            let (stamp, name) = Stamp::read(line)?;
            all.insert(name.to_vec(), Some(stamp));
        }
        Some(Self(all))
    }
}

/// Its size and times tell what is in it, which has its own entries.
fn is_directory(stamp: &Stamp) -> bool {
    rustix::fs::FileType::from_raw_mode(stamp.mode) == rustix::fs::FileType::Directory
}
