//! Snapshots of a workspace, and the way back to one.
//!
//! ```text
//! workspace ─tree─▶ Tree ─store─▶ Checkpoint            (what has changed is read, the rest is known)
//!                    └─ledger─▶ what the session made
//! Checkpoint + now + ledger ─plan─▶ Plan ─restore─▶ Restored
//! ```
//!
//! Decided here and below: what a checkpoint covers, what a restore touches and what it leaves alone. Not decided here: who may do
//! either (`palisade_engine`), and when a checkpoint is taken (`pipeline/checkpoints.rs`).

pub mod changes;
pub mod ledger;
mod manifest;
pub mod plan;
pub(crate) mod remote;
pub(crate) mod restore;
pub mod store;
#[cfg(test)]
mod tests;
pub mod tree;

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

pub use self::remote::keep;
pub use self::restore::{Failed, Restored};
use crate::shell::pace::EndedEarly;

/// A checkpoint's name: forty hexadecimal digits, of which the first few will do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CheckpointId(String);

impl CheckpointId {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As much of it as people are shown.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }

    fn oid(&self) -> Result<git2::Oid, CheckpointError> {
        Ok(git2::Oid::from_str(&self.0)?)
    }
}

/// What the operator set about checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where they are kept: a directory that no session can reach.
    pub directory: PathBuf,
    /// What they leave out.
    pub scope: tree::Scope,
    /// When one is taken that nobody asks for, besides those that policy demands.
    pub automatic: Automatic,
    /// How many of those are kept; when there are a quarter more, the oldest go.
    pub keep: usize,
}

/// The most of those that the settings can keep: what somebody asks for needs room, too.
pub const MAX_KEEP: usize = 500;

/// When checkpoints are taken that nobody asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Automatic {
    /// Never.
    #[default]
    Never,
    /// Before each command that may change the workspace.
    Changes,
}

impl Settings {
    /// Checkpoints below this directory, of all files up to 50 MiB, when somebody or policy asks for one.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        let scope = tree::Scope { exclude: Vec::new(), max_file: 50 << 20 };
        Self { directory, scope, automatic: Automatic::Never, keep: 50 }
    }
}

/// A snapshot of a workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its name.
    pub id: CheckpointId,
    /// What was said of it.
    pub about: store::About,
    /// When it was taken, in milliseconds since 1970.
    pub taken_ms: i64,
    /// Files in it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files and directories that it does not hold.
    pub uncovered: u64,
}

/// Why a checkpoint could not be taken, read or gone back to.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum CheckpointError {
    /// The workspace cannot be looked at.
    #[error("the workspace cannot be read")]
    Workspace {
        /// What the system said.
        #[source]
        cause: Errno,
    },
    /// There is more in the workspace than a checkpoint holds.
    #[error("the workspace has more files than a checkpoint holds ({})", tree::MAX_ENTRIES)]
    #[diagnostic(help("exclude directories that can be made again: `checkpoint.exclude` in the settings"))]
    TooMany,
    /// The store cannot be read or written.
    #[error("the checkpoints in `{}` cannot be used", path.display())]
    #[diagnostic(help(
        "make room on the disk, or put right who owns the directory; `checkpoint.path` in the settings says where it is"
    ))]
    Store {
        /// The store, or a file of it.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The library that keeps objects could not.
    #[error("the checkpoints' repository cannot be used: {}", .0.message())]
    #[diagnostic(help("make room on the disk; a damaged store can be moved away, then another is begun"))]
    Repository(#[from] git2::Error),
    /// Something in the store is not as it was written.
    #[error("the store of checkpoints is damaged")]
    #[diagnostic(help("take another checkpoint; what the damaged one held cannot be brought back"))]
    Damaged,
    /// A restore was cut short, and which one cannot be told.
    #[error("`{}` tells of a restore that was cut short, but not of which", path.display())]
    #[diagnostic(help(
        "until then no checkpoint is given up and none gone back to: move the file away once nothing of that restore is wanted"
    ))]
    Journal {
        /// The file.
        path: PathBuf,
    },
    /// It was given up on the way.
    #[error("the workspace was not read to its end, since nobody waits for it any more")]
    Stopped,
    /// There are as many as are kept.
    #[error("there are {max} checkpoints of the workspace, and that is the limit")]
    #[diagnostic(help(
        "give up old ones: `palisade checkpoint prune --keep NUMBER`, with `--target NAME` for those at a target"
    ))]
    Full {
        /// How many there may be.
        max: usize,
    },
    /// There is no such checkpoint.
    #[error("there is no checkpoint `{name}`")]
    #[diagnostic(help("`list` with `kind` `checkpoints` shows them"))]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// More than one begins like this.
    #[error("more than one checkpoint begins with `{name}`")]
    #[diagnostic(help("give more of its name"))]
    Ambiguous {
        /// What was asked for.
        name: String,
    },
    /// The target lacks what checkpoints are made with there.
    #[error("the target lacks {what}, without which there are no checkpoints of its workspace")]
    #[diagnostic(help("install `git`, GNU findutils and GNU coreutils there"))]
    Lacks {
        /// A program.
        what: String,
    },
    /// There is no place at the target for what is kept.
    #[error("`{directory}` at the target cannot hold checkpoints: {why}")]
    #[diagnostic(help(
        "set `state` in the target's settings to a directory that its user can write and that lies outside of the workspace"
    ))]
    NoPlace {
        /// The directory there.
        directory: String,
        /// Why not.
        why: &'static str,
    },
    /// What the target keeps cannot be written or read.
    #[error("what is kept of checkpoints in `{directory}` at the target cannot be used: {why}")]
    #[diagnostic(help("make room on the disk there, or put right who owns the directory"))]
    Unkept {
        /// The directory there.
        directory: String,
        /// What the system there says.
        why: String,
    },
    /// What the target holds is not what it was given.
    #[error("the target does not hold any more what the checkpoint has of {}", named(names))]
    #[diagnostic(help(
        "somebody there has changed or removed what was kept; nothing was restored. Go to another checkpoint"
    ))]
    Tampered {
        /// Paths whose bytes are gone or are others.
        names: Vec<tree::Name>,
    },
    /// The target cannot be asked, or what it tells cannot be used.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Target(#[from] crate::target::TargetError),
    /// A file could not be written in the workspace.
    #[error("a file cannot be written")]
    Write {
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl From<EndedEarly> for CheckpointError {
    fn from(_: EndedEarly) -> Self {
        Self::Stopped
    }
}

/// Paths that a message names.
const NAMED: usize = 5;

/// The first of these paths, as a message names them.
fn named(names: &[tree::Name]) -> String {
    let shown: Vec<_> = names.iter().take(NAMED).map(|name| format!("`{}`", String::from_utf8_lossy(name))).collect();
    let more = names.len().saturating_sub(NAMED);
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}
