//! The handle that puts entries on record.
//!
//! Every decision is on disk before its command starts: [`Audit::append`] returns only when the record is written
//! as far as [`Sync`] asks for it. An error from it means that nothing was recorded, so nothing may run.
//!
//! What an entry says is decided in `entry`, how a line is made in `chain`, whether a file of them holds in `verify`, and a
//! directory of files in `series`; who writes in `group_commit`, what happens when a disk fails in `sink`, one file and how it reaches the disk in `file`, what a dead process left in `recover`, what goes in `prune`. Whoever reads while it is written has `follow`.

#![forbid(unsafe_code)]

mod chain;
mod cursor;
mod discarded_view;
mod entry;
pub mod export;
mod file;
mod follow;
mod group_commit;
mod hex;
mod history;
mod key;
mod live_file;
mod login;
mod proof;
mod prune;
mod record;
mod recover;
#[cfg(test)]
pub(crate) mod sample;
mod seal;
mod select;
mod series;
mod sink;
mod tail;
mod tree;
mod verify;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub use chain::{Anchor, AnchorError, ChainId, Digest, FORMAT, MAX_LINE};
pub use cursor::{Batch, Cursor, Most, RecordLine};
pub use discarded_view::Discarded;
pub use entry::{
    Approved, Asker, Checkpointed, CheckpointsPruned, Closed, Command, Connected, Decided, Decision, DecisionInput,
    DecisionReason, Denied, Effect, Entry, Executing, Exit, Finished, Forgotten, Groups, Id, Killed, Opened, Pruning,
    Recovered, Redactions, RefusedProgram, Reloaded, RequestId, RequestIdError, Restoring, Rotated, Ruling, Sandbox,
    Signalled, Start, Stopped, Stream, Term, Transport, Unlearned, Who, Written, Yes,
};
pub use follow::{Followed, Follower, From, Notice, NoticeKind};
pub use history::{History, asked};
pub use key::{KeyError, PublicKey, PublicKeyError};
pub use live_file::LiveFile;
pub use login::TurnedAway;
pub use proof::{Disproof, Proof, ProveError, Proven, prove};
pub use prune::Pruned;
pub use record::{
    Amount, Elsewhere, Judged, PolicyQuestions, Reached, Record, RecordedExit, RecordedRefusal, Requester,
    SandboxLayers, Seen, Why,
};
pub use recover::Crashed;
pub use seal::{AgeIdentity, IdentityError, SealError, SealTo, SealToError, Sealed, Unsealed};
pub use select::{Filter, Selector, effect_of, kind, policies};
pub use series::{ChainFiles, Fault, chain_of, chains, verify_directory};
pub use verify::{Broken, BrokenKind, Expected, Report, verify};

/// Entries that may wait for the disk. Whoever appends one more waits for room, so a slow disk slows the commands
/// down instead of filling the memory.
const QUEUE: usize = 256;

/// The record of one process: a handle to its chain. Clones write to the same chain.
#[derive(Clone)]
pub struct Audit {
    shared: Arc<Shared>,
}

struct Shared {
    group_commit: group_commit::GroupCommit,
    head: watch::Receiver<Anchor>,
    path: PathBuf,
    chain: ChainId,
    requests: AtomicU64,
}

impl Audit {
    /// Begins a new chain in the directory of the settings and writes its first record, `start`.
    ///
    /// Blocks while the file is created and synced. The directory is made with mode 0700 if it is not there.
    ///
    /// # Errors
    /// If the directory is not ours alone to write, or the first record cannot be written.
    pub fn open(settings: &AuditSettings, start: Start) -> Result<Self, AuditError> {
        let begun = sink::open(settings, start)?;
        Ok(Self {
            shared: Arc::new(Shared {
                group_commit: begun.group_commit,
                head: begun.head,
                path: begun.path,
                chain: begun.chain,
                requests: AtomicU64::new(0),
            }),
        })
    }

    /// Puts an entry on record. `Ok`: it is written as far as [`Sync`] asks for it, and the anchor pins it down.
    ///
    /// If the future is dropped while it waits, the entry may still be recorded.
    ///
    /// # Errors
    /// The entry is not on record, and whatever waits for it must not happen. When the cause is gone the same handle
    /// works again, except after [`AuditError::Altered`] and [`AuditError::Ended`].
    pub async fn append(&self, entry: impl Into<Entry>) -> Result<Anchor, AuditError> {
        self.shared.group_commit.put(entry.into()).await.map_err(|_| self.ended())?
    }

    /// [`Audit::append`] for code that is not async.
    ///
    /// # Errors
    /// As for `append`.
    ///
    /// # Panics
    /// On a thread that drives async tasks: there, `append` is the one to call.
    pub fn append_blocking(&self, entry: impl Into<Entry>) -> Result<Anchor, AuditError> {
        self.shared.group_commit.put_blocking(entry.into()).map_err(|_| self.ended())?
    }

    /// Whether files may go that are older than [`AuditSettings::retention`] says; until this says so, all stay. Blocks while those
    /// that are old by now go.
    pub fn let_prune(&self, may: bool) {
        self.shared.group_commit.let_prune(may);
    }

    /// The last record that counts as written.
    #[must_use]
    pub fn head(&self) -> Anchor {
        *self.shared.head.borrow()
    }

    /// The file that the chain begins in.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// The chain, as its file's name has it.
    #[must_use]
    pub fn chain(&self) -> ChainId {
        self.shared.chain
    }

    /// A new id for a decision, unlike any other of this directory.
    #[must_use]
    pub fn request(&self) -> RequestId {
        let number = self.shared.requests.fetch_add(1, Ordering::Relaxed) + 1;
        RequestId { chain: self.shared.chain, number }
    }

    fn ended(&self) -> AuditError {
        AuditError::Ended { path: self.shared.path.clone() }
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit").field("path", &self.shared.path).field("head", &self.head()).finish()
    }
}

/// The public half of the key that a record in this directory is signed with. The key is made if it is not there.
///
/// # Errors
/// If the directory is not ours alone to write, or the key cannot be read or made.
pub fn public_key(directory: &Path) -> Result<PublicKey, AuditError> {
    sink::public_key(directory)
}

/// A point in time as somebody types it: as records have it, or so long ago (`90s`, `30m`, `2h`, `7d`).
pub fn point_in_time(text: &str) -> Option<Timestamp> {
    select::point_in_time(text, Timestamp::now())
}

/// What the operator set about the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditSettings {
    /// Where the chains are: a directory that only our own account can write to, outside everything a session can
    /// write.
    pub directory: PathBuf,
    /// When a record counts as written.
    pub sync: Sync,
    /// How many records there may be that are not signed yet.
    pub unsigned: u64,
    /// How long a record may stay unsigned.
    pub unsigned_for: Duration,
    /// The size in bytes from which on a chain goes on in another file.
    pub rotate_size: u64,
    /// The age of a file from which on its chain goes on in another one; none: whatever its age.
    pub rotate_age: Option<Duration>,
    /// How old records have to be to go; none: they stay.
    pub retention: Option<Duration>,
    /// Whom a copy of each decision as it was is sealed to; none: there are no such copies.
    pub sealed_to: Option<SealTo>,
}

impl AuditSettings {
    /// The record in this directory: signed after each thousand records and each minute in which there were some, in files
    /// of 64 MiB, which all stay.
    #[must_use]
    pub fn new(directory: PathBuf, sync: Sync) -> Self {
        Self {
            directory,
            sync,
            unsigned: 1000,
            unsigned_for: Duration::from_secs(60),
            rotate_size: 64 << 20,
            rotate_age: None,
            retention: None,
            sealed_to: None,
        }
    }
}

/// When a record counts as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sync {
    /// When it is on disk; the disk is asked for each record.
    Always,
    /// When it is on disk; records that wait at the same time share one request to the disk. An outcome, which nothing waits for that
    /// is yet to happen, counts when the kernel has it, and is on disk with the next record that waits, or after 50 ms.
    #[default]
    Group,
    /// When the kernel has it: a crash of Palisade loses nothing, one of the machine may.
    None,
}

/// Why something is not on record. The cause, where the system gave one, is the error's source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// The directory cannot be made or opened.
    #[error("the audit directory `{}` cannot be used", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: Errno,
    },
    /// The directory's name leads elsewhere.
    #[error("the audit directory `{}` is a symbolic link or no directory", path.display())]
    NotDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// The directory belongs to another account.
    #[error("the audit directory `{}` belongs to uid {owner}, not to uid {ours}", path.display())]
    Owner {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who runs Palisade.
        ours: u32,
    },
    /// Others can write to the directory.
    #[error("the audit directory `{}` can be written by others (mode {mode:04o})", path.display())]
    Writable {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// There is no key to sign with.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No chain file can be made.
    #[error("the audit file `{}` cannot be created", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: Errno,
    },
    /// Something every record needs cannot be had from the system.
    #[error("{what} cannot be had from the system, and every record needs it")]
    System {
        /// What it is.
        what: &'static str,
        /// What the system said.
        #[source]
        cause: Errno,
    },
    /// The record could not be written.
    #[error("the audit file `{}` cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: Errno,
    },
    /// The record was written, but the disk did not confirm it.
    #[error("the audit file `{}` cannot be brought to disk", path.display())]
    Unsynced {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: Errno,
    },
    /// What an earlier failure left at the end of the file cannot be cut off.
    #[error("the audit file `{}` ends in an unfinished record that cannot be cut off", path.display())]
    Torn {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: Errno,
    },
    /// The file is not where it was made.
    #[error("the audit file `{}` is no longer there: it was removed, renamed or replaced", path.display())]
    Gone {
        /// The file.
        path: PathBuf,
    },
    /// The file is longer or shorter than what was written to it. The handle stays closed.
    #[error("the audit file `{}` was changed by someone else", path.display())]
    Altered {
        /// The file.
        path: PathBuf,
    },
    /// The entry is longer than [`MAX_LINE`].
    #[error("the record would be {bytes} bytes long, the limit is {MAX_LINE}")]
    TooLong {
        /// The line's length.
        bytes: usize,
    },
    /// The entry cannot stand at this place of the chain, or not be written as JSON.
    #[error("this entry cannot follow in the audit file `{}`", path.display())]
    OutOfPlace {
        /// The file.
        path: PathBuf,
    },
    /// The writer has ended.
    #[error("the audit file `{}` is closed", path.display())]
    Ended {
        /// The file.
        path: PathBuf,
    },
}

impl miette::Diagnostic for AuditError {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.advice()))
    }
}

impl AuditError {
    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Directory { .. } | Self::NotDirectory { .. } => {
                "set `audit.path` to a directory that the account running Palisade can make or owns"
            }
            Self::Owner { .. } => {
                "give the directory to the account that runs Palisade, or set `audit.path` to another"
            }
            Self::Key(KeyError::Read { .. } | KeyError::Shared { .. } | KeyError::NotKey { .. }) => {
                "put the key back, readable for its owner alone, or move it away: then another is made, and verifying needs \
                 the public halves of both"
            }
            Self::Writable { .. } => "take the right to write from group and others: `chmod 0700` on the directory",
            Self::Key(KeyError::Make { .. })
            | Self::Create { .. }
            | Self::Write { .. }
            | Self::Unsynced { .. }
            | Self::Torn { .. } => "make room on the disk or repair it; nothing runs until the record can be written",
            Self::System { .. } => "start Palisade where `/proc` is mounted and threads can be made",
            Self::Gone { .. } => "put the file back, or restart Palisade to begin a new one; nothing runs until then",
            Self::Altered { .. } => {
                "keep the file and find out who wrote to it, then restart Palisade; nothing runs until then"
            }
            Self::TooLong { .. } => "send a shorter command",
            Self::OutOfPlace { .. } | Self::Ended { .. } => "restart Palisade; nothing runs until then",
        }
    }
}
