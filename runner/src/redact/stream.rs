//! Redacts a stream of bytes as it comes: decides which bytes are let go, which become a mark, and which must wait.
//!
//! Splitting the input anywhere changes nothing, and that follows from three rules of construction:
//!
//! 1. A decision about an anchor looks at a fixed stretch of bytes around it and is taken once those bytes are there.
//! 2. A position is decided once every anchor that could cover it has been: `Matcher::hold` bytes later, or at the end.
//! 3. What goes on for longer (the rest of a long token, the lines of a key) is a state that moves from byte to byte, or
//!    from line to line, and looks no further ahead than rule 2 allows.
//!
//! Memory is bounded by one block of input and the bytes held back, whatever comes.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::Anchored;
use aho_corasick::automaton::{Automaton as _, StateID};

use super::key_block::{KeyBlock, LINE_LOOK, Line};
use super::known::is_mark_char;
use super::rules::{ByteSet, Prospect};
use super::{MARK, MARK_ID, Matcher, RedactedBytes, Target, mark};

/// Input is taken in blocks of this many bytes.
const BLOCK: usize = 64 * 1024;

/// One stream of output on its way through the redactor.
pub struct Stream {
    matcher: Arc<Matcher>,
    /// Bytes still needed; all offsets below are into it.
    buffer: Vec<u8>,
    /// Where the search for anchors stands, carried from chunk to chunk.
    state: StateID,
    /// Anchors that have been seen and not yet decided, in the order of their ends.
    open: VecDeque<Anchor>,
    /// What deciding them has found, in the order of the starts.
    found: VecDeque<Finding>,
    /// All bytes before have been let go or redacted.
    at: usize,
    cover: Cover,
    /// How far the secrets reach that cover this place; empty unless `cover` is `Secret`.
    trails: Vec<Trail>,
    block: Option<OpenBlock>,
    /// Marks made, by index of rule or known value.
    counts: Vec<u64>,
}

#[derive(Clone, Debug)]
struct Anchor {
    target: Target,
    range: Range<usize>,
}

#[derive(Clone, Debug)]
struct Finding {
    range: Range<usize>,
    /// Among findings that start alike, the lowest names the mark.
    index: usize,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Secret(ByteSet),
    BlockBegin,
    BlockEnd,
}

#[derive(Clone, Debug)]
struct OpenBlock {
    key: KeyBlock,
    /// Where the opening marker ends.
    from: usize,
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
}

/// A secret redacts up to `end`, and on from there while bytes are in `run_on`.
#[derive(Clone, Copy, Debug)]
struct Trail {
    end: usize,
    run_on: ByteSet,
}

impl Stream {
    pub(super) fn new(matcher: Arc<Matcher>) -> Self {
        Self {
            buffer: Vec::new(),
            state: matcher.start,
            open: VecDeque::new(),
            found: VecDeque::new(),
            at: 0,
            cover: Cover::None,
            trails: Vec::new(),
            block: None,
            counts: vec![0; matcher.rules.len() + matcher.known.len()],
            matcher,
        }
    }

    /// Takes the next bytes and returns those, old or new, that are now decided.
    pub fn push(&mut self, chunk: &[u8]) -> RedactedBytes {
        let mut out = Vec::new();
        for block in chunk.chunks(BLOCK) {
            self.scan(block);
            self.decide_ripe();
            let decided = self.buffer.len().saturating_sub(self.matcher.hold);
            self.advance(decided, &mut out);
            self.forget();
        }
        RedactedBytes(out)
    }

    /// Returns what cannot become part of a secret any more, whatever comes. To be called when the source has been
    /// silent for a while (50 ms), so that a prompt is seen before its answer.
    ///
    /// Held back are an unfinished word at the end, an anchor whose pattern may still match, and, inside a key, the
    /// line that is not finished.
    pub fn idle(&mut self) -> RedactedBytes {
        let mut out = Vec::new();
        let decided = self.decide_settled();
        let decided = decided.min(self.unfinished_word()).min(self.unfinished_known()).min(self.unfinished_line());
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

    /// The number of marks made so far, by id of the rule or name of the known value.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for (index, &count) in self.counts.iter().enumerate().filter(|&(_, &count)| count > 0) {
            *counts.entry(self.matcher.id(index).to_owned()).or_default() += count;
        }
        counts
    }

    fn drain(&mut self) -> RedactedBytes {
        let mut out = Vec::new();
        while let Some(anchor) = self.open.pop_front() {
            self.decide(&anchor);
        }
        self.advance(self.buffer.len(), &mut out);
        RedactedBytes(out)
    }

    /// Finds every anchor that ends in the new bytes.
    fn scan(&mut self, bytes: &[u8]) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(bytes);
        let automaton = &self.matcher.automaton;
        let mut state = self.state;
        for (offset, &byte) in bytes.iter().enumerate() {
            state = automaton.next_state(Anchored::No, state, byte);
            if automaton.is_special(state) && automaton.is_match(state) {
                let end = start + offset + 1;
                for nth in 0..automaton.match_len(state) {
                    let pattern = automaton.match_pattern(state, nth);
                    if let Some(&target) = self.matcher.targets.get(pattern.as_usize()) {
                        let range = end - automaton.pattern_len(pattern)..end;
                        self.open.push_back(Anchor { target, range });
                    }
                }
            }
        }
        self.state = state;
    }

    /// Decides the anchors that have all their bytes.
    fn decide_ripe(&mut self) {
        while let Some(anchor) = self.open.front()
            && anchor.range.end + self.matcher.ahead <= self.buffer.len()
        {
            let anchor = anchor.clone();
            self.open.pop_front();
            self.decide(&anchor);
        }
    }

    /// Decides the anchors about which no byte to come could change anything, and returns the first position that
    /// another one may still redact.
    fn decide_settled(&mut self) -> usize {
        let mut limit = self.buffer.len();
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
        let rest = self.buffer.get(anchor.range.start..).unwrap_or_default();
        match anchor.target {
            Target::Rule(index) => {
                let (window, base) = self.window(anchor, self.matcher.ahead);
                let local = anchor.range.start - base..anchor.range.end - base;
                match self.matcher.rules.get(index).map(|rule| rule.prospect(window, &local)) {
                    Some(Prospect::OpenFrom(start)) => Prospect::OpenFrom(base + start),
                    Some(Prospect::Settled) | None => Prospect::Settled,
                }
            }
            Target::BlockEnd(_) if rest.contains(&b'\n') => Prospect::Settled,
            Target::BlockEnd(_) => Prospect::OpenFrom(anchor.range.start),
            Target::Known(index) => match self.matcher.known.get(index) {
                Some(known) if known.value.len() > rest.len() && known.value.starts_with(rest) => {
                    Prospect::OpenFrom(anchor.range.start)
                }
                Some(_) | None => Prospect::Settled,
            },
        }
    }

    /// The stretch of bytes that a decision about an anchor may look at, and its offset in the buffer.
    fn window(&self, anchor: &Anchor, ahead: usize) -> (&[u8], usize) {
        let base = anchor.range.start.saturating_sub(self.matcher.back);
        let end = self.buffer.len().min(anchor.range.end + ahead);
        (self.buffer.get(base..end).unwrap_or_default(), base)
    }

    fn decide(&mut self, anchor: &Anchor) {
        let matcher = Arc::clone(&self.matcher);
        match anchor.target {
            Target::Rule(index) => self.decide_rule(&matcher, index, anchor),
            Target::BlockEnd(index) => {
                let end = matcher.rules.get(index).and_then(|rule| rule.block_end.as_ref());
                let (window, base) = self.window(anchor, matcher.ahead);
                if let Some(length) = end.and_then(|end| end.length(window, anchor.range.start - base)) {
                    let range = anchor.range.start..anchor.range.start + length;
                    self.insert(Finding { range, index, kind: Kind::BlockEnd });
                }
            }
            Target::Known(index) => {
                let value = matcher.known.get(index).map(|known| known.value.as_slice()).unwrap_or_default();
                let rest = self.buffer.get(anchor.range.start..).unwrap_or_default();
                if !value.is_empty() && rest.starts_with(value) {
                    let range = anchor.range.start..anchor.range.start + value.len();
                    let index = matcher.rules.len() + index;
                    self.insert(Finding { range, index, kind: Kind::Secret(ByteSet::NONE) });
                }
            }
        }
    }

    fn decide_rule(&mut self, matcher: &Matcher, index: usize, anchor: &Anchor) {
        let Some(rule) = matcher.rules.get(index) else { return };
        let (window, base) = self.window(anchor, matcher.ahead);
        let local = anchor.range.start - base..anchor.range.end - base;
        if !rule.passes_gate(window, &local) || in_mark(window.get(..local.start).unwrap_or_default()) {
            return;
        }
        let earliest = local.start.saturating_sub(rule.max_back);
        let secrets: Vec<Range<usize>> = (earliest..=local.start)
            .filter_map(|start| rule.secret_at(window, start))
            .filter(|secret| !touches_mark(window, secret))
            .map(|secret| base + secret.start..base + secret.end)
            .collect();
        for range in secrets {
            let kind = if rule.block_end.is_some() { Kind::BlockBegin } else { Kind::Secret(rule.run_on) };
            self.insert(Finding { range, index, kind });
        }
    }

    fn insert(&mut self, finding: Finding) {
        let key = |finding: &Finding| (finding.range.start, finding.index);
        let place = self.found.partition_point(|other| key(other) <= key(&finding));
        self.found.insert(place, finding);
    }

    /// Lets go or redacts everything before `limit`; all findings that start there must be known.
    fn advance(&mut self, limit: usize, out: &mut Vec<u8>) {
        while self.at < limit {
            self.apply_findings(out);
            let mut stop = self.found.front().map_or(limit, |next| next.range.start.min(limit));
            if let Some(OpenBlock { key, from }) = &self.block {
                stop = stop.min(self.at.max(*from) + key.left);
            }
            let before = self.at;
            match self.cover {
                Cover::None => self.let_go(stop, out),
                Cover::Secret { .. } => self.skip_secret(stop),
                Cover::Line { least } => self.skip_line(least, stop),
            }
            self.spend(before);
        }
    }

    /// Takes up the findings that start here.
    fn apply_findings(&mut self, out: &mut Vec<u8>) {
        while let Some(finding) = self.found.front()
            && finding.range.start <= self.at
        {
            let Some(Finding { range, index, kind }) = self.found.pop_front() else {
                return;
            };
            match kind {
                Kind::Secret(run_on) if range.end > self.at => self.redact(range.end, run_on, index, out),
                Kind::Secret(_) => (), // let go already, when the stream was idle
                Kind::BlockBegin => self.open_block(index, &range),
                Kind::BlockEnd => self.close_block(Some(index)),
            }
        }
    }

    fn redact(&mut self, end: usize, run_on: ByteSet, index: usize, out: &mut Vec<u8>) {
        match self.cover {
            Cover::Line { least } => self.cover = Cover::Line { least: end.max(least) },
            Cover::Secret { index: marked } if self.matcher.id(marked) == self.matcher.id(index) => {
                self.follow(end, run_on);
            }
            Cover::Secret { .. } if self.is_covered() => self.follow(end, run_on),
            Cover::Secret { .. } | Cover::None => {
                self.trails.clear();
                self.follow(end, run_on);
                self.cover = Cover::Secret { index };
                self.mark(index, out);
            }
        }
    }

    /// Adds a trail. Of two with the same set, the one that ends first covers nothing that the other does not.
    fn follow(&mut self, end: usize, run_on: ByteSet) {
        match self.trails.iter_mut().find(|trail| trail.run_on == run_on) {
            Some(trail) => trail.end = end.max(trail.end),
            None => self.trails.push(Trail { end, run_on }),
        }
    }

    /// Whether a trail goes over the next byte.
    fn is_covered(&self) -> bool {
        let next = self.buffer.get(self.at).copied();
        self.trails.iter().any(|trail| self.at < trail.end || next.is_some_and(|byte| trail.run_on.contains(byte)))
    }

    fn mark(&mut self, index: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(mark(self.matcher.id(index)).as_bytes());
        if let Some(count) = self.counts.get_mut(index) {
            *count += 1;
        }
    }

    fn open_block(&mut self, rule: usize, marker: &Range<usize>) {
        let before = self.buffer.get(marker.start.saturating_sub(self.matcher.back)..marker.start).unwrap_or_default();
        let column = before.iter().rev().take_while(|&&byte| byte != b'\n').count();
        self.block = Some(OpenBlock { key: KeyBlock::new(rule, self.matcher.id(rule), column), from: marker.end });
    }

    /// Ends the block; with `rule`, only if that rule has opened it.
    fn close_block(&mut self, rule: Option<usize>) {
        if rule.is_some() && self.block.as_ref().map(|block| block.key.rule) != rule {
            return;
        }
        if let (Some(block), Cover::Line { least }) = (self.block.take(), self.cover) {
            self.cover = Cover::Secret { index: block.key.rule };
            self.trails = vec![Trail { end: least, run_on: ByteSet::NONE }];
        }
    }

    /// Takes the bytes since `before` off what a key may take up.
    fn spend(&mut self, before: usize) {
        let Some(OpenBlock { key, from }) = &mut self.block else {
            return;
        };
        key.left = key.left.saturating_sub(self.at.saturating_sub(before.max(*from)));
        if key.left == 0 {
            self.close_block(None);
        }
    }

    fn let_go(&mut self, mut stop: usize, out: &mut Vec<u8>) {
        if let Some(rule) = self.key_line_here() {
            self.cover = Cover::Line { least: self.at };
            self.mark(rule, out);
            return;
        }
        if let Some(OpenBlock { from, .. }) = &self.block {
            stop = if self.at < *from { stop.min(*from) } else { self.line_break(stop).map_or(stop, |at| at + 1) };
        }
        out.extend_from_slice(self.buffer.get(self.at..stop).unwrap_or_default());
        self.at = stop;
    }

    /// The rule of the open block, if a line of its key starts here.
    fn key_line_here(&mut self) -> Option<usize> {
        let at_start = self.at.checked_sub(1).and_then(|last| self.buffer.get(last)) == Some(&b'\n');
        let text = self.line_at(self.at);
        let block = self.block.as_ref()?;
        let line = match () {
            () if self.at == block.from => block.key.judge_remainder(text),
            () if self.at > block.from && at_start => block.key.judge(text),
            () => return None,
        };
        self.note(line)
    }

    fn note(&mut self, line: Line) -> Option<usize> {
        let key = &mut self.block.as_mut()?.key;
        let rule = key.rule;
        key.note(line);
        match line {
            Line::Body(_) => Some(rule),
            Line::Blank | Line::Stranger => None,
            Line::Beyond => {
                self.block = None;
                None
            }
        }
    }

    fn skip_secret(&mut self, stop: usize) {
        let buffer = &self.buffer;
        for trail in self.trails.iter_mut().filter(|trail| trail.end < stop) {
            let rest = buffer.get(trail.end..stop).unwrap_or_default();
            trail.end += rest.iter().take_while(|&&byte| trail.run_on.contains(byte)).count();
        }
        let end = self.trails.iter().map(|trail| trail.end).max().unwrap_or(self.at);
        self.trails.retain(|trail| trail.end >= stop);
        if self.trails.is_empty() {
            self.cover = Cover::None;
        }
        self.at = end.clamp(self.at, stop);
    }

    fn skip_line(&mut self, least: usize, stop: usize) {
        match self.line_break(stop) {
            None => self.at = stop,
            Some(at) if at < least => self.at = at + 1,
            Some(at) => match self.block.as_ref().map(|block| block.key.judge(self.line_at(at + 1))) {
                Some(line @ Line::Body(_)) => {
                    self.note(line);
                    self.at = at + 1;
                }
                Some(_) | None => {
                    self.cover = Cover::None; // the line break itself stays
                    self.at = at;
                }
            },
        }
    }

    fn line_break(&self, stop: usize) -> Option<usize> {
        let rest = self.buffer.get(self.at..stop).unwrap_or_default();
        rest.iter().position(|&byte| byte == b'\n').map(|offset| self.at + offset)
    }

    /// The line that starts at `start`, as far as it is looked at.
    fn line_at(&self, start: usize) -> &[u8] {
        let rest = self.buffer.get(start..).unwrap_or_default();
        let length = rest.iter().take(LINE_LOOK).take_while(|&&byte| byte != b'\n').count();
        rest.get(..length).unwrap_or_default()
    }

    /// Where an unfinished word at the end starts: it may become an anchor, or stand before one in a pattern.
    fn unfinished_word(&self) -> usize {
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'/' | b'=');
        let length = self.buffer.iter().rev().take(self.matcher.hold).take_while(|byte| is_word(byte)).count();
        self.buffer.len() - length
    }

    /// Where a known value may have started of which not even the anchor is complete.
    fn unfinished_known(&self) -> usize {
        let length = (1..super::KNOWN_ANCHOR).rev().find(|&length| {
            let tail = self.buffer.get(self.buffer.len().saturating_sub(length)..).unwrap_or_default();
            self.matcher.known.iter().any(|known| known.value.starts_with(tail))
        });
        self.buffer.len().saturating_sub(length.unwrap_or(0))
    }

    /// Inside a key, where the last line ends that can be judged.
    fn unfinished_line(&self) -> usize {
        let opens = |finding: &Finding| matches!(finding.kind, Kind::BlockBegin);
        if self.block.is_none() && !self.found.iter().any(opens) {
            return self.buffer.len();
        }
        let rest = self.buffer.get(self.at..).unwrap_or_default();
        self.at + rest.iter().rposition(|&byte| byte == b'\n').unwrap_or(0)
    }

    /// Drops bytes that no decision can look at any more, now and then rather than after every chunk.
    fn forget(&mut self) {
        let needed = self.matcher.hold + self.matcher.back + 1;
        let count = self.at.saturating_sub(1).min(self.buffer.len().saturating_sub(needed));
        if count < BLOCK {
            return;
        }
        self.buffer.drain(..count);
        self.at -= count;
        for anchor in &mut self.open {
            anchor.range = anchor.range.start - count..anchor.range.end - count;
        }
        for finding in &mut self.found {
            finding.range = finding.range.start.saturating_sub(count)..finding.range.end.saturating_sub(count);
        }
        if let Some(block) = &mut self.block {
            block.from = block.from.saturating_sub(count);
        }
        for trail in &mut self.trails {
            trail.end = trail.end.saturating_sub(count);
        }
        if let Cover::Line { least } = &mut self.cover {
            *least = least.saturating_sub(count);
        }
    }
}

#[cfg(test)]
impl Stream {
    pub(super) fn buffer_len(&self) -> usize {
        self.buffer.len()
    }

    pub(super) fn open_len(&self) -> usize {
        self.open.len() + self.found.len()
    }
}

impl std::fmt::Debug for Stream {
    /// Says nothing about the bytes held back: they are not redacted yet.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("held", &(self.buffer.len() - self.at)).finish_non_exhaustive()
    }
}

/// Whether what follows `before` is the name inside a mark: marks must survive a second pass.
fn in_mark(before: &[u8]) -> bool {
    let name = before.iter().rev().take(MARK_ID).take_while(|&&byte| is_mark_char(char::from(byte))).count();
    before.get(..before.len() - name).is_some_and(|rest| rest.ends_with(MARK.as_bytes()))
}

/// Whether a mark, or a part of one, is in the secret: such a secret was redacted before.
fn touches_mark(window: &[u8], secret: &Range<usize>) -> bool {
    let from = secret.start.saturating_sub(MARK.len() - 1);
    let near = window.get(from..secret.end).unwrap_or_default();
    near.windows(MARK.len()).any(|part| part == MARK.as_bytes())
        || in_mark(window.get(..secret.start).unwrap_or_default())
}
