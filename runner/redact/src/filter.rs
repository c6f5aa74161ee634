//! Finds the places of a text at which it is worth looking more closely, at the speed of the stream: decides nothing but
//! where an anchor or a known value cannot begin.
//!
//! Four bytes at every place, letter case left out, are asked of a table: the first three are hashed to a word of it, the
//! fourth is a bit of that word. So three bytes alone can be entered as well, by all bits of their word. No place depends
//! on the one before, as it would in an automaton, and 64 places are answered at once without a branch between them.
//!
//! Of known values six bytes are asked where the first four may stand, letter case and all, in a table of two bits each.

use std::ops::Range;

/// The words of the table, for some hundreds of known values, and for thousands.
const SMALL: usize = 1 << 13;
const LARGE: usize = 1 << 16;
/// A small table is good for so many entries.
const SMALL_ENOUGH: usize = 12_000;
/// An odd multiplier with well-mixed bits (2^32 divided by the golden ratio), moved so that the fourth byte drops out.
const MIX: u32 = 0x9e37_79b1 << 8;
/// The same with 64 bits.
const MIX_KEY: u64 = 0x9e37_79b9_7f4a_7c15;
/// How many bits of the table of keys there are for each entry at first, and at least.
const ROOMY: usize = 16;
const CROWDED: usize = 8;
/// The bit in which small and capital letters differ. Other bytes that differ in it alone count as alike, too.
const CASE: u8 = 0x20;
/// So many places are answered at once.
const PLACES: usize = 64;
/// Bytes that are read for the answer.
const READ: usize = PLACES + 8;

/// The first bytes of everything that is looked for.
#[derive(Clone)]
pub(super) struct Filter {
    heads: Heads,
    /// Two bits for each key.
    keys: Vec<u64>,
}

#[derive(Clone)]
enum Heads {
    Small(Box<[u32; SMALL]>),
    Large(Box<[u32; LARGE]>),
}

impl Filter {
    /// A filter for about so many entries.
    pub(super) fn new(entries: usize) -> Self {
        let heads = if entries <= SMALL_ENOUGH { Heads::Small(boxed()) } else { Heads::Large(boxed()) };
        let words = (entries * ROOMY / u64::BITS as usize).next_power_of_two();
        Self { heads, keys: vec![0; words] }
    }

    /// Whether this is a filter for about so many entries.
    pub(super) fn suits(&self, entries: usize) -> bool {
        (matches!(self.heads, Heads::Large(_)) || entries <= SMALL_ENOUGH)
            && entries * CROWDED <= self.keys.len() * u64::BITS as usize
    }

    /// Enters a value by its first six bytes.
    pub(super) fn enter_key(&mut self, key: u64) {
        self.enter(&key.to_le_bytes());
        let (word, bits) = self.bits_of(key);
        if let Some(word) = self.keys.get_mut(word) {
            *word |= bits;
        }
    }

    /// Whether a value with these first six bytes may have been entered.
    #[inline]
    pub(super) fn may_hold(&self, key: u64) -> bool {
        let (word, bits) = self.bits_of(key);
        self.keys.get(word).is_some_and(|word| word & bits == bits)
    }

    #[inline]
    fn bits_of(&self, key: u64) -> (usize, u64) {
        let mixed = key.wrapping_mul(MIX_KEY);
        let bit = |from: u32| 1_u64 << (mixed >> from & 63);
        let word = (mixed >> 32) as usize & (self.keys.len() - 1);
        (word, bit(20) | bit(26))
    }

    /// Enters a text by its first four bytes, or by as many as it has.
    pub(super) fn enter(&mut self, text: &[u8]) {
        match *text {
            [a, b, c, d, ..] => self.set(folded([a, b, c, d]), false),
            [a, b, c] => self.set(folded([a, b, c, 0]), true),
            [a, b] => (0..=u8::MAX).for_each(|c| self.set(folded([a, b, c, 0]), true)),
            [_] | [] => self.words_mut().fill(u32::MAX), // such an anchor is everywhere
        }
    }

    /// Calls `found` with each of the places, in order, at which something that was entered may begin. Also at some where the
    /// text ends too early for it.
    #[inline]
    pub(super) fn likely(&self, text: &[u8], places: Range<usize>, found: impl FnMut(usize)) {
        match &self.heads {
            Heads::Small(words) => likely(words, text, places, found),
            Heads::Large(words) => likely(words, text, places, found),
        }
    }

    fn set(&mut self, key: u32, whole_word: bool) {
        let (index, bit) = match self.heads {
            Heads::Small(_) => place::<SMALL>(key),
            Heads::Large(_) => place::<LARGE>(key),
        };
        if let Some(word) = self.words_mut().get_mut(index) {
            *word |= if whole_word { u32::MAX } else { 1 << bit };
        }
    }

    fn words_mut(&mut self) -> &mut [u32] {
        match &mut self.heads {
            Heads::Small(words) => words.as_mut_slice(),
            Heads::Large(words) => words.as_mut_slice(),
        }
    }
}

/// Made on the heap: it is larger than a thread's stack should have to hold.
fn boxed<const WORDS: usize>() -> Box<[u32; WORDS]> {
    match vec![0; WORDS].into_boxed_slice().try_into() {
        Ok(words) => words,
        Err(_) => Box::new([0; WORDS]),
    }
}

#[inline]
fn likely<const WORDS: usize>(words: &[u32; WORDS], text: &[u8], places: Range<usize>, mut found: impl FnMut(usize)) {
    let mut padded = [0; READ];
    for at in places.clone().step_by(PLACES) {
        let bytes = match text.get(at..).and_then(<[u8]>::first_chunk) {
            Some(bytes) => bytes,
            None => {
                let rest = text.get(at..).unwrap_or_default();
                padded.iter_mut().zip(rest).for_each(|(slot, byte)| *slot = *byte);
                &padded
            }
        };
        let wanted = places.end - at;
        let mut answers = answers(words, bytes);
        if wanted < PLACES {
            answers &= (1 << wanted) - 1;
        }
        while answers != 0 {
            found(at + answers.trailing_zeros() as usize);
            answers &= answers - 1;
        }
    }
}

/// A bit for each of the first 64 places. By itself, so that the loop keeps all it needs in registers.
#[inline(never)]
fn answers<const WORDS: usize>(words: &[u32; WORDS], bytes: &[u8; READ]) -> u64 {
    let mut answers = 0;
    for (group, eight) in bytes.windows(8).step_by(4).take(PLACES / 4).enumerate() {
        let eight = eight.first_chunk().map_or(0, |eight| u64::from_le_bytes(*eight)) | u64::from_le_bytes([CASE; 8]);
        for nth in 0..4 {
            let (index, bit) = place::<WORDS>((eight >> (8 * nth)) as u32);
            let answer = words.get(index).map_or(0, |word| word >> bit & 1);
            answers |= u64::from(answer) << ((4 * group + nth) & 63);
        }
    }
    answers
}

/// The word of the table that stands for a key, and the bit in it.
#[inline(always)]
fn place<const WORDS: usize>(key: u32) -> (usize, u32) {
    let index = key.wrapping_mul(MIX) >> (u32::BITS - WORDS.trailing_zeros());
    (index as usize, key >> 24 & 31)
}

fn folded(bytes: [u8; 4]) -> u32 {
    u32::from_le_bytes(bytes.map(|byte| byte | CASE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(filter: &Filter, text: &str) -> Vec<usize> {
        let mut places = Vec::new();
        filter.likely(text.as_bytes(), 0..text.len(), |at| places.push(at));
        places
    }

    #[test]
    fn whatever_was_entered_is_found_everywhere() {
        for entries in [1, SMALL_ENOUGH + 1] {
            for needle in ["abcdef", "Ab-9", "xyz", "q~", "%"] {
                let mut filter = Filter::new(entries);
                filter.enter(needle.as_bytes());
                for before in 0..140 {
                    let text = format!("{}{}{}", ".".repeat(before), needle.to_uppercase(), ".".repeat(before % 3));
                    assert!(places(&filter, &text).contains(&before), "{needle} behind {before}");
                }
            }
        }
    }

    #[test]
    fn few_other_places_are() {
        let mut filter = Filter::new(0);
        (0..1000).for_each(|n| filter.enter(format!("{:04x}", n * 31).as_bytes()));
        let text: String = (0..10_000).map(|n| format!("{:x}", n * 7919 % 99_991)).collect();
        let found = places(&filter, &text).len();
        assert!(found * 20 < text.len(), "{found} of {}", text.len());
    }
}
