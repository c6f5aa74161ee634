//! What leaves: results and explanations, holding [`Redacted`] text only.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use palisade_audit::Anchor;
use palisade_engine::{Decision, Report};
use palisade_redact::output::{Search, Shown};
use palisade_redact::{Redacted, Redactor};
use palisade_sandbox::meter::Exceeded;
use serde::{Serialize, Serializer};

use crate::limits::{self, MAX_SCRIPT};

/// Characters of one text in an explanation; a script itself is shown whole.
const MAX_TEXT: usize = 2_000;

/// Requests of a report in short. A script may raise a thousand: nobody's model reads those.
const SHORT_REQUESTS: usize = 40;

/// Causes of a report in short, and passages that could not be read.
const SHORT_REASONS: usize = 20;

/// Something that a person has not said yes to.
#[derive(Debug)]
pub struct Unanswered {
    /// What was asked and answered.
    pub explained: Explained,
    /// The decision in short.
    pub decision: DecisionNote,
    /// The record's head behind it.
    pub anchor: Anchor,
    /// How its request stands.
    pub standing: Standing,
}

/// How a request for a person's yes stands.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Standing {
    /// It waits.
    Waiting {
        /// What a person names it by.
        id: Redacted,
        /// Seconds until it is too late.
        expires_s: u64,
        /// How many different people have to say yes.
        quorum: usize,
        /// How many have.
        yes: usize,
    },
    /// Somebody has said no.
    Denied {
        /// Its id.
        id: Redacted,
        /// Who.
        by: Redacted,
        /// Why.
        #[serde(skip_serializing_if = "Redacted::is_empty")]
        reason: Redacted,
    },
    /// So many wait already that this one cannot.
    Full {
        /// How many may.
        max: usize,
    },
}

/// The result of a script that ran. Text in it has passed the redactor, by type.
#[derive(Clone, Debug, Serialize)]
pub struct ExecResult {
    /// How it stands.
    pub status: Status,
    /// The exit code, if the script came to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended the shell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// The limit that was passed, as settings name it: `memory`, `processes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Exceeded>,
    /// Standard output, escape sequences removed, cut to the budget.
    #[serde(skip_serializing_if = "Redacted::is_empty")]
    pub stdout: Redacted,
    /// Standard error, likewise.
    #[serde(skip_serializing_if = "Redacted::is_empty")]
    pub stderr: Redacted,
    /// The working directory after it, as the kernel has it.
    #[serde(skip_serializing_if = "Redacted::is_empty")]
    pub cwd: Redacted,
    /// Bytes of the output were no UTF-8, and are shown as U+FFFD.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub lossy: bool,
    /// The job as which it runs, or under which its output can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<Redacted>,
    /// Where the next reading of the job begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Redacted>,
    /// It has been waiting for input that nobody has given it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub waiting_for_input: bool,
    /// The requests for a person's yes that programs of its wait for before they start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waiting_for_approval: Vec<Redacted>,
    /// From the start to the end, or to now, in milliseconds.
    #[serde(rename = "duration_ms", serialize_with = "milliseconds")]
    pub duration: Duration,
    /// What the streams held beyond what is shown.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub omitted: BTreeMap<&'static str, Omitted>,
    /// What a search of each stream came to, where one was asked for.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub searched: BTreeMap<&'static str, Search>,
    /// Bytes that each stream had in all, after redaction.
    #[serde(skip)]
    pub totals: BTreeMap<&'static str, u64>,
    /// Redactions per secret rule.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub redactions: BTreeMap<Redacted, u64>,
    /// Programs that the exec guard refused, and connections that the session's proxy did.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub denied: Vec<DeniedProgram>,
    /// How often it refused others.
    #[serde(skip_serializing_if = "is_zero")]
    pub denied_more: u64,
    /// What its messages mean here, where they look as if the sandbox had said no.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<Redacted>,
    /// Why the session ended, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<Redacted>,
    /// What its target had not said by the deadline, if it is at one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late: Option<Late>,
    /// Why the server ended the script of its own accord, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// Why the session's shell is another than that of the call before, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restarted: Option<Redacted>,
    /// The checkpoint of the workspace as the script found it, where policy or the settings want one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Redacted>,
    /// It has not begun: the workspace is read for that checkpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reading: Option<ReadingAhead>,
    /// The decision that let it run.
    pub decision: DecisionNote,
    /// The record's head behind this result.
    #[serde(skip)]
    pub anchor: Anchor,
}

/// How far the reading of the workspace for a checkpoint has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReadingAhead {
    /// Files, directories and links that were looked at.
    pub read: u64,
    /// How many there are; zero before they are counted.
    pub of: u64,
}

/// How a script ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It came to its end; its exit code may be anything.
    Done,
    /// The time was up, and everything it had started was ended; where that is not so, [`Late`] says it.
    TimedOut,
    /// Somebody stopped it, and everything it had started was ended.
    Cancelled,
    /// The session has passed one of its limits, and everything in it but its shell was ended.
    Limited,
    /// The session ended under it.
    SessionLost,
    /// It has not ended.
    Running,
}

/// What the target of a script had not said when whoever waited for it had to have an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Late {
    /// That all is ready for it: it was not sent, and will not be.
    NotBegun,
    /// That it has ended: it may still run there.
    MayRun,
    /// Where its end left the session.
    Unsettled,
}

impl Late {
    /// The same in words.
    pub fn told(self) -> &'static str {
        match self {
            Self::NotBegun => "the deadline passed before the target was ready for it: nothing has run",
            Self::MayRun => {
                "the deadline has passed, and the target has not said that it has ended: it may still run there"
            }
            Self::Unsettled => {
                "it came to its end, and by the deadline the target had not said in what state that left the session"
            }
        }
    }
}

/// Why the server ended a script that nobody had asked it to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Other policies hold sessions to other kernel rules, and it was started under the old ones.
    PolicyReload,
    /// Nobody had asked for the job for long.
    Idle,
    /// The server ends.
    Shutdown,
    /// A person has stopped it.
    Stopped,
}

impl Cause {
    /// The cause as results and the record spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PolicyReload => "policy_reload",
            Self::Idle => "idle",
            Self::Shutdown => "shutdown",
            Self::Stopped => "stopped",
        }
    }
}

/// How a script ended, without its output.
#[derive(Clone, Debug)]
pub struct Finish {
    /// How it ended.
    pub status: Status,
    /// The exit code, if the script came to its end.
    pub exit_code: Option<i32>,
    /// The signal that ended the shell.
    pub signal: Option<i32>,
    /// The limit that was passed, as settings name it.
    pub limit: Option<Exceeded>,
    /// The working directory after it.
    pub cwd: Redacted,
    /// From the start to the end.
    pub duration: Duration,
    /// Why the session ended, if it did.
    pub lost: Option<Redacted>,
    /// What its target had not said by the deadline.
    pub late: Option<Late>,
    /// Why the server ended it of its own accord, if it did.
    pub cause: Option<Cause>,
    /// The record's head behind it.
    pub anchor: Anchor,
}

/// A job in a list.
#[derive(Debug, Serialize)]
pub struct JobNote {
    /// Its name.
    pub job: Redacted,
    /// The session that it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Redacted>,
    /// How it stands.
    pub status: Status,
    /// The exit code, if it came to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended its shell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Why the server ended it of its own accord, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// What it runs.
    pub command: Redacted,
    /// Seconds since it was started.
    pub age_s: u64,
    /// It has been waiting for input that nobody has given it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub waiting_for_input: bool,
    /// The requests for a person's yes that programs of its wait for before they start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waiting_for_approval: Vec<Redacted>,
}

impl Status {
    /// The status as results spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Limited => "limited",
            Self::SessionLost => "session_lost",
            Self::Running => "running",
        }
    }
}

/// What is left out of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Omitted {
    /// Bytes left out.
    pub bytes: u64,
    /// Lines left out.
    pub lines: u64,
}

impl Omitted {
    /// What a shown stream leaves out; `None` if it is all there.
    pub fn of(shown: &Shown) -> Option<Self> {
        (shown.omitted_bytes > 0).then_some(Self { bytes: shown.omitted_bytes, lines: shown.omitted_lines })
    }
}

/// What was refused while a command ran: the execution of a program, a connection, or a file that a program tried to make or change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeniedProgram {
    /// The file that was to be executed, by the name that was used. For a connection or a made file, the program that tried it; empty if
    /// it is not known.
    pub program: Redacted,
    /// Its arguments, its own name first; all in one where a secret goes over several. None for a connection and a made file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub argv: Vec<Redacted>,
    /// The peer of a refused connection: `host:port`, or the path of a socket file.
    #[serde(skip_serializing_if = "Redacted::is_empty")]
    pub peer: Redacted,
    /// The file that a program tried to make or change.
    #[serde(skip_serializing_if = "Redacted::is_empty")]
    pub file: Redacted,
    /// The policy that refused it; empty if nothing permits it.
    #[serde(skip_serializing_if = "Redacted::is_empty")]
    pub policy: Redacted,
    /// Why.
    pub reason: Redacted,
    /// What would be allowed.
    #[serde(skip_serializing_if = "Redacted::is_empty")]
    pub suggestion: Redacted,
}

impl DeniedProgram {
    /// With every text redacted, and only then shortened.
    pub(crate) fn new(
        program: &str,
        argv: &[String],
        policy: &str,
        reason: &str,
        suggestion: &str,
        redactor: &Redactor,
    ) -> Self {
        let apart: Vec<Redacted> = argv.iter().take(MAX_WORDS).map(|word| redactor.text(word)).collect();
        let text = argv.iter().take(MAX_WORDS).map(String::as_str).collect::<Vec<_>>().join(" ");
        let whole = redactor.text(&text);
        let same = apart.iter().map(Redacted::as_str).collect::<Vec<_>>().join(" ") == whole.as_str();
        let argv = if same { apart } else { vec![whole] };
        Self {
            program: redactor.text(program),
            argv: argv.into_iter().map(|word| word.shortened(MAX_TEXT)).collect(),
            peer: Redacted::from_static(""),
            file: Redacted::from_static(""),
            policy: redactor.text(policy),
            reason: redactor.text(reason).shortened(MAX_TEXT),
            suggestion: redactor.text(suggestion),
        }
    }
}

impl DeniedProgram {
    /// An execution that nothing is said against yet.
    pub(crate) fn of(execution: &palisade_sandbox::Execution, redactor: &Redactor) -> Self {
        let argv: Vec<String> = execution.argv.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        Self::new(&execution.named.to_string_lossy(), &argv, "", "", "", redactor)
    }

    /// A connection.
    pub(crate) fn connection(
        program: &str,
        peer: &str,
        policy: &str,
        reason: &str,
        suggestion: &str,
        redactor: &Redactor,
    ) -> Self {
        Self {
            program: redactor.text(program),
            argv: Vec::new(),
            peer: redactor.text(peer),
            file: Redacted::from_static(""),
            policy: redactor.text(policy),
            reason: redactor.text(reason).shortened(MAX_TEXT),
            suggestion: redactor.text(suggestion),
        }
    }

    /// A file that some program was to make or change.
    pub(crate) fn file(file: &str, policy: &str, reason: &str, suggestion: &str, redactor: &Redactor) -> Self {
        let denied = Self::connection("", "", policy, reason, suggestion, redactor);
        Self { file: redactor.text(file), ..denied }
    }

    /// Whether it was refused when something tried to execute it.
    pub fn is_execution(&self) -> bool {
        self.peer.is_empty() && self.file.is_empty()
    }

    /// What was refused, in a few words.
    pub fn what(&self) -> String {
        let program = if self.program.is_empty() { "a program" } else { self.program.as_str() };
        if !self.peer.is_empty() {
            return format!("{program}: connect {}", self.peer);
        }
        if !self.file.is_empty() {
            return format!("{program}: make {}", self.file);
        }
        let words: Vec<&str> = self.argv.iter().map(Redacted::as_str).collect();
        format!("{} (`{}`)", self.program, words.join(" "))
    }
}

/// Arguments of a refused program that are shown.
const MAX_WORDS: usize = 32;

/// The decision in short.
#[derive(Clone, Debug, Serialize)]
pub struct DecisionNote {
    /// Its name in the record.
    pub id: Redacted,
    /// The answer.
    pub effect: Decision,
    /// The policies that made it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Redacted>,
    /// Why, for a denial.
    #[serde(skip_serializing_if = "Redacted::is_empty")]
    pub reason: Redacted,
    /// What would be allowed.
    #[serde(skip_serializing_if = "Redacted::is_empty")]
    pub suggest: Redacted,
}

/// What was not allowed.
#[derive(Debug)]
pub struct Refusal {
    /// What was asked and answered.
    pub explained: Explained,
    /// The decision in short.
    pub decision: DecisionNote,
    /// The record's head behind it.
    pub anchor: Anchor,
}

/// A verdict that may be shown: what `check --json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Explained {
    /// The strictest of the requests' decisions.
    pub decision: Decision,
    /// The script.
    pub command: Redacted,
    /// Fingerprint of the policy set.
    #[serde(rename = "policySet")]
    pub policy_set: Redacted,
    /// Each request, in the order of the text.
    pub requests: Vec<ExplainedRequest>,
    /// What could not be read.
    pub opaque: Vec<ExplainedOpaque>,
    /// Why it is not allowed.
    pub reasons: Vec<ExplainedReason>,
    /// The policies that permit it only behind a checkpoint of the workspace.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checkpoint: Vec<Redacted>,
    /// How much of it is left out; none of a whole one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub omitted: Option<LeftOut>,
}

/// So many of each are left out of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Requests.
    pub requests: usize,
    /// Passages that could not be read.
    pub opaque: usize,
    /// Causes.
    pub reasons: usize,
}

/// One request and its answer.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainedRequest {
    /// The action.
    pub action: &'static str,
    /// The resource.
    pub resource: Redacted,
    /// The program it is about.
    pub program: Redacted,
    /// Where it stands in the script, in bytes.
    pub span: [usize; 2],
    /// The wrappers around it.
    pub via: Vec<Redacted>,
    /// The answer.
    pub decision: Decision,
    /// The policies that made it, sorted.
    pub determining: Vec<Redacted>,
    /// Policies that erred.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Redacted>,
}

/// Something that could not be read.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainedOpaque {
    /// Why.
    pub reason: &'static str,
    /// Where it stands, in bytes.
    pub span: [usize; 2],
    /// Its text.
    pub text: Redacted,
    /// What is wrong, and what would help.
    #[serde(skip_serializing_if = "Redacted::is_empty")]
    pub detail: Redacted,
    /// The files of the project that decide what code it runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<Redacted>,
}

/// One cause of a denial.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainedReason {
    /// The policy; empty if nothing permits the request.
    pub policy: Redacted,
    /// The policy's file and line.
    #[serde(skip_serializing_if = "Redacted::is_empty")]
    pub place: Redacted,
    /// What was denied.
    pub text: Redacted,
    /// Where that stands in the script, in bytes.
    pub span: [usize; 2],
    /// Why.
    pub reason: Redacted,
    /// What would be allowed.
    pub suggest: Redacted,
    /// Where nothing permits it: the permit that comes nearest, and which of its conditions fails.
    #[serde(skip_serializing_if = "Redacted::is_empty")]
    pub nearest: Redacted,
}

impl Explained {
    /// The report with every text redacted, and only then shortened: half a secret is still a secret.
    pub fn of(report: &Report, redactor: &Redactor) -> Self {
        let safe = |text: &str| limits::shown(text, MAX_SCRIPT, redactor);
        let short = |text: &str| safe(text).shortened(MAX_TEXT);
        let all = |texts: &[String]| texts.iter().map(|text| safe(text)).collect();
        let requests = report.requests.iter().map(|request| ExplainedRequest {
            action: request.action,
            resource: short(&request.resource),
            program: safe(&request.program),
            span: [request.span.start, request.span.end],
            via: all(&request.via),
            decision: request.decision,
            determining: all(&request.determining),
            errors: all(&request.errors),
        });
        let opaque = report.opaque.iter().map(|opaque| ExplainedOpaque {
            reason: opaque.reason.as_str(),
            span: [opaque.span.start, opaque.span.end],
            text: short(&opaque.text),
            detail: safe(&opaque.detail),
            files: all(&opaque.files),
        });
        let reasons = report.reasons.iter().map(|reason| ExplainedReason {
            policy: safe(&reason.policy),
            place: safe(&reason.place),
            text: short(&reason.text),
            span: [reason.span.start, reason.span.end],
            reason: short(&reason.reason),
            suggest: safe(&reason.suggest),
            nearest: short(&reason.nearest),
        });
        Self {
            decision: report.decision,
            command: safe(&report.command),
            policy_set: safe(&report.policy_set),
            requests: requests.collect(),
            opaque: opaque.collect(),
            reasons: reasons.collect(),
            checkpoint: all(&report.checkpoint),
            omitted: None,
        }
    }

    /// The same for whoever has little room to read: what is not allowed comes before the rest, and of that each policy's first before
    /// all others. Whatever is kept stays in the order of the text.
    #[must_use]
    pub fn in_short(&self) -> Self {
        let mut against = BTreeSet::new();
        let requests = first(&self.requests, SHORT_REQUESTS, |request| match request.decision {
            Decision::Allow => 2,
            _ => usize::from(!against.insert(request.determining.clone())),
        });
        let opaque: Vec<_> = self.opaque.iter().take(SHORT_REASONS).cloned().collect();
        let mut named = BTreeSet::new();
        let reasons = first(&self.reasons, SHORT_REASONS, |reason| usize::from(!named.insert(reason.policy.clone())));
        let omitted = LeftOut {
            requests: self.requests.len() - requests.len(),
            opaque: self.opaque.len() - opaque.len(),
            reasons: self.reasons.len() - reasons.len(),
        };
        Self {
            decision: self.decision,
            command: self.command.clone().shortened(MAX_TEXT),
            policy_set: self.policy_set.clone(),
            requests,
            opaque,
            reasons,
            checkpoint: self.checkpoint.clone(),
            omitted: (omitted != LeftOut { requests: 0, opaque: 0, reasons: 0 }).then_some(omitted),
        }
    }

    /// What an agent is told of a refusal: what is not allowed and nothing else, of each policy its first reason, and no policy's text.
    #[must_use]
    pub fn of_refusal(&self) -> Self {
        let mut named = BTreeSet::new();
        let mut short = Self {
            requests: self.requests.iter().filter(|request| request.decision != Decision::Allow).cloned().collect(),
            opaque: self.opaque.iter().filter(|opaque| !opaque.detail.is_empty()).cloned().collect(),
            reasons: self.reasons.iter().filter(|reason| named.insert(reason.policy.clone())).cloned().collect(),
            ..self.clone()
        }
        .in_short();
        short.reasons.iter_mut().for_each(|reason| reason.nearest = Redacted::from_static(""));
        short
    }

    /// A refusal as programs read it: `status`, `decision` and `verdict`. `verdict.reasons` is its one list: a policy has one entry there, and
    /// its reason and its suggestion stand nowhere else. `decision.policies` has the ids, as in every result; a request has its span, which
    /// leads to its entry.
    ///
    /// Where the status is `denied`, the effect is `deny`, also where policy asks: a person has said no, or a yes could not be carried out.
    /// `requests` keep what policy said of each.
    #[must_use]
    pub fn refused(&self, status: &'static str, decision: &DecisionNote) -> serde_json::Value {
        let mut explained = self.of_refusal();
        let mut decision =
            DecisionNote { reason: Redacted::default(), suggest: Redacted::default(), ..decision.clone() };
        if status == "denied" {
            decision.effect = Decision::Deny;
            explained.decision = Decision::Deny;
        }
        let mut verdict = serde_json::json!(explained);
        let requests = verdict.get_mut("requests").and_then(serde_json::Value::as_array_mut);
        for request in requests.into_iter().flatten().filter_map(serde_json::Value::as_object_mut) {
            request.remove("determining");
        }
        serde_json::json!({ "status": status, "decision": decision, "verdict": verdict })
    }

    /// The policies that made the decision: those that permit it, or those that stand in the way. Sorted, each once.
    pub fn policies(&self) -> Vec<Redacted> {
        let mut policies: Vec<Redacted> = match self.decision {
            Decision::Allow => self.requests.iter().flat_map(|request| request.determining.clone()).collect(),
            Decision::Ask | Decision::Deny => self.reasons.iter().map(|reason| reason.policy.clone()).collect(),
        };
        policies.retain(|policy| !policy.is_empty());
        policies.sort();
        policies.dedup();
        policies
    }

    /// The decision in short, under the name that the record gives it.
    pub fn note(&self, id: Redacted) -> DecisionNote {
        let first = self.reasons.first();
        DecisionNote {
            id,
            effect: self.decision,
            policies: self.policies(),
            reason: first.map_or_else(|| Redacted::from_static(""), |reason| reason.reason.clone()),
            suggest: first.map_or_else(|| Redacted::from_static(""), |reason| reason.suggest.clone()),
        }
    }
}

/// What there is to say of a checkpoint.
#[derive(Clone, Debug, Serialize)]
pub struct CheckpointNote {
    /// Its name.
    pub checkpoint: Redacted,
    /// The caller's name for it.
    #[serde(skip_serializing_if = "Redacted::is_empty")]
    pub label: Redacted,
    /// The session that it was taken for.
    pub session: Redacted,
    /// When it was taken.
    pub taken: Redacted,
    /// Files in it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files and directories that it does not hold.
    #[serde(skip_serializing_if = "is_zero")]
    pub uncovered: u64,
    /// Nobody asked for it: it was taken before a command, which is its label.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub automatic: bool,
    /// The checkpoint that was gone back to when this was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before_restore: Option<Redacted>,
}

/// So many of them, in their order: those of the lowest rank, then those of the next.
fn first<T: Clone>(all: &[T], most: usize, rank: impl FnMut(&T) -> usize) -> Vec<T> {
    let mut ranked: Vec<(usize, usize)> = all.iter().map(rank).zip(0..).collect();
    ranked.sort_unstable();
    let kept: BTreeSet<usize> = ranked.into_iter().take(most).map(|(_, at)| at).collect();
    kept.into_iter().filter_map(|at| all.get(at).cloned()).collect()
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
