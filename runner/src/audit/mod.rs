//! What is on record: the entries, and the handle that puts them there.
//!
//! Every decision is written before its command starts, and [`Audit::append`] returns only when the record is on disk
//! (as far as [`Sync`] asks for it). An error from it means that nothing was recorded, so nothing may run.
//!
//! No field of an entry can hold text that has not been through the redactor. What stands in a record is a number, a
//! [`Digest`], a [`Term`] of our own vocabularies, an [`Id`] that we made, or [`Redacted`] text: names of agents and
//! users are of the last kind, because a token or a client may have supplied them.
//!
//! How a line is made is decided in `chain`, whether a file of them holds in `verify`, and a directory of files in `series`; files,
//! durability and what happens when a disk fails in `sink`, what a dead process left in `recover`, what goes in `prune`.

mod chain;
mod hex;
mod key;
mod proof;
mod prune;
mod recover;
mod select;
mod series;
mod sink;
mod tree;
mod verify;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use rustix::io::Errno;
use serde::{Deserialize, Serialize, Serializer};
use tokio::sync::{mpsc, watch};

use crate::redact::Redacted;

pub use chain::{Anchor, AnchorError, ChainId, Digest, FORMAT, MAX_LINE};
pub use key::{KeyError, PublicKey, PublicKeyError};
pub use proof::{Disproof, Proof, ProveError, Proven, prove};
pub use prune::Pruned;
pub use recover::Crashed;
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
    queue: mpsc::Sender<sink::Job>,
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
    pub fn open(settings: &Settings, start: Start) -> Result<Self, AuditError> {
        let begun = sink::open(settings, start)?;
        Ok(Self {
            shared: Arc::new(Shared {
                queue: begun.queue,
                head: begun.head,
                path: begun.path,
                chain: begun.chain,
                requests: AtomicU64::new(0),
            }),
        })
    }

    /// Puts an entry on record. `Ok`: it is durable, and the anchor pins it down.
    ///
    /// If the future is dropped while it waits, the entry may still be recorded.
    ///
    /// # Errors
    /// The entry is not on record, and whatever waits for it must not happen. When the cause is gone the same handle
    /// works again, except after [`AuditError::Altered`] and [`AuditError::Ended`].
    pub async fn append(&self, entry: impl Into<Entry>) -> Result<Anchor, AuditError> {
        let (job, answer) = sink::Job::new(entry.into());
        self.shared.queue.send(job).await.map_err(|_| self.ended())?;
        answer.await.map_err(|_| self.ended())?
    }

    /// [`Audit::append`] for code that is not async.
    ///
    /// # Errors
    /// As for `append`.
    ///
    /// # Panics
    /// On a thread that drives async tasks: there, `append` is the one to call.
    pub fn append_blocking(&self, entry: impl Into<Entry>) -> Result<Anchor, AuditError> {
        let (job, answer) = sink::Job::new(entry.into());
        self.shared.queue.blocking_send(job).map_err(|_| self.ended())?;
        answer.blocking_recv().map_err(|_| self.ended())?
    }

    /// The last record that is durable.
    #[must_use]
    pub fn head(&self) -> Anchor {
        *self.shared.head.borrow()
    }

    /// The file that the chain begins in.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
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
pub struct Settings {
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
}

impl Settings {
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
        }
    }
}

/// When a record counts as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sync {
    /// When it is on disk; the disk is asked for each record.
    Always,
    /// When it is on disk; records that wait at the same time share one request to the disk.
    #[default]
    Group,
    /// When the kernel has it: a crash of Palisade loses nothing, one of the machine may.
    None,
}

/// One thing to put on record.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Entry {
    /// The chain begins. [`Audit::open`] writes it.
    Start(Start),
    /// A session was opened.
    Open(Box<Opened>),
    /// A script was judged. Its command starts only when this is on record.
    Decision(Box<Decided>),
    /// A person answered a decision that asked for it.
    Approval(Box<Approved>),
    /// What a decided script came to.
    Outcome(Box<Finished>),
    /// Something was to be written to a job.
    Input(Box<Written>),
    /// A job was to be sent a signal.
    Signal(Box<Signalled>),
    /// A program was refused at its `execve`, and no outcome tells of it.
    Denial(Box<Denied>),
    /// A program of a session's was to be connected to a peer.
    Connect(Box<Connected>),
    /// A session was closed.
    Close(Closed),
    /// Policies were taken in place of others, or refused.
    PolicyReload(Box<Reloaded>),
    /// All records before are signed, as `start` and `stop` are. The handle writes it by itself.
    Head,
    /// The chain goes on in another file, of which this is the first record. The handle writes it by itself.
    Rotate(Rotated),
    /// A file that is older than records are kept is about to go. The handle writes it by itself.
    Prune(Pruning),
    /// The chain ends: nothing can follow.
    Stop(Stopped),
    /// Records could not be written for a time, and can be again. The handle writes it by itself.
    Recovered(Recovered),
    /// A process that wrote to another chain of the directory had ended without a word. The handle writes it by itself.
    #[serde(rename = "recovered")]
    Crashed(Box<Crashed>),
}

macro_rules! into_entry {
    ($($kind:ident($from:ty) $boxed:expr;)*) => {$(
        impl From<$from> for Entry {
            fn from(entry: $from) -> Self {
                Self::$kind($boxed(entry))
            }
        }
    )*};
}

into_entry! {
    Open(Opened) Box::new;
    Decision(Decided) Box::new;
    Approval(Approved) Box::new;
    Outcome(Finished) Box::new;
    PolicyReload(Reloaded) Box::new;
    Input(Written) Box::new;
    Signal(Signalled) Box::new;
    Denial(Denied) Box::new;
    Connect(Connected) Box::new;
    Close(Closed) std::convert::identity;
    Stop(Stopped) std::convert::identity;
}

/// The process that a chain belongs to, and the rules it begins with.
#[derive(Clone, Debug, Serialize)]
pub struct Start {
    version: &'static str,
    verb: Term,
    pid: u32,
    uid: u32,
    sync: Sync,
    policy_set: Digest,
    schema: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Before>,
}

/// The newest chain of the directory that had ended, and its end.
#[derive(Clone, Debug, Serialize)]
struct Before {
    chain: Id,
    seq: u64,
    head: Digest,
}

impl Start {
    /// This process: the version of Palisade, the verb it was started with, and the digests of its policies and schema.
    #[must_use]
    pub fn new(version: &'static str, verb: Term, policy_set: Digest, schema: Digest) -> Self {
        let uid = rustix::process::geteuid().as_raw();
        Self { version, verb, pid: std::process::id(), uid, sync: Sync::default(), policy_set, schema, before: None }
    }
}

/// A session that was opened.
#[derive(Clone, Debug, Serialize)]
pub struct Opened {
    /// The session.
    pub session: Id,
    /// Who opened it.
    pub who: Who,
    /// How commands reach it.
    pub transport: Transport,
    /// Where it starts.
    pub cwd: Redacted,
    /// What holds it.
    pub sandbox: Sandbox,
}

/// A script and the verdict on it.
#[derive(Clone, Debug, Serialize)]
pub struct Decided {
    /// The decision's id, which its outcome names.
    pub req: RequestId,
    /// The session that the call named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Id>,
    /// The shell of its own that the script is for, under the name that later entries give it; none: it is the session's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Id>,
    /// Who asks.
    pub who: Who,
    /// How the script would reach a shell.
    pub transport: Transport,
    /// Where it would start.
    pub cwd: Redacted,
    /// The agent's own words on why: nothing that anybody may rely on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Redacted>,
    /// The script.
    #[serde(flatten)]
    pub command: Command,
    /// The program words of its inventory, in order.
    pub inv: Vec<Redacted>,
    /// Why parts of it could not be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub opaque: Vec<Term>,
    /// The verdict.
    pub decision: Decision,
    /// The policies that it was judged by.
    pub policy_set: Digest,
    /// Their schema.
    pub schema: Digest,
    /// What would hold it.
    pub sandbox: Sandbox,
}

/// A person's answer.
#[derive(Clone, Debug, Serialize)]
pub struct Approved {
    /// The decision that it answers.
    pub of: RequestId,
    /// It was a yes. Whether policy lets that person say it is in the decision that follows.
    pub granted: bool,
    /// Who said it.
    pub by: Redacted,
    /// The policies that stood in the way.
    pub lifted: Vec<Redacted>,
}

/// What a script came to that was decided before.
#[derive(Clone, Debug, Serialize)]
pub struct Finished {
    /// The decision that let it run.
    pub req: RequestId,
    /// The session that it ran in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Id>,
    /// How it ended.
    pub exit: Exit,
    /// How long it ran, in microseconds.
    pub dur_us: u64,
    /// Standard output.
    pub out: Stream,
    /// Standard error.
    pub err: Stream,
    /// What the redactor took out.
    #[serde(skip_serializing_if = "Redactions::is_empty")]
    pub redactions: Redactions,
    /// Programs that the exec guard refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub denied: Vec<Refused>,
    /// How often it refused others.
    #[serde(skip_serializing_if = "is_zero")]
    pub denied_more: u64,
}

/// A program that was refused when something tried to execute it.
#[derive(Clone, Debug, Serialize)]
pub struct Refused {
    /// Its file, as it was called.
    pub program: Redacted,
    /// Its arguments; none for a connection.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub argv: Vec<Redacted>,
    /// Whom it was not let connect to.
    #[serde(skip_serializing_if = "Redacted::is_empty")]
    pub peer: Redacted,
    /// The policy that refused it; empty if nothing permits it.
    pub policy: Redacted,
}

/// A program that was refused when the script that started it was over, or that belongs to no script that is known.
#[derive(Clone, Debug, Serialize)]
pub struct Denied {
    /// The decision that let the script run; none: which script it was cannot be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<RequestId>,
    /// The session that it was started in.
    pub session: Id,
    /// The program.
    #[serde(flatten)]
    pub refused: Refused,
    /// How many such refusals of this session are not on record each by itself, up to here.
    #[serde(skip_serializing_if = "is_zero")]
    pub more: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Something that was to be written to a job's input. Written only when this is on record.
#[derive(Clone, Debug, Serialize)]
pub struct Written {
    /// The decision that let the job run.
    pub of: RequestId,
    /// The session that it was judged for.
    pub session: Id,
    /// Whether policy lets it be written.
    pub effect: Effect,
    /// The policies that stand in the way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub determining: Vec<Redacted>,
    /// The text.
    #[serde(flatten)]
    pub text: Command,
    /// Its length in bytes.
    pub bytes: u64,
    /// It ends the input.
    pub eof: bool,
}

/// A signal that was to be sent to a job. Sent only when this is on record.
#[derive(Clone, Debug, Serialize)]
pub struct Signalled {
    /// The decision that let the job run.
    pub of: RequestId,
    /// The session that it was judged for.
    pub session: Id,
    /// Whether policy lets it be sent.
    pub effect: Effect,
    /// The policies that stand in the way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub determining: Vec<Redacted>,
    /// The signal's name.
    pub signal: Term,
}

/// A connection that a session's program wanted. Made only when this is on record.
#[derive(Clone, Debug, Serialize)]
pub struct Connected {
    /// The session.
    pub session: Id,
    /// Whether policy lets it be made.
    pub effect: Effect,
    /// The policies that permit it, or those that stand in the way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub determining: Vec<Redacted>,
    /// `host:port`.
    pub peer: Redacted,
    /// The addresses that were judged, and that are dialled in turn.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Redacted>,
    /// The program that wanted it; empty if it cannot be told.
    #[serde(skip_serializing_if = "Redacted::is_empty")]
    pub program: Redacted,
}

/// A session that was closed.
#[derive(Clone, Debug, Serialize)]
pub struct Closed {
    /// The session.
    pub session: Id,
    /// Why.
    pub reason: Term,
}

/// Other policies were found while the process ran.
#[derive(Clone, Debug, Serialize)]
pub struct Reloaded {
    /// The set that decides from here on.
    pub policy_set: Digest,
    /// The set that decided before.
    pub before: Digest,
    /// Why what was found is not used; `None`: it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Redacted>,
}

/// The last record of a chain.
#[derive(Clone, Debug, Serialize)]
pub struct Stopped {
    /// Why the process ends.
    pub reason: Term,
}

/// The first record of a file that is not its chain's first.
#[derive(Clone, Debug, Serialize)]
pub struct Rotated {
    /// Which file it is.
    #[serde(skip)]
    number: u32,
    /// The file before.
    after: Id,
}

/// A file that goes.
#[derive(Clone, Debug, Serialize)]
pub struct Pruning {
    /// Its name.
    file: Id,
    /// Its last record.
    last: Anchor,
}

/// A time without a record, in which nothing ran.
#[derive(Clone, Debug, Serialize)]
pub struct Recovered {
    /// How many entries were refused.
    refused: u64,
    /// When the first of them was.
    #[serde(serialize_with = "chain::rfc3339")]
    since: Timestamp,
    /// Why it was.
    cause: Term,
}

/// Who asks.
#[derive(Clone, Debug, Serialize)]
pub struct Who {
    /// The agent.
    pub agent: Redacted,
    /// On whose behalf it acts.
    pub user: Redacted,
    /// The agent's roles.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Redacted>,
    /// The identity is proven, by `auth`.
    pub verified: bool,
    /// How it was proven.
    pub auth: Term,
}

/// How commands reach a shell.
#[derive(Clone, Debug, Serialize)]
pub struct Transport {
    /// Which transport.
    pub kind: Term,
    /// The operator's name for the other end; none on this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Redacted>,
}

/// A script, as far as a record may show it.
///
/// The hash is that of the redacted text: with a hash of the raw text, a short secret could be guessed from the record.
#[derive(Clone, Debug, Serialize)]
pub struct Command {
    cmd_sha256: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    cmd: Option<Redacted>,
}

impl Command {
    /// The text and its hash.
    #[must_use]
    pub fn shown(text: Redacted) -> Self {
        Self { cmd_sha256: Digest::of(text.as_str().as_bytes()), cmd: Some(text) }
    }

    /// The hash alone.
    #[must_use]
    pub fn hashed(text: &Redacted) -> Self {
        Self { cmd_sha256: Digest::of(text.as_str().as_bytes()), cmd: None }
    }
}

/// The verdict on a script.
#[derive(Clone, Debug, Serialize)]
pub struct Decision {
    /// What it is.
    pub effect: Effect,
    /// The ids of the policies that determined it.
    pub determining: Vec<Redacted>,
    /// What went wrong in the evaluation; each denies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Redacted>,
    /// How long it took, in microseconds.
    pub us: u64,
}

/// The verdict in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// It may run.
    Allow,
    /// It may run once a person has approved it.
    Ask,
    /// It may not run.
    Deny,
}

/// What holds a session.
#[derive(Clone, Debug, Serialize)]
pub struct Sandbox {
    /// The level that the operator set.
    pub level: Term,
    /// The version of the kernel's Landlock; none where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub landlock_abi: Option<u32>,
    /// The layers in force.
    pub layers: Vec<Term>,
    /// What the level asks for and the operator accepted to go without.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub degraded: Vec<Term>,
}

/// How a script ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Exit {
    /// With this exit status.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Otherwise, or not at all: timed out, cancelled, its session lost.
    Reason(Term),
}

/// One output stream, as far as a record may tell. As for [`Command`], the hash is that of the redacted text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Stream {
    bytes: u64,
    omitted: u64,
    sha256: Digest,
}

impl Stream {
    /// A stream of `bytes` bytes, of which `text` was kept and `omitted` bytes were not.
    #[must_use]
    pub fn new(text: &Redacted, bytes: u64, omitted: u64) -> Self {
        Self { bytes, omitted, sha256: Digest::of(text.as_str().as_bytes()) }
    }
}

/// How often each secret rule took something out.
#[derive(Clone, Debug, Default)]
pub struct Redactions(Vec<(Redacted, u64)>);

impl Redactions {
    /// Nothing was taken out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(Redacted, u64)> for Redactions {
    /// Each rule once, with its count.
    fn from_iter<I: IntoIterator<Item = (Redacted, u64)>>(counts: I) -> Self {
        Self(counts.into_iter().collect())
    }
}

impl Serialize for Redactions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(rule, count)| (rule, count)))
    }
}

/// A word of one of Palisade's own vocabularies: a transport, a reason, a sandbox layer.
///
/// It is made from text of the program itself only, so it cannot hold what an agent or a program wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Term(&'static str);

impl Term {
    /// This word.
    #[must_use]
    pub const fn new(word: &'static str) -> Self {
        Self(word)
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

/// A name that Palisade or the system gave: a session, a machine. Never a name that an agent chose.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Id(Box<str>);

impl Id {
    /// The longest id, in bytes.
    pub const MAX: usize = 64;

    /// `text` as an id: one to [`Id::MAX`] letters, digits, dots, hyphens and underscores; anything else is none.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let fits = (1..=Self::MAX).contains(&text.len()) && text.bytes().all(Self::may_hold);
        fits.then(|| Self(text.into()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of something that has none.
    #[must_use]
    pub fn unknown() -> Self {
        Self("unknown".into())
    }

    fn may_hold(byte: u8) -> bool {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The id of one decision; [`Audit::request`] makes it. Text form: the chain's eight hex digits, as in its file name,
/// and a number: `5f3a9c01-12`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId {
    chain: ChainId,
    number: u64,
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.chain, self.number)
    }
}

impl FromStr for RequestId {
    type Err = RequestIdError;

    fn from_str(text: &str) -> Result<Self, RequestIdError> {
        let (chain, number) = text.split_once('-').ok_or(RequestIdError)?;
        let chain = chain.parse().map_err(|_| RequestIdError)?;
        let id = Self { chain, number: number.parse().map_err(|_| RequestIdError)? };
        // One spelling only: the text is looked for in records.
        if id.to_string() == text { Ok(id) } else { Err(RequestIdError) }
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A text is no [`RequestId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a decision's id has the form `5f3a9c01-12`")]
pub struct RequestIdError;

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
            Self::Key(_) => {
                "put the key back, readable for its owner alone, or move it away: then another is made, and verifying needs \
                 the public halves of both"
            }
            Self::Writable { .. } => "take the right to write from group and others: `chmod 0700` on the directory",
            Self::Create { .. } | Self::Write { .. } | Self::Unsynced { .. } | Self::Torn { .. } => {
                "make room on the disk or repair it; nothing runs until the record can be written"
            }
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

/// Entries for tests.
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
pub(crate) mod sample {
    use std::fs::File;
    use std::io::BufReader;

    use super::*;

    pub(in crate::audit) fn key() -> Arc<key::Key> {
        Arc::new(key::Key::of(&[7; 32]))
    }

    pub(crate) fn text(text: &str) -> Redacted {
        Redacted::from_static(Box::leak(text.into()))
    }

    pub(crate) fn start() -> Start {
        Start::new("0.1.0", Term::new("serve"), Digest::of(b"policies"), Digest::of(b"schema"))
    }

    pub(crate) fn who() -> Who {
        Who {
            agent: text("build-agent"),
            user: text("alice"),
            roles: vec![text("developer")],
            verified: true,
            auth: Term::new("os-user"),
        }
    }

    pub(crate) fn transport() -> Transport {
        Transport { kind: Term::new("local"), target: None }
    }

    pub(crate) fn sandbox() -> Sandbox {
        let layers = vec![Term::new("landlock"), Term::new("seccomp")];
        Sandbox { level: Term::new("default"), landlock_abi: Some(6), layers, degraded: vec![] }
    }

    pub(crate) fn opened() -> Opened {
        let session = Id::new("s1").unwrap();
        Opened { session, who: who(), transport: transport(), cwd: text("/srv/app"), sandbox: sandbox() }
    }

    pub(crate) fn decided(req: RequestId, script: &str) -> Decided {
        Decided {
            req,
            shell: None,
            session: Id::new("s1"),
            who: who(),
            transport: transport(),
            cwd: text("/srv/app"),
            reason: None,
            command: Command::shown(text(script)),
            inv: vec![text("make")],
            opaque: vec![],
            decision: Decision {
                effect: Effect::Allow,
                determining: vec![text("dev-toolchain")],
                errors: vec![],
                us: 85,
            },
            policy_set: Digest::of(b"policies"),
            schema: Digest::of(b"schema"),
            sandbox: sandbox(),
        }
    }

    pub(crate) fn finished(req: RequestId, exit: Exit, output: &str) -> Finished {
        Finished {
            req,
            session: Id::new("s1"),
            exit,
            dur_us: 1200,
            out: Stream::new(&text(output), output.len() as u64, 0),
            err: Stream::new(&text(""), 0, 0),
            redactions: [(text("github-token"), 2)].into_iter().collect(),
            denied: Vec::new(),
            denied_more: 0,
        }
    }

    pub(crate) fn closed() -> Closed {
        Closed { session: Id::new("s1").unwrap(), reason: Term::new("asked") }
    }

    pub(crate) fn stopped() -> Stopped {
        Stopped { reason: Term::new("client-left") }
    }

    pub(crate) fn check(path: &Path, anchor: Option<Anchor>) -> Result<Report, Broken> {
        verify(BufReader::new(File::open(path).unwrap()), anchor)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn json(entry: impl Into<Entry>) -> serde_json::Value {
        serde_json::to_value(entry.into()).unwrap()
    }

    fn request() -> RequestId {
        "5f3a9c01-12".parse().unwrap()
    }

    #[test]
    fn a_decision_says_who_what_where_and_why() {
        let digest = |text: &str| Digest::of(text.as_bytes()).to_string();
        let expected = serde_json::json!({
            "kind": "decision", "req": "5f3a9c01-12", "session": "s1",
            "who": {"agent": "build-agent", "user": "alice", "roles": ["developer"],
                    "verified": true, "auth": "os-user"},
            "transport": {"kind": "local"}, "cwd": "/srv/app",
            "cmd_sha256": digest("make all"), "cmd": "make all", "inv": ["make"],
            "decision": {"effect": "allow", "determining": ["dev-toolchain"], "us": 85},
            "policy_set": digest("policies"), "schema": digest("schema"),
            "sandbox": {"level": "default", "landlock_abi": 6, "layers": ["landlock", "seccomp"]},
        });
        assert_eq!(json(sample::decided(request(), "make all")), expected);
    }

    #[test]
    fn an_outcome_names_its_decision() {
        let exits = [
            (Exit::Code(3), serde_json::json!({"code": 3})),
            (Exit::Signal(9), serde_json::json!({"signal": 9})),
            (Exit::Reason(Term::new("timed_out")), serde_json::json!({"reason": "timed_out"})),
        ];
        for (exit, expected) in exits {
            let digest = |text: &str| Digest::of(text.as_bytes()).to_string();
            let expected = serde_json::json!({
                "kind": "outcome", "req": "5f3a9c01-12", "session": "s1", "exit": expected, "dur_us": 1200,
                "out": {"bytes": 2, "omitted": 0, "sha256": digest("ok")},
                "err": {"bytes": 0, "omitted": 0, "sha256": digest("")},
                "redactions": {"github-token": 2},
            });
            assert_eq!(json(sample::finished(request(), exit, "ok")), expected);
        }
    }

    #[test]
    fn a_command_can_be_on_record_without_its_text() {
        let mut decided = sample::decided(request(), "make all");
        decided.command = Command::hashed(&sample::text("make all"));
        let record = json(decided);
        assert_eq!(record.get("cmd"), None);
        assert_eq!(record.get("cmd_sha256").unwrap(), &Digest::of(b"make all").to_string());
    }

    #[test]
    fn ids_hold_names_and_no_text() {
        for (text, fits) in [
            ("s1", true),
            ("web-01.example.com", true),
            ("A_b", true),
            ("", false),
            ("a b", false),
            ("a\n", false),
            ("/etc", false),
            ("é", false),
        ] {
            assert_eq!(Id::new(text).is_some(), fits, "{text:?}");
        }
        assert!(Id::new(&"x".repeat(Id::MAX)).is_some());
        assert!(Id::new(&"x".repeat(Id::MAX + 1)).is_none());
    }

    #[test]
    fn request_ids_have_one_spelling() {
        for text in ["5f3a9c01-12", "00000001-1", "ffffffff-18446744073709551615"] {
            assert_eq!(text.parse::<RequestId>().unwrap().to_string(), text);
        }
        for text in
            ["", "12", "5f3a9c01", "5f3a9c01-", "5F3A9C01-12", "5f3a9c01-012", "+f3a9c01-1", "5f3a9c01-1 ", "1-1"]
        {
            assert_eq!(text.parse::<RequestId>(), Err(RequestIdError), "{text:?}");
        }
    }
}
