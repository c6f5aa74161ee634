//! One record as a reader has it: what its line says, parsed once.
//!
//! It tells what stands there. Whether the chain holds is decided in `tail` as far as somebody follows it, and in `verify`
//! for good. A field that a kind does not have is empty; a kind that this version does not know has its name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::{Anchor, Digest, FORMAT};

/// A record that was read from a chain.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The chain: what the names of its files have in common.
    pub chain: Arc<str>,
    /// Its number and the hash of its line.
    pub anchor: Anchor,
    /// When it was written.
    pub at: Timestamp,
    /// What it says.
    pub record: Record,
    /// Its line as it was written, without the newline.
    pub line: Box<str>,
}

impl Seen {
    /// The record in a line, newline included, and the hash of the one before; `None`: it is no record of a known format.
    pub(super) fn parse(chain: &Arc<str>, line: &[u8]) -> Option<(Self, Digest)> {
        let text = str::from_utf8(line).ok()?.strip_suffix('\n')?;
        let record: Record = serde_json::from_str(text).ok().filter(|record: &Record| record.v == FORMAT)?;
        let (at, prev) = (record.ts.parse().ok()?, record.prev.parse().ok()?);
        let anchor = Anchor { seq: record.seq, head: Digest::of(line) };
        Some((Self { chain: Arc::clone(chain), anchor, at, record, line: text.into() }, prev))
    }

    /// The line as a value, for what goes by a record's form.
    #[must_use]
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.line).unwrap_or_default()
    }
}

/// The fields of all kinds.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "the names are the record's; `entry` says what each means")]
pub struct Record {
    v: u32,
    seq: u64,
    ts: Box<str>,
    prev: Box<str>,
    pub kind: Box<str>,
    #[serde(default)]
    pub session: Option<Box<str>>,
    #[serde(default)]
    pub shell: Option<Box<str>>,
    #[serde(default)]
    pub who: Option<Requester>,
    #[serde(default)]
    pub transport: Option<Reached>,
    #[serde(default)]
    pub cwd: Box<str>,
    #[serde(default)]
    pub req: Option<Box<str>>,
    #[serde(default)]
    pub of: Option<Box<str>>,
    /// The agent's own words with a decision; one of ours with `close` and `stop`.
    #[serde(default)]
    pub reason: Option<Box<str>>,
    #[serde(default)]
    pub cmd: Option<Box<str>>,
    #[serde(default)]
    pub inv: Vec<Box<str>>,
    #[serde(default)]
    pub opaque: Vec<Box<str>>,
    #[serde(default)]
    pub decision: Option<Judged>,
    #[serde(default)]
    pub asked: Option<PolicyQuestions>,
    #[serde(default)]
    pub effect: Option<Box<str>>,
    #[serde(default)]
    pub determining: Vec<Box<str>>,
    #[serde(default)]
    pub policy_set: Box<str>,
    #[serde(default)]
    pub sandbox: Option<SandboxLayers>,
    #[serde(default)]
    pub granted: Option<bool>,
    #[serde(default)]
    pub by: Box<str>,
    /// What was stopped: a word of ours, and with `name` whose.
    #[serde(default)]
    pub what: Box<str>,
    #[serde(default)]
    pub name: Box<str>,
    /// Policies with `approval`, a yes or no with `kill`.
    #[serde(default)]
    pub lifted: Value,
    /// The decision whose approval this one uses up.
    #[serde(default)]
    pub under: Option<Box<str>>,
    #[serde(default)]
    pub exit: Option<RecordedExit>,
    #[serde(default)]
    pub dur_us: u64,
    #[serde(default)]
    pub out: Option<Amount>,
    #[serde(default)]
    pub err: Option<Amount>,
    #[serde(default)]
    pub redactions: BTreeMap<Box<str>, u64>,
    #[serde(default)]
    pub denied: Vec<RecordedRefusal>,
    #[serde(default)]
    pub denied_more: u64,
    #[serde(default)]
    pub more: u64,
    #[serde(default)]
    pub program: Box<str>,
    #[serde(default)]
    pub argv: Vec<Box<str>>,
    #[serde(default)]
    pub peer: Box<str>,
    #[serde(default)]
    pub policy: Box<str>,
    #[serde(default)]
    pub signal: Box<str>,
    #[serde(default)]
    pub bytes: u64,
    #[serde(default)]
    pub eof: bool,
    #[serde(default)]
    pub verb: Box<str>,
    #[serde(default)]
    pub version: Box<str>,
    #[serde(default)]
    pub pid: u32,
    #[serde(default)]
    pub cause: Box<str>,
    #[serde(default)]
    pub file: Box<str>,
    /// A number with `recovered`, a text with `policy_reload`.
    #[serde(default)]
    pub refused: Option<Value>,
}

impl Record {
    /// What was decided, in the record's word; `None`: it is of no decision.
    #[must_use]
    pub fn effect(&self) -> Option<&str> {
        self.decision.as_ref().map(|decision| &*decision.effect).or(self.effect.as_deref())
    }
}

/// Who asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are the record's; `entry` says what each means")]
pub struct Requester {
    pub agent: Box<str>,
    pub user: Box<str>,
    pub roles: Vec<Box<str>>,
    pub verified: bool,
    pub auth: Box<str>,
}

/// How commands reach the shell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are the record's; `entry` says what each means")]
pub struct Reached {
    pub kind: Box<str>,
    pub target: Option<Box<str>>,
}

/// The verdict on a script.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are the record's; `entry` says what each means")]
pub struct Judged {
    pub effect: Box<str>,
    pub determining: Vec<Box<str>>,
    pub reasons: Vec<Why>,
    pub errors: Vec<Box<str>>,
    pub us: u64,
}

/// One cause of a verdict that is not a yes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are the record's; `entry` says what each means")]
pub struct Why {
    pub policy: Box<str>,
    pub place: Box<str>,
    pub text: Box<str>,
    pub reason: Box<str>,
    pub suggest: Box<str>,
}

/// What policy was asked, as far as it tells what commands do elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PolicyQuestions {
    items: Vec<AskedItem>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct AskedItem {
    exec: Option<AskedCommand>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct AskedCommand {
    outward: Option<Elsewhere>,
}

/// What a command does to another system, or to this machine. As a text: `destroy (kubernetes, namespace=prod)`, and behind `?` what it may
/// do besides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are the record's; `entry` says what each means")]
pub struct Elsewhere {
    pub system: Box<str>,
    pub effects: Vec<Box<str>>,
    pub possible: Vec<Box<str>>,
    pub scope: Vec<(Box<str>, Box<str>)>,
    pub target: Box<str>,
}

impl PolicyQuestions {
    /// What each command does elsewhere; those that do nothing there are left out.
    pub fn elsewhere(&self) -> impl Iterator<Item = &Elsewhere> {
        let outward = self.items.iter().filter_map(|item| item.exec.as_ref()?.outward.as_ref());
        outward.filter(|outward| !outward.effects.is_empty() || !outward.possible.is_empty())
    }
}

impl fmt::Display for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let doubt =
            self.possible.iter().filter(|effect| !self.effects.contains(effect)).map(|effect| format!("{effect}?"));
        let effects: Vec<String> = self.effects.iter().map(|effect| effect.to_string()).chain(doubt).collect();
        write!(f, "{} ({}", effects.join(", "), self.system)?;
        for (word, place) in &self.scope {
            write!(f, ", {word}={place}")?;
        }
        f.write_str(")")?;
        if self.target.is_empty() { Ok(()) } else { write!(f, " {}", self.target) }
    }
}

/// What holds a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are the record's; `entry` says what each means")]
pub struct SandboxLayers {
    pub level: Box<str>,
    pub layers: Vec<Box<str>>,
}

/// How a script ended.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordedExit {
    /// With this exit status.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Otherwise, or not at all.
    Reason(Box<str>),
}

impl fmt::Display for RecordedExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::Reason(reason) => f.write_str(reason),
        }
    }
}

/// How much a stream held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are the record's; `entry` says what each means")]
pub struct Amount {
    pub bytes: u64,
    pub omitted: u64,
}

/// A program that was refused at its `execve`, or a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are the record's; `entry` says what each means")]
pub struct RecordedRefusal {
    pub program: Box<str>,
    pub argv: Vec<Box<str>>,
    pub peer: Box<str>,
    pub policy: Box<str>,
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use std::time::Duration;

    use super::super::chain::{Chain, ChainOrigin, Stamp};
    use super::super::{ChainId, Entry, Exit, Id, Term, sample};
    use super::*;

    #[test]
    fn every_field_that_is_shown_is_read_as_it_was_written() {
        let origin = ChainOrigin { boot: Id::new("boot").unwrap(), host: Id::new("host").unwrap() };
        let stamp = Stamp { at: Timestamp::UNIX_EPOCH, elapsed: Duration::ZERO, origin: &origin };
        let mut chain = Chain::new(ChainId(7), sample::key());
        let mut before = Digest::ZERO;
        let mut read = |entry: Entry| {
            let line = chain.seal(&entry, &stamp).unwrap();
            let (seen, prev) = Seen::parse(&"c".into(), &line).unwrap();
            assert_eq!((prev, seen.anchor), (before, chain.head()));
            assert_eq!(seen.value()["kind"], *seen.record.kind);
            before = seen.anchor.head;
            seen.record
        };
        let req = || "5f3a9c01-12".parse().unwrap();
        assert_eq!(&*read(Entry::Start(sample::start())).verb, "serve");
        let opened = read(sample::opened().into());
        assert_eq!(opened.session.as_deref(), Some("s1"));
        assert_eq!(opened.who.map(|who| (who.agent, who.user)), Some(("build-agent".into(), "alice".into())));
        let decided = read(sample::decided(req(), "make all").into());
        assert_eq!((decided.effect(), decided.cmd.as_deref()), (Some("allow"), Some("make all")));
        assert_eq!(decided.decision.unwrap().determining, ["dev-toolchain".into()]);
        let exits = [
            (Exit::Code(3), "exit 3"),
            (Exit::Signal(9), "signal 9"),
            (Exit::Reason(Term::new("timed_out")), "timed_out"),
        ];
        for (exit, said) in exits {
            let finished = read(sample::finished(req(), exit, "ok").into());
            assert_eq!(finished.exit.unwrap().to_string(), said);
            assert_eq!((finished.out.unwrap().bytes, finished.redactions.get("github-token")), (2, Some(&2)));
        }
        assert_eq!(read(sample::closed().into()).reason.as_deref(), Some("asked"));
        assert_eq!(&*read(sample::stopped().into()).kind, "stop");
    }

    #[test]
    fn what_is_no_record_of_ours_is_not_taken_for_one() {
        let record = |v: u32, rest: &str| {
            format!(
                "{{\"v\":{v},\"seq\":1,\"ts\":\"2026-11-21T04:00:00Z\",\"kind\":\"new\",\"prev\":\"{}\"{rest}}}\n",
                Digest::ZERO
            )
        };
        for (line, is_record) in [
            (record(1, ""), true),
            (record(1, ",\"unknown\":[1]"), true),
            (record(2, ""), false),
            (record(1, ",\"inv\":7"), false),
            (record(1, "").trim_end().to_owned(), false),
            ("{}\n".to_owned(), false),
            ("\n".to_owned(), false),
        ] {
            assert_eq!(Seen::parse(&"c".into(), line.as_bytes()).is_some(), is_record, "{line}");
        }
        assert!(Seen::parse(&"c".into(), b"\xff\n").is_none());
    }
}
