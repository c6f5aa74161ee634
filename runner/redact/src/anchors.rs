//! Finds every anchor of every rule in a text: decides where it is worth running a rule, and never what it says there.
//!
//! An anchor is entered into the [`Filter`] by those four of its bytes that are met least in ordinary output. Where the filter says
//! that they may stand, an automaton of all anchors, each from those bytes on, tells which ones do; what stands before is compared.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use aho_corasick::automaton::OverlappingState;
use aho_corasick::{AhoCorasick, AhoCorasickKind, Anchored, Input, StartKind};

use super::AnchorTarget;
use super::filter::Filter;

/// Bytes of ordinary output, the most frequent first. All others are rarer.
const FREQUENT: &[u8] = b" etaoinsrlcdu/.pm-_0fh1g2b:3y4=w5v867k9\"'(),x#<>[]{}qjz+@$%&*!?~^|;\\`";
/// How many of an anchor's bytes the filter knows.
const WINDOW: usize = 4;
/// So many places are looked at by comparing each text, which takes less time than making the automaton.
const FEW: usize = 64;

/// So many letters and digits are a long run. Patterns of rules with `before-runs` ask for as many.
const RUN: usize = 28;

/// The anchors of all rules.
pub(super) struct Anchors {
    texts: Vec<Text>,
    /// Each text from its window on, by its number; none if it could not be made. It is made once [`FEW`] places have been looked at.
    automaton: OnceLock<Option<AhoCorasick>>,
    /// How many places have been looked at without it.
    looked: AtomicUsize,
    longest: usize,
    /// Bytes that are anchors where a run of [`RUN`] letters and digits follows them.
    runs: Vec<(AnchorTarget, u8)>,
}

struct Text {
    bytes: Box<[u8]>,
    /// How many of them stand before the window.
    offset: usize,
    /// What they are the anchor of.
    targets: Box<[AnchorTarget]>,
}

impl Anchors {
    /// Letter case is left out of account.
    pub(super) fn new<'a>(anchors: impl Iterator<Item = (AnchorTarget, &'a [u8])>) -> Self {
        let mut distinct: BTreeMap<Vec<u8>, Vec<AnchorTarget>> = BTreeMap::new();
        for (target, anchor) in anchors {
            distinct.entry(anchor.to_ascii_lowercase()).or_default().push(target);
        }
        let text = |(bytes, targets): (Vec<u8>, Vec<AnchorTarget>)| Text {
            offset: rarest_window(&bytes),
            bytes: bytes.into(),
            targets: targets.into(),
        };
        let texts: Vec<Text> = distinct.into_iter().map(text).collect();
        let longest = texts.iter().map(|text| text.bytes.len()).max().unwrap_or(0);
        Self { texts, automaton: OnceLock::new(), looked: AtomicUsize::new(0), longest, runs: Vec::new() }
    }

    /// The same with anchors of one byte that count only where a long run of letters and digits follows.
    pub(super) fn before_runs(mut self, anchors: impl Iterator<Item = (AnchorTarget, u8)>) -> Self {
        self.runs = anchors.collect();
        self.longest = self.longest.max(RUN + 1);
        self
    }

    /// Calls `found` for every anchor before a run that begins at one of these places.
    pub(super) fn runs(&self, text: &[u8], places: Range<usize>, mut found: impl FnMut(AnchorTarget, Range<usize>)) {
        let (from, bytes) = (places.start, text.get(places).unwrap_or_default());
        for place in memchr::memchr2_iter(b'_', b'-', bytes).map(|at| from + at) {
            // Most words are short, so the last byte says the most.
            if !text.get(place + RUN).is_some_and(u8::is_ascii_alphanumeric) {
                continue;
            }
            let run = text.get(place + 1..place + RUN).unwrap_or_default();
            if run.iter().rev().all(u8::is_ascii_alphanumeric) {
                let anchors = self.runs.iter().filter(|(_, byte)| text.get(place) == Some(byte));
                anchors.for_each(|(target, _)| found(*target, place..place + RUN + 1));
            }
        }
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
        self.texts.iter().for_each(|text| filter.enter(text.window()));
    }

    /// None where each text is to be compared instead.
    #[inline]
    fn automaton(&self) -> Option<&AhoCorasick> {
        match self.automaton.get() {
            Some(made) => made.as_ref(),
            None if self.looked.fetch_add(1, Ordering::Relaxed) < FEW => None,
            None => self.automaton.get_or_init(|| automaton(&self.texts)).as_ref(),
        }
    }

    /// Calls `found` for every anchor whose window begins at `place`, with what it stands for and where it stands.
    #[inline]
    pub(super) fn at(&self, text: &[u8], place: usize, mut found: impl FnMut(AnchorTarget, Range<usize>)) {
        let mut compare = |anchor: &Text| {
            let Some(start) = place.checked_sub(anchor.offset) else { return };
            let range = start..start + anchor.bytes.len();
            if text.get(range.clone()).is_some_and(|part| part.eq_ignore_ascii_case(&anchor.bytes)) {
                anchor.targets.iter().for_each(|&target| found(target, range.clone()));
            }
        };
        let Some(automaton) = self.automaton() else { return self.texts.iter().for_each(compare) };
        let input = Input::new(text.get(place..).unwrap_or_default()).anchored(Anchored::Yes);
        let mut state = OverlappingState::start();
        // An anchored search that begins with a new state does not fail.
        while automaton.try_find_overlapping(input.clone(), &mut state).is_ok()
            && let Some(hit) = state.get_match()
        {
            if hit.start() == 0
                && let Some(anchor) = self.texts.get(hit.pattern().as_usize())
            {
                compare(anchor);
            }
        }
    }
}

fn automaton(texts: &[Text]) -> Option<AhoCorasick> {
    AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .kind(Some(AhoCorasickKind::ContiguousNFA))
        .start_kind(StartKind::Anchored)
        .build(texts.iter().map(Text::window))
        .ok()
}

impl Text {
    fn window(&self) -> &[u8] {
        self.bytes.get(self.offset..).unwrap_or_default()
    }
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

    use proptest::prelude::*;

    use super::super::rules::Rules;
    use super::*;

    fn found(anchors: &Anchors, text: &[u8]) -> Vec<(usize, usize, AnchorTarget)> {
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
    fn expected(texts: &[(AnchorTarget, &[u8])], text: &[u8]) -> Vec<(usize, usize, AnchorTarget)> {
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
            let texts: Vec<(AnchorTarget, &[u8])> =
                shipped.iter().enumerate().map(|(n, anchor)| (AnchorTarget::Rule(n), anchor.as_bytes())).collect();
            let mut text = other;
            for (index, between, upper) in pieces {
                let anchor = index.get(&shipped);
                text.extend(if upper { anchor.to_ascii_uppercase() } else { anchor.to_string() }.bytes());
                text.extend(between.bytes());
            }
            let mut anchors = Anchors::new(texts.iter().copied());
            prop_assert_eq!(found(&anchors, &text), expected(&texts, &text), "at the first places");
            anchors.automaton = OnceLock::from(automaton(&anchors.texts));
            prop_assert!(anchors.automaton().is_some());
            prop_assert_eq!(found(&anchors, &text), expected(&texts, &text), "by the automaton");
            anchors.automaton = OnceLock::from(None);
            prop_assert_eq!(found(&anchors, &text), expected(&texts, &text), "without an automaton");
        }
    }
}
