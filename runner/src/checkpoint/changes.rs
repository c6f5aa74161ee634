//! Changes that lie over a workspace, and what of it they cover. Plain data: whoever reads them decides what is one (`overlay/changes.rs`).

use std::collections::{BTreeMap, BTreeSet};

use rustix::fs::FileType;

use super::ledger::Ledger;
use super::plan::above;
use super::tree::{Found, Name, Uncovered};

/// What was written over a workspace, and deleted from it.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Written: what stands at these paths now.
    pub found: BTreeMap<Name, Found>,
    /// Deleted, with all that was below.
    pub deleted: BTreeSet<Name>,
    /// Directories of which nothing of the workspace's shows.
    pub opaque: BTreeSet<Name>,
    /// Made, and nothing that could be put into the workspace: sockets, pipes, what cannot be read.
    pub left_out: Vec<Uncovered>,
}

impl Changes {
    /// Whether nothing has changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty() && self.deleted.is_empty() && self.left_out.is_empty()
    }

    /// Whether what the workspace has at this path does not show through.
    #[must_use]
    pub fn covers(&self, name: &[u8]) -> bool {
        let is_file = |found: &Found| found.file_type() != FileType::Directory;
        let hides = |above: &[u8]| {
            self.deleted.contains(above) || self.opaque.contains(above) || self.found.get(above).is_some_and(is_file)
        };
        self.found.contains_key(name) || self.deleted.contains(name) || above(name).any(hides)
    }

    /// Every path that is written, or that `base` knows and is gone.
    #[must_use]
    pub fn touched(&self, base: &Ledger) -> BTreeSet<Name> {
        let covered = base.names().filter(|name| self.covers(name)).cloned();
        covered.chain(self.found.keys().cloned()).chain(self.deleted.iter().cloned()).collect()
    }
}
