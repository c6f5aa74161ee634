//! What a restore would do to each path: a plain function of the checkpoint, of what there is now, and of what the session made.
//!
//! A path that is as the checkpoint has it is left alone. One that differs is put back if the session made it what it is now;
//! somebody else's change is a conflict, and stays unless the restore is forced. What the checkpoint does not have is deleted only
//! if the session made it: forced or not, nobody else's new file is touched.

use std::collections::{BTreeMap, BTreeSet};

use rustix::fs::FileType;

use super::ledger::Ledger;
use super::tree::{Entry, Found, Kind, Name};

/// What a restore would do, each path once, in the order of the names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Put back as they were, because they are gone or have changed.
    pub write: Vec<Name>,
    /// Made by the session since, and deleted.
    pub delete: Vec<Name>,
    /// Changed by others since: left alone, or put back by force.
    pub conflicts: Vec<Name>,
    /// Made by others since: left alone.
    pub kept: Vec<Name>,
}

impl Plan {
    /// Nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.write.is_empty() && self.delete.is_empty()
    }

    /// With every conflict put back, too.
    #[must_use]
    pub fn forced(mut self) -> Self {
        self.write.append(&mut self.conflicts);
        self.write.sort();
        self
    }
}

/// The plan. `same` says whether a path holds what the checkpoint has, for which it may have to be read.
pub fn plan(
    then: &BTreeMap<Name, Entry>,
    now: &BTreeMap<Name, Found>,
    uncovered: &BTreeSet<Name>,
    ledger: &Ledger,
    mut same: impl FnMut(&Name, &Entry, &Found) -> bool,
) -> Plan {
    let mut plan = Plan::default();
    for (name, entry) in then {
        let found = now.get(name);
        if let Some(found) = found
            && same(name, entry, found)
        {
            continue;
        }
        // Something stands there that no checkpoint holds: nobody could bring it back.
        let hidden = found.is_none() && uncovered.contains(name);
        if ledger.made(name, found) && !hidden {
            plan.write.push(name.clone());
        } else {
            plan.conflicts.push(name.clone());
        }
    }
    for (name, found) in now.iter().filter(|(name, _)| !then.contains_key(*name)) {
        if ledger.made(name, Some(found)) {
            plan.delete.push(name.clone());
        } else {
            plan.kept.push(name.clone());
        }
    }
    spare(&mut plan, now, uncovered);
    plan
}

/// A directory with something in it that stays is not deleted, whoever made it.
fn spare(plan: &mut Plan, now: &BTreeMap<Name, Found>, uncovered: &BTreeSet<Name>) {
    let doomed: BTreeSet<Name> = plan.delete.iter().cloned().collect();
    let stays = now.keys().chain(uncovered).filter(|name| !doomed.contains(*name));
    let needed: BTreeSet<&[u8]> = stays.flat_map(|name| above(name)).collect();
    let is_needed = |name: &Name| {
        needed.contains(name.as_slice()) && now.get(name).is_some_and(|found| found.file_type() == FileType::Directory)
    };
    let (spared, delete) = std::mem::take(&mut plan.delete).into_iter().partition(|name| is_needed(name));
    plan.delete = delete;
    let spared: Vec<Name> = spared;
    plan.kept.extend(spared);
    plan.kept.sort();
}

/// The directories above a path, the nearest first; without the workspace itself.
pub fn above(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = name.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/');
    ends.filter_map(move |(end, _)| name.get(..end))
}

/// Whether what is there is what the checkpoint has, as far as it can be told without reading: type, permissions, and where a link
/// leads with its time. Of a file also its size and time, and then `content` has to be asked.
#[must_use]
pub fn looks_same(entry: &Entry, found: &Found) -> bool {
    match (&entry.kind, found.file_type()) {
        (Kind::Directory, FileType::Directory) => entry.mode == found.stamp.permissions(),
        (Kind::Link(target), FileType::Symlink) => {
            found.target.as_ref() == Some(target) && found.stamp.times.first() == Some(&entry.modified)
        }
        (Kind::File(_, size), FileType::RegularFile) => {
            *size == found.stamp.size
                && entry.mode == found.stamp.permissions()
                && found.stamp.times.first() == Some(&entry.modified)
        }
        _ => false,
    }
}
