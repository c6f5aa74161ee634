//! Which stand-by process answers a caller, and where it listens.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use palisade_audit::Digest;
use palisade_runner::control::peer::Descent;
use palisade_runner::environment::is_passed_on;
use rustix::fs::{CWD, FlockOperation, Mode, OFlags};

use crate::cli::args::Context;
use crate::config;

/// Variables that say where files lie which are read when a process begins.
const PLACES: [&str; 2] = ["SSL_CERT_FILE", "PIP_CERT"];

/// What the names of such variables begin with.
const OWN: [&str; 2] = ["XDG_", "PALISADE_"];

/// What every shell sets anew for itself.
const SHELLS_OWN: [&[u8]; 4] = [b"_", b"OLDPWD", b"PWD", b"SHLVL"];

/// Stand-by processes of one user at once. A caller beyond them does without.
const MOST: usize = 16;

/// What every name of a socket here ends in.
const SUFFIX: &str = ".sock";

/// Where one listens.
#[derive(Debug)]
pub(crate) struct Address {
    directory: OwnedFd,
    name: String,
}

impl Address {
    /// The address for these flags, read in the current directory.
    ///
    /// # Errors
    /// If there is no directory that this user alone can change, or the circumstances cannot be told.
    pub(crate) fn of(flags: &Context) -> io::Result<Self> {
        let directory = directory(&config::runtime_directory().ok_or(io::ErrorKind::NotFound)?)?;
        let name = format!("{}{SUFFIX}", circumstances(flags)?);
        Ok(Self { directory, name })
    }

    /// The address of a process that another caller has reached, by its name.
    ///
    /// # Errors
    /// As [`Address::of`], or it is no such name.
    pub(crate) fn named(name: &str) -> io::Result<Self> {
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let directory = directory(&config::runtime_directory().ok_or(io::ErrorKind::NotFound)?)?;
        Ok(Self { directory, name: format!("{name}{SUFFIX}") })
    }

    /// The name by which another caller can reach the same process.
    pub(crate) fn name(&self) -> &str {
        self.name.trim_end_matches(SUFFIX)
    }

    /// The socket's path, as short as an address has to be (108 bytes, unix(7)).
    pub(crate) fn socket(&self) -> PathBuf {
        self.inside(&self.name)
    }

    fn inside(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.directory.as_raw_fd()))
    }

    /// Whether as many as there may be are there.
    pub(crate) fn is_full(&self) -> bool {
        let sockets = fs::read_dir(self.inside(".")).map(|entries| {
            entries.flatten().filter(|entry| entry.file_name().as_bytes().ends_with(SUFFIX.as_bytes())).count()
        });
        sockets.map_or(true, |count| count >= MOST)
    }

    /// Removes what nobody listens on any more.
    pub(crate) fn sweep(&self) {
        for entry in fs::read_dir(self.inside(".")).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_dead = || {
                let refused = std::os::unix::net::UnixStream::connect(&path).err().map(|error| error.kind());
                refused == Some(io::ErrorKind::ConnectionRefused)
            };
            if entry.file_name().as_bytes().ends_with(SUFFIX.as_bytes()) && is_dead() {
                let _gone_already = fs::remove_file(&path);
            }
        }
    }

    /// One caller at a time starts a process, as long as the lock is held.
    ///
    /// # Errors
    /// If the file of the lock cannot be made.
    pub(crate) fn lock(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(&self.directory, "lock", flags, Mode::RUSR | Mode::WUSR)?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
        Ok(file)
    }
}

/// A directory of this user's that others cannot change.
fn directory(path: &Path) -> io::Result<OwnedFd> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    let directory = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
    let about = rustix::fs::fstat(&directory)?;
    let is_ours = about.st_uid == rustix::process::geteuid().as_raw() && about.st_mode & 0o077 == 0;
    if is_ours { Ok(directory) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

/// A digest of all that makes two callers the same: what differs in any of it is another process's to answer.
fn circumstances(flags: &Context) -> io::Result<Digest> {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    let program = std::env::current_exe()?;
    parts.push(program.as_os_str().as_bytes().to_vec());
    for file in std::iter::once(program).chain(config::settings_files(flags)) {
        parts.push(file.as_os_str().as_bytes().to_vec());
        parts.push(identity(&file).into_bytes());
    }
    if flags.workspace.is_none() {
        parts.push(std::env::current_dir()?.as_os_str().as_bytes().to_vec());
    }
    // Sessions have these of the process that starts them.
    parts.push(mask().into_bytes());
    // What a flag says is told by its name; the directory that a command starts in comes with each request.
    let told = Context { cwd: None, json: false, ..flags.clone() };
    parts.push(format!("{told:?}").into_bytes());
    // Settings can name any variable as one that is passed on, or that holds a secret.
    let names_some =
        |file: &PathBuf| fs::read(file).is_ok_and(|text| text.windows(11).any(|word| word == b"environment"));
    let all = config::settings_files(flags).iter().any(names_some);
    let matters = |name: &OsStr| {
        let text = name.as_bytes();
        all && !SHELLS_OWN.contains(&text)
            || is_passed_on(name)
            || PLACES.iter().any(|place| name == *place)
            || OWN.iter().any(|own| text.starts_with(own.as_bytes()))
    };
    let mut variables: Vec<_> = std::env::vars_os().filter(|(name, _)| matters(name)).collect();
    variables.sort();
    for (name, value) in variables {
        parts.push(name.as_bytes().to_vec());
        parts.push(value.as_bytes().to_vec());
    }
    // Two clients of one user may not answer for each other, so each has a process of its own.
    parts.push(format!("{:?}", Descent::own().client()).into_bytes());
    let mut text = Vec::new();
    for part in parts {
        text.extend(part.len().to_be_bytes());
        text.extend(part);
    }
    Ok(Digest::of(&text))
}

/// The file mode creation mask, as the kernel writes it (proc_pid_status(5)).
fn mask() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find(|line| line.starts_with("Umask:")).unwrap_or_default().to_owned()
}

/// What changes when a file is replaced or written.
fn identity(file: &Path) -> String {
    fs::metadata(file).map_or_else(
        |error| error.kind().to_string(),
        |about| format!("{} {} {} {} {}", about.dev(), about.ino(), about.size(), about.mtime(), about.mtime_nsec()),
    )
}
