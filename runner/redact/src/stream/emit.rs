//! Lets decided bytes go, or puts a mark in their place.
//!
//! A mark is written where the secret ends, for only then its fingerprint is known. Noise before and behind a secret goes
//! out as it came; of the noise inside one, escape sequences do, so that colours end where they ended.

use std::ops::Range;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::{Cover, FindingKind, Hit, OpenBlock, OpenTable, Stream, StreamFinding, StreamPosition, Trail};
use crate::Redactor;
use crate::expression::ByteSet;
use crate::key_block::{KeyBlock, KeyLine};
use crate::known_value::{KnownValue, Learned, MOST_LEARNED};
use crate::learned_value::{LearnedNote, LearnedOrigin};
use crate::mark;
use crate::secret::Secret;
use crate::table::{ROW_LOOK, Row, SecretTable};

/// So many bytes at a time are searched for known values before they are let go.
const STRIDE: usize = 1024;
/// How much of a secret is kept until its end, to be learned.
const KEPT: usize = 513;
/// So many backslashes before a quote belong to it.
const MOST_ESCAPES: usize = 16;
/// How many bytes of escape sequences a mark carries along.
const CARRIED: usize = 4096;

/// A mark that will be made.
pub(super) struct Pending {
    index: usize,
    from: StreamPosition,
    fingerprint: Option<Sha256>,
    secret: Secret,
    escapes: Vec<u8>,
}

impl Stream {
    /// Lets go or redacts everything before `limit`; all findings that start there must be known.
    pub(super) fn advance(&mut self, limit: usize, out: &mut Vec<u8>) {
        while self.at < limit {
            self.judge_row();
            let horizon = if self.known.is_empty() { limit } else { limit.min(self.at + STRIDE) };
            self.find_known(horizon);
            self.known_to = self.known_to.max(horizon);
            self.take_key_line(out);
            self.apply_findings(out);
            let limit = limit.min(self.known_to);
            let mut stop = self.found.front().map_or(limit, |next| next.range.start.min(limit));
            if let Some(OpenBlock { key, from, .. }) = &self.block {
                stop = stop.min(self.at.max(*from) + key.left);
            }
            let before = self.at;
            match self.cover {
                Cover::None => self.let_go(stop, out),
                Cover::Secret { .. } => self.skip_secret(stop, out),
                Cover::Line { least } => self.skip_line(least, stop, out),
                Cover::String { least } => self.skip_string(least, stop, out),
            }
            self.spend(before);
        }
    }

    /// Takes up the findings that start here.
    fn apply_findings(&mut self, out: &mut Vec<u8>) {
        while let Some(finding) = self.found.front()
            && finding.range.start <= self.at
        {
            let Some(StreamFinding { range, index, kind }) = self.found.pop_front() else {
                return;
            };
            match kind {
                FindingKind::Secret(run_on) if range.end > self.at => self.redact(range.end, run_on, index, out),
                FindingKind::Secret(_) => (), // let go already, when the stream was idle
                FindingKind::BlockBegin => self.open_block(index, &range, false),
                FindingKind::Lines if self.block.is_none() => self.open_block(index, &range, true),
                FindingKind::Lines => (), // lines of a key whose first one was seen
                FindingKind::BlockEnd => self.close_block(Some(index)),
                FindingKind::Columns(table) => self.open_table(index, table, range.end),
            }
        }
    }

    fn redact(&mut self, end: usize, run_on: ByteSet, index: usize, out: &mut Vec<u8>) {
        match self.cover {
            Cover::Line { least } => self.cover = Cover::Line { least: end.max(least) },
            Cover::String { least } => self.cover = Cover::String { least: end.max(least) },
            Cover::Secret { index: marked } if self.id(marked) == self.id(index) => {
                self.follow(end, run_on);
            }
            Cover::Secret { .. } if self.is_covered() => self.follow(end, run_on),
            Cover::Secret { .. } | Cover::None => {
                self.trails.clear();
                self.follow(end, run_on);
                self.begin_mark(index, out);
                self.cover = Cover::Secret { index };
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
        let text = self.view.text();
        self.trails.iter().any(|trail| self.at < trail.end || runs_on(text, self.at, trail.run_on))
    }

    /// Begins to cover what stands here, having finished what was covered before.
    fn begin_mark(&mut self, index: usize, out: &mut Vec<u8>) {
        self.close_cover(out);
        self.let_noise_go(self.at + 1, out);
        self.pending = Some(Pending {
            index,
            from: self.source,
            fingerprint: self.redactor.key.as_ref().map(|key| key.begin()),
            secret: Secret::default(),
            escapes: Vec::new(),
        });
    }

    /// Writes the mark of what was covered up to here.
    pub(super) fn close_cover(&mut self, out: &mut Vec<u8>) {
        self.cover = Cover::None;
        let Some(mut pending) = self.pending.take() else { return };
        let id = self.id(pending.index).to_owned();
        let Redactor { key, .. } = &self.redactor;
        let mark = match (key, pending.fingerprint.take()) {
            (Some(key), Some(inner)) if !mark::is_guessable(pending.secret.bytes()) => {
                mark::with_fingerprint(&id, &key.finish(inner))
            }
            _ => mark::plain(&id),
        };
        out.extend_from_slice(mark.as_bytes());
        out.extend_from_slice(&pending.escapes);
        if let Some(hits) = &mut self.hits {
            let StreamPosition { offset, line } = pending.from;
            hits.push(Hit { rule: id.clone(), line, offset, length: self.source.offset - offset });
        }
        if let Some(note) =
            pending.index.checked_sub(self.matcher.rules.len()).and_then(|number| self.known.note(number))
        {
            note.count();
        }
        self.learn(&id, &pending);
        *self.counts.entry(id).or_default() += 1;
    }

    /// A secret that a rule has found is a known value for the rest of the stream, wherever it stands.
    fn learn(&mut self, id: &str, pending: &Pending) {
        let rule = self.matcher.rules.get(pending.index);
        if !self.redactor.learns || !rule.is_some_and(|rule| rule.learn && rule.block_end.is_none()) {
            return;
        }
        let secret = pending.secret.bytes();
        if let Some(gathered) = self.gathered.as_mut().filter(|_| secret.len() < KEPT) {
            gathered.push(KnownValue::new(id, secret));
        }
        let (mut note, origin) = (None, || LearnedOrigin::Output { rule: id.to_owned() });
        let noted = || Arc::clone(note.insert(LearnedNote::new(id, secret, origin())));
        let learned = Arc::make_mut(&mut self.known).learn(id, secret, noted);
        if learned == Learned::Nothing {
            return;
        }
        if learned == Learned::InPlaceOfOthers {
            // Whether they have been found further on depends on the chunks.
            let (here, rules) = (self.at, self.matcher.rules.len());
            self.found.retain(|finding| finding.index < rules || finding.range.start <= here);
        }
        self.known_to = self.known_to.min(self.at);
        self.outdated = self.scanned;
        self.likely.clear();
        if self.redactor.memory.is_some()
            && let Some(note) = note
        {
            self.learned.push(note);
            if self.learned.len() >= MOST_LEARNED {
                self.remember();
            }
        }
    }

    /// Lets the noise before `limit` go.
    pub(super) fn let_noise_go(&mut self, limit: usize, out: &mut Vec<u8>) {
        while let Some((_, noise)) = self.view.take_gap_before(limit) {
            out.extend_from_slice(&noise.bytes);
            self.source.offset += count(noise.raw);
        }
    }

    /// What nothing that comes could change, when the source is silent and all has been let go.
    pub(super) fn show_silence(&mut self, out: &mut Vec<u8>) {
        let ended = |trail: &Trail| trail.end <= self.at && trail.run_on == ByteSet::NONE;
        if matches!(self.cover, Cover::Secret { .. }) && self.trails.iter().all(ended) {
            self.close_cover(out);
        }
        if self.pending.is_none() {
            self.let_noise_go(self.at + 1, out);
        }
    }

    /// Covers the bytes up to `to`.
    fn cover_to(&mut self, to: usize) {
        while let Some((_, noise)) = self.view.take_gap_before(to) {
            self.source.offset += count(noise.raw);
            if let Some(pending) = &mut self.pending
                && noise.escape
                && pending.escapes.len() < CARRIED
            {
                pending.escapes.extend_from_slice(&noise.bytes);
            }
        }
        let bytes = self.view.text().get(self.at..to).unwrap_or_default();
        if let Some(pending) = &mut self.pending {
            if let Some(fingerprint) = &mut pending.fingerprint {
                fingerprint.update(bytes);
            }
            let room = KEPT.saturating_sub(pending.secret.bytes().len()).min(bytes.len());
            pending.secret.extend(bytes.get(..room).unwrap_or_default());
        }
        self.pass(to);
    }

    /// Moves on to `to`, and keeps count of where that is in the source.
    fn pass(&mut self, to: usize) {
        let bytes = self.view.text().get(self.at..to).unwrap_or_default();
        self.source.offset += count(bytes.len());
        if self.hits.is_some() {
            self.source.line += count(memchr::memchr_iter(b'\n', bytes).count());
        }
        self.at = to;
    }

    fn open_block(&mut self, rule: usize, marker: &Range<usize>, bare: bool) {
        let before =
            self.view.text().get(marker.start.saturating_sub(self.matcher.back)..marker.start).unwrap_or_default();
        let column = before.iter().rev().take_while(|&&byte| byte != b'\n').count();
        let before = before.get(before.len() - column..).unwrap_or_default();
        let key = KeyBlock::new(rule, self.id(rule), before);
        self.block =
            Some(OpenBlock { key: if bare { key.bare() } else { key }, from: marker.end, string: None, judged: None });
    }

    /// Takes a line for the first one of a table, unless it is a row of the one that is open.
    fn open_table(&mut self, rule: usize, table: SecretTable, from: usize) {
        if self.table.is_none() {
            self.table = Some(OpenTable { rule, table, from, judged: 0 });
        }
    }

    /// Finds the secrets of the row that starts here.
    fn judge_row(&mut self) {
        let at_start = self.at.checked_sub(1).and_then(|last| self.view.text().get(last)) == Some(&b'\n');
        let at = self.at;
        let Some(open) = self.table.as_mut().filter(|open| at_start && at > open.from && open.judged < at) else {
            return;
        };
        open.judged = at;
        let rest = self.view.text().get(at..).unwrap_or_default();
        let length = rest.iter().take(ROW_LOOK).take_while(|byte| **byte != b'\n').count();
        let (row, index) = (open.table.judge(rest.get(..length).unwrap_or_default()), open.rule);
        match row {
            Row::Beyond => self.table = None,
            Row::Cells(cells) => {
                for cell in cells {
                    let range = at + cell.start..at + cell.end;
                    if !mark::touches(self.view.text(), &range, self.ids()) {
                        self.insert(StreamFinding { range, index, kind: FindingKind::Secret(ByteSet::NONE) });
                    }
                }
            }
        }
    }

    /// Ends the block; with `rule`, only if that rule has opened it.
    fn close_block(&mut self, rule: Option<usize>) {
        if rule.is_some() && self.block.as_ref().map(|block| block.key.rule) != rule {
            return;
        }
        let least = match self.cover {
            Cover::Line { least } | Cover::String { least } => Some(least),
            Cover::None | Cover::Secret { .. } => None,
        };
        if let (Some(block), Some(least)) = (self.block.take(), least) {
            self.cover = Cover::Secret { index: block.key.rule };
            self.trails = vec![Trail { end: least, run_on: ByteSet::NONE }];
        }
    }

    /// Takes the bytes since `before` off what a key may take up.
    fn spend(&mut self, before: usize) {
        let Some(OpenBlock { key, from, .. }) = &mut self.block else {
            return;
        };
        key.left = key.left.saturating_sub(self.at.saturating_sub(before.max(*from)));
        if key.left == 0 {
            self.close_block(None);
        }
    }

    fn let_go(&mut self, mut stop: usize, out: &mut Vec<u8>) {
        self.take_key_line(out);
        if !matches!(self.cover, Cover::None) {
            return;
        }
        if let Some(OpenBlock { from, string, .. }) = &self.block {
            stop = match string {
                Some(string) => stop.min(*string),
                None if self.at < *from => stop.min(*from),
                None => self.line_break(stop).map_or(stop, |at| at + 1),
            };
        }
        if self.table.is_some() {
            stop = self.line_break(stop).map_or(stop, |at| at + 1);
        }
        while let Some((at, noise)) = self.view.take_gap_before(stop) {
            out.extend_from_slice(self.view.text().get(self.at..at).unwrap_or_default());
            self.pass(at.max(self.at));
            out.extend_from_slice(&noise.bytes);
            self.source.offset += count(noise.raw);
        }
        out.extend_from_slice(self.view.text().get(self.at..stop).unwrap_or_default());
        self.pass(stop);
    }

    /// Begins to cover a line of the open key, if one starts here. It goes before what a rule finds in it.
    fn take_key_line(&mut self, out: &mut Vec<u8>) {
        if matches!(self.cover, Cover::None)
            && let Some((rule, cover)) = self.key_line_here()
        {
            self.begin_mark(rule, out);
            self.cover = cover;
        }
    }

    /// The rule of the open block and how it covers what starts here, if that is a line or a string of its key.
    fn key_line_here(&mut self) -> Option<(usize, Cover)> {
        let at_start = self.at.checked_sub(1).and_then(|last| self.view.text().get(last)) == Some(&b'\n');
        let text = self.line_at(self.at);
        let block = self.block.as_ref()?;
        let rule = block.key.rule;
        let line = match block.string {
            Some(string) if string > self.at => return None,
            Some(_) => {
                self.block.as_mut()?.string = None;
                return Some((rule, Cover::String { least: self.at }));
            }
            None if block.judged == Some(self.at) => return None,
            None if self.at == block.from => block.key.judge_remainder(text),
            None if self.at > block.from && at_start => block.key.judge(text),
            None => return None,
        };
        let at = self.at;
        self.block.as_mut()?.judged = Some(at);
        self.note(line);
        match line {
            KeyLine::Body(_) => Some((rule, Cover::Line { least: self.at })),
            KeyLine::Quoted { lead: 0, .. } => Some((rule, Cover::String { least: self.at })),
            KeyLine::Quoted { lead, .. } => {
                self.block.as_mut()?.string = Some(self.at + lead);
                None
            }
            KeyLine::Blank | KeyLine::Stranger | KeyLine::Beyond => None,
        }
    }

    fn note(&mut self, line: KeyLine) {
        if let Some(OpenBlock { key, .. }) = &mut self.block {
            key.note(line);
        }
        if line == KeyLine::Beyond {
            self.block = None;
        }
    }

    fn skip_secret(&mut self, stop: usize, out: &mut Vec<u8>) {
        let text = &self.view.text();
        for trail in self.trails.iter_mut().filter(|trail| trail.end < stop) {
            let set = trail.run_on;
            trail.end += (trail.end..stop).take_while(|&at| runs_on(text, at, set)).count();
        }
        let end = self.trails.iter().map(|trail| trail.end).max().unwrap_or(self.at);
        self.trails.retain(|trail| trail.end >= stop);
        self.cover_to(end.clamp(self.at, stop));
        if self.trails.is_empty() {
            self.close_cover(out);
            self.go_on_behind_string();
        }
    }

    /// A key without markers can go on behind the string that it began in.
    fn go_on_behind_string(&mut self) {
        let at = self.at;
        if let Some(OpenBlock { key, from, .. }) = &mut self.block
            && key.is_bare()
            && *from <= at
            && !self.view.text().get(*from..at).unwrap_or_default().contains(&b'\n')
        {
            *from = at;
        }
    }

    /// Covers a string of a key up to what ends it. What follows on the line is judged anew.
    fn skip_string(&mut self, least: usize, stop: usize, out: &mut Vec<u8>) {
        let text = self.view.text();
        let ends = |at: &usize| *at >= least && ends_string(text, *at);
        match (self.at..stop).find(ends) {
            None => self.cover_to(stop),
            Some(end) => {
                self.cover_to(end);
                self.close_cover(out);
                if let Some(OpenBlock { from, .. }) = &mut self.block {
                    *from = end;
                }
            }
        }
    }

    fn skip_line(&mut self, least: usize, stop: usize, out: &mut Vec<u8>) {
        match self.line_break(stop) {
            None => self.cover_to(stop),
            Some(at) if at < least => self.cover_to(at + 1),
            Some(at) => match self.block.as_ref().map(|block| block.key.judge(self.line_at(at + 1))) {
                Some(line @ KeyLine::Body(_)) => {
                    self.note(line);
                    self.cover_to(at + 1);
                }
                Some(_) | None => {
                    self.cover_to(at); // the line break itself stays
                    self.close_cover(out);
                }
            },
        }
    }

    fn line_break(&self, stop: usize) -> Option<usize> {
        let rest = self.view.text().get(self.at..stop).unwrap_or_default();
        rest.iter().position(|&byte| byte == b'\n').map(|offset| self.at + offset)
    }
}

/// Whether a secret goes over the byte at `at`. A backslash that escapes a quote stays with it: without it, the quote would end
/// a string.
pub(crate) fn runs_on(text: &[u8], at: usize, set: ByteSet) -> bool {
    let escapes = || {
        let before = text.get(..at).unwrap_or_default().iter().rev().take_while(|byte| **byte == b'\\');
        text.get(at + 1) == Some(&b'"') && before.count() % 2 == 0
    };
    text.get(at).is_some_and(|&byte| set.contains(byte) && (byte != b'\\' || set.contains(b'"') || !escapes()))
}

/// Whether a string of a key ends at `at`: at its quote, at what escapes the quote, or with the line.
fn ends_string(text: &[u8], at: usize) -> bool {
    match text.get(at) {
        Some(b'"' | b'\'' | b'\n') | None => true,
        Some(b'\\') => {
            let mut rest = text.iter().skip(at).take(MOST_ESCAPES);
            rest.find(|byte| **byte != b'\\').is_some_and(|byte| matches!(byte, b'"' | b'\''))
        }
        Some(_) => false,
    }
}

fn count(length: usize) -> u64 {
    length.try_into().unwrap_or(u64::MAX)
}
