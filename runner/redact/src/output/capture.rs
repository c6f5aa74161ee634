//! Keeps what a result can show of a stream: the head, the tail, and an exact count of what lies between.
//!
//! Decides what is kept, and what of it came after a place in the stream; what a result shows of that is `excerpt`'s.

use super::excerpt::{HEAD_SHARE, Shown, StreamEnds};
use super::lines::{completing, count, head_end, line_breaks, unfinished};
use super::sieve::Sieve;
use super::{Grep, Position, View};
use crate::{Redacted, RedactedBytes};

/// The bounded record of one stream. Holds at most twice `keep` bytes, however many were pushed.
///
/// Characters are taken whole, so that no reading ends within one: up to three bytes at the end are held back until
/// more come, or until [`Capture::flush`].
#[derive(Clone, Debug)]
pub struct Capture {
    keep: usize,
    head: RedactedBytes,
    /// The head takes no more than this.
    head_most: usize,
    /// The newest bytes after the head. Trimmed only when twice as long as needed, so that trimming costs little.
    tail: RedactedBytes,
    /// The beginning of a character.
    held: RedactedBytes,
    /// Bytes at the beginning that end a character, because the capture begins within it.
    loose: usize,
    end: Position,
    /// A search that goes along with the stream.
    sieve: Option<Box<Sieve>>,
}

impl Capture {
    /// A capture that can show up to `keep` bytes: a quarter from the head, the rest from the tail.
    pub fn new(keep: usize) -> Self {
        Self {
            keep,
            head: RedactedBytes::default(),
            head_most: keep / HEAD_SHARE,
            tail: RedactedBytes::default(),
            held: RedactedBytes::default(),
            loose: 0,
            end: Position::default(),
            sieve: None,
        }
    }

    /// The same, with a search that goes along: a view of the whole stream that asks for these lines has them all, also those that are
    /// not kept.
    #[must_use]
    pub fn searching(self, grep: Grep) -> Self {
        let keep = self.keep;
        Self { sieve: Some(Box::new(Sieve::new(grep, keep))), ..self }
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &RedactedBytes) {
        let mut fresh = std::mem::take(&mut self.held);
        fresh.append(bytes);
        self.held = fresh.split_off(fresh.len() - unfinished(fresh.as_bytes()));
        self.take(fresh);
    }

    /// Takes what is held back, because no more is expected. More may come all the same.
    pub fn flush(&mut self) {
        let held = std::mem::take(&mut self.held);
        self.take(held);
    }

    /// Whether what is kept of its end ends so.
    pub fn ends_with(&self, bytes: &[u8]) -> bool {
        let end = if self.tail.is_empty() { &self.head } else { &self.tail };
        end.as_bytes().ends_with(bytes)
    }

    /// The last line that is not empty, or its first `most` characters.
    pub fn last_line(&self, most: usize) -> Redacted {
        let mut bytes = if self.tail.is_empty() { self.head.clone() } else { self.tail.clone() };
        bytes.truncate(bytes.as_bytes().trim_ascii_end().len());
        let start = bytes.as_bytes().iter().rposition(|byte| matches!(byte, b'\n' | b'\r')).map_or(0, |at| at + 1);
        bytes.drop_front(start);
        bytes.truncate(head_end(bytes.as_bytes(), most));
        bytes.to_text().0
    }

    /// Length of the redacted stream so far, in bytes.
    pub fn total_bytes(&self) -> u64 {
        self.end.bytes
    }

    /// Where the stream ends so far, and the next reading begins.
    pub fn position(&self) -> Position {
        self.end
    }

    /// What came after `from`, as a capture of its own that counts from there. Empty if `from` is beyond the end.
    ///
    /// If that place is within a line, the rest of the line counts as a line. If it is within a character whose
    /// beginning was kept, which no [`Capture::position`] is, the rest of the character is not shown and counts as
    /// omitted. The lines up to `from` are counted anew if it is in a part that was kept; within what was dropped they
    /// are believed, as far as they can be true.
    #[must_use]
    pub fn since(&self, from: Position) -> Self {
        let at = from.bytes.min(self.end.bytes);
        if at == 0 {
            return self.clone();
        }
        let kept = self.kept();
        if kept.dropped.bytes == 0 || at >= count(kept.seam) + kept.dropped.bytes {
            self.since_kept(kept, at)
        } else {
            self.since_before_tail(kept, Position { bytes: at, lines: from.lines })
        }
    }

    /// What a view shows of it. A line stands wherever something is missing, and says how much; the first three of
    /// them come on top of the view's characters.
    pub fn shape(&self, view: &View) -> Shown {
        let kept = self.kept();
        let sieve = self.sieve.as_ref().zip(view.grep.as_ref()).filter(|(sieve, grep)| sieve.is_for(grep));
        let sieved = sieve.filter(|_| kept.dropped.bytes > 0).and_then(|(sieve, _)| sieve.show(self.end, view));
        sieved.unwrap_or_else(|| kept.show(view))
    }

    /// Nothing was dropped after `at`.
    fn since_kept(&self, kept: StreamEnds, at: u64) -> Self {
        let run = if kept.dropped.bytes == 0 { 0 } else { kept.seam };
        let mut before = kept.bytes;
        let rest = before.split_off(index(at - kept.dropped.bytes));
        before.drop_front(run);
        let loose = self.loose_after(at, &before, &rest);
        let mut since = Self { held: self.held.clone(), loose, ..Self::new(self.keep) };
        since.take(rest);
        since
    }

    /// `at` is in the head, or among what was dropped behind it.
    fn since_before_tail(&self, kept: StreamEnds, at: Position) -> Self {
        let mut before = kept.bytes;
        let tail = before.split_off(kept.seam);
        let rest = before.split_off(index(at.bytes));
        let dropped = dropped_since(kept.dropped, &before, at);
        let end = Position {
            bytes: self.end.bytes - at.bytes,
            lines: line_breaks(rest.as_bytes()) + dropped.lines + line_breaks(tail.as_bytes()),
        };
        Self {
            keep: self.keep,
            // Nothing can be added to it: the dropped bytes come next.
            head_most: rest.len(),
            loose: self.loose_after(at.bytes, &before, &rest),
            head: rest,
            tail,
            held: self.held.clone(),
            end,
            sieve: None,
        }
    }

    fn loose_after(&self, at: u64, before: &RedactedBytes, rest: &RedactedBytes) -> usize {
        completing(before.as_bytes(), rest.as_bytes()).max(self.loose.saturating_sub(index(at)))
    }

    fn take(&mut self, mut bytes: RedactedBytes) {
        if let Some(sieve) = &mut self.sieve {
            sieve.push(&bytes);
        }
        self.end.bytes += count(bytes.len());
        self.end.lines += line_breaks(bytes.as_bytes());
        let mut rest = bytes.split_off(self.head_most - self.head.len());
        self.head.append(&bytes);
        let tail_most = self.tail_most();
        rest.drop_front(rest.len().saturating_sub(tail_most));
        self.tail.append(&rest);
        if self.tail.len() > tail_most.saturating_mul(2) {
            self.tail.drop_front(self.tail.len() - tail_most);
        }
    }

    /// Bytes in memory.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.head.len() + self.tail.len() + self.held.len()
    }

    pub(super) fn kept(&self) -> StreamEnds {
        let mut tail = self.tail.clone();
        tail.drop_front(tail.len().saturating_sub(self.tail_most()));
        let mut bytes = self.head.clone();
        bytes.append(&tail);
        let Position { bytes: length, lines } = Position::of(bytes.as_bytes());
        let dropped = Position { bytes: self.end.bytes - length, lines: self.end.lines - lines };
        StreamEnds { bytes, seam: self.head.len(), dropped, loose: self.loose }
    }

    fn tail_most(&self) -> usize {
        self.keep - self.keep / HEAD_SHARE
    }
}

/// What of the dropped bytes comes after `at`, where `head` is all that was kept before it. A position that lies
/// cannot make the lines more than the bytes, or more than were dropped.
fn dropped_since(dropped: Position, head: &RedactedBytes, at: Position) -> Position {
    let before = at.bytes - count(head.len());
    let after = dropped.bytes - before;
    let claimed = at.lines.saturating_sub(line_breaks(head.as_bytes()));
    let lines = claimed.max(dropped.lines.saturating_sub(after)).min(before).min(dropped.lines);
    Position { bytes: after, lines: dropped.lines - lines }
}

fn index(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}
