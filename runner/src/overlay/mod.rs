//! A workspace that is looked at through a copy: what an agent writes lies beside it until somebody applies it.
//!
//! ```text
//! workspace (lower) ─┐
//!                    ├─ enter.rs ─▶ the view, at the workspace's own path      for this process and all that it starts
//! upper, work ───────┘
//! upper ─ changes.rs ─▶ Changes ─ diff.rs ─▶ what a person is shown
//!                         └─ checkpoint/store/view_snapshot.rs ─▶ a checkpoint to go to: apply
//! ```
//!
//! The server itself lives in the view. Whatever it reads for a decision - where a path leads, which program a name means, what a script
//! holds, what a directory has in it - it reads at the path that the session uses, in the same mount: there is no second name for a
//! file by which the two could differ, and no place in the code that has to choose.
//!
//! A view belongs to a workspace and a principal, outlives sessions and servers, and is held by one process at a time: two mounts of one
//! upper layer would be undefined (Documentation/filesystems/overlayfs.rst). What is shown and what is applied is read only while nobody
//! holds it, so that it is what the person saw.
//!
//! Decided here: where views lie, who holds one, what the workspace was when it was last left alone. Not decided here: who may apply one
//! (`pipeline/view_apply.rs`).

mod changes;
mod diff;
mod enter;

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use palisade_engine::AbsolutePath;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use self::diff::{Change, Difference, differences};
pub use self::enter::{Entered, enter, look};
use crate::checkpoint::CheckpointError;
use crate::checkpoint::changes::Changes;
use crate::checkpoint::ledger::Ledger;
use crate::checkpoint::tree::{self, Also, Reason, Scope, Tree};
use crate::removal;

/// Which view is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where views lie: a directory that no session can reach.
    pub directory: PathBuf,
    /// The workspace that is looked at, real.
    pub workspace: AbsolutePath,
    /// The agent that looks.
    pub agent: String,
    /// The user that it acts for.
    pub user: String,
}

/// Whose view it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// The workspace.
    pub workspace: String,
    /// The agent.
    pub agent: String,
    /// The user that it acts for.
    pub user: String,
}

/// The view of one workspace for one principal, whether or not there is anything in it.
#[derive(Clone, Debug)]
pub struct Overlay {
    directory: PathBuf,
    about: About,
}

/// A view that nobody else can mount, apply or discard meanwhile.
#[derive(Debug)]
pub struct Held {
    overlay: Overlay,
    #[expect(dead_code, reason = "held for its Drop")]
    lock: File,
}

impl Overlay {
    /// The view that the settings mean.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        let Settings { directory, workspace, agent, user } = settings;
        let whole = [workspace.as_str(), agent, user].join("\0");
        let digest = Sha256::digest(whole.as_bytes());
        let name: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let about = About { workspace: workspace.as_str().to_owned(), agent: agent.clone(), user: user.clone() };
        Self { directory: directory.join(name), about }
    }

    /// The views that lie in a directory, in the order of their workspaces.
    ///
    /// # Errors
    /// The directory is there and cannot be read.
    pub fn all(directory: &Path) -> Result<Vec<Self>, OverlayError> {
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(OverlayError::Store { path: directory.to_owned(), source }),
        };
        let mut all = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|source| OverlayError::Store { path: directory.to_owned(), source })?;
            let about = fs::read(entry.path().join(ABOUT)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
            all.extend(about.map(|about| Self { directory: entry.path(), about }));
        }
        let key = |overlay: &Self| (overlay.about.workspace.clone(), overlay.about.agent.clone());
        all.sort_by_key(key);
        Ok(all)
    }

    /// Whose it is.
    #[must_use]
    pub fn about(&self) -> &About {
        &self.about
    }

    /// Its name, as records and people have it.
    #[must_use]
    pub fn id(&self) -> String {
        let name = self.directory.file_name().map(|name| name.as_bytes()).unwrap_or_default();
        format!("view-{}", String::from_utf8_lossy(name.get(..12).unwrap_or(name)))
    }

    /// Where the checkpoints lie that are taken in it. They are of the view, and go with it.
    #[must_use]
    pub fn checkpoints(&self) -> PathBuf {
        self.directory.join("checkpoints")
    }

    /// Whether somebody holds it now.
    #[must_use]
    pub fn is_held(&self) -> bool {
        let Ok(lock) = File::open(self.directory.join("lock")) else { return false };
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK)
    }

    /// Holds it, as long as what is returned lives.
    ///
    /// # Errors
    /// Somebody else does, or the place where it lies cannot be used.
    pub fn hold(&self) -> Result<Held, OverlayError> {
        let failed = |source| OverlayError::Store { path: self.directory.clone(), source };
        let make = |path: &Path| DirBuilder::new().recursive(true).mode(0o700).create(path);
        make(&self.directory).map_err(failed)?;
        // Whatever made it before us.
        fs::set_permissions(&self.directory, Permissions::from_mode(0o700)).map_err(failed)?;
        let path = self.directory.join("lock");
        let lock = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let mut lock = lock.map_err(failed)?;
        let mut tries = TRIES;
        loop {
            match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                // Whoever only asks whether it is held has it for a moment.
                Err(Errno::WOULDBLOCK) if tries > 0 => std::thread::sleep(PAUSE),
                Err(Errno::WOULDBLOCK) => {
                    let mut holder = String::new();
                    let _unknown = (&mut lock).take(20).read_to_string(&mut holder);
                    return Err(OverlayError::InUse { holder: holder.trim().parse().ok() });
                }
                Err(errno) => return Err(failed(errno.into())),
            }
            tries -= 1;
        }
        let told = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        told.map_err(failed)?;
        let held = Held { overlay: self.clone(), lock };
        let about = serde_json::to_vec(&self.about).map_err(|_| OverlayError::Damaged)?;
        held.put(ABOUT, &about)?;
        // The view's own top has the workspace's permissions; what nobody else passes is the directory above.
        for part in [UPPER, WORK] {
            make(&self.directory.join(part)).map_err(failed)?;
        }
        Ok(held)
    }

    /// What the agent has changed. Of a view that is in use: up to now.
    ///
    /// # Errors
    /// It cannot be read, or not be understood.
    pub fn changes(&self) -> Result<Changes, OverlayError> {
        match self.upper() {
            Ok(upper) => Changes::read(&upper),
            Err(OverlayError::Unread { source }) if source.kind() == io::ErrorKind::NotFound => Ok(Changes::default()),
            Err(error) => Err(error),
        }
    }

    /// The directory in which what the agent wrote lies.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn upper(&self) -> Result<OwnedFd, OverlayError> {
        tree::open_root(&self.directory.join(UPPER)).map_err(|error| match error {
            CheckpointError::Workspace { cause } => OverlayError::Unread { source: cause.into() },
            _ => OverlayError::Damaged,
        })
    }

    /// The state of each path of the workspace when the agent could last have seen it; for what it has changed since, that from
    /// before.
    ///
    /// # Errors
    /// It cannot be read, or is not what was written.
    pub fn base(&self) -> Result<Ledger, OverlayError> {
        match fs::read(self.directory.join(BASE)) {
            Ok(bytes) => Ledger::read(&bytes).ok_or(OverlayError::Damaged),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Ledger::default()),
            Err(source) => Err(OverlayError::Store { path: self.directory.join(BASE), source }),
        }
    }

    /// The workspace itself, all of it; not through the view, so long as this process is not in it.
    ///
    /// # Errors
    /// It cannot be read, or another file system is mounted in it.
    pub fn workspace(&self) -> Result<(OwnedFd, Tree), OverlayError> {
        let scope = Scope { exclude: Vec::new(), max_file: u64::MAX };
        let root = tree::open_root(Path::new(&self.about.workspace))?;
        let tree = tree::walk(&root, &scope, &Also::Everything)?;
        // Layers end where a file system ends: what is mounted there would be missing from the view.
        if let Some(mounted) = tree.uncovered.iter().find(|uncovered| uncovered.why == Reason::Mounted) {
            return Err(OverlayError::Mounted { path: String::from_utf8_lossy(&mounted.name).into_owned() });
        }
        Ok((root, tree))
    }
}

impl Held {
    /// The view.
    #[must_use]
    pub fn overlay(&self) -> &Overlay {
        &self.overlay
    }

    /// Puts down what the workspace is, for what the agent has not changed yet: from now on it may.
    fn settle_base(&self) -> Result<(), OverlayError> {
        let (changes, before) = (self.overlay.changes()?, self.overlay.base()?);
        let (_, now) = self.overlay.workspace()?;
        let mut base = Ledger::default();
        for (name, found) in now.found.iter().filter(|(name, _)| !changes.covers(name)) {
            base.note(name, Some(found.stamp));
        }
        for name in before.names().filter(|name| changes.covers(name)) {
            base.note(name, before.state(name).flatten());
        }
        self.put(BASE, &base.to_bytes())
    }

    /// Gives up all that the agent has changed, and the checkpoints that were taken in the view.
    ///
    /// # Errors
    /// Something cannot be removed; what is gone is gone.
    pub fn discard(&self) -> Result<(), OverlayError> {
        for part in [UPPER, WORK, "checkpoints"] {
            let path = self.overlay.directory.join(part);
            removal::remove(&path).map_err(|source| OverlayError::Store { path, source })?;
        }
        match fs::remove_file(self.overlay.directory.join(BASE)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(OverlayError::Store { path: self.overlay.directory.join(BASE), source })
            }
            _ => Ok(()),
        }
    }

    /// All of it or nothing.
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), OverlayError> {
        let path = self.overlay.directory.join(name);
        let beside = path.with_extension("new");
        let put = || {
            let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
            file.write_all(bytes)?;
            file.sync_data()?;
            fs::rename(&beside, &path)
        };
        put().map_err(|source| OverlayError::Store { path: path.clone(), source })
    }
}

/// How often, and after how long, somebody who wants to hold a view tries again: what a server that was killed leaves ends within that.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);

const ABOUT: &str = "about";
const BASE: &str = "base";
const UPPER: &str = "upper";
const WORK: &str = "work";

/// Why a view cannot be had, shown or given up.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum OverlayError {
    /// Another process has it.
    #[error("the view of this workspace is in use{}", holder.map(|pid| format!(" by process {pid}")).unwrap_or_default())]
    #[diagnostic(help("end that server or command first; another agent name (`--agent`) has a view of its own"))]
    InUse {
        /// Its number.
        holder: Option<u32>,
    },
    /// This process already has threads, which would stay outside.
    #[error("the view cannot be entered any more: this process has begun its work outside of it")]
    Threads,
    /// The kernel makes no namespace.
    #[error("`workspace.mode = \"overlay\"` needs a mount namespace and the kernel refuses it")]
    #[diagnostic(help(
        "allow unprivileged user namespaces (`sysctl user.max_user_namespaces`, `kernel.apparmor_restrict_unprivileged_userns`), \
         or take the mode out of the settings: sessions then change the workspace itself"
    ))]
    Namespace {
        /// What it said.
        source: io::Error,
    },
    /// The kernel mounts no overlay.
    #[error("`workspace.mode = \"overlay\"` needs an overlay in a namespace and the kernel refuses it")]
    #[diagnostic(help(
        "this takes Linux 5.11 or newer, and a `workspace.views` directory on a file system such as ext4, xfs, btrfs or tmpfs that is not \
         itself an overlay, as a container's is"
    ))]
    Mount {
        /// What it said.
        source: io::Error,
    },
    /// The place of views cannot hold the kernel's marks.
    #[error("the file system of `{}` keeps no extended attributes of users, without which deletions are forgotten", path.display())]
    #[diagnostic(help("put views elsewhere: `workspace.views` in the settings"))]
    NoAttributes {
        /// The place.
        path: PathBuf,
    },
    /// Workspace and views lie one in the other.
    #[error("the workspace `{workspace}` and the directory of views `{}` lie one in the other", views.display())]
    #[diagnostic(help("put views elsewhere: `workspace.views` in the settings"))]
    Nested {
        /// The workspace.
        workspace: String,
        /// The place of views.
        views: PathBuf,
    },
    /// Another file system begins in the workspace.
    #[error("another file system is mounted in the workspace at `{path}`, and a view would not show it")]
    #[diagnostic(help("unmount it, or choose a workspace without it"))]
    Mounted {
        /// Where, below the workspace.
        path: String,
    },
    /// Something in it is marked in a way that is not understood.
    #[error("`{path}` in the view has a mark of the overlay's that is not understood")]
    #[diagnostic(help("nothing of the view was applied; `palisade workspace discard` gives it up"))]
    Mark {
        /// Where, below the workspace.
        path: String,
    },
    /// There is more in it than is looked at.
    #[error("the view has more files than are looked at ({})", tree::MAX_ENTRIES)]
    TooMany,
    /// What the agent changed cannot be read.
    #[error("what the view holds cannot be read")]
    Unread {
        /// What the system said.
        source: io::Error,
    },
    /// The place where it lies cannot be used.
    #[error("the view in `{}` cannot be used", path.display())]
    #[diagnostic(help("make room on the disk, or put right who owns the directory"))]
    Store {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something of it is not as it was written.
    #[error("the view is damaged")]
    #[diagnostic(help("`palisade workspace discard` gives it up"))]
    Damaged,
    /// The workspace cannot be looked at.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Checkpoint(#[from] CheckpointError),
}
