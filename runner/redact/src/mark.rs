//! What stands in the place of a secret: `[redacted:github-token#3fa9c1]`, the rule's id and a fingerprint.
//!
//! The fingerprint is keyed with random bytes that never leave the process, so it tells equal values from different ones
//! without letting anyone test guesses elsewhere. A value that could be guessed by trying gets none: whoever can print
//! guesses could compare theirs. Marks are recognised, so that text that was redacted before stays as it is.

use std::ops::Range;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroize as _;

/// How every mark begins; the id of the rule, perhaps a fingerprint, and `]` follow.
pub(super) const MARK: &str = "[redacted:";
/// The longest text between the beginning of a mark and its `]`, in bytes.
pub(super) const MARK_BODY: usize = 64 + 7;
/// Values of fewer bits than this get no fingerprint.
const GUESSABLE: f64 = 40.0;
const BLOCK: usize = 64;

/// The key of one session's fingerprints.
pub(super) struct FingerprintKey([u8; BLOCK]);

impl FingerprintKey {
    /// A new random key. Without randomness there are no fingerprints, which is safe.
    pub(super) fn random() -> Option<Self> {
        let mut key = [0; BLOCK];
        let (random, _) = key.split_at_mut(32);
        let filled = rustix::rand::getrandom(&mut *random, rustix::rand::GetRandomFlags::empty()).ok()?;
        (filled == random.len()).then_some(Self(key))
    }

    /// A key for one name that tells nothing of this one.
    pub(super) fn derived(&self, name: &str) -> Self {
        let mut key = [0; BLOCK];
        for (slot, byte) in key.iter_mut().zip(self.whole(self.begin().chain_update(name))) {
            *slot = byte;
        }
        Self(key)
    }

    /// HMAC-SHA-256, its inner half begun.
    pub(super) fn begin(&self) -> Sha256 {
        Sha256::new_with_prefix(self.0.map(|byte| byte ^ 0x36))
    }

    /// The fingerprint of a value that is there as a whole.
    pub(super) fn fingerprint(&self, value: &[u8]) -> String {
        self.finish(self.begin().chain_update(value))
    }

    /// The first 24 bits of the finished HMAC, in hexadecimal.
    pub(super) fn finish(&self, inner: Sha256) -> String {
        self.whole(inner).iter().take(3).map(|byte| format!("{byte:02x}")).collect()
    }

    fn whole(&self, inner: Sha256) -> [u8; 32] {
        Sha256::new_with_prefix(self.0.map(|byte| byte ^ 0x5c)).chain_update(inner.finalize()).finalize().into()
    }
}

impl Drop for FingerprintKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// A mark without a fingerprint.
pub(super) fn plain(id: &str) -> String {
    format!("{MARK}{id}]")
}

/// A mark with a fingerprint.
pub(super) fn with_fingerprint(id: &str, fingerprint: &str) -> String {
    format!("{MARK}{id}#{fingerprint}]")
}

/// Whether somebody could find the value by trying.
pub(super) fn is_guessable(value: &[u8]) -> bool {
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    entropy(value) * f64::from(length) < GUESSABLE
}

/// Shannon entropy of the bytes, in bits a byte.
pub(super) fn entropy(bytes: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for &byte in bytes {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let total: f64 = counts.iter().copied().map(f64::from).sum();
    let shares = counts.iter().filter(|&&count| count > 0).map(|&count| f64::from(count) / total);
    -shares.map(|share| share * share.log2()).sum::<f64>()
}

/// Whether a character can stand in the name inside a mark.
pub(super) fn is_mark_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

/// Whether what begins at `at` lies inside of a mark: marks must survive a second pass. Only a whole mark is one, with an id that
/// there is: `[redacted:` in front of a secret makes it none.
pub(super) fn is_inside(text: &[u8], at: usize, is_id: impl Fn(&str) -> bool) -> bool {
    let before = text.get(..at).unwrap_or_default();
    let body = before.iter().rev().take(MARK_BODY).take_while(|byte| is_body(byte)).count();
    let start = at - body.min(at);
    before.get(..start).is_some_and(|rest| rest.ends_with(MARK.as_bytes()))
        && is_whole(text.get(start..).unwrap_or_default(), is_id)
}

/// Whether a mark, or a part of one, is in the secret: such a secret was redacted before.
pub(super) fn touches(text: &[u8], secret: &Range<usize>, is_id: impl Fn(&str) -> bool) -> bool {
    let from = secret.start.saturating_sub(MARK.len() - 1);
    let near = text.get(from..secret.end).unwrap_or_default();
    let begins = near.windows(MARK.len()).enumerate().filter(|(_, part)| *part == MARK.as_bytes());
    let mut bodies = begins.filter_map(|(offset, _)| text.get(from + offset + MARK.len()..));
    bodies.any(|body| is_whole(body, &is_id)) || is_inside(text, secret.start, &is_id)
}

/// The id of a mark, perhaps a fingerprint, and the end.
fn is_whole(body: &[u8], is_id: impl Fn(&str) -> bool) -> bool {
    let length = body.iter().take(MARK_BODY).take_while(|byte| is_body(byte)).count();
    let Some((body, [b']', ..])) = body.split_at_checked(length) else { return false };
    let Ok(body) = str::from_utf8(body) else { return false };
    let (id, fingerprint) = body.split_once('#').unwrap_or((body, "000000"));
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    fingerprint.len() == 6 && fingerprint.bytes().all(is_digit) && is_id(id)
}

/// Characters of a text that stand in no mark, whoever wrote the mark.
pub(super) fn outside(text: &str) -> usize {
    let characters = |text: &str| text.chars().count();
    let (mut rest, mut count) = (text, 0);
    while let Some((before, behind)) = rest.split_once(MARK) {
        let body = behind.bytes().take(MARK_BODY).take_while(is_body).count();
        let (more, after) = match behind.get(body..).and_then(|end| end.strip_prefix(']')) {
            Some(after) => (0, after),
            None => (MARK.len(), behind),
        };
        count += characters(before) + more;
        rest = after;
    }
    count + characters(rest)
}

fn is_body(byte: &u8) -> bool {
    is_mark_char(char::from(*byte)) || *byte == b'#'
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// RFC 4231, test case 2, with its key padded to a block.
    #[test]
    fn a_fingerprint_is_an_hmac() {
        let mut key = [0; BLOCK];
        key.get_mut(..4).unwrap().copy_from_slice(b"Jefe");
        let key = FingerprintKey(key);
        let inner = key.begin().chain_update(b"what do ya want for nothing?");
        assert_eq!(key.finish(inner), "5bdcc1");
    }

    #[test]
    fn what_can_be_guessed_has_no_fingerprint() {
        assert!(is_guessable(b"password1") && is_guessable(b"") && is_guessable(&[b'a'; 500]));
        assert!(!is_guessable(b"0123456789EXAMPLE"));
    }

    #[test]
    fn marks_are_recognised() {
        let is_id = |id: &str| id == "github-token" || id == "x";
        let inside = |text: &[u8], at| is_inside(text, at, is_id);
        assert!(inside(b"a [redacted:github-token] b", 20) && inside(b"[redacted:x#3fa9c1]", 13));
        assert!(!inside(b"[redacted:x] ", 13) && !inside(b"redacted:x]", 9));
        // Neither what is no id, nor what has no end.
        assert!(
            !inside(b"[redacted:ghp_secret]", 10) && !inside(b"[redacted:x", 10) && !inside(b"[redacted:x#3FA9C1]", 10)
        );
        let touches = |text: &[u8], secret| touches(text, &secret, is_id);
        assert!(touches(b"[redacted:x]", 5..11) && touches(b"[redacted:x] abc", 10..16));
        assert!(!touches(b"[redacted:x] abc", 13..16) && !touches(b"[redacted:secret]", 10..16));
    }
}
