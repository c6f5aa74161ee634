//! Takes a checkpoint: what has changed is read, the rest is known.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use std::collections::BTreeMap;

use git2::{ObjectType, Oid, Repository, Signature};
use rustix::fs::{FileType, Mode, OFlags};

use super::kept::Cache;
use super::{About, CHECKPOINTS, Lock, Message, Store, shown};
use crate::checkpoint::tree::{self, Entry, Found, Kind, Name, Reason, Stamp, Tree, Uncovered};
use crate::checkpoint::{Checkpoint, CheckpointError, manifest};

/// The longest step of a file system's clock that is reckoned with.
const STEP: Duration = Duration::from_millis(20);

/// How often a file is read that changes meanwhile.
const TRIES: usize = 3;

/// Bytes of a file that are read into memory as a whole; larger ones go through a buffer.
const WHOLE: u64 = 1 << 20;

impl Store {
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

    /// The object that a file's bytes would be, which is not written.
    pub(in crate::checkpoint) fn digest(file: &mut File, size: u64) -> Option<Oid> {
        let mut bytes = Vec::new();
        // Git's objects are hashed with their length, and the library wants them whole.
        file.take(size + 1).read_to_end(&mut bytes).ok()?;
        (bytes.len() as u64 == size).then_some(())?;
        Oid::hash_object(ObjectType::Blob, &bytes).ok()
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
}
