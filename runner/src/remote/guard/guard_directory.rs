//! The directory that the program and its sockets lie in at the target: nobody's but the user's, and no way there leads through a link.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
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
    sweep(directory);
    let private = Permissions::from_mode(0o700);
    let place = tempfile::Builder::new().prefix(PREFIX).permissions(private).tempdir_in(directory)?;
    let opened = open(place.path())?;
    let listener = UnixListener::bind(format!("/proc/self/fd/{}/{SOCKET}", opened.as_raw_fd()))?;
    Ok((place, listener))
}

/// How the name of a socket's directory begins.
const PREFIX: &str = "at-";

/// Removes the sockets of guards that were killed: nobody listens there any more.
fn sweep(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let place = entry.path();
        let is_socket = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        let refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
        if is_socket && connect(&place).as_ref().is_err_and(refused) {
            // Somebody else may be at it as well.
            let _gone = fs::remove_dir_all(&place);
        }
    }
}

/// A connection to the socket in this directory, by the directory's descriptor: its path may be longer than an address can be.
///
/// # Errors
/// If nobody listens there.
pub(super) fn connect(directory: &Path) -> io::Result<UnixStream> {
    let directory = open(directory)?;
    UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd()))
}

fn open(directory: &Path) -> io::Result<OwnedFd> {
    let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC;
    Ok(rustix::fs::open(directory, flags, rustix::fs::Mode::empty())?)
}

/// How many system call filters hold a process; those that hold it stay. Whoever is in a sandbox of ours has more of them than this
/// process.
pub(super) fn filters(process: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Seccomp_filters:")?.trim().parse().ok())
}
