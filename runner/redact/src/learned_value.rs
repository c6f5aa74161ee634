//! What is told of a value that was learned: where it came from, how often it was met again, and whether a person has dropped it.
//!
//! Decides how much of a value a person may be shown. Not decided here: which values are learned (`known_value`), and who may see or drop one
//! (`pipeline/learned_values.rs`).

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Redacted;
use super::secret::Secret;

/// Of a shorter value nothing but its length is told.
const SHOWS_ITS_START: usize = 12;
/// Of a value of so many bytes, four are no more than a quarter.
const SHOWS_ITS_END: usize = 16;
/// Bytes that are shown of an end.
const END: usize = 2;

/// Where a value was learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LearnedOrigin {
    /// A variable that a command set.
    Variable {
        /// Its name.
        name: String,
    },
    /// An argument of a command, by what stands before it.
    Argument {
        /// The option, or the name before the `=`.
        option: String,
        /// The program.
        program: String,
    },
    /// A command's text, in which a rule has found it.
    Script {
        /// The rule's id.
        rule: String,
    },
    /// Text that went through the redactor, such as output, in which a rule has found it.
    Output {
        /// The rule's id.
        rule: String,
    },
}

/// The kinds of places that values are learned from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LearnedFrom {
    /// A variable that a command set.
    Variable,
    /// An argument of a command.
    Argument,
    /// A command's text, in which a rule has found it.
    Script,
    /// Output, in which a rule has found it.
    Output,
}

impl LearnedOrigin {
    fn kind(&self) -> LearnedFrom {
        match self {
            Self::Variable { .. } => LearnedFrom::Variable,
            Self::Argument { .. } => LearnedFrom::Argument,
            Self::Script { .. } => LearnedFrom::Script,
            Self::Output { .. } => LearnedFrom::Output,
        }
    }

    /// The variable, the option or the rule.
    fn name(&self) -> &str {
        match self {
            Self::Variable { name } | Self::Argument { option: name, .. } => name,
            Self::Script { rule } | Self::Output { rule } => rule,
        }
    }

    /// The program whose argument it was; empty for what was none.
    fn program(&self) -> &str {
        match self {
            Self::Argument { program, .. } => program,
            Self::Variable { .. } | Self::Script { .. } | Self::Output { .. } => "",
        }
    }
}

/// A value that was learned. Everything that has learned it from the same place shares the note.
#[derive(Debug)]
pub(super) struct LearnedNote {
    number: u64,
    /// What marks call it.
    name: Arc<str>,
    value: Secret,
    origin: LearnedOrigin,
    /// Where a command names it, of which a rule has seen the text before.
    named: OnceLock<LearnedOrigin>,
    at: Timestamp,
    /// Marks that were made because it was known.
    redacted: AtomicU64,
}

/// The number of the next note.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

impl LearnedNote {
    /// A value that marks call `name`.
    pub(super) fn new(name: &str, value: &[u8], origin: LearnedOrigin) -> Arc<Self> {
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let (at, redacted) = (Timestamp::now(), AtomicU64::new(0));
        let (value, named) = (Secret::from(value), OnceLock::new());
        Arc::new(Self { number, name: name.into(), value, origin, named, at, redacted })
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Tells it from all other notes of this process.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn value(&self) -> &[u8] {
        self.value.bytes()
    }

    /// Takes note of where a command names it, if all that is known is that a rule has found it in some text. The first place counts.
    pub(super) fn learn_origin(&self, origin: LearnedOrigin) {
        let _first = self.named.set(origin);
    }

    fn origin(&self) -> &LearnedOrigin {
        match &self.origin {
            LearnedOrigin::Output { .. } => self.named.get().unwrap_or(&self.origin),
            known => known,
        }
    }

    /// A mark was made for it.
    pub(super) fn count(&self) {
        self.redacted.fetch_add(1, Ordering::Relaxed);
    }

    /// What a person is told of it. `session` is where it was learned, `mark` what stands in its place; `redact` takes secrets out of text.
    pub(super) fn told(&self, session: &str, mark: &str, mut redact: impl FnMut(&str) -> Redacted) -> LearnedValue {
        LearnedValue {
            number: self.number,
            session: redact(session),
            from: self.origin().kind(),
            name: redact(self.origin().name()),
            program: redact(self.origin().program()),
            at: self.at,
            length: self.value().len(),
            shown: Redacted(ends(self.value())),
            mark: redact(mark),
            redacted: self.redacted.load(Ordering::Relaxed),
        }
    }
}

/// A value that was learned, as a person is told of it: never the value itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LearnedValue {
    /// Tells it from all others of this process.
    pub number: u64,
    /// The session that learned it; empty for what was in none.
    pub session: Redacted,
    /// From what.
    pub from: LearnedFrom,
    /// The variable, the option or the rule.
    pub name: Redacted,
    /// The program whose argument it was; empty for what was none.
    pub program: Redacted,
    /// When.
    pub at: Timestamp,
    /// Its length in bytes.
    pub length: usize,
    /// Its first two bytes and, if it is long, its last two; empty for a short one.
    pub shown: Redacted,
    /// What stands in its place.
    pub mark: Redacted,
    /// How many marks were made because it was known.
    pub redacted: u64,
}

/// As much of a value as tells it from others and helps nobody to guess it.
fn ends(value: &[u8]) -> String {
    let is_plain = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_graphic);
    let text = |end: Option<&[u8; END]>| {
        let bytes = end.map(<[u8; END]>::as_slice).filter(|bytes| is_plain(bytes)).unwrap_or_default();
        String::from_utf8_lossy(bytes).into_owned()
    };
    let (first, last) = (|| text(value.first_chunk()), || text(value.last_chunk()));
    match value.len() {
        ..SHOWS_ITS_START => String::new(),
        SHOWS_ITS_START..SHOWS_ITS_END => format!("{}…", first()),
        SHOWS_ITS_END.. => format!("{}…{}", first(), last()),
    }
}

/// Values that a person said are no secrets. All redactors of one server share them, so that one that was dropped is not learned again.
#[derive(Debug, Default)]
pub(super) struct Dropped(RwLock<HashSet<Secret>>);

impl Dropped {
    pub(super) fn add(&self, value: &[u8]) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(Secret::from(value));
    }

    pub(super) fn holds(&self, value: &[u8]) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_short_value_nothing_is_shown() {
        for (value, shown) in [
            ("", ""),
            ("hunter2!x", ""),
            ("elevenbytes", ""),
            ("twelve-bytes", "tw…"),
            ("fifteen-bytes-x", "fi…"),
            ("sixteen-bytes-xy", "si…xy"),
            ("\u{1b}[31m-and-more-of-it", "…it"),
            ("ünterwegs-im-süden-é", "…"),
        ] {
            assert_eq!(ends(value.as_bytes()), shown, "{value}");
        }
    }

    #[test]
    fn a_note_tells_where_it_was_learned_and_not_what() {
        let origin = LearnedOrigin::Argument { option: "--password".to_owned(), program: "mysql".to_owned() };
        let note = LearnedNote::new("command-argument", b"correct-horse-9-battery", origin.clone());
        note.count();
        let told = note.told("s-1", "[redacted:x]", |text| Redacted(text.to_owned()));
        assert_eq!((told.length, told.redacted, told.from), (23, 1, LearnedFrom::Argument));
        assert!(!format!("{note:?} {told:?}").contains("horse"));
        assert_ne!(LearnedNote::new("other", b"other", origin).number(), note.number());
    }
}
