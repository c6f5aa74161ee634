//! What is known of a command while it runs, and afterwards: its output so far and what it waits for.
//!
//! One task writes it, the one that runs the command; any number read it. Nothing here decides anything.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use palisade_audit::RequestId;
use palisade_redact::output::{Capture, Grep};
use palisade_redact::{Redacted, RedactedBytes};
use tokio::sync::watch;

use crate::result::DeniedProgram;
use crate::shell::StreamName;
use crate::shell::pace::Pace;

/// A command's output so far. Cheap to share, bounded in memory whatever the command prints.
#[derive(Debug)]
pub struct Progress {
    known: watch::Sender<ProgressSnapshot>,
    /// The decision that let the command run, if there is one on record.
    of: Option<RequestId>,
    /// The checkpoint of the workspace as the command found it, if one had to be there.
    checkpoint: OnceLock<Redacted>,
    /// The reading of the workspace that it waits for.
    reads: Mutex<Option<Arc<Pace>>>,
}

/// Follows what a call waits for. Made before there is anything to follow.
#[derive(Clone, Debug, Default)]
pub struct Follower(Arc<OnceLock<Arc<Progress>>>);

/// What there is to know at one moment.
#[derive(Clone, Debug)]
pub struct ProgressSnapshot {
    /// Standard output.
    pub stdout: Capture,
    /// Standard error.
    pub stderr: Capture,
    /// Redactions per rule.
    pub redactions: BTreeMap<String, u64>,
    /// The stream that the newest output came on.
    newest: StreamName,
    /// It has been waiting for input that nobody has given it.
    pub waits_for_input: bool,
    /// The requests for a person's yes that programs of its wait for in their `execve`.
    pub(crate) waits_for_person: BTreeSet<RequestId>,
    /// Programs that the exec guard refused.
    pub denied: Vec<DeniedProgram>,
    /// How often it refused others.
    pub denied_more: u64,
    /// git has set something in a repository that sessions alone see.
    pub(crate) own_settings: bool,
    /// Files of variables (`.env`) that hold secrets, of which its programs have opened one and found it empty.
    pub(crate) empty_files: Vec<PathBuf>,
    /// How it ended is on record: what comes now is not.
    settled: bool,
}

/// Refusals that are kept of one command; a loop may meet any number.
pub(crate) const MAX_DENIED: usize = 20;

impl Follower {
    /// This is what the call waits for.
    pub(crate) fn follow(&self, progress: &Arc<Progress>) {
        let _the_first = self.0.set(Arc::clone(progress));
    }

    /// The last line that it has printed, or its first `most` characters; none if nothing runs yet.
    pub fn last_line(&self, most: usize) -> Option<Redacted> {
        self.0.get().map(|progress| progress.last_line(most))
    }
}

impl Progress {
    /// For a command of which `keep` bytes of each stream are kept, and that no decision on record let run.
    pub fn new(keep: usize) -> Self {
        let known = watch::Sender::new(ProgressSnapshot {
            stdout: Capture::new(keep),
            stderr: Capture::new(keep),
            newest: StreamName::Stdout,
            redactions: BTreeMap::new(),
            waits_for_input: false,
            waits_for_person: BTreeSet::new(),
            denied: Vec::new(),
            denied_more: 0,
            own_settings: false,
            empty_files: Vec::new(),
            settled: false,
        });
        Self { known, of: None, checkpoint: OnceLock::new(), reads: Mutex::default() }
    }

    /// The same, let run by this decision. The lines that are asked for from the beginning are searched for as they come.
    pub(crate) fn of(req: RequestId, keep: usize, grep: Option<&Grep>) -> Self {
        let own = Self::new(keep);
        if let Some(grep) = grep {
            let searching = |capture: &mut Capture| *capture = Capture::new(keep).searching(grep.clone());
            own.known.send_modify(|known| {
                searching(&mut known.stdout);
                searching(&mut known.stderr);
            });
        }
        Self { of: Some(req), ..own }
    }

    /// The last line that it has printed, or its first `most` characters.
    fn last_line(&self, most: usize) -> Redacted {
        self.look(|known| match known.newest {
            StreamName::Stdout => known.stdout.last_line(most),
            StreamName::Stderr => known.stderr.last_line(most),
        })
    }

    /// The decision that let the command run.
    pub(crate) fn req(&self) -> Option<RequestId> {
        self.of
    }

    /// The command stands behind this checkpoint.
    pub(crate) fn behind(&self, checkpoint: Redacted) {
        let _only_once = self.checkpoint.set(checkpoint);
    }

    /// The checkpoint that it stands behind, if it stands behind one.
    pub(crate) fn checkpoint(&self) -> Option<&Redacted> {
        self.checkpoint.get()
    }

    /// It waits for the workspace to be read, or does not any more.
    pub(crate) fn waits_for(&self, reads: Option<Arc<Pace>>) {
        // Nothing that holds the lock can fail half-way.
        *self.reads.lock().unwrap_or_else(PoisonError::into_inner) = reads;
    }

    /// The reading of the workspace that it waits for.
    pub(crate) fn reads(&self) -> Option<Arc<Pace>> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its outcome goes on record: nothing that is refused later can stand in it.
    pub(crate) fn settle(&self) {
        self.known.send_modify(|known| known.settled = true);
    }

    /// Takes the next bytes of a stream.
    pub(crate) fn push(&self, stream: StreamName, bytes: &RedactedBytes) {
        if bytes.is_empty() {
            return;
        }
        self.known.send_modify(|known| {
            match stream {
                StreamName::Stdout => known.stdout.push(bytes),
                StreamName::Stderr => known.stderr.push(bytes),
            }
            known.newest = stream;
            known.waits_for_input = false;
        });
    }

    /// A stream has come to its end, as far as the command goes: nothing of it is held back any more.
    pub(crate) fn flush(&self, stream: StreamName) {
        self.known.send_modify(|known| match stream {
            StreamName::Stdout => known.stdout.flush(),
            StreamName::Stderr => known.stderr.flush(),
        });
    }

    /// Adds redactions.
    pub(crate) fn count(&self, counts: BTreeMap<String, u64>) {
        if counts.is_empty() {
            return;
        }
        self.known.send_modify(|known| {
            for (rule, count) in counts {
                *known.redactions.entry(rule).or_default() += count;
            }
        });
    }

    /// A program was refused. One that was refused before in the same words is not told again, and more than a few are only
    /// counted. False: its outcome is on record already.
    #[must_use]
    pub(crate) fn denied(&self, denied: &DeniedProgram) -> bool {
        let mut taken = true;
        self.known.send_if_modified(|known| {
            taken = !known.settled;
            if !taken || known.denied.contains(denied) {
                return false;
            }
            match known.denied.len() < MAX_DENIED {
                true => known.denied.push(denied.clone()),
                false => known.denied_more += 1,
            }
            true
        });
        taken
    }

    /// git has set something in a repository that sessions alone see.
    pub(crate) fn has_own_settings(&self) {
        self.known.send_if_modified(|known| !std::mem::replace(&mut known.own_settings, true));
    }

    /// Its programs have opened one of these files and found it empty.
    pub(crate) fn found_empty(&self, files: Vec<PathBuf>) {
        if !files.is_empty() {
            self.known.send_modify(|known| known.empty_files = files);
        }
    }

    /// Says whether it waits for input.
    pub(crate) fn waits_for_input(&self, waits: bool) {
        self.known.send_if_modified(|known| std::mem::replace(&mut known.waits_for_input, waits) != waits);
    }

    /// A program of its waits for a person under this id, or does not any more.
    pub(crate) fn waits_for_person(&self, id: RequestId, waits: bool) {
        self.known.send_if_modified(|known| match waits {
            true => known.waits_for_person.insert(id),
            false => known.waits_for_person.remove(&id),
        });
    }

    /// Looks at what is known now. What `look` does keeps the command's output waiting.
    pub fn look<T>(&self, look: impl FnOnce(&ProgressSnapshot) -> T) -> T {
        look(&self.known.borrow())
    }

    /// Waits until what is known is so. Safe to drop.
    pub async fn once(&self, is_so: impl FnMut(&ProgressSnapshot) -> bool) {
        // The sender is ours, so that it cannot be gone.
        let _known = self.known.subscribe().wait_for(is_so).await.map(drop);
    }
}
