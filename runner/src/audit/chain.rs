//! What an unbroken record is made of: how an entry is sealed into a line of its chain.
//!
//! Every line carries the SHA-256 of the line before it, so a change anywhere shows at the next line. Whether a file of
//! lines holds together is decided in `verify`.
//!
//! Nothing here opens a file or reads a clock. A hash covers the line as written, its newline included, so
//! `sed -n 7p FILE | sha256sum` prints what record 8 has as `prev`, and nobody has to agree on a canonical JSON.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::{Entry, Id};

/// The version of the record format, `v` in every line.
pub const FORMAT: u32 = 1;

/// The longest line in bytes, newline included, that is written or accepted: what one step of [`verify`](super::verify) may hold in
/// memory, some twenty times the longest command with everything around it.
pub const MAX_LINE: usize = 4 << 20;

/// A SHA-256; text form: 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// What the first line of a chain has as `prev`: there is nothing before it.
    pub const ZERO: Self = Self([0; 32]);

    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// A digest that was computed elsewhere.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    fn hex(&self) -> [u8; 64] {
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&[hex_digit(byte >> 4), hex_digit(byte & 0xf)]);
        }
        text
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(str::from_utf8(&self.hex()).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Digest {
    type Err = AnchorError;

    /// Reads 64 lower-case hex digits, with or without `sha256:` before them.
    fn from_str(text: &str) -> Result<Self, AnchorError> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text).as_bytes();
        let mut digest = [0; 32];
        if hex.len() != 2 * digest.len() {
            return Err(AnchorError::Digest);
        }
        for (byte, pair) in digest.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = pair
                .iter()
                .try_fold(0, |byte, &digit| Some(byte << 4 | hex_value(digit)?))
                .ok_or(AnchorError::Digest)?;
        }
        Ok(Self(digest))
    }
}

fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

/// Upper-case digits are no value: a digest has one spelling, so that a changed letter case is a change.
fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// One record pinned down: its number and its hash. Whoever holds it can tell that everything up to this record is
/// still what it was. Text form: `seq:hex`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Anchor {
    /// The record's number; the first one is 1.
    pub seq: u64,
    /// The SHA-256 of the record's line, newline included.
    pub head: Digest,
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.head)
    }
}

impl FromStr for Anchor {
    type Err = AnchorError;

    fn from_str(text: &str) -> Result<Self, AnchorError> {
        let (seq, head) = text.split_once(':').ok_or(AnchorError::Form)?;
        let seq = seq.parse().ok().filter(|&seq| seq > 0).ok_or(AnchorError::Number)?;
        Ok(Self { seq, head: head.parse()? })
    }
}

/// Why a text is no [`Anchor`] or no [`Digest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnchorError {
    /// No colon in it.
    #[error("an anchor has the form `seq:hash`, as in `12:9f86d0…`")]
    Form,
    /// The part before the colon is no record number.
    #[error("an anchor begins with the number of a record, which is 1 or more")]
    Number,
    /// Not a SHA-256.
    #[error("a hash is 64 digits from `0` to `9` and `a` to `f`")]
    Digest,
}

/// Where and when a line is written: what every line says besides its entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp<'a> {
    /// The wall clock.
    pub(crate) at: Timestamp,
    /// The steady clock: time since the chain was opened. It shows when the wall clock was set.
    pub(crate) elapsed: Duration,
    /// The machine.
    pub(crate) origin: &'a Origin,
}

/// The machine that a chain is written on.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// The kernel's id of this boot.
    pub(crate) boot: Id,
    /// The machine's name.
    pub(crate) host: Id,
}

/// The writing end of a chain: the last record, and what may follow it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain {
    head: Anchor,
    stopped: bool,
}

impl Chain {
    /// A chain without a record; only `start` can be its first.
    pub(crate) const fn new() -> Self {
        Self { head: Anchor { seq: 0, head: Digest::ZERO }, stopped: false }
    }

    /// The last record.
    pub(crate) fn head(&self) -> Anchor {
        self.head
    }

    /// The line for `entry`, newline included. The chain moves on by it, and stays as it was on an error.
    pub(crate) fn seal(&mut self, entry: &Entry, stamp: &Stamp<'_>) -> Result<Vec<u8>, SealError> {
        if self.stopped || matches!(entry, Entry::Start(_)) != (self.head.seq == 0) {
            return Err(SealError::OutOfPlace);
        }
        let seq = self.head.seq + 1;
        let mut line = serde_json::to_vec(&Line {
            v: FORMAT,
            seq,
            ts: stamp.at,
            mono_ns: u64::try_from(stamp.elapsed.as_nanos()).unwrap_or(u64::MAX),
            boot: &stamp.origin.boot,
            host: &stamp.origin.host,
            entry,
            prev: self.head.head,
        })
        .map_err(|_| SealError::Unwritable)?;
        line.push(b'\n');
        if line.len() > MAX_LINE {
            return Err(SealError::TooLong { bytes: line.len() });
        }
        *self = Self { head: Anchor { seq, head: Digest::of(&line) }, stopped: matches!(entry, Entry::Stop(_)) };
        Ok(line)
    }
}

/// Why an entry cannot be the next of its chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SealError {
    /// A `start` that is not first, another first record, or one after `stop`.
    OutOfPlace,
    /// Longer than [`MAX_LINE`].
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It has no JSON form.
    Unwritable,
}

#[derive(Serialize)]
struct Line<'a> {
    v: u32,
    seq: u64,
    #[serde(serialize_with = "rfc3339")]
    ts: Timestamp,
    mono_ns: u64,
    boot: &'a Id,
    host: &'a Id,
    #[serde(flatten)]
    entry: &'a Entry,
    prev: Digest,
}

/// UTC with milliseconds, as in `2026-11-21T04:01:00.123Z`.
pub(crate) fn rfc3339<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{at:.3}"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn an_entry_out_of_place_leaves_the_chain_as_it_was() {
        let origin = Origin { boot: Id::new("boot").unwrap(), host: Id::new("host").unwrap() };
        let stamp = Stamp { at: Timestamp::UNIX_EPOCH, elapsed: Duration::ZERO, origin: &origin };
        let mut chain = Chain::new();
        let refused = |chain: &mut Chain, entry: &Entry| {
            let before = chain.head();
            assert_eq!(chain.seal(entry, &stamp), Err(SealError::OutOfPlace));
            assert_eq!(chain.head(), before);
        };
        refused(&mut chain, &sample::decided("5f3a9c01-12".parse().unwrap(), "make").into());
        chain.seal(&Entry::Start(sample::start()), &stamp).unwrap();
        refused(&mut chain, &Entry::Start(sample::start()));
        chain.seal(&sample::stopped().into(), &stamp).unwrap();
        refused(&mut chain, &sample::decided("5f3a9c01-12".parse().unwrap(), "make").into());
    }

    #[test]
    fn anchors_and_digests_have_one_spelling() {
        let hex = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        assert_eq!(Digest::of(b"test").to_string(), hex);
        assert_eq!(hex.parse(), Ok(Digest::of(b"test")));
        assert_eq!(format!("sha256:{hex}").parse(), Ok(Digest::of(b"test")));
        let anchor = Anchor { seq: 12, head: Digest::of(b"test") };
        assert_eq!(anchor.to_string(), format!("12:{hex}"));
        assert_eq!(anchor.to_string().parse(), Ok(anchor));
        for (text, error) in [
            (String::new(), AnchorError::Form),
            (hex.to_owned(), AnchorError::Form),
            (format!("0:{hex}"), AnchorError::Number),
            (format!("-1:{hex}"), AnchorError::Number),
            (format!(":{hex}"), AnchorError::Number),
            ("1:".to_owned(), AnchorError::Digest),
            (format!("1:{hex}0"), AnchorError::Digest),
            (format!("1:{}", hex.to_uppercase()), AnchorError::Digest),
            (format!("1:{}", hex.replace('9', "g")), AnchorError::Digest),
        ] {
            assert_eq!(text.parse::<Anchor>(), Err(error), "{text}");
        }
    }
}
