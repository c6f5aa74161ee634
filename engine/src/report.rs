//! Everything that was asked about one script, and the answers, as plain data for people and for the record.
//!
//! Decides nothing: `verdict` fills it in, `explain` finds the reasons.

use std::collections::BTreeSet;

use palisade_grammar::{OpaqueReason, Span};
use serde::{Deserialize, Serialize};

use crate::replay_input::ReplayInput;

/// Everything that was asked about one script, and the answers: plain text that has not passed a redactor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The strictest of the requests' decisions.
    pub decision: Decision,
    /// The script, invalid UTF-8 replaced.
    pub command: String,
    /// Fingerprint of the policy set that decided.
    pub policy_set: String,
    /// Each request, in the order of the text.
    pub requests: Vec<Judged>,
    /// What could not be read.
    pub opaque: Vec<Unread>,
    /// Why it is not allowed; empty for an allow.
    pub reasons: Vec<Reason>,
    /// The policies that permit it only behind a checkpoint of the workspace, sorted: without one it must not run.
    pub checkpoint: Vec<String>,
    /// What was asked, in a form in which it can be asked again. None for what is no script to be run, and for one that
    /// raises too many questions.
    pub asked: Option<Box<ReplayInput<String>>>,
}

impl Report {
    /// How many different people have to say yes: the most that any of the requests takes.
    pub fn quorum(&self) -> usize {
        let asked = self.requests.iter().filter(|request| request.decision == Decision::Ask);
        asked.map(|request| request.quorum).max().unwrap_or(1).max(1)
    }

    /// The policies that made the decision: for an allow those that permit, else those that stand in the way.
    pub fn policies(&self) -> BTreeSet<String> {
        let permitting = || self.requests.iter().flat_map(|request| request.determining.iter().cloned());
        match self.decision {
            Decision::Allow => permitting().collect(),
            Decision::Ask | Decision::Deny => {
                let named = self.reasons.iter().map(|reason| reason.policy.clone());
                named.filter(|policy| !policy.is_empty()).collect()
            }
        }
    }
}

/// Cedar's answer to one request, or ours to a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// Permitted, and nothing forbids it.
    Allow,
    /// Denied as it stands, allowed once `context.approved` is true.
    Ask,
    /// Denied.
    Deny,
}

impl Decision {
    /// The decision in one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Ask => "ask",
            Self::Deny => "deny",
        }
    }
}

/// One request and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The action's id.
    pub action: &'static str,
    /// The resource, for people: a command's text, a path, a peer, a variable.
    pub resource: String,
    /// The program it is about; empty if none is known.
    pub program: String,
    /// Where it stands in the script.
    pub span: Span,
    /// The wrappers around it, outermost first.
    pub via: Vec<String>,
    /// The answer.
    pub decision: Decision,
    /// Ids of the policies that made it, sorted. Empty for a deny that nothing permits.
    pub determining: Vec<String>,
    /// Policies that erred: any of them denies.
    pub errors: Vec<String>,
    /// Those of `determining` that an approval does not lift.
    pub hard: Vec<String>,
    /// How many different people have to say yes to it, if it is [`Decision::Ask`].
    pub quorum: usize,
    /// A person's yes has lifted it.
    pub lifted: bool,
}

/// Something that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Why.
    pub reason: OpaqueReason,
    /// Where it stands.
    pub span: Span,
    /// Its text.
    pub text: String,
    /// What is wrong and what would help.
    pub detail: String,
    /// The files of the project that decide what code it runs, for `project-code`.
    pub files: Vec<String>,
}

/// One cause of a denial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The policy's id; empty if nothing permits the request.
    pub policy: String,
    /// File and line of the policy; empty with `policy`.
    pub place: String,
    /// What was denied, for people.
    pub text: String,
    /// Where that stands in the script.
    pub span: Span,
    /// Why, in the policy's words.
    pub reason: String,
    /// What would be allowed; may be empty.
    pub suggest: String,
    /// Where nothing permits the request: the permit that comes nearest, and which of its conditions fails. For authors of policies; may be
    /// empty.
    pub nearest: String,
}
