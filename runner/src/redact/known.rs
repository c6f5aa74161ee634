//! Values that are secret whatever they look like: those that the operator names, such as of `*_TOKEN` variables, and those
//! that were met once in a secret's place. Decides which of them can be searched for without tearing holes into ordinary
//! text.

use std::collections::HashMap;
use std::fmt;
use std::hint::black_box;
use std::ops::Range;

use super::coats::Wardrobe;
use super::index::Index;
use super::mark::{self, MARK, is_mark_char};

/// Values longer than this are searched for in overlapping pieces, so that the stream's window stays bounded.
const PIECE: usize = 256;
/// How many bytes of a piece the next one has, too.
const OVERLAP: usize = 16;
/// So many values are learned from output, and no more.
const MOST_LEARNED: usize = 1000;
/// Longer values are not learned: the rule that knows them will meet them again.
const LONGEST_LEARNED: usize = 512;
/// So many of the values that were learned may begin alike.
const CROWD: usize = 16;
/// The shortest value that is searched for whatever it is made of.
const LONG_ENOUGH: usize = 8;
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

/// One value to keep out of all output, and the name that its mark shows instead.
///
/// The bytes are overwritten when the value is dropped. That is a best effort: copies that the system or the automaton
/// of the first bytes made are not reached.
#[derive(Clone)]
pub struct KnownValue {
    name: String,
    value: Vec<u8>,
}

impl KnownValue {
    /// A value under the name that marks and counts show, such as the variable it came from.
    pub fn new(name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), value: value.into() }
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

    /// Has it learned like a value that was met in output.
    pub(super) fn teach(&self, known: &mut Known) {
        known.learn(&self.id(), self.trimmed());
    }

    /// The value without the line break that a file ends with.
    fn trimmed(&self) -> &[u8] {
        self.value.trim_ascii_end()
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

impl Drop for KnownValue {
    fn drop(&mut self) {
        self.value.fill(0);
        black_box(&self.value); // else the compiler may see that nobody reads the zeros
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

/// Values to look for, and what their marks are called.
#[derive(Clone, Default)]
pub(super) struct Known {
    ids: Vec<String>,
    index: Index,
    /// Whatever was entered, and in how many coats, so that nothing is entered twice.
    seen: HashMap<Vec<u8>, Wardrobe>,
    learned: usize,
}

impl Known {
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
        let mut refused = Vec::new();
        for (offer, id) in offered.iter().zip(ids) {
            let in_mark = || offer.pieces().any(|piece| is_in_mark(piece, &marks)).then_some(UnfitValue::InMark);
            match offer.unfit().or_else(in_mark) {
                Some(why) => refused.push(RefusedValue { name: id, why }),
                None => offer.pieces().for_each(|piece| self.enter(&id, piece, usize::MAX, Wardrobe::All)),
            }
        }
        refused
    }

    /// Takes note of a value that stood in a secret's place, if it can be told from chance. Whether it was new.
    pub(super) fn learn(&mut self, id: &str, value: &[u8]) -> bool {
        let offer = KnownValue::new(id, value);
        let telling = value.len() >= 12 || value.len() >= LONG_ENOUGH && kinds(value) >= 3;
        let fit = telling && value.len() <= LONGEST_LEARNED && self.learned < MOST_LEARNED && offer.unfit().is_none();
        if !fit || self.seen.contains_key(value) || mark::is_guessable(value) || is_in_mark(value, &[]) {
            return false;
        }
        self.learned += 1;
        offer.pieces().for_each(|piece| self.enter(id, piece, CROWD, Wardrobe::Everyday));
        self.seen.insert(value.to_vec(), Wardrobe::Everyday);
        true
    }

    /// What marks call a value.
    pub(super) fn id(&self, number: usize) -> Option<&str> {
        self.ids.get(number).map(String::as_str)
    }

    /// Whether marks call some value so.
    pub(super) fn has_id(&self, id: &str) -> bool {
        self.ids.iter().any(|known| known == id)
    }

    /// How many values and pieces of values there are.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is nothing to look for.
    pub(super) fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Calls `found` with the range and the number of every value that starts in `places`.
    pub(super) fn search(&self, text: &[u8], places: Range<usize>, mut found: impl FnMut(Range<usize>, usize)) {
        self.index.search(text, places, |range, number| found(range, number as usize));
    }

    /// The first place from `from` on at which a value may have started that the text does not show to its end.
    pub(super) fn open_from(&self, text: &[u8], from: usize) -> Option<usize> {
        let begun = (1..super::coats::KEY).rev().filter_map(|length| {
            let start = text.len().checked_sub(length).filter(|&start| start >= from)?;
            let tail = text.get(start..)?;
            self.seen.keys().any(|value| value.starts_with(tail)).then_some(start)
        });
        self.index.open_from(text, from..text.len()).into_iter().chain(begun).min()
    }

    fn enter(&mut self, id: &str, piece: &[u8], crowd: usize, wardrobe: Wardrobe) {
        let before = self.seen.get(piece).copied();
        if before.is_none_or(|worn| worn < wardrobe) {
            self.seen.insert(piece.to_vec(), wardrobe);
            let number = u32::try_from(self.ids.len()).unwrap_or(u32::MAX);
            self.ids.push(id.to_owned());
            self.index.insert(number, piece, crowd, wardrobe);
        }
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        for (mut value, _) in std::mem::take(&mut self.seen) {
            value.fill(0);
            black_box(&value); // as for `KnownValue`
        }
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
