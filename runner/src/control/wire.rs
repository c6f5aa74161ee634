//! What goes over the control socket: one line of JSON there, one line back.
//!
//! The server says only redacted text, by type (`Answer<Redacted>`); whoever reads it has plain text (`Answer<String>`) and must not
//! let it act on a terminal. Decides nothing.

use palisade_engine::Lasts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use palisade_redact::LearnedFrom;

/// The version of these messages: another one is refused, not guessed at.
pub const VERSION: u32 = 1;

/// Bytes of a line that a server reads.
pub const MAX_ASK: usize = 16 << 10;

/// Bytes of a line that a client reads.
pub const MAX_ANSWER: usize = 16 << 20;

/// A line, and the version that it is in.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message<T> {
    v: u32,
    say: T,
}

/// What is asked of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Ask {
    /// Which requests wait for a person.
    List,
    /// One of them, with all that it is about.
    Show {
        /// Its id.
        id: String,
    },
    /// A yes or a no to one.
    Answer {
        /// Its id.
        id: String,
        /// It is a yes.
        yes: bool,
        /// Why, in that person's words; may be empty.
        reason: String,
        /// How long a yes is to hold.
        #[serde(default)]
        lasts: Lasts,
    },
    /// By which permits a yes to one would hold so long.
    Permit {
        /// Its id.
        id: String,
        /// How long.
        lasts: Lasts,
    },
    /// Which yeses hold for longer than one call.
    Remembered,
    /// Take one of those back.
    Forget {
        /// The id of the request that it was given to.
        id: String,
    },
    /// Which values the redactor has learned.
    Learned,
    /// Drop such values: they are no secrets.
    Unlearn {
        /// Which.
        which: Which,
    },
    /// End what runs, and lock it out.
    Stop {
        /// What.
        what: Target,
        /// Why; may be empty.
        reason: String,
    },
    /// Let it in again.
    Lift {
        /// What.
        what: Target,
        /// Why; may be empty.
        reason: String,
    },
    /// What lives here.
    Sessions,
}

/// Which of the values that were learned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Which {
    /// The one of this id.
    One(String),
    /// All of them.
    All,
}

/// What is stopped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Target {
    /// A session of this name, or an agent.
    Named(String),
    /// Everything.
    All,
}

/// What a server says to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer<T> {
    /// What waits, oldest first.
    Waiting(Vec<Waiting<T>>),
    /// One request.
    Request(Box<Request<T>>),
    /// What became of an answer.
    Voted(Voted<T>),
    /// The permits by which a yes would hold, as Cedar.
    Permit(T),
    /// The yeses that hold for longer than one call, oldest first.
    Remembered(Vec<Kept<T>>),
    /// One of them was taken back.
    Forgotten {
        /// The request that it was given to.
        id: T,
    },
    /// The values that were learned, in the order in which they were.
    Learned {
        /// Each of them.
        values: Vec<Learned<T>>,
        /// How many older ones are not listed.
        older: u64,
    },
    /// The ids of those that were dropped.
    Unlearned(Vec<T>),
    /// What was stopped.
    Stopped(Stopped<T>),
    /// What was let in again.
    Lifted(Lifted<T>),
    /// What lives here.
    Lives(Box<Lives<T>>),
    /// There is nothing of that name here.
    Unknown,
    /// Policy, or who is asking, does not let it.
    Refused(Refused<T>),
    /// It could not be done.
    Failed {
        /// What.
        what: T,
        /// What to do about it; may be empty.
        help: T,
    },
}

/// A request that waits, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting<T> {
    /// Its id, which is that of the decision in the record.
    pub id: T,
    /// Whose it is.
    pub agent: T,
    /// On whose behalf.
    pub user: T,
    /// What it is about: a script, or something for a job.
    pub command: T,
    /// Characters of that which are not shown, since they look like secrets. A yes is to them, too.
    pub hidden: u64,
    /// Where it would run.
    pub cwd: T,
    /// A running program waits for it in its `execve`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub running: bool,
    /// Seconds since it was asked.
    pub age_s: u64,
    /// Seconds until it is too late.
    pub expires_s: u64,
    /// How many different people have to say yes.
    pub quorum: u64,
    /// Who has.
    pub granted_by: Vec<T>,
    /// Whether it is decided, and only waits for the agent to come for it.
    pub state: State,
}

/// How a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It waits for people.
    Waiting,
    /// All of the quorum have said yes; the agent has not come for it.
    Granted,
    /// Somebody has said no.
    Denied,
}

/// A request with all that an answer would be about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request<T> {
    /// In short.
    #[serde(flatten)]
    pub short: Waiting<T>,
    /// The agent's session; empty for a shell that ends with the command.
    pub session: T,
    /// It was asked both in a session and without one, and does the same in either.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub joined: bool,
    /// What kind of thing it is: `exec`, `input`, `signal`.
    pub kind: T,
    /// Each parsed command, file, peer and variable, and what policy says to it as it stands.
    pub effects: Vec<Effect<T>>,
    /// Why it is not simply allowed.
    pub reasons: Vec<Reason<T>>,
    /// What could not be read, and why.
    pub opaque: Vec<T>,
    /// Scripts and programs of the agent's that it names, with the SHA-256 of what they hold: a yes is to these.
    pub files: Vec<File<T>>,
    /// Directories that the kernel opens for it beyond what a session has.
    pub opens: Vec<T>,
    /// The program that waits for it in its `execve`; none for what has not begun.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub process: Option<Running<T>>,
    /// The policies that it was judged by.
    pub policy_set: T,
    /// What the agent says of it: nobody's proof.
    pub said: T,
}

fn none<T>() -> Option<T> {
    None
}

/// A program that a process is about to become, and waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running<T> {
    /// Its file, links resolved.
    pub file: T,
    /// The decision that let the script run which it belongs to; empty if that cannot be told.
    pub of: T,
    /// The programs above it; none if the script itself starts it.
    pub started_by: Vec<T>,
    /// The variables that were changed for it, each with its value and who set it.
    pub variables: Vec<T>,
}

/// One thing that would be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect<T> {
    /// `allow` or `ask`.
    pub decision: T,
    /// The action.
    pub action: T,
    /// What it is done to.
    pub resource: T,
    /// The wrappers around it.
    pub via: Vec<T>,
    /// The policies that say so.
    pub policies: Vec<T>,
}

/// A policy that stands in the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason<T> {
    /// Its id; empty if nothing permits it without a yes.
    pub policy: T,
    /// File and line.
    pub place: T,
    /// What it says.
    pub reason: T,
    /// About what.
    pub text: T,
}

/// A file that a yes binds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File<T> {
    /// Where it is.
    pub path: T,
    /// The SHA-256 of what it holds; empty if it is not there or cannot be read.
    pub sha256: T,
}

/// What became of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voted<T> {
    /// The request.
    pub id: T,
    /// How it stands now.
    pub state: State,
    /// How many have said yes.
    pub yes: u64,
    /// How many have to.
    pub quorum: u64,
    /// Who gave this answer, as policy knows them.
    pub by: T,
}

/// A yes that holds for longer than one call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept<T> {
    /// The request that it was given to.
    pub id: T,
    /// Whose it is.
    pub by: T,
    /// How long it holds.
    pub lasts: Lasts,
    /// When it was given, in UTC.
    pub granted: T,
    /// Its permits, as Cedar.
    pub permits: T,
}

/// A value that the redactor has learned: all about it but the value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learned<T> {
    /// Its id.
    pub id: T,
    /// Whose session has learned it.
    pub agent: T,
    /// On whose behalf.
    pub user: T,
    /// The session; empty for what ran in none.
    pub session: T,
    /// From what.
    pub from: LearnedFrom,
    /// The variable, the option, or the rule that has found it.
    pub name: T,
    /// The program whose argument it was; empty for what was none.
    pub program: T,
    /// When, in UTC.
    pub at: T,
    /// Its length in bytes.
    pub length: u64,
    /// Two bytes of its beginning and, of a long one, of its end; empty for a short one.
    pub shown: T,
    /// What stands in its place.
    pub mark: T,
    /// How many times it was redacted because it was known.
    pub redacted: u64,
}

/// What was stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped<T> {
    /// What: `session`, `agent` or `all`, and its name.
    pub what: T,
    /// Commands that were ended.
    pub commands: u64,
    /// Sessions that were closed.
    pub sessions: u64,
    /// It is on record. If not, all the same everything has ended.
    pub recorded: bool,
}

/// What was let in again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifted<T> {
    /// What.
    pub what: T,
}

/// What lives in a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lives<T> {
    /// The server's process.
    pub pid: u32,
    /// The chain of its record.
    pub chain: T,
    /// Whom it serves.
    pub agent: T,
    /// On whose behalf.
    pub user: T,
    /// The sessions that are open.
    pub sessions: Vec<T>,
    /// How many commands run.
    pub running: u64,
    /// What is locked out, by whom and why.
    pub stopped: Vec<T>,
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused<T> {
    /// Why, in one line.
    pub what: T,
    /// The policies that say so; none if nothing permits it.
    pub policies: Vec<T>,
    /// What would help; may be empty.
    pub help: T,
}

/// Why a line is no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// It is not JSON of this shape.
    #[error("the line is no message: {0}")]
    Shape(String),
    /// It is in another version.
    #[error("the message is in version {0}, and this is version {VERSION}")]
    Version(u32),
}

/// A line, its end included.
///
/// # Errors
/// If it cannot be written as JSON.
pub fn encode<T: Serialize>(say: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut line = serde_json::to_vec(&Message { v: VERSION, say })?;
    line.push(b'\n');
    Ok(line)
}

/// What a line says; its end may be there or not.
///
/// # Errors
/// If it says nothing, or says it in another version.
pub fn decode<T: DeserializeOwned>(line: &[u8]) -> Result<T, Unread> {
    #[derive(Deserialize)]
    struct Head {
        v: u32,
    }
    let shape = |error: serde_json::Error| Unread::Shape(error.to_string());
    match serde_json::from_slice::<Head>(line).map_err(shape)?.v {
        VERSION => Ok(serde_json::from_slice::<Message<T>>(line).map_err(shape)?.say),
        other => Err(Unread::Version(other)),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_comes_back_as_it_was() {
        let name = || "5f3a9c01-12".to_owned();
        for ask in [
            Ask::List,
            Ask::Show { id: name() },
            Ask::Answer { id: name(), yes: true, reason: "fine\nby me".to_owned(), lasts: Lasts::Agent },
            Ask::Permit { id: name(), lasts: Lasts::Session },
            Ask::Remembered,
            Ask::Forget { id: name() },
            Ask::Stop { what: Target::All, reason: String::new() },
            Ask::Lift { what: Target::Named(name()), reason: String::new() },
            Ask::Sessions,
            Ask::Learned,
            Ask::Unlearn { which: Which::All },
            Ask::Unlearn { which: Which::One(name()) },
        ] {
            let line = encode(&ask).unwrap();
            assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1, "one line each");
            assert_eq!(decode::<Ask>(&line), Ok(ask));
        }
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        for line in [
            "",
            "{",
            "null",
            "[]",
            "{}",
            r#"{"v":1}"#,
            r#"{"v":1,"say":"Grant"}"#,
            r#"{"v":1,"say":"list","more":1}"#,
            r#"{"v":1,"say":{"show":{}}}"#,
            r#"{"v":1,"say":{"show":{"id":"a","yes":true}}}"#,
            r#"{"v":1,"say":{"answer":{"id":"a","reason":""}}}"#,
            r#"{"v":1,"say":{"answer":{"id":"a","yes":"true","reason":""}}}"#,
            "{\"v\":1,\"say\":\"list\"}\u{0}",
        ] {
            assert!(matches!(decode::<Ask>(line.as_bytes()), Err(Unread::Shape(_))), "{line}");
        }
        assert_eq!(decode::<Ask>(br#"{"v":2,"say":{"grant-all":{}}}"#), Err(Unread::Version(2)));
    }
}
