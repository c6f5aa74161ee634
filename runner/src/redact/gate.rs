//! A cheap look at what follows an anchor, before a pattern is run. Never the reason for a miss: it lets through whatever
//! a pattern with the macros of `expression` would.

use serde::Deserialize;

/// What has to follow the anchor.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Gate {
    /// Anything.
    #[default]
    None,
    /// The anchor is the name (or part of it) in `name = value`, `NAME: value`, `"name": "value"`, `name => "value"`.
    Assignment,
}

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
            Self::None => return Outlook::Unknown,
            Self::Assignment => (),
        }
        at += run(haystack, at, 32, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
        at += run(haystack, at, 4, |byte| matches!(byte, b'"' | b'\'' | b'`' | b']' | b'\\' | b')'));
        at += run(haystack, at, 16, is_blank);
        match haystack.get(at) {
            None => return Outlook::ValueFrom(at),
            Some(b'=' | b':' | b'>' | b',' | b'|' | b'?' | b'+' | b'.' | b'!' | b'-') => (),
            // a type may come before the operator
            Some(b'a'..=b'z' | b'A'..=b'Z' | b'&') => {
                match haystack.iter().skip(at).take(32).position(|&byte| matches!(byte, b'=' | b':' | b'\n')) {
                    Some(operator) if haystack.get(at + operator) != Some(&b'\n') => at += operator,
                    None if haystack.len() < at + 32 => return Outlook::ValueFrom(haystack.len()),
                    Some(_) | None => return Outlook::Shut,
                }
            }
            Some(_) => return Outlook::Shut,
        }
        at += run(haystack, at, 4, |byte| {
            matches!(byte, b'=' | b':' | b'>' | b',' | b'|' | b'?' | b'+' | b'.' | b'!' | b'-')
        });
        at += run(haystack, at, 16, is_blank);
        Outlook::ValueFrom(at)
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// How many bytes from `at` on, at most `most`, are of one kind.
fn run(haystack: &[u8], at: usize, most: usize, kind: impl Fn(u8) -> bool) -> usize {
    haystack.iter().skip(at).take(most).take_while(|&&byte| kind(byte)).count()
}
