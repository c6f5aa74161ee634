//! Values that are secret whatever they look like: those that the operator names, such as of `*_TOKEN` variables, and those
//! that were met once in a secret's place. Decides which of them can be searched for without tearing holes into ordinary
//! text.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::anchors::Anchors;
use super::compare::{Comparison, REACH, compare};
use super::encodings::EncodingSet;
use super::filter::Filter;
use super::index::{Index, candidates, key_at};
use super::learned_value::{Dropped, LearnedNote, LearnedOrigin};
use super::mark::{self, MARK, is_mark_char};
use super::secret::Secret;
use super::word;

/// Values longer than this are searched for in overlapping pieces, so that the stream's window stays bounded.
const PIECE: usize = 256;
/// How many bytes of a piece the next one has, too.
const OVERLAP: usize = 16;
/// So many values that were learned from output are remembered at least, and twice as many at most.
pub(super) const MOST_LEARNED: usize = 1000;
/// Longer values are not learned: the rule that knows them will meet them again.
const LONGEST_LEARNED: usize = 512;
/// Of values that were learned and begin alike, so many are looked for.
const CROWD: usize = 16;
/// The shortest value that is searched for whatever it is made of.
const LONG_ENOUGH: usize = 8;
/// A value of so many bytes is learned if its bytes differ enough; a shorter one has to be of mixed kinds.
const TELLING: usize = 12;
/// The shortest value that is searched for if it mixes three kinds of characters.
const MIXED_ENOUGH: usize = 6;
/// The longest name that a mark shows.
const NAME: usize = 48;

/// Words that variables hold by convention; blanking them everywhere would hide more than it protects.
const COMMON: [&str; 34] = [
    "administrator",
    "anonymous",
    "changeit",
    "changeme",
    "community",
    "container",
    "database",
    "default-value",
    "developer",
    "development",
    "disabled",
    "enterprise",
    "environment",
    "inherit-all",
    "integration",
    "localhost",
    "localhost:8080",
    "password",
    "password1",
    "passthrough",
    "placeholder",
    "postgres",
    "postgresql",
    "preproduction",
    "production",
    "required",
    "root-user",
    "sandboxed",
    "secret-key",
    "superuser",
    "undefined",
    "username",
    "workspace",
    "your-token-here",
];

/// Bytes of a value that say something about it.
const PART: usize = 4;

/// One value to keep out of all output, and the name that its mark shows instead.
///
/// The bytes are overwritten when the value is dropped. That is a best effort: copies that the system has made are not
/// reached.
#[derive(Clone, PartialEq, Eq)]
pub struct KnownValue {
    name: String,
    value: Secret,
    /// Where in a command it stood; none for one that settings name.
    origin: Option<LearnedOrigin>,
}

impl KnownValue {
    /// A value under the name that marks and counts show, such as the variable it came from.
    pub fn new(name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), value: Secret::from(value.into()), origin: None }
    }

    /// The same value, which stood there in a command.
    pub(super) fn standing_at(self, origin: LearnedOrigin) -> Self {
        Self { origin: Some(origin), ..self }
    }

    /// What marks call the value: its name, with every byte that a mark could not hold replaced by `_`.
    fn id(&self) -> String {
        let id: String = self.name.chars().take(NAME).map(|c| if is_mark_char(c) { c } else { '_' }).collect();
        if id.is_empty() { String::from("known-value") } else { id }
    }

    /// Why the value is not searched for, if it is not.
    pub(super) fn unfit(&self) -> Option<UnfitValue> {
        let value = self.trimmed();
        let text = value.to_ascii_lowercase();
        if value.len() < MIXED_ENOUGH || value.len() < LONG_ENOUGH && kinds(value) < 3 {
            Some(UnfitValue::Short)
        } else if COMMON.iter().any(|word| word.as_bytes() == text) || uniform(value) {
            Some(UnfitValue::Common)
        } else {
            None
        }
    }

    /// Whether a person would call it a secret, and not a placeholder or a piece of a program.
    pub(super) fn is_meant(&self) -> bool {
        !word::is_placeholder(self.trimmed()) && !word::is_code(self.trimmed())
    }

    /// Whether it stands for another value.
    pub(super) fn is_placeholder(&self) -> bool {
        word::is_placeholder(self.trimmed())
    }

    /// Whether a text holds it, or is a part of it that is long enough to help anybody.
    pub(super) fn touches(&self, text: &[u8]) -> bool {
        let value = self.trimmed();
        let holds = |long: &[u8], short: &[u8]| !short.is_empty() && memchr::memmem::find(long, short).is_some();
        holds(text, value) || (text.len() >= PART && holds(value, text))
    }

    /// Has it learned like a value that was met in output.
    pub(super) fn teach(&self, known: &mut KnownValues) {
        let origin = || self.origin.clone().unwrap_or_else(|| LearnedOrigin::Script { rule: self.id() });
        known.learn(&self.id(), self.trimmed(), || LearnedNote::new(&self.id(), self.trimmed(), origin()));
        // The text of the command has been shown and recorded before.
        let mut notes = known.old.notes().chain(known.young.notes());
        if let Some(note) = notes.find(|note| note.value() == self.trimmed()) {
            note.learn_origin(origin());
        }
    }

    /// Whether a person said that it is no secret.
    pub(super) fn is_dropped(&self, known: &KnownValues) -> bool {
        known.dropped.holds(self.trimmed())
    }

    /// The value without the line break that a file ends with.
    fn trimmed(&self) -> &[u8] {
        self.value.bytes().trim_ascii_end()
    }

    /// The value in pieces of bounded length; together they cover every byte of it.
    fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let value = self.trimmed();
        let last = value.len().saturating_sub(PIECE);
        let starts = (0..last).step_by(PIECE - OVERLAP).chain([last]);
        starts.filter_map(|start| value.get(start..value.len().min(start + PIECE)))
    }
}

impl fmt::Debug for KnownValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownValue").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A value that was offered but is not searched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedValue {
    /// The name under which it was offered.
    pub name: String,
    /// Why it is not searched for.
    pub why: UnfitValue,
}

/// Why a known value is not searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnfitValue {
    /// It would be met by chance.
    #[error("shorter than 8 bytes, or than 6 with three kinds of characters")]
    Short,
    /// It is an ordinary word or one byte repeated.
    #[error("an ordinary word")]
    Common,
    /// It is part of the marks themselves.
    #[error("part of the redaction marks")]
    InMark,
}

/// All values that a stream looks for, and what finds the places at which they, or an anchor, may stand.
///
/// What was learned is kept in two generations. When the younger one is full, it becomes the older one, and what that
/// one held is forgotten; a value that is met again counts as young. So the last [`MOST_LEARNED`] are always known, whatever
/// somebody makes up to have them forgotten, and memory is bounded.
#[derive(Clone)]
pub(super) struct KnownValues {
    anchors: Arc<Anchors>,
    /// The first bytes of the anchors and of all encodings.
    filter: Filter,
    /// What the operator or the command names, in the order in which it was named.
    given: Vec<Arc<Values>>,
    old: Arc<Values>,
    young: Arc<Values>,
    /// What is not learned any more, and not looked for although it was.
    dropped: Arc<Dropped>,
}

/// What marks call a value.
#[derive(Clone)]
enum Name {
    /// One that was named.
    Given(Arc<str>),
    /// One that was learned, of which more is told.
    Learned(Arc<LearnedNote>),
}

impl Name {
    fn as_str(&self) -> &str {
        match self {
            Self::Given(name) => name,
            Self::Learned(note) => note.name(),
        }
    }

    fn note(&self) -> Option<&Arc<LearnedNote>> {
        match self {
            Self::Given(_) => None,
            Self::Learned(note) => Some(note),
        }
    }
}

/// Values that came from one place, with the encodings that they are searched for in.
#[derive(Clone)]
struct Values {
    /// The number of the first name: no other values have one of the numbers.
    first: usize,
    names: Vec<Name>,
    index: Index,
    /// Whatever was entered, and in how many encodings, so that nothing is entered twice.
    seen: HashMap<Secret, EncodingSet>,
    /// How many values there are; a long one is entered in several pieces.
    count: usize,
}

/// What learning a value has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Learned {
    Nothing,
    /// There is one more.
    Value,
    /// There is one more, and older ones are forgotten.
    InPlaceOfOthers,
}

/// The next number that no value has.
static NUMBERS: AtomicUsize = AtomicUsize::new(0);

impl KnownValues {
    /// No values, for texts that are searched for these anchors as well.
    pub(super) fn new(anchors: Arc<Anchors>) -> Self {
        let mut filter = Filter::new(anchors.len());
        anchors.enter_into(&mut filter);
        let none = Arc::new(Values::new(0, CROWD));
        Self { anchors, filter, given: Vec::new(), old: Arc::clone(&none), young: none, dropped: Arc::default() }
    }

    /// The same values for a server of its own: what is dropped there is dropped there alone.
    pub(super) fn apart(&self) -> Self {
        Self { dropped: Arc::default(), ..self.clone() }
    }

    /// Enters the values that can be searched for and says why the others cannot. `rules` are the names of marks that
    /// must not be torn apart.
    pub(super) fn admit<'a>(
        &mut self,
        rules: impl Iterator<Item = &'a str>,
        offered: &[KnownValue],
    ) -> Vec<RefusedValue> {
        let ids: Vec<String> = offered.iter().map(KnownValue::id).collect();
        let mut marks: Vec<String> = rules.map(|id| mark::plain(id).to_ascii_lowercase()).collect();
        marks.extend(ids.iter().map(|id| mark::plain(id).to_ascii_lowercase()));
        let (mut refused, mut values) = (Vec::new(), Values::new(offered.len(), usize::MAX));
        for (offer, id) in offered.iter().zip(ids) {
            let in_mark = || offer.pieces().any(|piece| is_in_mark(piece, &marks)).then_some(UnfitValue::InMark);
            match offer.unfit().or_else(in_mark) {
                Some(why) => refused.push(RefusedValue { name: id, why }),
                None => values.enter(Name::Given(id.into()), offer, EncodingSet::All, &mut self.filter),
            }
        }
        self.given.push(Arc::new(values));
        self.fit_filter(false);
        refused
    }

    /// Takes note of a value that stood in a secret's place, if it can be told from chance and no person has dropped it.
    pub(super) fn learn(&mut self, id: &str, value: &[u8], note: impl FnOnce() -> Arc<LearnedNote>) -> Learned {
        let offer = KnownValue::new(id, value);
        let telling = match value.len() {
            0..LONG_ENOUGH => false,
            LONG_ENOUGH..TELLING => word::is_mixed(value),
            TELLING..=LONGEST_LEARNED => !mark::is_guessable(value) && !word::is_plain_word(value),
            _ => false,
        };
        let fit = telling && offer.unfit().is_none() && offer.is_meant();
        let lasting = || self.given.iter().chain([&self.young]).any(|values| values.holds(value));
        if !fit || lasting() || is_in_mark(value, &[]) || self.dropped.holds(value) {
            return Learned::Nothing;
        }
        let was_known = self.old.holds(value);
        let earlier = was_known.then(|| self.old.notes().find(|note| note.value() == value).map(Arc::clone)).flatten();
        let note = earlier.unwrap_or_else(note);
        let is_full = self.young.count >= MOST_LEARNED;
        if is_full {
            self.old = std::mem::replace(&mut self.young, Arc::new(Values::new(MOST_LEARNED, CROWD)));
        } else if self.young.count == 0 {
            self.young = Arc::new(Values::new(MOST_LEARNED, CROWD));
        }
        Arc::make_mut(&mut self.young).enter(Name::Learned(note), &offer, EncodingSet::Everyday, &mut self.filter);
        self.fit_filter(is_full);
        match (is_full, was_known) {
            (true, _) => Learned::InPlaceOfOthers,
            (false, true) => Learned::Nothing,
            (false, false) => Learned::Value,
        }
    }

    /// Looks for what another one was given instead of what it was given itself, and keeps what it has learned.
    pub(super) fn renew(&mut self, other: &Self) {
        self.given = other.given.clone();
        self.fit_filter(true);
    }

    /// The same, sharing what is dropped with another one.
    pub(super) fn dropping_with(self, other: &Self) -> Self {
        Self { dropped: Arc::clone(&other.dropped), ..self }
    }

    /// What marks call a value.
    pub(super) fn id(&self, number: usize) -> Option<&str> {
        self.named(number).map(Name::as_str)
    }

    /// What is told of a value, if it was learned.
    pub(super) fn note(&self, number: usize) -> Option<&Arc<LearnedNote>> {
        self.named(number)?.note()
    }

    /// What is told of all that was learned, of the value that was learned last at the end.
    pub(super) fn notes(&self) -> impl Iterator<Item = &Arc<LearnedNote>> {
        let values = self.old.notes().chain(self.young.notes());
        values.filter(|note| !self.dropped.holds(note.value()))
    }

    /// From now on this value is neither looked for nor learned, in nothing that shares what is dropped.
    pub(super) fn drop_learned(&self, note: &LearnedNote) {
        self.dropped.add(note.value());
    }

    /// Whether a value was learned and then dropped.
    pub(super) fn is_dropped(&self, number: usize) -> bool {
        self.note(number).is_some_and(|note| self.dropped.holds(note.value()))
    }

    fn named(&self, number: usize) -> Option<&Name> {
        let names = self.all().map(|values| (values.first, &values.names));
        let mut own = names.filter_map(|(first, names)| names.get(number.checked_sub(first)?));
        own.next()
    }

    /// Whether marks call some value so.
    pub(super) fn has_id(&self, id: &str) -> bool {
        self.all().any(|values| values.names.iter().any(|name| name.as_str() == id))
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.all().map(|values| values.count).sum()
    }

    /// Whether there is nothing to look for.
    pub(super) fn is_empty(&self) -> bool {
        self.all().next().is_none()
    }

    /// What is asked first at every place of a text, for anchors and values alike.
    pub(super) fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Whether a value may begin at a place where the filter has said so.
    #[inline]
    pub(super) fn may_begin(&self, text: &[u8], place: usize) -> bool {
        key_at(text, place).is_some_and(|key| self.filter.may_hold(key))
    }

    /// Calls `found` with the range and the number of every value that starts in `places`. `likely` are those of them, in any
    /// order, at which the filter has said that something may begin.
    pub(super) fn search(
        &self,
        text: &[u8],
        places: Range<usize>,
        likely: &[usize],
        mut found: impl FnMut(Range<usize>, usize),
    ) {
        self.compare(text, places, likely, |at, number, outcome| {
            if let Comparison::Until(end) = outcome {
                found(at..end, number);
            }
        });
    }

    fn compare(
        &self,
        text: &[u8],
        places: Range<usize>,
        likely: &[usize],
        mut compared: impl FnMut(usize, usize, Comparison),
    ) {
        candidates(&self.filter, text, places, likely, |at, key| {
            for values in self.all() {
                for (number, encoding) in values.index.beginning(key) {
                    compared(at, values.first + *number as usize, compare(text, at, encoding));
                }
            }
        });
    }

    /// The first place from `from` on at which a value may have started that the text does not show to its end.
    pub(super) fn open_from(&self, text: &[u8], from: usize) -> Option<usize> {
        let places = from.max(text.len().saturating_sub(REACH))..text.len();
        let mut likely = Vec::new();
        self.filter.likely(text, places.clone(), |place| likely.push(place));
        let mut open = None;
        self.compare(text, places, &likely, |at, _, outcome| {
            if outcome == Comparison::Open && open.is_none_or(|open| at < open) {
                open = Some(at);
            }
        });
        let begun = (1..super::encodings::KEY).rev().filter_map(|length| {
            let start = text.len().checked_sub(length).filter(|&start| start >= from)?;
            let tail = text.get(start..)?;
            let begins = |values: &Arc<Values>| values.seen.keys().any(|value| value.bytes().starts_with(tail));
            self.all().any(begins).then_some(start)
        });
        open.into_iter().chain(begun).min()
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Values>> {
        self.given.iter().chain([&self.old, &self.young]).filter(|values| values.count > 0)
    }

    /// Makes the filter anew if it holds what is forgotten, or was meant for fewer entries.
    fn fit_filter(&mut self, holds_others: bool) {
        let entries = self.anchors.len() + self.all().map(|values| values.index.len()).sum::<usize>();
        if holds_others || !self.filter.suits(entries) {
            let mut filter = Filter::new(entries);
            self.anchors.enter_into(&mut filter);
            self.all().for_each(|values| values.index.enter_into(&mut filter));
            self.filter = filter;
        }
    }
}

impl Values {
    /// None yet, and `most` at most. Of those that begin alike, `crowd` are looked for.
    fn new(most: usize, crowd: usize) -> Self {
        let first = NUMBERS.fetch_add(most, Ordering::Relaxed);
        Self { first, names: Vec::new(), index: Index::new(crowd), seen: HashMap::new(), count: 0 }
    }

    /// Whether the value was entered, all of it.
    fn holds(&self, value: &[u8]) -> bool {
        self.seen.contains_key(value)
    }

    fn notes(&self) -> impl Iterator<Item = &Arc<LearnedNote>> {
        self.names.iter().filter_map(Name::note)
    }

    fn enter(&mut self, name: Name, offer: &KnownValue, set: EncodingSet, filter: &mut Filter) {
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(name);
        for piece in offer.pieces() {
            if self.seen.get(piece).is_none_or(|entered| *entered < set) {
                self.seen.insert(Secret::from(piece), set);
                self.index.insert(number, piece, set, filter);
            }
        }
        self.seen.entry(Secret::from(offer.trimmed())).or_insert(set);
        self.count += 1;
    }
}

/// Redacting such a value would redact marks, each time anew.
fn is_in_mark(value: &[u8], marks: &[String]) -> bool {
    let value = String::from_utf8_lossy(value).to_ascii_lowercase();
    value.contains(MARK) || marks.iter().any(|mark| mark.contains(&value))
}

fn kinds(value: &[u8]) -> usize {
    let kinds: [fn(&u8) -> bool; 4] =
        [u8::is_ascii_lowercase, u8::is_ascii_uppercase, u8::is_ascii_digit, |byte| !byte.is_ascii_alphanumeric()];
    kinds.iter().filter(|kind| value.iter().any(*kind)).count()
}

fn uniform(value: &[u8]) -> bool {
    value.iter().all(|byte| value.first() == Some(byte))
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, clippy::expect_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn unfit_values() {
        for (value, why) in [
            ("short", Some(UnfitValue::Short)),
            ("onlylow", Some(UnfitValue::Short)),
            ("aB3$xy", None),
            ("Production", Some(UnfitValue::Common)),
            ("xxxxxxxxxxxx", Some(UnfitValue::Common)),
            ("correct horse battery", None),
        ] {
            assert_eq!(KnownValue::new("X", value).unfit(), why, "{value}");
        }
    }

    #[test]
    fn pieces_cover_a_long_value() {
        for length in [8, 255, 256, 257, 511, 512, 5000] {
            let value: Vec<u8> = (0..length).map(|at| b'!' + (at % 89) as u8).collect();
            let known = KnownValue::new("X", value.clone());
            assert!(known.pieces().all(|piece| piece.len() <= PIECE));
            let mut covered = 0;
            for piece in known.pieces() {
                let at = (0..=covered).rev().find(|&at| value[at..].starts_with(piece)).expect("a piece follows on");
                covered = at + piece.len();
            }
            assert_eq!(covered, length);
        }
    }

    #[test]
    fn neither_debug_nor_id_tells_the_value() {
        let known = KnownValue::new("A B[]", "sensitive-value");
        assert!(!format!("{known:?}").contains("sensitive"));
        assert_eq!(known.id(), "A_B__");
    }
}
