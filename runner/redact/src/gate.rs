//! A cheap look at what follows an anchor, before a pattern is run. Never the reason for a miss: it lets through whatever
//! a pattern with the macros of `expression` would.

use super::row::Gate;

/// The longest type that the macros allow between a name and its operator, with the blanks behind it.
const LONGEST_TYPE: usize = 40;

/// What the look showed.
pub(super) enum Outlook {
    /// No match here.
    Shut,
    /// The text ends before the gate can tell, or there is no gate.
    Unknown,
    /// Open; the value does not start before this offset.
    ValueFrom(usize),
}

impl Gate {
    pub(super) fn look(self, haystack: &[u8], mut at: usize) -> Outlook {
        match self {
            Self::None | Self::Option => return Outlook::Unknown,
            Self::Assignment => (),
        }
        at += run(haystack, at, 32, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
        at += run(haystack, at, 4, |byte| matches!(byte, b'"' | b'\'' | b'`' | b']' | b'\\' | b')'));
        at += run(haystack, at, 18, is_blank);
        match haystack.get(at) {
            None => return Outlook::ValueFrom(at),
            Some(&byte) if is_operator(byte) => (),
            // a type may come before the operator
            Some(b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'&' | b'*' | b'[' | b'\'') => {
                at += run(haystack, at, LONGEST_TYPE, |byte| {
                    byte.is_ascii_alphanumeric()
                        || matches!(byte, b'_' | b'&' | b'\'' | b'*' | b'[' | b']' | b' ' | b'\t')
                });
                match haystack.get(at) {
                    None => return Outlook::ValueFrom(at),
                    Some(&byte) if is_operator(byte) => (),
                    Some(_) => return Outlook::Shut,
                }
            }
            Some(_) => return Outlook::Shut,
        }
        at += run(haystack, at, 4, is_operator);
        at += run(haystack, at, 16, is_blank);
        Outlook::ValueFrom(at)
    }
}

/// Where the word begins that the byte at `at` belongs to, if that is less than `most` bytes before.
pub(super) fn word_start(haystack: &[u8], at: usize, most: usize) -> usize {
    let before = haystack.get(..at).unwrap_or_default();
    at - before
        .iter()
        .rev()
        .take(most)
        .take_while(|&&byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
        .count()
}

/// Where the word ends that goes on at `at`.
pub(super) fn word_end(haystack: &[u8], at: usize) -> usize {
    at + run(haystack, at, 48, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// A byte that an operator of the macros begins with.
fn is_operator(byte: u8) -> bool {
    matches!(byte, b'=' | b':' | b'>' | b',' | b'|' | b'?' | b'+' | b'.' | b'!' | b'-')
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// How many bytes from `at` on, at most `most`, are of one kind.
fn run(haystack: &[u8], at: usize, most: usize, kind: impl Fn(u8) -> bool) -> usize {
    haystack.iter().skip(at).take(most).take_while(|&&byte| kind(byte)).count()
}
