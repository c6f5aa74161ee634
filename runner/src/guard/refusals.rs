//! Where a refusal at `execve`, or of what a program does later, is told: in the result and the outcome of the script that it is for, or in
//! an entry of its own.
//!
//! The guard of a session at a target is there, and the results and the record are here: it sends what it refused as it is, and this end
//! redacts it. Nothing of a target goes on record unseen by the redactor.

use std::collections::VecDeque;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use palisade_audit::{Audit, RequestId};
use palisade_grammar::Shell;
use palisade_redact::Redactor;
use palisade_sandbox::Attempt;
use serde::{Deserialize, Serialize};

use super::MAX_BEGUN;
use crate::facts::Occasion;
use crate::record;
use crate::result::DeniedProgram;
use crate::shell::progress::{MAX_DENIED, Progress};

/// A program that was refused, in its own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// The number of the script that it is for, if that can be told.
    pub(crate) script: Option<u64>,
    /// Its file, by the name that it was called by.
    pub(crate) program: String,
    pub(crate) argv: Vec<String>,
    pub(crate) policy: String,
    pub(crate) reason: String,
    pub(crate) suggest: String,
}

/// A script that the server has allowed in a shell at a target.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// The how manieth of its shell, from 1.
    pub(crate) number: u64,
    pub(crate) text: String,
    /// What earlier scripts have left behind in the shell.
    pub(crate) left: Shell,
    /// The commands that a person's yes was to, by number.
    pub(crate) lifted: Vec<u32>,
    /// It stands behind a checkpoint of the workspace.
    pub(crate) behind_checkpoint: bool,
    pub(crate) occasion: Occasion,
}

/// Takes refusals to the server.
pub(crate) struct Teller(Box<dyn Fn(Refusal) + Send + Sync>);

impl Teller {
    pub(crate) fn new(tell: impl Fn(Refusal) + Send + Sync + 'static) -> Self {
        Self(Box::new(tell))
    }

    pub(super) fn tell(&self, refusal: Refusal) {
        self.0(refusal);
    }
}

impl fmt::Debug for Teller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Teller")
    }
}

/// The scripts of a shell that can be told of a refusal, and those refusals that no script's outcome tells of.
#[derive(Debug)]
pub(crate) struct Ledger {
    session: String,
    redactor: Redactor,
    audit: Audit,
    state: Mutex<RefusalLog>,
}

/// What a ledger holds behind its lock.
#[derive(Debug, Default)]
struct RefusalLog {
    /// The scripts that ran last, oldest first.
    begun: VecDeque<Begun>,
    late: Late,
}

#[derive(Debug)]
struct Begun {
    number: u64,
    /// Where its refusals go, as long as somebody can read of them there.
    progress: Weak<Progress>,
    /// The decision that let it run.
    of: Option<RequestId>,
}

/// Refusals that no command's outcome tells of.
#[derive(Debug, Default)]
struct Late {
    /// Those that are on record each by itself.
    told: Vec<DeniedProgram>,
    more: u64,
}

impl Late {
    /// Whether this one goes on record, and how many before it have not: the first few do, and then fewer and fewer, so that
    /// a loop that is refused does not fill the disk.
    fn take(&mut self, denied: &DeniedProgram) -> bool {
        if self.told.len() < MAX_DENIED && !self.told.contains(denied) {
            self.told.push(denied.clone());
            return true;
        }
        self.more += 1;
        self.more.is_power_of_two()
    }
}

impl Ledger {
    /// Of a session's shell.
    pub(crate) fn new(session: &str, redactor: Redactor, audit: Audit) -> Self {
        Self { session: session.to_owned(), redactor, audit, state: Mutex::default() }
    }

    /// The next script begins.
    pub(crate) fn begin(&self, number: u64, progress: &Arc<Progress>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.begun.len() == MAX_BEGUN {
            state.begun.pop_front();
        }
        state.begun.push_back(Begun { number, progress: Arc::downgrade(progress), of: progress.req() });
    }

    /// The decision that let a script run.
    pub(crate) fn decision(&self, script: u64) -> Option<RequestId> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.begun.iter().find(|begun| begun.number == script)?.of
    }

    /// A program of a script waits for a person under this id, or does not any more.
    pub(crate) fn waits(&self, script: u64, id: RequestId, waits: bool) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = state.begun.iter().find(|begun| begun.number == script);
        if let Some(progress) = begun.and_then(|begun| begun.progress.upgrade()) {
            progress.waits_for_person(id, waits);
        }
    }

    /// Tells of a program that was refused. May wait for a disk.
    pub(crate) fn tell(&self, refusal: &Refusal) {
        let Refusal { script, program, argv, policy, reason, suggest } = refusal;
        self.deny(*script, &DeniedProgram::new(program, argv, policy, reason, suggest, &self.redactor));
    }

    /// Tells what became of something else that a program tried. May wait for a disk.
    pub(crate) fn tell_kept(&self, script: Option<u64>, kept: &Attempt) {
        let connection = |peer: &str, reason: &str, suggest: &str| {
            DeniedProgram::connection("", peer, "", reason, suggest, &self.redactor)
        };
        let file = |place: &Path, policies: &str, suggest: &str| {
            let reason = "This file would be run or believed later by a program outside of the session.";
            DeniedProgram::file(&place.to_string_lossy(), policies, reason, suggest, &self.redactor)
        };
        let denied = match kept {
            Attempt::Settings => return self.has_own_settings(script),
            Attempt::File(place, policies) => file(place, policies, "Show the person what you would put there."),
            Attempt::Hook(place, policies) => file(
                place,
                policies,
                "Put the hook into a directory of the project, and name that with `git config core.hooksPath DIRECTORY`: git runs it \
                 for commands under Palisade alone.",
            ),
            Attempt::Socket(place) => connection(
                &place.to_string_lossy(),
                "A session may connect to socket files only where it may write.",
                "Use a socket below the workspace or `$TMPDIR`.",
            ),
            Attempt::Peer(address) => connection(
                &address.to_string(),
                "A session has a network of its own, which leads to no other machine.",
                "Use a client that goes through the proxy in `http_proxy` or `ALL_PROXY`; policy decides each connection there.",
            ),
        };
        self.deny(script, &denied);
    }

    /// The command that was allowed may change settings: nothing else goes on record.
    fn has_own_settings(&self, script: Option<u64>) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = state.begun.iter().find(|begun| Some(begun.number) == script);
        if let Some(progress) = begun.and_then(|begun| begun.progress.upgrade()) {
            progress.has_own_settings();
        }
    }

    fn deny(&self, script: Option<u64>, denied: &DeniedProgram) {
        tracing::info!(what = %denied.what(), policy = %denied.policy, "refused");
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = state.begun.iter().find(|begun| Some(begun.number) == script);
        let of = begun.and_then(|begun| begun.of);
        if begun.and_then(|begun| begun.progress.upgrade()).is_some_and(|progress| progress.denied(denied)) {
            return;
        }
        if !state.late.take(denied) {
            return;
        }
        let entry = record::denial(&self.session, of, denied, state.late.more);
        drop(state);
        // The program does not get what it wanted, whatever becomes of the entry.
        if let Err(error) = self.audit.append_blocking(entry) {
            tracing::error!(%error, "a refusal cannot be recorded");
        }
    }
}
