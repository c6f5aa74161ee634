//! Directories and files that a person's yes lets a command make outside of what its session may change.
//!
//! The kernel's rules name what is there. So the server makes each of these, empty, before the command starts, and opens that one alone:
//! nothing beside it becomes the command's. The guard tells the first program that makes such a directory that it did (`guard.rs`). What
//! the command has not made use of goes when it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use palisade_engine::AbsolutePath;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat2, statat, unlinkat};
use rustix::io::Errno;

use super::seccomp::Made;

/// What a new place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NewPlace {
    /// A directory, with the missing ones above it.
    Directory,
    /// The same, which git fills with what a repository holds.
    Repository,
    /// A file in a directory that is there.
    File,
}

impl NewPlace {
    /// As what a yes binds spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Directory => "new-directory",
            Self::Repository => "new-repository",
            Self::File => "new-file",
        }
    }
}

/// Why a place could not be made.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("`{}` could not be made for the command: {source}", path.display())]
#[diagnostic(help("submit the command again: something may have been put there since this was asked"))]
pub struct NotMade {
    path: PathBuf,
    source: std::io::Error,
}

/// The places that were made for one command. What it has made no use of is removed with this.
#[derive(Debug, Default)]
pub struct NewPlaces {
    /// Directories above come first.
    made: BTreeMap<PathBuf, CreatedEntry>,
    repositories: BTreeSet<PathBuf>,
    used: Mutex<BTreeSet<PathBuf>>,
}

#[derive(Debug)]
struct CreatedEntry {
    above: OwnedFd,
    name: OsString,
    file: File,
}

impl NewPlaces {
    /// Makes these.
    ///
    /// # Errors
    /// If one is there by now, or cannot be made. Then none of them is left.
    pub fn make(wanted: &BTreeMap<AbsolutePath, NewPlace>) -> Result<Self, NotMade> {
        let mut places = Self::default();
        for (path, kind) in wanted {
            let path = Path::new(path.as_str());
            let failed = |errno: Errno| NotMade { path: path.into(), source: errno.into() };
            let is_missing = |above: &&Path| {
                statat(CWD, *above, AtFlags::SYMLINK_NOFOLLOW).is_err_and(|errno| errno == Errno::NOENT)
            };
            let mut missing: Vec<&Path> = path.ancestors().skip(1).take_while(is_missing).collect();
            missing.reverse();
            for above in missing {
                places.add(above, NewPlace::Directory).map_err(failed)?;
            }
            places.add(path, *kind).map_err(failed)?;
            if *kind == NewPlace::Repository {
                places.repositories.insert(path.to_owned());
            }
        }
        Ok(places)
    }

    fn add(&mut self, path: &Path, kind: NewPlace) -> Result<(), Errno> {
        let (above, name) = path.parent().zip(path.file_name()).ok_or(Errno::INVAL)?;
        let open = |flags| openat2(CWD, above, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS);
        let above = open(OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC)?;
        let flags = match kind {
            NewPlace::Directory | NewPlace::Repository => {
                mkdirat(&above, name, Mode::from_raw_mode(0o777))?;
                OFlags::RDONLY | OFlags::DIRECTORY
            }
            NewPlace::File => OFlags::RDONLY | OFlags::CREATE | OFlags::EXCL,
        };
        let (flags, mode) = (flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::from_raw_mode(0o666));
        let mode = if kind == NewPlace::File { mode } else { Mode::empty() };
        let file = openat2(&above, name, flags, mode, ResolveFlags::NO_SYMLINKS).inspect_err(|_| {
            if kind != NewPlace::File {
                let _not_what_was_made = unlinkat(&above, name, AtFlags::REMOVEDIR);
            }
        })?;
        let place = CreatedEntry { above, name: name.to_owned(), file: file.into() };
        self.made.insert(path.to_owned(), place);
        Ok(())
    }

    /// Whether this is a new directory that git fills: what a repository holds may have any name, as in one below the workspace.
    pub(super) fn is_repository(&self, directory: &Path) -> bool {
        self.repositories.contains(directory)
    }

    /// Whether a call makes one of these directories for the first time.
    pub(super) fn may_take(&self, place: &Path, kind: Made) -> bool {
        let is_directory = || self.made.get(place).is_some_and(|made| made.file.metadata().is_ok_and(|it| it.is_dir()));
        kind == Made::Directory && is_directory() && !self.used().contains(place)
    }

    /// A call has made this directory, which gets these permissions.
    pub(super) fn take(&self, place: &Path, mode: u32) -> Result<(), i32> {
        let Some(made) = self.made.get(place) else { return Err(libc::ENOENT) };
        let failed = |error: std::io::Error| error.raw_os_error().unwrap_or(libc::EIO);
        // The group of a directory goes on to those in it (inode(7), `S_ISGID`), whatever a call says.
        let inherited = made.file.metadata().map_err(failed)?.mode() & 0o2000;
        let permissions = Permissions::from_mode(mode & 0o1777 | inherited);
        made.file.set_permissions(permissions).map_err(failed)?;
        self.used().insert(place.to_owned());
        Ok(())
    }

    /// A call opens this file to fill it.
    pub(super) fn touch(&self, place: &Path) {
        if self.made.contains_key(place) {
            self.used().insert(place.to_owned());
        }
    }

    /// Removes what the command has not used. Called when it has ended.
    pub fn sweep(&self) {
        let used = self.used().clone();
        for (_, place) in self.made.iter().rev().filter(|(path, _)| !used.contains(*path)) {
            place.remove_if_empty();
        }
    }

    fn used(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        // Nothing that holds the lock can fail half-way.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for NewPlaces {
    fn drop(&mut self) {
        self.sweep();
    }
}

impl CreatedEntry {
    /// Removes the file or directory if it is still empty, and still the one that the server made.
    fn remove_if_empty(&self) {
        let Ok(about) = self.file.metadata() else { return };
        let there = statat(&self.above, &self.name, AtFlags::SYMLINK_NOFOLLOW);
        let own = fstat(self.file.as_fd());
        let is_same =
            there.is_ok_and(|there| own.is_ok_and(|own| (own.st_dev, own.st_ino) == (there.st_dev, there.st_ino)));
        // A directory that holds something is not removed.
        let flags = if about.is_dir() { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        if is_same && (about.is_dir() || about.size() == 0) {
            let _somebody_has_filled_it = unlinkat(&self.above, &self.name, flags);
        }
    }
}
