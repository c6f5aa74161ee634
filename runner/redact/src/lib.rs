//! Decides what may leave: every byte that a command printed, and every text about it, passes here first.
//!
//! [`Redacted`] and [`RedactedBytes`] can only be made by a [`Redactor`], so a result, an error or a record that is built
//! from them cannot hold raw output. What a secret looks like is data (`secrets/`, see `rules`); which bytes of a
//! stream are one, whatever the chunks they come in, is decided in `stream`; which line belongs to a private key, in
//! `key_block`; which values of the environment are searched for, in `known_value`.
//!
//! Marks survive a second pass, which finds the same. It can take more, never less: what stands directly after the mark of a known
//! value, or between the lines of a key that was redacted before; and what a mark, which is shorter than what it stands for, has brought
//! as near to a word that speaks of secrets as a rule asks for.
//!
//! What this does not do: it finds what looks like a secret, not what somebody has encoded in order to get it out.
//! Against intent only files that cannot be read help, and that is the sandbox's work.

#![forbid(unsafe_code)]

mod anchors;
mod arguments;
mod compare;
mod encodings;
mod escape;
mod expression;
mod filter;
mod gate;
mod index;
mod key_block;
mod known_value;
mod learned_value;
mod mark;
mod noise;
pub mod output;
mod place;
pub mod printable;
mod row;
mod rules;
mod secret;
mod secret_file;
mod stream;
mod table;
mod word;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use palisade_grammar::Inventory;
use serde::{Serialize, Serializer};

pub use known_value::{KnownValue, RefusedValue, UnfitValue};
pub use learned_value::{LearnedFrom, LearnedValue};
pub use rules::{Rules, RulesError, Unfit};
pub use stream::{Hit, Stream};

use anchors::Anchors;
use expression::MAX_REACH;
use known_value::KnownValues;
use learned_value::LearnedNote;
use mark::{FingerprintKey, MARK, MARK_BODY};
use rules::Rule;

/// Text that has passed the redactor: the only text a result, an error for the agent or a record can hold.
///
/// There is deliberately no `From<String>`, `FromStr` or `Deserialize`.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Redacted(String);

impl Redacted {
    /// Fixed words of the program itself. A literal of ours holds no secret; data never comes this way.
    pub fn from_static(text: &'static str) -> Self {
        Self(text.to_owned())
    }

    /// The safe text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many characters of `original` are not in this, which was made of it. Whoever wrote a mark into the original has them counted, too.
    #[must_use]
    pub fn left_out_of(&self, original: &str) -> u64 {
        let left_out = original.chars().count().saturating_sub(mark::outside(&self.0));
        left_out.try_into().unwrap_or(u64::MAX)
    }

    /// Appends text that is safe as well.
    pub fn push(&mut self, other: &Self) {
        self.0.push_str(&other.0);
    }

    /// Appends fixed words of the program; see [`Redacted::from_static`].
    pub fn push_static(&mut self, text: &'static str) {
        self.0.push_str(text);
    }

    /// Appends a count that Palisade itself has made.
    pub fn push_count(&mut self, count: u64) {
        self.0.push_str(&count.to_string());
    }

    /// The first `characters` of it, with `…` behind them if there are more. Cutting is fine here: it is redacted.
    #[must_use]
    pub fn shortened(mut self, characters: usize) -> Self {
        if let Some((at, _)) = self.0.char_indices().nth(characters) {
            self.0.truncate(at);
            self.0.push('…');
        }
        self
    }
}

impl fmt::Display for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Redacted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Bytes that have left a [`Stream`]. They may be cut: a secret can no longer be cut in half.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RedactedBytes(Vec<u8>);

impl RedactedBytes {
    /// The safe bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends bytes that have left a stream as well.
    pub fn append(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    /// Keeps the first `at` bytes and returns the rest; beyond the end nothing is cut off.
    #[must_use]
    pub fn split_off(&mut self, at: usize) -> Self {
        Self(self.0.split_off(at.min(self.0.len())))
    }

    /// Drops the first `count` bytes, all of them if there are fewer.
    pub fn drop_front(&mut self, count: usize) {
        self.0.drain(..count.min(self.0.len()));
    }

    /// Drops all bytes from `length` on.
    pub fn truncate(&mut self, length: usize) {
        self.0.truncate(length);
    }

    /// The bytes as text, and whether some were no UTF-8 and are now U+FFFD.
    pub fn to_text(&self) -> (Redacted, bool) {
        match String::from_utf8_lossy(&self.0) {
            Cow::Borrowed(text) => (Redacted(text.to_owned()), false),
            Cow::Owned(text) => (Redacted(text), true),
        }
    }
}

impl fmt::Debug for RedactedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(&self.0).fmt(f)
    }
}

/// Takes secrets out of text. Cheap to clone: all clones share the compiled rules.
#[derive(Clone)]
pub struct Redactor {
    matcher: Arc<Matcher>,
    known: Arc<KnownValues>,
    refused: Arc<[RefusedValue]>,
    key: Option<Arc<FingerprintKey>>,
    /// What its streams have learned.
    memory: Option<Memory>,
    /// The memories of the sessions that were named.
    sessions: Option<Arc<Mutex<Memories>>>,
    /// Whether `known` is more than the memory: it knows a command's own secrets.
    aware: bool,
    /// Whether a stream looks for a value again that a rule has found in it.
    learns: bool,
}

impl Redactor {
    /// A redactor for these rules and these values. Values that would blank ordinary text are not searched for;
    /// [`Redactor::refused`] names them.
    pub fn new(rules: Rules, known: Vec<KnownValue>) -> Self {
        let matcher = Arc::new(Matcher::new(rules.list));
        let bare = Self {
            known: Arc::new(KnownValues::new(Arc::clone(&matcher.anchors))),
            matcher,
            refused: Arc::default(),
            key: FingerprintKey::random().map(Arc::new),
            memory: None,
            sessions: None,
            aware: false,
            learns: true,
        };
        bare.with_known(&known)
    }

    /// A redactor for the rules that Palisade ships, without known values.
    ///
    /// # Errors
    /// Those of [`Rules::builtin`].
    pub fn builtin() -> Result<Self, RulesError> {
        Ok(Self::new(Rules::builtin()?, Vec::new()))
    }

    /// The same redactor with more values to look for. Costs some microseconds for each value; the rules are shared.
    #[must_use]
    pub fn with_known(&self, values: &[KnownValue]) -> Self {
        if values.is_empty() {
            return self.clone();
        }
        let mut known = KnownValues::clone(&self.known);
        let refused = known.admit(self.matcher.rules.iter().map(|rule| rule.id.as_ref()), values);
        let refused = self.refused.iter().cloned().chain(refused).collect();
        Self { known: Arc::new(known), refused, ..self.clone() }
    }

    /// The same redactor with a memory: what a stream of it, or of a redactor made from it, has redacted by a rule, later
    /// ones know wherever it stands. Fingerprints of two such redactors cannot be compared.
    #[must_use]
    pub fn session(&self) -> Self {
        let key = FingerprintKey::random().map(Arc::new);
        let known = Arc::new(self.known.apart());
        let memory = Some(Arc::new(Mutex::new(Arc::clone(&known))));
        Self { key, known, memory, sessions: Some(Arc::default()), ..self.clone() }
    }

    /// The same redactor with the memory of one session, which no other session shares: else a guess that is printed in one
    /// would show whether it is a secret of another. For the same reason its fingerprints mean something only among
    /// those of the session. Of a redactor that is no [`session`](Redactor::session), only the fingerprints differ.
    #[must_use]
    pub fn keyed(&self, session: &str) -> Self {
        let memory = self.sessions.as_ref().map(|sessions| {
            let mut sessions = sessions.lock().unwrap_or_else(PoisonError::into_inner);
            sessions.of(session, &self.known)
        });
        self.keyed_by(session, memory)
    }

    fn keyed_by(&self, session: &str, memory: Option<Memory>) -> Self {
        let key = self.key.as_ref().map(|key| Arc::new(key.derived(session)));
        Self { key, memory, sessions: None, ..self.clone() }
    }

    /// Other values to look for from now on, in place of those that this redactor was given, for all that was made of it by
    /// [`session`](Redactor::session) and [`keyed`](Redactor::keyed). What was learned stays, and a stream that is open keeps to
    /// what it began with. Returns those that cannot be searched for. Does nothing to a redactor that is no session.
    pub fn renew(&self, values: &[KnownValue]) -> Vec<RefusedValue> {
        let (Some(memory), Some(sessions)) = (&self.memory, &self.sessions) else { return Vec::new() };
        let mut known = KnownValues::new(Arc::clone(&self.matcher.anchors)).dropping_with(&self.known);
        let refused = known.admit(self.matcher.rules.iter().map(|rule| rule.id.as_ref()), values);
        let mut sessions = sessions.lock().unwrap_or_else(PoisonError::into_inner);
        for memory in sessions.list.iter().map(|(_, memory)| memory).chain([memory]) {
            Arc::make_mut(&mut remembered(memory)).renew(&known);
        }
        sessions.renewed = Some(Arc::new(known));
        refused
    }

    /// The same redactor for the output of one script: it knows the secrets that stand in the script itself, whatever
    /// they look like. Those that can be told from chance, the memory keeps.
    #[must_use]
    pub fn aware_of(&self, script: &Inventory) -> Self {
        let mut values = arguments::named(script);
        values.extend(self.found_in(&all_of(script)).into_iter().filter(KnownValue::is_meant));
        values.retain(|value| !value.is_dropped(&self.known));
        if values.is_empty() {
            return self.clone();
        }
        if let Some(memory) = &self.memory {
            let mut memory = remembered(memory);
            let known = Arc::make_mut(&mut memory);
            values.iter().for_each(|value| value.teach(known));
        }
        let current = Self { known: self.starting_known(), ..self.clone() };
        Self { aware: true, ..current.with_known(&values) }
    }

    /// What the sessions of this redactor have learned and nobody has dropped, in the order in which they did. Nothing of a redactor that is no
    /// [`session`](Redactor::session).
    #[must_use]
    pub fn learned(&self) -> Vec<LearnedValue> {
        let mut told = Vec::new();
        for (session, memory) in self.memories() {
            // Whatever is told of the value has passed what that session knows, so that no name of it tells another value.
            let keyed =
                if session.is_empty() { Self { memory: None, ..self.clone() } } else { self.keyed_by(&session, None) };
            let redactor = Self { known: Arc::clone(&remembered(&memory)), ..keyed };
            let notes: Vec<Arc<LearnedNote>> = redactor.known.notes().map(Arc::clone).collect();
            let mut redact = |text: &str| redactor.text(text);
            told.extend(notes.iter().map(|note| note.told(&session, &redactor.mark_of(note), &mut redact)));
        }
        told.sort_by_key(|value| value.number);
        told.dedup_by_key(|value| value.number);
        told
    }

    /// From now on looks no more for these of the values that were learned, in no session and in no stream that is open, and learns none of them again. A
    /// rule that finds one in a secret's place redacts it there all the same, and so do the values that this redactor was given.
    pub fn drop_learned(&self, numbers: &[u64]) {
        for (_, memory) in self.memories() {
            let known = Arc::clone(&remembered(&memory));
            let notes: Vec<Arc<LearnedNote>> = known.notes().map(Arc::clone).collect();
            notes.iter().filter(|note| numbers.contains(&note.number())).for_each(|note| known.drop_learned(note));
        }
    }

    /// The memories of all sessions by their names, and the one of what is in none.
    fn memories(&self) -> Vec<(String, Memory)> {
        let (Some(memory), Some(sessions)) = (&self.memory, &self.sessions) else { return Vec::new() };
        let sessions = sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let own = sessions.list.iter().map(|(name, memory)| (name.clone(), Arc::clone(memory)));
        own.chain([(String::new(), Arc::clone(memory))]).collect()
    }

    /// The mark that stands for a value that was learned.
    fn mark_of(&self, note: &LearnedNote) -> String {
        match &self.key {
            Some(key) if !mark::is_guessable(note.value()) => {
                mark::with_fingerprint(note.name(), &key.fingerprint(note.value()))
            }
            Some(_) | None => mark::plain(note.name()),
        }
    }

    /// The secrets that stand in a script, whatever they look like, to tell texts that were taken from it by them.
    pub fn suspects(&self, script: &Inventory) -> Suspects {
        let mut values = arguments::suspected(script);
        values.extend(self.found_in(&all_of(script)));
        Suspects(values)
    }

    /// What rules find in a text, and the names of the rules.
    fn found_in(&self, text: &[u8]) -> Vec<KnownValue> {
        let mut stream = Self { key: None, memory: None, sessions: None, ..self.clone() }.stream().gathering();
        stream.push(text);
        stream.finish_gathered()
    }

    /// The values that a new stream begins with.
    fn starting_known(&self) -> Arc<KnownValues> {
        match &self.memory {
            Some(memory) if !self.aware => Arc::clone(&remembered(memory)),
            Some(_) | None => Arc::clone(&self.known),
        }
    }

    /// Known values that were offered but are not searched for, and why.
    pub fn refused(&self) -> &[RefusedValue] {
        &self.refused
    }

    /// Runs the examples of every rule and returns those that do not come out as their table says. Of the shipped rules
    /// there are none; a site that brings rules of its own can ask before it relies on them.
    pub fn failed_examples(&self) -> Vec<FailedExample> {
        let rules = self.matcher.rules.iter();
        rules
            .flat_map(|rule| rule.cases().map(move |case| (rule, case)))
            .filter_map(|case| self.failure(case))
            .collect()
    }

    fn failure(&self, (rule, (input, expected)): (&Rule, (String, String))) -> Option<FailedExample> {
        let none = Arc::new(KnownValues::new(Arc::clone(&self.matcher.anchors)));
        let bare = Self { known: none, key: None, memory: None, ..self.clone() };
        let result = bare.text(&input);
        let failed =
            || FailedExample { rule: rule.id.to_string(), input, expected: expected.clone(), result: result.clone() };
        (result.as_str() != expected).then(failed)
    }

    /// Redacts a text that is whole. Text that comes in pieces needs a [`Stream`].
    pub fn text(&self, text: &str) -> Redacted {
        self.bytes(text.as_bytes())
    }

    /// Redacts a path; bytes in it that are no UTF-8 become U+FFFD.
    pub fn path(&self, path: &Path) -> Redacted {
        self.bytes(path.as_os_str().as_bytes())
    }

    /// Redacts bytes that are whole; those that are no UTF-8 become U+FFFD.
    pub fn bytes(&self, bytes: &[u8]) -> Redacted {
        let mut stream = self.stream();
        let mut safe = stream.push(bytes);
        safe.append(&stream.finish());
        safe.to_text().0
    }

    /// A new stream. Each of stdout and stderr needs its own: a secret split over the two is not seen.
    pub fn stream(&self) -> Stream {
        Stream::new(self.clone())
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rules, known) = (self.matcher.rules.len(), self.known.len());
        f.debug_struct("Redactor").field("rules", &rules).field("known", &known).finish_non_exhaustive()
    }
}

/// A script, and behind it each word that it spells out as its program will see it.
fn all_of(script: &Inventory) -> Vec<u8> {
    let words = arguments::words(script).flat_map(|word| [b"\n", word.as_bytes()]);
    [script.script()].into_iter().chain(words).collect::<Vec<_>>().concat()
}

/// Values that are secrets, or may be by their place.
pub struct Suspects(Vec<KnownValue>);

impl Suspects {
    /// Whether a text holds one, or is part of one.
    pub fn touch(&self, text: &str) -> bool {
        self.0.iter().any(|value| value.touches(text.as_bytes()))
    }
}

/// An example that a rule does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedExample {
    /// The rule's id.
    pub rule: String,
    /// The example as it went in.
    pub input: String,
    /// What should have come out.
    pub expected: String,
    /// What came out.
    pub result: Redacted,
}

/// Rules, ready to run; shared by all streams.
struct Matcher {
    anchors: Arc<Anchors>,
    rules: Vec<Rule>,
    /// How many bytes after an anchor's end any decision about it may look at.
    ahead: usize,
    /// How many bytes before an anchor's start any decision about it may look at.
    back: usize,
    /// A position is decided once so many bytes after it are there.
    hold: usize,
}

/// What an anchor stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum AnchorTarget {
    Rule(usize),
    BlockEnd(usize),
}

impl Matcher {
    fn new(rules: Vec<Rule>) -> Self {
        let anchors = Arc::new(Anchors::new(anchors(&rules)).before_runs(run_anchors(&rules)));
        let longest_anchor = anchors.longest();
        // One byte more on each side: patterns and checks may ask what stands next to a match.
        let ahead = MAX_REACH.max(key_block::LINE_LOOK).max(longest_anchor) + 1;
        let max_back = rules.iter().map(|rule| rule.max_back).max().unwrap_or(0) + 1;
        Self {
            anchors,
            // An end marker looks back over the lines before it.
            hold: (ahead + longest_anchor + max_back.max(stream::LOOK_BACK)).max(compare::REACH + 1),
            back: max_back + MARK.len() + MARK_BODY,
            ahead,
            rules,
        }
    }
}

fn anchors(rules: &[Rule]) -> impl Iterator<Item = (AnchorTarget, &[u8])> {
    rules.iter().enumerate().filter(|(_, rule)| !rule.before_runs).flat_map(|(index, rule)| {
        let begins = rule.anchors.iter().map(move |anchor| (AnchorTarget::Rule(index), anchor.as_bytes()));
        let ends = rule.block_end.iter().map(move |end| (AnchorTarget::BlockEnd(index), end.anchor.as_bytes()));
        begins.chain(ends)
    })
}

/// The anchors that count only before a long run of letters and digits, by their first byte.
fn run_anchors(rules: &[Rule]) -> impl Iterator<Item = (AnchorTarget, u8)> {
    rules.iter().enumerate().filter(|(_, rule)| rule.before_runs).flat_map(|(index, rule)| {
        let first = rule.anchors.iter().filter_map(|anchor| anchor.bytes().next());
        first.map(move |byte| (AnchorTarget::Rule(index), byte))
    })
}

/// What the streams of one session have learned, on top of what was known before.
type Memory = Arc<Mutex<Arc<KnownValues>>>;

/// So many sessions are remembered; of more, those that have not printed for longest are forgotten.
const MOST_SESSIONS: usize = 4096;

/// Memories by the names of their sessions, the one that was asked for last at the end.
#[derive(Default)]
struct Memories {
    list: VecDeque<(String, Memory)>,
    /// What a new one begins with, if that has changed since.
    renewed: Option<Arc<KnownValues>>,
}

impl Memories {
    fn of(&mut self, session: &str, known: &Arc<KnownValues>) -> Memory {
        let memories = &mut self.list;
        let known = self.renewed.as_ref().unwrap_or(known);
        let place = memories.iter().rposition(|(name, _)| name == session);
        let entry = place.and_then(|place| memories.remove(place));
        let entry = entry.unwrap_or_else(|| (session.to_owned(), Arc::new(Mutex::new(Arc::clone(known)))));
        let memory = Arc::clone(&entry.1);
        memories.push_back(entry);
        if memories.len() > MOST_SESSIONS {
            memories.pop_front();
        }
        memory
    }
}

/// The session's memory. One that a panic has left behind is still a memory.
fn remembered(memory: &Mutex<Arc<KnownValues>>) -> std::sync::MutexGuard<'_, Arc<KnownValues>> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice, reason = "tests")]
mod tests;
