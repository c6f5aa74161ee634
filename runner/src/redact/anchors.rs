//! Finds every anchor of every rule in a text: decides where it is worth running a rule, and never what it says there.
//!
//! An anchor is entered into the [`Filter`] by those four of its bytes that are met least in ordinary output, and is
//! compared as a whole where the filter says that they may stand.

use std::collections::BTreeMap;
use std::ops::Range;

use super::Target;
use super::filter::Filter;

/// Bytes of ordinary output, the most frequent first. All others are rarer.
const FREQUENT: &[u8] = b" etaoinsrlcdu/.pm-_0fh1g2b:3y4=w5v867k9\"'(),x#<>[]{}qjz+@$%&*!?~^|;\\`";
/// How many of an anchor's bytes the filter knows.
const WINDOW: usize = 4;
/// How many of them choose the bucket.
const PREFIX: u32 = 0x00ff_ffff;
/// How many buckets there are, as a power of two.
const BUCKETS: u32 = 12;

/// The anchors of all rules.
pub(super) struct Anchors {
    texts: Vec<Text>,
    /// The windows, by bucket.
    windows: Vec<Window>,
    /// Where each bucket begins in `windows`, and at last where the last one ends.
    buckets: Vec<u32>,
    /// Texts that are too short for a bucket.
    short: Vec<u32>,
    longest: usize,
}

struct Text {
    bytes: Box<[u8]>,
    /// What they are the anchor of.
    targets: Box<[Target]>,
}

/// Four bytes of a text, or three if it has no more.
#[derive(Clone, Copy)]
struct Window {
    key: u32,
    /// The bits of the key that count.
    mask: u32,
    text: u32,
    /// How many bytes of the text stand before.
    offset: u32,
}

impl Anchors {
    /// Letter case is left out of account.
    pub(super) fn new<'a>(anchors: impl Iterator<Item = (Target, &'a [u8])>) -> Self {
        let mut distinct: BTreeMap<Vec<u8>, Vec<Target>> = BTreeMap::new();
        for (target, anchor) in anchors {
            distinct.entry(anchor.to_ascii_lowercase()).or_default().push(target);
        }
        let texts: Vec<Text> = distinct
            .into_iter()
            .map(|(bytes, targets)| Text { bytes: bytes.into(), targets: targets.into() })
            .collect();
        let numbered = || (0_u32..).zip(&texts);
        let mut windows: Vec<Window> =
            numbered().filter_map(|(number, text)| Window::of(number, &text.bytes)).collect();
        windows.sort_by_key(|window| bucket(window.key));
        let begin = |number| windows.partition_point(|window| bucket(window.key) < number);
        let buckets = (0..=1 << BUCKETS).map(|number| u32::try_from(begin(number)).unwrap_or(u32::MAX)).collect();
        let short = numbered().filter(|(_, text)| text.bytes.len() + 1 < WINDOW).map(|(number, _)| number).collect();
        let longest = texts.iter().map(|text| text.bytes.len()).max().unwrap_or(0);
        Self { texts, windows, buckets, short, longest }
    }

    /// How many there are, those that rules share counted once.
    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    /// The length of the longest, in bytes.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// Enters them all.
    pub(super) fn enter_into(&self, filter: &mut Filter) {
        for Text { bytes, .. } in &self.texts {
            filter.enter(bytes.get(rarest_window(bytes)..).unwrap_or_default());
        }
    }

    /// Calls `found` for every anchor whose window begins at `place`, with what it stands for and where it stands.
    #[inline]
    pub(super) fn at(&self, text: &[u8], place: usize, mut found: impl FnMut(Target, Range<usize>)) {
        let mut compare = |number: u32, offset: u32| {
            let Some(Text { bytes, targets }) = self.texts.get(number as usize) else { return };
            let Some(start) = place.checked_sub(offset as usize) else { return };
            let range = start..start + bytes.len();
            if text.get(range.clone()).is_some_and(|part| part.eq_ignore_ascii_case(bytes)) {
                targets.iter().for_each(|&target| found(target, range.clone()));
            }
        };
        let here = key(text.get(place..).unwrap_or_default());
        let number = bucket(here) as usize;
        let bounds = self.buckets.get(number).zip(self.buckets.get(number + 1));
        let windows = bounds.and_then(|(&from, &to)| self.windows.get(from as usize..to as usize));
        for window in windows.unwrap_or_default() {
            if (here ^ window.key) & window.mask == 0 {
                compare(window.text, window.offset);
            }
        }
        self.short.iter().for_each(|&number| compare(number, 0));
    }
}

impl Window {
    fn of(text: u32, bytes: &[u8]) -> Option<Self> {
        let offset = rarest_window(bytes);
        let mask = match bytes.len() {
            0..3 => return None,
            3 => PREFIX,
            _ => u32::MAX,
        };
        Some(Self { key: key(bytes.get(offset..)?), mask, text, offset: u32::try_from(offset).ok()? })
    }
}

/// Four bytes, letter case left out. What the text lacks is nothing.
#[inline]
fn key(bytes: &[u8]) -> u32 {
    let four = match bytes.first_chunk() {
        Some(four) => *four,
        None => std::array::from_fn(|at| bytes.get(at).copied().unwrap_or(0)),
    };
    u32::from_le_bytes(four) | u32::from_le_bytes([0x20; WINDOW])
}

/// The bucket of the windows that begin like this one.
#[inline]
fn bucket(key: u32) -> u32 {
    (key & PREFIX).wrapping_mul(0x9e37_79b1) >> (u32::BITS - BUCKETS)
}

/// Where the four bytes begin that are met least. A shorter text is its own window.
fn rarest_window(bytes: &[u8]) -> usize {
    let commonness = |window: &[u8]| window.iter().map(|byte| frequency(*byte).pow(2)).sum::<usize>();
    let windows = bytes.windows(WINDOW).enumerate();
    windows.min_by_key(|(_, window)| commonness(window)).map_or(0, |(offset, _)| offset)
}

fn frequency(byte: u8) -> usize {
    FREQUENT.iter().position(|&frequent| frequent == byte).map_or(0, |rank| FREQUENT.len() - rank)
}

#[cfg(test)]
#[expect(clippy::expect_used, reason = "tests")]
mod tests {
    use std::sync::LazyLock;

    use aho_corasick::{AhoCorasick, AhoCorasickKind};
    use proptest::prelude::*;

    use super::super::rules::Rules;
    use super::*;

    fn found(anchors: &Anchors, text: &[u8]) -> Vec<(usize, usize, Target)> {
        let mut filter = Filter::new(anchors.len());
        anchors.enter_into(&mut filter);
        let mut all = Vec::new();
        filter.likely(text, 0..text.len(), |place| {
            anchors.at(text, place, |target, range| all.push((range.start, range.end, target)));
        });
        all.sort_unstable();
        all
    }

    /// The same by an automaton, which looks at every byte in turn.
    fn expected(texts: &[(Target, &[u8])], text: &[u8]) -> Vec<(usize, usize, Target)> {
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(texts.iter().map(|(_, anchor)| anchor))
            .expect("the anchors fit");
        let hits = automaton.find_overlapping_iter(text);
        let mut all: Vec<_> = hits
            .filter_map(|hit| texts.get(hit.pattern().as_usize()).map(|(target, _)| (hit.start(), hit.end(), *target)))
            .collect();
        all.sort_unstable();
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_anchor_is_found(
            pieces in prop::collection::vec((any::<prop::sample::Index>(), "[a-z0-9_=:. -]{0,9}", any::<bool>()), 0..60),
            other in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            static RULES: LazyLock<Rules> = LazyLock::new(|| Rules::builtin().expect("the shipped rules load"));
            static LONG: LazyLock<String> = LazyLock::new(|| "0123456789".repeat(30));
            let shipped: Vec<&str> = RULES.anchors().chain(["?", "zq", &LONG]).collect();
            let texts: Vec<(Target, &[u8])> =
                shipped.iter().enumerate().map(|(n, anchor)| (Target::Rule(n), anchor.as_bytes())).collect();
            let mut text = other;
            for (index, between, upper) in pieces {
                let anchor = index.get(&shipped);
                text.extend(if upper { anchor.to_ascii_uppercase() } else { anchor.to_string() }.bytes());
                text.extend(between.bytes());
            }
            let anchors = Anchors::new(texts.iter().copied());
            prop_assert_eq!(found(&anchors, &text), expected(&texts, &text));
        }
    }
}
