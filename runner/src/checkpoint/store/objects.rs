//! The bytes of files, as git's objects: written as they are, compared with their names when they are read, and let go.
//!
//! Nothing of git's interprets them on their way. Where they lie, and which are needed, is said by whoever uses this.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use git2::{ObjectType, Odb, Oid, Repository};
use rustix::fs::{FileType, Mode, OFlags};
use sha1::{Digest as _, Sha1};

use crate::checkpoint::CheckpointError;
use crate::checkpoint::tree::{self, Name, Reason, Stamp};

/// How often a file is read that changes meanwhile.
const TRIES: usize = 3;

/// Bytes of a file that are read into memory as a whole; larger ones go through a buffer.
const WHOLE: u64 = 1 << 20;

/// Bytes that are held at once where they are only passed on or looked at.
const BUFFER: usize = 64 << 10;

/// Bytes that anything takes that is written.
const ROOM: u64 = 4096;

/// A repository's objects.
pub(in crate::checkpoint) struct Objects<'r> {
    odb: Odb<'r>,
    place: PathBuf,
}

impl<'r> Objects<'r> {
    /// Those of a repository, which lie in this directory.
    ///
    /// # Errors
    /// They cannot be opened.
    pub(in crate::checkpoint) fn of(repository: &'r Repository, place: PathBuf) -> Result<Self, CheckpointError> {
        Ok(Self { odb: repository.odb()?, place })
    }

    /// Keeps a file's bytes, as they are at one moment, and says in which state it was then. None: it is no more.
    ///
    /// # Errors
    /// Nothing can be kept.
    pub(in crate::checkpoint) fn read_file(
        &self,
        root: &OwnedFd,
        name: &[u8],
    ) -> Result<Result<(Oid, Stamp), Option<Reason>>, CheckpointError> {
        for _ in 0..TRIES {
            let mut file = match open(root, name) {
                Ok(file) => file,
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
                    Ok(_) if bytes.len() as u64 == stamp.size => {
                        let written = self.odb.write(ObjectType::Blob, &bytes);
                        Some(written.map_err(|error| self.unwritten(io::Error::other(error), stamp.size))?)
                    }
                    Ok(_) => None,
                    Err(_) => return Ok(Err(Some(Reason::Unreadable))),
                }
            } else {
                let size = usize::try_from(stamp.size).map_err(|_| CheckpointError::TooMany)?;
                let mut writer = self.odb.writer(size, ObjectType::Blob)?;
                match io::copy(&mut (&mut file).take(stamp.size), &mut writer) {
                    Ok(copied) if copied == stamp.size => {
                        let written = writer.finalize();
                        Some(written.map_err(|error| self.unwritten(io::Error::other(error), stamp.size))?)
                    }
                    Ok(_) => None,
                    Err(error) if error.raw_os_error() == Some(libc::EIO) => return Ok(Err(Some(Reason::Unreadable))),
                    Err(error) => return Err(self.unwritten(error, stamp.size)),
                }
            };
            let unchanged = rustix::fs::fstat(&file).is_ok_and(|stat| Stamp::of(&stat) == stamp);
            if let Some(object) = written.filter(|_| unchanged) {
                close(&self.place, object).map_err(|error| self.failed(error))?;
                return Ok(Ok((object, stamp)));
            }
        }
        Ok(Err(Some(Reason::Changing)))
    }

    /// Whether all of these are kept. They are not looked at.
    ///
    /// # Errors
    /// What is kept cannot be listed.
    pub(super) fn hold(&self, objects: &BTreeSet<Oid>) -> Result<bool, CheckpointError> {
        let mut missing = objects.clone();
        self.odb.foreach(|object| {
            missing.remove(object);
            true
        })?;
        Ok(missing.is_empty())
    }

    /// How many bytes an object has that holds those of a file; none if it is not kept. They are not looked at.
    pub(in crate::checkpoint) fn size(&self, object: Oid) -> Option<u64> {
        let (size, kind) = self.odb.read_header(object).ok()?;
        (kind == ObjectType::Blob).then_some(size as u64)
    }

    /// The object that the bytes are which are kept as one of this size: the very same, unless somebody has meddled with them.
    pub(in crate::checkpoint) fn reread(&self, object: Oid, size: u64) -> Option<Oid> {
        if self.size(object) != Some(size) {
            return None;
        }
        match self.odb.reader(object) {
            Ok((mut reader, ..)) => digest(&mut reader, size),
            // Packed objects cannot be read in pieces.
            Err(_) => self.odb.read(object).ok().and_then(|whole| digest(&mut whole.data(), size)),
        }
    }

    /// Writes the bytes of a file to `into`.
    ///
    /// # Errors
    /// They are not kept, or are not what they were; or `into` cannot be written.
    pub(in crate::checkpoint) fn copy(&self, object: Oid, into: &mut File) -> Result<(), CheckpointError> {
        let (mut reader, size, _) = match self.odb.reader(object) {
            Ok(reader) => reader,
            Err(_) => {
                let whole = self.odb.read(object)?;
                return pass(&mut whole.data(), whole.len() as u64, object, into);
            }
        };
        pass(&mut reader, size as u64, object, into)
    }

    /// Lets an object go.
    ///
    /// # Errors
    /// It cannot be removed.
    pub(in crate::checkpoint) fn remove(&self, object: Oid) -> Result<(), CheckpointError> {
        match fs::remove_file(path(&self.place, object)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed(error)),
            _ => Ok(()),
        }
    }

    /// Lets every object go but these.
    ///
    /// # Errors
    /// They cannot be listed, or one not be removed.
    pub(in crate::checkpoint) fn sweep(&self, needed: &BTreeSet<Oid>) -> Result<(), CheckpointError> {
        let mut spare = Vec::new();
        self.odb.foreach(|object| {
            if !needed.contains(object) {
                spare.push(*object);
            }
            true
        })?;
        spare.into_iter().try_for_each(|object| self.remove(object))
    }

    /// Why so many bytes could not be kept. The library does not say it where there is no room left.
    fn unwritten(&self, error: io::Error, size: u64) -> CheckpointError {
        let free = rustix::fs::statvfs(&self.place).map(|about| about.f_bavail.saturating_mul(about.f_frsize));
        let is_full = free.is_ok_and(|free| free < size.max(ROOM));
        self.failed(if is_full { rustix::io::Errno::NOSPC.into() } else { error })
    }

    fn failed(&self, source: io::Error) -> CheckpointError {
        CheckpointError::Store { path: self.place.clone(), source }
    }
}

/// Takes the right to read an object from everybody but us: the library leaves it, and what it holds may be a secret.
pub(super) fn close(place: &Path, object: Oid) -> io::Result<()> {
    match fs::set_permissions(path(place, object), fs::Permissions::from_mode(0o600)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The object that the bytes of a file are now; none if it is no file that can be read.
pub(in crate::checkpoint) fn digest_at(root: &OwnedFd, name: &Name) -> Option<Oid> {
    let mut file = open(root, name).ok()?;
    let stamp = Stamp::of(&rustix::fs::fstat(&file).ok()?);
    (FileType::from_raw_mode(stamp.mode) == FileType::RegularFile).then(|| digest(&mut file, stamp.size)).flatten()
}

/// The object that so many bytes would be, which is not written. Git's are hashed with their length.
pub(in crate::checkpoint) fn digest(bytes: &mut impl Read, size: u64) -> Option<Oid> {
    passed(bytes, size, |_| Ok(())).ok().flatten()
}

/// Passes bytes on that have to be this object.
fn pass(from: &mut impl Read, size: u64, object: Oid, into: &mut File) -> Result<(), CheckpointError> {
    let passed = passed(from, size, |piece| into.write_all(piece));
    match passed.map_err(|source| CheckpointError::Write { source })? {
        Some(found) if found == object => Ok(()),
        _ => Err(CheckpointError::Damaged),
    }
}

/// Passes so many bytes on: the object that they are. None: there are more, or fewer, or they cannot be read.
fn passed(from: &mut impl Read, size: u64, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<Option<Oid>> {
    let mut hash = Sha1::new();
    hash.update(format!("blob {size}\0"));
    let (mut left, mut buffer) = (size, vec![0; BUFFER]);
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return Ok(None),
        };
        let piece = buffer.get(..read).unwrap_or_default();
        // It has grown.
        let Some(rest) = left.checked_sub(read as u64) else { return Ok(None) };
        left = rest;
        hash.update(piece);
        each(piece)?;
    }
    Ok((left == 0).then(|| Oid::from_bytes(&hash.finalize()).ok()).flatten())
}

fn open(root: &OwnedFd, name: &[u8]) -> rustix::io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    tree::open_below(root, name, flags, Mode::empty()).map(File::from)
}

fn path(place: &Path, object: Oid) -> PathBuf {
    let hex = object.to_string();
    let (first, rest) = hex.split_at_checked(2).unwrap_or((&hex, ""));
    place.join(first).join(rest)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_not_what_was_kept_are_put_in_no_place() {
        let root = tempfile::tempdir().unwrap();
        let repository = Repository::init_bare(root.path().join("repository")).unwrap();
        let place = root.path().join("repository/objects");
        let objects = Objects::of(&repository, place.clone()).unwrap();
        let above = tree::open_root(root.path()).unwrap();
        // Held as a whole, and in pieces; of each another one of the same size.
        for size in [10, 3 << 20] {
            let [one, other] = [b'a', b'b'].map(|byte| {
                fs::write(root.path().join("file"), vec![byte; size]).unwrap();
                objects.read_file(&above, b"file").unwrap().unwrap().0
            });
            let all = size as u64;
            assert_eq!(
                (objects.size(one), objects.reread(one, all), objects.reread(one, 9)),
                (Some(all), Some(one), None)
            );
            let copy = |object: Oid| {
                let mut into = File::create(root.path().join("copy")).unwrap();
                objects.copy(object, &mut into).map(|()| fs::read(root.path().join("copy")).unwrap())
            };
            assert_eq!(copy(one).unwrap(), vec![b'a'; size]);
            fs::remove_file(path(&place, one)).unwrap();
            fs::copy(path(&place, other), path(&place, one)).unwrap();
            assert!(matches!(copy(one), Err(CheckpointError::Damaged)));
            assert_eq!(objects.reread(one, all), Some(other));
            fs::write(path(&place, one), "garbage").unwrap();
            assert!(copy(one).is_err() && objects.reread(one, all).is_none());
            objects.remove(one).unwrap();
            objects.remove(one).unwrap();
            assert_eq!((objects.size(one), objects.size(other)), (None, Some(all)));
            objects.sweep(&BTreeSet::new()).unwrap();
            assert_eq!(objects.size(other), None);
        }
    }
}
