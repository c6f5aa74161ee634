//! Where checkpoints are kept: a bare repository of our own outside the workspace, one for each workspace.
//!
//! Nothing of git's interprets a file on its way: the bytes are written as objects as they are, so that no attribute, filter,
//! hook or setting of the workspace or the user counts. A checkpoint is a commit; its tree holds the list of all that it covers
//! (`manifest.rs`), the list of what it does not, and every object that the first names, so that git itself would keep them.
//!
//! A file that has the state of the last time is not read again. States of files that changed within the last moments are not
//! kept for that: the clock of a file system has steps, and two states within one step look alike.

mod file_reader;
mod lists;
mod objects;
mod origin;
mod side_files;
mod snapshot;
mod view_snapshot;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use git2::{ObjectType, Oid, Repository};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

#[cfg(test)]
pub(super) use self::objects::digest;
pub(super) use self::objects::{Objects, digest_at};
pub(crate) use self::origin::origin;
pub(super) use self::side_files::Cache;
pub use self::side_files::{Journal, SideFiles};
pub use self::snapshot::Snapshot;
pub use self::view_snapshot::Viewed;
use super::ledger::Ledger;
use super::tree::{self, Also, Entry, Name, Scope, Tree};
use super::{Checkpoint, CheckpointError, CheckpointId, manifest};
use crate::shell::pace::Pace;

/// How often somebody who waits for the store looks whether it is free.
const LOOKS: Duration = Duration::from_millis(10);

const CHECKPOINTS: &str = "refs/checkpoints/";

/// The checkpoints of one workspace.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    workspace: PathBuf,
    scope: Scope,
    also: Also,
    holds: Holds,
}

/// What lies in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    /// The lists of checkpoints, and the bytes that they name.
    Bytes,
    /// The lists alone: the bytes lie where the workspace does.
    Lists,
}

/// What is said of a checkpoint when it is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The caller's name for it; may be empty.
    pub label: String,
    /// The session that it was taken for; empty for none.
    pub session: String,
    /// It was taken before a restore to this checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_restore: Option<String>,
    /// Nobody asked for it: it was taken before a command that may change files.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub automatic: bool,
    /// It also holds paths that the settings leave out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub beyond: bool,
}

/// The commit's message.
#[derive(Serialize, Deserialize)]
struct Message {
    #[serde(flatten)]
    about: About,
    taken_ms: i64,
    files: u64,
    bytes: u64,
    uncovered: u64,
}

/// Nobody else writes to the store while this is held.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held for its Drop")] File);

impl Store {
    /// The store for a workspace below `stores`, made with mode 0700 if it is not there.
    ///
    /// # Errors
    /// It cannot be made or opened.
    pub fn open(stores: &Path, workspace: &Path, scope: Scope) -> Result<Self, CheckpointError> {
        use std::os::unix::ffi::OsStrExt;
        Self::open_named(stores, workspace.as_os_str().as_bytes(), workspace, scope, Holds::Bytes)
    }

    fn open_named(
        stores: &Path,
        name: &[u8],
        workspace: &Path,
        scope: Scope,
        holds: Holds,
    ) -> Result<Self, CheckpointError> {
        let directory = stores.join(hashed(name));
        let store = Self { directory, workspace: workspace.to_owned(), scope, also: Also::Nothing, holds };
        let failed = |source| CheckpointError::Store { path: store.directory.clone(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(store.directory.join("sessions")).map_err(failed)?;
        // Whatever made it before us.
        fs::set_permissions(&store.directory, fs::Permissions::from_mode(0o700)).map_err(failed)?;
        if !store.repository_path().exists() {
            let mut options = git2::RepositoryInitOptions::new();
            options.bare(true).no_reinit(false).external_template(false).mkdir(true);
            Repository::init_opts(store.repository_path(), &options)?;
        }
        Ok(store)
    }

    /// The workspace.
    #[must_use]
    pub fn workspace(&self) -> &Path {
        &self.workspace
    }

    /// What its checkpoints leave out.
    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// What lies in the workspace now, as far as checkpoints hold it; and the workspace.
    ///
    /// # Errors
    /// It cannot be read, or there is more in it than a checkpoint holds.
    pub fn walk(&self) -> Result<(OwnedFd, Tree), CheckpointError> {
        let root = tree::open_root(&self.workspace)?;
        let tree = tree::walk(&root, &self.scope, &self.also)?;
        Ok((root, tree))
    }

    /// The same store, for which these paths belong to the workspace whatever the settings leave out.
    pub(super) fn with(&self, names: BTreeSet<Name>) -> Self {
        let (directory, workspace, scope) = (self.directory.clone(), self.workspace.clone(), self.scope.clone());
        Self { directory, workspace, scope, also: Also::Named(Arc::new(names)), holds: self.holds }
    }

    /// The same store, looking at all that this checkpoint holds, and at what became of it.
    pub(super) fn as_wide_as(&self, checkpoint: &Checkpoint, then: &BTreeMap<Name, Entry>, ledger: &Ledger) -> Self {
        let beyond = checkpoint.about.beyond.then(|| then.keys().chain(ledger.names()).cloned());
        self.with(beyond.into_iter().flatten().collect())
    }

    /// The number of the user that holds the checkpoints.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn owner(&self) -> Result<u32, CheckpointError> {
        fs::metadata(&self.directory).map(|about| about.uid()).map_err(|error| self.failed(error))
    }

    /// Waits until nobody else writes to the store. Blocks.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn lock(&self) -> Result<Lock, CheckpointError> {
        self.lock_while(&Pace::default())
    }

    /// The same, as long as somebody waits for it.
    ///
    /// # Errors
    /// The store cannot be written, or nobody waits any more.
    pub fn lock_while(&self, pace: &Pace) -> Result<Lock, CheckpointError> {
        let path = self.directory.join("lock");
        let opened = File::options().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = opened.map_err(|source| CheckpointError::Store { path, source })?;
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Lock(file)),
                Err(Errno::WOULDBLOCK) => pace.goes_on()?,
                Err(errno) => return Err(self.failed(errno.into())),
            }
            // The kernel wakes whoever waits for a lock, but lets nobody give up.
            std::thread::sleep(LOOKS);
        }
    }

    /// All checkpoints, oldest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn list(&self) -> Result<Vec<Checkpoint>, CheckpointError> {
        let repository = self.repository()?;
        let mut all = Vec::new();
        for reference in repository.references_glob(&format!("{CHECKPOINTS}*"))? {
            let commit = reference?.peel_to_commit()?;
            all.push(shown(commit.id(), self.message(&commit)?));
        }
        all.sort_by(|one, other| (one.taken_ms, &one.id).cmp(&(other.taken_ms, &other.id)));
        Ok(all)
    }

    /// The checkpoint that a name, or the beginning of one, means.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn find(&self, name: &str) -> Result<Checkpoint, CheckpointError> {
        let is_name =
            name.len() >= 4 && name.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase());
        let mut found =
            self.list()?.into_iter().filter(|checkpoint| is_name && checkpoint.id.as_str().starts_with(name));
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one),
            (None, _) => Err(CheckpointError::Unknown { name: name.to_owned() }),
            (Some(_), Some(_)) => Err(CheckpointError::Ambiguous { name: name.to_owned() }),
        }
    }

    /// What a checkpoint holds.
    ///
    /// # Errors
    /// The store cannot be read, or something in it is not as it was written.
    pub fn entries(&self, id: &CheckpointId) -> Result<BTreeMap<Name, Entry>, CheckpointError> {
        let repository = self.repository()?;
        let tree = repository.find_commit(id.oid()?)?.tree()?;
        let blob = tree.get_name("manifest").ok_or(CheckpointError::Damaged)?.to_object(&repository)?.peel_to_blob()?;
        manifest::read(blob.content()).ok_or(CheckpointError::Damaged)
    }

    /// What a checkpoint does not hold, and why.
    ///
    /// # Errors
    /// As [`Self::entries`].
    pub fn uncovered(&self, id: &CheckpointId) -> Result<Vec<(Name, String)>, CheckpointError> {
        let repository = self.repository()?;
        let tree = repository.find_commit(id.oid()?)?.tree()?;
        let blob =
            tree.get_name("uncovered").ok_or(CheckpointError::Damaged)?.to_object(&repository)?.peel_to_blob()?;
        let mut all = Vec::new();
        for line in blob.content().split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
            let space = line.iter().position(|byte| *byte == b' ').ok_or(CheckpointError::Damaged)?;
            let (why, name) = line.split_at(space);
            let name = name.get(1..).unwrap_or_default().to_vec();
            all.push((name, String::from_utf8_lossy(why).into_owned()));
        }
        Ok(all)
    }

    /// All checkpoints but so many of the newest, oldest first, and without those that a restore which was cut short still needs.
    ///
    /// # Errors
    /// The store cannot be read, or what that restore needs not be told.
    pub fn old(&self, _held: &Lock, keep: usize) -> Result<Vec<Checkpoint>, CheckpointError> {
        let all = self.list()?;
        let old = all.len().saturating_sub(keep);
        self.unneeded(all.into_iter().take(old).collect())
    }

    /// Those that nobody asked for, but so many of the newest; none as long as there are but a few more.
    ///
    /// # Errors
    /// As [`Self::old`].
    pub fn surplus(&self, _held: &Lock, keep: usize) -> Result<Vec<Checkpoint>, CheckpointError> {
        let mut all = self.list()?;
        all.retain(|checkpoint| checkpoint.about.automatic);
        // What goes costs a look at every object: not each time.
        let old = if all.len() > keep + keep / 4 { all.len().saturating_sub(keep) } else { 0 };
        all.truncate(old);
        self.unneeded(all)
    }

    fn unneeded(&self, mut checkpoints: Vec<Checkpoint>) -> Result<Vec<Checkpoint>, CheckpointError> {
        if let Some(Journal { to, undo }) = self.side_files().journal()? {
            checkpoints.retain(|checkpoint| ![&to, &undo].iter().any(|id| *id == checkpoint.id.as_str()));
        }
        Ok(checkpoints)
    }

    /// Gives up these checkpoints, and every object that no other needs.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub fn remove(&self, _held: &Lock, ids: &[CheckpointId]) -> Result<(), CheckpointError> {
        let repository = self.repository()?;
        for id in ids {
            repository.find_reference(&format!("{CHECKPOINTS}{}", id.as_str()))?.delete()?;
        }
        // Before its object goes: a file that is known is not read again.
        let needed = reached(&repository)?;
        let mut cache = self.side_files().cache();
        cache.retain(|_, (_, object)| needed.contains(object));
        self.side_files().keep(cache.iter().map(|(name, (stamp, object))| (name, stamp, *object)))?;
        self.objects(&repository)?.sweep(&needed)
    }

    /// What lies beside the repository.
    #[must_use]
    pub fn side_files(&self) -> SideFiles<'_> {
        SideFiles { directory: &self.directory }
    }

    /// The bytes that are kept.
    pub(super) fn objects<'r>(&self, repository: &'r Repository) -> Result<Objects<'r>, CheckpointError> {
        Objects::of(repository, self.objects_path())
    }

    /// The repository, with nobody's settings.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(super) fn repository(&self) -> Result<Repository, CheckpointError> {
        open_bare(&self.repository_path())
    }

    fn message(&self, commit: &git2::Commit<'_>) -> Result<Message, CheckpointError> {
        commit.message().ok().and_then(|text| serde_json::from_str(text).ok()).ok_or(CheckpointError::Damaged)
    }

    fn written(&self, object: Oid) -> Result<Oid, CheckpointError> {
        objects::close(&self.objects_path(), object).map(|()| object).map_err(|error| self.failed(error))
    }

    fn objects_path(&self) -> PathBuf {
        self.repository_path().join("objects")
    }

    fn repository_path(&self) -> PathBuf {
        self.directory.join("repository")
    }

    fn failed(&self, source: std::io::Error) -> CheckpointError {
        CheckpointError::Store { path: self.directory.clone(), source }
    }
}

/// A bare repository in this directory, and in no other.
pub(super) fn open_bare(directory: &Path) -> Result<Repository, CheckpointError> {
    let flags =
        git2::RepositoryOpenFlags::BARE | git2::RepositoryOpenFlags::NO_SEARCH | git2::RepositoryOpenFlags::NO_DOTGIT;
    Ok(Repository::open_ext(directory, flags, std::iter::empty::<&Path>())?)
}

fn shown(commit: Oid, message: Message) -> Checkpoint {
    let Message { about, taken_ms, files, bytes, uncovered } = message;
    Checkpoint { id: CheckpointId(commit.to_string()), about, taken_ms, files, bytes, uncovered }
}

/// The name of a store on the disk.
pub(crate) fn hashed(name: &[u8]) -> String {
    Sha256::digest(name).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Every object that a checkpoint needs.
fn reached(repository: &Repository) -> Result<BTreeSet<Oid>, CheckpointError> {
    let mut needed = BTreeSet::new();
    for reference in repository.references_glob(&format!("{CHECKPOINTS}*"))? {
        let commit = reference?.peel_to_commit()?;
        needed.insert(commit.id());
        reach(repository, &commit.tree()?, &mut needed)?;
    }
    Ok(needed)
}

fn reach(repository: &Repository, tree: &git2::Tree<'_>, needed: &mut BTreeSet<Oid>) -> Result<(), CheckpointError> {
    if !needed.insert(tree.id()) {
        return Ok(());
    }
    for entry in tree {
        match entry.kind() {
            Some(ObjectType::Tree) => reach(repository, &repository.find_tree(entry.id())?, needed)?,
            _ => {
                needed.insert(entry.id());
            }
        }
    }
    Ok(())
}
