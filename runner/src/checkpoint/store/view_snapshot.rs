//! The workspace as a view of it has it: what the agent wrote over what there is. Kept as a checkpoint, so that putting it into the
//! workspace is going to that checkpoint, with all that a restore holds itself to.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::time::SystemTime;

use super::snapshot::SnapshotTaker;
use super::{About, Lock, Store};
use crate::checkpoint::changes::Changes;
use crate::checkpoint::ledger::Ledger;
use crate::checkpoint::plan;
use crate::checkpoint::tree::{Name, Uncovered};
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::shell::pace::Pace;

/// A view, kept as a checkpoint.
#[derive(Debug)]
pub struct Viewed {
    /// The workspace with the view's changes in it.
    pub checkpoint: Checkpoint,
    /// What the view changed and the checkpoint cannot hold.
    pub left_out: Vec<Uncovered>,
}

impl Store {
    /// Keeps what the workspace would be with these changes, whose files lie below `upper`. For the session that `about` names it is
    /// put down that what `base` tells of is that session's to change: a path in any other state has been somebody else's since.
    ///
    /// # Errors
    /// The workspace or the changes cannot be read, or the store not be written.
    pub fn take_viewed(
        &self,
        _held: &Lock,
        changes: &Changes,
        upper: &OwnedFd,
        base: &Ledger,
        about: &About,
    ) -> Result<Viewed, CheckpointError> {
        let touched: BTreeSet<Name> = changes.touched(base);
        let repository = self.repository()?;
        let objects = self.objects(&repository)?;
        let start = SystemTime::now();
        let wide = self.with(touched.clone());
        let mut read = SnapshotTaker { store: &wide }.read_now(&repository, &Pace::default())?;
        let mut left_out = changes.left_out.clone();
        let (mut written, mut unread) = (BTreeMap::new(), BTreeSet::new());
        for (name, found) in &changes.found {
            let mut found = found.clone();
            if found.has_bytes() {
                match objects.read_file(upper, name)? {
                    Ok((object, stamp)) => (found.object, found.stamp) = (Some(object), stamp),
                    Err(why) => {
                        left_out.extend(why.map(|why| Uncovered { name: name.clone(), why }));
                        unread.insert(name.clone());
                        continue;
                    }
                }
            }
            written.insert(name.clone(), found.entry().ok_or(CheckpointError::Damaged)?);
        }
        // What cannot be read in the view stays what it is in the workspace.
        let stays = |name: &Name| unread.contains(name) || plan::above(name).any(|above| unread.contains(above));
        read.entries.retain(|name, _| !changes.covers(name) || stays(name));
        read.entries.extend(written);
        let mut ledger = Ledger::default();
        for name in &touched {
            ledger.note(name, base.state(name).flatten());
        }
        let about = About { beyond: true, ..about.clone() };
        let checkpoint = SnapshotTaker { store: self }.keep_as(&repository, read, &about, start, false)?.checkpoint;
        self.side_files().keep_ledger(&about.session, &ledger)?;
        Ok(Viewed { checkpoint, left_out })
    }

    /// Gives up what was kept of a view, that of a way which was cut short too unless it is still needed: whoever wants to go there has
    /// the view.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub fn forget_viewed(&self, held: &Lock, about: &About) -> Result<(), CheckpointError> {
        let mut viewed = self.list()?;
        viewed.retain(|checkpoint| checkpoint.about == *about);
        let viewed: Vec<_> = self.unneeded(viewed)?.into_iter().map(|checkpoint| checkpoint.id).collect();
        if viewed.is_empty() { Ok(()) } else { self.remove(held, &viewed) }
    }
}
