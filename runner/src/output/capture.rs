//! Keeps what a result can show of a stream: the head, the tail, and an exact count of what lies between.

use crate::redact::{Redacted, RedactedBytes};

/// The head's share of what is kept or shown: a quarter. Errors stand at the end, so the tail gets the rest.
const HEAD_SHARE: usize = 4;

/// The bounded record of one stream. Holds at most twice `keep` bytes, however many were pushed.
#[derive(Clone, Debug)]
pub struct Capture {
    head: RedactedBytes,
    head_most: usize,
    /// The newest bytes after the head. Trimmed only when twice as long as needed, so that trimming costs little.
    tail: RedactedBytes,
    tail_most: usize,
    total: u64,
    lines: u64,
}

/// A stream as a result shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Head and tail, with a line between them that says what is missing.
    pub text: Redacted,
    /// Bytes of the redacted stream that `text` does not show.
    pub omitted_bytes: u64,
    /// Line breaks among them.
    pub omitted_lines: u64,
    /// Length of the redacted stream in bytes.
    pub total_bytes: u64,
    /// Whether bytes in the part shown were no UTF-8 and are now U+FFFD.
    pub lossy: bool,
}

impl Capture {
    /// A capture that can show up to `keep` bytes: a quarter from the head, the rest from the tail.
    pub fn new(keep: usize) -> Self {
        let head_most = keep / HEAD_SHARE;
        Self {
            head: RedactedBytes::default(),
            head_most,
            tail: RedactedBytes::default(),
            tail_most: keep - head_most,
            total: 0,
            lines: 0,
        }
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &RedactedBytes) {
        self.total += count(bytes.len());
        self.lines += line_breaks(bytes.as_bytes());
        let mut first = bytes.clone();
        let mut rest = first.split_off(self.head_most - self.head.len());
        self.head.append(&first);
        rest.drop_front(rest.len().saturating_sub(self.tail_most));
        self.tail.append(&rest);
        if self.tail.len() > self.tail_most.saturating_mul(2) {
            self.tail.drop_front(self.tail.len() - self.tail_most);
        }
    }

    /// Length of the redacted stream so far, in bytes.
    pub fn total_bytes(&self) -> u64 {
        self.total
    }

    /// What a result shows: everything, if it was kept and has at most `max_chars` characters, else as much of head and
    /// tail, cut between lines where one ends nearby. The line that says what is missing comes on top of `max_chars`.
    pub fn shape(&self, max_chars: usize) -> Shown {
        let mut head = self.head.clone();
        let mut tail = self.tail.clone();
        tail.drop_front(tail.len().saturating_sub(self.tail_most));
        let kept = count(head.len() + tail.len());
        if kept == self.total {
            head.append(&tail);
            if chars(head.as_bytes()) <= max_chars {
                return self.shown(&head, None);
            }
            tail = head.clone();
        }
        let head_chars = (max_chars / HEAD_SHARE).min(chars(head.as_bytes()));
        head.truncate(head_end(head.as_bytes(), head_chars));
        if kept == self.total {
            tail.drop_front(head.len());
        }
        tail.drop_front(tail_start(tail.as_bytes(), max_chars - head_chars));
        self.shown(&head, Some(&tail))
    }

    fn shown(&self, head: &RedactedBytes, tail: Option<&RedactedBytes>) -> Shown {
        let (mut text, mut lossy) = head.to_text();
        let parts = || [Some(head), tail].into_iter().flatten();
        let omitted_bytes = self.total - parts().map(|part| count(part.len())).sum::<u64>();
        let omitted_lines = self.lines - parts().map(|part| line_breaks(part.as_bytes())).sum::<u64>();
        if let Some(tail) = tail {
            let (tail, tail_lossy) = tail.to_text();
            lossy |= tail_lossy;
            if omitted_bytes > 0 {
                push_gap(&mut text, omitted_bytes, omitted_lines);
            }
            text.push(&tail);
        }
        Shown { text, omitted_bytes, omitted_lines, total_bytes: self.total, lossy }
    }
}

fn push_gap(text: &mut Redacted, bytes: u64, lines: u64) {
    if !text.is_empty() && !text.as_str().ends_with('\n') {
        text.push_static("\n");
    }
    text.push_static("[… ");
    text.push_count(bytes);
    text.push_static(" bytes, ");
    text.push_count(lines);
    text.push_static(" lines omitted …]\n");
}

/// Where to end a head of at most `most` characters: after a line break if the last quarter has one.
fn head_end(bytes: &[u8], most: usize) -> usize {
    let whole = characters(bytes).take(most).sum::<usize>();
    let end = whole - cut_character(bytes.get(..whole).unwrap_or_default());
    let part = bytes.get(..end).unwrap_or_default();
    match part.iter().rposition(|&byte| byte == b'\n') {
        Some(at) if at + 1 >= end - end / 4 => at + 1,
        Some(_) | None => end,
    }
}

/// Where to start a tail of at most `most` characters: after a line break if the first quarter has one.
fn tail_start(bytes: &[u8], most: usize) -> usize {
    let loose = bytes.iter().take(3).take_while(|&&byte| is_continuation(byte)).count();
    let fresh = bytes.get(loose..).unwrap_or_default();
    let surplus = chars(fresh).saturating_sub(most);
    let start = loose + characters(fresh).take(surplus).sum::<usize>();
    let part = bytes.get(start..).unwrap_or_default();
    match part.iter().position(|&byte| byte == b'\n') {
        Some(at) if at < part.len() / 4 => start + at + 1,
        Some(_) | None => start,
    }
}

/// How many bytes at the end belong to a character whose rest was cut off.
fn cut_character(bytes: &[u8]) -> usize {
    match bytes.utf8_chunks().last().map(|chunk| chunk.invalid()) {
        Some(invalid @ [0xc2..=0xf4, ..]) => invalid.len(),
        Some(_) | None => 0,
    }
}

/// The lengths in bytes of the characters that the text will have; what is no UTF-8 becomes one each time.
fn characters(bytes: &[u8]) -> impl Iterator<Item = usize> {
    bytes.utf8_chunks().flat_map(|chunk| {
        let invalid = Some(chunk.invalid().len()).filter(|&length| length > 0);
        chunk.valid().chars().map(char::len_utf8).chain(invalid)
    })
}

fn chars(bytes: &[u8]) -> usize {
    characters(bytes).count()
}

fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

fn line_breaks(bytes: &[u8]) -> u64 {
    count(bytes.iter().filter(|&&byte| byte == b'\n').count())
}

fn count(length: usize) -> u64 {
    length.try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use crate::redact::Redactor;

    fn captured(keep: usize, chunks: &[&[u8]]) -> Capture {
        static REDACTOR: LazyLock<Redactor> = LazyLock::new(|| Redactor::builtin().unwrap());
        let mut stream = REDACTOR.stream();
        let mut capture = Capture::new(keep);
        for chunk in chunks {
            capture.push(&stream.push(chunk));
        }
        capture.push(&stream.finish());
        capture
    }

    #[test]
    fn small_output_is_shown_whole() {
        let shown = captured(100, &[b"one\n", b"two\n"]).shape(100);
        let whole = Shown {
            text: Redacted::from_static("one\ntwo\n"),
            omitted_bytes: 0,
            omitted_lines: 0,
            total_bytes: 8,
            lossy: false,
        };
        assert_eq!(shown, whole);
    }

    #[test]
    fn the_middle_is_counted() {
        let lines: String = (0..1000).map(|n| format!("line {n:03}\n")).collect();
        for (keep, max_chars) in [(400, 100_000), (100_000, 400)] {
            let shown = captured(keep, &[lines.as_bytes()]).shape(max_chars);
            assert_eq!((shown.total_bytes, shown.omitted_lines, shown.omitted_bytes), (9000, 956, 956 * 9));
            let text = shown.text.as_str();
            assert!(text.starts_with("line 000\n") && text.ends_with("line 999\n"), "{text}");
            assert!(text.contains("line 010\n[… 8604 bytes, 956 lines omitted …]\nline 967\n"), "{text}");
        }
    }

    #[test]
    fn cuts_fall_between_characters() {
        let text = "\u{e9}\u{1f600}\u{20ac}".repeat(500);
        for keep in 40..60 {
            for max_chars in [10, 17, 10_000] {
                let shown = captured(keep, &[text.as_bytes()]).shape(max_chars);
                assert!(!shown.lossy, "{keep} {max_chars}: {}", shown.text);
            }
        }
    }

    #[test]
    fn what_is_no_utf8_is_said_to_be() {
        let shown = captured(100, &[b"a\xffb"]).shape(100);
        assert!(shown.lossy);
        assert_eq!(shown.text.as_str(), "a\u{fffd}b");
    }

    #[test]
    fn nothing_to_keep_still_counts() {
        let shown = captured(0, &[b"one\ntwo\n"]).shape(0);
        assert_eq!(shown.text.as_str(), "[… 8 bytes, 2 lines omitted …]\n");
    }

    #[test]
    fn memory_does_not_grow_with_the_stream() {
        let redactor = Redactor::builtin().unwrap();
        let (mut stream, mut capture) = (redactor.stream(), Capture::new(1000));
        for _ in 0..1000 {
            capture.push(&stream.push(&[b'.'; 10_000]));
            assert!(capture.head.len() + capture.tail.len() <= 2000);
        }
    }

    proptest! {
        #[test]
        fn totals_are_exact(
            words in prop::collection::vec("[a-z\u{e9}\u{20ac} \n]{0,40}", 0..40),
            keep in 0_usize..600,
            max_chars in 0_usize..600,
        ) {
            let text = words.concat();
            let chunks: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
            let shown = captured(keep, &chunks).shape(max_chars);
            prop_assert_eq!(shown.total_bytes, count(text.len()));
            prop_assert_eq!(&shown, &captured(keep, &[text.as_bytes()]).shape(max_chars), "chunks do not matter");
            let gap = format!("[… {} bytes, {} lines omitted …]\n", shown.omitted_bytes, shown.omitted_lines);
            let (head, tail) = shown.text.as_str().split_once(&gap).unwrap_or((shown.text.as_str(), ""));
            let head = if text.starts_with(head) { head } else { head.strip_suffix('\n').unwrap() };
            prop_assert!(text.starts_with(head) && text.ends_with(tail));
            let between = text.len() - head.len() - tail.len();
            // A line break that the gap's own line needed may be one of the text or not.
            prop_assert!(count(between).abs_diff(shown.omitted_bytes) <= 1);
            prop_assert!(chars(head.as_bytes()) + chars(tail.as_bytes()) <= max_chars + 1);
        }
    }
}
