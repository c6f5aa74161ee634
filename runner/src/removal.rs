//! Taking away a tree that an agent has made: as deep, as wide and as closed as it liked.
//!
//! A removal that goes down a tree by calling itself ends where the stack or the descriptors end, and with it the server: a tree of 200,000
//! directories, one in the other, takes a program a second to make. Here each directory hands its own directories to the top before it
//! goes, so that no path is longer than two names and nothing is kept of the way. No symbolic link is followed.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags};
use rustix::io::Errno;
use rustix::path::Arg;

/// Removes what has this path, and if it is a directory everything in it, whatever permissions it took from itself. Nothing is there:
/// nothing is done.
///
/// # Errors
/// Something cannot be removed; whatever else can be is gone.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match remove_within(path, u64::MAX) {
        Ok(Left::Nothing) => Ok(()),
        // It would take more than there are names.
        Ok(Left::Something) => Err(Errno::NOTEMPTY.into()),
        Err(error) => Err(error),
    }
}

/// What is left after a removal with an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    Nothing,
    Something,
}

/// As [`remove()`], but stops once it has seen `most` files and directories.
///
/// # Errors
/// As [`remove()`].
pub(crate) fn remove_within(path: &Path, most: u64) -> io::Result<Left> {
    let directory = match opened(CWD, path) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => return Ok(Left::Nothing),
        Err(Errno::NOTDIR | Errno::LOOP) => return std::fs::remove_file(path).map(|()| Left::Nothing),
        Err(error) => return Err(error.into()),
    };
    match empty(&directory, None, most)? {
        Left::Something => Ok(Left::Something),
        Left::Nothing => std::fs::remove_dir(path).map(|()| Left::Nothing),
    }
}

/// Removes what is in a directory, but for the file that is to be spared, and stops once it has seen `most` files and directories.
///
/// # Errors
/// As [`remove()`].
pub(crate) fn empty(directory: &OwnedFd, spared: Option<&CStr>, most: u64) -> io::Result<Left> {
    let mut removal = Removal { top: directory, spared, left: most, names: 0, progress: false, failed: None };
    loop {
        match removal.pass()? {
            Pass::Empty => return Ok(Left::Nothing),
            Pass::Over => return Ok(Left::Something),
            Pass::Went if removal.progress => {}
            // What could not be removed is all that there is.
            Pass::Went => return Err(removal.failed.unwrap_or(Errno::NOTEMPTY).into()),
        }
    }
}

/// A directory that is there, to be read: no link. From now on its owner can read and change it.
///
/// # Errors
/// There is none, or it is not to be had.
pub(crate) fn opened(at: impl AsFd, name: impl Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = rustix::fs::openat(&at, name, flags | OFlags::PATH, Mode::empty())?;
    if rustix::fs::fstat(&place)?.st_mode & 0o700 != 0o700 {
        // By its descriptor: under its name there might be a link by now.
        rustix::fs::chmod(format!("/proc/self/fd/{}", place.as_raw_fd()), Mode::RWXU)?;
    }
    rustix::fs::openat(&place, c".", flags | OFlags::RDONLY, Mode::empty())
}

struct Removal<'a> {
    /// The directory that is to be empty.
    top: &'a OwnedFd,
    /// What stays in it.
    spared: Option<&'a CStr>,
    /// Files and directories that may still be looked at.
    left: u64,
    /// Directories that were handed to the top.
    names: u64,
    /// In this pass something has gone, or come to stand in the top.
    progress: bool,
    /// The first failure.
    failed: Option<Errno>,
}

enum Pass {
    /// There was nothing.
    Empty,
    /// There may be more than may be looked at.
    Over,
    Went,
}

impl Removal<'_> {
    /// Once over what stands in the top. What comes to stand there meanwhile may be seen now or the next time.
    fn pass(&mut self) -> Result<Pass, Errno> {
        let mut any = false;
        self.progress = false;
        for entry in Dir::read_from(self.top)? {
            let entry = entry?;
            let name = entry.file_name();
            if is_dot(name) || self.spared == Some(name) {
                continue;
            }
            any = true;
            let Some(left) = self.left.checked_sub(1) else { return Ok(Pass::Over) };
            self.left = left;
            match self.take(name) {
                Ok(Some(())) => self.progress = true,
                Ok(None) => return Ok(Pass::Over),
                Err(Errno::NOENT) => {}
                Err(error) => self.failed = self.failed.or(Some(error)),
            }
        }
        Ok(if any { Pass::Went } else { Pass::Empty })
    }

    /// Removes one thing in the top. None: there is more in it than may be looked at.
    fn take(&mut self, name: &CStr) -> Result<Option<()>, Errno> {
        if unlinked(self.top.as_fd(), name)? {
            return Ok(Some(()));
        }
        let directory = opened(self.top, name)?;
        let mut emptied = Ok(());
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let inner = entry.file_name();
            if is_dot(inner) {
                continue;
            }
            let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
            self.left = left;
            let gone = unlinked(directory.as_fd(), inner)
                .and_then(|gone| if gone { Ok(()) } else { self.lift(&directory, inner) });
            self.progress |= gone.is_ok();
            emptied = emptied.and(gone);
        }
        emptied.and(rustix::fs::unlinkat(self.top, name, AtFlags::REMOVEDIR)).map(Some)
    }

    /// Moves a directory within one of the top's into the top.
    fn lift(&mut self, directory: &OwnedFd, name: &CStr) -> Result<(), Errno> {
        // Whoever moves a directory elsewhere must be able to write into it, since it has a `..`.
        drop(opened(directory, name)?);
        loop {
            self.names += 1;
            let new = format!("{:x}", self.names);
            match rustix::fs::renameat(directory, name, self.top, new.as_str()) {
                // Something of that name is there; an empty directory would have made way.
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                moved => return moved,
            }
        }
    }
}

/// Whether it was something else than a directory, and is gone.
fn unlinked(directory: BorrowedFd<'_>, name: &CStr) -> Result<bool, Errno> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) => Ok(true),
        // `PERM`: unlink(2) in POSIX, and some file systems.
        Err(Errno::ISDIR | Errno::PERM) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_dot(name: &CStr) -> bool {
    name == c"." || name == c".."
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn whatever_an_agent_makes_is_removed_and_nothing_beside_it() {
        let place = tempfile::tempdir().unwrap();
        let kept = place.path().join("kept");
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "x").unwrap();
        fs::set_permissions(&kept, Permissions::from_mode(0o500)).unwrap();
        let root = place.path().join("root");
        for directory in ["a/b/c", "1/1/1", "2", "closed/inner"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        for file in ["a/b/c/file", "a/file", "1/1/file", "closed/inner/file"] {
            fs::write(root.join(file), "x").unwrap();
        }
        symlink(&kept, root.join("a/b/link")).unwrap();
        symlink(&kept, root.join("link")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        for closed in ["closed/inner", "closed", "a"] {
            fs::set_permissions(root.join(closed), Permissions::from_mode(0o000)).unwrap();
        }
        remove(&root).unwrap();
        assert!(!root.exists());
        assert_eq!(fs::read_to_string(kept.join("file")).unwrap(), "x");
        assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o500);
        remove(&root).unwrap();
        symlink(&kept, &root).unwrap();
        remove(&root).unwrap();
        assert!(kept.join("file").exists() && !root.is_symlink());
    }

    /// More than the descriptors of a process reach, or a stack.
    #[test]
    fn no_depth_is_too_deep() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("root");
        fs::create_dir(&root).unwrap();
        let mut at = opened(CWD, &root).unwrap();
        for _ in 0..5_000 {
            rustix::fs::mkdirat(&at, c"d", Mode::RWXU).unwrap();
            at = rustix::fs::openat(&at, c"d", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        }
        assert_eq!(remove_within(&root, 100).unwrap(), Left::Something);
        remove(&root).unwrap();
        assert!(!root.exists());
    }

    #[test]
    fn what_cannot_be_removed_is_an_error_and_the_rest_is_gone() {
        let place = tempfile::tempdir().unwrap();
        for file in ["in/a/file", "in/b/file", "in/c/d/e/file"] {
            fs::create_dir_all(place.path().join(file).parent().unwrap()).unwrap();
            fs::write(place.path().join(file), "x").unwrap();
        }
        let within = place.path().join("in");
        let busy = within.join("c/d");
        let mounted = std::process::Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&busy).status();
        if !mounted.is_ok_and(|status| status.success()) {
            return remove(&within).unwrap();
        }
        let removed = remove(&within);
        assert!(std::process::Command::new("umount").arg(&busy).status().unwrap().success());
        assert_eq!(removed.map_err(|error| error.kind()), Err(io::ErrorKind::ResourceBusy));
        assert!(busy.join("e/file").exists() && !within.join("a").exists() && !within.join("b").exists());
    }
}
