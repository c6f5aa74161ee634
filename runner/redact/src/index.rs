//! Finds where a known value may stand, at the speed of the stream and nearly regardless of how many there are.
//!
//! Each encoding of a value is entered under what its first bytes can be. Whether something may begin at a place, the filter
//! says, which is asked for anchors and values alike; only where it says so is the table looked at. The first bytes may be
//! divided by a line break, so places before line breaks are asked by themselves, without it.

use std::collections::HashMap;
use std::ops::Range;

use zeroize::Zeroize as _;

use super::compare::{MARGIN, after_break};
use super::encodings::{Encoding, EncodingSet, KEY, encodings};
use super::filter::Filter;

const KEY_MASK: u64 = (1 << (KEY * 8)) - 1;
const NONE: u32 = u32::MAX;
/// What can stand at the end of a line that goes on in the next.
const CONTINUED: &[u8] = b" \t\"'\\+=";

/// Values to look for, by number.
#[derive(Clone)]
pub(super) struct Index {
    crowd: usize,
    heads: HashMap<u64, u32>,
    entries: Vec<IndexEntry>,
    encodings: Vec<(u32, Encoding)>,
}

#[derive(Clone, Copy)]
struct IndexEntry {
    encoding: u32,
    next: u32,
}

impl Index {
    /// An empty one. Of values that begin alike, no more than `crowd` are looked for, the last ones, so that values that an
    /// adversary has chosen cannot slow the search down.
    pub(super) fn new(crowd: usize) -> Self {
        Self { crowd, heads: HashMap::new(), entries: Vec::new(), encodings: Vec::new() }
    }

    /// Enters a value, or a piece of one, and what its encodings begin with into `filter`.
    pub(super) fn insert(&mut self, number: u32, value: &[u8], set: EncodingSet, filter: &mut Filter) {
        for encoding in encodings(value, set) {
            let index = count(self.encodings.len());
            for key in &encoding.keys {
                let key = fold(*key);
                let next = self.heads.insert(key, count(self.entries.len())).unwrap_or(NONE);
                self.entries.push(IndexEntry { encoding: index, next });
                filter.enter_key(key);
            }
            self.encodings.push((number, encoding));
        }
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.heads.len()
    }

    /// Enters what all encodings begin with.
    pub(super) fn enter_into(&self, filter: &mut Filter) {
        self.heads.keys().for_each(|key| filter.enter_key(*key));
    }

    /// The encodings that may begin so, and the numbers of their values.
    pub(super) fn beginning(&self, key: u64) -> impl Iterator<Item = &(u32, Encoding)> {
        let entry = |index: u32| self.entries.get(index as usize).copied();
        let first = self.heads.get(&key).and_then(|&head| entry(head));
        let chain = std::iter::successors(first, move |last| entry(last.next));
        chain.take(self.crowd).filter_map(|entry| self.encodings.get(entry.encoding as usize))
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        for (_, encoding) in &mut self.encodings {
            encoding.pattern.zeroize();
            encoding.keys.zeroize();
        }
    }
}

/// Calls `ask` with every place among `places` at which the filter says that a value may begin, and with its first bytes.
/// `likely` are those of them at which it has said so already, for text that no line break divides.
pub(super) fn candidates(
    filter: &Filter,
    text: &[u8],
    places: Range<usize>,
    likely: &[usize],
    mut ask: impl FnMut(usize, u64),
) {
    for &at in likely {
        if let Some(key) = key_at(text, at)
            && filter.may_hold(key)
        {
            ask(at, key);
        }
    }
    let breaks = text.get(places.start..text.len().min(places.end + KEY)).unwrap_or_default();
    for line_break in memchr::memchr_iter(b'\n', breaks) {
        divided(filter, text, places.start + line_break, &places, &mut ask);
    }
}

/// What a value that begins here would be looked up by, if the text is long enough.
#[inline]
pub(super) fn key_at(text: &[u8], at: usize) -> Option<u64> {
    text.get(at..).and_then(<[u8]>::first_chunk).map(|key| fold(*key))
}

/// The keys that the line break at `at` divides.
fn divided(filter: &Filter, text: &[u8], at: usize, places: &Range<usize>, ask: &mut impl FnMut(usize, u64)) {
    let margin = |byte: &u8| b" \t|>+#*\"'-".contains(byte);
    let next = at + 1 + text.iter().skip(at + 1).take(MARGIN).take_while(|byte| margin(byte)).count();
    let before = at.checked_sub(1).and_then(|last| text.get(last));
    let head: Option<&[u8; KEY - 1]> = text.get(next..).and_then(<[u8]>::first_chunk);
    let tail: Option<&[u8; KEY - 1]> = text.get(..at).and_then(<[u8]>::last_chunk);
    let plain = |part: &[u8; KEY - 1]| !part.contains(&b'\n');
    match (tail, head) {
        // Most line breaks stand between two words.
        (Some(tail), Some(head))
            if plain(tail) && plain(head) && !before.is_some_and(|byte| CONTINUED.contains(byte)) =>
        {
            let (tail, head) = (short(*tail), short(*head));
            for kept in 1..KEY {
                let key = (tail >> ((KEY - 1 - kept) * 8) | head << (kept * 8)) & KEY_MASK;
                if filter.may_hold(key) && places.contains(&(at - kept)) {
                    ask(at - kept, key);
                }
            }
        }
        _ => divided_otherwise(filter, text, at, places, ask),
    }
}

/// The same where lines are short, or end in what continues them.
fn divided_otherwise(filter: &Filter, text: &[u8], at: usize, places: &Range<usize>, ask: &mut impl FnMut(usize, u64)) {
    let mut head = [0; KEY - 1];
    let (mut length, mut here) = (0, after_break(text, at));
    while let (Some(place), Some(slot)) = (here, head.get_mut(length)) {
        match text.get(place) {
            None => break,
            Some(b'\n') => here = after_break(text, place),
            Some(byte) => {
                *slot = *byte;
                length += 1;
                here = Some(place + 1);
            }
        }
    }
    let before = text.get(at.saturating_sub(KEY + 4)..at).unwrap_or_default();
    let trim = before.iter().rev().take(4).take_while(|byte| CONTINUED.contains(byte)).count();
    for end in [at, at - trim] {
        for kept in 1..KEY {
            let Some(start) = end.checked_sub(kept) else { break };
            let tail = text.get(start..end).unwrap_or_default();
            if tail.contains(&b'\n') || KEY - kept > length {
                continue;
            }
            let mut key = [0; KEY];
            for (slot, byte) in key.iter_mut().zip(tail.iter().chain(&head)) {
                *slot = *byte;
            }
            let key = fold(key);
            if places.contains(&start) && filter.may_hold(key) {
                ask(start, key);
            }
        }
        if trim == 0 {
            break;
        }
    }
}

#[inline]
fn short([a, b, c, d, e]: [u8; KEY - 1]) -> u64 {
    u64::from_le_bytes([a, b, c, d, e, 0, 0, 0])
}

#[inline]
fn fold([a, b, c, d, e, f]: [u8; KEY]) -> u64 {
    u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
}

fn count(length: usize) -> u32 {
    length.try_into().unwrap_or(NONE)
}
