//! A program that takes a person's yes when it is executed: registered with all other requests, on record, and lifted once.
//!
//! This file decides what a person is shown of it, and what it is told where nobody can be asked. A yes lifts the one execution that
//! was shown: its words, its variables, its directory, the programs above it, and what the files hold that it runs. The guard judges the
//! call again before the yes counts, as it is then.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use palisade_audit::{RequestId, Yes};
use palisade_engine::{AbsolutePath, Decision, Report};
use palisade_redact::Redacted;

use super::approval_binding::{self, BoundFile};
use super::approval_requests::{About, ApprovalRequests, Lifts, principal};
use super::state::PipelineState;
use crate::control::approvals::{MAX_WAITING, No, PendingApproval, RequestStatus};
use crate::control::wire::{Running, State};
use crate::guard::{self, Answered, Asking, root_of};
use crate::limits::{MAX_REASON, MAX_SCRIPT};
use crate::record;
use crate::result::{DeniedProgram, Explained};
use crate::shell::frame::quoted;

/// The longest that a process waits in its `execve`.
const TIMEOUT: Duration = Duration::from_secs(300);

/// How somebody comes to be asked.
const AT_A_TERMINAL: &str =
    "`palisade run` asks at its terminal; a program that the command itself names is asked about before anything runs";
const AT_A_SERVER: &str = "a person counts as there who runs `palisade watch`, has run `palisade approvals list` in the last minutes, or sits \
                           at the client with the role `answers-in-client`; a program that the command itself names is asked about \
                           before anything runs";

/// Puts the executions of one pipeline's sessions to people.
#[derive(Debug)]
pub(super) struct Clerk(pub(super) Weak<PipelineState>);

impl guard::Clerk for Clerk {
    fn ask(&self, asking: Asking<'_>) -> Answered {
        match self.0.upgrade() {
            Some(state) => state.approval_requests().ask_execution(&asking),
            None => Answered::Refused("The server ends.".to_owned()),
        }
    }

    fn is_over(&self, id: RequestId, policy_set: &str) -> bool {
        self.0.upgrade().is_none_or(|state| {
            let is_open = |entry: &PendingApproval<About>| entry.state() == State::Waiting;
            state.settings.engine.now().policy_set() != policy_set
                || !state.requests().get(id, Instant::now()).is_some_and(is_open)
        })
    }

    fn withdraw(&self, id: RequestId) {
        if let Some(state) = self.0.upgrade() {
            state.approval_requests().withdraw(id);
        }
    }

    fn patience(&self) -> Duration {
        self.0.upgrade().map_or(Duration::ZERO, |state| state.settings.approvals_expire.min(TIMEOUT))
    }
}

impl ApprovalRequests<'_> {
    /// What becomes of an execution that needs a yes. Blocks, for the guard's thread alone waits for it.
    fn ask_execution(self, asking: &Asking<'_>) -> Answered {
        let (Some(execution), Some(first)) = (asking.steps.first(), asking.open.first()) else {
            return Answered::Refused(String::new());
        };
        let facts = first.facts();
        let session = facts.session.id.as_str();
        if let Err(stopped) = self.state.kill_switch().goes_on(Some(session)) {
            return Answered::Refused(format!("{}.", stopped.what));
        }
        let report = merged(asking, &words(execution));
        let shown = report.command.len()
            + asking
                .variables
                .iter()
                .map(|(name, value, setter)| name.len() + value.len() + setter.len())
                .sum::<usize>();
        if shown > MAX_SCRIPT {
            return Answered::Refused("Its words are more than a person could be shown.".to_owned());
        }
        let files = files(asking);
        let binds = approval_binding::execution(asking, &files, &report);
        let redactor = self.state.settings.redactor.keyed(session);
        let explained = Explained::of(&report, &redactor);
        // The machine's own files change under nobody's hand.
        let is_own = |file: &&BoundFile| file.is_named || file.path.is_within(&facts.workspace);
        let variables = asking.variables.iter().map(|(name, value, setter)| {
            let setter = if setter.is_empty() { "the agent's script or a program of its own" } else { setter };
            redactor.text(&format!("{name}={value}, set by {setter}"))
        });
        let about = Arc::new(About {
            kind: "exec",
            hidden: explained.command.left_out_of(&report.command),
            explained: explained.clone(),
            session: redactor.text(session),
            cwd: redactor.text(&execution.cwd.as_deref().unwrap_or(Path::new("(unknown)")).to_string_lossy()),
            said: Redacted::default(),
            files: files.iter().filter(is_own).map(|file| self.told(file)).collect(),
            opens: Vec::new(),
            running: Some(Running {
                file: redactor.text(&execution.file.to_string_lossy()),
                of: asking.of.map(|of| redactor.text(&of.to_string())).unwrap_or_default(),
                started_by: asking.started_by.iter().flatten().map(|name| redactor.text(name)).collect(),
                variables: variables.collect(),
            }),
            lifts: Lifts::Execution { open: Arc::clone(asking.open) },
        });
        let now = Instant::now();
        let known = {
            let mut approvals = self.state.requests();
            // What it asked for before is something else by now.
            if let Some(waits) = asking.waits
                && approvals.get(waits, now).is_some_and(|entry| entry.binds != binds)
            {
                approvals.withdraw(waits);
            }
            approvals.knows(binds, now)
        };
        if !known && !self.state.approvals().can_ask(&about) {
            let how = if self.state.settings.verb == "serve" { AT_A_SERVER } else { AT_A_TERMINAL };
            return Answered::Refused(format!("A person could allow it, and nobody can be asked here: {how}."));
        }
        let id = self.state.audit.request();
        let quorum = report.quorum();
        let entry = || PendingApproval {
            principal: principal(facts),
            binds,
            anywhere: None,
            joined: false,
            asked: now,
            quorum,
            granted: Vec::new(),
            denied: None,
            about: Arc::clone(&about),
        };
        let asked = self.state.requests().ask(id, entry, (binds, None), now);
        let denied = || DeniedProgram::of(execution, &redactor);
        match asked {
            RequestStatus::Waits(known) if known == id => {
                let yes = Yes { ask: Some(id), under: None };
                let entry = record::execution(session, asking.of, yes, &explained, denied());
                if let Err(error) = self.state.audit.append_blocking(entry) {
                    self.withdraw(id);
                    return Answered::Refused(format!("{}.", self.state.failure(&error).what));
                }
                self.state.answers.send_modify(|answers| *answers += 1);
                self.state.approvals().show_to_somebody(id, &about);
                Answered::Waits(id)
            }
            RequestStatus::Waits(known) => Answered::Waits(known),
            RequestStatus::Granted(under, people) => {
                let engine = self.state.settings.engine.now();
                let is_same = engine.policy_set() == report.policy_set;
                let not = asking.open.iter().find_map(|open| open.lifted(&engine, &people).err());
                let decision = if is_same && not.is_none() { Decision::Allow } else { Decision::Deny };
                let explained = match &not {
                    Some(not) => Explained { decision, ..Explained::of(not, &redactor) },
                    None => Explained { decision, ..explained },
                };
                let yes = Yes { ask: None, under: Some(under) };
                let entry = record::execution(session, asking.of, yes, &explained, denied());
                // No record, no run.
                if let Err(error) = self.state.audit.append_blocking(entry) {
                    return Answered::Refused(format!("{}.", self.state.failure(&error).what));
                }
                match decision {
                    Decision::Allow => Answered::Lifted,
                    _ => Answered::Refused("A person has said yes, and policy does not let that count.".to_owned()),
                }
            }
            RequestStatus::Denied(_, No { by, reason }) => {
                let reason: String = reason.chars().take(MAX_REASON).collect();
                let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
                Answered::Refused(format!("{by} was asked, and said no{why}."))
            }
            RequestStatus::Full => {
                Answered::Refused(format!("A person could allow it, and {MAX_WAITING} requests wait for one already."))
            }
        }
    }

    /// Nobody waits for an answer to this any more.
    fn withdraw(self, id: RequestId) {
        self.state.requests().withdraw(id);
        self.state.answers.send_modify(|answers| *answers += 1);
    }
}

/// All that is asked, in one report.
fn merged(asking: &Asking<'_>, words: &str) -> Report {
    let mut reports = asking.open.iter().map(|open| &open.report);
    let mut merged = Report {
        decision: Decision::Ask,
        command: words.to_owned(),
        policy_set: String::new(),
        requests: Vec::new(),
        opaque: Vec::new(),
        reasons: Vec::new(),
        checkpoint: Vec::new(),
        asked: None,
    };
    for report in reports.by_ref() {
        merged.policy_set.clone_from(&report.policy_set);
        merged.requests.extend_from_slice(&report.requests);
        merged.opaque.extend_from_slice(&report.opaque);
        merged.reasons.extend_from_slice(&report.reasons);
    }
    merged
}

/// The file and its arguments, as one would write them in a shell. The name that a program is told it has may be any.
fn words(execution: &palisade_sandbox::Execution) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-./:=@%+,".contains(byte);
    let word = |bytes: &[u8]| match !bytes.is_empty() && bytes.iter().all(plain) {
        true => String::from_utf8_lossy(bytes).into_owned(),
        false => quoted(bytes),
    };
    let named = execution.named.as_os_str().as_bytes();
    let rest = execution.argv.iter().skip(1).map(Vec::as_slice);
    std::iter::once(named).chain(rest).map(word).collect::<Vec<_>>().join(" ")
}

/// What an execution runs: its file, its interpreters, and all that its words name as code.
fn files(asking: &Asking<'_>) -> Vec<BoundFile> {
    let Some(root) = asking.steps.first().map(root_of) else { return Vec::new() };
    let steps = asking.steps.iter().filter_map(|step| AbsolutePath::new(step.file.to_str()?));
    let questions = asking.open.iter().filter_map(|open| Some((open.inventory()?, open.facts())));
    approval_binding::files_at_execve(&root, steps, questions)
}
