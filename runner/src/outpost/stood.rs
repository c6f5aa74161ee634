//! The directory that the program and its sockets lie in at the target: nobody's but the user's, and no way there leads through a link.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::SOCKET;

/// Where the program lies that runs, if that is as it was put there.
///
/// # Errors
/// If it is somebody else's, a link, or others may change it.
pub(super) fn own() -> io::Result<PathBuf> {
    let program = fs::read_link("/proc/self/exe")?;
    let directory = program.parent().ok_or(io::ErrorKind::NotFound)?.to_owned();
    let about = fs::symlink_metadata(&directory)?;
    let mine = about.uid() == rustix::process::geteuid().as_raw() && about.permissions().mode() & 0o077 == 0;
    if about.is_dir() && mine { Ok(directory) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

/// A socket in a directory of its own there, which goes with what is returned.
///
/// # Errors
/// If none can be made.
pub(super) fn listen(directory: &Path) -> io::Result<(TempDir, UnixListener)> {
    let private = Permissions::from_mode(0o700);
    let place = tempfile::Builder::new().prefix("at-").permissions(private).tempdir_in(directory)?;
    let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC;
    let opened = rustix::fs::open(place.path(), flags, rustix::fs::Mode::empty())?;
    let listener = UnixListener::bind(format!("/proc/self/fd/{}/{SOCKET}", opened.as_raw_fd()))?;
    Ok((place, listener))
}
