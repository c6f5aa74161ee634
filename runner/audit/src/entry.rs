//! What is on record: each kind of entry, and what it says.
//!
//! No field can hold text that has not been through the redactor. What stands in a record is a number, a [`Digest`], a
//! [`Term`] of our own vocabularies, an [`Id`] that we made, or [`Redacted`] text: names of agents and users are of the last
//! kind, because a token or a client may have supplied them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use palisade_redact::Redacted;
use serde::{Serialize, Serializer};

use super::discarded_view::Discarded;
use super::login::TurnedAway;
use super::recover::Crashed;
use super::{Anchor, ChainId, Digest, Sealed, Sync, chain};

/// One thing to put on record.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Entry {
    /// The chain begins. [`super::Audit::open`] writes it.
    Start(Start),
    /// A session was opened.
    Open(Box<Opened>),
    /// A script was judged. Its command starts only when this is on record.
    Decision(Box<Decided>),
    /// A person answered a decision that asked for it.
    Approval(Box<Approved>),
    /// A person took back a yes that holds for longer than one call.
    Forget(Box<Forgotten>),
    /// A person dropped values that the redactor had learned. They are looked for until this is on record.
    Unlearn(Box<Unlearned>),
    /// A person stopped an agent or a session, or let it in again.
    Kill(Box<Killed>),
    /// What a decided script came to.
    Outcome(Box<Finished>),
    /// Something was to be written to a job.
    Input(Box<Written>),
    /// A job was to be sent a signal.
    Signal(Box<Signalled>),
    /// A program was refused at its `execve`, and no outcome tells of it.
    Denial(Box<Denied>),
    /// A program was to be executed that takes a person's yes.
    Execution(Box<Executing>),
    /// Somebody was not let in.
    Login(Box<TurnedAway>),
    /// A program of a session's was to be connected to a peer.
    Connect(Box<Connected>),
    /// A checkpoint was to be taken.
    Checkpoint(Box<Checkpointed>),
    /// A checkpoint was to be gone back to, or has been. Files are touched only when all of it is on record.
    Restore(Box<Restoring>),
    /// Checkpoints are given up. They go only when this is on record.
    CheckpointPrune(Box<CheckpointsPruned>),
    /// What an agent did in a view of its workspace is given up. It goes only when all of this is on record.
    Discard(Box<Discarded>),
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

impl Entry {
    /// Whether whoever hands it in may go on before it is on disk ([`Sync::Group`]): what happened, not what may.
    pub(super) fn may_follow(&self) -> bool {
        matches!(self, Self::Outcome(_))
    }
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
    Forget(Forgotten) Box::new;
    Unlearn(Unlearned) Box::new;
    Kill(Killed) Box::new;
    Outcome(Finished) Box::new;
    PolicyReload(Reloaded) Box::new;
    Input(Written) Box::new;
    Signal(Signalled) Box::new;
    Denial(Denied) Box::new;
    Execution(Executing) Box::new;
    Login(TurnedAway) Box::new;
    Connect(Connected) Box::new;
    Checkpoint(Checkpointed) Box::new;
    Restore(Restoring) Box::new;
    CheckpointPrune(CheckpointsPruned) Box::new;
    Discard(Discarded) Box::new;
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
    pub(super) sync: Sync,
    policy_set: Digest,
    schema: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) before: Option<PreviousChain>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    groups: Groups,
    #[serde(skip_serializing_if = "Option::is_none")]
    view: Option<Id>,
}

/// What tells the path groups of a policy set from others of the same name: a fingerprint of each.
pub type Groups = BTreeMap<Redacted, Id>;

/// The newest chain of the directory that had ended, and its end.
#[derive(Clone, Debug, Serialize)]
pub(super) struct PreviousChain {
    pub(super) chain: Id,
    pub(super) seq: u64,
    pub(super) head: Digest,
}

impl Start {
    /// This process: the version of Palisade, the verb it was started with, and the digests of its policies and schema.
    #[must_use]
    pub fn new(version: &'static str, verb: Term, policy_set: Digest, schema: Digest) -> Self {
        let uid = rustix::process::geteuid().as_raw();
        let (sync, before, groups, view) = (Sync::default(), None, Groups::new(), None);
        Self { version, verb, pid: std::process::id(), uid, sync, policy_set, schema, before, groups, view }
    }

    /// The same with the path groups that the policies begin with.
    #[must_use]
    pub fn with_groups(self, groups: Groups) -> Self {
        Self { groups, ..self }
    }

    /// The same of a process that lives in a view of its workspace: what its sessions write is in the view.
    #[must_use]
    pub fn with_view(self, view: Option<Id>) -> Self {
        Self { view, ..self }
    }
}

/// A session that was opened.
#[derive(Clone, Debug, Serialize)]
pub struct Opened {
    /// The session.
    pub session: Id,
    /// Who opened it.
    pub who: Who,
    /// The request whose granted approval it uses up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub under: Option<RequestId>,
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
    /// The decision whose granted approval this one uses up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub under: Option<RequestId>,
    /// The policies that it was judged by.
    pub policy_set: Digest,
    /// Their schema.
    pub schema: Digest,
    /// What would hold it.
    pub sandbox: Sandbox,
    /// What Cedar was asked, to be asked again under other policies.
    #[serde(flatten)]
    pub asked: DecisionInput,
    /// A copy of the command and the questions as they were, for whoever holds the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sealed: Option<Sealed>,
}

/// What a decision was made on, as far as a record may tell.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DecisionInput {
    /// The questions, with what was redacted out of them noted.
    Asked(Box<palisade_engine::ReplayInput<Redacted>>),
    /// They are not on record, for this reason.
    NotAsked(Term),
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
    /// Where: `terminal`, that of `run`; `control`, the server's socket; `client`, the agent's own.
    pub from: Term,
    /// The process that said it, as the kernel had it; none but at the socket.
    #[serde(flatten)]
    pub peer: Option<Asker>,
    /// Why, in that person's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Redacted>,
    /// How many different people have to say yes.
    pub quorum: usize,
    /// The policies that stood in the way.
    pub lifted: Vec<Redacted>,
    /// How long it holds, where that is longer than for the one call: `session`, `agent` or `always`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Term>,
    /// The permits by which it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permit: Option<Redacted>,
}

/// A person took a standing yes back.
#[derive(Clone, Debug, Serialize)]
pub struct Forgotten {
    /// The decision that it was given to, in this chain or in another one.
    pub of: RequestId,
    /// Who said so.
    pub by: Redacted,
    /// The process that said it.
    #[serde(flatten)]
    pub peer: Asker,
}

/// A person dropped values that the redactor had learned.
#[derive(Clone, Debug, Serialize)]
pub struct Unlearned {
    /// Their ids, of which `redact --learned` has told more. What they were is on no record.
    pub values: Vec<Id>,
    /// Who said so.
    pub by: Redacted,
    /// The process that said it.
    #[serde(flatten)]
    pub peer: Asker,
}

/// A process at the other end of the control socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Asker {
    /// Its number.
    pub pid: i32,
    /// Its user.
    pub uid: u32,
}

/// Something was stopped by a person, or let in again.
#[derive(Clone, Debug, Serialize)]
pub struct Killed {
    /// `session`, `agent` or `all`.
    pub what: Term,
    /// Its name; none for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Redacted>,
    /// It was let in again.
    pub lifted: bool,
    /// Who said so.
    pub by: Redacted,
    /// The process that said it.
    #[serde(flatten)]
    pub peer: Asker,
    /// Why, in that person's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Redacted>,
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
    pub denied: Vec<RefusedProgram>,
    /// How often it refused others.
    #[serde(skip_serializing_if = "is_zero")]
    pub denied_more: u64,
    /// The checkpoint of the workspace as it found it, where there had to be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Redacted>,
}

/// A program that was refused when something tried to execute it.
#[derive(Clone, Debug, Serialize)]
pub struct RefusedProgram {
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
    pub refused: RefusedProgram,
    /// How many such refusals of this session are not on record each by itself, up to here.
    #[serde(skip_serializing_if = "is_zero")]
    pub more: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The request for a person's yes that something raises, or the one that it rests on.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Yes {
    /// The one that it raises.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ask: Option<RequestId>,
    /// The one whose grant it uses up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub under: Option<RequestId>,
}

/// What policy says to something that is done only when this is on record.
#[derive(Clone, Debug, Serialize)]
pub struct Ruling {
    /// Whether it lets it be done.
    pub effect: Effect,
    /// The policies that say so, or stand in the way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub determining: Vec<Redacted>,
}

/// A program that takes a person's yes when it is executed. It waits only when this is on record, and starts only when its yes is.
#[derive(Clone, Debug, Serialize)]
pub struct Executing {
    /// The decision that let its script run; none: which script it was cannot be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<RequestId>,
    /// The yes that it takes.
    #[serde(flatten)]
    pub yes: Yes,
    /// The session that it was started in.
    pub session: Id,
    /// What policy says to it.
    #[serde(flatten)]
    pub ruling: Ruling,
    /// Its file, as it was called.
    pub program: Redacted,
    /// Its arguments, its own name first.
    pub argv: Vec<Redacted>,
}

/// Something that was to be written to a job's input. Written only when this is on record.
#[derive(Clone, Debug, Serialize)]
pub struct Written {
    /// The decision that let the job run.
    pub of: RequestId,
    /// The yes that it takes.
    #[serde(flatten)]
    pub yes: Yes,
    /// The session that it was judged for.
    pub session: Id,
    /// What policy says to it.
    #[serde(flatten)]
    pub ruling: Ruling,
    /// The text.
    #[serde(flatten)]
    pub text: Command,
    /// Its length in bytes.
    pub bytes: u64,
    /// It ends the input.
    pub eof: bool,
    /// The text as it was, for whoever has the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sealed: Option<Sealed>,
}

/// A signal that was to be sent to a job. Sent only when this is on record.
#[derive(Clone, Debug, Serialize)]
pub struct Signalled {
    /// The decision that let the job run.
    pub of: RequestId,
    /// The yes that it takes.
    #[serde(flatten)]
    pub yes: Yes,
    /// The session that it was judged for.
    pub session: Id,
    /// What policy says to it.
    #[serde(flatten)]
    pub ruling: Ruling,
    /// The signal's name.
    pub signal: Term,
}

/// A connection that a session's program wanted. Made only when this is on record.
#[derive(Clone, Debug, Serialize)]
pub struct Connected {
    /// The session.
    pub session: Id,
    /// What policy says to it.
    #[serde(flatten)]
    pub ruling: Ruling,
    /// `host:port`.
    pub peer: Redacted,
    /// The addresses that were judged, and that are dialled in turn.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Redacted>,
    /// The program that wanted it; empty if it cannot be told.
    #[serde(skip_serializing_if = "Redacted::is_empty")]
    pub program: Redacted,
}

/// A checkpoint that was to be taken; with its name, it was.
#[derive(Clone, Debug, Serialize)]
pub struct Checkpointed {
    /// The decision on the command that it was taken before; none: somebody asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<RequestId>,
    /// The session that it is for.
    pub session: Id,
    /// What policy says to it.
    #[serde(flatten)]
    pub ruling: Ruling,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Redacted>,
    /// The caller's name for it.
    #[serde(skip_serializing_if = "Redacted::is_empty")]
    pub label: Redacted,
    /// Files in it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files and directories that it does not hold.
    pub uncovered: u64,
}

/// Checkpoints that are to go.
#[derive(Clone, Debug, Serialize)]
pub struct CheckpointsPruned {
    /// Who wants it; none: the settings keep no more of those that nobody asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<Redacted>,
    /// The target whose workspace they are of; none: this machine's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Redacted>,
    /// What policy says to it.
    #[serde(flatten)]
    pub ruling: Ruling,
    /// How many of the newest stay.
    pub keep: usize,
    /// Those that go.
    pub checkpoints: Vec<Redacted>,
}

/// The way back to a checkpoint: before it is gone, with what it touches; behind it, with `undo` and what failed.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Restoring {
    /// The yes that it takes.
    #[serde(flatten)]
    pub yes: Yes,
    /// The session that it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Id>,
    /// The target whose files it touches; none: this machine's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Redacted>,
    /// Whether policy lets it be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// The policies that stand in the way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub determining: Vec<Redacted>,
    /// The checkpoint.
    #[serde(skip_serializing_if = "Redacted::is_empty")]
    pub checkpoint: Redacted,
    /// What others changed is put back, too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// Files, directories and links that are put back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub write: Vec<Redacted>,
    /// Those that are deleted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub delete: Vec<Redacted>,
    /// Which part of the lists this is, and of how many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<[usize; 2]>,
    /// It is done; the checkpoint of what was there before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undo: Option<Redacted>,
    /// What could not be done, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Redacted>,
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
    /// The path groups of the set that decides from here on.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: Groups,
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
    pub(super) number: u32,
    /// The file before.
    pub(super) after: Id,
}

/// A file that goes.
#[derive(Clone, Debug, Serialize)]
pub struct Pruning {
    /// Its name.
    pub(super) file: Id,
    /// Its last record.
    pub(super) last: Anchor,
}

/// A time without a record, in which nothing ran.
#[derive(Clone, Debug, Serialize)]
pub struct Recovered {
    /// How many entries were refused.
    pub(super) refused: u64,
    /// When the first of them was.
    #[serde(serialize_with = "chain::rfc3339")]
    pub(super) since: Timestamp,
    /// Why it was.
    pub(super) cause: Term,
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
    /// The user there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Redacted>,
    /// The fingerprint of the host's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_key: Option<Redacted>,
    /// The hosts on the way to it, in the order from here, each with the fingerprint of its key.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<Redacted>,
    /// The container's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Redacted>,
    /// The container's image, by its digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Redacted>,
    /// The shell there, once somebody has looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Term>,
    /// The guard that holds the session there, by the SHA-256 of its program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guard: Option<Redacted>,
}

impl Transport {
    /// One of which no more is told.
    pub fn of(kind: Term) -> Self {
        Self {
            kind,
            target: None,
            user: None,
            host_key: None,
            by: Vec::new(),
            container: None,
            image: None,
            shell: None,
            guard: None,
        }
    }
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
    /// Why it is not an allow, as the agent was told.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<DecisionReason>,
    /// What went wrong in the evaluation; each denies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Redacted>,
    /// How long it took, in microseconds.
    pub us: u64,
}

/// One cause of a verdict that is not an allow.
#[derive(Clone, Debug, Serialize)]
pub struct DecisionReason {
    /// The policy; empty if nothing permits what was asked.
    #[serde(skip_serializing_if = "Redacted::is_empty")]
    pub policy: Redacted,
    /// Its file and line.
    #[serde(skip_serializing_if = "Redacted::is_empty")]
    pub place: Redacted,
    /// What stands in the script.
    pub text: Redacted,
    /// Why, in the policy's words or ours.
    pub reason: Redacted,
    /// What would be allowed.
    #[serde(skip_serializing_if = "Redacted::is_empty")]
    pub suggest: Redacted,
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
    /// What the level asks for and the operator accepted to go without, and `names-not-searched` where more lies than is searched for
    /// files that are hidden for their names.
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

    pub(super) fn may_hold(byte: u8) -> bool {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The id of one decision; [`super::Audit::request`] makes it. Text form: the chain's eight hex digits, as in its file name,
/// and a number: `5f3a9c01-12`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId {
    pub(super) chain: ChainId,
    pub(super) number: u64,
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::sample;
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
            "not_asked": "too-many",
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
