//! Takes a checkpoint of a workspace at a target: what has changed is read there, the rest is known here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use git2::Oid;
use rustix::fs::FileType;

use super::There;
use super::listing::Listed;
use crate::checkpoint::CheckpointError;
use crate::checkpoint::plan;
use crate::checkpoint::store::{About, Lock, Snapshot, Store};
use crate::checkpoint::tree::{Name, Reason, Stamp, Tree, Uncovered};
use crate::shell::pace::Pace;

/// How often a file is read that changes meanwhile.
const TRIES: usize = 3;

impl There {
    /// Takes a checkpoint of what is in the workspace now. With `reuse` the last one serves if it was taken for the same session and nothing
    /// has changed since.
    ///
    /// # Errors
    /// The target cannot be asked, the store cannot be written or is full, or whoever waits gave up. Nothing counts as taken then.
    pub(crate) async fn take(
        &self,
        store: &Store,
        held: &Lock,
        about: &About,
        reuse: bool,
        pace: &Pace,
    ) -> Result<Snapshot, CheckpointError> {
        let start = SystemTime::now();
        let Listed { mut tree, now, .. } = self.list(store.scope(), pace).await?;
        let known = tokio::task::block_in_place(|| store.known(&tree));
        let mut objects = self.still_there(&tree, known, pace).await?;
        let is_file = |found: &crate::checkpoint::tree::Found| found.file_type() == FileType::RegularFile;
        let files = tree.found.iter().filter(|(name, found)| is_file(found) && !objects.contains_key(*name));
        let mut unread: Vec<Name> = files.map(|(name, _)| name.clone()).collect();
        pace.begin(unread.len());
        for _ in 0..TRIES {
            if unread.is_empty() {
                break;
            }
            let read = self.hash(&unread, true, pace).await?;
            let sizes = self.held(&read.values().copied().collect(), pace).await?;
            // It is what it was when it was listed only if it still is behind the reading.
            let after = self.walk(store.scope(), pace).await?;
            unread = settle(&mut tree, &after, &mut objects, &read, &sizes, unread);
        }
        for name in unread {
            tree.found.remove(&name);
            tree.uncovered.push(Uncovered { name, why: Reason::Changing });
        }
        tree.uncovered.sort_by(|one, other| one.name.cmp(&other.name));
        tokio::task::block_in_place(|| store.keep_lists(held, tree, &objects, about, start, now, reuse))
    }

    /// Those of the objects that are kept there still, with as many bytes as the files have.
    async fn still_there(
        &self,
        tree: &Tree,
        mut known: BTreeMap<Name, Oid>,
        pace: &Pace,
    ) -> Result<BTreeMap<Name, Oid>, CheckpointError> {
        let wanted: BTreeSet<Oid> = known.values().copied().collect();
        // Also about none: where there can be no checkpoint that is told of an empty workspace, too.
        let sizes = self.held(&wanted, pace).await?;
        known.retain(|name, object| {
            let size = tree.found.get(name).map(|found| found.stamp.size);
            size.is_some() && sizes.get(object) == size.as_ref()
        });
        Ok(known)
    }
}

/// Takes over what was read while nothing changed; what has to be read again.
fn settle(
    tree: &mut Tree,
    after: &Tree,
    objects: &mut BTreeMap<Name, Oid>,
    read: &BTreeMap<Name, Oid>,
    sizes: &BTreeMap<Oid, u64>,
    names: Vec<Name>,
) -> Vec<Name> {
    let mut again = Vec::new();
    for name in names {
        let Some(found) = after.found.get(&name).filter(|found| found.file_type() == FileType::RegularFile) else {
            // It is no more, or no file any more.
            tree.found.remove(&name);
            continue;
        };
        let unchanged = tree.found.get(&name).is_some_and(|before| before.stamp == found.stamp);
        let in_place = plan::above(&name).all(|above| place(tree, above) == place(after, above));
        match read.get(&name) {
            None if unchanged => {
                tree.found.remove(&name);
                tree.uncovered.push(Uncovered { name, why: Reason::Unreadable });
            }
            Some(object) if unchanged && in_place && sizes.get(object) == Some(&found.stamp.size) => {
                objects.insert(name, *object);
            }
            _ => {
                tree.found.insert(name.clone(), found.clone());
                for above in plan::above(&name) {
                    if let Some(found) = after.found.get(above) {
                        tree.found.insert(above.to_vec(), found.clone());
                    }
                }
                again.push(name);
            }
        }
    }
    again
}

/// Which directory it is.
fn place(tree: &Tree, name: &[u8]) -> Option<(u64, u64)> {
    let Stamp { file, .. } = tree.found.get(name)?.stamp;
    Some(file)
}
