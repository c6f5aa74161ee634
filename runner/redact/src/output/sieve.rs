//! The lines of a stream that match, found as the stream passes: a line counts also if it is dropped later.
//!
//! Decides which lines are kept beside head and tail, and what of the stream was not searched. A line longer than [`MAX_LINE`] is not
//! searched, and neither is what follows a pattern that has become too costly; both are counted.

use std::ops::Range;

use regex_automata::hybrid::dfa::Cache;

use super::excerpt::{Search, Shown, pieces};
use super::grep::{Grep, back};
use super::lines::lines;
use super::{Capture, Position, View};
use crate::RedactedBytes;

/// Bytes of the longest line that is searched.
const MAX_LINE: usize = 64 << 10;

/// A search that goes along with a stream.
#[derive(Clone, Debug)]
pub(super) struct Sieve {
    grep: Grep,
    cache: Cache,
    /// Lines that may yet be shown around a match, and behind them the line that has not ended.
    rest: RedactedBytes,
    /// How much at the beginning of `rest` was searched.
    done: usize,
    /// How much at the beginning of `rest` is among the selected lines.
    selected: usize,
    /// Lines to come that are shown because of a match.
    after: usize,
    /// The line that has not ended is longer than is searched.
    too_long: bool,
    /// The pattern was too costly.
    gave_up: bool,
    matched: u64,
    searched: Position,
    /// The lines that match, with those around them.
    found: Box<Capture>,
}

impl Sieve {
    /// A search for these lines, of which `keep` bytes are kept.
    pub(super) fn new(grep: Grep, keep: usize) -> Self {
        Self {
            cache: grep.cache(),
            grep,
            rest: RedactedBytes::default(),
            done: 0,
            selected: 0,
            after: 0,
            too_long: false,
            gave_up: false,
            matched: 0,
            searched: Position::default(),
            found: Box::new(Capture::new(keep)),
        }
    }

    /// Whether it searches for this.
    pub(super) fn is_for(&self, grep: &Grep) -> bool {
        self.grep.is_as(grep)
    }

    /// Takes the next bytes of the stream.
    pub(super) fn push(&mut self, bytes: &RedactedBytes) {
        if self.gave_up {
            return;
        }
        self.rest.append(bytes);
        let end = memchr::memrchr(b'\n', self.rest.as_bytes()).map_or(0, |at| at + 1);
        if end > self.done {
            self.search(end);
        }
        if self.rest.len() - self.done > MAX_LINE {
            self.too_long = true;
            self.rest.truncate(self.done);
        }
    }

    /// What a view of the whole stream shows, of which `total` has passed; none if the search gave up.
    pub(super) fn show(&self, total: Position, view: &View) -> Option<Shown> {
        let mut all = self.clone();
        if all.rest.len() > all.done && !all.too_long {
            all.search(all.rest.len());
        }
        if all.gave_up {
            return None;
        }
        all.found.flush();
        let shown = all.found.shape(&View { grep: None, ..view.clone() });
        let there = all.found.position();
        Some(Shown {
            omitted_bytes: total.bytes - (there.bytes - shown.omitted_bytes),
            omitted_lines: total.lines - (there.lines - shown.omitted_lines),
            total_bytes: total.bytes,
            search: Some(Search {
                matched: all.matched,
                unsearched_bytes: total.bytes - all.searched.bytes,
                unsearched_lines: total.lines - all.searched.lines,
                gave_up: false,
            }),
            ..shown
        })
    }

    /// Searches the lines up to `end`, which ends one.
    fn search(&mut self, end: usize) {
        let rest = std::mem::take(&mut self.rest);
        let bytes = rest.as_bytes();
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for line in lines(bytes, self.done..end) {
            // What was longer than is searched ends here.
            if std::mem::take(&mut self.too_long) {
                self.after = 0;
                self.selected = line.end;
                continue;
            }
            let text = bytes.get(line.clone()).unwrap_or_default();
            let Ok(matches) = self.grep.is_in(&mut self.cache, text) else {
                self.gave_up = true;
                return;
            };
            let Position { bytes: length, lines } = Position::of(text);
            self.searched.bytes += length;
            self.searched.lines += lines;
            self.matched += u64::from(matches);
            let shown = if matches {
                self.after = self.grep.context();
                back(bytes, self.selected..line.start, self.grep.context())..line.end
            } else if self.after > 0 {
                self.after -= 1;
                line
            } else {
                continue;
            };
            self.selected = shown.end;
            ranges.push(shown);
        }
        let from = back(bytes, self.selected.min(end)..end, self.grep.context());
        self.rest = rest.clone();
        self.rest.drop_front(from);
        for piece in pieces(rest, &ranges) {
            self.found.push(&piece);
        }
        self.done = end - from;
        self.selected = self.selected.saturating_sub(from);
    }
}
