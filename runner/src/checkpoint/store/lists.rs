//! The checkpoints of a workspace at a target: the lists are kept here, as those of a workspace on this machine are, and the bytes there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::SystemTime;

use git2::Oid;

use super::snapshot::{Read, STEP, SnapshotTaker};
use super::{About, CHECKPOINTS, Holds, Lock, Snapshot, Store, reached};
use crate::checkpoint::tree::{Entry, Kind, Name, Scope, Tree};
use crate::checkpoint::{CheckpointError, CheckpointId};

impl Store {
    /// The store for a workspace at a target, by a name that no path on this machine has.
    ///
    /// # Errors
    /// It cannot be made or opened.
    pub(crate) fn open_lists(
        stores: &Path,
        name: &str,
        workspace: &Path,
        scope: Scope,
    ) -> Result<Self, CheckpointError> {
        Self::open_named(stores, name.as_bytes(), workspace, scope, Holds::Lists)
    }

    /// The objects of those files that are as they were when they were last read.
    pub(crate) fn known(&self, tree: &Tree) -> BTreeMap<Name, Oid> {
        let mut known = BTreeMap::new();
        for (name, (stamp, object)) in self.side_files().cache() {
            if tree.found.get(&name).is_some_and(|found| found.stamp == stamp) {
                known.insert(name, object);
            }
        }
        known
    }

    /// Makes a checkpoint of what was read at a target, whose time was `now` before that.
    ///
    /// # Errors
    /// The store cannot be written or is full.
    #[expect(clippy::too_many_arguments, reason = "what was found, what was read, what is said of it")]
    pub(crate) fn keep_lists(
        &self,
        _held: &Lock,
        mut tree: Tree,
        objects: &BTreeMap<Name, Oid>,
        about: &About,
        start: SystemTime,
        now: i128,
        reuse: bool,
    ) -> Result<Snapshot, CheckpointError> {
        let settled = now - i128::try_from(STEP.as_nanos()).unwrap_or_default();
        let before = self.side_files().cache();
        let (mut entries, mut settled_files, mut is_known) = (BTreeMap::new(), 0, true);
        for (name, found) in &mut tree.found {
            found.object = objects.get(name).copied().filter(|_| found.has_bytes());
            entries.insert(name.clone(), found.entry().ok_or(CheckpointError::Damaged)?);
            found.object = found.object.filter(|_| found.stamp.is_before(settled));
            if let Some(object) = found.object {
                is_known &= before.get(name) == Some(&(found.stamp, object));
                settled_files += 1;
            }
        }
        is_known &= settled_files == before.len();
        SnapshotTaker { store: self }.keep_as(
            &self.repository()?,
            Read { tree, entries, is_known },
            about,
            start,
            reuse,
        )
    }

    /// The objects that the target has to keep: all that any checkpoint needs.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) fn needed_there(&self) -> Result<BTreeSet<Oid>, CheckpointError> {
        let mut needed = BTreeSet::new();
        for checkpoint in self.list()? {
            needed.extend(files(&self.entries(&checkpoint.id)?));
        }
        Ok(needed)
    }

    /// Gives up these checkpoints. The objects that the target need not keep any more.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub(crate) fn remove_lists(&self, _held: &Lock, ids: &[CheckpointId]) -> Result<BTreeSet<Oid>, CheckpointError> {
        let mut spare = BTreeSet::new();
        for id in ids {
            spare.extend(files(&self.entries(id)?));
        }
        let repository = self.repository()?;
        for id in ids {
            repository.find_reference(&format!("{CHECKPOINTS}{}", id.as_str()))?.delete()?;
        }
        let needed = self.needed_there()?;
        spare.retain(|object| !needed.contains(object));
        let mut cache = self.side_files().cache();
        cache.retain(|_, (_, object)| !spare.contains(object));
        self.side_files().keep(cache.iter().map(|(name, (stamp, object))| (name, stamp, *object)))?;
        self.objects(&repository)?.sweep(&reached(&repository)?)?;
        Ok(spare)
    }
}

fn files(entries: &BTreeMap<Name, Entry>) -> impl Iterator<Item = Oid> {
    entries.values().filter_map(|entry| match entry.kind {
        Kind::File(object, _) => Some(object),
        Kind::Directory | Kind::Link(_) => None,
    })
}
