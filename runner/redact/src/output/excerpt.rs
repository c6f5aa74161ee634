//! What a result shows of what was kept: lines that match, the first and last lines, and only then characters.
//!
//! Every step takes the parts that are left and makes them fewer, so that what is left out at the end is counted
//! once, in one place. Whatever is shown is a piece of redacted bytes or a line of Palisade's own.

use std::ops::Range;

use serde::Serialize;

use super::grep::{GrepResult, StreamPart};
use super::lines::{chars, head_end, lines, tail_start};
use super::{Keep, Position, View};
use crate::{Redacted, RedactedBytes};

/// The head's share of what is kept or shown: a quarter. Errors stand at the end, so the tail gets the rest.
pub(super) const HEAD_SHARE: usize = 4;

/// What a line that says what is missing costs, in characters, where there are several.
const MARK: usize = 20;

/// A stream as a result shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The parts shown, with a line wherever something is missing that says how much.
    pub text: Redacted,
    /// Bytes of the redacted stream that `text` does not show.
    pub omitted_bytes: u64,
    /// Line breaks among them.
    pub omitted_lines: u64,
    /// Length of the redacted stream in bytes.
    pub total_bytes: u64,
    /// Whether bytes in the part shown were no UTF-8 and are now U+FFFD.
    pub lossy: bool,
    /// What the search came to, where one was asked for.
    pub search: Option<Search>,
}

/// What a search came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Search {
    /// Lines that match, of those that were searched; not all of them need be shown.
    pub matched: u64,
    /// Bytes that were not searched: of a search that came later those that were not kept, a line cut there or too long, and what a too
    /// costly pattern left.
    #[serde(skip_serializing_if = "is_zero")]
    pub unsearched_bytes: u64,
    /// Line breaks among them.
    #[serde(skip_serializing_if = "is_zero")]
    pub unsearched_lines: u64,
    /// The pattern was too costly to search to the end.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub gave_up: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What there is of a stream: head and tail, and how much came between.
pub(super) struct StreamEnds {
    /// Head and tail, one behind the other.
    pub(super) bytes: RedactedBytes,
    /// Where in `bytes` the head ends.
    pub(super) seam: usize,
    /// What came there and was dropped.
    pub(super) dropped: Position,
    /// Bytes at the beginning that are the end of a character.
    pub(super) loose: usize,
}

impl StreamEnds {
    /// What a view shows of it.
    pub(super) fn show(self, view: &View) -> Shown {
        let parts = self.parts();
        let found = view.grep.as_ref().map(|grep| grep.find(self.bytes.as_bytes(), &parts));
        let searched = found.as_ref().map(|found| self.searched(found));
        let mut ranges = match found {
            Some(found) => found.selected,
            None => parts.into_iter().map(|part| part.range).collect(),
        };
        ranges.retain(|range| !range.is_empty());
        if let Some(keep) = view.keep {
            ranges = self.first_and_last(ranges, keep);
        }
        let ranges = self.fit(ranges, view.max_chars);
        self.write(&ranges, view, searched)
    }

    /// The parts that can be shown: all, or head and tail without the lines and characters that the cut would leave in
    /// pieces.
    fn parts(&self) -> Vec<StreamPart> {
        let length = self.bytes.len();
        if self.dropped.bytes == 0 {
            return vec![StreamPart { range: self.loose..length, cut_before: false, cut_after: false }];
        }
        let head_end = head_end(self.slice(0..self.seam), usize::MAX);
        let tail_start = self.seam + tail_start(self.slice(self.seam..length), usize::MAX);
        let after_break = tail_start > self.seam && self.slice(tail_start - 1..tail_start) == b"\n";
        vec![
            StreamPart { range: self.loose.min(head_end)..head_end, cut_before: false, cut_after: true },
            StreamPart { range: tail_start..length, cut_before: !after_break, cut_after: false },
        ]
    }

    fn searched(&self, found: &GrepResult) -> Searched {
        let all = self.total();
        let search = Search {
            matched: found.matched,
            unsearched_bytes: all.bytes - found.searched.bytes,
            unsearched_lines: all.lines - found.searched.lines,
            gave_up: found.gave_up.is_some(),
        };
        Searched { search, end: found.gave_up.unwrap_or(self.bytes.len()) }
    }

    /// The first and the last lines of what is left, whatever lies between them.
    fn first_and_last(&self, ranges: Vec<Range<usize>>, keep: Keep) -> Vec<Range<usize>> {
        let all = || ranges.iter().flat_map(|range| lines(self.bytes.as_bytes(), range.clone()));
        let total = all().count();
        if total <= keep.head.saturating_add(keep.tail) {
            return ranges;
        }
        let head_end = keep.head.checked_sub(1).and_then(|last| all().nth(last)).map_or(0, |line| line.end);
        let tail_start = all().nth(total - keep.tail).map_or(self.bytes.len(), |line| line.start);
        let head = ranges.iter().map(|range| range.start..range.end.min(head_end));
        let tail = ranges.iter().map(|range| range.start.max(tail_start)..range.end);
        head.chain(tail).filter(|range| !range.is_empty()).collect()
    }

    /// Everything if it has at most `most` characters, else as much of the beginning and the end, cut between lines
    /// where one ends nearby. Up to three lines that say what is missing come on top of `most`: before, between and
    /// after.
    fn fit(&self, ranges: Vec<Range<usize>>, most: usize) -> Vec<Range<usize>> {
        if self.cost(&ranges, ranges.len().saturating_sub(2)) <= most {
            return ranges;
        }
        let (before, after) = ranges.split_at(ranges.partition_point(|range| range.end <= self.seam));
        // What does not fit should be one with what was dropped.
        let apart = self.dropped.bytes > 0 && !before.is_empty() && !after.is_empty();
        let (before, after) = if apart { (before, after) } else { (ranges.as_slice(), ranges.as_slice()) };
        let spare = if apart { most.saturating_sub(self.cost(after, after.len() - 1)) } else { 0 };
        let head_most = (most / HEAD_SHARE).max(spare);
        let (mut shown, left) = self.beginning(before, head_most);
        let from = shown.last().map_or(0, |last| last.end);
        shown.extend(self.end(after, from, most - head_most + left));
        shown
    }

    /// Characters, and those of so many lines that say what is missing.
    fn cost(&self, ranges: &[Range<usize>], marks: usize) -> usize {
        ranges.iter().map(|range| chars(self.slice(range.clone()))).sum::<usize>() + MARK * marks
    }

    /// The first ranges that fit in `most` characters, the last of them in part, and how many characters are left.
    fn beginning(&self, ranges: &[Range<usize>], most: usize) -> (Vec<Range<usize>>, usize) {
        let (mut taken, mut left) = (Vec::new(), most);
        for range in ranges {
            left = left.saturating_sub(if taken.is_empty() { 0 } else { MARK });
            let part = self.slice(range.clone());
            let length = chars(part);
            if length > left {
                let end = range.start + head_end(part, left);
                taken.extend(Some(range.start..end).filter(|range| !range.is_empty()));
                return (taken, 0);
            }
            taken.push(range.clone());
            left -= length;
        }
        (taken, left)
    }

    /// The last ranges behind `from` that fit in `most` characters, the first of them in part.
    fn end(&self, ranges: &[Range<usize>], from: usize, most: usize) -> Vec<Range<usize>> {
        let (mut taken, mut left) = (Vec::new(), most);
        for range in ranges.iter().rev().map(|range| range.start.max(from)..range.end) {
            left = left.saturating_sub(if taken.is_empty() { 0 } else { MARK });
            let part = self.slice(range.clone());
            let length = chars(part);
            if length > left {
                taken.push(range.start + tail_start(part, left)..range.end);
                break;
            }
            taken.push(range);
            left -= length;
        }
        taken.retain(|range| !range.is_empty());
        taken.reverse();
        taken
    }

    fn write(self, ranges: &[Range<usize>], view: &View, searched: Option<Searched>) -> Shown {
        let ends = ranges.iter().map(|range| range.end);
        let starts = ranges.iter().map(|range| range.start);
        let gaps = std::iter::once(0).chain(ends).zip(starts.chain([self.bytes.len()]));
        let gaps: Vec<Gap> = gaps.map(|(start, end)| self.gap(start..end, view, searched.as_ref())).collect();
        let total = self.total();
        let mut text = Redacted::default();
        let mut lossy = false;
        let pieces = pieces(self.bytes, ranges).into_iter().map(Some).chain([None]);
        for (gap, piece) in gaps.iter().zip(pieces) {
            gap.write(&mut text);
            if let Some((piece, replaced)) = piece.map(|piece| piece.to_text()) {
                text.push(&piece);
                lossy |= replaced;
            }
        }
        Shown {
            text,
            omitted_bytes: gaps.iter().map(|gap| gap.size.bytes).sum(),
            omitted_lines: gaps.iter().map(|gap| gap.size.lines).sum(),
            total_bytes: total.bytes,
            lossy,
            search: searched.map(|searched| searched.search),
        }
    }

    /// What is left out here. Between two parts that are shown the seam lies at most once.
    fn gap(&self, range: Range<usize>, view: &View, searched: Option<&Searched>) -> Gap {
        let bytes = self.slice(range.clone());
        let mut size = Position::of(bytes);
        let ends_line = |at: usize| at == 0 || self.slice(at - 1..at) == b"\n";
        let whole_lines = !bytes.is_empty() && ends_line(range.start) && ends_line(range.end);
        let holds_dropped = self.dropped.bytes > 0 && (range.start..=range.end).contains(&self.seam);
        if holds_dropped {
            size.bytes += self.dropped.bytes;
            size.lines += self.dropped.lines;
        }
        let unsearched = searched.is_some_and(|searched| holds_dropped || range.end > searched.end);
        let words = match () {
            () if unsearched => GapWording::Unsearched,
            () if !holds_dropped && whole_lines && view.is_by_lines() => GapWording::Lines,
            () => GapWording::Bytes,
        };
        Gap { size, words }
    }

    fn total(&self) -> Position {
        let Position { bytes, lines } = Position::of(self.bytes.as_bytes());
        Position { bytes: bytes + self.dropped.bytes, lines: lines + self.dropped.lines }
    }

    fn slice(&self, range: Range<usize>) -> &[u8] {
        self.bytes.as_bytes().get(range).unwrap_or_default()
    }
}

/// A search, and where in what is kept it ended.
struct Searched {
    search: Search,
    end: usize,
}

/// A place where something is left out, perhaps nothing.
struct Gap {
    size: Position,
    words: GapWording,
}

enum GapWording {
    /// Lines that were not asked for.
    Lines,
    /// What was dropped, or did not fit.
    Bytes,
    /// What was dropped before it could be searched, or left by a search that gave up.
    Unsearched,
}

impl Gap {
    fn write(&self, text: &mut Redacted) {
        if self.size.bytes == 0 {
            return;
        }
        if !text.is_empty() && !text.as_str().ends_with('\n') {
            text.push_static("\n");
        }
        text.push_static("[… ");
        if !matches!(self.words, GapWording::Lines) {
            text.push_count(self.size.bytes);
            text.push_static(" bytes, ");
        }
        text.push_count(self.size.lines);
        text.push_static(match self.words {
            GapWording::Lines if self.size.lines == 1 => " line …]\n",
            GapWording::Lines => " lines …]\n",
            GapWording::Bytes => " lines omitted …]\n",
            GapWording::Unsearched => " lines omitted, not all of them searched …]\n",
        });
    }
}

/// The ranges, cut out. From the end, so that each byte is copied once.
pub(super) fn pieces(mut bytes: RedactedBytes, ranges: &[Range<usize>]) -> Vec<RedactedBytes> {
    let cut = |range: &Range<usize>| {
        bytes.truncate(range.end);
        bytes.split_off(range.start)
    };
    let mut pieces: Vec<RedactedBytes> = ranges.iter().rev().map(cut).collect();
    pieces.reverse();
    pieces
}
