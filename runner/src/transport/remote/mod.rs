//! A bash at the other end of a connection.
//!
//! It has three streams and no channel besides, so that the end of a command is told in the streams that the command wrote to,
//! by a nonce that only the shell's input has held (`scan.rs`). Nothing holds it there: what it may do, its user may do. A second
//! shell (`scout.rs`) tells what the first one cannot be asked for, and ends what it started. This file starts both, and ends them;
//! `run.rs` has what happens in between.

mod run;
mod scan;
mod scout;
mod view;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use palisade_engine::AbsolutePath;
use serde::Serialize;

use self::scan::{Found, Scan};
use self::scout::Scout;
pub(crate) use self::view::View;
pub(crate) use self::wire::{Ending, Far, Mouth, Piece, Wire};
use super::docker::Container;
use super::ssh::Connection;
use super::{Target, TargetError};
use crate::redact::Redacted;
use crate::session::{Nonce, SessionError, frame};

/// How long a shell may take to answer where nothing of the agent's runs.
const READY: Duration = Duration::from_secs(10);

/// Bytes that a login shell's own set-up may say before ours begins.
const MAX_GREETING: usize = 1 << 20;

/// What starts a shell at the other end, behind what gives it its mark. Nothing of the user's set-up, for that is nothing that a policy
/// has seen.
pub(crate) const BASH: [&str; 5] = ["bash", "--norc", "--noprofile", "--noediting", "-i"];

/// The variable by which all that a session starts is known at the other end.
pub(crate) const MARK: &str = "PALISADE_SESSION";

/// A connection to the other end, over which shells are started.
#[derive(Debug)]
pub(crate) enum Link {
    /// To a host.
    Ssh(Connection),
    /// To a container.
    Docker(Container),
}

impl Link {
    async fn shell(&self, mark: Option<&str>) -> Result<Wire, TargetError> {
        match self {
            Self::Ssh(connection) => connection.shell(mark).await,
            Self::Docker(container) => container.shell(mark).await,
        }
    }

    async fn close(&self) {
        match self {
            Self::Ssh(connection) => connection.close().await,
            Self::Docker(container) => container.close().await,
        }
    }
}

/// What is at the other end, for the record and for whoever opened the session.
#[derive(Clone, Debug, Default, Serialize)]
pub struct End {
    /// The operator's name for it.
    pub target: Redacted,
    /// The user that commands run as there.
    #[serde(skip_serializing_if = "Redacted::is_empty")]
    pub user: Redacted,
    /// The fingerprint of the host's key.
    #[serde(skip_serializing_if = "Redacted::is_empty")]
    pub host_key: Redacted,
    /// The container's id.
    #[serde(skip_serializing_if = "Redacted::is_empty")]
    pub container: Redacted,
    /// The container's image, by its digest.
    #[serde(skip_serializing_if = "Redacted::is_empty")]
    pub image: Redacted,
}

/// A running shell at the other end.
#[derive(Debug)]
pub(crate) struct RemoteShell {
    link: Arc<Link>,
    closed: bool,
    main: Wire,
    scout: Scout,
    /// Its number there.
    pid: String,
    /// What all that it starts has in its environment.
    mark: String,
    /// Where it began.
    start: AbsolutePath,
}

impl RemoteShell {
    /// Starts the shells, and the first one in the target's workspace.
    ///
    /// # Errors
    /// If there is no bash, it does not answer, or the target is not as the settings have it.
    pub(crate) async fn start(link: Link, target: &Target) -> Result<Self, SessionError> {
        let started = Self::begin(&link, target).await;
        match started {
            Ok((main, scout, pid, mark, start)) => {
                Ok(Self { link: Arc::new(link), closed: false, main, scout, pid, mark, start })
            }
            Err(error) => {
                link.close().await;
                Err(error)
            }
        }
    }

    async fn begin(link: &Link, target: &Target) -> Result<(Wire, Scout, String, String, AbsolutePath), SessionError> {
        let mark = Nonce::new()?.as_str().to_owned();
        let scout = Scout::start(link.shell(None).await?).await?;
        let mut main = link.shell(Some(&mark)).await?;
        let (pid, home) = boot(&mut main, &Nonce::new()?).await?;
        if home != target.home.as_str() {
            // Groups such as `~/.ssh` speak of the home that the settings name.
            return Err(TargetError::Home { target: target.name.clone(), home }.into());
        }
        if let Some(workspace) = &target.workspace {
            let nonce = Nonce::new()?;
            let moved =
                frame::own(&format!("builtin cd -P -- {}", frame::quoted(workspace.as_str().as_bytes())), &nonce);
            if answer(&mut main, moved, &nonce).await?.1 != 0 {
                return Err(TargetError::NoWorkspace { path: workspace.to_string() }.into());
            }
        }
        main.ignore();
        let start = scout.cwd(&pid).await.ok_or(SessionError::NoDirectory)?;
        Ok((main, scout, pid, mark, start))
    }

    /// Where it began.
    pub(crate) fn start_directory(&self) -> &AbsolutePath {
        &self.start
    }

    /// For asking what names mean there.
    pub(crate) fn eyes(&self) -> Eyes {
        Eyes(self.scout.clone())
    }

    /// Kills the shell and everything that it started, and ends the connection.
    pub(crate) async fn close(mut self) {
        self.closed = true;
        self.end_everything().await;
        self.link.close().await;
    }

    async fn end_everything(&self) {
        end(&self.scout, &self.pid, &self.mark).await;
    }
}

impl Drop for RemoteShell {
    /// For a session whose call was interrupted: nobody is left to close it.
    fn drop(&mut self) {
        let (false, Ok(runtime)) = (self.closed, tokio::runtime::Handle::try_current()) else { return };
        let (link, scout) = (Arc::clone(&self.link), self.scout.clone());
        let (pid, mark) = (std::mem::take(&mut self.pid), std::mem::take(&mut self.mark));
        runtime.spawn(async move {
            end(&scout, &pid, &mark).await;
            link.close().await;
        });
    }
}

async fn end(scout: &Scout, pid: &str, mark: &str) {
    scout.kill_shell(pid).await;
    if scout.clone().kill_rest(pid.to_owned(), mark.to_owned()).await.is_none() {
        tracing::warn!("what a session ran at its target may be left there");
    }
}

/// Tells what names mean at the other end. Cheap to copy.
#[derive(Clone, Debug)]
pub(crate) struct Eyes(Scout);

impl Eyes {
    /// Asks about all names that `gather` raises in `view`.
    pub(crate) async fn fill(&self, view: &View, gather: impl Fn()) {
        view.fill(&self.0, gather).await;
    }

    /// The directory that a path names, if it can be entered.
    pub(crate) async fn directory(&self, path: &str) -> Option<AbsolutePath> {
        let found = self.0.look(&[path.to_owned()]).await?.pop()??;
        found.enters.then_some(found.path)
    }
}

/// Makes a fresh bash a shell of ours; its number and its home.
async fn boot(wire: &mut Wire, nonce: &Nonce) -> Result<(String, String), SessionError> {
    let (told, _) = answer(wire, frame::boot_remote(nonce), nonce).await?;
    let mut lines = told.rsplit(|byte| *byte == b'\n').skip(1).map(|line| String::from_utf8_lossy(line).into_owned());
    let (home, pid) = (lines.next().ok_or(SessionError::NotReady)?, lines.next().ok_or(SessionError::NotReady)?);
    // It goes into what the other shell is told.
    if pid.is_empty() || !pid.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(SessionError::NotReady);
    }
    Ok((pid, home))
}

/// Sends lines of our own; what they print, and their status.
async fn answer(wire: &mut Wire, lines: Vec<u8>, nonce: &Nonce) -> Result<(Vec<u8>, i32), SessionError> {
    if !wire.send(lines) {
        return Err(TargetError::Closed.into());
    }
    let (mut out, mut err) = (Scan::new(nonce.clone(), true), Scan::new(nonce.clone(), false));
    let (mut told, mut status, mut quiet) = (Vec::new(), None, false);
    let heard = async {
        loop {
            // The streams have no order among themselves: a report that is left in one would stand in the next command's.
            if let (Some(status), true) = (status, quiet) {
                return Ok((std::mem::take(&mut told), status));
            }
            match wire.next().await {
                Some(Piece::Out(bytes)) => {
                    for found in out.push(&bytes) {
                        match found {
                            Found::Bytes(bytes) if told.len() + bytes.len() <= MAX_GREETING => told.extend(bytes),
                            Found::Bytes(_) | Found::Forged => return Err(SessionError::NotReady),
                            Found::Report(_, told) => status = Some(told.unwrap_or(-1)),
                        }
                    }
                }
                Some(Piece::Err(bytes)) => {
                    quiet |= err.push(&bytes).iter().any(|found| matches!(found, Found::Report(..)));
                }
                // As a shell says it, and as an engine does.
                Some(Piece::Ended(Some(Ending::Exited(126 | 127)))) => return Err(TargetError::NoBash.into()),
                Some(Piece::Ended(_)) | None => return Err(TargetError::Closed.into()),
            }
        }
    };
    tokio::time::timeout(READY, heard).await.unwrap_or(Err(SessionError::NotReady))
}
