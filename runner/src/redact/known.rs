//! Values that are secret because the operator says so, such as those of `*_TOKEN` variables; decides which of them can
//! be searched for without tearing holes into ordinary text.

use std::fmt;
use std::hint::black_box;

/// Values longer than this are searched for in overlapping pieces, so that the stream's window stays bounded.
const PIECE: usize = 1024;
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
    pub(super) fn id(&self) -> String {
        let id: String = self.name.chars().take(NAME).map(|c| if is_mark_char(c) { c } else { '_' }).collect();
        if id.is_empty() { String::from("known-value") } else { id }
    }

    /// Why the value is not searched for, if it is not.
    pub(super) fn unfit(&self) -> Option<UnfitValue> {
        let text = self.value.to_ascii_lowercase();
        if self.value.len() < MIXED_ENOUGH || self.value.len() < LONG_ENOUGH && kinds(&self.value) < 3 {
            Some(UnfitValue::Short)
        } else if COMMON.iter().any(|word| word.as_bytes() == text) || uniform(&self.value) {
            Some(UnfitValue::Common)
        } else {
            None
        }
    }

    /// The value in pieces of bounded length; together they cover every byte of it.
    pub(super) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let last = self.value.len().saturating_sub(PIECE);
        let starts = (0..last).step_by(PIECE).chain([last]);
        starts.filter_map(|start| self.value.get(start..self.value.len().min(start + PIECE)))
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

/// Whether a character can stand in the name inside a mark.
pub(super) fn is_mark_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
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
        for length in [8, 1023, 1024, 1025, 2048, 5000] {
            let value: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
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
