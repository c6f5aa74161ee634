//! Redacts a stream of bytes as it comes: decides which bytes are let go, which become a mark, and which must wait.
//!
//! Splitting the input anywhere changes nothing, and that follows from three rules of construction:
//!
//! 1. A decision about an anchor looks at a fixed stretch of bytes around it and is taken once those bytes are there.
//! 2. A position is decided once every anchor that could cover it has been: `Matcher::hold` bytes later, or at the end.
//! 3. What goes on for longer (the rest of a long token, the lines of a key) is a state that moves from byte to byte, or
//!    from line to line, and looks no further ahead than rule 2 allows.
//!
//! Memory is bounded by one block of input and the bytes held back, whatever comes. What leaves, and how, is in `emit`.

mod emit;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use super::encodings::KEY;
use super::expression::ByteSet;
use super::key_block::{self, KeyBlock, LINE_LOOK};
use super::known_value::{KnownValue, KnownValues};
use super::learned_value::LearnedNote;
use super::noise::{CleanText, Normaliser};
use super::rules::{Prospect, Rule};
use super::table::{self, ROW_LOOK, SecretTable};
use super::{AnchorTarget, Matcher, RedactedBytes, Redactor, mark, remembered};
use emit::Pending;
#[cfg(test)]
pub(super) use emit::runs_on;

/// Input is taken in blocks of this many bytes.
const BLOCK: usize = 16 * 1024;
/// So many bytes that nobody needs any more are dropped at once.
const DROPPED: usize = 64 * 1024;
/// So far before the last marker of a key its lines are looked for.
pub(super) const LOOK_BACK: usize = 2048;
/// How a statement begins that holds the values of its columns itself.
const INSERT: &[u8] = b"insert into ";
/// So many gaps after an anchor are tried as the end of what stands there.
const GAPS_TRIED: usize = 2;

/// One stream of output on its way through the redactor.
pub struct Stream {
    redactor: Redactor,
    matcher: Arc<Matcher>,
    known: Arc<KnownValues>,
    normaliser: Normaliser,
    /// What has come and is still needed, without noise; all offsets below are into it.
    view: CleanText,
    /// How many places of the view have been asked of the filter.
    scanned: usize,
    /// Anchors up to here have been found beforehand, when the source was silent.
    foreseen: usize,
    /// Anchors that have been seen and not yet decided, in the order of their ends.
    open: VecDeque<Anchor>,
    /// Places before `scanned` at which a known value may begin.
    likely: VecDeque<usize>,
    /// Places before this one were asked before the last value was learned.
    outdated: usize,
    /// What deciding them has found, in the order of the starts.
    found: VecDeque<StreamFinding>,
    /// What of the text each rule need not be tried on again.
    dealt: Vec<Dealt>,
    /// All bytes before have been let go or redacted.
    at: usize,
    /// All bytes before have been searched for known values.
    known_to: usize,
    cover: Cover,
    /// How far the secrets reach that cover this place; empty unless `cover` is `Secret`.
    trails: Vec<Trail>,
    /// The mark that the cover will leave.
    pending: Option<Pending>,
    block: Option<OpenBlock>,
    table: Option<OpenTable>,
    /// Marks made, by name.
    counts: BTreeMap<String, u64>,
    /// Values that this stream has added to `known`.
    learned: Vec<Arc<LearnedNote>>,
    /// Bytes of the source before `at`, and the line that it is on.
    source: StreamPosition,
    hits: Option<Vec<Hit>>,
    /// What rules have found, if somebody wants to know.
    gathered: Option<Vec<KnownValue>>,
    #[cfg(test)]
    tries: std::sync::atomic::AtomicUsize,
}

/// Where a rule has found a secret, for those who work on rules. Says nothing of the secret but its length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The id of the rule, or the name of the known value.
    pub rule: String,
    /// The line of the input, from 1.
    pub line: u64,
    /// Bytes of the input before it.
    pub offset: u64,
    /// Bytes of the input that the mark replaces, with escape sequences among them.
    pub length: u64,
}

#[derive(Clone, Copy, Debug)]
struct StreamPosition {
    offset: u64,
    line: u64,
}

#[derive(Clone, Debug)]
struct Anchor {
    target: AnchorTarget,
    range: Range<usize>,
}

#[derive(Clone, Debug)]
struct StreamFinding {
    range: Range<usize>,
    /// Among findings that start alike, the lowest names the mark. Known values count after all rules.
    index: usize,
    kind: FindingKind,
}

#[derive(Clone, Debug)]
enum FindingKind {
    Secret(ByteSet),
    BlockBegin,
    BlockEnd,
    /// A secret is the first line of a key that has no markers.
    Lines,
    /// Below the line that ends here, cells may be secrets.
    Columns(SecretTable),
}

#[derive(Clone, Debug)]
struct OpenTable {
    rule: usize,
    table: SecretTable,
    /// Where its first line ends.
    from: usize,
    /// The line that was judged last.
    judged: usize,
}

#[derive(Clone, Debug)]
struct OpenBlock {
    key: KeyBlock,
    /// Where the opening marker ends, or a string of the key.
    from: usize,
    /// Where a string of it begins that was seen and is not reached yet.
    string: Option<usize>,
    /// The place that was judged last.
    judged: Option<usize>,
}

/// What one rule has been tried on. Text that is full of anchors would else be looked at once for each of them.
#[derive(Clone, Debug, Default)]
struct Dealt {
    /// Every place in it has been tried as the start of a match.
    starts: Range<usize>,
    /// All of it is covered by secrets and the bytes that run on from them.
    covered: Range<usize>,
}

impl Dealt {
    fn cover(&mut self, secret: &Range<usize>) {
        let joins = self.covered.contains(&secret.start);
        let start = if joins { self.covered.start } else { secret.start };
        self.covered = start..if joins { secret.end.max(self.covered.end) } else { secret.end };
    }
}

/// Whether the bytes from here on are let go.
#[derive(Clone, Copy, Debug)]
enum Cover {
    /// They are.
    None,
    /// They are redacted as far as any of the trails goes; the mark was made for `index`.
    Secret { index: usize },
    /// They are a line of a key: redacted up to the line's end, at least up to `least`.
    Line { least: usize },
    /// They are a string of a key: redacted up to its closing quote, at least up to `least`.
    String { least: usize },
}

/// A secret redacts up to `end`, and on from there while bytes are in `run_on`.
#[derive(Clone, Copy, Debug)]
struct Trail {
    end: usize,
    run_on: ByteSet,
}

impl Stream {
    pub(super) fn new(redactor: Redactor) -> Self {
        let known = redactor.starting_known();
        Self {
            normaliser: Normaliser::default(),
            view: CleanText::default(),
            scanned: 0,
            foreseen: 0,
            open: VecDeque::new(),
            likely: VecDeque::new(),
            outdated: 0,
            found: VecDeque::new(),
            dealt: vec![Dealt::default(); redactor.matcher.rules.len()],
            at: 0,
            known_to: 0,
            cover: Cover::None,
            trails: Vec::new(),
            pending: None,
            block: None,
            table: None,
            counts: BTreeMap::new(),
            learned: Vec::new(),
            source: StreamPosition { offset: 0, line: 1 },
            hits: None,
            gathered: None,
            #[cfg(test)]
            tries: std::sync::atomic::AtomicUsize::default(),
            matcher: Arc::clone(&redactor.matcher),
            known,
            redactor,
        }
    }

    /// Takes the next bytes and returns those, old or new, that are now decided.
    pub fn push(&mut self, chunk: &[u8]) -> RedactedBytes {
        let mut out = Vec::with_capacity(chunk.len());
        for block in chunk.chunks(BLOCK) {
            self.take(block);
            // A place is asked once any anchor that has its window there would be seen as a whole.
            self.scan(self.view.text().len().saturating_sub(self.matcher.anchors.longest().max(KEY)));
            self.decide_ripe();
            let decided = self.view.text().len().saturating_sub(self.matcher.hold);
            self.advance(decided, &mut out);
            self.forget();
        }
        RedactedBytes(out)
    }

    /// Returns what cannot become part of a secret any more, whatever comes. To be called when the source has been
    /// silent for a while (50 ms), so that a prompt is seen before its answer.
    ///
    /// Held back are an unfinished word or escape sequence at the end, an anchor whose pattern may still match, what may be
    /// the beginning of a known value, and, inside a key, the line that is not finished. What only the text behind it
    /// makes a secret (`echo … | chpasswd`) is not: nobody could know yet.
    pub fn idle(&mut self) -> RedactedBytes {
        let mut out = Vec::new();
        let decided = self.decide_settled();
        let decided = decided.min(self.unfinished_word()).min(self.unfinished_known()).min(self.unfinished_line());
        self.advance(decided, &mut out);
        if self.at == self.view.text().len() && !self.normaliser.is_open() {
            self.show_silence(&mut out);
        }
        RedactedBytes(out)
    }

    /// Returns what is no part of a secret as far as it has come, at a moment that is an end for whoever listens, while more may still
    /// come. Held back is what [`idle`](Self::idle) holds back, but for a word that nothing speaks against yet.
    pub fn pause(&mut self) -> RedactedBytes {
        let mut out = Vec::new();
        let decided = self.decide_settled().min(self.unfinished_known()).min(self.unfinished_line());
        self.advance(decided, &mut out);
        RedactedBytes(out)
    }

    /// Ends the stream and returns the rest.
    pub fn finish(mut self) -> RedactedBytes {
        self.drain()
    }

    /// Ends the stream and returns the rest together with the number of marks made by each rule or known value.
    pub fn finish_counted(mut self) -> (RedactedBytes, BTreeMap<String, u64>) {
        let rest = self.drain();
        (rest, self.counts())
    }

    /// Ends the stream and returns the rest together with every [`Hit`] that was not taken yet.
    pub fn finish_explained(mut self) -> (RedactedBytes, Vec<Hit>) {
        let rest = self.drain();
        (rest, self.take_hits())
    }

    /// From now on keeps what rules find.
    pub(super) fn gathering(mut self) -> Self {
        self.gathered.get_or_insert_default();
        self
    }

    /// Ends the stream and returns what was gathered.
    pub(super) fn finish_gathered(mut self) -> Vec<KnownValue> {
        self.drain();
        self.gathered.unwrap_or_default()
    }

    /// The number of marks made so far, by id of the rule or name of the known value.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.counts.clone()
    }

    /// From now on notes down where each mark was made. They are kept until they are taken.
    #[must_use]
    pub fn explained(mut self) -> Self {
        self.hits.get_or_insert_default();
        self
    }

    /// The marks made since this was last asked, if the stream is an [`explained`](Stream::explained) one.
    pub fn take_hits(&mut self) -> Vec<Hit> {
        self.hits.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn drain(&mut self) -> RedactedBytes {
        let mut out = Vec::new();
        self.normaliser.finish(&mut self.view);
        self.scan(self.view.text().len());
        while let Some(anchor) = self.open.pop_front() {
            self.decide(&anchor);
        }
        self.advance(self.view.text().len(), &mut out);
        self.close_cover(&mut out);
        self.let_noise_go(usize::MAX, &mut out);
        self.remember();
        RedactedBytes(out)
    }

    /// Tells noise from text. What a title or a link carries is redacted by itself.
    fn take(&mut self, bytes: &[u8]) {
        let Self { normaliser, view, redactor, known, counts, .. } = self;
        normaliser.push(bytes, view, &mut |carried| {
            let mut inner =
                Self { known: Arc::clone(known), ..Self::new(Redactor { memory: None, ..redactor.clone() }) };
            let mut safe = inner.push(carried);
            let (rest, made) = inner.finish_counted();
            safe.append(&rest);
            for (id, count) in made {
                *counts.entry(id).or_default() += count;
            }
            safe.0
        });
    }

    /// Leaves what was learned to the session's later streams.
    fn remember(&mut self) {
        if let Some(memory) = &self.redactor.memory
            && !self.learned.is_empty()
        {
            let mut memory = remembered(memory);
            let known = Arc::make_mut(&mut memory);
            for note in self.learned.drain(..) {
                known.learn(note.name(), note.value(), || Arc::clone(&note));
            }
        }
    }

    /// Asks every place before `end` of the filter.
    fn scan(&mut self, end: usize) {
        let (known, matcher) = (Arc::clone(&self.known), Arc::clone(&self.matcher));
        let (text, likely, foreseen, mut seen) = (&self.view.text(), &mut self.likely, self.foreseen, Vec::new());
        known.filter().likely(text, self.scanned..end.max(self.scanned), |place| {
            matcher.anchors.at(text, place, |target, range| {
                if range.end > foreseen {
                    seen.push(Anchor { target, range });
                }
            });
            if known.may_begin(text, place) {
                likely.push_back(place);
            }
        });
        matcher.anchors.runs(text, self.scanned..end.max(self.scanned), |target, range| {
            if range.end > foreseen {
                seen.push(Anchor { target, range });
            }
        });
        self.scanned = end.max(self.scanned);
        self.open_anchors(seen);
    }

    /// Finds the anchors among the last bytes, of which the places are asked again when more has come.
    fn foresee(&mut self) {
        let (text, foreseen, mut seen) = (&self.view.text(), self.foreseen, Vec::new());
        self.known.filter().likely(text, self.scanned..text.len(), |place| {
            self.matcher.anchors.at(text, place, |target, range| {
                if range.end > foreseen {
                    seen.push(Anchor { target, range });
                }
            });
        });
        self.matcher.anchors.runs(text, self.scanned..text.len(), |target, range| {
            if range.end > foreseen {
                seen.push(Anchor { target, range });
            }
        });
        self.foreseen = text.len();
        self.open_anchors(seen);
    }

    /// Puts anchors in the order in which they are decided, which must not depend on the chunks.
    fn open_anchors(&mut self, mut seen: Vec<Anchor>) {
        let key = |anchor: &Anchor| (anchor.range.end, anchor.target);
        seen.sort_unstable_by_key(key);
        for anchor in seen {
            let later = self.open.iter().rev().take_while(|other| key(other) > key(&anchor)).count();
            self.open.insert(self.open.len() - later, anchor);
        }
    }

    /// Decides the anchors that have all their bytes.
    fn decide_ripe(&mut self) {
        while let Some(anchor) = self.open.front()
            && anchor.range.end + self.matcher.ahead <= self.view.text().len()
        {
            let anchor = anchor.clone();
            self.open.pop_front();
            self.decide(&anchor);
        }
    }

    /// Decides the anchors about which no byte to come could change anything, and returns the first position that
    /// another one may still redact.
    fn decide_settled(&mut self) -> usize {
        self.foresee();
        let mut limit = self.view.text().len();
        for anchor in std::mem::take(&mut self.open) {
            match self.prospect(&anchor) {
                Prospect::Settled => self.decide(&anchor),
                Prospect::OpenFrom(start) => {
                    limit = limit.min(start);
                    self.open.push_back(anchor);
                }
            }
        }
        limit
    }

    fn prospect(&self, anchor: &Anchor) -> Prospect {
        let rest = self.view.text().get(anchor.range.start..).unwrap_or_default();
        match anchor.target {
            AnchorTarget::Rule(index) if self.matcher.rules.get(index).is_some_and(|rule| rule.columns) => {
                self.prospect_of_table(anchor)
            }
            AnchorTarget::Rule(index) => {
                let (window, base) = self.window(anchor);
                let local = anchor.range.start - base..anchor.range.end - base;
                match self.matcher.rules.get(index).map(|rule| rule.prospect(window, &local)) {
                    Some(Prospect::OpenFrom(start)) => Prospect::OpenFrom(base + start),
                    Some(Prospect::Settled) | None => Prospect::Settled,
                }
            }
            AnchorTarget::BlockEnd(_) if rest.contains(&b'\n') => Prospect::Settled,
            AnchorTarget::BlockEnd(_) => Prospect::OpenFrom(anchor.range.start),
        }
    }

    /// A first line of a table is decided once it is complete. It shows no secret itself, unless it is a statement with values.
    fn prospect_of_table(&self, anchor: &Anchor) -> Prospect {
        let text = self.view.text();
        let behind = text.get(anchor.range.end..).unwrap_or_default();
        if behind.len() >= ROW_LOOK || behind.contains(&b'\n') {
            return Prospect::Settled;
        }
        let before = text.get(anchor.range.start.saturating_sub(ROW_LOOK)..anchor.range.start).unwrap_or_default();
        let holds = before.windows(INSERT.len()).any(|part| part.eq_ignore_ascii_case(INSERT));
        Prospect::OpenFrom(if holds { anchor.range.end } else { usize::MAX })
    }

    /// The stretch of bytes that a decision about an anchor may look at, and its offset in the view.
    fn window(&self, anchor: &Anchor) -> (&[u8], usize) {
        let base = anchor.range.start.saturating_sub(self.matcher.back);
        let end = self.view.text().len().min(anchor.range.end + self.matcher.ahead);
        (self.view.text().get(base..end).unwrap_or_default(), base)
    }

    fn decide(&mut self, anchor: &Anchor) {
        let matcher = Arc::clone(&self.matcher);
        match anchor.target {
            AnchorTarget::Rule(index) => self.decide_rule(&matcher, index, anchor),
            AnchorTarget::BlockEnd(index) => {
                let end = matcher.rules.get(index).and_then(|rule| rule.block_end.as_ref());
                let (window, base) = self.window(anchor);
                if let Some(length) = end.and_then(|end| end.length(window, anchor.range.start - base)) {
                    let range = anchor.range.start..anchor.range.start + length;
                    self.insert(StreamFinding { range, index, kind: FindingKind::BlockEnd });
                    self.look_back(index, anchor.range.start);
                }
            }
        }
    }

    /// Finds the lines of a key that has no beginning: those directly before its last marker.
    fn look_back(&mut self, index: usize, marker: usize) {
        let base = marker.saturating_sub(LOOK_BACK);
        let text = self.view.text();
        // A line that is not seen from its beginning says nothing of what stood there.
        let near = text.get(base..marker).unwrap_or_default();
        let cut =
            if base == 0 { 0 } else { near.iter().position(|byte| *byte == b'\n').map_or(near.len(), |at| at + 1) };
        let lines = key_block::lines_before(near.get(cut..).unwrap_or_default(), near.len() - cut);
        let mut ranges: Vec<Range<usize>> =
            lines.into_iter().map(|line| base + cut + line.start..base + cut + line.end).collect();
        // Lines that are nothing else become one mark.
        ranges.dedup_by(|before, after| {
            let adjoin = text.get(before.end..after.start) == Some(b"\n".as_slice());
            if adjoin {
                after.start = before.start;
            }
            adjoin
        });
        for range in ranges {
            self.insert(StreamFinding { range, index, kind: FindingKind::Secret(ByteSet::NONE) });
        }
    }

    fn decide_rule(&mut self, matcher: &Matcher, index: usize, anchor: &Anchor) {
        let Some(rule) = matcher.rules.get(index) else { return };
        if self.is_dealt_with(rule, index, anchor) {
            return;
        }
        if rule.columns {
            return self.decide_table(rule, index, anchor);
        }
        let (window, base) = self.window(anchor);
        let local = anchor.range.start - base..anchor.range.end - base;
        if !rule.passes_gate(window, &local) || mark::is_inside(window, local.start, self.ids()) {
            return;
        }
        let starts = rule.starts(window, local.start);
        let tried = base + starts.start()..base + starts.end() + 1;
        let untried =
            |start: &usize| !self.dealt.get(index).is_some_and(|dealt| dealt.starts.contains(&(base + start)));
        // Where noise ends a word depends on the anchor.
        let is_plain = self.view.next_gap(base).is_none_or(|gap| gap > base + window.len());
        let secrets: Vec<Range<usize>> = starts
            .filter(|start| !is_plain || untried(start))
            .filter_map(|start| {
                #[cfg(test)]
                self.tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let plain = rule.secret_at(window, start);
                let secret = plain.or_else(|| self.secret_between_gaps(index, anchor, window, base, start))?;
                // The words of a mark say nothing of what stands behind it.
                let is_marks = mark::touches(window, &secret, self.ids()) || mark::is_inside(window, start, self.ids());
                (!is_marks).then_some(base + secret.start..base + secret.end)
            })
            .collect();
        if is_plain {
            self.deal(index, tried);
        }
        for range in secrets {
            let kind =
                if rule.block_end.is_some() { FindingKind::BlockBegin } else { FindingKind::Secret(rule.run_on) };
            if let Some(dealt) = self.dealt.get_mut(index).filter(|_| rule.run_on != ByteSet::NONE) {
                dealt.cover(&range);
            }
            if rule.lines {
                self.insert(StreamFinding { range: range.clone(), index, kind: FindingKind::Lines });
            }
            self.insert(StreamFinding { range, index, kind });
        }
    }

    /// Finds out whether the anchor is in the first line of a table.
    fn decide_table(&mut self, rule: &Rule, index: usize, anchor: &Anchor) {
        let (window, base) = self.window(anchor);
        let local = anchor.range.start - base..anchor.range.end - base;
        let matches = |start: usize| rule.secret_at(window, start).is_some();
        if !rule.passes_gate(window, &local) || !rule.starts(window, local.start).any(matches) {
            return;
        }
        let text = self.view.text();
        let before = text.get(anchor.range.start.saturating_sub(ROW_LOOK)..anchor.range.start).unwrap_or_default();
        let behind = text.get(anchor.range.end..text.len().min(anchor.range.end + ROW_LOOK)).unwrap_or_default();
        let column = match before.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => before.len() - at - 1,
            None if before.len() < ROW_LOOK => before.len(),
            None => return,
        };
        let rest = behind.iter().position(|byte| *byte == b'\n');
        let start = anchor.range.start - column;
        let seen = anchor.range.end + rest.unwrap_or(behind.len());
        let cells = table::inserted(text.get(start..seen).unwrap_or_default()).into_iter();
        let cells: Vec<_> = cells.map(|cell| start + cell.start..start + cell.end).collect();
        for range in cells.into_iter().filter(|cell| cell.start > anchor.range.end) {
            self.insert(StreamFinding { range, index, kind: FindingKind::Secret(ByteSet::NONE) });
        }
        let Some(end) = rest.map(|rest| anchor.range.end + rest) else { return };
        let text = self.view.text();
        if let Some(table) = text.get(start..end).and_then(SecretTable::begun_by) {
            self.insert(StreamFinding { range: anchor.range.start..end, index, kind: FindingKind::Columns(table) });
        }
    }

    /// Whether all that a match of this rule could cover is covered by one that it has found before.
    fn is_dealt_with(&mut self, rule: &Rule, index: usize, anchor: &Anchor) -> bool {
        let Some(Dealt { covered, .. }) = self.dealt.get_mut(index) else { return false };
        let first = anchor.range.start.saturating_sub(rule.max_back);
        let end = self.view.text().len().min(anchor.range.start + rule.reach());
        if !covered.contains(&first) {
            return false;
        }
        let runs_on = |byte: &&u8| rule.run_on.contains(**byte);
        covered.end += self.view.text().get(covered.end..end).unwrap_or_default().iter().take_while(runs_on).count();
        let could_match = self.view.text().get(first..end).unwrap_or_default();
        covered.end >= end && could_match.iter().filter(runs_on).count() == could_match.len()
    }

    /// Notes down where a rule was tried.
    fn deal(&mut self, index: usize, tried: Range<usize>) {
        if let Some(Dealt { starts, .. }) = self.dealt.get_mut(index) {
            let adjoins = tried.start <= starts.end && starts.start <= tried.end && starts.start < starts.end;
            *starts = if adjoins { starts.start.min(tried.start)..starts.end.max(tried.end) } else { tried };
        }
    }

    /// Where colour begins or ends, or the cursor goes back to the left, a word ends as well, although the view does not
    /// show it: the match is tried again with the text cut there.
    fn secret_between_gaps(
        &self,
        index: usize,
        anchor: &Anchor,
        window: &[u8],
        base: usize,
        start: usize,
    ) -> Option<Range<usize>> {
        let rule = self.matcher.rules.get(index)?;
        let from = if self.view.has_gap(base + start) { start } else { 0 };
        let shifted = |secret: Range<usize>| from + secret.start..from + secret.end;
        if from > 0
            && let Some(secret) = rule.secret_at(window.get(from..)?, start - from)
        {
            return Some(shifted(secret));
        }
        let mut end = anchor.range.end;
        for _ in 0..GAPS_TRIED {
            end = self.view.next_gap(end).filter(|&gap| gap < base + window.len())? + 1;
            if let Some(secret) = rule.secret_at(window.get(from..end - 1 - base)?, start - from) {
                return Some(shifted(secret));
            }
        }
        None
    }

    fn insert(&mut self, finding: StreamFinding) {
        let key = |finding: &StreamFinding| (finding.range.start, finding.index);
        let place = self.found.partition_point(|other| key(other) <= key(&finding));
        self.found.insert(place, finding);
    }

    /// Searches for known values that start before `limit`.
    fn find_known(&mut self, limit: usize) {
        if self.known.is_empty() || self.known_to >= limit {
            return;
        }
        let known = Arc::clone(&self.known);
        let text = self.view.take_text();
        let places = self.known_to.max(self.at)..limit;
        let likely = self.likely_in(text.bytes(), places.clone());
        known.search(text.bytes(), places, &likely, |range, number| {
            if !known.is_dropped(number) && !mark::touches(text.bytes(), &range, self.ids()) {
                let index = self.matcher.rules.len() + number;
                self.insert(StreamFinding { range, index, kind: FindingKind::Secret(ByteSet::NONE) });
            }
        });
        self.view.put_text(text);
    }

    /// The places at which a known value may begin. Most have been found together with the anchors; the filter is asked
    /// again of those that were gone over before the last value was learned, and of those that were not gone over yet.
    fn likely_in(&mut self, text: &[u8], places: Range<usize>) -> Vec<usize> {
        let mut likely = Vec::new();
        let filter = self.known.filter();
        let early = places.start..places.end.min(self.outdated).max(places.start);
        let late = places.start.max(self.scanned).min(places.end)..places.end;
        filter.likely(text, early.clone(), |place| likely.push(place));
        while let Some(&place) = self.likely.front().filter(|place| **place < places.end) {
            self.likely.pop_front();
            likely.extend((early.end..late.start).contains(&place).then_some(place));
        }
        filter.likely(text, late.start.max(early.end)..late.end, |place| likely.push(place));
        likely
    }

    /// Whether there is a mark of this id: a rule's, or a known value's.
    fn ids(&self) -> impl Fn(&str) -> bool {
        |id| self.matcher.rules.iter().any(|rule| rule.id == id) || self.known.has_id(id)
    }

    /// The name in the mark.
    fn id(&self, index: usize) -> &str {
        let rule = self.matcher.rules.get(index).map(|rule| rule.id.as_ref());
        rule.or_else(|| self.known.id(index - self.matcher.rules.len())).unwrap_or_default()
    }

    /// Where an unfinished word at the end starts: it may become an anchor, or stand before one in a pattern. A word
    /// with a digit in it may be half of a token, so that punctuation does not end it.
    fn unfinished_word(&self) -> usize {
        let text = &self.view.text();
        let tail =
            |is_part: fn(&u8) -> bool| text.iter().rev().take(self.matcher.hold).take_while(|b| is_part(b)).count();
        let solid = tail(|byte| !byte.is_ascii_whitespace());
        let start = text.len() - solid;
        if text.get(start..).is_some_and(|word| word.iter().any(u8::is_ascii_digit)) {
            return start;
        }
        text.len() - tail(|byte| byte.is_ascii_alphanumeric() || b"_-+/=%\\&${".contains(byte))
    }

    /// Where a known value may have started that is not complete.
    fn unfinished_known(&self) -> usize {
        let text = &self.view.text();
        self.known.open_from(text, self.at.min(text.len())).unwrap_or(text.len())
    }

    /// Inside a key, where the last line ends that can be judged.
    fn unfinished_line(&self) -> usize {
        let opens = |finding: &StreamFinding| matches!(finding.kind, FindingKind::BlockBegin | FindingKind::Lines);
        let text = self.view.text();
        let rest = text.get(self.at..).unwrap_or_default();
        let line_break = rest.iter().rposition(|&byte| byte == b'\n');
        if self.block.is_some() || self.found.iter().any(opens) {
            return self.at + line_break.unwrap_or(0);
        }
        let last = line_break.map_or(rest, |at| rest.get(at + 1..).unwrap_or_default());
        let tables = self.found.iter().filter_map(|finding| match &finding.kind {
            FindingKind::Columns(table) => Some(table),
            _ => None,
        });
        let open = self.table.iter().map(|open| &open.table);
        let holds = open.chain(tables).any(|table| table.may_hold(last));
        if holds { self.at + line_break.map_or(0, |at| at + 1) } else { text.len() }
    }

    /// The line that starts at `start`, as far as it is looked at.
    fn line_at(&self, start: usize) -> &[u8] {
        let rest = self.view.text().get(start..).unwrap_or_default();
        let length = rest.iter().take(LINE_LOOK).take_while(|&&byte| byte != b'\n').count();
        rest.get(..length).unwrap_or_default()
    }

    /// Drops bytes that no decision can look at any more, now and then rather than after every chunk.
    fn forget(&mut self) {
        let needed = self.matcher.hold + self.matcher.back + 1;
        let count = self.at.saturating_sub(1).min(self.view.text().len().saturating_sub(needed));
        if count < DROPPED {
            return;
        }
        self.view.drop_front(count);
        self.at -= count;
        self.scanned = self.scanned.saturating_sub(count);
        self.foreseen = self.foreseen.saturating_sub(count);
        self.outdated = self.outdated.saturating_sub(count);
        self.likely.iter_mut().for_each(|place| *place = place.saturating_sub(count));
        self.known_to = self.known_to.saturating_sub(count);
        for anchor in &mut self.open {
            anchor.range = anchor.range.start - count..anchor.range.end - count;
        }
        for finding in &mut self.found {
            finding.range = finding.range.start.saturating_sub(count)..finding.range.end.saturating_sub(count);
        }
        if let Some(block) = &mut self.block {
            block.from = block.from.saturating_sub(count);
            block.string = block.string.map(|at| at.saturating_sub(count));
            block.judged = block.judged.and_then(|at| at.checked_sub(count));
        }
        if let Some(OpenTable { from, judged, .. }) = &mut self.table {
            *from = from.saturating_sub(count);
            *judged = judged.saturating_sub(count);
        }
        for trail in &mut self.trails {
            trail.end = trail.end.saturating_sub(count);
        }
        for Dealt { starts, covered } in &mut self.dealt {
            *starts = starts.start.saturating_sub(count)..starts.end.saturating_sub(count);
            *covered = covered.start.saturating_sub(count)..covered.end.saturating_sub(count);
        }
        if let Cover::Line { least } | Cover::String { least } = &mut self.cover {
            *least = least.saturating_sub(count);
        }
    }
}

#[cfg(test)]
impl Stream {
    pub(super) fn buffer_len(&self) -> usize {
        self.view.text().len()
    }

    pub(super) fn tries(&self) -> usize {
        self.tries.load(std::sync::atomic::Ordering::Relaxed)
    }

    pub(super) fn open_len(&self) -> usize {
        self.open.len() + self.found.len()
    }
}

impl std::fmt::Debug for Stream {
    /// Says nothing about the bytes held back: they are not redacted yet.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("held", &(self.view.text().len() - self.at)).finish_non_exhaustive()
    }
}
