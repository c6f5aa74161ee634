//! The server's end of the control socket: makes it, takes one question a connection, and gives one answer.
//!
//! Nobody who connects can hold up anybody else: each user has few connections at a time, those that may be the agent's are counted apart,
//! a line is short, and everything has its time. Not decided here: who somebody is (`control/peer.rs`), and what they may do.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use palisade_redact::Redacted;
use rustix::fs::{CWD, Mode, OFlags, RenameFlags};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::Pipeline;
use crate::control::peer::{Descent, Peer};
use crate::control::wire::{self, Answer, Ask, MAX_ASK};
use crate::control::{ControlError, SUFFIX, Settings, connect};

/// What a socket is called that is not ready yet.
const UNREADY: &str = ".new";

/// How old a socket that nobody listens on has to be, if its server may still be about to.
const GRACE: Duration = Duration::from_secs(60);

/// How long a line may take, there and back each.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Connections of one user at a time; those that may be the agent's count apart.
const MAX_EACH: usize = 16;

/// The open socket of a server. Dropped, it is gone from the directory.
#[derive(Debug)]
pub struct Door {
    listener: UnixListener,
    directory: OwnedFd,
    name: String,
    descent: Descent,
}

/// How many connections somebody has: by user, and whether they may be the agent's.
type Guests = Arc<Mutex<BTreeMap<(u32, bool), usize>>>;

impl Door {
    /// Makes the socket of the server with this chain, and clears away those of servers that have died. Needs a tokio runtime.
    ///
    /// # Errors
    /// If the directory or the socket cannot be made, or others could put theirs in its place.
    pub fn open(settings: &Settings, chain: &str) -> Result<Self, ControlError> {
        let path = &settings.directory;
        let failed = |source: io::Error| ControlError::Socket { path: path.clone(), source };
        let directory = directory(settings)?;
        sweep(&directory);
        let (unready, name) = (format!(".{chain}{UNREADY}"), format!("{chain}{SUFFIX}"));
        // A socket's address holds 108 bytes, and a directory's name may be longer.
        let listener = std::os::unix::net::UnixListener::bind(inside(&directory, &unready)).map_err(failed)?;
        let mode = if settings.shared { 0o666 } else { 0o600 };
        fs::set_permissions(inside(&directory, &unready), Permissions::from_mode(mode)).map_err(failed)?;
        // Only one that listens gets its name, and no name is taken from another.
        rustix::fs::renameat_with(&directory, &unready, &directory, &name, RenameFlags::NOREPLACE)
            .map_err(|error| failed(error.into()))?;
        let descent = Descent::own();
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = UnixListener::from_std(listener).map_err(failed)?;
        Ok(Self { listener, directory, name, descent })
    }

    /// Answers whoever connects, as long as the future lives.
    pub async fn keep(&self, pipeline: &Arc<Pipeline>) {
        let guests = Guests::default();
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the control socket takes nobody");
                    // Out of descriptors, most likely: they come back.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            // At once, while the process that has connected is there.
            let peer = match tokio::task::block_in_place(|| Peer::of(&stream, &self.descent)) {
                Ok(peer) => peer,
                Err(error) => {
                    tracing::warn!(%error, "a control connection is refused");
                    continue;
                }
            };
            let Some(slot) = ConnectionSlot::of(&guests, &peer) else { continue };
            let pipeline = Arc::clone(pipeline);
            tokio::spawn(async move {
                attend(stream, &peer, &pipeline).await;
                drop(slot);
            });
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let _gone_already = fs::remove_file(inside(&self.directory, &self.name));
    }
}

/// One of the connections that a user may have at once.
struct ConnectionSlot {
    guests: Guests,
    key: (u32, bool),
}

impl ConnectionSlot {
    fn of(guests: &Guests, peer: &Peer) -> Option<Self> {
        let key = (peer.uid, peer.doubt.is_some());
        // Nothing that holds the lock can fail half-way.
        let mut count = guests.lock().unwrap_or_else(PoisonError::into_inner);
        let own = count.entry(key).or_default();
        if *own >= MAX_EACH {
            return None;
        }
        *own += 1;
        Some(Self { guests: Arc::clone(guests), key })
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut count = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = count.get_mut(&self.key) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                count.remove(&self.key);
            }
        }
    }
}

/// One question, one answer.
async fn attend(mut stream: UnixStream, peer: &Peer, pipeline: &Arc<Pipeline>) {
    let answer = match tokio::time::timeout(TIMEOUT, question(&mut stream)).await {
        Ok(Ok(ask)) => pipeline.state.control_answers().attend(ask, peer).await,
        Ok(Err(why)) => Answer::Failed { what: pipeline.redact(&why), help: Redacted::from_static("") },
        Err(_too_slow) => return,
    };
    let line = match wire::encode(&answer) {
        Ok(line) => line,
        Err(error) => {
            tracing::error!(%error, "an answer cannot be told");
            return;
        }
    };
    let written = tokio::time::timeout(TIMEOUT, async {
        stream.write_all(&line).await?;
        stream.shutdown().await
    });
    let _nobody_reads = written.await;
}

async fn question(stream: &mut UnixStream) -> Result<Ask, String> {
    let limit = u64::try_from(MAX_ASK).unwrap_or(u64::MAX);
    let mut line = Vec::new();
    let mut reader = BufReader::new(stream).take(limit);
    reader.read_until(b'\n', &mut line).await.map_err(|error| error.to_string())?;
    if line.last() != Some(&b'\n') {
        return Err(format!("the line has no end within {MAX_ASK} bytes"));
    }
    wire::decode(&line).map_err(|error| error.to_string())
}

/// The directory, made if it is not there, in which nobody else can exchange what is ours.
fn directory(settings: &Settings) -> Result<OwnedFd, ControlError> {
    let path = &settings.directory;
    let failed = |source: io::Error| ControlError::Directory { path: path.clone(), source };
    let mode = if settings.shared { 0o755 } else { 0o700 };
    if let Some(above) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(above).map_err(failed)?;
    }
    match fs::DirBuilder::new().mode(mode).create(path) {
        // Whatever the mask is.
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed)?,
        Err(there) if there.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    let directory = rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
    let about = fs::metadata(inside(&directory, ".")).map_err(failed)?;
    let ours = about.uid() == rustix::process::geteuid().as_raw();
    let (written_by_others, sticky) = (about.mode() & 0o022 != 0, about.mode() & 0o1000 != 0);
    let safe = match settings.shared {
        false => ours && !written_by_others,
        true => (ours || about.uid() == 0) && (!written_by_others || sticky),
    };
    if safe { Ok(directory) } else { Err(ControlError::Open { path: path.clone() }) }
}

/// Removes the sockets that nobody listens on any more. Another user's stay, and so does one that cannot be told.
fn sweep(directory: &OwnedFd) {
    let Ok(entries) = fs::read_dir(inside(directory, ".")) else { return };
    for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let path = inside(directory, &name);
        let is_old = || {
            let made = fs::symlink_metadata(&path).and_then(|file| file.modified()).ok();
            made.and_then(|made| SystemTime::now().duration_since(made).ok()).is_some_and(|age| age > GRACE)
        };
        let may_go = name.ends_with(SUFFIX) || (name.ends_with(UNREADY) && is_old());
        if may_go && is_dead(&path) {
            let _not_ours = fs::remove_file(&path);
        }
    }
}

fn is_dead(path: &Path) -> bool {
    connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

fn inside(directory: &OwnedFd, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()))
}
