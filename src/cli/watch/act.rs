//! One thing that was done, or was to be, with all that the record says of it.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// Refused programs that are shown of one act.
const REFUSALS: usize = 100;

/// What was done, or was to be.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Act {
    /// Counts from 0, in the order of the records.
    pub(crate) id: u64,
    pub(crate) kind: ActKind,
    pub(crate) chain: Arc<str>,
    /// The number of its record in the chain.
    pub(crate) seq: u64,
    #[serde(serialize_with = "time")]
    pub(crate) at: Timestamp,
    /// The key of its session.
    pub(crate) session: Arc<str>,
    pub(crate) agent: Box<str>,
    pub(crate) user: Box<str>,
    pub(crate) verdict: Option<Verdict>,
    /// The script, or what else it is about.
    pub(crate) text: Box<str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) cwd: Box<str>,
    /// What the agent says of it.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) words: Box<str>,
    /// The decision's id.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) request: Box<str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) programs: Vec<Box<str>>,
    /// What its commands do to other systems and to this machine.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) effects: Vec<Box<str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) policies: Vec<Box<str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) reasons: Vec<ActReason>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) opaque: Vec<Box<str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) errors: Vec<Box<str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) answers: Vec<PersonAnswer>,
    /// What was granted was used up by a later decision.
    pub(crate) used: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outcome: Option<ActOutcome>,
    /// Programs and connections that were refused while it ran.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) refusals: Vec<RefusedAct>,
    /// How many more were.
    pub(crate) refused_more: u64,
}

/// What sort of act it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ActKind {
    Command,
    Input,
    Signal,
    Connection,
    /// A program that was refused, of which nobody knows what started it.
    Refusal,
    /// A session begins or ends.
    Session,
    /// Policies were exchanged, or were not.
    Policy,
    /// A person stopped something, or let it in again.
    Stop,
    /// Of a kind that this version does not know.
    Other,
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Allow,
    Ask,
    Deny,
}

impl Verdict {
    /// The verdict in a record's word; one that is not known is shown as the strictest.
    pub(super) fn of(word: &str) -> Self {
        match word {
            "allow" => Self::Allow,
            "ask" => Self::Ask,
            _ => Self::Deny,
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Ask => "ask",
            Self::Deny => "deny",
        }
    }
}

/// Why it was not allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ActReason {
    pub(crate) policy: Box<str>,
    /// The policy's file and line.
    pub(crate) place: Box<str>,
    pub(crate) text: Box<str>,
    pub(crate) reason: Box<str>,
    pub(crate) suggest: Box<str>,
}

/// A person's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct PersonAnswer {
    pub(crate) granted: bool,
    pub(crate) by: Box<str>,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ActOutcome {
    pub(crate) text: String,
    /// It did what it was to do, by its own word.
    pub(crate) fine: bool,
    pub(crate) micros: u64,
    pub(crate) out: u64,
    pub(crate) err: u64,
    /// Secrets that were taken out.
    pub(crate) redactions: u64,
}

/// What was refused while something ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct RefusedAct {
    pub(crate) what: String,
    pub(crate) policy: Box<str>,
}

impl Act {
    /// One more program or connection that was refused while it ran.
    pub(super) fn refuse(&mut self, program: &str, argv: &[Box<str>], peer: &str, policy: &str) {
        if self.refusals.len() < REFUSALS {
            self.refusals.push(RefusedAct { what: what_was_refused(program, argv, peer), policy: policy.into() });
        } else {
            self.refused_more += 1;
        }
    }

    /// What it counts as where one looks for verdicts: a program that was refused on the way is a denial.
    pub(crate) fn strictest(&self) -> Option<Verdict> {
        let refused = (!self.refusals.is_empty() || self.refused_more > 0).then_some(Verdict::Deny);
        self.verdict.max(refused)
    }

    /// Whether a text stands in it somewhere; `wanted` is in lower case.
    pub(crate) fn holds(&self, wanted: &str) -> bool {
        let texts = [&self.text, &self.agent, &self.user, &self.cwd, &self.words, &self.request];
        let mut texts = texts.into_iter().map(|text| &**text).chain([&*self.session]);
        let has = |text: &str| text.to_lowercase().contains(wanted);
        texts.any(has)
            || self.policies.iter().any(|policy| has(policy))
            || self.reasons.iter().any(|reason| has(&reason.policy) || has(&reason.reason))
            || self.refusals.iter().any(|refused| has(&refused.what) || has(&refused.policy))
    }
}

/// A program that was refused, or whom it was not let connect to.
pub(super) fn what_was_refused(program: &str, argv: &[Box<str>], peer: &str) -> String {
    if !peer.is_empty() {
        return format!("connection to {peer}");
    }
    if argv.is_empty() { program.to_owned() } else { format!("{program}: {}", argv.join(" ")) }
}

/// A time as records have it.
pub(super) fn time<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{at:.3}"))
}
