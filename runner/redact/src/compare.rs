//! Whether a known value stands at a place in the output: decides which escapes, separators and line breaks may stand
//! between or instead of its bytes.
//!
//! Bounded: no comparison looks further than [`REACH`] bytes ahead. What it cannot tell because the text ends, it says.

use super::encodings::{Encoding, Escaping};

/// No encoding of a piece of a value is longer than this, in bytes of output.
pub(super) const REACH: usize = 2048;
/// So many things that are no part of the value may follow on each other.
const BREAKS: usize = 3;
/// The longest indentation, quotation or continuation at a line break.
pub(super) const MARGIN: usize = 40;
/// The longest rest of a line of a hexadecimal dump: its text column.
const DUMP_COLUMN: usize = 80;

/// What a comparison found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    /// The value ends before this offset.
    Until(usize),
    /// The text ends before the value does.
    Open,
    /// Something else stands here.
    Nothing,
}

/// Compares the text from `at` on with an encoding.
pub(super) fn compare(text: &[u8], at: usize, encoding: &Encoding) -> Comparison {
    let text = text.get(..text.len().min(at + REACH)).unwrap_or_default();
    match encoding.escaping {
        Escaping::Text | Escaping::Base64 => {
            // Where escapes and plain bytes could both be meant, one reading for all of it, then the next.
            let readings = [EscapeReading::Escapes, EscapeReading::Bytes, EscapeReading::Bare];
            let found = readings.map(|reading| escaped(text, at, encoding, reading));
            let until = found.iter().find(|found| matches!(found, Comparison::Until(_)));
            let open = found.iter().find(|found| **found == Comparison::Open);
            until.or(open).copied().unwrap_or(Comparison::Nothing)
        }
        Escaping::Hex => hexadecimal(text, at, &encoding.pattern),
        Escaping::Spaced => spaced(text, at, &encoding.pattern),
    }
}

/// Where the text goes on after a line break at or shortly after `at`, if it goes on.
pub(super) fn after_break(text: &[u8], at: usize) -> Option<usize> {
    let margin = |from: usize, of: &[u8]| text.iter().skip(from).take(MARGIN).take_while(|b| of.contains(b)).count();
    let mut from = at + margin(at, b" \t\"'\\+,=.;&");
    match text.get(from)? {
        b'\n' => from += 1,
        // a line break that is itself escaped
        b'n' if from > at && text.get(from - 1) == Some(&b'\\') => from += 1,
        b'r' if from > at && text.get(from - 1) == Some(&b'\\') => {
            from += 1 + margin(from + 1, b"\\");
            from += usize::from(text.get(from) == Some(&b'n'));
        }
        _ if text.get(at..from).is_some_and(is_splice) => return Some(from),
        _ => return None,
    }
    Some(from + margin(from, b" \t|>+#*\"'-"))
}

/// `"ab" + "cd"`, `'ab''cd'`: one string in two literals.
fn is_splice(between: &[u8]) -> bool {
    let quote = |byte: Option<&u8>| matches!(byte, Some(b'"' | b'\''));
    quote(between.first()) && (between.len() == 1 || quote(between.last()))
}

/// What a text means that could be an escape.
#[derive(Clone, Copy, PartialEq, Eq)]
enum EscapeReading {
    /// An escape if it can be one.
    Escapes,
    /// An escape only if it cannot be what it is.
    Bytes,
    /// What it is. Backslashes are passed over, as the pattern has none.
    Bare,
}

fn escaped(text: &[u8], at: usize, encoding: &Encoding, reading: EscapeReading) -> Comparison {
    let (mut here, mut done, mut breaks) = (at, 0, 0);
    while let Some(rest) = encoding.pattern.get(done..).filter(|rest| !rest.is_empty()) {
        let Some(&byte) = text.get(here) else { return Comparison::Open };
        let plain = rest.first().is_some_and(|&wanted| same(byte, wanted, encoding.escaping)).then_some((1, 1));
        let decoded = || decode(text, here, rest);
        let took = match reading {
            EscapeReading::Escapes => decoded().or(plain),
            EscapeReading::Bytes => plain.or_else(decoded),
            EscapeReading::Bare if byte == b'\\' => Some((1, 0)),
            EscapeReading::Bare => plain,
        };
        match took {
            Some((read, matched)) => {
                here += read;
                done += matched;
                breaks = 0;
            }
            None if reading != EscapeReading::Bare && is_cut_escape(text, here) => return Comparison::Open,
            None if breaks < BREAKS && done > 0 => match after_break(text, here) {
                Some(next) => {
                    // What looks like a margin may be the value itself.
                    let margin = text.get(here..next).unwrap_or_default();
                    let line = margin.iter().rposition(|&byte| byte == b'\n').map_or(next, |at| here + at + 1);
                    let is_own = |from: &usize| text.get(*from..next).is_some_and(|own| rest.starts_with(own));
                    here = (line..next).find(is_own).unwrap_or(next);
                    breaks += 1;
                }
                None if text.len() - here < MARGIN && is_margin(text, here) => return Comparison::Open,
                None => return Comparison::Nothing,
            },
            None => return Comparison::Nothing,
        }
    }
    Comparison::Until(here)
}

fn same(byte: u8, wanted: u8, escaping: Escaping) -> bool {
    byte == wanted || escaping == Escaping::Base64 && matches!((byte, wanted), (b'-', b'+') | (b'_', b'/'))
}

/// An escape at `at` that stands for the next bytes of the value: how many bytes it takes up, and of how many.
fn decode(text: &[u8], at: usize, wanted: &[u8]) -> Option<(usize, usize)> {
    let rest = text.get(at..)?;
    let (read, bytes) = match rest {
        [b'\\', ..] => backslash(rest)?,
        [b'%', tail @ ..] => {
            let again = tail.chunks(2).take(3).take_while(|pair| pair == b"25").count() * 2;
            // `%25` can be a percent sign, too
            match byte_of(tail.get(again..)?) {
                Some(byte) if again == 0 || wanted.first() == Some(&byte) => (again + 3, vec![byte]),
                Some(_) | None => (again + 1, vec![b'%']),
            }
        }
        [b'&', ..] => entity(rest)?,
        [b'=', tail @ ..] => (3, vec![byte_of(tail)?]),
        [b'+', ..] => (1, vec![b' ']),
        [b'\'', b'\\', b'\'', b'\'', ..] => (4, vec![b'\'']),
        [b'\'', b'"', b'\'', b'"', b'\'', ..] => (5, vec![b'\'']),
        [b'\'', b'\'', ..] => (2, vec![b'\'']),
        [b'"', b'"', ..] => (2, vec![b'"']),
        _ => return None,
    };
    // The pattern was freed of its backslashes, so one that is spelled out matches nothing.
    let bytes = if bytes == b"\\" { Vec::new() } else { bytes };
    wanted.starts_with(&bytes).then_some((read, bytes.len()))
}

/// Backslashes, however many, and what they make of the bytes after them. The value itself was freed of its backslashes.
fn backslash(rest: &[u8]) -> Option<(usize, Vec<u8>)> {
    let slashes = rest.iter().take(MARGIN).take_while(|&&byte| byte == b'\\').count();
    let (first, tail) = rest.get(slashes..)?.split_first()?;
    let (read, bytes) = match first {
        b'u' if tail.len() >= 4 => match utf16(tail, slashes) {
            Some((read, c)) => (1 + read, c.to_string().into_bytes()),
            None => (1, vec![b'u']),
        },
        b'x' => match byte_of(tail) {
            Some(byte) => (3, vec![byte]),
            None => (1, vec![b'x']),
        },
        b'0'..=b'7' => {
            let digits = rest.iter().skip(slashes).take(3).take_while(|byte| (b'0'..=b'7').contains(byte));
            let (count, value) = digits.fold((0, 0), |(n, value), &digit| (n + 1, value * 8 + u32::from(digit - b'0')));
            match u8::try_from(value).ok().filter(|_| count == 3) {
                Some(byte) => (3, vec![byte]),
                None => (1, vec![*first]),
            }
        }
        b't' if !tail.is_empty() => (1, vec![b'\t']),
        _ => (1, vec![*first]),
    };
    Some((slashes + read, bytes))
}

/// Four hexadecimal digits, or twice four where the character takes two units.
fn utf16(tail: &[u8], slashes: usize) -> Option<(usize, char)> {
    let unit = |from: usize| {
        let digits = std::str::from_utf8(tail.get(from..from + 4)?).ok()?;
        u16::from_str_radix(digits, 16).ok()
    };
    let first = unit(0)?;
    if let Some(c) = char::from_u32(u32::from(first)) {
        return Some((4, c));
    }
    let second = unit(4 + slashes + 1)?;
    let c = char::decode_utf16([first, second]).next()?.ok()?;
    Some((4 + slashes + 1 + 4, c))
}

fn entity(rest: &[u8]) -> Option<(usize, Vec<u8>)> {
    let end = rest.iter().take(10).position(|&byte| byte == b';')?;
    let name = std::str::from_utf8(rest.get(1..end)?).ok()?;
    let c = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)?
        }
    };
    Some((end + 1, c.to_string().into_bytes()))
}

/// The text ends within what may be an escape.
fn is_cut_escape(text: &[u8], at: usize) -> bool {
    let rest = text.get(at..).unwrap_or_default();
    rest.len() < 16 && matches!(rest.first(), Some(b'\\' | b'%' | b'&' | b'=' | b'\'' | b'"'))
}

/// All of the rest could stand around a line break.
fn is_margin(text: &[u8], at: usize) -> bool {
    text.get(at..).unwrap_or_default().iter().all(|byte| b" \t\"'\\+,=.;&\n|>#*-".contains(byte))
}

fn byte_of(digits: &[u8]) -> Option<u8> {
    let (high, low) = (digits.first()?, digits.get(1)?);
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

fn hexadecimal(text: &[u8], at: usize, pattern: &[u8]) -> Comparison {
    let mut here = at;
    for (index, &wanted) in pattern.iter().enumerate() {
        let Some(digits) = hex_digits(text, here, index > 0) else { return Comparison::Open };
        match text.get(digits..).and_then(byte_of) {
            Some(byte) if byte == wanted => here = digits + 2,
            _ => match next_dump_line(text, here).map(|digits| (digits, text.get(digits..).and_then(byte_of))) {
                Some((digits, Some(byte))) if byte == wanted && index > 0 => here = digits + 2,
                _ if digits + 2 > text.len() => return Comparison::Open,
                _ => return Comparison::Nothing,
            },
        }
    }
    Comparison::Until(here)
}

/// Where the next two digits stand, behind whatever separates them; nothing if the text ends before.
fn hex_digits(text: &[u8], at: usize, inside: bool) -> Option<usize> {
    let mut here = at;
    for _ in 0..MARGIN {
        let rest = text.get(here..).filter(|rest| !rest.is_empty())?;
        here += match rest {
            [b'\\', b'x', ..] | [b'0', b'x' | b'X', ..] | [b'\\', b'n', ..] => 2,
            [b' ' | b'\t' | b':' | b',' | b'-' | b'.' | b'_' | b'\n' | b'"' | b'\'' | b'\\', ..] if inside => 1,
            _ => return Some(here),
        };
    }
    Some(here)
}

/// Behind the text column of a dump and the offset on its next line.
fn next_dump_line(text: &[u8], at: usize) -> Option<usize> {
    let rest = text.get(at..)?;
    let line = rest.iter().take(DUMP_COLUMN).position(|&byte| byte == b'\n')? + 1;
    let offset = rest.get(line..)?.iter().take(16).take_while(|byte| byte.is_ascii_hexdigit()).count();
    let tail = rest.get(line + offset..)?;
    let blank = tail.iter().take(8).take_while(|byte| matches!(byte, b':' | b' ' | b'\t')).count();
    (offset >= 4 && blank > 0).then_some(at + line + offset + blank)
}

fn spaced(text: &[u8], at: usize, pattern: &[u8]) -> Comparison {
    let mut here = at;
    for (index, wanted) in pattern.iter().enumerate() {
        match text.get(here) {
            None => return Comparison::Open,
            Some(byte) if byte == wanted => here += 1,
            Some(_) => return Comparison::Nothing,
        }
        if index + 1 < pattern.len() {
            here += usize::from(matches!(text.get(here), Some(b' ' | b'-' | b'.' | b',' | b'\n' | b'|' | b':' | b'_')));
        }
    }
    Comparison::Until(here)
}
