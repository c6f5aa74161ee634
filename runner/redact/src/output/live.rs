//! Bounds a stream that is passed on while its command runs: decides what goes on at once, what waits for the end, and what is left out.
//!
//! A [`Capture`](super::Capture) bounds what a result shows. This does the same for output that somebody reads as it comes: the head is
//! passed on at once, the tail when the command has ended. What the middle held is counted.

use super::Position;
use super::excerpt::HEAD_SHARE;
use super::lines::{count, line_breaks, tail_start, unfinished};
use crate::RedactedBytes;

/// How much of a stream is passed on, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// What goes on at once.
    head: usize,
    /// What is kept for the end.
    tail: usize,
}

impl Bound {
    /// `most` bytes. The tail has as much of them as a [`Capture`](super::Capture) of `keep` bytes keeps of it, three quarters at most.
    pub fn new(most: usize, keep: usize) -> Self {
        let tail = |of: usize| of - of / HEAD_SHARE;
        let tail = tail(keep).min(tail(most));
        Self { head: most - tail, tail }
    }
}

/// One stream on its way to whoever reads it.
#[derive(Clone, Debug)]
pub struct Live {
    /// None: all of it is passed on.
    bound: Option<Bound>,
    /// The head takes so many bytes more; none once the first one had to wait.
    room: usize,
    /// The newest bytes behind the head. Trimmed only when twice as long as needed, so that trimming costs little.
    tail: RedactedBytes,
    /// What was left out before the tail.
    omitted: Position,
    /// What was passed on ends a line.
    ends_line: bool,
}

/// What a stream leaves when it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rest {
    /// What was left out between the head and this.
    pub omitted: Position,
    /// The head ended with a line, or was empty.
    pub ends_line: bool,
    /// The tail.
    pub bytes: RedactedBytes,
}

impl Live {
    /// A stream of which so much is passed on; all of it without a bound.
    pub fn new(bound: Option<Bound>) -> Self {
        let room = bound.map_or(0, |bound| bound.head);
        Self { bound, room, tail: RedactedBytes::default(), omitted: Position::default(), ends_line: true }
    }

    /// Takes the next bytes, and returns those to pass on now. The head ends between two characters.
    pub fn push(&mut self, mut bytes: RedactedBytes) -> RedactedBytes {
        let Some(bound) = self.bound else { return bytes };
        if bytes.len() <= self.room {
            self.room -= bytes.len();
        } else {
            let end = self.room - unfinished(bytes.as_bytes().get(..self.room).unwrap_or_default());
            let rest = bytes.split_off(end);
            self.room = 0;
            self.tail.append(&rest);
            if self.tail.len() > bound.tail.saturating_mul(2) {
                self.leave_out(self.tail.len() - bound.tail);
            }
        }
        if let Some(last) = bytes.as_bytes().last() {
            self.ends_line = *last == b'\n';
        }
        bytes
    }

    /// Ends the stream. The tail begins with a line where one begins nearby, else with a character.
    pub fn finish(mut self) -> Rest {
        let most = self.bound.map_or(0, |bound| bound.tail);
        self.leave_out(self.tail.len().saturating_sub(most));
        if self.omitted.bytes > 0 {
            self.leave_out(tail_start(self.tail.as_bytes(), usize::MAX));
        }
        Rest { omitted: self.omitted, ends_line: self.ends_line, bytes: self.tail }
    }

    /// Drops so many bytes of the tail's beginning, and counts them.
    fn leave_out(&mut self, length: usize) {
        let dropped = self.tail.as_bytes().get(..length).unwrap_or_default();
        self.omitted.bytes += count(dropped.len());
        self.omitted.lines += line_breaks(dropped);
        self.tail.drop_front(length);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::Redactor;

    fn redacted(text: &str) -> RedactedBytes {
        let mut stream = Redactor::builtin().unwrap().stream();
        let mut bytes = stream.push(text.as_bytes());
        bytes.append(&stream.finish());
        bytes
    }

    /// What was passed on at once, and what was left for the end.
    fn passed(text: &str, bound: Option<Bound>, step: usize) -> (String, Rest) {
        let (mut rest, mut live, mut head) = (redacted(text), Live::new(bound), RedactedBytes::default());
        while !rest.is_empty() {
            let more = rest.split_off(step);
            head.append(&live.push(rest));
            rest = more;
        }
        (head.to_text().0.to_string(), live.finish())
    }

    #[test]
    fn what_fits_is_passed_on_whole() {
        let text: String = (1..=200).map(|number| format!("{number}\n")).collect();
        for bound in [None, Some(Bound::new(text.len(), 100)), Some(Bound::new(text.len(), 1 << 20))] {
            for step in [1, 7, 10_000] {
                let (mut head, rest) = passed(&text, bound, step);
                head.push_str(rest.bytes.to_text().0.as_str());
                assert_eq!((head, rest.omitted), (text.clone(), Position::default()), "{bound:?} {step}");
            }
        }
    }

    #[test]
    fn of_more_the_head_and_the_tail_are_passed_on_and_the_rest_is_counted() {
        let text: String = (1..=5000).map(|number| format!("line {number} ü\n")).collect();
        for (most, keep) in [(400, 1 << 20), (4000, 400), (1, 1), (4, 0)] {
            for step in [1, 64, 100_000] {
                let (head, rest) = passed(&text, Some(Bound::new(most, keep)), step);
                let tail = rest.bytes.to_text();
                assert!(!tail.1 && head.len() + rest.bytes.len() <= most, "{most} {keep} {step}");
                assert!(text.starts_with(&head) && text.ends_with(tail.0.as_str()), "{most} {keep} {step}");
                let middle = text.get(head.len()..text.len() - tail.0.len()).unwrap();
                let omitted = Position { bytes: count(middle.len()), lines: line_breaks(middle.as_bytes()) };
                assert_eq!((rest.omitted, rest.ends_line), (omitted, head.is_empty() || head.ends_with('\n')));
            }
        }
    }

    #[test]
    fn memory_is_bounded() {
        let (bytes, bound) = (redacted(&"y\n".repeat(500)), Bound::new(4000, 4000));
        let mut live = Live::new(Some(bound));
        for _ in 0..1000 {
            live.push(bytes.clone());
            assert!(live.tail.len() <= 2 * bound.tail + bytes.len());
        }
    }
}
