//! Where bytes may be cut: between lines, and between characters. Decides nothing about what is shown.
//!
//! A character is one that the text will have: what is no UTF-8 becomes a U+FFFD, which is one as well.

use std::ops::Range;

/// The lines of a part of `bytes`, each with its line break; the last one may have none.
pub(super) fn lines(bytes: &[u8], part: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let mut start = part.start;
    std::iter::from_fn(move || {
        let rest = bytes.get(start..part.end).filter(|rest| !rest.is_empty())?;
        let length = rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |at| at + 1);
        let line = start..start + length;
        start = line.end;
        Some(line)
    })
}

/// How many line breaks there are.
pub(super) fn line_breaks(bytes: &[u8]) -> u64 {
    count(memchr::memchr_iter(b'\n', bytes).count())
}

/// How many characters there are.
pub(super) fn chars(bytes: &[u8]) -> usize {
    characters(bytes).count()
}

/// Where to end a head of at most `most` characters: after a line break if the last quarter has one.
pub(super) fn head_end(bytes: &[u8], most: usize) -> usize {
    let whole = characters(bytes).take(most).sum::<usize>();
    let end = whole - unfinished(bytes.get(..whole).unwrap_or_default());
    let part = bytes.get(..end).unwrap_or_default();
    match part.iter().rposition(|&byte| byte == b'\n') {
        Some(at) if at + 1 >= end - end / 4 => at + 1,
        Some(_) | None => end,
    }
}

/// Where to start a tail of at most `most` characters: after a line break if the first quarter has one.
pub(super) fn tail_start(bytes: &[u8], most: usize) -> usize {
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

/// How many bytes at the end, at most three, begin a character whose rest is not there.
pub(super) fn unfinished(bytes: &[u8]) -> usize {
    let last = bytes.get(bytes.len().saturating_sub(3)..).unwrap_or_default();
    match last.utf8_chunks().last().map(|chunk| chunk.invalid()) {
        Some(invalid @ [0xc2..=0xf4, ..]) => invalid.len(),
        Some(_) | None => 0,
    }
}

/// How many bytes at the beginning of `after` belong to a character that begins at the end of `before`. It may be one that
/// `after`, too, is cut off in.
pub(super) fn completing(before: &[u8], after: &[u8]) -> usize {
    let begun = before.get(before.len() - unfinished(before)..).unwrap_or_default();
    let with = |more: usize| [begun, after.get(..more).unwrap_or_default()].concat();
    let is_character = |&more: &usize| {
        let bytes = with(more);
        std::str::from_utf8(&bytes).is_ok() || more == after.len() && unfinished(&bytes) == bytes.len()
    };
    if begun.is_empty() { 0 } else { (1..=after.len().min(3)).find(is_character).unwrap_or(0) }
}

/// A length as the counters of a stream have it.
pub(super) fn count(length: usize) -> u64 {
    length.try_into().unwrap_or(u64::MAX)
}

/// The lengths of the characters in bytes.
fn characters(bytes: &[u8]) -> impl Iterator<Item = usize> {
    bytes.utf8_chunks().flat_map(|chunk| {
        let invalid = Some(chunk.invalid().len()).filter(|&length| length > 0);
        chunk.valid().chars().map(char::len_utf8).chain(invalid)
    })
}

fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_comes_once_with_its_break() {
        for (text, part, expected) in [
            ("", 0..0, vec![]),
            ("\n", 0..1, vec!["\n"]),
            ("a\nb", 0..3, vec!["a\n", "b"]),
            ("a\n\nb\n", 0..5, vec!["a\n", "\n", "b\n"]),
            ("ab\ncd\nef", 1..5, vec!["b\n", "cd"]),
        ] {
            let lines: Vec<&str> = lines(text.as_bytes(), part).filter_map(|line| text.get(line)).collect();
            assert_eq!(lines, expected, "{text:?}");
        }
    }

    #[test]
    fn a_character_is_unfinished_only_while_it_can_still_become_one() {
        for (bytes, expected) in [
            (&b""[..], 0),
            (b"a", 0),
            (b"\xc3", 1),
            (b"a\xe2\x82", 2),
            (b"a\xe2\x82\xac", 0),
            (b"\xf0\x9f\x98", 3),
            (b"\xf0\x9f\x98\x80", 0),
            (b"\xff", 0),
            (b"\x80", 0),
            (b"\xc0", 0),
            (b"\xe0\x80", 0),
            (b"\xed\xa0", 0),
            (b"\xf4\x90", 0),
            (b"\xc3\xe2", 1),
        ] {
            assert_eq!(unfinished(bytes), expected, "{bytes:x?}");
        }
    }

    #[test]
    fn only_what_completes_a_character_is_loose() {
        for (before, after, expected) in [
            (&b"\xe2"[..], &b"\x82\xacx"[..], 2),
            (b"a\xe2\x82", b"\xac", 1),
            (b"\xc3", b"\xa9\xa9", 1),
            (b"\xc3", b"a", 0),
            (b"\xe2", b"\x82", 1),
            (b"\xf0", b"\x9f\x98", 2),
            (b"\xf0", b"\x9fx", 0),
            (b"\xe2\x82", b"", 0),
            (b"a", b"\x80", 0),
            (b"", b"\x80", 0),
        ] {
            assert_eq!(completing(before, after), expected, "{before:x?} {after:x?}");
        }
    }
}
