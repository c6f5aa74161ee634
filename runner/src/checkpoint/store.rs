//! Where checkpoints are kept: a bare repository of our own outside the workspace, one for each workspace.
//!
//! Nothing of git's interprets a file on its way: the bytes are written as objects as they are, so that no attribute, filter,
//! hook or setting of the workspace or the user counts. A checkpoint is a commit; its tree holds the list of all that it covers
//! (`manifest.rs`), the list of what it does not, and every object that the first names, so that git itself would keep them.
//!
//! A file that has the state of the last time is not read again. States of files that changed within the last moments are not
//! kept for that: the clock of a file system has steps, and two states within one step look alike.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use git2::{ObjectType, Oid, Repository, Signature};
use rustix::fs::{FileType, FlockOperation, Mode, OFlags};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::ledger::Ledger;
use super::tree::{self, Entry, Found, Kind, Name, Reason, Scope, Stamp, Tree, Uncovered};
use super::{Checkpoint, CheckpointError, CheckpointId, manifest};

/// The longest step of a file system's clock that is reckoned with.
const STEP: Duration = Duration::from_millis(20);

/// How often a file is read that changes meanwhile.
const TRIES: usize = 3;

/// Bytes of a file that are read into memory as a whole; larger ones go through a buffer.
const WHOLE: u64 = 1 << 20;

const CHECKPOINTS: &str = "refs/checkpoints/";

/// The checkpoints of one workspace.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    workspace: PathBuf,
    scope: Scope,
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

/// States of files and their objects, as of the last checkpoint.
pub(super) type Cache = BTreeMap<Name, (Stamp, Oid)>;

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
        let digest = Sha256::digest(workspace.as_os_str().as_bytes());
        let name: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let directory = stores.join(name);
        let store = Self { directory, workspace: workspace.to_owned(), scope };
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

    /// What the settings leave out.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Waits until nobody else writes to the store. Blocks.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn lock(&self) -> Result<Lock, CheckpointError> {
        let path = self.directory.join("lock");
        let opened = File::options().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = opened.map_err(|source| CheckpointError::Store { path, source })?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive).map_err(|errno| self.failed(errno.into()))?;
        Ok(Lock(file))
    }

    /// Takes a checkpoint of what is in the workspace now. Blocks for as long as it takes to read what has changed.
    ///
    /// # Errors
    /// The workspace cannot be looked at or the store cannot be written. Nothing counts as taken then.
    pub fn take(&self, _held: &Lock, about: &About) -> Result<(Checkpoint, Tree), CheckpointError> {
        let root = tree::open_root(&self.workspace)?;
        let repository = self.repository()?;
        let start = SystemTime::now();
        let mut walked = tree::walk(&root, &self.scope)?;
        let known = self.cache();
        let (entries, cache) = self.read_changed(&repository, &root, &mut walked, &known, start)?;
        let files = entries.values().filter_map(|entry| match &entry.kind {
            Kind::File(object, size) => Some((*object, *size)),
            Kind::Directory | Kind::Link(_) => None,
        });
        let (objects, sizes): (BTreeSet<Oid>, Vec<u64>) = files.unzip();
        let taken = start.duration_since(UNIX_EPOCH).unwrap_or_default();
        let message = Message {
            about: about.clone(),
            taken_ms: i64::try_from(taken.as_millis()).unwrap_or(i64::MAX),
            files: sizes.len() as u64,
            bytes: sizes.iter().sum(),
            uncovered: walked.uncovered.len() as u64,
        };
        let commit = self.commit(&repository, &entries, &objects, &walked.uncovered, &message)?;
        self.keep(&cache)?;
        // One call for all objects, before anybody relies on them.
        File::open(&self.directory)
            .and_then(|file| Ok(rustix::fs::syncfs(&file)?))
            .map_err(|error| self.failed(error))?;
        repository.reference(&format!("{CHECKPOINTS}{commit}"), commit, true, "")?;
        let checkpoint = shown(commit, message);
        Ok((checkpoint, walked))
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

    /// Copies the bytes of a file to `into`.
    ///
    /// # Errors
    /// The store cannot be read, or `into` not written.
    pub fn copy(&self, repository: &Repository, object: Oid, into: &mut File) -> Result<(), CheckpointError> {
        let failed = |source| CheckpointError::Write { source };
        let odb = repository.odb()?;
        let (mut reader, size, _) = match odb.reader(object) {
            Ok(reader) => reader,
            // Packed objects cannot be read in pieces.
            Err(_) => {
                let whole = odb.read(object)?;
                return into.write_all(whole.data()).map_err(failed);
            }
        };
        let copied = std::io::copy(&mut reader, into).map_err(failed)?;
        if usize::try_from(copied).ok() == Some(size) { Ok(()) } else { Err(CheckpointError::Damaged) }
    }

    /// The object that a file's bytes would be, which is not written.
    pub(super) fn digest(file: &mut File, size: u64) -> Option<Oid> {
        let mut bytes = Vec::new();
        // Git's objects are hashed with their length, and the library wants them whole.
        file.take(size + 1).read_to_end(&mut bytes).ok()?;
        (bytes.len() as u64 == size).then_some(())?;
        Oid::hash_object(ObjectType::Blob, &bytes).ok()
    }

    /// What a session has made of the workspace, as far as was put down.
    #[must_use]
    pub fn ledger(&self, session: &str) -> Ledger {
        let path = self.ledger_path(session);
        path.and_then(|path| fs::read(path).ok()).and_then(|bytes| Ledger::read(&bytes)).unwrap_or_default()
    }

    /// Puts it down.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn keep_ledger(&self, session: &str, ledger: &Ledger) -> Result<(), CheckpointError> {
        let Some(path) = self.ledger_path(session) else { return Ok(()) };
        self.write(&path, &ledger.to_bytes())
    }

    /// The restore that was begun and not brought to its end, if there is one.
    #[must_use]
    pub fn journal(&self) -> Option<Journal> {
        serde_json::from_slice(&fs::read(self.directory.join("restoring")).ok()?).ok()
    }

    pub(super) fn begin(&self, journal: &Journal) -> Result<(), CheckpointError> {
        let bytes = serde_json::to_vec(journal).map_err(|_| CheckpointError::Damaged)?;
        self.write(&self.directory.join("restoring"), &bytes)
    }

    pub(super) fn end(&self) -> Result<(), CheckpointError> {
        fs::remove_file(self.directory.join("restoring")).map_err(|error| self.failed(error))
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
        let mut needed = BTreeSet::new();
        for reference in repository.references_glob(&format!("{CHECKPOINTS}*"))? {
            let commit = reference?.peel_to_commit()?;
            needed.insert(commit.id());
            reach(&repository, &commit.tree()?, &mut needed)?;
        }
        let mut spare = Vec::new();
        repository.odb()?.foreach(|object| {
            if !needed.contains(object) {
                spare.push(*object);
            }
            true
        })?;
        for object in spare {
            match fs::remove_file(self.object_path(object)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(self.failed(error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// The repository, with nobody's settings.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(super) fn repository(&self) -> Result<Repository, CheckpointError> {
        let flags = git2::RepositoryOpenFlags::BARE
            | git2::RepositoryOpenFlags::NO_SEARCH
            | git2::RepositoryOpenFlags::NO_DOTGIT;
        Ok(Repository::open_ext(self.repository_path(), flags, std::iter::empty::<&Path>())?)
    }

    /// The entries of everything that was found, with what of it had to be read now written to the store.
    fn read_changed(
        &self,
        repository: &Repository,
        root: &OwnedFd,
        walked: &mut Tree,
        known: &Cache,
        start: SystemTime,
    ) -> Result<(BTreeMap<Name, Entry>, Cache), CheckpointError> {
        let settled = start.checked_sub(STEP).unwrap_or(UNIX_EPOCH).duration_since(UNIX_EPOCH).unwrap_or_default();
        let settled = i128::try_from(settled.as_nanos()).unwrap_or(0);
        let (mut entries, mut cache) = (BTreeMap::new(), Cache::new());
        let mut gone = Vec::new();
        for (name, found) in &mut walked.found {
            let kind = match (found.file_type(), &found.target) {
                (FileType::Directory, _) => Kind::Directory,
                (FileType::Symlink, Some(target)) => Kind::Link(target.clone()),
                _ => {
                    let before = known.get(name).filter(|(stamp, _)| *stamp == found.stamp);
                    let object = match before {
                        Some((_, object)) => *object,
                        None => match self.read_file(repository, root, name, found)? {
                            Ok(object) => object,
                            Err(why) => {
                                gone.push((name.clone(), why));
                                continue;
                            }
                        },
                    };
                    if found.stamp.times.iter().all(|time| *time < settled) {
                        cache.insert(name.clone(), (found.stamp, object));
                    }
                    Kind::File(object, found.stamp.size)
                }
            };
            let [modified, _] = found.stamp.times;
            let entry = Entry { kind, mode: found.stamp.permissions(), owner: found.stamp.owner, modified };
            entries.insert(name.clone(), entry);
        }
        for (name, why) in gone {
            walked.found.remove(&name);
            walked.uncovered.extend(why.map(|why| Uncovered { name, why }));
        }
        Ok((entries, cache))
    }

    /// Writes a file's bytes to the store, as they are at one moment: the state of that moment goes into `found`. None: it is no more.
    fn read_file(
        &self,
        repository: &Repository,
        root: &OwnedFd,
        name: &Name,
        found: &mut Found,
    ) -> Result<Result<Oid, Option<Reason>>, CheckpointError> {
        let odb = repository.odb()?;
        for _ in 0..TRIES {
            let opened = tree::open_below(
                root,
                name.as_slice(),
                OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK,
                Mode::empty(),
            );
            let mut file = match opened {
                Ok(file) => File::from(file),
                Err(rustix::io::Errno::NOENT) => return Ok(Err(None)),
                Err(_) => return Ok(Err(Some(Reason::Unreadable))),
            };
            let Ok(stat) = rustix::fs::fstat(&file) else { return Ok(Err(Some(Reason::Unreadable))) };
            let stamp = Stamp::of(&stat);
            if FileType::from_raw_mode(stamp.mode) != FileType::RegularFile {
                return Ok(Err(Some(Reason::Changing)));
            }
            let written = if stamp.size <= WHOLE {
                let mut bytes = Vec::new();
                match (&mut file).take(stamp.size + 1).read_to_end(&mut bytes) {
                    Ok(_) if bytes.len() as u64 == stamp.size => Some(odb.write(ObjectType::Blob, &bytes)?),
                    Ok(_) => None,
                    Err(_) => return Ok(Err(Some(Reason::Unreadable))),
                }
            } else {
                let size = usize::try_from(stamp.size).map_err(|_| CheckpointError::TooMany)?;
                let mut writer = odb.writer(size, ObjectType::Blob)?;
                match std::io::copy(&mut (&mut file).take(stamp.size), &mut writer) {
                    Ok(copied) if copied == stamp.size => Some(writer.finalize()?),
                    Ok(_) => None,
                    Err(error) if error.raw_os_error() == Some(libc::EIO) => return Ok(Err(Some(Reason::Unreadable))),
                    Err(error) => return Err(self.failed(error)),
                }
            };
            let unchanged = rustix::fs::fstat(&file).is_ok_and(|stat| Stamp::of(&stat) == stamp);
            if let Some(object) = written.filter(|_| unchanged) {
                self.close(object)?;
                found.stamp = stamp;
                return Ok(Ok(object));
            }
        }
        Ok(Err(Some(Reason::Changing)))
    }

    fn commit(
        &self,
        repository: &Repository,
        entries: &BTreeMap<Name, Entry>,
        objects: &BTreeSet<Oid>,
        uncovered: &[Uncovered],
        message: &Message,
    ) -> Result<Oid, CheckpointError> {
        const FILE: i32 = 0o100_644;
        const TREE: i32 = 0o040_000;
        let mut left_out = Vec::new();
        for Uncovered { name, why } in uncovered {
            left_out.extend_from_slice(why.as_str().as_bytes());
            left_out.push(b' ');
            left_out.extend_from_slice(name);
            left_out.push(0);
        }
        // By their first byte, so that what has not changed is one object still.
        let mut content = repository.treebuilder(None)?;
        let mut all = objects.iter().peekable();
        while let Some(first) = all.peek().and_then(|object| object.as_bytes().first()).copied() {
            let mut these = repository.treebuilder(None)?;
            while let Some(object) = all.next_if(|object| object.as_bytes().first() == Some(&first)) {
                these.insert(object.to_string(), *object, FILE)?;
            }
            content.insert(format!("{first:02x}"), self.written(these.write()?)?, TREE)?;
        }
        let mut top = repository.treebuilder(None)?;
        top.insert("content", self.written(content.write()?)?, TREE)?;
        top.insert("manifest", self.written(repository.blob(&manifest::write(entries))?)?, FILE)?;
        top.insert("uncovered", self.written(repository.blob(&left_out)?)?, FILE)?;
        let tree = repository.find_tree(self.written(top.write()?)?)?;
        let time = git2::Time::new(message.taken_ms / 1000, 0);
        let author = Signature::new("palisade", "palisade", &time)?;
        let text = serde_json::to_string(message).map_err(|_| CheckpointError::Damaged)?;
        self.written(repository.commit(None, &author, &author, &text, &tree, &[])?)
    }

    fn message(&self, commit: &git2::Commit<'_>) -> Result<Message, CheckpointError> {
        commit.message().ok().and_then(|text| serde_json::from_str(text).ok()).ok_or(CheckpointError::Damaged)
    }

    fn written(&self, object: Oid) -> Result<Oid, CheckpointError> {
        self.close(object).map(|()| object)
    }

    /// Takes the right to read an object from everybody but us: the library leaves it, and what it holds may be a secret.
    fn close(&self, object: Oid) -> Result<(), CheckpointError> {
        let path = self.object_path(object);
        match fs::set_permissions(&path, fs::Permissions::from_mode(0o600)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(self.failed(error)),
            _ => Ok(()),
        }
    }

    fn object_path(&self, object: Oid) -> PathBuf {
        let hex = object.to_string();
        let (first, rest) = hex.split_at_checked(2).unwrap_or((&hex, ""));
        self.repository_path().join("objects").join(first).join(rest)
    }

    fn repository_path(&self) -> PathBuf {
        self.directory.join("repository")
    }

    /// None for a name that is not one of ours.
    fn ledger_path(&self, session: &str) -> Option<PathBuf> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (!session.is_empty() && session.bytes().all(plain)).then(|| self.directory.join("sessions").join(session))
    }

    /// None of it where it cannot be read: then everything is.
    pub(super) fn cache(&self) -> Cache {
        let bytes = fs::read(self.directory.join("cache")).unwrap_or_default();
        let mut cache = Cache::new();
        for line in bytes.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
            let read = || {
                let (stamp, rest) = Stamp::read(line)?;
                let (object, name) = rest.split_at_checked(40)?;
                let object = Oid::from_str(std::str::from_utf8(object).ok()?).ok()?;
                Some((name.get(1..)?.to_vec(), (stamp, object)))
            };
            cache.extend(read());
        }
        cache
    }

    fn keep(&self, cache: &Cache) -> Result<(), CheckpointError> {
        let mut bytes = Vec::new();
        for (name, (stamp, object)) in cache {
            bytes.extend_from_slice(format!("{stamp} {object} ").as_bytes());
            bytes.extend_from_slice(name);
            bytes.push(0);
        }
        self.write(&self.directory.join("cache"), &bytes)
    }

    /// All of it or nothing.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
        let beside = path.with_extension("new");
        let write = || {
            let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
            file.write_all(bytes)?;
            file.sync_data()?;
            fs::rename(&beside, path)
        };
        write().map_err(|error| self.failed(error))
    }

    fn failed(&self, source: std::io::Error) -> CheckpointError {
        CheckpointError::Store { path: self.directory.clone(), source }
    }
}

/// A restore on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// Where it goes.
    pub to: String,
    /// What was there before.
    pub undo: String,
}

fn shown(commit: Oid, message: Message) -> Checkpoint {
    let Message { about, taken_ms, files, bytes, uncovered } = message;
    Checkpoint { id: CheckpointId(commit.to_string()), about, taken_ms, files, bytes, uncovered }
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
