//! The directories that a session has for itself, and what becomes of them: they go with the session, and those of a server that was
//! killed go when the next one makes its first.
//!
//! Decided here: which directories are nobody's any more. Whoever has one holds a lock in it, which the kernel takes back with the
//! process, in whatever namespace that was.

use std::ffi::{CStr, OsStr};
use std::fs::Permissions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};
use std::time::{Duration, UNIX_EPOCH};

use palisade_engine::AbsolutePath;
use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;

use crate::facts::real_directory;
use crate::removal::{self, Left, opened};
use crate::shell::SessionError;

/// How the name of a session's own directory begins, in the system's temporary one.
pub(crate) const OWN_DIRECTORY: &str = "palisade-";

/// Characters of a session's name that stand in the name of its directory: sockets' paths are short.
const NAME: usize = 12;

/// The file in it that its server holds a lock on. By that a directory is known for one of ours: nobody else has such a file.
const LOCK: &CStr = c".palisade-session";

/// How old a directory that nobody holds has to be, if its server may still be about to.
const GRACE: Duration = Duration::from_secs(60);

/// Files and directories that whoever ends a session removes at once. More of them are left to another thread: nobody else is to wait.
const AT_ONCE: u64 = 200;

/// Where a file system in memory is to be expected; where there is none, the pipes are in the temporary directory.
const MEMORY: &str = "/dev/shm";

/// What the kernel calls such a file system (statfs(2), TMPFS_MAGIC).
const TMPFS: rustix::fs::FsWord = 0x0102_1994;

/// Directories that live as long as their session: one for named pipes, and a temporary directory for commands.
#[derive(Debug)]
pub struct SessionDirectory {
    /// Each command makes two pipes and removes them, which takes a file system on a disk longer than all else.
    channels: Owned,
    root: Owned,
    temp: AbsolutePath,
}

impl SessionDirectory {
    /// Makes one, for this user alone.
    ///
    /// # Errors
    /// If the system's temporary directory cannot be written.
    pub fn new() -> Result<Self, SessionError> {
        Self::made(None)
    }

    /// Where the temporary directory of a session will lie that is opened under this name: what its scripts mean by `$TMPDIR`.
    pub(crate) fn place_for(session: &str) -> Option<AbsolutePath> {
        let end = session.len().checked_sub(NAME).and_then(|start| session.get(start..)).unwrap_or(session);
        real_directory(&std::env::temp_dir())?.child(&format!("{OWN_DIRECTORY}{end}"))?.child("tmp")
    }

    /// Makes one with its temporary directory at this place, if nothing is there.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(crate) fn at(place: Option<&AbsolutePath>) -> Result<Self, SessionError> {
        let root = place.and_then(AbsolutePath::parent);
        Self::made(root.as_ref().and_then(|root| Path::new(root.as_str()).file_name()))
    }

    fn made(name: Option<&OsStr>) -> Result<Self, SessionError> {
        static SWEPT: Once = Once::new();
        SWEPT.call_once(|| {
            // Where there is no thread to be had, the next server does it.
            let _later = std::thread::Builder::new().name("palisade-sweep".to_owned()).spawn(sweep);
        });
        let failed = |source| SessionError::Channel { what: "a directory", source };
        let named = name.and_then(|name| Owned::called(&std::env::temp_dir(), name).ok());
        let root = named.map_or_else(|| Owned::new(&std::env::temp_dir()), Ok).map_err(failed)?;
        let in_memory = rustix::fs::statfs(MEMORY).is_ok_and(|found| found.f_type == TMPFS);
        let place = if in_memory { Path::new(MEMORY) } else { root.path() };
        // It may be read-only, or full.
        let channels = Owned::new(place).or_else(|_| Owned::new(root.path())).map_err(failed)?;
        for directory in [root.path().join("tmp"), channels.path().join("io"), channels.path().join("in")] {
            std::fs::create_dir(directory).map_err(failed)?;
        }
        let temp = real_directory(&root.path().join("tmp"));
        let temp = temp.ok_or_else(|| failed(io::ErrorKind::InvalidFilename.into()))?;
        Ok(Self { channels, root, temp })
    }

    /// The commands' temporary directory, real.
    pub fn temp(&self) -> &AbsolutePath {
        &self.temp
    }

    /// Takes them away, for a process that ends and drops nothing.
    pub(crate) fn remove(&self) {
        for owned in [&self.channels, &self.root] {
            owned.0.remove(u64::MAX);
        }
    }

    /// Where the pipes lie by which its commands and the server speak.
    pub fn channels(&self) -> &Path {
        self.channels.path()
    }

    pub(crate) fn pipes(&self) -> PathBuf {
        self.channels.path().join("io")
    }

    pub(crate) fn input(&self) -> PathBuf {
        self.channels.path().join("in")
    }
}

/// A directory that is this process's as long as this lives, and goes with it.
#[derive(Debug)]
struct Owned(Arc<Locked>);

#[derive(Debug)]
struct Locked {
    path: PathBuf,
    /// Held for as long as the directory is there.
    _lock: OwnedFd,
}

impl Owned {
    fn new(place: &Path) -> io::Result<Self> {
        Self::locked(tempfile::Builder::new().prefix(OWN_DIRECTORY), place)
    }

    /// Under a name that nothing has.
    fn called(place: &Path, name: &OsStr) -> io::Result<Self> {
        Self::locked(tempfile::Builder::new().prefix(name).rand_bytes(0), place)
    }

    fn locked(builder: &mut tempfile::Builder<'_, '_>, place: &Path) -> io::Result<Self> {
        let made = builder.permissions(Permissions::from_mode(0o700)).tempdir_in(place)?;
        // Whoever has a file open to be written keeps its file system from being made read-only.
        let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let lock = rustix::fs::openat(opened(CWD, made.path())?, LOCK, flags, Mode::RUSR | Mode::WUSR)?;
        // On a file system that knows no locks nobody takes it for abandoned either.
        let _unknown = flock(&lock, FlockOperation::NonBlockingLockExclusive);
        Ok(Self(Arc::new(Locked { path: made.keep(), _lock: lock })))
    }

    fn path(&self) -> &Path {
        &self.0.path
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if self.0.remove(AT_ONCE) == Left::Nothing {
            return;
        }
        let rest = Arc::clone(&self.0);
        let remove = move || _ = rest.remove(u64::MAX);
        // A runtime that is waited for waits for this, too; what a process leaves that ends before is the next one's.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

impl Locked {
    /// Removes it, unless it has more than `most` files and directories; then so many of them.
    fn remove(&self, most: u64) -> Left {
        let directory = opened(CWD, &self.path).map_err(io::Error::from);
        match directory.and_then(|directory| remove(&directory, &self.path, most)) {
            Ok(left) => left,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(path = %self.path.display(), %error, "a session's directory cannot be removed");
                }
                Left::Nothing
            }
        }
    }
}

/// Removes the directories of servers that were killed.
fn sweep() {
    for place in [std::env::temp_dir(), MEMORY.into()] {
        for entry in std::fs::read_dir(&place).into_iter().flatten().flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(OWN_DIRECTORY.as_bytes()) {
                sweep_one(&entry.path());
            }
        }
    }
}

/// Removes one if it is a directory of ours that nobody holds. None: it is not, or it cannot be told.
fn sweep_one(path: &Path) -> Option<()> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty()).ok()?;
    let about = rustix::fs::fstat(&directory).ok()?;
    let changed = UNIX_EPOCH.checked_add(Duration::from_secs(about.st_mtime.try_into().ok()?))?;
    let is_old = changed.elapsed().is_ok_and(|age| age > GRACE);
    if about.st_uid != rustix::process::geteuid().as_raw() || about.st_mode & 0o777 != 0o700 || !is_old {
        return None;
    }
    let lock = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let lock = rustix::fs::openat(&directory, LOCK, lock, Mode::empty()).ok()?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive).ok()?;
    match remove(&directory, path, u64::MAX) {
        Ok(_) => tracing::info!(path = %path.display(), "removed what a server that was killed has left"),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "what a server that was killed has left cannot be removed")
        }
    }
    Some(())
}

/// The lock goes last: what is left by somebody who is killed meanwhile is still known for what it is.
fn remove(directory: &OwnedFd, path: &Path, most: u64) -> io::Result<Left> {
    let left = removal::empty(directory, Some(LOCK), most)?;
    if left == Left::Nothing {
        rustix::fs::unlinkat(directory, LOCK, AtFlags::empty()).or_else(|error| match error {
            Errno::NOENT => Ok(()),
            error => Err(error),
        })?;
        // Empty, or it is not the one that was emptied, and stays.
        std::fs::remove_dir(path)?;
    }
    Ok(left)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs::{self, File, FileTimes};
    use std::os::unix::fs::symlink;
    use std::time::{Instant, SystemTime};

    use super::*;

    fn made_long_ago(path: &Path) {
        let then = FileTimes::new().set_modified(SystemTime::now() - 2 * GRACE);
        File::open(path).unwrap().set_times(then).unwrap();
    }

    #[test]
    fn what_a_killed_server_left_is_swept_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let path = place.path().join(name);
            fs::create_dir_all(path.join("tmp/deep")).unwrap();
            fs::write(path.join(LOCK.to_str().unwrap()), "").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
            path
        };
        let left = make("left");
        let [shared, young, unknown, held, target] = ["shared", "young", "unknown", "held", "target"].map(make);
        fs::set_permissions(&shared, Permissions::from_mode(0o755)).unwrap();
        fs::rename(unknown.join(LOCK.to_str().unwrap()), unknown.join("lock")).unwrap();
        let lock = File::open(held.join(LOCK.to_str().unwrap())).unwrap();
        flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
        for old in [&left, &shared, &unknown, &held, &target] {
            made_long_ago(old);
        }
        let link = place.path().join("link");
        symlink(&target, &link).unwrap();
        assert_eq!(sweep_one(&left), Some(()));
        assert!(!left.exists());
        for (path, stays) in
            [(&shared, &shared), (&young, &young), (&unknown, &unknown), (&held, &held), (&link, &target)]
        {
            assert_eq!(sweep_one(path), None, "{}", path.display());
            assert!(stays.join("tmp/deep").exists(), "{}", path.display());
        }
    }

    #[test]
    fn a_directory_is_held_until_it_is_gone() {
        let directory = SessionDirectory::new().unwrap();
        let (root, channels) = (directory.root.path().to_owned(), directory.channels.path().to_owned());
        for path in [&root, &channels] {
            made_long_ago(path);
            assert_eq!(sweep_one(path), None);
            assert!(path.exists());
        }
        drop(directory);
        assert!(!root.exists() && !channels.exists());
    }

    /// Who drops it does not wait for a tree of any size, and the tree goes all the same.
    #[tokio::test]
    async fn a_large_tree_is_removed_by_another_thread() {
        let directory = SessionDirectory::new().unwrap();
        let (root, temp) = (directory.root.path().to_owned(), directory.temp().as_str().to_owned());
        for number in 0..2 * AT_ONCE {
            fs::create_dir(format!("{temp}/{number}")).unwrap();
        }
        drop(directory);
        let begun = Instant::now();
        while root.exists() {
            assert!(begun.elapsed() < Duration::from_secs(60));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
