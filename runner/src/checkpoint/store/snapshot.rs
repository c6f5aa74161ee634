//! Takes a checkpoint: what has changed is read, the rest is known.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use git2::{ObjectType, Oid, Repository, Signature};

use super::side_files::Cache;
use super::{About, CHECKPOINTS, Holds, Lock, Message, Store, shown};
use crate::checkpoint::tree::{Entry, Kind, Name, Tree, Uncovered};
use crate::checkpoint::{Checkpoint, CheckpointError, manifest};
use crate::shell::pace::Pace;

/// The longest step of a file system's clock that is reckoned with.
pub(super) const STEP: Duration = Duration::from_millis(20);

/// Checkpoints of one workspace: an agent may take as many as it likes.
const MAX_CHECKPOINTS: usize = 1_000;

impl Store {
    /// Takes a checkpoint of what is in the workspace now. Blocks for as long as it takes to read what has changed.
    ///
    /// # Errors
    /// The workspace cannot be looked at, the store cannot be written or is full, or whoever waits gave up. Nothing counts as taken then.
    pub fn take(&self, _held: &Lock, about: &About, pace: &Pace) -> Result<Snapshot, CheckpointError> {
        SnapshotTaker { store: self }.take(about, pace, false)
    }

    /// The same, but the last checkpoint serves if it was taken for the same session and nothing has changed since.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn take_if_changed(&self, _held: &Lock, about: &About, pace: &Pace) -> Result<Snapshot, CheckpointError> {
        SnapshotTaker { store: self }.take(about, pace, true)
    }

    /// Reads the workspace into the store without taking a checkpoint: the first that is taken has little left to read then.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn read_ahead(&self, _held: &Lock, pace: &Pace) -> Result<(), CheckpointError> {
        let taker = SnapshotTaker { store: self };
        let read = taker.read_now(&self.repository()?, pace)?;
        taker.settle(&read, false)
    }
}

/// Reads a workspace into its store, and makes a checkpoint of what was read.
#[derive(Clone, Copy)]
pub(super) struct SnapshotTaker<'s> {
    pub(super) store: &'s Store,
}

impl SnapshotTaker<'_> {
    fn take(self, about: &About, pace: &Pace, reuse: bool) -> Result<Snapshot, CheckpointError> {
        let repository = self.store.repository()?;
        let start = SystemTime::now();
        let read = self.read_now(&repository, pace)?;
        self.keep_as(&repository, read, about, start, reuse)
    }

    /// Makes a checkpoint of what was read.
    pub(super) fn keep_as(
        self,
        repository: &Repository,
        mut read: Read,
        about: &About,
        start: SystemTime,
        reuse: bool,
    ) -> Result<Snapshot, CheckpointError> {
        let lists = Lists::of(&read);
        let mut all = self.store.list()?;
        let count = all.len();
        let same = match all.pop() {
            Some(last) => lists.tree_of(repository, &last)?.map(|tree| (last, tree)),
            None => None,
        };
        let same = match same {
            Some((last, _)) if reuse && last.about.session == about.session => {
                self.settle(&read, false)?;
                return Ok(Snapshot { checkpoint: last, tree: read.tree, is_new: false });
            }
            same => same.map(|(_, tree)| tree),
        };
        if count >= MAX_CHECKPOINTS {
            return Err(CheckpointError::Full { max: MAX_CHECKPOINTS });
        }
        // They are in the list: of a large workspace they are not kept besides, while the list is written.
        let files = std::mem::take(&mut read.entries).into_values().filter_map(|entry| match entry.kind {
            Kind::File(object, size) => Some((object, size)),
            Kind::Directory | Kind::Link(_) => None,
        });
        let (objects, sizes): (BTreeSet<Oid>, Vec<u64>) = files.unzip();
        let taken = start.duration_since(UNIX_EPOCH).unwrap_or_default();
        let message = Message {
            about: about.clone(),
            taken_ms: i64::try_from(taken.as_millis()).unwrap_or(i64::MAX),
            files: sizes.len() as u64,
            bytes: sizes.iter().sum(),
            uncovered: read.tree.uncovered.len() as u64,
        };
        let objects = if self.store.holds == Holds::Bytes { objects } else { BTreeSet::new() };
        // What holds the very same is one tree: only the commit is new.
        let tree = match same {
            Some(tree) => tree,
            None => self.tree(repository, &objects, &lists)?,
        };
        let commit = self.commit(repository, &tree, &message)?;
        self.settle(&read, true)?;
        repository.reference(&format!("{CHECKPOINTS}{commit}"), commit, true, "")?;
        Ok(Snapshot { checkpoint: shown(commit, message), tree: read.tree, is_new: true })
    }

    /// Everything that is in the workspace now, with what of it was not known written to the store.
    pub(super) fn read_now(self, repository: &Repository, pace: &Pace) -> Result<Read, CheckpointError> {
        let start = SystemTime::now();
        let (root, mut tree) = self.store.walk()?;
        let (entries, is_known) =
            self.read_changed(repository, &root, &mut tree, self.store.side_files().cache(), start, pace)?;
        // In whatever order a directory tells of them.
        tree.uncovered.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(Read { tree, entries, is_known })
    }

    /// Lets what was read count as known. One call for all objects, before anybody relies on them.
    fn settle(self, read: &Read, is_new: bool) -> Result<(), CheckpointError> {
        if is_new || !read.is_known {
            let synced = File::open(&self.store.directory).and_then(|file| Ok(rustix::fs::syncfs(&file)?));
            synced.map_err(|error| self.store.failed(error))?;
        }
        if read.is_known {
            return Ok(());
        }
        let found = read.tree.found.iter();
        self.store.side_files().keep(found.filter_map(|(name, found)| Some((name, &found.stamp, found.object?))))
    }

    /// The entries of everything that was found, with what of it had to be read now written to the store.
    fn read_changed(
        self,
        repository: &Repository,
        root: &OwnedFd,
        walked: &mut Tree,
        mut known: Cache,
        start: SystemTime,
        pace: &Pace,
    ) -> Result<(BTreeMap<Name, Entry>, bool), CheckpointError> {
        let settled = start.checked_sub(STEP).unwrap_or(UNIX_EPOCH).duration_since(UNIX_EPOCH).unwrap_or_default();
        let settled = i128::try_from(settled.as_nanos()).unwrap_or(0);
        let mut unread = Vec::new();
        pace.begin(walked.found.len());
        for (name, found) in &mut walked.found {
            if found.has_bytes() {
                // Taken out as it goes: of a large workspace there is one list in memory, not two.
                let before = known.remove(name).filter(|(stamp, _)| *stamp == found.stamp);
                let Some((_, object)) = before else {
                    unread.push((name, found));
                    continue;
                };
                found.object = Some(object);
            }
            pace.step()?;
        }
        let is_known = unread.is_empty() && known.is_empty();
        for (name, why) in self.read_files(repository, root, unread, pace)? {
            walked.found.remove(&name);
            walked.uncovered.extend(why.map(|why| Uncovered { name, why }));
        }
        let mut entries = BTreeMap::new();
        for (name, found) in &mut walked.found {
            entries.insert(name.clone(), found.entry().ok_or(CheckpointError::Damaged)?);
            found.object = found.object.filter(|_| found.stamp.is_before(settled));
        }
        Ok((entries, is_known))
    }

    /// The tree of a checkpoint, all of whose objects are kept: what was known may have been lost since. The library would look into each.
    fn tree<'r>(
        self,
        repository: &'r Repository,
        objects: &BTreeSet<Oid>,
        lists: &Lists,
    ) -> Result<git2::Tree<'r>, CheckpointError> {
        if !self.store.objects(repository)?.hold(objects)? {
            return Err(CheckpointError::Damaged);
        }
        let odb = repository.odb()?;
        let listed = |tree: ListedTree| self.store.written(odb.write(ObjectType::Tree, &tree.0)?);
        // By their first byte, so that what has not changed is one object still.
        let (mut content, mut all) = (ListedTree::default(), objects.iter().peekable());
        while let Some(first) = all.peek().and_then(|object| object.as_bytes().first()).copied() {
            let mut these = ListedTree::default();
            while let Some(object) = all.next_if(|object| object.as_bytes().first() == Some(&first)) {
                these.push(FILE, &object.to_string(), *object);
            }
            content.push(TREE, &format!("{first:02x}"), listed(these)?);
        }
        let mut top = ListedTree::default();
        top.push(TREE, "content", listed(content)?);
        top.push(FILE, "manifest", self.store.written(repository.blob(&lists.manifest)?)?);
        top.push(FILE, "uncovered", self.store.written(repository.blob(&lists.uncovered)?)?);
        Ok(repository.find_tree(listed(top)?)?)
    }

    fn commit(self, repository: &Repository, tree: &git2::Tree<'_>, message: &Message) -> Result<Oid, CheckpointError> {
        let time = git2::Time::new(message.taken_ms / 1000, 0);
        let author = Signature::new("palisade", "palisade", &time)?;
        let text = serde_json::to_string(message).map_err(|_| CheckpointError::Damaged)?;
        self.store.written(repository.commit(None, &author, &author, &text, tree, &[])?)
    }
}

/// A checkpoint, and the workspace that it was taken of.
#[derive(Debug)]
pub struct Snapshot {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// What there is in the workspace, as the checkpoint holds it.
    pub tree: Tree,
    /// It was taken now; else it holds what there still is.
    pub is_new: bool,
}

/// A tree object as git has it: of each entry its mode, its name, a NUL, and the bytes of the object's name.
#[derive(Default)]
struct ListedTree(Vec<u8>);

/// The modes of its entries.
const FILE: &str = "100644";
const TREE: &str = "40000";

impl ListedTree {
    /// The next entry, whose name comes behind those of all before.
    fn push(&mut self, mode: &str, name: &str, object: Oid) {
        self.0.extend_from_slice(format!("{mode} {name}\0").as_bytes());
        self.0.extend_from_slice(object.as_bytes());
    }
}

/// A workspace that was read.
pub(super) struct Read {
    pub(super) tree: Tree,
    pub(super) entries: BTreeMap<Name, Entry>,
    /// What is known of the files is what was known before.
    pub(super) is_known: bool,
}

/// What a checkpoint holds, and what it does not, as the bytes of two objects.
struct Lists {
    manifest: Vec<u8>,
    uncovered: Vec<u8>,
}

impl Lists {
    fn of(read: &Read) -> Self {
        let mut uncovered = Vec::new();
        for Uncovered { name, why } in &read.tree.uncovered {
            uncovered.extend_from_slice(why.as_str().as_bytes());
            uncovered.push(b' ');
            uncovered.extend_from_slice(name);
            uncovered.push(0);
        }
        Self { manifest: manifest::write(&read.entries), uncovered }
    }

    /// The tree of a checkpoint that has the very same. Times of directories count, too: what is put back has them.
    fn tree_of<'r>(
        &self,
        repository: &'r Repository,
        checkpoint: &Checkpoint,
    ) -> Result<Option<git2::Tree<'r>>, CheckpointError> {
        let tree = repository.find_commit(checkpoint.id.oid()?)?.tree()?;
        for (name, bytes) in [("manifest", &self.manifest), ("uncovered", &self.uncovered)] {
            let object = Oid::hash_object(ObjectType::Blob, bytes)?;
            if tree.get_name(name).is_none_or(|entry| entry.id() != object) {
                return Ok(None);
            }
        }
        Ok(Some(tree))
    }
}
