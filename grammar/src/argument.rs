//! A word as a program gets it.

use crate::ast::Count;
use crate::word::{Value, Word};

/// A word as a program gets it, and how many words bash may make of it.
#[derive(Clone, Debug)]
pub(crate) struct Arg {
    pub(crate) word: Word,
    pub(crate) count: Count,
}

/// Whether a word is a pattern of names that end like a file's (`*.txt`). What it matches is no option without a value: no option
/// has a point in its name.
pub(crate) fn is_file_pattern(word: &Word) -> bool {
    let ending = word.raw.rsplit(['*', '?', ']']).next().unwrap_or_default();
    matches!(word.value, Value::Pattern { .. }) && ending.len() < word.raw.len() && ending.contains('.')
}
