//! Finds where a known value may stand, at the speed of the stream and nearly regardless of how many there are.
//!
//! Each coat of a value is entered under what its first bytes can be. Six bytes at every place of the text are hashed
//! and asked of a filter in which two bits stand for each entry; only where both are set is the table looked at. The
//! first bytes may be divided by a line break, so places before line breaks are asked a second time, without it.

use std::collections::HashMap;
use std::ops::Range;

use super::coats::{Coat, KEY, Wardrobe, coats};
use super::compare::{Found, MARGIN, REACH, after_break, compare};

/// Bits of filter for each entry.
const BITS_PER_KEY: usize = 24;
const MIN_WORDS: usize = 256;
/// A multiplier with well-mixed bits (2^64 divided by the golden ratio).
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
const KEY_MASK: u64 = (1 << (KEY * 8)) - 1;
const NONE: u32 = u32::MAX;
/// What can stand at the end of a line that goes on in the next.
const CONTINUED: &[u8] = b" \t\"'\\+=";

/// Values to look for, by number.
#[derive(Clone, Default)]
pub(super) struct Index {
    filter: Vec<u64>,
    shift: u32,
    heads: HashMap<u64, u32>,
    entries: Vec<Entry>,
    coats: Vec<(u32, Coat)>,
}

#[derive(Clone, Copy)]
struct Entry {
    coat: u32,
    next: u32,
}

impl Index {
    /// Whether there is anything to look for.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Enters a value, or a piece of one. Under one key there may be at most `crowd` entries; beyond that a coat is left
    /// out, so that values that an adversary has chosen cannot slow the search down.
    pub(super) fn insert(&mut self, number: u32, value: &[u8], crowd: usize, wardrobe: Wardrobe) {
        for coat in coats(value, wardrobe) {
            let index = count(self.coats.len());
            for key in &coat.keys {
                let key = fold(*key);
                if self.chain(key).take(crowd).count() < crowd {
                    let next = self.heads.insert(key, count(self.entries.len())).unwrap_or(NONE);
                    self.entries.push(Entry { coat: index, next });
                    self.add_to_filter(key);
                }
            }
            self.coats.push((number, coat));
        }
    }

    /// Calls `found` with the range and the number of every value that starts in `places`.
    pub(super) fn search(&self, text: &[u8], places: Range<usize>, mut found: impl FnMut(Range<usize>, u32)) {
        self.candidates(text, places, |at, coat, number| {
            if let Found::Until(end) = compare(text, at, coat) {
                found(at..end, number);
            }
        });
    }

    /// The first place in `places` at which a value may have started that the text does not show to its end.
    pub(super) fn open_from(&self, text: &[u8], places: Range<usize>) -> Option<usize> {
        let tail = places.start.max(text.len().saturating_sub(REACH))..places.end;
        let mut first = None;
        self.candidates(text, tail, |at, coat, _| {
            if first.is_none_or(|first| at < first) && compare(text, at, coat) == Found::Open {
                first = Some(at);
            }
        });
        first
    }

    fn candidates(&self, text: &[u8], places: Range<usize>, mut candidate: impl FnMut(usize, &Coat, u32)) {
        if self.is_empty() {
            return;
        }
        let mut ask = |at: usize, key: u64| {
            for coat in self.chain(key) {
                if let Some((number, coat)) = self.coats.get(coat as usize) {
                    candidate(at, coat, *number);
                }
            }
        };
        let end = places.end.min(text.len());
        let part = text.get(places.start..text.len().min(end + 7)).unwrap_or_default();
        let mut from = 0;
        while let Some((offset, key)) = next_hit(&self.filter, self.shift, part.get(from..).unwrap_or_default()) {
            ask(places.start + from + offset, key);
            from += offset + 1;
        }
        // The text's last places have fewer than eight bytes after them.
        for at in (text.len().saturating_sub(7)).max(places.start)..end {
            if let Some(key) = text.get(at..).and_then(|rest| rest.first_chunk()) {
                ask(at, fold(*key));
            }
        }
        let breaks = text.get(places.start..text.len().min(end + KEY)).unwrap_or_default();
        for line_break in memchr::memchr_iter(b'\n', breaks) {
            self.divided(text, places.start + line_break, &places, &mut ask);
        }
    }

    /// The keys that the line break at `at` divides.
    fn divided(&self, text: &[u8], at: usize, places: &Range<usize>, ask: &mut impl FnMut(usize, u64)) {
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
                let joined = tail.iter().chain(head).rev().fold(0_u128, |joined, &byte| joined << 8 | u128::from(byte));
                for kept in 1..KEY {
                    let window = joined >> ((KEY - 1 - kept) * 8) & u128::from(KEY_MASK);
                    let key = u64::try_from(window).unwrap_or(0);
                    if self.may_hold(key) && places.contains(&(at - kept)) {
                        ask(at - kept, key);
                    }
                }
            }
            _ => self.divided_otherwise(text, at, places, ask),
        }
    }

    /// The same where lines are short, or end in what continues them.
    fn divided_otherwise(&self, text: &[u8], at: usize, places: &Range<usize>, ask: &mut impl FnMut(usize, u64)) {
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
                if places.contains(&start) && self.may_hold(key) {
                    ask(start, key);
                }
            }
            if trim == 0 {
                break;
            }
        }
    }

    fn chain(&self, key: u64) -> impl Iterator<Item = u32> {
        let entry = |index: u32| self.entries.get(index as usize).copied();
        let first = self.heads.get(&key).and_then(|&head| entry(head));
        std::iter::successors(first, move |last| entry(last.next)).map(|entry| entry.coat)
    }

    #[inline]
    fn may_hold(&self, key: u64) -> bool {
        let (word, bits) = place(key, self.shift);
        self.filter.get(word).is_some_and(|word| word & bits == bits)
    }

    fn add_to_filter(&mut self, key: u64) {
        let wanted = (self.entries.len() * BITS_PER_KEY / 64).next_power_of_two().max(MIN_WORDS);
        if wanted > self.filter.len() {
            let words = wanted * 2; // so that it is seldom made anew
            self.filter = vec![0; words];
            self.shift = 64 - words.trailing_zeros();
            for key in self.heads.keys().copied().collect::<Vec<_>>() {
                self.set(key);
            }
        }
        self.set(key);
    }

    fn set(&mut self, key: u64) {
        let (word, bits) = place(key, self.shift);
        if let Some(word) = self.filter.get_mut(word) {
            *word |= bits;
        }
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        for (_, coat) in &mut self.coats {
            coat.pattern.fill(0);
            coat.keys.fill([0; KEY]);
        }
        std::hint::black_box(&self.coats); // see `KnownValue`
    }
}

/// The first place whose key the filter may hold. By itself, so that the loop keeps all it needs in registers.
#[inline(never)]
fn next_hit(filter: &[u64], shift: u32, text: &[u8]) -> Option<(usize, u64)> {
    let key_of = |bytes: &[u8]| bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)) & KEY_MASK;
    let offset = text.windows(8).position(|bytes| {
        let (word, bits) = place(key_of(bytes), shift);
        filter.get(word).is_some_and(|word| word & bits == bits)
    })?;
    Some((offset, text.get(offset..).map_or(0, key_of)))
}

/// The word of the filter, and the bits in it, that stand for a key.
#[inline]
fn place(key: u64, shift: u32) -> (usize, u64) {
    let mixed = key.wrapping_mul(MIX);
    let word = usize::try_from(mixed.wrapping_shr(shift)).unwrap_or(0);
    let bit = |from: u32| 1_u64.wrapping_shl(u32::try_from(mixed >> from & 63).unwrap_or(0));
    (word, bit(20) | bit(26))
}

fn fold(key: [u8; KEY]) -> u64 {
    key.iter().rev().fold(0, |folded, &byte| folded << 8 | u64::from(byte))
}

fn count(length: usize) -> u32 {
    length.try_into().unwrap_or(NONE)
}
